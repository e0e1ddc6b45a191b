/* SPDX-License-Identifier: Apache-2.0 */
/* The log as a clock: see replay.h. A gradient is computed when it arrives, at the version that its worker read
 * when it was released: so nothing is computed that never arrived. */
#include "runtime/replay.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "record/log_format.h"
#include "record/log_play.h"
#include "runtime/drive.h"
#include "runtime/flight.h"
#include "runtime/list.h"
#include "runtime/worker.h"

/* ---- Differences ---- */

/* Ends the replay at the log's latest event. */
__attribute__((format(printf, 2, 3))) static enum hysgd_status differ(struct replay *replay, const char *format,
                                                                      ...) {
    const struct event *event = &replay->expected;
    char what[256], who[32] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (event->worker >= 0)
        snprintf(who, sizeof who, " of worker %d", event->worker);
    replay->has_differed = true;
    return hysgd_fail(HYSGD_FAILED, "%s: event %" PRIu64 ", %s%s at %.9g s: %s", replay->path, replay->read,
                      record_events[event->kind].name, who, event->seconds, what);
}

static void print_value(const struct record_field *field, const void *self, char *text, size_t size) {
    uint64_t bits = log_load(field, self);
    double real;
    memcpy(&real, &bits, sizeof real);
    if (log_coding(field->type) == LOG_REAL)
        snprintf(text, size, "%.17g", real);
    else
        snprintf(text, size, "%" PRId64, (int64_t)bits);
}

/* Says in which of its numbers, bit by bit, `actual` is not as recorded; false when it is. */
static bool find_difference(const struct record_kind *kind, const void *actual, const void *recorded, char *text,
                            size_t size) {
    for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
        enum log_coding coding = log_coding(field->type);
        char here[32], there[32];
        if ((coding != LOG_INTEGER && coding != LOG_REAL) || log_load(field, actual) == log_load(field, recorded))
            continue;
        print_value(field, actual, here, sizeof here);
        print_value(field, recorded, there, sizeof there);
        snprintf(text, size, "%s is %s: recorded is %s", field->name, here, there);
        return true;
    }
    return false;
}

/* The oldest event that came out must be the log's latest. */
static enum hysgd_status compare_event(struct replay *replay) {
    struct event *actual = &replay->emitted[0];
    if (replay->emitted_count == 0)
        return differ(replay, "nothing of this kind happens here");
    if (actual->kind != replay->expected.kind)
        return differ(replay, "%s of version %" PRIu64 " comes here instead", record_events[actual->kind].name,
                      actual->version);
    if (actual->kind == EVENT_RESTORED) { /* of what is undone only the log knows */
        actual->restored.kept = replay->expected.restored.kept;
        actual->restored.undone = replay->expected.restored.undone;
    }
    char text[128];
    if (find_difference(&record_event, actual, &replay->expected, text, sizeof text) ||
        find_difference(&record_events[actual->kind], actual, &replay->expected, text, sizeof text))
        return differ(replay, "%s", text);
    replay->repeated++;
    replay->emitted_count--;
    memmove(replay->emitted, replay->emitted + 1, (size_t)replay->emitted_count * sizeof *replay->emitted);
    return HYSGD_OK;
}

static enum hysgd_status take_emitted(void *self, const struct event *event) {
    struct replay *replay = self;
    if (!replay->is_comparing)
        return HYSGD_OK;
    if (replay->emitted_count == REPLAY_MOST_EMITTED)
        return hysgd_fail(HYSGD_FAILED, "replay: more than %d events come of one", REPLAY_MOST_EMITTED);
    replay->emitted[replay->emitted_count++] = *event;
    return HYSGD_OK;
}

const struct sink_ops replay_sink = {.event = take_emitted};

/* ---- What an event brings about ---- */

static const struct engine_worker *engine_worker(const struct replay *replay) {
    return &replay->training->engine.workers[replay->expected.worker];
}

static struct training_worker *training_worker(const struct replay *replay) {
    return &replay->training->workers[replay->expected.worker];
}

static enum hysgd_status check_computing(struct replay *replay) {
    if (engine_worker(replay)->activity != ENGINE_COMPUTING || !training_worker(replay)->is_under_way)
        return differ(replay, "the worker computes nothing here");
    return HYSGD_OK;
}

/* The server's work of one verdict ends before there is another. */
static enum hysgd_status check_idle(struct replay *replay) {
    if (replay->action_is_due)
        return differ(replay, "%s is due here before it",
                      replay->verdict.action == ENGINE_UPDATE ? "an update" : "a fold");
    return HYSGD_OK;
}

