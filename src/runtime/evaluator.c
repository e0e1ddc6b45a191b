/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation over a split: see evaluator.h. A model without an evaluate of its own is measured by the loss of its
 * gradient. */
#include "runtime/evaluator.h"

#include "base/memory.h"
#include "data/data.h"
#include "model/model.h"

enum hysgd_status evaluator_init(struct evaluator *evaluator, const struct plugin *model, const struct plugin *data,
                                 size_t batch) {
    *evaluator = (struct evaluator){.model = model_ops(model),
                                    .model_self = model->self,
                                    .data = data_ops(data),
                                    .data_self = data->self,
                                    .batch = batch};
    evaluator->data->describe(data->self, &evaluator->shape);
    HYSGD_TRY(batch_init(&evaluator->buffers, &evaluator->shape, batch));
    if (!evaluator->model->evaluate) {
        struct hysgd_model_layout layout;
        evaluator->model->describe(model->self, &layout);
        HYSGD_TRY(memory_alloc(layout.parameter_count + layout.statistic_count, sizeof *evaluator->gradient,
                               &evaluator->gradient));
    }
    return HYSGD_OK;
}

void evaluator_fini(struct evaluator *evaluator) {
    if (evaluator->workspace && evaluator->model->close)
        evaluator->model->close(evaluator->model_self, evaluator->workspace);
    batch_fini(&evaluator->buffers);
    memory_free(evaluator->gradient);
    *evaluator = (struct evaluator){0};
}

static enum hysgd_status require_workspace(struct evaluator *evaluator) {
    if (evaluator->is_open)
        return HYSGD_OK;
    if (evaluator->model->open)
        HYSGD_TRY(evaluator->model->open(evaluator->model_self, evaluator->batch, &evaluator->workspace));
    evaluator->is_open = true;
    return HYSGD_OK;
}

static void *workspace_of(const struct evaluator *evaluator) {
    return evaluator->model->open ? evaluator->workspace : (void *)(uintptr_t)evaluator->model_self;
}

static struct hysgd_batch gather(struct evaluator *evaluator, enum hysgd_split split, uint64_t first,
                                 size_t count) {
    for (size_t i = 0; i < count; i++)
        evaluator->buffers.indices[i] = first + i;
    struct hysgd_batch batch =
        batch_gather(&evaluator->buffers, evaluator->data, evaluator->data_self, split, count);
    batch.worker = UINT32_MAX;
    return batch;
}

static enum hysgd_status evaluate_batch(struct evaluator *evaluator, const float *vector,
                                        const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    if (evaluator->model->evaluate)
        return evaluator->model->evaluate(evaluator->model_self, workspace_of(evaluator), vector, batch, metrics);
    double loss;
    HYSGD_TRY(evaluator->model->gradient(evaluator->model_self, workspace_of(evaluator), vector, batch,
                                         evaluator->gradient, &loss));
    metrics->count += batch->count;
    metrics->loss += loss * (double)batch->count;
    return HYSGD_OK;
}

enum hysgd_status evaluator_run(struct evaluator *evaluator, enum hysgd_split split, const float *vector,
                                uint64_t limit, struct hysgd_metrics *metrics_out) {
    uint64_t total = split == HYSGD_TRAIN ? evaluator->shape.train_count : evaluator->shape.test_count;
    if (limit > 0 && limit < total)
        total = limit;
    struct hysgd_metrics metrics = {0};
    HYSGD_TRY(require_workspace(evaluator));
    for (uint64_t first = 0; first < total; first += evaluator->batch) {
        size_t count = total - first < evaluator->batch ? (size_t)(total - first) : evaluator->batch;
        struct hysgd_batch batch = gather(evaluator, split, first, count);
        HYSGD_TRY(evaluate_batch(evaluator, vector, &batch, &metrics));
    }
    *metrics_out = metrics;
    return HYSGD_OK;
}

enum hysgd_status evaluator_predict(struct evaluator *evaluator, enum hysgd_split split, const float *vector,
                                    uint64_t first, size_t count, float *outputs_out, int32_t *labels_out) {
    if (!evaluator->model->predict)
        return hysgd_fail(HYSGD_USAGE, "model %s cannot predict", evaluator->model->about.name);
    HYSGD_TRY(require_workspace(evaluator));
    struct hysgd_batch batch = gather(evaluator, split, first, count);
    for (size_t i = 0; labels_out && batch.labels && i < count; i++)
        labels_out[i] = batch.labels[i];
    return evaluator->model->predict(evaluator->model_self, workspace_of(evaluator), vector, &batch, outputs_out);
}
