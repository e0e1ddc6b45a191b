/* SPDX-License-Identifier: Apache-2.0 */
/* f(w) = 1/2 sum_i lambda_i (w_i - target_i)^2 with noisy gradients: the analytic model on which schedules and
 * policies can be checked against closed forms. It needs a number of samples, not their values. The optimum is w =
 * target, where f = 0. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "model/list.h"

struct quadratic {
    int64_t dimension;
    double condition, noise;
    double *lambda; /* [dimension] from 1 / condition to 1, evenly spaced in the logarithm */
    struct hysgd_tensor tensor;
};

/* +1 and -1 in turn. */
static double target(size_t i) {
    return i % 2 == 0 ? 1 : -1;
}

static enum hysgd_status init(void *self, const struct hysgd_data_shape *shape) {
    (void)shape;
    struct quadratic *quadratic = self;
    size_t dimension = (size_t)quadratic->dimension;
    HYSGD_TRY(memory_alloc(dimension, sizeof(double), &quadratic->lambda));
    for (size_t i = 0; i < dimension; i++)
        quadratic->lambda[i] =
            dimension == 1 ? 1 : pow(quadratic->condition, (double)i / (double)(dimension - 1) - 1);
    quadratic->tensor = (struct hysgd_tensor){.name = "w", .rank = 1, .dims = {dimension}};
    return HYSGD_OK;
}

static void fini(void *self) {
    struct quadratic *quadratic = self;
    memory_free(quadratic->lambda);
    quadratic->lambda = NULL;
}

static void describe(const void *self, struct hysgd_model_layout *layout_out) {
    const struct quadratic *quadratic = self;
    *layout_out = (struct hysgd_model_layout){
        .parameter_count = (size_t)quadratic->dimension, .tensors = &quadratic->tensor, .tensor_count = 1};
}

static double loss_at(const struct quadratic *quadratic, const float *vector) {
    double sum = 0;
    for (size_t i = 0; i < (size_t)quadratic->dimension; i++) {
        double distance = vector[i] - target(i);
        sum += quadratic->lambda[i] * distance * distance;
    }
    return sum / 2;
}

static enum hysgd_status gradient(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)workspace;
    const struct quadratic *quadratic = self;
    size_t dimension = (size_t)quadratic->dimension;
    double deviation = quadratic->noise / sqrt((double)batch->count);
    struct random random;
    random_init(&random, batch->seed, batch->worker, RANDOM_NOISE, batch->draw);
    random_fill_normal(&random, gradient_out, dimension);
    for (size_t i = 0; i < dimension; i++)
        gradient_out[i] = (float)(quadratic->lambda[i] * (vector[i] - target(i)) + deviation * gradient_out[i]);
    *loss_out = loss_at(quadratic, vector);
    return HYSGD_OK;
}

static enum hysgd_status evaluate(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    (void)workspace;
    metrics->loss += (double)batch->count * loss_at(self, vector);
    metrics->count += batch->count;
    return HYSGD_OK;
}

static const struct hysgd_option options[] = {
    {"dimension", HYSGD_OPTION_INT, offsetof(struct quadratic, dimension), "100", 1, 1e9, NULL,
     "number of parameters"},
    {"condition", HYSGD_OPTION_REAL, offsetof(struct quadratic, condition), "100", 1, 1e12, NULL,
     "largest curvature (which is 1) divided by the smallest"},
    {"noise", HYSGD_OPTION_REAL, offsetof(struct quadratic, noise), "1", 0, 1e12, NULL,
     "standard deviation of a sample's gradient, in each parameter"},
    {0},
};

const struct hysgd_model_ops model_quadratic = {
    .about = {.name = "quadratic",
              .summary = "an analytic bowl with noisy gradients; the data are not looked at",
              .size = sizeof(struct quadratic),
              .options = options},
    .init = init,
    .fini = fini,
    .describe = describe,
    .gradient = gradient,
    .evaluate = evaluate,
};
