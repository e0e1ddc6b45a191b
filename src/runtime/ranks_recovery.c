/* SPDX-License-Identifier: Apache-2.0 */
/* A rank goes on after a loss: what the messages of before may still touch is put aside, the state goes back to the
 * latest copies, and the parts of the rank begin anew. See ranks.h. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"
#include "runtime/worker_own.h"

/* Between two signs of life of a rank that is reading. */
#define SIGN_SECONDS 0.2

/* ---- Where to ---- */

/* Whether each server has a living rank with its part of the copy; those become the hosts. */
static bool has_all_slices(const struct ranks *ranks, const struct ranks_copy *copy, int32_t *hosts) {
    const struct ranks_state *state = (const void *)copy->plan;
    for (int i = 0; i < ranks->servers; i++) {
        const int32_t *holders = ranks_state_holders(state, i);
        hosts[i] = ranks->members[holders[0]].is_lost ? holders[1] : holders[0];
        if (ranks->members[hosts[i]].is_lost)
            return false;
    }
    return true;
}

/* The checkpoint that the run continues is the one that it writes: whether it has is for the file to tell. */
static bool has_one_file(const struct ranks *ranks) {
    const struct training_setup *setup = ranks->training->setup;
    return setup->resume_path && setup->save_path && strcmp(setup->resume_path, setup->save_path) == 0;
}

enum hysgd_status ranks_plan_renewal(struct ranks *ranks, struct ranks_renewal *renewal) {
    const struct ranks_copy *copy = ranks->generation > 0 ? ranks_copy_of(ranks, ranks->generation) : NULL;
    renewal->source = SOURCE_COPIES;
    renewal->generation = ranks->generation;
    if (copy && copy->has_plan && has_all_slices(ranks, copy, renewal->hosts))
        return HYSGD_OK;
    if (!ranks->options->restart)
        return hysgd_fail(HYSGD_FAILED, "a rank with parameters is lost, no copy of them is left, and restart=no");
    for (int i = 0; i < ranks->servers; i++) {
        int host = ranks->server_ranks[i];
        renewal->hosts[i] = ranks->members[host].is_lost ? ranks_next_member(ranks, host) : host;
    }
    renewal->source = ranks->has_saved || has_one_file(ranks) ? SOURCE_CHECKPOINT : SOURCE_BEGINNING;
    renewal->generation = 0;
    return HYSGD_OK;
}

/* ---- What is left behind ---- */

static enum hysgd_status bury(struct ranks *ranks, struct ranks_past **past_out) {
    struct ranks_past *past;
    HYSGD_TRY(memory_alloc(1, sizeof *past, &past));
    *past = (struct ranks_past){.next = ranks->past,
                                .shards = ranks->shards,
                                .shard_count = ranks->shard_count,
                                .coordinator = ranks->coordinator,
                                .inboxes = ranks->inboxes};
    ranks->past = past;
    ranks->shards = NULL;
    ranks->shard_count = 0;
    ranks->coordinator = NULL;
    ranks->inboxes = NULL;
    *past_out = past;
    return HYSGD_OK;
}

enum hysgd_status ranks_put_aside(struct ranks *ranks, void *memory) {
    struct ranks_past *past;
    HYSGD_TRY(memory_alloc(1, sizeof *past, &past));
    *past = (struct ranks_past){.next = ranks->past, .memory = {[PAST_OTHER] = memory}};
    ranks->past = past;
    return HYSGD_OK;
}

void ranks_forget_past(struct ranks *ranks) {
    while (ranks->past) {
        struct ranks_past *past = ranks->past;
        ranks->past = past->next;
        for (int i = 0; i < past->shard_count; i++)
            ranks_shard_fini(&past->shards[i]);
        ranks_coordinator_free(past->coordinator);
        for (int i = 0; past->inboxes && i < ranks->count; i++)
            memory_free(past->inboxes[i].content);
        for (int i = 0; i < PAST_COUNT; i++)
            memory_free(past->memory[i]);
        memory_free(past->shards);
        memory_free(past->inboxes);
        memory_free(past);
    }
}

/* ---- Going on ---- */

