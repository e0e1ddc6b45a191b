/* SPDX-License-Identifier: Apache-2.0 */
/* What a recorded event brings about in the training that repeats it: see replay_event.h. A gradient is computed
 * when it arrives, at the version that its worker read when it was released: so nothing is computed that never
 * arrived. */
#include "runtime/replay_event.h"

#include <math.h>

#include "record/kinds.h"
#include "runtime/drive.h"
#include "runtime/flight.h"
#include "runtime/replay_compare.h"
#include "runtime/worker.h"

static const struct engine_worker *engine_worker(const struct replay *replay) {
    return &replay->training->engine.workers[replay->expected.worker];
}

static struct training_worker *training_worker(const struct replay *replay) {
    return &replay->training->workers[replay->expected.worker];
}

static enum hysgd_status check_computing(struct replay *replay) {
    if (engine_worker(replay)->activity != ENGINE_COMPUTING || !training_worker(replay)->is_under_way)
        return replay_differ(replay, "the worker computes nothing here");
    return HYSGD_OK;
}

/* The server's work of one verdict ends before there is another. */
static enum hysgd_status check_idle(struct replay *replay) {
    if (replay->action_is_due)
        return replay_differ(replay, "%s is due here before it",
                             replay->verdict.action == ENGINE_UPDATE ? "an update" : "a fold");
    return HYSGD_OK;
}

void replay_release(struct replay *replay) {
    const struct engine *engine = &replay->training->engine;
    for (int i = 0; i < engine->released_count; i++) {
        replay->flights[engine->released[i]] =
            (struct snapshot_flight){.started = replay->now, .order = (double)(replay->next_order + (uint64_t)i)};
        if (replay->training->setup->computes_gradients)
            drive_read(replay->training, engine->released[i]);
    }
}

enum hysgd_status replay_end_action(struct replay *replay, double service_seconds) {
    struct training *training = replay->training;
    replay->action_is_due = false;
    training->server_seconds += service_seconds;
    replay->server_free_at = replay->now;
    HYSGD_TRY(drive_end_action(training, &replay->verdict, replay->now, service_seconds));
    for (int i = 0; replay->is_modelled && i < training->engine.cancelled_count; i++)
        flight_cancel(training, training->engine.cancelled[i], replay->now,
                      &replay->flights[training->engine.cancelled[i]]);
    replay_release(replay);
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
    return replay->action_is_due ? HYSGD_OK : replay_end_action(replay, 0);
}

/* After a return, as at the beginning of a run. */
static void restart(struct replay *replay) {
    if (!replay->restart_is_due)
        return;
    replay->restart_is_due = false;
    drive_restart(replay->training, replay->now);
    replay_release(replay);
}

static enum hysgd_status repeat_start(struct replay *replay) {
    const struct event *event = &replay->expected;
    restart(replay);
    if (engine_worker(replay)->activity != ENGINE_COMPUTING || training_worker(replay)->is_under_way)
        return replay_differ(replay, "the worker has not been released");
    struct snapshot_flight *flight = &replay->flights[event->worker];
    flight->started = event->seconds;
    flight->order = (double)replay->next_order++;
    drive_started(replay->training, event->worker, engine_worker(replay)->read, event->seconds);
    if (replay->is_modelled)
        flight_plan(replay->training, event->worker, training_worker(replay)->draws, flight);
    return HYSGD_OK;
}

enum hysgd_status replay_compute(struct replay *replay, int worker) {
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
    HYSGD_TRY(replay_compute(replay, event->worker));
    if (replay->is_modelled) {
        arrival.receive_seconds = timing_receive(training->setup->timing);
        training->server_seconds += arrival.receive_seconds;
    }
    HYSGD_TRY(drive_arrive(training, &arrival, &replay->verdict));
    return act(replay);
}

void replay_leave(struct replay *replay, int worker) {
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
    replay_leave(replay, event->worker);
    HYSGD_TRY(drive_abandon(training, &abandonment, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_loss(struct replay *replay) {
    const struct event *event = &replay->expected;
    HYSGD_TRY(check_idle(replay));
    if (engine_worker(replay)->activity == ENGINE_LOST)
        return replay_differ(replay, "the worker has been lost before");
    server_has_read(&replay->training->server, event->worker);
    HYSGD_TRY(drive_lose(replay->training, event->worker, event->seconds, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_join(struct replay *replay) {
    const struct event *event = &replay->expected;
    HYSGD_TRY(check_idle(replay));
    if (engine_worker(replay)->activity != ENGINE_LOST)
        return replay_differ(replay, "the worker has been there before");
    HYSGD_TRY(drive_join(replay->training, event->worker, event->seconds, &replay->verdict));
    return act(replay);
}

static enum hysgd_status repeat_action(struct replay *replay, enum engine_action action, double service_seconds) {
    if (!replay->action_is_due || replay->verdict.action != action)
        return replay_differ(replay, "none is due here");
    if (replay->is_modelled && action == ENGINE_UPDATE)
        service_seconds = timing_apply(replay->training->setup->timing);
    return replay_end_action(replay, service_seconds);
}

static enum hysgd_status repeat_evaluation(struct replay *replay) {
    if (!replay->is_evaluating)
        return replay_differ(replay, "the run was never in the state that was evaluated");
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

enum hysgd_status replay_bring_about(struct replay *replay) {
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
    return replay_differ(replay, "nothing brings it about here");
}
