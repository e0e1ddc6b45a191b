/* SPDX-License-Identifier: Apache-2.0 */
/* The course of a run of ranks, as the coordinator drives it, and what it hears. See ranks_coordinator.h. */
#include "runtime/ranks_coordinator.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"

/* Between two looks at the recorder, the limits in seconds and the milestones. */
#define TICK_SECONDS 2e-3

double coordinator_time(const struct ranks_coordinator *self, double seconds) {
    return self->ranks->training->start_seconds + seconds - self->origin;
}

double coordinator_now(const struct ranks_coordinator *self) {
    return coordinator_time(self, machine_seconds());
}

/* What is evaluated or saved is the state of this moment. */
double coordinator_moment(const struct ranks_coordinator *self) {
    return isnan(self->stopped) ? coordinator_now(self) : self->stopped;
}

void coordinator_send_to_all(struct ranks *ranks, const void *message, size_t bytes) {
    for (int i = 0; i < ranks->count; i++)
        ranks_send(ranks, i, message, bytes);
}

/* Once for each rank with servers, whatever their number. */
void coordinator_send_to_servers(struct ranks *ranks, const void *message, size_t bytes) {
    for (int i = 0; i < ranks->servers; i++) {
        bool is_first = true;
        for (int k = 0; k < i; k++)
            is_first = is_first && ranks->server_ranks[k] != ranks->server_ranks[i];
        if (is_first)
            ranks_send(ranks, ranks->server_ranks[i], message, bytes);
    }
}
/* ---- The course of the run ---- */

static enum hysgd_status begin_training(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    self->phase = PHASE_TRAINING;
    self->origin = machine_seconds();
    drive_restart(training, training->start_seconds);
    coordinator_note_clocks(self, training->start_seconds);
    coordinator_begin_order(self);
    coordinator_add_released(self, training->start_seconds);
    coordinator_send_order(self);
    return HYSGD_OK;
}

static void tick(struct ranks_coordinator *self) {
    self->ticked = machine_seconds();
    drive_drain(self->ranks->training, coordinator_moment(self));
}

/* Whoever asks to join later is told that the run is over. */
static enum hysgd_status mind_door(struct ranks_coordinator *self) {
    return self->phase == PHASE_TRAINING && isnan(self->stopped) ? ranks_join_step(self->ranks) : HYSGD_OK;
}

static enum hysgd_status watch(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    HYSGD_TRY(coordinator_lose_workers(self));
    HYSGD_TRY(coordinator_join_workers(self));
    double seconds = coordinator_now(self); /* after what has been recorded of these */
    bool is_over = drive_is_over(training, seconds);
    coordinator_note_stop(self);
    if (!is_over && !coordinator_is_held(self))
        coordinator_note_clocks(self, coordinator_now(self)); /* losses have been recorded since `seconds` */
    /* Not while an evaluation is under way: a log tells only of those that have ended. But before the next one. */
    if (!is_over && !coordinator_is_busy(self) && coordinator_copy_is_due(self))
        HYSGD_TRY(coordinator_begin_copy(self));
    if (!is_over && !coordinator_is_busy(self) && drive_evaluation_is_due(training, seconds))
        return coordinator_begin_evaluation(self);
    if (!is_over && !coordinator_is_busy(self) && drive_save_is_due(training, seconds))
        return coordinator_begin_save(self);
    return HYSGD_OK;
}

static void end(struct ranks_coordinator *self) {
    self->phase = PHASE_OVER;
    ranks_end(self->ranks);
}

/* After the stop: what was begun, a last evaluation, the parameters that the run ends with, and the end. */
static enum hysgd_status conclude(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    bool waits_in_vain = training->status != HYSGD_OK && self->ranks->lost_count > 0;
    if (coordinator_is_busy(self) && !waits_in_vain)
        return HYSGD_OK;
    self->phase = PHASE_ENDING;
    if (waits_in_vain) {
        end(self);
        return HYSGD_OK;
    }
    if (drive_last_evaluation_is_due(training, self->stopped))
        return coordinator_begin_evaluation(self);
    if (training->status == HYSGD_OK && !self->is_last) {
        self->is_last = true;
        return coordinator_gather(self);
    }
    if (drive_saves_at_end(training) && !self->has_saved_last) {
        self->has_saved_last = true;
        return coordinator_begin_save(self);
    }
    if (training->status == HYSGD_OK)
        memcpy(training->whole, self->vector, training->server.count * sizeof(float));
    end(self);
    return HYSGD_OK;
}