static enum hysgd_status unpack_shards(struct ranks *ranks, const struct ranks_copy *copy) {
    const struct ranks_state *state = (const void *)copy->plan;
    for (int i = 0; i < ranks->shard_count; i++) {
        struct ranks_shard *shard = &ranks->shards[i];
        const struct snapshot_slice slice = {&shard->server, shard->slice.first};
        if (shard->server.shard_count > 0)
            HYSGD_TRY(
                snapshot_unpack(&slice, ranks->training, state->places, state->count, copy->packed[shard->number]));
    }
    return HYSGD_OK;
}

static enum hysgd_status restore_state(struct training *training, const unsigned char *content) {
    const struct ranks_state *state = (const void *)content;
    return snapshot_restore_state(training, ranks_state_rest(state), state->bytes);
}

/* What the worker of this rank keeps; `copy` NULL: as before its first delivery. */
static void restore_own(struct ranks *ranks, const struct ranks_copy *copy) {
    if (ranks->worker)
        worker_own_unpack(ranks->training, ranks->worker->worker, copy ? copy->own : NULL);
}

static enum hysgd_status restore_checkpoint(struct ranks *ranks, struct training_place *place) {
    struct training *training = ranks->training;
    const char *path = training->setup->save_path;
    restore_own(ranks, NULL);
    snapshot_free(training->resumed);
    training->resumed = NULL;
    HYSGD_TRY(training_resume(training, path));
    if (training->start_seconds > ranks->begun) /* else it is the one that the run continues, of another log */
        *place = training->resumed->place;
    HYSGD_TRY(ranks_start_shards(ranks));
    return ranks_read_slices(ranks, path);
}

static enum hysgd_status restore_beginning(struct ranks *ranks) {
    struct training *training = ranks->training;
    const char *path = training->setup->resume_path;
    restore_own(ranks, NULL);
    HYSGD_TRY(restore_state(training, ranks->beginning));
    if (path)
        HYSGD_TRY(snapshot_read_own(training, path));
    HYSGD_TRY(ranks_start_shards(ranks));
    return path ? ranks_read_slices(ranks, path) : HYSGD_OK;
}

/* `place`: where the record was then. */
static enum hysgd_status restore(struct ranks *ranks, const struct ranks_renewal *renewal,
                                 struct training_place *place) {
    struct training *training = ranks->training;
    const struct ranks_copy *copy = NULL;
    *place = (struct training_place){0};
    switch (renewal->source) {
    case SOURCE_COPIES:
        copy = ranks_copy_of(ranks, renewal->generation);
        if (!copy || !copy->has_plan)
            return hysgd_fail(HYSGD_FAILED, "rank %d has no copy %llu of the state", ranks->rank,
                              (unsigned long long)renewal->generation);
        *place = ((const struct ranks_state *)(const void *)copy->plan)->place;
        HYSGD_TRY(restore_state(training, copy->plan));
        restore_own(ranks, copy);
        HYSGD_TRY(ranks_start_shards(ranks));
        return unpack_shards(ranks, copy);
    case SOURCE_CHECKPOINT:
        return restore_checkpoint(ranks, place);
    default:
        return restore_beginning(ranks);
    }
}

/* Reading a long log must not look like silence. */
static void give_sign(void *self) {
    struct ranks *ranks = self;
    if (machine_seconds() - ranks->beaten < SIGN_SECONDS)
        return;
    ranks->beaten = machine_seconds();
    ranks_members_tell(ranks);
}

/* The record becomes this rank's concern: its log goes on, or another one begins. */
static enum hysgd_status take_over(struct ranks *ranks, uint64_t *received, struct drive_return *back) {
    struct training *training = ranks->training;
    const struct training_setup *setup = training->setup;
    struct training_record record = {
        .place = back->place, .pulse = give_sign, .pulse_self = ranks, .received = received};
    training->place = (struct training_place){.log = ranks->incarnation};
    if (!setup->take_over)
        return HYSGD_OK;
    HYSGD_TRY(setup->take_over(setup->take_over_self, &record));
    if (record.is_continued) {
        training->place = (struct training_place){back->place.log, record.events, record.seconds};
        training->start_seconds = fmax(training->start_seconds, record.seconds); /* clocks differ a little */
        training->engine.progress.seconds = training->start_seconds;
    }
    if (record.has_received)
        back->received = received;
    if (record.warning[0] != '\0')
        drive_notice(training, record.warning);
    return HYSGD_OK;
}

