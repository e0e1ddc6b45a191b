/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a run that are the same whatever clock drives them: see drive.h. */
#include "runtime/drive.h"

#include <float.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>

#include "runtime/worker.h"

void drive_emit(struct training *training, const struct event *event) {
    attribution_add(&training->attribution, event);
    training->place.events++;
    training->place.seconds = event->seconds;
    if (!training->setup->recorder)
        return;
    while (!recorder_emit(training->setup->recorder, event)) {
        if (pthread_equal(pthread_self(), training->drainer))
            drive_drain(training, event->seconds);
        else
            sched_yield(); /* the draining thread is behind */
    }
}

void drive_flush(struct training *training, double seconds) {
    if (!training->setup->recorder)
        return;
    enum hysgd_status kept = recorder_flush(training->setup->recorder, seconds);
    (void)kept; /* as below */
}

void drive_drain(struct training *training, double seconds) {
    if (!training->setup->recorder)
        return;
    enum hysgd_status kept = recorder_drain(training->setup->recorder, seconds);
    (void)kept; /* by the recorder, see drive.h */
}

void drive_notice(struct training *training, const char *text) {
    if (!training->setup->recorder)
        return;
    enum hysgd_status kept = recorder_notice(training->setup->recorder, text);
    (void)kept; /* by the recorder, see drive.h */
}

/* Keeps a status and the message that the calling thread has for it, over whatever the sinks run into later. */
static void keep_status(struct training *training, enum hysgd_status status, const char *reason) {
    training->status = status;
    training->reason = reason;
    snprintf(training->message, sizeof training->message, "%s", hysgd_error_message());
}

void drive_fail(struct training *training, enum hysgd_status status) {
    if (training->status == HYSGD_OK)
        keep_status(training, status, status == HYSGD_DIVERGED ? "diverged" : "failed");
    atomic_store(&training->is_stopping, true);
}

void drive_stop(struct training *training, const char *reason) {
    if (!training->reason)
        training->reason = reason;
    atomic_store(&training->is_stopping, true);
}

void drive_go_on(struct training *training, bool also_asked) {
    if (training->status != HYSGD_OK || (!training->reason && !also_asked))
        return;
    training->reason = NULL;
    atomic_store(&training->is_stopping, false);
}

void drive_note_clock(struct training *training, double seconds, int rank, double offset_seconds,
                      double error_seconds) {
    drive_emit(training, &(struct event){.kind = EVENT_CLOCK,
                                         .worker = -1,
                                         .seconds = seconds,
                                         .version = training->engine.progress.version,
                                         .clock = {rank, offset_seconds, error_seconds}});
}

void drive_restart(struct training *training, double seconds) {
    const struct engine *engine = &training->engine;
    training->engine.progress.seconds = seconds;
    engine_restart(&training->engine);
    shares_turn(&training->shares, engine->table.round);
    for (int i = 0; i < engine->released_count; i++) {
        training->workers[engine->released[i]].delivered_seconds = seconds;
        training->workers[engine->released[i]].has_read = 0;
        attribution_restore(&training->attribution, engine->released[i], seconds, engine->progress.version);
    }
}

bool drive_reads(const struct training *training, int worker) {
    const struct engine *engine = &training->engine;
    return !engine->table.rows || engine->workers[worker].read == engine->progress.version;
}

void drive_read(struct training *training, int worker) {
    if (drive_reads(training, worker))
        server_read(&training->server, worker);
}

/* A version that the worker has is not sent again. */
static void count_read(struct training *training, int worker, uint64_t version) {
    if (training->workers[worker].has_read != version + 1)
        training->accounts[worker].traffic.received += outgoing_version_bytes(training);
    training->workers[worker].has_read = version + 1;
}