static bool all_are_ready(const struct ranks_coordinator *self) {
    for (int i = 0; i < self->ranks->count; i++)
        if (!self->is_ready[i] && !self->ranks->members[i].is_lost)
            return false;
    return true;
}

static enum hysgd_status step(struct ranks_coordinator *self, bool *has_acted) {
    bool is_time = machine_seconds() - self->ticked > TICK_SECONDS;
    if (self->phase == PHASE_OVER)
        return HYSGD_OK;
    if (is_time) {
        tick(self);
        HYSGD_TRY(mind_door(self));
    }
    HYSGD_TRY(coordinator_step_totals(self, has_acted));
    HYSGD_TRY(coordinator_step_evaluation(self, has_acted));
    HYSGD_TRY(coordinator_step_save(self, has_acted));
    if (self->phase == PHASE_OPENING) {
        if (coordinator_is_stopping(self))
            self->stopped = self->ranks->training->start_seconds;
        else if (all_are_ready(self))
            return begin_training(self);
    }
    if (!isnan(self->stopped))
        return conclude(self);
    return self->phase == PHASE_TRAINING ? watch(self) : HYSGD_OK;
}

enum hysgd_status ranks_coordinator_step(struct ranks *ranks, bool *has_acted) {
    struct ranks_coordinator *self = ranks->coordinator;
    enum hysgd_status status = step(self, has_acted);
    if (status == HYSGD_OK)
        return HYSGD_OK;
    drive_fail(ranks->training, status);
    coordinator_note_stop(self);
    return HYSGD_OK;
}

/* ---- What it hears ---- */

static enum hysgd_status note_failure(struct ranks *ranks, int from, const struct message_text *message) {
    const char *text = (const char *)(message + 1);
    if (from == ranks->rank)
        return hysgd_fail((enum hysgd_status)message->status, "%s", text);
    return hysgd_fail((enum hysgd_status)message->status, "rank %d on %s: %s", from, comm_host(ranks->comm, from),
                      text);
}

static enum hysgd_status note_report(struct ranks_coordinator *self, const struct message_reported *message) {
    if (message->updates > 0)
        self->service_seconds[message->server] = message->service_seconds / (double)message->updates;
    if (message->bad_version == 0)
        return HYSGD_OK;
    return drive_refuse_update(self->ranks->training, message->bad_version, message->bad_worker);
}

static void note_leaving(struct ranks_coordinator *self, int from, int worker) {
    if (worker >= 0 && self->ranks->worker_ranks[worker] == from &&
        self->ranks->training->engine.workers[worker].activity != ENGINE_LOST)
        self->remotes[worker].leaves = true;
    else
        ranks_tell_staying(self->ranks, from);
}

static enum hysgd_status hear(struct ranks_coordinator *self, int from, const struct message_head *message) {
    struct ranks *ranks = self->ranks;
    switch ((enum message_kind)message->kind) {
    case MESSAGE_READY:
        self->is_ready[from] = true;
        return HYSGD_OK;
    case MESSAGE_ARRIVED:
        if (ranks->worker_ranks[((const struct message_arrived *)message)->worker] != from)
            return HYSGD_OK; /* another has its number now */
        return coordinator_take_announcement(self, (const void *)message);
    case MESSAGE_HAS_PART:
        return coordinator_take_part(self, (const void *)message);
    case MESSAGE_REPORTED:
        return note_report(self, (const void *)message);
    case MESSAGE_LEAVING:
        note_leaving(self, from, ((const struct message_cancelled *)message)->worker);
        return HYSGD_OK;
    case MESSAGE_HELD:
        coordinator_note_held(self, (const void *)message);
        return HYSGD_OK;
    case MESSAGE_SAVED:
        coordinator_note_saved(self, from, (const void *)message);
        return HYSGD_OK;
    case MESSAGE_FAILED:
        return note_failure(ranks, from, (const void *)message);
    default:
        return HYSGD_OK;
    }
}

void ranks_coordinator_hear(struct ranks *ranks, int from, const struct message_head *message) {
    enum hysgd_status status = hear(ranks->coordinator, from, message);
    if (status == HYSGD_OK)
        return;
    drive_fail(ranks->training, status);
    coordinator_note_stop(ranks->coordinator);
}