/* A rank that was about to leave when it came to lead goes on leading; only its worker leaves. */
static enum hysgd_status lead(struct ranks *ranks, bool is_new, uint64_t *received, struct drive_return *back) {
    struct training *training = ranks->training;
    bool leaves = is_new && ranks->has_asked_to_leave;
    drive_go_on(training, leaves);
    if (is_new)
        HYSGD_TRY(take_over(ranks, received, back));
    else
        back->received = received;
    if (is_new)
        HYSGD_TRY(ranks_join_open(ranks, NULL));
    HYSGD_TRY(ranks_coordinator_start(ranks));
    if (leaves && ranks->worker)
        ranks_coordinator_dismiss(ranks, ranks->worker->worker);
    return HYSGD_OK;
}

/* Nobody uses any more what is buried, but messages may still be written there. */
static enum hysgd_status leave_behind(struct ranks *ranks, struct ranks_past **past_out) {
    enum hysgd_status ignored;
    ranks_aside_wait(ranks, &ignored);
    if (ranks->worker)
        ranks_worker_interrupt(ranks);
    ranks_coordinator_interrupt(ranks->coordinator);
    HYSGD_TRY(bury(ranks, past_out));
    snapshot_discard_part(ranks->save.part);
    (*past_out)->memory[PAST_PLAN] = ranks->save.plan;
    ranks->save = (struct ranks_save){0};
    return HYSGD_OK;
}

/* `back`: what is to be recorded of it, but who delivered what. */
static enum hysgd_status go_back(struct ranks *ranks, const struct ranks_renewal *renewal,
                                 struct drive_return *back) {
    struct training *training = ranks->training;
    *back = (struct drive_return){.rank = ranks->latest_lost};
    HYSGD_TRY(restore(ranks, renewal, &back->place));
    drive_go_back(training, ranks->clock + machine_seconds());
    uint64_t received = training->engine.progress.received;
    back->undone = ranks->received > received ? ranks->received - received : 0;
    ranks->received = received;
    return HYSGD_OK;
}

/* What the renewal says. `former_out`: of before; its hosts are kept with the past. */
static enum hysgd_status take_places(struct ranks *ranks, const struct ranks_renewal *renewal,
                                     struct ranks_past *past, struct ranks_former *former_out) {
    *former_out = (struct ranks_former){.leader = ranks->renewed_by < 0 ? 0 : ranks->renewed_by};
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *former_out->hosts, &former_out->hosts));
    past->memory[PAST_HOSTS] = former_out->hosts;
    ranks->incarnation = renewal->incarnation;
    ranks->renewed_by = ranks->leader;
    ranks->generation = renewal->generation;
    for (int i = 0; i < ranks->servers; i++) {
        former_out->hosts[i] = ranks->server_ranks[i];
        ranks->server_ranks[i] = renewal->hosts[i];
    }
    return HYSGD_OK;
}

enum hysgd_status ranks_renew(struct ranks *ranks, const struct ranks_renewal *renewal) {
    struct training *training = ranks->training;
    struct ranks_past *past;
    struct ranks_former former;
    HYSGD_TRY(leave_behind(ranks, &past));
    HYSGD_TRY(take_places(ranks, renewal, past, &former));
    HYSGD_TRY(ranks_open_inboxes(ranks));
    struct drive_return back;
    uint64_t *received;
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *received, &received));
    past->memory[PAST_RECEIVED] = received;
    drive_count_received(training, received);
    if (past->coordinator)
        ranks->received = training->engine.progress.received;
    HYSGD_TRY(go_back(ranks, renewal, &back));
    drive_go_on(training, false);
    if (ranks->rank == ranks->leader) {
        HYSGD_TRY(lead(ranks, past->coordinator == NULL, received, &back));
        ranks_tell_return(ranks, &former, drive_undone(training, &back));
        drive_note_restored(training, &back);
    } else {
        ranks->has_asked_to_leave = false; /* the one who was asked may not have known it any more */
    }
    if (ranks->worker)
        return ranks_worker_renew(ranks, past);
    ranks_send_ready(ranks);
    return HYSGD_OK;
}