/* Lets the workers read that the engine has released. */
static void release(struct replay *replay) {
    const struct engine *engine = &replay->training->engine;
    for (int i = 0; i < engine->released_count; i++) {
        replay->flights[engine->released[i]] =
            (struct snapshot_flight){.started = replay->now, .order = (double)(replay->next_order + (uint64_t)i)};
        if (replay->training->setup->computes_gradients)
            drive_read(replay->training, engine->released[i]);
    }
}

static enum hysgd_status end_action(struct replay *replay, double service_seconds) {
    struct training *training = replay->training;
    replay->action_is_due = false;
    training->server_seconds += service_seconds;
    replay->server_free_at = replay->now;
    HYSGD_TRY(drive_end_action(training, &replay->verdict, replay->now, service_seconds));
    for (int i = 0; replay->is_modelled && i < training->engine.cancelled_count; i++)
        flight_cancel(training, training->engine.cancelled[i], replay->now,
                      &replay->flights[training->engine.cancelled[i]]);
    release(replay);
    return HYSGD_OK;
}

/* Works a verdict out; when that ended is recorded of updates, and of folds where the policy sees it. */
static enum hysgd_status act(struct replay *replay) {
    struct training *training = replay->training;
    enum engine_action action = replay->verdict.action;
    HYSGD_TRY(drive_begin_action(training, action));
    if (action != ENGINE_NOTHING && training->setup->computes_gradients)
        server_help(&training->server, 0);
    replay->action_is_due = action == ENGINE_UPDATE || (action == ENGINE_FOLD && training->estimator.is_wanted);
    return replay->action_is_due ? HYSGD_OK : end_action(replay, 0);
}

/* After a return, as at the beginning of a run. */
static void restart(struct replay *replay) {
    if (!replay->restart_is_due)
        return;
    replay->restart_is_due = false;
    drive_restart(replay->training, replay->now);
    release(replay);
}

static enum hysgd_status repeat_start(struct replay *replay) {
    const struct event *event = &replay->expected;
    restart(replay);
    if (engine_worker(replay)->activity != ENGINE_COMPUTING || training_worker(replay)->is_under_way)
        return differ(replay, "the worker has not been released");
    struct snapshot_flight *flight = &replay->flights[event->worker];
    flight->started = event->seconds;
    flight->order = (double)replay->next_order++;
    drive_started(replay->training, event->worker, engine_worker(replay)->read, event->seconds);
    if (replay->is_modelled)
        flight_plan(replay->training, event->worker, training_worker(replay)->draws, flight);
    return HYSGD_OK;
}

/* Computes what the worker delivers, unless a checkpoint held it. */
static enum hysgd_status compute_gradient(struct replay *replay, int worker) {
    struct training *training = replay->training;
    if (replay->flights[worker].is_computed > 0)
        return HYSGD_OK;
    HYSGD_TRY(worker_open(training, worker));
    HYSGD_TRY(worker_compute(training, worker, server_read_vector(&training->server, worker), NULL));
    server_has_read(&training->server, worker);
    return HYSGD_OK;
}

static enum hysgd_status repeat_arrival(struct replay *replay) {
    const struct event *event = &replay->expected;
    struct training *training = replay->training;
    struct drive_arrival arrival = {.worker = event->worker,
                                    .seconds = event->seconds,
                                    .compute_seconds = event->arrival.compute_seconds,
                                    .transit_seconds = event->arrival.transit_seconds,
                                    .pull_seconds = event->arrival.pull_seconds,
                                    .push_seconds = event->arrival.push_seconds,
                                    .queue_seconds = event->arrival.queue_seconds,
                                    .receive_seconds = (double)NAN,
                                    .data_seconds = event->arrival.data_seconds};
    HYSGD_TRY(check_idle(replay));
    HYSGD_TRY(check_computing(replay));
    HYSGD_TRY(compute_gradient(replay, event->worker));
    if (replay->is_modelled) {
        arrival.receive_seconds = timing_receive(training->setup->timing);
        training->server_seconds += arrival.receive_seconds;
    }
    HYSGD_TRY(drive_arrive(training, &arrival, &replay->verdict));
    return act(replay);
}

/* The samples of a gradient that is given up are left behind; it itself is not needed. */
static void leave_gradient(struct replay *replay, int worker) {
    struct training *training = replay->training;
    if (replay->flights[worker].is_computed > 0)
        return;
    worker_seek(training, worker, training->workers[worker].draws + training->engine.workers[worker].batches);
    server_has_read(&training->server, worker);
}

