/* SPDX-License-Identifier: Apache-2.0 */
/* A learning rate for each gradient that falls with the distance of the present parameters w from those it was
 * computed at, r. S. Dutta et al., "Slow and stale gradients can win the race", AISTATS 2018, section 4:
 *     rate = min(C / |w - r|^2, rate_max)
 * rate_max is the rate that the optimizer's schedule gives, so the gradient is multiplied with rate / rate_max.
 * combine=mean divides by the number of gradients all the same, as it does with staleness weights. */
#include "correction/correction.h"

struct distance {
    double scale; /* C */
};

static const struct hysgd_option options[] = {
    {"scale", HYSGD_OPTION_REAL, offsetof(struct distance, scale), "0.01", 1e-30, 1e30, NULL,
     "C, the rate times the squared distance at which the rate begins to fall"},
    {.key = NULL},
};

static double distance_factor(const void *self, double rate, double squared) {
    const struct distance *state = self;
    return rate * squared > state->scale ? state->scale / (rate * squared) : 1;
}

const struct correction_ops correction_distance = {
    .about =
        {
            .name = "distance",
            .summary = "the rate of a gradient falls with how far the parameters have moved since it was begun",
            .source = "Dutta et al., Slow and stale gradients can win the race, AISTATS 2018",
            .size = sizeof(struct distance),
            .options = options,
        },
    .optimizer = "sgd",
    .needs_read = true,
    .factor = distance_factor,
};