/* ---- Its beginning and its end ---- */

/* Where the run has gone back to before a worker joined, it joins again. */
static void note_place(const struct ranks *ranks, struct remote *remote, int worker) {
    remote->is_gone = ranks_worker_is_gone(ranks, worker);
    remote->joins = ranks->has_joined[worker] && !remote->is_gone &&
                    ranks->training->engine.workers[worker].activity == ENGINE_LOST;
}

void ranks_coordinator_expect(struct ranks *ranks, int worker) {
    struct ranks_coordinator *self = ranks->coordinator;
    self->remotes[worker] = (struct remote){.waiting = self->remotes[worker].waiting, .joins = true};
    self->is_ready[ranks->worker_ranks[worker]] = false;
}

bool ranks_coordinator_is_quiet(const struct ranks *ranks) {
    const struct ranks_coordinator *self = ranks->coordinator;
    return self->phase == PHASE_TRAINING && !self->is_copying && !coordinator_is_held(self) &&
           !coordinator_is_stopping(self);
}

enum hysgd_status ranks_coordinator_start(struct ranks *ranks) {
    struct ranks_coordinator *self;
    HYSGD_TRY(memory_alloc(1, sizeof *self, &self));
    *self = (struct ranks_coordinator){.ranks = ranks, .gathering = -1, .stopped = NAN};
    ranks->coordinator = self;
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *self->remotes, &self->remotes));
    HYSGD_TRY(memory_alloc((size_t)ranks->most, sizeof *self->is_ready, &self->is_ready));
    HYSGD_TRY(memory_alloc((size_t)ranks->most, sizeof *self->has_saved, &self->has_saved));
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *self->service_seconds, &self->service_seconds));
    HYSGD_TRY(memory_alloc(1, ranks->control_most, &self->order));
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *self->queue, &self->queue));
    for (int i = 0; i < ranks->workers; i++)
        HYSGD_TRY(memory_alloc(ranks->control_most, 1, &self->remotes[i].waiting));
    for (int i = 0; i < ranks->workers; i++)
        note_place(ranks, &self->remotes[i], i);
    self->generation = (uint64_t)ranks->incarnation << 32;
    HYSGD_TRY(coordinator_start_totals(self));
    return memory_alloc_vector(ranks->training->server.count, sizeof(float), &self->vector);
}

void ranks_coordinator_interrupt(struct ranks_coordinator *self) {
    if (!self)
        return;
    if (self->file)
        snapshot_abort(self->file);
    snapshot_discard(self->image);
    self->file = NULL;
    self->image = NULL;
}

void ranks_coordinator_free(struct ranks_coordinator *self) {
    if (!self)
        return;
    for (int i = 0; self->remotes && i < self->ranks->workers; i++)
        memory_free(self->remotes[i].waiting);
    ranks_totals_fini(&self->values);
    ranks_totals_fini(&self->probed);
    memory_free(self->queue);
    memory_free(self->remotes);
    memory_free(self->is_ready);
    memory_free(self->has_saved);
    ranks_coordinator_interrupt(self);
    memory_free(self->service_seconds);
    memory_free(self->order);
    memory_free(self->vector);
    memory_free(self);
}

void ranks_coordinator_lose(struct ranks *ranks, int worker) {
    ranks->coordinator->remotes[worker].is_gone = true;
}

void ranks_coordinator_dismiss(struct ranks *ranks, int worker) {
    ranks->coordinator->remotes[worker].leaves = true;
}

bool ranks_coordinator_was_told(const struct ranks *ranks, int worker) {
    return ranks->coordinator->remotes[worker].leaves;
}

double ranks_coordinator_now(const struct ranks *ranks) {
    return ranks->coordinator->phase == PHASE_OPENING ? ranks->clock + machine_seconds()
                                                      : coordinator_now(ranks->coordinator);
}

double ranks_coordinator_seconds(const struct ranks *ranks) {
    const struct ranks_coordinator *self = ranks->coordinator;
    const struct training *training = ranks->training;
    /* a run that fails has come as far as what was recorded of it */
    return isnan(self->stopped) ? fmax(training->start_seconds, training->place.seconds) : self->stopped;
}
