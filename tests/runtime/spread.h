/* SPDX-License-Identifier: Apache-2.0 */
/* A run whose server is cut into slices, each a server of its own, driven by hand: workers deliver one at a time,
 * in an order that only their releases and a seed decide. With no slices it is the same run on one server, so that
 * both must end with the same bits. */
#ifndef HYSGD_TESTS_RUNTIME_SPREAD_H
#define HYSGD_TESTS_RUNTIME_SPREAD_H

#include "base/random.h"
#include "fixture.h"
#include "runtime/snapshot_shared.h"

enum { SPREAD_MOST = 6, SPREAD_PARAMETERS = 2 * SERVER_SHARD + 1000, SPREAD_STATISTICS = 777 };
enum { SPREAD_COUNT = SPREAD_PARAMETERS + SPREAD_STATISTICS };

/* ---- A model of a few shards whose gradients are noise and a pull to the origin ---- */

static const struct hysgd_tensor spread_tensors[] = {
    {.name = "w", .rank = 2, .dims = {2, SERVER_SHARD - 500}, .first = 0},
    {.name = "b",
     .rank = 1,
     .dims = {SPREAD_PARAMETERS - 2 * (SERVER_SHARD - 500)},
     .first = 2 * (SERVER_SHARD - 500)},
    {.name = "running", .rank = 1, .dims = {SPREAD_STATISTICS}, .first = SPREAD_PARAMETERS}};

static inline void spread_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    *layout_out = (struct hysgd_model_layout){.parameter_count = SPREAD_PARAMETERS,
                                              .statistic_count = SPREAD_STATISTICS,
                                              .statistic_momentum = 0.1,
                                              .tensors = spread_tensors,
                                              .tensor_count = 3};
}

static inline void spread_fill(uint64_t seed, uint32_t worker, uint64_t draw, float *vector_out) {
    struct random random;
    random_init(&random, seed, worker, RANDOM_TEST, draw);
    random_fill_normal(&random, vector_out, SPREAD_COUNT);
}

static inline void spread_start(const void *self, uint64_t seed, float *vector_out) {
    (void)self;
    spread_fill(seed, 1000, 0, vector_out);
}

static inline enum hysgd_status spread_gradient(const void *self, void *workspace, const float *vector,
                                                const struct hysgd_batch *batch, float *gradient_out,
                                                double *loss_out) {
    (void)self, (void)workspace;
    spread_fill(batch->seed, batch->worker, batch->draw, gradient_out);
    for (size_t i = 0; i < SPREAD_PARAMETERS; i++)
        gradient_out[i] = 0.02f * gradient_out[i] + vector[i];
    *loss_out = fabs((double)vector[0]) + fabs((double)gradient_out[SERVER_SHARD]);
    return HYSGD_OK;
}

static const struct hysgd_model_ops spread_model = {
    .about = {.name = "spread"}, .describe = spread_describe, .start = spread_start, .gradient = spread_gradient};

/* ---- The run ---- */

struct spread {
    struct run run;
    int slices; /* 0: the training's own server */
    struct server servers[SPREAD_MOST];
    size_t first[SPREAD_MOST + 1];
    float *buffer;      /* what a worker of slices delivers */
    float *reads[16];   /* [workers] what it computes at, where there are slices */
    struct random turn; /* whose delivery comes next */
    double seconds;
};

static inline struct training *spread_training(struct spread *spread) {
    return &spread->run.training;
}

static inline struct snapshot_slice spread_slice(struct spread *spread, int number) {
    return (struct snapshot_slice){&spread->servers[number], spread->first[number]};
}

