/* SPDX-License-Identifier: Apache-2.0 */
/* Building a run from its setup, and its account at the end: see training.h. */
#include "runtime/training.h"

#include <math.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/data.h"
#include "model/model.h"
#include "runtime/drive.h"
#include "runtime/snapshot.h"
#include "runtime/worker.h"
#include "runtime/worker_list.h"

static enum hysgd_status init_server(struct training *training) {
    const struct training_setup *setup = training->setup;
    struct server *server = &training->server;
    if (setup->has_remote_vectors) {
        server_describe(server, setup->optimizer, &training->layout, setup->workers);
    } else {
        HYSGD_TRY(server_init(server, setup->optimizer, &training->layout, setup->workers));
    }
    if (training->engine.table.rows)
        HYSGD_TRY(server_keep_table(server));
    return setup->correction ? server_correct(server, setup->correction) : HYSGD_OK;
}

static enum hysgd_status init_vectors(struct training *training) {
    const struct training_setup *setup = training->setup;
    const struct hysgd_model_ops *model = model_ops(setup->model);
    const struct server *server = &training->server;
    HYSGD_TRY(server_order_init(&training->order, setup->workers));
    HYSGD_TRY(init_server(training));
    if (setup->has_remote_vectors)
        HYSGD_TRY(memory_alloc(server->count, sizeof *training->whole, &training->whole));
    for (int i = 0; !setup->has_remote_vectors && i < setup->workers; i++)
        training->workers[i].gradient = server->gradients[i];
    if (model->start)
        model->start(setup->model->self, setup->seed, training->whole ? training->whole : server_vector(server));
    return evaluator_init(&training->evaluator, setup->model, setup->data, setup->evaluate_batch);
}

static enum hysgd_status init_workers(struct training *training) {
    const struct training_setup *setup = training->setup;
    size_t count = (size_t)setup->workers;
    HYSGD_TRY(memory_alloc(count, sizeof *training->accounts, &training->accounts));
    HYSGD_TRY(memory_alloc(count, sizeof *training->workers, &training->workers));
    HYSGD_TRY(attribution_init(&training->attribution, setup->workers, 0, training->accounts));
    if (!setup->computes_gradients)
        return HYSGD_OK;
    HYSGD_TRY(partition_init(&training->partition, setup->partition, setup->data, setup->workers - setup->spare,
                             setup->seed));
    HYSGD_TRY(partition_add_places(&training->partition, setup->spare));
    HYSGD_TRY(shares_init(&training->shares, &training->partition, setup->data, &training->shape));
    for (int i = 0; i < setup->workers; i++)
        if (training_computes(training, i))
            HYSGD_TRY(worker_init(training, i));
    return HYSGD_OK;
}

static enum hysgd_status init_weighting(struct training *training) {
    const struct training_setup *setup = training->setup;
    const struct partition *partition = setup->computes_gradients ? &training->partition : NULL;
    HYSGD_TRY(worker_weights_read(setup->worker_weights, setup->workers, partition, &training->worker_weights));
    training->engine.weighting = setup->weighting;
    training->engine.worker_weights = training->worker_weights;
    return HYSGD_OK;
}

/* What follows from who has which samples. */
static void take_note_of_partition(struct training *training) {
    shares_deal(&training->shares, &training->partition);
    worker_weights_deal(training->setup->worker_weights, &training->partition, training->worker_weights);
}

enum hysgd_status training_orphan(struct training *training, int worker) {
    if (training->setup->orphans == TRAINING_SKIP_ORPHANS || !training->setup->computes_gradients)
        return HYSGD_OK;
    HYSGD_TRY(partition_lose(&training->partition, worker));
    take_note_of_partition(training);
    return HYSGD_OK;
}

enum hysgd_status training_adopt(struct training *training, int worker) {
    if (!training->setup->computes_gradients)
        return HYSGD_OK;
    HYSGD_TRY(partition_join(&training->partition, worker));
    take_note_of_partition(training);
    return HYSGD_OK;
}

static enum hysgd_status init_estimator(struct training *training) {
    const struct training_setup *setup = training->setup;
    HYSGD_TRY(
        estimate_init(&training->estimator, training->engine.policy, setup->workers, setup->computes_gradients));
    if (training->estimator.is_wanted)
        training->engine.progress.estimates = &training->estimator.state.values;
    return training_has_vectors(training) ? server_watch(&training->server, training->estimator.has_probe)
                                          : HYSGD_OK;
}

enum hysgd_status training_change_policy(struct training *training, const struct plugin *policy,
                                         struct engine_verdict *verdict) {
    enum hysgd_status status = engine_change_policy(&training->engine, policy, training->setup->combine, verdict);
    estimate_fini(&training->estimator);
    return status == HYSGD_OK ? init_estimator(training) : status;
}

