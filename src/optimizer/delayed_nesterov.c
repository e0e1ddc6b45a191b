/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient descent with delayed Nesterov momentum: the velocity takes in the mean of D gradients at every D-th
 * update only, so that stale gradients do not feed it D times. B. Liu et al., "Asynchronous Local-SGD Training for
 * Language Modeling", arXiv 2401.09135, algorithm 4; t counts updates from 1, c = spread / D.
 *     g = scale * gradient + decay * w
 *     a = a + g / D
 *     t a multiple of D:  v = mu * v + a,  a = 0,  w = w - rate * (g / D + (1 - c * D + c) * mu * v)
 *     otherwise:          w = w - rate * (g / D + c * mu * v)
 * D = 1 is `nesterov`. */
#include "optimizer/kernel.h"
#include "optimizer/optimizer.h"

struct delayed {
    struct optimizer common;
    double momentum; /* mu */
    int64_t period;  /* D */
    double spread;   /* c D */
};

static const struct hysgd_option options[] = {
    OPTIMIZER_OPTIONS(struct delayed, "0.01", "0"),
    {"momentum", HYSGD_OPTION_REAL, offsetof(struct delayed, momentum), "0.9", 0, 1, NULL,
     "share of the velocity that is kept each time it changes"},
    {"period", HYSGD_OPTION_INT, offsetof(struct delayed, period), "4", 1, 1e9, NULL,
     "D, updates from one change of the velocity to the next; each gradient counts for 1/D"},
    {"spread", HYSGD_OPTION_REAL, offsetof(struct delayed, spread), "0", 0, 1, NULL,
     "share of the momentum that is spread evenly over the D updates; the rest comes with every D-th"},
    {.key = NULL},
};

static const char *const state_names[] = {"velocity", "gathered"};

/* The direction of the step is `share` * g + `of_velocity` * v. */
struct constants {
    float rate, scale, decay, mu, share, of_velocity;
};

VECTOR_CODE static void gather_kernel(const float *old_values, const float *gradient, const float *velocity,
                                      float *gathered, float *new_values, size_t count, struct constants c) {
    KERNEL_LOOP
    for (size_t i = 0; i < count; i++) {
        float w = old_values[i];
        float g = c.scale * gradient[i] + c.decay * w;
        gathered[i] += c.share * g;
        new_values[i] = w - c.rate * (c.share * g + c.of_velocity * velocity[i]);
    }
}

VECTOR_CODE static void change_kernel(const float *old_values, const float *gradient, float *velocity,
                                      float *gathered, float *new_values, size_t count, struct constants c) {
    KERNEL_LOOP
    for (size_t i = 0; i < count; i++) {
        float w = old_values[i];
        float g = c.scale * gradient[i] + c.decay * w;
        float v = c.mu * velocity[i] + (gathered[i] + c.share * g);
        velocity[i] = v;
        gathered[i] = 0;
        new_values[i] = w - c.rate * (c.share * g + c.of_velocity * v);
    }
}

static void delayed_step(const void *self, const struct optimizer_step *step, const float *old_values,
                         const float *gradient, float *const *states, float *new_values, size_t count) {
    const struct delayed *delayed = self;
    bool changes = step->number % (uint64_t)delayed->period == 0;
    double period = (double)delayed->period, each = delayed->spread / period;
    struct constants constants = {
        .rate = (float)step->rate,
        .scale = (float)step->scale,
        .decay = (float)delayed->common.decay,
        .mu = (float)delayed->momentum,
        .share = (float)(1 / period),
        .of_velocity = (float)(delayed->momentum * (changes ? 1 - delayed->spread + each : each)),
    };
    if (changes)
        change_kernel(old_values, gradient, states[0], states[1], new_values, count, constants);
    else
        gather_kernel(old_values, gradient, states[0], states[1], new_values, count, constants);
}

const struct optimizer_ops optimizer_delayed_nesterov = {
    .about =
        {
            .name = "delayed-nesterov",
            .summary = "gradient descent with Nesterov's momentum that changes at every D-th update only",
            .source = "Liu et al., Asynchronous Local-SGD training for language modeling, 2024, arXiv 2401.09135",
            .size = sizeof(struct delayed),
            .options = options,
        },
    .states = 2,
    .state_names = state_names,
    .step = delayed_step,
};