void drive_started(struct training *training, int worker, uint64_t version, double seconds) {
    struct event_account *account = &training->accounts[worker];
    account->waiting_seconds += seconds - training->workers[worker].delivered_seconds;
    training->workers[worker].is_under_way = true;
    worker_take_over(training, worker);
    if (training->setup->computes_gradients)
        shares_begin(&training->shares, worker);
    local_begin(training, worker, seconds);
    count_read(training, worker, version);
    drive_emit(training, &(struct event){.kind = EVENT_START,
                                         .worker = worker,
                                         .seconds = seconds,
                                         .version = version,
                                         .start = {.draw = training->workers[worker].draws}});
}

/* Says where the last good state is. */
static void describe_saved(const struct training *training, char *text, size_t size) {
    if (training->has_saved)
        snprintf(text, size, "the last good checkpoint is %s of update %llu", training->setup->save_path,
                 (unsigned long long)training->saved_version);
    else
        snprintf(text, size, "no checkpoint was saved before");
}

static enum hysgd_status check_loss(const struct training *training, int worker, double loss) {
    if (isfinite(loss))
        return HYSGD_OK;
    char saved[512];
    describe_saved(training, saved, sizeof saved);
    return hysgd_fail(HYSGD_DIVERGED, "the loss of worker %d is %s after update %llu (gradient %llu): %s", worker,
                      isnan(loss) ? "not a number" : "infinite",
                      (unsigned long long)training->engine.progress.version,
                      (unsigned long long)training->engine.progress.received + 1, saved);
}

double drive_epochs_of(const struct training *training, uint64_t batches) {
    return (double)batches * (double)training->setup->batch / (double)training->shape.train_count;
}

double drive_epochs(const struct training *training) {
    return drive_epochs_of(training, training->engine.received_batches);
}

/* The share of the run that is done when `received` gradients of `batches` batches are. */
static double fraction_at(const struct training *training, double seconds, uint64_t received, uint64_t batches) {
    const struct training_limits *limits = &training->setup->limits;
    double fraction = 0;
    if (limits->epochs > 0)
        fraction = fmax(fraction, drive_epochs_of(training, batches) / limits->epochs);
    if (limits->seconds > 0)
        fraction = fmax(fraction, seconds / limits->seconds);
    if (limits->updates > 0)
        fraction = fmax(fraction, (double)training->engine.progress.version / (double)limits->updates);
    if (limits->gradients > 0)
        fraction = fmax(fraction, (double)received / (double)limits->gradients);
    return fmin(fraction, 1);
}

double drive_fraction(const struct training *training, double seconds) {
    return fraction_at(training, seconds, training->engine.progress.received, training->engine.received_batches);
}

enum hysgd_status drive_arrive(struct training *training, const struct drive_arrival *arrival,
                               struct engine_verdict *verdict) {
    struct training_worker *worker = &training->workers[arrival->worker];
    struct event_account *account = &training->accounts[arrival->worker];
    HYSGD_TRY(check_loss(training, arrival->worker, worker->loss));
    uint64_t batches = training->engine.workers[arrival->worker].batches;
    double fraction = fraction_at(training, arrival->seconds, training->engine.progress.received + 1,
                                  training->engine.received_batches + batches);
    estimate_arrival(&training->estimator, arrival->worker, arrival->compute_seconds + arrival->transit_seconds,
                     arrival->receive_seconds);
    HYSGD_TRY(engine_arrive(&training->engine, arrival->worker, arrival->seconds, fraction, verdict));
    if (verdict->weight > 0 && training->setup->computes_gradients)
        shares_hold(&training->shares, arrival->worker, verdict->weight,
                    training->engine.table.rows && training->engine.progress.is_extra);
    shares_turn(&training->shares, training->engine.table.round);
    local_settle(training, arrival->worker, arrival->compute_seconds, arrival->transit_seconds);
    if (!training->setup->has_remote_vectors)
        worker_settle(training, arrival->worker);
    training->loss_sum += worker->loss * (double)batches;
    training->loss_count += batches;
    account->compute_seconds += arrival->compute_seconds;
    account->transit_seconds += arrival->transit_seconds;
    account->data_seconds += arrival->data_seconds;
    account->traffic.sent += outgoing_bytes(training, arrival->worker);
    worker->delivered_seconds = arrival->seconds - arrival->queue_seconds;
    worker->is_under_way = false;
    uint64_t version = training->engine.progress.version;
    if (verdict->weight > 0)
        estimate_held(&training->estimator, version - verdict->staleness);
    drive_emit(training, &(struct event){.kind = EVENT_ARRIVAL,
                                         .worker = arrival->worker,
                                         .seconds = arrival->seconds,
                                         .version = version,
                                         .arrival = {.read = version - verdict->staleness,
                                                     .weight = verdict->weight,
                                                     .batches = batches,
                                                     .loss = worker->loss,
                                                     .compute_seconds = arrival->compute_seconds,
                                                     .transit_seconds = arrival->transit_seconds,
                                                     .pull_seconds = arrival->pull_seconds,
                                                     .push_seconds = arrival->push_seconds,
                                                     .queue_seconds = arrival->queue_seconds,
                                                     .data_seconds = arrival->data_seconds,
                                                     .threshold = verdict->threshold,
                                                     .held = verdict->held}});
    return HYSGD_OK;
}

