/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator's part of checkpoints, which all ranks write together, and of the copies of the state that are
 * kept in their memory. See ranks_coordinator.h. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "runtime/ranks_coordinator.h"

/* Gradients of a rank's worker in the present state. */
static uint64_t delivered_by(const struct ranks *ranks, int rank) {
    for (int i = 0; i < ranks->workers; i++)
        if (ranks->worker_ranks[i] == rank)
            return ranks_worker_received(ranks, i);
    return 0;
}

/* ---- Checkpoints ---- */

/* The plan of the file, to everyone. */
static enum hysgd_status send_plan(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    size_t count;
    const struct snapshot_place *places = snapshot_places(self->file, &count);
    size_t bytes = sizeof(struct ranks_plan) + count * sizeof *places;
    struct message_plan message = {.head = {MESSAGE_PLAN, sizeof message}, .plan_bytes = bytes};
    struct ranks_parcel *parcel;
    HYSGD_TRY(ranks_parcel_alloc(ranks, bytes, &parcel));
    struct ranks_plan *plan = (void *)parcel->content;
    ranks_parcel_release(parcel);
    plan->count = count;
    memcpy(plan->places, places, count * sizeof *places);
    if (snprintf(plan->temporary, sizeof plan->temporary, "%s", snapshot_temporary(self->file)) >=
        (int)sizeof plan->temporary)
        return hysgd_fail(HYSGD_OUTPUT, "%s: the path is too long", snapshot_temporary(self->file));
    for (int i = 0; i < ranks->count; i++) {
        message.delivered = delivered_by(ranks, i);
        ranks_send(ranks, i, &message, sizeof message);
        HYSGD_TRY(ranks_parcel_send(ranks, parcel, i, CHANNEL_PLAN, bytes));
    }
    return HYSGD_OK;
}

static void keep_save_failure(struct ranks_coordinator *self, enum hysgd_status status, const char *text) {
    self->save_status = status;
    snprintf(self->save_message, sizeof self->save_message, "%s", text);
}

static void end_save(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    enum hysgd_status status = self->save_status;
    if (status != HYSGD_OK || self->is_save_void) {
        snapshot_abort(self->file);
    } else {
        drive_flush(training, self->saved_seconds); /* the file names a place in the log */
        status = snapshot_commit(self->file);
    }
    if (self->save_status != HYSGD_OK)
        status_set_message(self->save_message);
    if (self->is_save_void)
        snapshot_discard(self->image); /* the next one is for the next milestone, unless this was the last */
    else
        drive_end_save(training, self->image, status, self->saved_seconds);
    self->has_saved_last = self->has_saved_last && !self->is_save_void;
    self->is_save_void = false;
    self->file = NULL;
    self->image = NULL;
    if (status != HYSGD_OK)
        drive_fail(training, status);
}

/* The image is of this moment; verdicts wait until all ranks have written their parts. */
enum hysgd_status coordinator_begin_save(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    struct snapshot_image *image;
    self->saved_seconds = coordinator_moment(self);
    self->save_status = HYSGD_OK;
    HYSGD_TRY(drive_begin_save(ranks->training, self->saved_seconds, NULL, &image));
    enum hysgd_status status = snapshot_begin(image, ranks->training->setup, &self->file);
    if (status != HYSGD_OK) {
        drive_end_save(ranks->training, image, status, self->saved_seconds);
        return status;
    }
    self->image = image;
    for (int i = 0; i < ranks->count; i++)
        self->has_saved[i] = ranks->members[i].is_lost;
    status = send_plan(self);
    if (status != HYSGD_OK) { /* nobody writes, so nobody is waited for */
        keep_save_failure(self, status, hysgd_error_message());
        end_save(self);
        return status;
    }
    coordinator_begin_order(self)->is_saved = true;
    coordinator_send_order(self);
    return HYSGD_OK;
}

