/* SPDX-License-Identifier: Apache-2.0 */
/* Computing gradients: see worker.h. */
#include "runtime/worker.h"

#include "base/memory.h"
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
    memory_free(worker->indices);
    memory_free(worker->inputs);
    memory_free(worker->targets);
    memory_free(worker->labels);
    *worker = (struct training_worker){0};
}

enum hysgd_status worker_open(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    const struct hysgd_data_shape *shape = &training->shape;
    const struct plugin *model = training->setup->model;
    size_t batch = training->setup->batch;
    if (worker->is_open)
        return HYSGD_OK;
    size_t width = (size_t)shape->channels * (size_t)shape->height * (size_t)shape->width;
    HYSGD_TRY(memory_alloc(batch, sizeof *worker->indices, &worker->indices));
    HYSGD_TRY(memory_alloc(batch * width, sizeof *worker->inputs, &worker->inputs));
    if (shape->targets > 0)
        HYSGD_TRY(memory_alloc(batch * (size_t)shape->targets, sizeof *worker->targets, &worker->targets));
    if (shape->classes > 0)
        HYSGD_TRY(memory_alloc(batch, sizeof *worker->labels, &worker->labels));
    if (model_ops(model)->open)
        HYSGD_TRY(model_ops(model)->open(model->self, batch, &worker->workspace));
    worker->is_open = true;
    return HYSGD_OK;
}

enum hysgd_status worker_compute(struct training *training, int index, const float *vector) {
    struct training_worker *worker = &training->workers[index];
    const struct training_setup *setup = training->setup;
    struct hysgd_batch batch = {.count = setup->batch,
                                .inputs = worker->inputs,
                                .labels = worker->labels,
                                .targets = worker->targets,
                                .seed = setup->seed,
                                .worker = (uint32_t)index,
                                .draw = worker->draws};
    sampler_next(&worker->sampler, setup->batch, worker->indices);
    data_ops(setup->data)
        ->gather(setup->data->self, HYSGD_TRAIN, worker->indices, setup->batch, worker->inputs, worker->labels,
                 worker->targets);
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