enum hysgd_status training_init(struct training *training, const struct training_setup *setup) {
    *training = (struct training){.setup = setup,
                                  .bad_worker = -1,
                                  .evaluated_version = UINT64_MAX,
                                  .train_loss = NAN,
                                  .test_loss = NAN,
                                  .test_accuracy = NAN,
                                  .target_seconds = NAN};
    data_ops(setup->data)->describe(setup->data->self, &training->shape);
    model_ops(setup->model)->describe(setup->model->self, &training->layout);
    if (setup->save_path && !setup->computes_gradients)
        return hysgd_fail(HYSGD_USAGE, "%s: a run without gradients has no parameters to save", setup->save_path);
    HYSGD_TRY(engine_init(&training->engine, setup->policy, setup->combine, setup->workers));
    training->engine.has_loose_parts = !setup->computes_gradients && !training->engine.policy->wants_estimates;
    HYSGD_TRY(init_workers(training));
    HYSGD_TRY(init_weighting(training));
    HYSGD_TRY(setup->computes_gradients ? init_vectors(training) : HYSGD_OK);
    HYSGD_TRY(init_estimator(training));
    HYSGD_TRY(local_init(training));
    HYSGD_TRY(outgoing_init(training));
    engine_begin(&training->engine);
    if (setup->spare > 0) {
        engine_leave_out(&training->engine, setup->workers - setup->spare);
        training->estimator.state.lost_workers = setup->spare;
    }
    drive_plan_milestones(training, 0);
    return HYSGD_OK;
}

void training_fini(struct training *training) {
    if (!training->setup)
        return;
    for (int i = 0; training->workers && i < training->setup->workers; i++)
        worker_fini(training, i);
    local_fini(training);
    outgoing_fini(training);
    evaluator_fini(&training->evaluator);
    server_fini(&training->server);
    server_order_fini(&training->order);
    estimate_fini(&training->estimator);
    engine_fini(&training->engine);
    shares_fini(&training->shares);
    partition_fini(&training->partition);
    snapshot_free(training->resumed);
    memory_free(training->whole);
    memory_free(training->worker_weights);
    attribution_fini(&training->attribution);
    memory_free(training->workers);
    memory_free(training->accounts);
    training->setup = NULL;
}

const float *training_vector(const struct training *training) {
    return training_has_vectors(training) ? server_vector(&training->server) : training->whole;
}

void training_stop(struct training *training) {
    atomic_store(&training->is_stopping, true);
}

uint64_t training_checksum(const struct training *training, const float *vector) {
    return vector != NULL && training->setup->recorder ? training_identify(training, vector) : 0;
}

uint64_t training_identify(const struct training *training, const float *vector) {
    return crc32_z(0, (const Bytef *)vector, training->server.count * sizeof *vector);
}

void training_summarize(struct training *training, double seconds, struct event_summary *summary) {
    const struct engine *engine = &training->engine;
    shares_summarize(&training->shares);
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        struct event_account *account = &training->accounts[i];
        account->applied = worker->applied;
        account->dropped = worker->dropped + worker->held;
        account->abandoned = worker->abandoned;
        account->received = account->applied + account->dropped;
        account->batches = worker->received_batches;
        account->most_staleness = worker->most_staleness;
        account->staleness_sum = worker->staleness_sum;
        account->share = shares_of_worker(&training->shares, i);
        double *delivered = &training->workers[i].delivered_seconds;
        bool has_waited = worker->activity != ENGINE_LOST && !training->workers[i].is_under_way;
        if (has_waited && seconds > *delivered) {
            account->waiting_seconds += seconds - *delivered;
            training->attribution.open_seconds += seconds - *delivered;
            *delivered = seconds; /* a second summary adds nothing */
        }
    }
    *summary = (struct event_summary){.reason = training->reason,
                                      .seconds = seconds,
                                      .updates = engine->progress.version,
                                      .forced_updates = engine->forced,
                                      .returns = training->returns,
                                      .undone = training->undone,
                                      .unfinished = (uint64_t)engine->progress.computing + engine->lost,
                                      .server_seconds = training->server_seconds,
                                      .server_waiting_seconds = training->attribution.server_seconds,
                                      .open_waiting_seconds = training->attribution.open_seconds,
                                      .train_loss = training->train_loss,
                                      .test_loss = training->test_loss,
                                      .test_accuracy = training->test_accuracy,
                                      .target_seconds = training->target_seconds,
                                      .checksum = training_checksum(training, training_vector(training)),
                                      .accounts = training->accounts,
                                      .workers = engine->worker_count,
                                      .classes = training->shares.of_class,
                                      .class_count = training->shares.classes};
}
