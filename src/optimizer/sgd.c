/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic gradient descent. H. Robbins and S. Monro, "A stochastic approximation method", 1951:
 *     g = scale * gradient + decay * w
 *     w = w - rate * g */
#include "optimizer/kernel.h"
#include "optimizer/optimizer.h"

struct sgd {
    struct optimizer common;
};

static const struct hysgd_option options[] = {
    OPTIMIZER_OPTIONS(struct sgd, "0.01", "0"),
    {.key = NULL},
};

VECTOR_CODE static void sgd_kernel(const float *old_values, const float *gradient, float *new_values, size_t count,
                                   float rate, float scale, float decay) {
    KERNEL_LOOP
    for (size_t i = 0; i < count; i++) {
        float g = scale * gradient[i] + decay * old_values[i];
        new_values[i] = old_values[i] - rate * g;
    }
}

static void sgd_step(const void *self, const struct optimizer_step *step, const float *old_values,
                     const float *gradient, float *const *states, float *new_values, size_t count) {
    const struct sgd *sgd = self;
    (void)states;
    sgd_kernel(old_values, gradient, new_values, count, (float)step->rate, (float)step->scale,
               (float)sgd->common.decay);
}

const struct optimizer_ops optimizer_sgd = {
    .about =
        {
            .name = "sgd",
            .summary = "stochastic gradient descent",
            .source = "Robbins and Monro, A stochastic approximation method, 1951",
            .size = sizeof(struct sgd),
            .options = options,
        },
    .step = sgd_step,
};
