/* SPDX-License-Identifier: Apache-2.0 */
/* Computing gradients: see worker.h. */
#include "runtime/worker.h"

#include "data/data.h"
#include "model/model.h"

enum hysgd_status worker_init(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    return sampler_init(&worker->sampler, &training->partition, index, training->setup->seed);
}

void worker_fini(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    const struct plugin *model = training->setup->model;
    if (worker->workspace && model_ops(model)->close)
        model_ops(model)->close(model->self, worker->workspace);
    sampler_fini(&worker->sampler);
    batch_fini(&worker->buffers);
    *worker = (struct training_worker){0};
}

enum hysgd_status worker_open(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    const struct plugin *model = training->setup->model;
    size_t batch = training->setup->batch;
    if (worker->is_open)
        return HYSGD_OK;
    HYSGD_TRY(batch_init(&worker->buffers, &training->shape, batch));
    if (model_ops(model)->open)
        HYSGD_TRY(model_ops(model)->open(model->self, batch, &worker->workspace));
    worker->is_open = true;
    return HYSGD_OK;
}

enum hysgd_status worker_compute(struct training *training, int index, const float *vector) {
    struct training_worker *worker = &training->workers[index];
    const struct training_setup *setup = training->setup;
    sampler_next(&worker->sampler, setup->batch, worker->buffers.indices);
    struct hysgd_batch batch =
        batch_gather(&worker->buffers, data_ops(setup->data), setup->data->self, HYSGD_TRAIN, setup->batch);
    batch.seed = setup->seed;
    batch.worker = (uint32_t)index;
    batch.draw = worker->draws;
    worker->draws++;
    const struct hysgd_model_ops *model = model_ops(setup->model);
    return model->gradient(setup->model->self, model->open ? worker->workspace : setup->model->self, vector, &batch,
                           training->server.gradients[index], &worker->loss);
}

void worker_seek(struct training *training, int index, uint64_t draws) {
    struct training_worker *worker = &training->workers[index];
    worker->draws = draws;
    sampler_seek(&worker->sampler, draws * training->setup->batch);
}