static inline void spread_open_slice(struct spread *spread, int number) {
    const struct training *training = &spread->run.training;
    struct server *server = &spread->servers[number];
    size_t first = spread->first[number], end = spread->first[number + 1];
    struct hysgd_model_layout layout = server_slice(&training->layout, first, end);
    assert_int_equal(server_init(server, &spread->run.optimizer, &layout, training->setup->workers), HYSGD_OK);
    if (training->engine.table.rows)
        assert_int_equal(server_keep_table(server), HYSGD_OK);
    assert_int_equal(server_correct(server, &spread->run.correction), HYSGD_OK);
    assert_int_equal(server_watch(server, training->estimator.has_probe), HYSGD_OK);
    server->is_split = spread->slices > 1;
    const struct snapshot_slice slice = spread_slice(spread, number);
    memcpy(server_vector(server), training->whole + first, (end - first) * sizeof(float));
    if (spread->run.from.resume_path &&
        snapshot_read_slices(training, spread->run.from.resume_path, &slice, 1) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
}

static inline void spread_start_released(struct spread *spread);

static inline void spread_open(struct spread *spread, const struct run_setup *from, int slices) {
    struct run_setup changed = *from;
    *spread = (struct spread){.slices = slices};
    changed.own_model = &spread_model;
    changed.has_remote_vectors = slices > 0;
    if (run_open(&spread->run, &changed) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    struct training *training = spread_training(spread);
    random_init(&spread->turn, 5, 0, RANDOM_TEST, 0);
    training->drainer = pthread_self();
    assert_int_equal(training->layout.parameter_count, SPREAD_PARAMETERS);
    for (int i = 0; i <= slices; i++)
        spread->first[i] = slices > 0 ? server_slice_first(SPREAD_COUNT, slices, i) : 0;
    for (int i = 0; i < slices; i++)
        spread_open_slice(spread, i);
    assert_int_equal(memory_alloc(SPREAD_COUNT, sizeof(float), &spread->buffer), HYSGD_OK);
    for (int i = 0; i < training->setup->workers; i++) {
        assert_int_equal(memory_alloc(SPREAD_COUNT, sizeof(float), &spread->reads[i]), HYSGD_OK);
        if (slices > 0)
            training->workers[i].gradient = spread->buffer;
    }
    drive_restart(training, training->start_seconds);
    spread_start_released(spread);
}

static inline void spread_close(struct spread *spread) {
    for (int i = 0; i < spread->run.setup.workers; i++)
        memory_free(spread->reads[i]);
    memory_free(spread->buffer);
    for (int i = 0; i < spread->slices; i++)
        server_fini(&spread->servers[i]);
    run_close(&spread->run);
}

/* A slice of what the worker delivers travels to its server. */
static inline void spread_send(struct spread *spread, int worker, int slice) {
    const struct wire_format *format = &spread_training(spread)->outgoing.format;
    size_t first = spread->first[slice], count = spread->first[slice + 1] - first;
    uint8_t *bytes;
    assert_int_equal(memory_alloc(wire_bound(format, first, count), 1, &bytes), HYSGD_OK);
    size_t size = wire_encode(format, first, count, spread->buffer + first, bytes);
    float *there = spread->servers[slice].gradients[worker];
    assert_int_equal(wire_decode(format, first, count, bytes, size, there), HYSGD_OK);
    memory_free(bytes);
}

/* Every worker computes as soon as it is released; what it delivers waits in the servers' buffers. */
static inline void spread_compute(struct spread *spread, int worker) {
    struct training *training = spread_training(spread);
    assert_int_equal(worker_open(training, worker), HYSGD_OK);
    const float *vector =
        spread->slices > 0 ? spread->reads[worker] : server_read_vector(&training->server, worker);
    assert_int_equal(worker_compute(training, worker, vector, NULL), HYSGD_OK);
    if (spread->slices == 0)
        server_has_read(&training->server, worker);
    for (int i = 0; i < spread->slices; i++) {
        spread_send(spread, worker, i);
        server_has_read(&spread->servers[i], worker);
    }
}

static inline void spread_start_released(struct spread *spread) {
    struct training *training = spread_training(spread);
    const struct engine *engine = &training->engine;
    for (int k = 0; k < engine->released_count; k++) {
        int worker = engine->released[k];
        drive_started(training, worker, engine->workers[worker].read, spread->seconds);
        if (spread->slices == 0)
            drive_read(training, worker);
        for (int i = 0; i < spread->slices && drive_reads(training, worker); i++) {
            size_t count = spread->first[i + 1] - spread->first[i];
            server_read(&spread->servers[i], worker);
            memcpy(spread->reads[worker] + spread->first[i], server_read_vector(&spread->servers[i], worker),
                   count * sizeof(float));
        }
        spread_compute(spread, worker);
    }
}

/* Gives slices that wait the totals over all of them. True: they did wait. */
static inline bool spread_exchange(struct spread *spread) {
    double totals[16] = {0};
    int columns, waiting = 0;
    for (int i = 0; i < spread->slices; i++) {
        if (server_stage(&spread->servers[i]) != SERVER_WAITS)
            continue;
        const double *values = server_values(&spread->servers[i], &columns);
        server_add_values(totals, values, columns, spread->servers[i].shard_count);
        waiting++;
    }
    for (int i = 0; i < spread->slices && waiting > 0; i++)
        if (spread->servers[i].shard_count > 0)
            server_continue(&spread->servers[i], totals);
    return waiting > 0;
}

static inline void spread_end(struct spread *spread, struct server *server) {
    struct training *training = spread_training(spread);
    assert_true(server_is_done(server));
    if (atomic_load(&server->is_bad)) {
        int bad = server_find_bad(server, &training->order);
        atomic_store(&training->server.is_bad, true);
        training->bad_worker = bad > training->bad_worker ? bad : training->bad_worker;
    }
    server_end(server);
    if (server->probe)
        probe_total(&training->probed, server->probe->of_shards, server->probe->shard_count);
}

/* Every slice carries out the order, a few shards at a time. */
static inline void spread_work(struct spread *spread) {
    struct training *training = spread_training(spread);
    if (spread->slices == 0) {
        server_help(&training->server, 0);
        return;
    }
    for (int i = 0; i < spread->slices; i++)
        assert_int_equal(server_begin(&spread->servers[i], &training->order), HYSGD_OK);
    do
        for (int i = 0; i < spread->slices; i++)
            while (server_work(&spread->servers[i], i + 1) == SERVER_WORKS)
                ;
    while (spread_exchange(spread));
    training->probed = (struct probe_values){0};
    for (int i = 0; i < spread->slices; i++)
        spread_end(spread, &spread->servers[i]);
}

static inline enum hysgd_status spread_act(struct spread *spread, const struct engine_verdict *verdict) {
    struct training *training = spread_training(spread);
    HYSGD_TRY(drive_begin_action(training, verdict->action));
    if (verdict->action != ENGINE_NOTHING)
        spread_work(spread);
    HYSGD_TRY(drive_end_action(training, verdict, spread->seconds, 0));
    spread_start_released(spread);
    return HYSGD_OK;
}

/* One of the workers that have computed. */
static inline int spread_next(struct spread *spread) {
    const struct engine *engine = &spread->run.training.engine;
    for (;;) {
        int worker = (int)random_below(&spread->turn, (uint64_t)engine->worker_count);
        if (engine->workers[worker].activity == ENGINE_COMPUTING)
            return worker;
    }
}

static inline enum hysgd_status spread_step(struct spread *spread) {
    struct engine_verdict verdict;
    struct drive_arrival arrival = {.worker = spread_next(spread), .compute_seconds = 1, .receive_seconds = 0.001};
    spread->seconds += 0.125 + random_uniform(&spread->turn);
    arrival.seconds = spread->seconds;
    HYSGD_TRY(drive_arrive(spread_training(spread), &arrival, &verdict));
    if (spread->slices > 0)
        worker_settle(spread_training(spread), arrival.worker);
    return spread_act(spread, &verdict);
}

static inline void spread_steps(struct spread *spread, int steps) {
    for (int i = 0; i < steps; i++)
        if (spread_step(spread) != HYSGD_OK)
            fail_msg("%s", hysgd_error_message());
}

/* A checkpoint in which each slice and each worker is a process. */
static inline enum hysgd_status spread_save_parts(struct spread *spread, struct snapshot_file *file) {
    enum hysgd_status status = HYSGD_OK;
    size_t count;
    const struct snapshot_place *places = snapshot_places(file, &count);
    int workers = spread->run.setup.workers;
    for (int i = 0; status == HYSGD_OK && i < spread->slices + workers; i++) {
        struct snapshot_part *part;
        const struct snapshot_slice slice = spread_slice(spread, i < spread->slices ? i : 0);
        const struct snapshot_holdings holdings = {.slices = &slice,
                                                   .slice_count = i < spread->slices,
                                                   .training = spread_training(spread),
                                                   .worker = i - spread->slices};
        HYSGD_TRY(snapshot_take_part(&holdings, places, count, i % 2, &part));
        status = snapshot_write_part(part, snapshot_temporary(file));
        snapshot_discard_part(part);
    }
    return status;
}

static inline enum hysgd_status spread_save_slices(struct spread *spread, const struct snapshot_image *image) {
    struct snapshot_file *file;
    HYSGD_TRY(snapshot_begin(image, &spread->run.setup, &file));
    enum hysgd_status status = spread_save_parts(spread, file);
    if (status == HYSGD_OK)
        return snapshot_commit(file);
    snapshot_abort(file);
    return status;
}

static inline enum hysgd_status spread_save(struct spread *spread) {
    struct training *training = spread_training(spread);
    struct snapshot_image *image;
    HYSGD_TRY(drive_begin_save(training, spread->seconds, NULL, &image));
    enum hysgd_status status =
        spread->slices > 0 ? spread_save_slices(spread, image) : drive_write_save(training, image);
    drive_end_save(training, image, status, spread->seconds);
    return status;
}

/* A vector of the server as a whole. */
static inline void spread_gather(const struct spread *spread, float *vector_out) {
    if (spread->slices == 0)
        memcpy(vector_out, server_vector(&spread->run.training.server), SPREAD_COUNT * sizeof(float));
    for (int i = 0; i < spread->slices; i++)
        memcpy(vector_out + spread->first[i], server_vector(&spread->servers[i]),
               (spread->first[i + 1] - spread->first[i]) * sizeof(float));
}

#endif
