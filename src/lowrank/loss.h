/* SPDX-License-Identifier: Apache-2.0 */
/* The losses of one rating and how strongly each pulls the prediction toward the rating. */
#ifndef HYSGD_LOWRANK_LOSS_H
#define HYSGD_LOWRANK_LOSS_H

#include <math.h>

#include "lowrank/kernel.h"

/* Generalized Kullback-Leibler divides by the prediction, which is taken to be at least this. */
#define FIT_LEAST_PREDICTION 0x1p-10f

/* Loss and pull z = -(d loss / d prediction), of the squared losses half of it. */
struct fit {
    float loss, pull;
};

/* log(1 + exp(-margin)). */
static inline struct fit fit_margin(float margin) {
    float small = expf(-fabsf(margin)); /* in (0, 1]: no overflow on either side */
    float loss = log1pf(small) + (margin < 0 ? -margin : 0);
    return (struct fit){loss, (margin < 0 ? 1 : small) / (1 + small)};
}

static inline struct fit fit_logistic(float rating, float prediction) {
    struct fit fit = fit_margin(rating > 0 ? prediction : -prediction);
    return rating > 0 ? fit : (struct fit){fit.loss, -fit.pull};
}

static inline struct fit fit_squared_hinge(float rating, float prediction) {
    float missing = rating > 0 ? fmaxf(1 - prediction, 0) : fminf(-1 - prediction, 0);
    return (struct fit){missing * missing, missing};
}

static inline struct fit fit_absolute(float rating, float prediction) {
    float error = rating - prediction;
    return (struct fit){fabsf(error), (float)(error > 0) - (float)(error < 0)};
}

static inline struct fit fit_kl(float rating, float prediction) {
    float divisor = fmaxf(prediction, FIT_LEAST_PREDICTION);
    float ratio = rating / divisor;
    return (struct fit){(rating > 0 ? rating * logf(ratio) : 0) - rating + divisor, ratio - 1};
}

static inline struct fit fit_squared(float rating, float prediction) {
    float error = rating - prediction;
    return (struct fit){error * error, error};
}

/* Of the losses of a single rating. */
static inline struct fit fit_rating(enum fit_loss loss, float rating, float prediction) {
    switch (loss) {
    case FIT_ABSOLUTE:
        return fit_absolute(rating, prediction);
    case FIT_LOGISTIC:
        return fit_logistic(rating, prediction);
    case FIT_SQUARED_HINGE:
        return fit_squared_hinge(rating, prediction);
    case FIT_KL:
        return fit_kl(rating, prediction);
    default:
        return fit_squared(rating, prediction);
    }
}

#endif
