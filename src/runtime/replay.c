/* SPDX-License-Identifier: Apache-2.0 */
/* The log as a clock: see replay.h. How far the log is followed, what is saved there, and how the virtual runtime
 * goes on where another policy decides. */
#include "runtime/replay.h"

#include <math.h>

#include "base/memory.h"
#include "record/kinds.h"
#include "record/log_play.h"
#include "runtime/drive.h"
#include "runtime/flight.h"
#include "runtime/list.h"
#include "runtime/replay_compare.h"
#include "runtime/replay_event.h"
#include "runtime/worker.h"

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
    if (next->version != progress->version || next->received != progress->received ||
        next->returns != replay->returns) /* before a return the run may have been in that state too */
        return HYSGD_OK;
    replay->evaluations++;
    replay->is_evaluating = true;
    drive_begin_evaluation(training, next->seconds);
    return drive_evaluate(training, server_vector(&training->server), &replay->metrics);
}

static enum hysgd_status repeat_event(struct replay *replay) {
    if (replay->emitted_count == 0) {
        HYSGD_TRY(replay_bring_about(replay));
        drive_drain(replay->training, replay->now);
    }
    return replay_compare_event(replay);
}

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
        replay_release(replay);
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
    return replay_compare_end(replay, recorded);
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
            replay_leave(replay, i);
        else
            HYSGD_TRY(replay_compute(replay, i));
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

/* The new policy's first verdict. */
static enum hysgd_status change_policy(struct replay *replay) {
    struct training *training = replay->training;
    if (replay->action_is_due) /* where the log is cut */
        HYSGD_TRY(replay_end_action(replay, 0));
    HYSGD_TRY(training_change_policy(training, replay->policy, &replay->verdict));
    HYSGD_TRY(drive_begin_action(training, replay->verdict.action));
    server_help(&training->server, 0);
    double service = replay->verdict.action == ENGINE_UPDATE ? timing_apply(training->setup->timing) : 0;
    replay->now = fmax(replay->now, replay->server_free_at) + service;
    return replay_end_action(replay, service);
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
