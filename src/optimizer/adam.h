/* SPDX-License-Identifier: Apache-2.0 */
/* What adam and adamw share: everything but where the weight decay goes in. */
#ifndef HYSGD_OPTIMIZER_ADAM_H
#define HYSGD_OPTIMIZER_ADAM_H

#include <math.h>

#include "optimizer/kernel.h"
#include "optimizer/optimizer.h"

struct adam {
    struct optimizer common;
    double beta1, beta2, epsilon;
};

#define ADAM_OPTIONS(decay_initial)                                                                                \
    OPTIMIZER_OPTIONS(struct adam, "0.001", decay_initial),                                                        \
        {"beta1",                                                                                                  \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(struct adam, beta1),                                                                             \
         "0.9",                                                                                                    \
         0,                                                                                                        \
         0.999999,                                                                                                 \
         NULL,                                                                                                     \
         "share of the mean gradient that is kept from update to update"},                                         \
        {"beta2",                                                                                                  \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(struct adam, beta2),                                                                             \
         "0.999",                                                                                                  \
         0,                                                                                                        \
         0.999999,                                                                                                 \
         NULL,                                                                                                     \
         "share of the mean squared gradient that is kept from update to update"},                                 \
    {                                                                                                              \
        "epsilon", HYSGD_OPTION_REAL, offsetof(struct adam, epsilon), "1e-8", 1e-30, 1, NULL,                      \
            "added to the root of the mean square"                                                                 \
    }

static const char *const adam_state_names[] = {"mean", "square"};

/* The constants of one step; `decay` acts on the gradient, `keep` on the parameters. */
struct adam_constants {
    float scale, decay, keep, beta1, rest1, beta2, rest2, size, root, epsilon;
};

VECTOR_CODE static void adam_kernel(const float *old_values, const float *gradient, float *mean, float *square,
                                    float *new_values, size_t count, struct adam_constants c) {
    KERNEL_LOOP
    for (size_t i = 0; i < count; i++) {
        float w = old_values[i];
        float g = c.scale * gradient[i] + c.decay * w;
        float m = c.beta1 * mean[i] + c.rest1 * g;
        float s = c.beta2 * square[i] + c.rest2 * (g * g);
        mean[i] = m;
        square[i] = s;
        new_values[i] = c.keep * w - c.size * m / (c.root * sqrtf(s) + c.epsilon);
    }
}

/* Without any decay. */
static struct adam_constants adam_constants(const struct adam *adam, const struct optimizer_step *step) {
    double number = (double)step->number;
    return (struct adam_constants){
        .scale = (float)step->scale,
        .decay = 0,
        .keep = 1,
        .beta1 = (float)adam->beta1,
        .rest1 = (float)(1 - adam->beta1),
        .beta2 = (float)adam->beta2,
        .rest2 = (float)(1 - adam->beta2),
        .size = (float)(step->rate / (1 - pow(adam->beta1, number))),
        .root = (float)(1 / sqrt(1 - pow(adam->beta2, number))),
        .epsilon = (float)adam->epsilon,
    };
}

#endif
