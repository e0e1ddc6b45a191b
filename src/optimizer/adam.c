/* SPDX-License-Identifier: Apache-2.0 */
/* Adam, with weight decay as L2 added to the gradient. D. P. Kingma and J. Ba, "Adam: a method for stochastic
 * optimization", ICLR 2015, algorithm 1, epsilon placed as in PyTorch; t counts updates from 1.
 *     g = scale * gradient + decay * w
 *     m = beta1 * m + (1 - beta1) * g
 *     s = beta2 * s + (1 - beta2) * g * g
 *     w = w - rate / (1 - beta1^t) * m / (sqrt(s / (1 - beta2^t)) + epsilon) */
#include "optimizer/adam.h"

static const struct hysgd_option options[] = {ADAM_OPTIONS("0"), {.key = NULL}};

static void adam_step(const void *self, const struct optimizer_step *step, const float *old_values,
                      const float *gradient, float *const *states, float *new_values, size_t count) {
    const struct adam *adam = self;
    struct adam_constants constants = adam_constants(adam, step);
    constants.decay = (float)adam->common.decay;
    adam_kernel(old_values, gradient, states[0], states[1], new_values, count, constants);
}

const struct optimizer_ops optimizer_adam = {
    .about =
        {
            .name = "adam",
            .summary = "steps scaled by running means of the gradient and its square",
            .source = "Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015",
            .size = sizeof(struct adam),
            .options = options,
        },
    .states = 2,
    .state_names = adam_state_names,
    .step = adam_step,
};
