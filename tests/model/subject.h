/* SPDX-License-Identifier: Apache-2.0 */
/* A model under test: opened with a data shape that suits it, a workspace, and a vector and a batch of random
 * numbers; and what its loss, its gradient and its evaluation must have in common. */
#ifndef HYSGD_TESTS_MODEL_SUBJECT_H
#define HYSGD_TESTS_MODEL_SUBJECT_H

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "model/factors.h"
#include "model/model.h"

#define BATCH    3
#define CLASSES  3
#define TARGETS  3
#define CHANNELS 2
#define SEED     7
#define ROWS     5 /* of ratings */
#define COLUMNS  4

/* An open model with its data shape, a workspace for BATCH samples, and a vector and batch of random numbers. */
struct subject {
    struct plugin model;
    const struct hysgd_model_ops *ops;
    struct hysgd_data_shape shape;
    struct hysgd_model_layout layout;
    void *workspace;
    size_t size; /* of vector and gradient */
    float *vector, *gradient, *inputs;
    int32_t labels[BATCH];
    float targets[BATCH * TARGETS];
    struct hysgd_batch batch;
};

static inline void subject_close(struct subject *subject) {
    if (subject->workspace && subject->ops->close)
        subject->ops->close(subject->model.self, subject->workspace);
    if (subject->model.ops && subject->ops->fini)
        subject->ops->fini(subject->model.self);
    plugin_close(&subject->model);
    memory_free(subject->vector);
    memory_free(subject->gradient);
    memory_free(subject->inputs);
    *subject = (struct subject){0};
}

static inline void *subject_workspace(const struct subject *subject) {
    return subject->ops->open ? subject->workspace : subject->model.self;
}

static inline bool subject_takes_ratings(const struct subject *subject) {
    return subject->ops == &model_factors;
}

/* Inputs that are pairs of numbers, one target each. */
static inline void subject_fill_ratings(struct subject *subject, struct random *random) {
    for (int i = 0; i < BATCH; i++) {
        const uint32_t pair[] = {(uint32_t)random_below(random, ROWS), (uint32_t)random_below(random, COLUMNS)};
        memcpy(subject->inputs + 2 * (size_t)i, pair, sizeof pair);
    }
    subject->batch.labels = NULL;
}