enum hysgd_status drive_abandon(struct training *training, const struct drive_abandonment *abandonment,
                                struct engine_verdict *verdict) {
    struct training_worker *worker = &training->workers[abandonment->worker];
    struct event_account *account = &training->accounts[abandonment->worker];
    double fraction = drive_fraction(training, abandonment->seconds);
    HYSGD_TRY(engine_abandon(&training->engine, abandonment->worker, abandonment->seconds, fraction, verdict));
    shares_turn(&training->shares, training->engine.table.round);
    account->abandoned_seconds += abandonment->spent_seconds;
    worker->delivered_seconds = abandonment->seconds - abandonment->queue_seconds;
    worker->is_under_way = false;
    uint64_t version = training->engine.progress.version;
    drive_emit(training, &(struct event){.kind = EVENT_ABANDONED,
                                         .worker = abandonment->worker,
                                         .seconds = abandonment->seconds,
                                         .version = version,
                                         .abandoned = {.read = version - verdict->staleness,
                                                       .spent_seconds = abandonment->spent_seconds,
                                                       .queue_seconds = abandonment->queue_seconds,
                                                       .is_cancelled = abandonment->is_cancelled}});
    return HYSGD_OK;
}

/* The learning rate of the update that is due, at the moment of the verdict, which the log of the run has. */
static struct optimizer_step next_step(const struct training *training) {
    const struct engine *engine = &training->engine;
    double samples = (double)engine->applied_batches * (double)training->setup->batch;
    struct optimizer_clock clock = {.updates = engine->progress.version,
                                    .samples = samples,
                                    .epochs = samples / (double)training->shape.train_count,
                                    .fraction = engine->progress.fraction};
    return (struct optimizer_step){.rate = optimizer_rate(training->setup->optimizer->self, &clock),
                                   .scale = 1,
                                   .number = engine->progress.version + 1};
}

/* The policy's factor of the learning rate. */
static enum hysgd_status ask_gain(struct training *training) {
    const struct engine *engine = &training->engine;
    const struct hysgd_policy_ops *policy = engine->policy;
    training->gain = policy->gain ? policy->gain(engine->policy_self, &engine->progress) : 1;
    if (training->gain >= 0 && training->gain <= DBL_MAX)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_FAILED, "policy %s: gives update %llu the gain %g: expected 0 to %g",
                      policy->about.name, (unsigned long long)engine->progress.version + 1, training->gain,
                      DBL_MAX);
}

enum hysgd_status drive_begin_action(struct training *training, enum engine_action action) {
    const struct engine *engine = &training->engine;
    if (action == ENGINE_NOTHING)
        return HYSGD_OK;
    training->order.turns_probe = estimate_begin(&training->estimator, engine, action == ENGINE_UPDATE);
    if (action == ENGINE_UPDATE) {
        struct optimizer_step step = next_step(training);
        HYSGD_TRY(ask_gain(training));
        step.rate *= training->gain;
        training->rate = step.rate;
        if (training->setup->computes_gradients)
            server_order_update(&training->order, engine, &step);
    } else if (training->setup->computes_gradients) {
        double rate = training->server.correction ? next_step(training).rate : 0;
        server_order_fold(&training->order, engine, rate);
    }
    if (training_has_vectors(training))
        return server_begin(&training->server, &training->order);
    training->bad_worker = -1;
    atomic_store_explicit(&training->server.is_bad, false, memory_order_relaxed);
    return HYSGD_OK;
}

