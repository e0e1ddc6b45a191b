/* SPDX-License-Identifier: Apache-2.0 */
/* A rank goes on after a loss: what the messages of before may still touch is put aside, the state goes back to the
 * latest copies, and the parts of the rank begin anew. See ranks.h. */
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"

/* Where the state goes back to: this rank must have what it is to go on from. */
static enum hysgd_status find_copy(struct ranks *ranks, struct ranks_copy **copy_out) {
    struct ranks_copy *copy = ranks->generation > 0 ? ranks_copy_of(ranks, ranks->generation) : NULL;
    if (!copy || !copy->has_plan)
        return hysgd_fail(HYSGD_FAILED, "a rank with parameters was lost before they had been copied");
    for (int i = 0; i < ranks->servers; i++) {
        bool is_heir = ranks_copies_heir(ranks, i) == ranks->rank;
        if (is_heir && !copy->packed[i] && ranks->slices[i].end > ranks->slices[i].first)
            return hysgd_fail(HYSGD_FAILED, "server %d is lost with both copies of its parameters", i);
    }
    *copy_out = copy;
    return HYSGD_OK;
}

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

void ranks_forget_past(struct ranks *ranks) {
    while (ranks->past) {
        struct ranks_past *past = ranks->past;
        ranks->past = past->next;
        for (int i = 0; i < past->shard_count; i++)
            ranks_shard_fini(&past->shards[i]);
        ranks_coordinator_free(past->coordinator);
        for (int i = 0; past->inboxes && i < ranks->count; i++)
            memory_free(past->inboxes[i].content);
        for (size_t i = 0; i < sizeof past->memory / sizeof *past->memory; i++)
            memory_free(past->memory[i]);
        memory_free(past->shards);
        memory_free(past->inboxes);
        memory_free(past);
    }
}

static enum hysgd_status restore_shards(struct ranks *ranks, const struct ranks_copy *copy) {
    const struct ranks_state *state = (const void *)copy->plan;
    HYSGD_TRY(ranks_start_shards(ranks));
    for (int i = 0; i < ranks->shard_count; i++) {
        struct ranks_shard *shard = &ranks->shards[i];
        const struct snapshot_slice slice = {&shard->server, shard->slice.first};
        if (shard->server.shard_count > 0)
            HYSGD_TRY(
                snapshot_unpack(&slice, ranks->training, state->places, state->count, copy->packed[shard->number]));
    }
    return HYSGD_OK;
}

static enum hysgd_status lead(struct ranks *ranks, bool is_new) {
    const struct training_setup *setup = ranks->training->setup;
    if (is_new && setup->take_over)
        HYSGD_TRY(setup->take_over(setup->take_over_self));
    return ranks_coordinator_start(ranks);
}

enum hysgd_status ranks_renew(struct ranks *ranks, uint32_t incarnation) {
    struct training *training = ranks->training;
    struct ranks_copy *copy = NULL;
    struct ranks_past *past;
    enum hysgd_status ignored;
    HYSGD_TRY(find_copy(ranks, &copy));
    ranks_aside_wait(ranks, &ignored);
    if (ranks->worker)
        ranks_worker_interrupt(ranks);
    HYSGD_TRY(bury(ranks, &past));
    ranks->incarnation = incarnation;
    for (int i = 0; i < ranks->servers; i++)
        ranks->server_ranks[i] = ranks_copies_heir(ranks, i);
    const struct ranks_state *state = (const void *)copy->plan;
    uint64_t received = training->engine.progress.received;
    HYSGD_TRY(snapshot_restore_state(training, state->places + state->count, state->bytes));
    training->start_seconds = ranks->clock + machine_seconds();
    ranks->save.is_expected = false;
    HYSGD_TRY(ranks_open_inboxes(ranks));
    HYSGD_TRY(restore_shards(ranks, copy));
    if (ranks->rank == ranks->leader)
        HYSGD_TRY(lead(ranks, past->coordinator == NULL));
    ranks->undone += received - training->engine.progress.received;
    if (ranks->worker)
        return ranks_worker_renew(ranks, past);
    ranks_send_ready(ranks);
    return HYSGD_OK;
}