/* Everything after the model itself, which allocates. */
static inline enum hysgd_status subject_fill(struct subject *subject) {
    const struct hysgd_model_ops *ops = subject->ops;
    ops->describe(subject->model.self, &subject->layout);
    subject->size = subject->layout.parameter_count + subject->layout.statistic_count;
    size_t inputs = (size_t)BATCH * CHANNELS * (size_t)subject->shape.height * (size_t)subject->shape.width;
    HYSGD_TRY(memory_alloc(subject->size, sizeof(float), &subject->vector));
    HYSGD_TRY(memory_alloc(subject->size, sizeof(float), &subject->gradient));
    HYSGD_TRY(memory_alloc(inputs, sizeof(float), &subject->inputs));
    if (ops->start)
        ops->start(subject->model.self, SEED, subject->vector);
    struct random random;
    random_init(&random, SEED, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    random_fill_normal(&random, subject->inputs, inputs);
    random_fill_normal(&random, subject->targets, (size_t)BATCH * TARGETS);
    for (int i = 0; i < BATCH; i++)
        subject->labels[i] = (int32_t)random_below(&random, CLASSES);
    subject->batch = (struct hysgd_batch){.count = BATCH,
                                          .inputs = subject->inputs,
                                          .labels = subject->labels,
                                          .targets = subject->targets,
                                          .seed = SEED,
                                          .worker = 1,
                                          .draw = 5};
    if (subject_takes_ratings(subject))
        subject_fill_ratings(subject, &random);
    return ops->open ? ops->open(subject->model.self, BATCH, &subject->workspace) : HYSGD_OK;
}

/* Opens a listed model on square inputs of one size. HYSGD_USAGE when they do not suit it. */
static inline enum hysgd_status subject_open_sized(struct subject *subject, const struct hysgd_plugin *about,
                                                   const char *options, int size) {
    *subject = (struct subject){.ops = (const struct hysgd_model_ops *)about};
    subject->shape = (struct hysgd_data_shape){.train_count = 10,
                                               .test_count = 10,
                                               .channels = CHANNELS,
                                               .height = size,
                                               .width = size,
                                               .classes = CLASSES,
                                               .targets = TARGETS};
    if (subject_takes_ratings(subject))
        subject->shape = (struct hysgd_data_shape){.train_count = 10,
                                                   .test_count = 10,
                                                   .channels = 1,
                                                   .height = 1,
                                                   .width = 2,
                                                   .targets = 1,
                                                   .row_count = ROWS,
                                                   .column_count = COLUMNS};
    enum hysgd_status status = plugin_adopt("model", about, NULL, options, &subject->model);
    if (status == HYSGD_OK)
        status = subject->ops->init(subject->model.self, &subject->shape);
    if (status == HYSGD_OK)
        status = subject_fill(subject);
    if (status != HYSGD_OK)
        subject_close(subject);
    return status;
}

/* On the smallest inputs that suit it. */
static inline enum hysgd_status subject_try(struct subject *subject, const struct hysgd_plugin *about,
                                            const char *options) {
    enum hysgd_status status = HYSGD_USAGE;
    for (int size = 4; status == HYSGD_USAGE && size <= 64; size *= 2)
        status = subject_open_sized(subject, about, options, size);
    return status;
}

static inline double subject_loss(struct subject *subject, const float *vector) {
    double loss = NAN;
    assert_int_equal(subject->ops->gradient(subject->model.self, subject_workspace(subject), vector,
                                            &subject->batch, subject->gradient, &loss),
                     HYSGD_OK);
    return loss;
}

/* The difference quotient in a random direction within one tensor against the gradient. */
static inline void subject_check_tensor(struct subject *subject, const struct hysgd_tensor *tensor,
                                        const float *gradient, float *moved) {
    size_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->dims[i];
    double loss[2], expected = 0, magnitude = 0;
    const float *values = subject->vector + tensor->first;
    for (int side = 0; side < 2; side++) {
        struct random direction;
        random_init(&direction, SEED, RANDOM_NO_WORKER, RANDOM_TEST, tensor->first + 1);
        memcpy(moved, subject->vector, subject->size * sizeof(float));
        for (size_t i = 0; i < elements; i++) {
            double step = (random_bits(&direction) & 1 ? 2e-7 : -2e-7) * (side ? 1 : -1);
            moved[tensor->first + i] = (float)(values[i] + step);
            double change = (double)moved[tensor->first + i] - values[i]; /* what is left of the step in fp32 */
            expected += (side ? 1 : -1) * change * gradient[tensor->first + i];
            magnitude += fabs(change * gradient[tensor->first + i]);
        }
        loss[side] = subject_loss(subject, moved);
    }
    /* Exact but for fp32 rounding of the gradient, the third derivative, and kinks that the step crosses. */
    if (!(fabs(loss[1] - loss[0] - expected) <= 2e-3 * magnitude / sqrt((double)elements) + 1e-13))
        fail_msg("%s, %s: the loss changes by %.9g, the gradient says %.9g", subject->ops->about.name, tensor->name,
                 loss[1] - loss[0], expected);
}

/* The gradient of every tensor of parameters. */
static inline void subject_check_gradient(struct subject *subject) {
    float *gradient, *moved;
    assert_int_equal(memory_alloc(subject->size, sizeof(float), &gradient), HYSGD_OK);
    assert_int_equal(memory_alloc(subject->size, sizeof(float), &moved), HYSGD_OK);
    subject_loss(subject, subject->vector);
    memcpy(gradient, subject->gradient, subject->size * sizeof(float));
    for (size_t t = 0; t < subject->layout.tensor_count; t++)
        if (subject->layout.tensors[t].first < subject->layout.parameter_count)
            subject_check_tensor(subject, &subject->layout.tensors[t], gradient, moved);
    memory_free(gradient);
    memory_free(moved);
}

static inline struct hysgd_metrics subject_evaluate(struct subject *subject) {
    struct hysgd_metrics metrics = {.count = 2, .loss = 1.5}; /* it adds */
    assert_int_equal(subject->ops->evaluate(subject->model.self, subject_workspace(subject), subject->vector,
                                            &subject->batch, &metrics),
                     HYSGD_OK);
    assert_int_equal(metrics.count, 2 + subject->batch.count);
    return metrics;
}

static inline void subject_refuses_gradient(struct subject *subject) {
    double loss;
    assert_int_equal(subject->ops->gradient(subject->model.self, subject_workspace(subject), subject->vector,
                                            &subject->batch, subject->gradient, &loss),
                     HYSGD_FAILED);
}

/* And adds nothing. */
static inline void subject_refuses_evaluation(struct subject *subject) {
    struct hysgd_metrics metrics = {0};
    assert_int_equal(subject->ops->evaluate(subject->model.self, subject_workspace(subject), subject->vector,
                                            &subject->batch, &metrics),
                     HYSGD_FAILED);
    assert_int_equal(metrics.count, 0);
}

#endif
