/* SPDX-License-Identifier: Apache-2.0 */
/* A small graph, written in the language of the model layer, with random parameters and a random batch: what the
 * tests of plans share. */
#ifndef HYSGD_TESTS_LINALG_PROBLEM_H
#define HYSGD_TESTS_LINALG_PROBLEM_H

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/plan.h"
#include "model/layers.h"

#define SEED       11
#define MOST_BATCH 8
#define CLASSES    4 /* and targets */

struct test_case {
    const char *layers; /* the last one gives CLASSES values */
    int channels, height, width;
    size_t batch;
};

/* A graph with a vector, a batch and room for results. */
struct problem {
    struct layers_graph fitted;
    size_t size, inputs; /* of the vector; of one sample */
    float *vector, *gradient, *samples;
    int32_t labels[MOST_BATCH];
    float targets[MOST_BATCH * CLASSES];
    float outputs[MOST_BATCH * CLASSES];
    struct plan_stream stream;
};

static inline enum hysgd_status problem_build(struct problem *problem, const struct test_case *test) {
    struct hysgd_data_shape shape = {.channels = test->channels,
                                     .height = test->height,
                                     .width = test->width,
                                     .classes = CLASSES,
                                     .targets = CLASSES};
    struct layers layers;
    HYSGD_TRY(layers_parse(test->layers, &layers));
    enum hysgd_status status = layers_build(&layers, &shape, &problem->fitted);
    layers_fini(&layers);
    return status;
}

/* Brings normal values to the size that such a tensor has in practice, so that no output saturates. */
static inline void spread_tensor(struct problem *problem, const struct hysgd_tensor *tensor) {
    float *values = problem->vector + tensor->first;
    size_t fan_in = 1, count = tensor->dims[0];
    for (int i = 1; i < tensor->rank; i++)
        fan_in *= tensor->dims[i];
    bool is_positive = strstr(tensor->name, "scale") || strstr(tensor->name, "variance");
    for (size_t i = 0; i < count * fan_in; i++)
        values[i] = is_positive ? 0.5f + 0.4f * fabsf(values[i]) : values[i] / sqrtf((float)fan_in);
}

static inline void problem_init(struct problem *problem, const struct test_case *test) {
    *problem = (struct problem){.stream = {.seed = SEED, .draw = 3, .worker = 2}};
    if (problem_build(problem, test) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    problem->size = problem->fitted.graph.parameter_count + problem->fitted.graph.statistic_count;
    problem->inputs = (size_t)test->channels * (size_t)test->height * (size_t)test->width;
    assert_int_equal(memory_alloc(problem->size, sizeof(float), &problem->vector), HYSGD_OK);
    assert_int_equal(memory_alloc(problem->size, sizeof(float), &problem->gradient), HYSGD_OK);
    assert_int_equal(memory_alloc(MOST_BATCH * problem->inputs, sizeof(float), &problem->samples), HYSGD_OK);
    struct random random;
    random_init(&random, SEED, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    random_fill_normal(&random, problem->vector, problem->size);
    random_fill_normal(&random, problem->samples, MOST_BATCH * problem->inputs);
    random_fill_normal(&random, problem->targets, MOST_BATCH * CLASSES);
    for (size_t t = 0; t < problem->fitted.tensor_count; t++)
        spread_tensor(problem, &problem->fitted.tensors[t]);
    for (int i = 0; i < MOST_BATCH; i++)
        problem->labels[i] = (int32_t)random_below(&random, CLASSES);
}

static inline void problem_fini(struct problem *problem) {
    layers_graph_fini(&problem->fitted);
    memory_free(problem->vector);
    memory_free(problem->gradient);
    memory_free(problem->samples);
}

/* Skips a test where the default plan cannot compute in bfloat16. */
static inline void need_bf16(const char *name) {
    if (plan_default()->has_precision(PLAN_BF16))
        return;
    print_message("%s skipped because this processor has no bfloat16\n", name);
    skip();
}

static inline struct plan *open_plan(const struct plan_ops *ops, const struct problem *problem, size_t batch,
                                     enum plan_precision precision, bool is_training) {
    struct plan *plan = NULL;
    if (ops->open(&problem->fitted.graph, batch, precision, is_training, &plan) != HYSGD_OK)
        fail_msg("%s: %s", ops->name, hysgd_error_message());
    return plan;
}

static inline double gradient_of(const struct plan_ops *ops, struct plan *plan, const struct problem *problem,
                                 const float *vector, float *gradient_out) {
    double loss = NAN;
    memset(gradient_out, 0xff, problem->size * sizeof(float));
    assert_int_equal(ops->gradient(plan, vector, problem->samples, problem->labels, problem->targets,
                                   &problem->stream, gradient_out, &loss),
                     HYSGD_OK);
    return loss;
}

#endif
