/* SPDX-License-Identifier: Apache-2.0 */
/* A model that sees through the server: its parameters are all equal at every version, so that a mix of two
 * versions shows, and its gradients are known small integers, so that each one lost or applied twice shows in the
 * sum. */
#ifndef HYSGD_TESTS_RUNTIME_UNIFORM_H
#define HYSGD_TESTS_RUNTIME_UNIFORM_H

#include <stdatomic.h>

#include "base/status.h"

struct uniform_model {
    struct hysgd_tensor tensor; /* dims[0]: the number of parameters */
    int fail_open;              /* the n-th open from 1 fails; 0: none */
    _Atomic int opened, mixed;  /* workspaces, vectors that were not of one version */
};

/* The gradient `draw` of a worker, in every element. */
static inline float uniform_value(uint32_t worker, uint64_t draw) {
    return (float)(1 + (worker * 7 + draw * 3) % 5);
}

static inline void uniform_describe(const void *self, struct hysgd_model_layout *layout_out) {
    const struct uniform_model *model = self;
    *layout_out = (struct hysgd_model_layout){
        .parameter_count = model->tensor.dims[0], .tensors = &model->tensor, .tensor_count = 1};
}

/* The shared model, of which only the counters change. */
static inline struct uniform_model *uniform_of(const void *workspace) {
    struct uniform_model *model;
    memcpy(&model, workspace, sizeof model);
    return model;
}

static inline enum hysgd_status uniform_open(const void *self, size_t batch, void **workspace_out) {
    struct uniform_model *model = (struct uniform_model *)(uintptr_t)self;
    (void)batch;
    if (atomic_fetch_add(&model->opened, 1) + 1 == model->fail_open)
        return hysgd_fail(HYSGD_FAILED, "the workspace cannot be opened");
    HYSGD_TRY(memory_alloc(1, sizeof model, workspace_out));
    memcpy(*workspace_out, &model, sizeof model);
    return HYSGD_OK;
}

static inline void uniform_close(const void *self, void *workspace) {
    (void)self;
    memory_free(workspace);
}

static inline void uniform_look(struct uniform_model *model, const float *vector, float expected) {
    size_t different = 0;
    for (size_t i = 0; i < model->tensor.dims[0]; i++)
        different += vector[i] != expected;
    if (different > 0)
        atomic_fetch_add(&model->mixed, 1);
}

static inline enum hysgd_status uniform_gradient(const void *self, void *workspace, const float *vector,
                                                 const struct hysgd_batch *batch, float *gradient_out,
                                                 double *loss_out) {
    struct uniform_model *model = uniform_of(workspace);
    float first = vector[0];
    (void)self;
    uniform_look(model, vector, first);
    for (size_t i = 0; i < model->tensor.dims[0]; i++)
        gradient_out[i] = uniform_value(batch->worker, batch->draw);
    uniform_look(model, vector, first); /* nobody has written meanwhile */
    *loss_out = 1;
    return HYSGD_OK;
}

static inline enum hysgd_status uniform_evaluate(const void *self, void *workspace, const float *vector,
                                                 const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    (void)self;
    uniform_look(uniform_of(workspace), vector, vector[0]);
    metrics->count += batch->count;
    return HYSGD_OK;
}

static const struct hysgd_model_ops uniform_ops = {.about = {.name = "uniform"},
                                                   .describe = uniform_describe,
                                                   .open = uniform_open,
                                                   .close = uniform_close,
                                                   .gradient = uniform_gradient,
                                                   .evaluate = uniform_evaluate};

/* The batches of a worker that are behind applied gradients, where all weights are 1. */
static inline uint64_t uniform_applied(const struct run *run, int worker) {
    return (uint64_t)run->training.shares.by_worker[worker].applied / run->setup.batch;
}

/* With combine=sum, sgd and rate 1, also in local steps, the parameters are minus the sum of the gradients of the
 * applied batches, exactly. A worker's applied batches are its first ones where the policy drops none. */
static inline float uniform_expected(const struct run *run) {
    double sum = 0;
    for (int w = 0; w < run->summary.workers; w++)
        for (uint64_t draw = 0; draw < uniform_applied(run, w); draw++)
            sum += (double)uniform_value((uint32_t)w, draw);
    return (float)-sum;
}

static inline struct run_setup uniform_setup(struct uniform_model *model, size_t parameters) {
    *model = (struct uniform_model){.tensor = {.name = "w", .rank = 1, .dims = {parameters}}};
    return (struct run_setup){.own_model = &uniform_ops,
                              .own_model_self = model,
                              .optimizer = "sgd,rate=1",
                              .combine = ENGINE_SUM,
                              .batch = 1};
}

/* After the run: no mixed versions, and exactly the applied gradients in the sum. */
static inline void uniform_check(struct uniform_model *model, const struct run *run) {
    const float *vector = training_vector(&run->training);
    float expected = uniform_expected(run);
    for (size_t i = 0; i < model->tensor.dims[0]; i++)
        if (vector[i] != expected)
            fail_msg("%s with %d workers on %s: parameter %zu is %g, expected %g", run->metadata[2][1],
                     run->setup.workers, run_text(run->from.runtime, "virtual"), i, (double)vector[i],
                     (double)expected);
    assert_int_equal(model->mixed, 0);
}

#endif
