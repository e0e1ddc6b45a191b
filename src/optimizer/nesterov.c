/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient descent with the momentum of Nesterov, 1983, in the form of I. Sutskever et al., "On the importance of
 * initialization and momentum in deep learning", ICML 2013, as PyTorch writes it: the parameters kept are those at
 * which the next gradient is taken.
 *     g = scale * gradient + decay * w
 *     v = mu * v + g
 *     w = w - rate * (g + mu * v) */
#include "optimizer/momentum.h"

static void nesterov_step(const void *self, const struct optimizer_step *step, const float *old_values,
                          const float *gradient, float *const *states, float *new_values, size_t count) {
    struct momentum_constants constants = momentum_constants(self, step);
    constants.of_gradient = 1;
    constants.of_velocity = constants.mu;
    momentum_kernel(old_values, gradient, states[0], new_values, count, constants);
}

const struct optimizer_ops optimizer_nesterov = {
    .about =
        {
            .name = "nesterov",
            .summary = "gradient descent with Nesterov's momentum",
            .source =
                "Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013",
            .size = sizeof(struct momentum),
            .options = momentum_options,
        },
    .states = 1,
    .state_names = momentum_state_names,
    .step = nesterov_step,
};