void coordinator_note_saved(struct ranks_coordinator *self, int from, const struct message_text *message) {
    struct ranks *ranks = self->ranks;
    self->has_saved[from] = true;
    if (message->status == HYSGD_OK || self->save_status != HYSGD_OK)
        return;
    char text[sizeof self->save_message];
    snprintf(text, sizeof text, "rank %d on %s: %s", from, comm_host(ranks->comm, from),
             (const char *)(message + 1));
    keep_save_failure(self, (enum hysgd_status)message->status, text);
}

/* A rank that is lost meanwhile has not written its part: the old file stays. */
static void note_lost_writers(struct ranks_coordinator *self) {
    const struct ranks *ranks = self->ranks;
    for (int i = 0; i < ranks->count; i++) {
        if (self->has_saved[i] || !ranks->members[i].is_lost)
            continue;
        self->has_saved[i] = true;
        self->is_save_void = true;
    }
}

enum hysgd_status coordinator_step_save(struct ranks_coordinator *self, bool *has_acted) {
    if (!self->image)
        return HYSGD_OK;
    note_lost_writers(self);
    for (int i = 0; i < self->ranks->count; i++)
        if (!self->has_saved[i])
            return HYSGD_OK;
    *has_acted = true;
    end_save(self);
    coordinator_note_stop(self);
    return coordinator_serve_queue(self);
}

/* ---- Copies ---- */

/* Numbers that no other incarnation gives, and never in the place of the one that counts. */
static uint64_t next_generation(struct ranks_coordinator *self) {
    const struct ranks *ranks = self->ranks;
    do
        self->generation++;
    while (ranks->generation > 0 && self->generation % RANKS_COPIES == ranks->generation % RANKS_COPIES);
    return self->generation;
}

/* A copy of the state of this moment, in the memory of all ranks; the run goes on meanwhile. */
enum hysgd_status coordinator_begin_copy(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    struct message_copy message = {.head = {MESSAGE_COPY, sizeof message},
                                   .generation = next_generation(self),
                                   .committed = ranks->generation};
    struct ranks_parcel *parcel;
    size_t bytes;
    double seconds = coordinator_moment(self);
    HYSGD_TRY(ranks_state_make(ranks, seconds, &parcel, &bytes));
    ranks_parcel_release(parcel);
    drive_note_copied(ranks->training, seconds);
    message.bytes = bytes;
    self->copied_version = ranks->training->engine.progress.version;
    self->lost_before_copy = ranks->lost_count;
    self->is_copying = self->has_copied = true;
    self->unheld = ranks->servers;
    for (int i = 0; i < ranks->count; i++) {
        if (ranks->members[i].is_lost)
            continue;
        self->unheld++;
        message.delivered = delivered_by(ranks, i);
        ranks_send(ranks, i, &message, sizeof message);
        HYSGD_TRY(ranks_parcel_send(ranks, parcel, i, CHANNEL_COPY_PLAN, bytes));
    }
    coordinator_begin_order(self)->copied = message.generation;
    coordinator_send_order(self);
    return HYSGD_OK;
}

void coordinator_note_held(struct ranks_coordinator *self, const struct message_held *message) {
    struct ranks *ranks = self->ranks;
    if (!self->is_copying || message->generation != self->generation || --self->unheld > 0)
        return;
    self->is_copying = false;
    drive_flush(ranks->training, coordinator_moment(self)); /* whoever goes back to it finds its place in the log */
    ranks->generation = self->generation;
    ranks_members_tell(ranks);
}

bool coordinator_copy_is_due(struct ranks_coordinator *self) {
    const struct ranks *ranks = self->ranks;
    if (ranks->options->tolerate == 0 || ranks->count - ranks->lost_count < 2)
        return false;
    if (self->is_copying && self->lost_before_copy == ranks->lost_count)
        return false;
    if (!self->has_copied || self->is_copying) /* at the beginning, and where somebody was lost in between */
        return true;
    return ranks->training->engine.progress.version >= self->copied_version + (uint64_t)ranks->options->copies;
}
