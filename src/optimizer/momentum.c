/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient descent with momentum (heavy ball). B. T. Polyak, "Some methods of speeding up the convergence of
 * iteration methods", 1964, in the form of PyTorch: the rate multiplies the whole velocity, so that a change of the
 * rate acts at once.
 *     g = scale * gradient + decay * w
 *     v = mu * v + g
 *     w = w - rate * v */
#include "optimizer/momentum.h"

static void momentum_step(const void *self, const struct optimizer_step *step, const float *old_values,
                          const float *gradient, float *const *states, float *new_values, size_t count) {
    momentum_kernel(old_values, gradient, states[0], new_values, count, momentum_constants(self, step));
}

const struct optimizer_ops optimizer_momentum = {
    .about =
        {
            .name = "momentum",
            .alias = "heavy-ball",
            .summary = "gradient descent with momentum",
            .source = "Polyak, Some methods of speeding up the convergence of iteration methods, 1964",
            .size = sizeof(struct momentum),
            .options = momentum_options,
        },
    .states = 1,
    .state_names = momentum_state_names,
    .step = momentum_step,
};
