/* SPDX-License-Identifier: Apache-2.0 */
/* A rank's part of a checkpoint: its slices at the place in the stream of orders where the coordinator took the
 * image, and what its worker keeps, written by the aside thread into the one file. See ranks.h. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "runtime/ranks.h"

static void plan_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks *ranks = self;
    (void)bytes;
    ranks->save.has_plan = ranks->save.has_plan || !ranks_is_past(ranks, completion);
}

/* The plan follows on a channel of its own: it may be long. */
enum hysgd_status ranks_save_expect(struct ranks *ranks, const struct message_plan *message) {
    struct ranks_save *save = &ranks->save;
    memory_free(save->plan);
    save->plan = NULL;
    save->has_plan = false;
    save->is_expected = true;
    save->delivered = message->delivered;
    HYSGD_TRY(memory_alloc(message->plan_bytes, 1, &save->plan));
    return comm_receive(ranks->comm, ranks->leader, ranks_tag(ranks, CHANNEL_PLAN, 0), save->plan,
                        message->plan_bytes, plan_has_come, ranks);
}

static enum hysgd_status write_aside(void *self) {
    struct ranks_save *save = self;
    const struct ranks_plan *plan = (const void *)save->plan;
    return snapshot_write_part(save->part, plan->temporary);
}

/* All shards of this rank have come to the place. */
static bool is_time(const struct ranks *ranks) {
    if (!ranks->save.is_expected || !ranks->save.has_plan || ranks->save.part)
        return false;
    for (int i = 0; i < ranks->shard_count; i++)
        if (!ranks->shards[i].is_saving)
            return false;
    return true;
}

/* At the place of the image the worker has delivered what the state has, or once more, and is not released
 * meanwhile. */
static bool has_delivered_since(const struct ranks *ranks) {
    return ranks->worker && ranks->worker->delivered > ranks->save.delivered;
}

static enum hysgd_status begin(struct ranks *ranks) {
    struct ranks_save *save = &ranks->save;
    const struct ranks_plan *plan = (const void *)save->plan;
    struct snapshot_slice *slices;
    HYSGD_TRY(memory_alloc((size_t)ranks->shard_count, sizeof *slices, &slices));
    for (int i = 0; i < ranks->shard_count; i++)
        slices[i] = (struct snapshot_slice){&ranks->shards[i].server, ranks->shards[i].slice.first};
    const struct snapshot_holdings holdings = {.slices = slices,
                                               .slice_count = ranks->shard_count,
                                               .training = ranks->training,
                                               .worker = ranks->worker ? ranks->worker->worker : -1,
                                               .is_before = has_delivered_since(ranks)};
    enum hysgd_status status = snapshot_take_part(&holdings, plan->places, plan->count, false, &save->part);
    memory_free(slices);
    HYSGD_TRY(status);
    ranks_set_aside(ranks, write_aside, save);
    return HYSGD_OK;
}

/* Says how it went. A failure is the checkpoint's, not this rank's: the coordinator decides. */
static void end(struct ranks *ranks, enum hysgd_status status) {
    struct {
        struct message_text head;
        char text[1024];
    } message = {.head = {.head = {MESSAGE_SAVED, sizeof message}, .status = (int32_t)status}};
    if (status != HYSGD_OK)
        snprintf(message.text, sizeof message.text, "%s", hysgd_error_message());
    ranks_send(ranks, ranks->leader, &message, sizeof message);
    snapshot_discard_part(ranks->save.part);
    ranks->save.part = NULL;
    ranks->save.is_expected = false;
    for (int i = 0; i < ranks->shard_count; i++)
        ranks->shards[i].is_saving = false;
}

bool ranks_save_step(struct ranks *ranks) {
    enum hysgd_status status;
    if (!ranks->save.is_expected)
        return false;
    if (is_time(ranks)) {
        status = begin(ranks);
        if (status != HYSGD_OK)
            end(ranks, status);
        return true;
    }
    if (!ranks->save.part || !ranks_aside_is_done(ranks, &status))
        return false;
    end(ranks, status);
    return true;
}

void ranks_save_fini(struct ranks *ranks) {
    snapshot_discard_part(ranks->save.part);
    memory_free(ranks->save.plan);
}