static enum hysgd_status repeat_abandonment(struct replay *replay) {
    const struct event *event = &replay->expected;
    struct training *training = replay->training;
    const struct drive_abandonment abandonment = {.worker = event->worker,
                                                  .seconds = event->seconds,
                                                  .spent_seconds = event->abandoned.spent_seconds,
                                                  .queue_seconds = event->abandoned.queue_seconds,
                                                  .is_cancelled = event->abandoned.is_cancelled};
    HYSGD_TRY(check_idle(replay));
    HYSGD_TRY(check_computing(replay));
    leave_gradient(replay, event->worker);
    HYSGD_TRY(drive_abandon(training, &abandonment, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_loss(struct replay *replay) {
    const struct event *event = &replay->expected;
    HYSGD_TRY(check_idle(replay));
    if (engine_worker(replay)->activity == ENGINE_LOST)
        return differ(replay, "the worker has been lost before");
    server_has_read(&replay->training->server, event->worker);
    HYSGD_TRY(drive_lose(replay->training, event->worker, event->seconds, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_join(struct replay *replay) {
    const struct event *event = &replay->expected;
    HYSGD_TRY(check_idle(replay));
    if (engine_worker(replay)->activity != ENGINE_LOST)
        return differ(replay, "the worker has been there before");
    HYSGD_TRY(drive_join(replay->training, event->worker, event->seconds, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_action(struct replay *replay, enum engine_action action, double service_seconds) {
    if (!replay->action_is_due || replay->verdict.action != action)
        return differ(replay, "none is due here");
    if (replay->is_modelled && action == ENGINE_UPDATE)
        service_seconds = timing_apply(replay->training->setup->timing);
    return end_action(replay, service_seconds);
}

static enum hysgd_status repeat_evaluation(struct replay *replay) {
    if (!replay->is_evaluating)
        return differ(replay, "the run was never in the state that was evaluated");
    replay->is_evaluating = false;
    drive_end_evaluation(replay->training, &replay->metrics, replay->expected.seconds);
    return HYSGD_OK;
}

/* What a save leaves in the log; the file is not written again. */
static void repeat_checkpoint(struct replay *replay) {
    const struct hysgd_progress *progress = &replay->training->engine.progress;
    drive_emit(replay->training, &(struct event){.kind = EVENT_CHECKPOINT,
                                                 .worker = -1,
                                                 .seconds = replay->expected.seconds,
                                                 .version = progress->version,
                                                 .checkpoint = {.received = progress->received}});
}

static void repeat_copy(struct replay *replay) {
    drive_note_copied(replay->training, replay->expected.seconds);
}

/* The vectors are as they were: what the run has undone is not repeated. */
static enum hysgd_status repeat_return(struct replay *replay) {
    struct training *training = replay->training;
    HYSGD_TRY(check_idle(replay));
    for (int i = 0; i < training->setup->workers; i++)
        if (training->workers[i].is_under_way)
            server_has_read(&training->server, i);
    const struct drive_return back = {.place = training->place, .rank = replay->expected.restored.rank};
    HYSGD_TRY(drive_copy_and_restore(training));
    drive_go_back(training, replay->now);
    replay->restart_is_due = true;
    replay->is_evaluating = false;
    drive_note_restored(training, &back);
    return HYSGD_OK;
}

static enum hysgd_status bring_about(struct replay *replay) {
    const struct event *event = &replay->expected;
    if (!record_events[event->kind].may_be_earlier)
        replay->now = event->seconds;
    switch (event->kind) {
    case EVENT_START:
        return repeat_start(replay);
    case EVENT_ARRIVAL:
        return repeat_arrival(replay);
    case EVENT_ABANDONED:
        return repeat_abandonment(replay);
    case EVENT_LOST:
        return repeat_loss(replay);
    case EVENT_JOINED:
        return repeat_join(replay);
    case EVENT_UPDATE:
        return repeat_action(replay, ENGINE_UPDATE, event->update.service_seconds);
    case EVENT_FOLD:
        return repeat_action(replay, ENGINE_FOLD, event->fold.service_seconds);
    case EVENT_EVALUATION:
        return repeat_evaluation(replay);
    case EVENT_CHECKPOINT:
        repeat_checkpoint(replay);
        return HYSGD_OK;
    case EVENT_CLOCK: /* of the machines, not of the training */
        drive_emit(replay->training, event);
        return HYSGD_OK;
    case EVENT_ESTIMATE:
        break;
    case EVENT_RESTORED:
        return repeat_return(replay);
    case EVENT_COPIED:
        repeat_copy(replay);
        return HYSGD_OK;
    }
    return differ(replay, "nothing brings it about here");
}

/* What comes next in the log is undone, or the return itself: what begins here begins after it. */
static bool return_is_due(const struct replay *replay) {
    const struct replay_plan *plan = replay->plan;
    return replay->returns < plan->return_count && replay->read == plan->returns[replay->returns].kept;
}

/* The next event of the log that is not undone. */
static enum hysgd_status read_event(struct replay *replay, bool *has_event) {
    bool returns = return_is_due(replay);
    uint64_t wanted = returns ? replay->plan->returns[replay->returns++].at : replay->read + 1;
    do {
        HYSGD_TRY(log_reader_next(replay->reader, &replay->expected, has_event));
        replay->read++;
    } while (*has_event && replay->read < wanted);
    return HYSGD_OK;
}

/* Evaluates at the moment at which the recorded run did; the log tells it only when that was over. */
static enum hysgd_status begin_evaluation(struct replay *replay) {
    const struct replay_plan *plan = replay->plan;
    struct training *training = replay->training;
    const struct hysgd_progress *progress = &training->engine.progress;
    if (replay->is_evaluating || replay->evaluations == plan->evaluation_count || return_is_due(replay))
        return HYSGD_OK;
    const struct replay_evaluation *next = &plan->evaluations[replay->evaluations];
    if (next->version != progress->version || next->received != progress->received)
        return HYSGD_OK;
    replay->evaluations++;
    replay->is_evaluating = true;
    drive_begin_evaluation(training, next->seconds);
    return drive_evaluate(training, server_vector(&training->server), &replay->metrics);
}

static enum hysgd_status repeat_event(struct replay *replay) {
    if (replay->emitted_count == 0) {
        HYSGD_TRY(bring_about(replay));
        drive_drain(replay->training, replay->now);
    }
    return compare_event(replay);
}

/* ---- The run ---- */

static bool has_reached_until(const struct replay *replay) {
    const struct replay_until *until = &replay->until;
    const struct training *training = replay->training;
    const struct hysgd_progress *progress = &training->engine.progress;
    return (until->updates > 0 && progress->version >= (uint64_t)until->updates) ||
           (until->gradients > 0 && progress->received >= (uint64_t)until->gradients) ||
           (until->epochs > 0 && drive_epochs(training) >= until->epochs) ||
           (until->seconds > 0 && replay->now >= until->seconds);
}

/* Between two verdicts. */
static bool is_quiet(const struct replay *replay) {
    return !replay->action_is_due && replay->emitted_count == 0;
}

/* Takes up what was under way in the checkpoint that a run in modelled time continued; elsewhere everybody begins
 * anew. */
static void begin_workers(struct replay *replay) {
    struct training *training = replay->training;
    replay->next_order = (uint64_t)training->setup->workers;
    if (!replay->is_modelled || !training->resumed || !training->resumed->has_flights) {
        drive_restart(training, replay->now);
        release(replay);
        return;
    }
    replay->server_free_at = training->resumed->server_free_at;
    replay->next_order = (uint64_t)training->resumed->next_order;
    for (int i = 0; i < training->setup->workers; i++) {
        const struct snapshot_flight *flight = &training->resumed->flights[i];
        if (training->engine.workers[i].activity != ENGINE_COMPUTING)
            continue;
        replay->flights[i] = *flight;
        if (flight->is_computed > 0) {
            worker_seek(training, i, training->workers[i].draws + training->engine.workers[i].batches);
            training->workers[i].loss = flight->loss;
            training->workers[i].is_under_way = true;
        } else {
            drive_read(training, i);
        }
    }
}

/* Whether the log's latest event comes after the moment at which to stop. */
static bool is_beyond_until(const struct replay *replay) {
    double until = replay->until.seconds;
    return until > 0 && replay->expected.seconds > until && !record_events[replay->expected.kind].may_be_earlier &&
           is_quiet(replay);
}

static enum hysgd_status repeat_events(struct replay *replay) {
    struct training *training = replay->training;
    bool has_event = true;
    HYSGD_TRY(begin_evaluation(replay));
    while (training->reason || !atomic_load(&training->is_stopping)) {
        HYSGD_TRY(read_event(replay, &has_event));
        if (!has_event)
            return HYSGD_OK;
        if (is_beyond_until(replay)) {
            replay->now = replay->until.seconds;
            replay->is_stopped = true;
            return HYSGD_OK;
        }
        HYSGD_TRY(repeat_event(replay));
        if (!is_quiet(replay))
            continue;
        if (has_reached_until(replay)) {
            replay->is_stopped = true;
            return HYSGD_OK;
        }
        HYSGD_TRY(begin_evaluation(replay));
    }
    return HYSGD_OK;
}

static enum hysgd_status compare_part(struct replay *replay, const struct record_kind *kind, int index,
                                      const void *actual, const void *recorded) {
    char text[128], which[32] = "";
    if (!find_difference(kind, actual, recorded, text, sizeof text))
        return HYSGD_OK;
    if (index >= 0)
        snprintf(which, sizeof which, " %d", index);
    replay->has_differed = true;
    return hysgd_fail(HYSGD_FAILED, "%s: after the last event, %s%s: %s", replay->path, kind->name, which, text);
}

/* Compares the accounts, apart from the time of the server, which not all that it does is recorded of. */
static enum hysgd_status compare_end(struct replay *replay, const struct event_summary *recorded) {
    struct event_summary summary;
    training_summarize(replay->training, recorded->seconds, &summary);
    summary.server_seconds = recorded->server_seconds;
    summary.returns = recorded->returns;
    summary.undone = recorded->undone;
    bool has_failed = strcmp(recorded->reason, "diverged") == 0 || strcmp(recorded->reason, "failed") == 0;
    if (has_failed) /* perhaps in an evaluation, which is not recorded then */
        summary.train_loss = recorded->train_loss;
    if (strcmp(recorded->reason, "failed") == 0) /* ranks have no common parameters then */
        summary.checksum = recorded->checksum;
    HYSGD_TRY(compare_part(replay, &record_end, -1, &summary, recorded));
    for (int i = 0; i < summary.workers; i++)
        replay->training->accounts[i].undone = recorded->accounts[i].undone;
    for (int i = 0; i < summary.workers; i++)
        HYSGD_TRY(compare_part(replay, &record_account, i, &summary.accounts[i], &recorded->accounts[i]));
    for (int i = 0; i < summary.class_count && i < recorded->class_count; i++)
        HYSGD_TRY(compare_part(replay, &record_class, i, &summary.classes[i], &recorded->classes[i]));
    replay->has_compared_end = true;
    return HYSGD_OK;
}

/* The log is at its end, and the replay with it. */
static enum hysgd_status end_with_log(struct replay *replay) {
    struct training *training = replay->training;
    const struct event_summary *recorded = log_reader_summary(replay->reader);
    training->reason = recorded ? recorded->reason : LOG_PLAY_CUT;
    if (!recorded)
        return HYSGD_OK;
    replay->now = recorded->seconds;
    if (replay->emitted_count > 0)
        return hysgd_fail(HYSGD_FAILED, "%s: after the last event: %s comes here, which is not recorded",
                          replay->path, record_events[replay->emitted[0].kind].name);
    if (replay->action_is_due && training->setup->computes_gradients)
        server_end(&training->server); /* of an update that ended the run, because it was not finite */
    return compare_end(replay, recorded);
}

/* Computes what is under way, so that it can be taken up. */
static enum hysgd_status compute_flights(struct replay *replay) {
    struct training *training = replay->training;
    for (int i = 0; i < training->setup->workers; i++) {
        struct snapshot_flight *flight = &replay->flights[i];
        bool is_under_way =
            training->engine.workers[i].activity == ENGINE_COMPUTING && training->workers[i].is_under_way;
        if (!is_under_way || flight->is_computed > 0)
            continue;
        if (!replay->is_modelled)
            flight_plan(training, i, training->workers[i].draws, flight);
        if (flight->gives_up > 0)
            leave_gradient(replay, i);
        else
            HYSGD_TRY(compute_gradient(replay, i));
        flight->loss = training->workers[i].loss;
        flight->is_computed = 1;
    }
    return HYSGD_OK;
}

/* In modelled time a run that continues from here does what the recorded one did. */
static enum hysgd_status save(struct replay *replay) {
    const struct snapshot_in_flight in_flight = {replay->flights, replay->server_free_at,
                                                 (double)replay->next_order};
    struct snapshot_image *image;
    if (replay->is_modelled)
        HYSGD_TRY(compute_flights(replay));
    HYSGD_TRY(drive_begin_save(replay->training, replay->now, replay->is_modelled ? &in_flight : NULL, &image));
    enum hysgd_status status = drive_write_save(replay->training, image);
    drive_end_save(replay->training, image, status, replay->now);
    return status;
}

/* Before the log's end: as at a limit of the run. */
static enum hysgd_status stop_before_end(struct replay *replay) {
    struct training *training = replay->training;
    training->reason = "stopped";
    if (!drive_last_evaluation_is_due(training, replay->now))
        return HYSGD_OK;
    drive_begin_evaluation(training, replay->now);
    HYSGD_TRY(drive_evaluate(training, server_vector(&training->server), &replay->metrics));
    drive_end_evaluation(training, &replay->metrics, replay->now);
    return HYSGD_OK;
}

/* ---- What if ---- */

/* The new policy's first verdict. */
static enum hysgd_status change_policy(struct replay *replay) {
    struct training *training = replay->training;
    if (replay->action_is_due) /* where the log is cut */
        HYSGD_TRY(end_action(replay, 0));
    HYSGD_TRY(training_change_policy(training, replay->policy, &replay->verdict));
    HYSGD_TRY(drive_begin_action(training, replay->verdict.action));
    server_help(&training->server, 0);
    double service = replay->verdict.action == ENGINE_UPDATE ? timing_apply(training->setup->timing) : 0;
    replay->now = fmax(replay->now, replay->server_free_at) + service;
    return end_action(replay, service);
}

/* Gives what is under way to the virtual runtime, as if from a checkpoint, which counts what is computed as not yet
 * drawn. */
static enum hysgd_status go_on(struct replay *replay, double *seconds_out) {
    struct training *training = replay->training;
    struct timing *timing = training->setup->timing;
    struct snapshot *snapshot;
    if (!replay->is_modelled) {
        timing->received = training->engine.progress.received;
        timing->applied = training->engine.progress.version;
    }
    HYSGD_TRY(change_policy(replay));
    HYSGD_TRY(compute_flights(replay));
    HYSGD_TRY(memory_alloc(1, sizeof *snapshot, &snapshot));
    snapshot_free(training->resumed);
    training->resumed = snapshot;
    *snapshot = (struct snapshot){.has_flights = true,
                                  .flights = replay->flights,
                                  .server_free_at = replay->server_free_at,
                                  .next_order = (double)(replay->next_order + training->setup->workers)};
    replay->flights = NULL;
    for (int i = 0; i < training->setup->workers; i++)
        if (training->engine.workers[i].activity == ENGINE_COMPUTING && snapshot->flights[i].is_computed > 0)
            worker_seek(training, i, training->workers[i].draws - training->engine.workers[i].batches);
    training->start_seconds = replay->now;
    return runtime_virtual.run(NULL, training, seconds_out);
}

/* Whether the virtual runtime takes over. */
static bool goes_on(const struct replay *replay) {
    bool is_interrupted = !replay->training->reason && atomic_load(&replay->training->is_stopping);
    return replay->policy && !is_interrupted && (replay->is_stopped || replay->plan->is_cut);
}

static enum hysgd_status repeat(struct replay *replay) {
    struct training *training = replay->training;
    replay->now = training->start_seconds;
    HYSGD_TRY(memory_alloc((size_t)training->setup->workers, sizeof *replay->flights, &replay->flights));
    begin_workers(replay);
    HYSGD_TRY(repeat_events(replay));
    replay->is_comparing = false;
    if (goes_on(replay))
        return HYSGD_OK;
    if (replay->is_stopped)
        HYSGD_TRY(stop_before_end(replay));
    else if (training->reason || !atomic_load(&training->is_stopping))
        HYSGD_TRY(end_with_log(replay));
    return drive_saves_at_end(training) && training->reason ? save(replay) : HYSGD_OK;
}

enum hysgd_status replay_run(void *self, struct training *training, double *seconds_out) {
    struct replay *replay = self;
    replay->training = training;
    replay->is_comparing = true;
    training->drainer = pthread_self();
    enum hysgd_status status = repeat(replay);
    if (status != HYSGD_OK)
        drive_fail(training, status);
    replay->is_comparing = false;
    drive_drain(training, replay->now);
    *seconds_out = replay->now;
    if (status == HYSGD_OK && goes_on(replay)) {
        status = go_on(replay, seconds_out);
        if (status != HYSGD_OK)
            drive_fail(training, status);
    }
    memory_free(replay->flights);
    replay->flights = NULL;
    return drive_finish(training);
}
