/* SPDX-License-Identifier: Apache-2.0 */
/* Delay compensation (DC-ASGD): the first term of the Taylor series of the gradient around the parameters that the
 * worker read, with the squared gradient in the place of the Hessian. S. Zheng et al., "Asynchronous Stochastic
 * Gradient Descent with Delay Compensation", ICML 2017, algorithm 2; g the gradient, w the present parameters, r
 * those that it was computed at, all products by element.
 *     constant:  g + lambda g g (w - r)
 *     adaptive:  s = m s + (1 - m) g g,  g + lambda / (sqrt(s) + 1e-7) g g (w - r)
 * s is shared by all workers and starts at 0. */
#include <math.h>

#include "correction/correction.h"
#include "linalg/vector.h"

struct compensation {
    bool is_adaptive;
    double lambda; /* 0: the published one */
    double mean;   /* m */
};

static const struct hysgd_option options[] = {
    {"adaptive", HYSGD_OPTION_BOOL, offsetof(struct compensation, is_adaptive), "no", 0, 0, NULL,
     "divide lambda by the root of a running mean of the squared gradients"},
    {"lambda", HYSGD_OPTION_REAL, offsetof(struct compensation, lambda), "0", 0, 1e6, NULL,
     "strength of the compensation; 0: 0.04, or 2 with adaptive=yes"},
    {"mean", HYSGD_OPTION_REAL, offsetof(struct compensation, mean), "0.95", 0, 0.999999, NULL,
     "adaptive=yes: share of the running mean that is kept from gradient to gradient"},
    {.key = NULL},
};

#define LAMBDA_CONSTANT 0.04
#define LAMBDA_ADAPTIVE 2
#define EPSILON         1e-7f

VECTOR_CODE static void constant_kernel(const float *restrict gradient, const float *restrict present,
                                        const float *restrict read, float *restrict corrected, size_t count,
                                        float lambda) {
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i];
        corrected[i] = g + lambda * g * g * (present[i] - read[i]);
    }
}

VECTOR_CODE static void adaptive_kernel(const float *restrict gradient, const float *restrict present,
                                        const float *restrict read, float *restrict square,
                                        float *restrict corrected, size_t count, float lambda, float keep,
                                        float take) {
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i];
        float s = keep * square[i] + take * (g * g);
        square[i] = s;
        corrected[i] = g + lambda / (sqrtf(s) + EPSILON) * g * g * (present[i] - read[i]);
    }
}

static void compensate(const void *self, const struct correction_slice *slice, const float *gradient,
                       float *corrected, size_t count) {
    const struct compensation *state = self;
    double lambda = state->lambda > 0 ? state->lambda : state->is_adaptive ? LAMBDA_ADAPTIVE : LAMBDA_CONSTANT;
    if (state->is_adaptive)
        adaptive_kernel(gradient, slice->present, slice->read, slice->shared, corrected, count, (float)lambda,
                        (float)state->mean, (float)(1 - state->mean));
    else
        constant_kernel(gradient, slice->present, slice->read, corrected, count, (float)lambda);
}

static const char *shared_state(const void *self) {
    return ((const struct compensation *)self)->is_adaptive ? "square" : NULL;
}

const struct correction_ops correction_delay_compensation = {
    .about =
        {
            .name = "delay-compensation",
            .alias = "dc-asgd",
            .summary = "adds what the gradient has missed, by its square and how far the parameters have moved",
            .source = "Zheng et al., Asynchronous stochastic gradient descent with delay compensation, ICML 2017",
            .size = sizeof(struct compensation),
            .options = options,
        },
    .needs_read = true,
    .shared_state = shared_state,
    .correct = compensate,
};
