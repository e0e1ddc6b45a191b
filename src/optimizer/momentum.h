/* SPDX-License-Identifier: Apache-2.0 */
/* What the two optimizers with one velocity share: options and the step. They differ in the direction of the step.
 */
#ifndef HYSGD_OPTIMIZER_MOMENTUM_H
#define HYSGD_OPTIMIZER_MOMENTUM_H

#include "optimizer/kernel.h"
#include "optimizer/optimizer.h"

struct momentum {
    struct optimizer common;
    double momentum; /* mu */
};

static const struct hysgd_option momentum_options[] = {
    OPTIMIZER_OPTIONS(struct momentum, "0.01", "0"),
    {"momentum", HYSGD_OPTION_REAL, offsetof(struct momentum, momentum), "0.9", 0, 1, NULL,
     "share of the velocity that is kept from update to update"},
    {.key = NULL},
};

static const char *const momentum_state_names[] = {"velocity"};

/* The direction of the step is `of_gradient` * g + `of_velocity` * v. */
struct momentum_constants {
    float rate, scale, decay, mu, of_gradient, of_velocity;
};

VECTOR_CODE static void momentum_kernel(const float *old_values, const float *gradient, float *velocity,
                                        float *new_values, size_t count, struct momentum_constants c) {
    KERNEL_LOOP
    for (size_t i = 0; i < count; i++) {
        float w = old_values[i];
        float g = c.scale * gradient[i] + c.decay * w;
        float v = c.mu * velocity[i] + g;
        velocity[i] = v;
        new_values[i] = w - c.rate * (c.of_gradient * g + c.of_velocity * v);
    }
}

static struct momentum_constants momentum_constants(const struct momentum *momentum,
                                                    const struct optimizer_step *step) {
    return (struct momentum_constants){
        .rate = (float)step->rate,
        .scale = (float)step->scale,
        .decay = (float)momentum->common.decay,
        .mu = (float)momentum->momentum,
        .of_gradient = 0,
        .of_velocity = 1,
    };
}

#endif
