/* SPDX-License-Identifier: Apache-2.0 */
/* Computing gradients: see worker.h. */
#include "runtime/worker.h"

#include "base/machine.h"
#include "base/memory.h"
#include "data/data.h"
#include "linalg/vector.h"
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
    memory_free(worker->piece);
    *worker = (struct training_worker){0};
}

void worker_take_over(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    const struct partition *partition = &training->partition;
    if (worker->taken.changes < partition->change_count && partition->counts[index] > 0)
        worker->taken = (struct worker_taken){partition->change_count, worker->draws};
}

/* By the thread that computes: a batch that it has prepared may be of the samples before. */
static enum hysgd_status take_over(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    uint64_t first = worker->taken.draw * training->setup->batch;
    if (worker->sampler.changes == worker->taken.changes && worker->sampler.first == first)
        return HYSGD_OK;
    HYSGD_TRY(sampler_take_over(&worker->sampler, worker->taken.changes, first));
    worker_seek(training, index, worker->draws);
    return HYSGD_OK;
}

enum hysgd_status worker_open(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    const struct plugin *model = training->setup->model;
    size_t count = worker_piece_size(training->setup);
    if (worker->is_open)
        return HYSGD_OK;
    HYSGD_TRY(batch_init(&worker->buffers, &training->shape, count));
    if (worker_pieces(training->setup) > 1)
        HYSGD_TRY(memory_alloc(training->server.count, sizeof *worker->piece, &worker->piece));
    if (model_ops(model)->open)
        HYSGD_TRY(model_ops(model)->open(model->self, count, &worker->workspace));
    HYSGD_TRY(local_open(training, index));
    HYSGD_TRY(outgoing_open(training, index));
    worker->is_open = true;
    return HYSGD_OK;
}

static struct hysgd_batch gather_piece(struct training *training, struct training_worker *worker) {
    const struct plugin *data = training->setup->data;
    size_t count = worker_piece_size(training->setup);
    sampler_next(&worker->sampler, count, worker->buffers.indices);
    return batch_gather(&worker->buffers, data_ops(data), data->self, HYSGD_TRAIN, count);
}

void worker_prepare(struct training *training, int index) {
    struct training_worker *worker = &training->workers[index];
    if (!worker->is_prepared)
        worker->prepared = gather_piece(training, worker);
    worker->is_prepared = true;
}

static struct hysgd_batch next_piece(struct training *training, struct training_worker *worker) {
    double begun = machine_seconds();
    struct hysgd_batch batch = worker->is_prepared ? worker->prepared : gather_piece(training, worker);
    worker->is_prepared = false;
    worker->data_seconds += machine_seconds() - begun;
    return batch;
}

/* The gradient of piece number `number` of the worker's present batch. The pieces of a gradient have
 * random streams of their own, or they would all see the same noise. */
static enum hysgd_status compute_piece(struct training *training, int index, const float *vector, size_t number,
                                       float *gradient_out, double *loss_out) {
    struct training_worker *worker = &training->workers[index];
    const struct training_setup *setup = training->setup;
    const struct hysgd_model_ops *model = model_ops(setup->model);
    struct hysgd_batch batch = next_piece(training, worker);
    shares_add(&training->shares, index, batch.labels, batch.count);
    batch.seed = setup->seed;
    batch.worker = (uint32_t)index;
    batch.draw = worker->draws * worker_pieces(setup) + number;
    return model->gradient(setup->model->self, model->open ? worker->workspace : setup->model->self, vector, &batch,
                           gradient_out, loss_out);
}

static bool watch_ends(const struct worker_watch *watch) {
    return watch && watch->gives_up(watch->self);
}

enum hysgd_status worker_gradient(struct training *training, int index, const float *vector,
                                  const struct worker_watch *watch, float *gradient_out) {
    struct training_worker *worker = &training->workers[index];
    size_t pieces = worker_pieces(training->setup);
    double loss, sum = 0;
    float *gradient = pieces > 1 ? worker->piece : gradient_out;
    worker->has_given_up = false;
    worker->data_seconds = 0;
    for (size_t i = 0; i < pieces && !worker->has_given_up; i++) {
        HYSGD_TRY(compute_piece(training, index, vector, i, gradient, &loss));
        sum += loss;
        if (pieces > 1)
            vector_accumulate(gradient_out, gradient, 1 / (float)pieces, i == 0, training->server.count);
        worker->has_given_up = watch_ends(watch);
    }
    worker->loss = sum / (double)pieces;
    worker_seek(training, index, worker->draws + 1); /* past the samples of what was given up */
    return HYSGD_OK;
}

enum hysgd_status worker_compute(struct training *training, int index, const float *vector,
                                 const struct worker_watch *watch) {
    float *gradient = training->workers[index].gradient;
    HYSGD_TRY(take_over(training, index));
    HYSGD_TRY(training->local.ops ? local_compute(training, index, vector, watch)
                                  : worker_gradient(training, index, vector, watch, gradient));
    if (!training->workers[index].has_given_up)
        outgoing_round(training, index, gradient);
    return HYSGD_OK;
}

void worker_settle(struct training *training, int index) {
    local_settle_vectors(training, index);
    outgoing_settle(training, index);
}

void worker_seek(struct training *training, int index, uint64_t draws) {
    struct training_worker *worker = &training->workers[index];
    worker->draws = draws;
    worker->is_prepared = false;
    if (worker->sampler.order)
        sampler_seek(&worker->sampler, draws * training->setup->batch);
}