enum hysgd_status drive_refuse_update(const struct training *training, uint64_t version, int worker) {
    char whose[64] = "a gradient", saved[512];
    if (worker >= 0)
        snprintf(whose, sizeof whose, "the gradient of worker %d", worker);
    describe_saved(training, saved, sizeof saved);
    return hysgd_fail(HYSGD_DIVERGED, "%s for update %llu is not finite: %s", whose, (unsigned long long)version,
                      saved);
}

enum hysgd_status drive_refuse_parameters(const struct training *training, uint64_t version) {
    char saved[512];
    describe_saved(training, saved, sizeof saved);
    return hysgd_fail(HYSGD_DIVERGED, "a parameter is not a finite number after update %llu: %s",
                      (unsigned long long)version, saved);
}

/* One that was folded into the sum can no longer be told. */
static enum hysgd_status check_update(struct training *training) {
    if (!training->setup->computes_gradients || !atomic_load(&training->server.is_bad))
        return HYSGD_OK;
    if (training_has_vectors(training))
        training->bad_worker = server_find_bad(&training->server, &training->order);
    return drive_refuse_update(training, training->engine.progress.version + 1, training->bad_worker);
}

/* After `update`. */
static void emit_estimate(struct training *training, const struct event *update) {
    const struct engine *engine = &training->engine;
    const struct hysgd_estimates *values = &training->estimator.state.values;
    if (!estimate_is_new(&training->estimator))
        return;
    uint64_t cutoff = engine->policy->cutoff ? engine->policy->cutoff(engine->policy_self) : UINT64_MAX;
    drive_emit(training, &(struct event){.kind = EVENT_ESTIMATE,
                                         .worker = -1,
                                         .seconds = update->seconds,
                                         .version = update->version,
                                         .estimate = {.noise = values->noise,
                                                      .signal = values->signal,
                                                      .agreement = values->agreement,
                                                      .receive_seconds = values->receive_seconds,
                                                      .apply_seconds = values->apply_seconds,
                                                      .arrivals_per_second = values->arrivals_per_second,
                                                      .gain = training->gain,
                                                      .threshold = update->update.threshold,
                                                      .cutoff = cutoff < UINT64_MAX ? (double)cutoff : NAN}});
}

/* The event is for repeating a run: what the policy is told must be known. */
static void end_fold(struct training *training, double seconds, double service_seconds) {
    const struct engine *engine = &training->engine;
    estimate_end_fold(&training->estimator, engine, service_seconds, &training->probed);
    if (!training->estimator.is_wanted)
        return;
    drive_emit(training, &(struct event){.kind = EVENT_FOLD,
                                         .worker = -1,
                                         .seconds = seconds,
                                         .version = engine->progress.version,
                                         .fold = {.gradients = (uint64_t)engine->part_count,
                                                  .service_seconds = service_seconds}});
}

static void end_work(struct training *training) {
    const struct server *server = &training->server;
    server_end(&training->server);
    training->probed = (struct probe_values){0};
    if (server->probe)
        probe_total(&training->probed, server->probe->of_shards, server->probe->shard_count);
}

