/* SPDX-License-Identifier: Apache-2.0 */
/* Adam with decoupled weight decay. I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR
 * 2019, algorithm 2, as PyTorch writes it (the rate multiplies the decay too); t counts updates from 1.
 *     g = scale * gradient
 *     m = beta1 * m + (1 - beta1) * g
 *     s = beta2 * s + (1 - beta2) * g * g
 *     w = (1 - rate * decay) * w - rate / (1 - beta1^t) * m / (sqrt(s / (1 - beta2^t)) + epsilon) */
#include "optimizer/adam.h"

static const struct hysgd_option options[] = {ADAM_OPTIONS("0.01"), {.key = NULL}};

static void adamw_step(const void *self, const struct optimizer_step *step, const float *old_values,
                       const float *gradient, float *const *states, float *new_values, size_t count) {
    const struct adam *adam = self;
    struct adam_constants constants = adam_constants(adam, step);
    constants.keep = (float)(1 - step->rate * adam->common.decay);
    adam_kernel(old_values, gradient, states[0], states[1], new_values, count, constants);
}

const struct optimizer_ops optimizer_adamw = {
    .about =
        {
            .name = "adamw",
            .summary = "adam with decoupled weight decay",
            .source = "Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019",
            .size = sizeof(struct adam),
            .options = options,
        },
    .states = 2,
    .state_names = adam_state_names,
    .step = adamw_step,
};