enum hysgd_status drive_end_action(struct training *training, const struct engine_verdict *verdict, double seconds,
                                   double service_seconds) {
    struct engine *engine = &training->engine;
    if (verdict->action == ENGINE_NOTHING)
        return HYSGD_OK;
    if (training_has_vectors(training))
        end_work(training);
    if (verdict->action == ENGINE_FOLD) {
        end_fold(training, seconds, service_seconds);
        return HYSGD_OK;
    }
    estimate_end_update(&training->estimator, engine, service_seconds, &training->probed);
    HYSGD_TRY(check_update(training));
    struct event event = {.kind = EVENT_UPDATE,
                          .worker = -1,
                          .seconds = seconds,
                          .version = engine->progress.version + 1,
                          .update = {.gradients = engine_due(engine),
                                     .weight = engine_due_weight(engine),
                                     .rate = training->rate,
                                     .service_seconds = service_seconds,
                                     .threshold = verdict->threshold,
                                     .is_forced = verdict->is_forced}};
    shares_apply(&training->shares);
    enum hysgd_status status = engine_updated(engine, seconds, drive_fraction(training, seconds));
    shares_turn(&training->shares, engine->table.round);
    drive_emit(training, &event);
    emit_estimate(training, &event);
    return status;
}

enum hysgd_status drive_lose(struct training *training, int worker, double seconds,
                             struct engine_verdict *verdict) {
    HYSGD_TRY(engine_lose(&training->engine, worker, seconds, drive_fraction(training, seconds), verdict));
    shares_turn(&training->shares, training->engine.table.round);
    estimate_lost(&training->estimator, worker);
    local_forget(training, worker);
    HYSGD_TRY(training_orphan(training, worker));
    drive_emit(training, &(struct event){.kind = EVENT_LOST,
                                         .worker = worker,
                                         .seconds = seconds,
                                         .version = training->engine.progress.version});
    return HYSGD_OK;
}

/* What another worker of this number has left. Batches that it had begun and not delivered are drawn again. */
static void begin_anew(struct training *training, int worker, double seconds) {
    const struct engine_worker *account = &training->engine.workers[worker];
    struct training_worker *state = &training->workers[worker];
    worker_seek(training, worker, account->received_batches + account->abandoned_batches);
    state->is_under_way = false;
    state->has_read = 0;
    state->delivered_seconds = seconds;
    local_renew(training, worker);
    outgoing_renew(training, worker);
}

enum hysgd_status drive_join(struct training *training, int worker, double seconds,
                             struct engine_verdict *verdict) {
    struct engine *engine = &training->engine;
    HYSGD_TRY(training_adopt(training, worker));
    begin_anew(training, worker, seconds);
    engine->progress.seconds = seconds;
    engine_join(engine, worker);
    estimate_joined(&training->estimator, worker);
    *verdict = (struct engine_verdict){.action = engine->part_count > 0 ? ENGINE_FOLD : ENGINE_NOTHING,
                                       .threshold = engine->threshold,
                                       .held = engine->progress.held};
    drive_emit(training, &(struct event){.kind = EVENT_JOINED,
                                         .worker = worker,
                                         .seconds = seconds,
                                         .version = engine->progress.version});
    return HYSGD_OK;
}

bool drive_is_over(struct training *training, double seconds) {
    const struct training_limits *limits = &training->setup->limits;
    const struct hysgd_progress *progress = &training->engine.progress;
    if (limits->epochs > 0 && drive_epochs(training) >= limits->epochs)
        drive_stop(training, "epochs");
    else if (limits->gradients > 0 && progress->received >= limits->gradients)
        drive_stop(training, "gradients");
    else if (limits->updates > 0 && progress->version >= limits->updates)
        drive_stop(training, "updates");
    else if (limits->seconds > 0 && seconds > limits->seconds)
        drive_stop(training, "deadline");
    else if (progress->workers == 0)
        drive_fail(training, hysgd_fail(HYSGD_FAILED, "all workers are lost after update %llu",
                                        (unsigned long long)progress->version));
    return atomic_load_explicit(&training->is_stopping, memory_order_relaxed);
}

enum hysgd_status drive_finish(struct training *training) {
    if (training->status != HYSGD_OK)
        status_set_message(training->message);
    else if (!training->reason)
        keep_status(training,
                    hysgd_fail(HYSGD_INTERRUPTED, "interrupted after update %llu",
                               (unsigned long long)training->engine.progress.version),
                    "interrupted");
    return training->status;
}
