/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of the state of a run in the memory of its ranks, so that it survives the loss of some. A generation is
 * the state at one place of the stream of orders: what the coordinator knows goes to every rank, and each server
 * keeps a copy of its slice and sends another to the next rank. It counts once all have confirmed; the two latest
 * that count are kept, as ranks may learn of that at different times. See ranks.h. */
#include <string.h>

#include "base/memory.h"
#include "runtime/ranks.h"

struct ranks_copy *ranks_copy_of(struct ranks *ranks, uint64_t generation) {
    struct ranks_copy *copy = &ranks->copies[generation % RANKS_COPIES];
    return copy->generation == generation ? copy : NULL;
}

/* What is still being sent, to a rank that is lost, stays. */
static void forget(struct ranks *ranks, struct ranks_copy *copy) {
    for (int i = 0; copy->packed && i < ranks->servers && copy->under_way == 0; i++)
        memory_free(copy->packed[i]);
    memory_free(copy->packed);
    memory_free(copy->plan);
    *copy = (struct ranks_copy){.ranks = ranks};
}

/* The place of a generation, empty if it held another one. */
static enum hysgd_status make_copy(struct ranks *ranks, uint64_t generation, struct ranks_copy **copy_out) {
    struct ranks_copy *copy = &ranks->copies[generation % RANKS_COPIES];
    if (copy->generation != generation)
        forget(ranks, copy);
    copy->generation = generation;
    if (!copy->packed)
        HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *copy->packed, &copy->packed));
    *copy_out = copy;
    return HYSGD_OK;
}

void ranks_copies_fini(struct ranks *ranks) {
    for (int i = 0; i < RANKS_COPIES; i++)
        forget(ranks, &ranks->copies[i]);
}

static void confirm(struct ranks *ranks, uint64_t generation) {
    const struct message_held message = {.head = {MESSAGE_HELD, sizeof message}, .generation = generation};
    ranks_send(ranks, ranks->leader, &message, sizeof message);
}

/* ---- What the coordinator knows ---- */

static void plan_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)bytes;
    if (ranks_is_past(copy->ranks, completion))
        return;
    copy->has_plan = true;
    confirm(copy->ranks, copy->generation);
}

enum hysgd_status ranks_copies_expect(struct ranks *ranks, const struct message_copy *message) {
    struct ranks_copy *copy;
    HYSGD_TRY(make_copy(ranks, message->generation, &copy));
    HYSGD_TRY(memory_alloc(message->bytes, 1, &copy->plan));
    return comm_receive(ranks->comm, ranks->leader, ranks_tag(ranks, CHANNEL_COPY_PLAN, 0), copy->plan,
                        message->bytes, plan_has_come, copy);
}

/* ---- Slices ---- */

/* The next rank that takes part. */
static int next_member(const struct ranks *ranks, int rank) {
    for (int i = 1; i < ranks->count; i++)
        if (!ranks->members[(rank + i) % ranks->count].is_lost)
            return (rank + i) % ranks->count;
    return rank;
}

bool ranks_copies_may_take(struct ranks *ranks, uint64_t generation) {
    const struct ranks_copy *copy = ranks_copy_of(ranks, generation);
    return copy && copy->has_plan;
}

static void slice_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)completion, (void)bytes;
    copy->under_way--;
}

/* The shard's slice as it is now, for this rank and the next. */
enum hysgd_status ranks_copies_take(struct ranks_shard *shard, uint64_t generation) {
    struct ranks *ranks = shard->ranks;
    struct ranks_copy *copy = ranks_copy_of(ranks, generation);
    const struct ranks_state *state = (const void *)copy->plan;
    const struct snapshot_slice slice = {&shard->server, shard->slice.first};
    size_t count = snapshot_packed_count(state->places, state->count, shard->slice.first, shard->slice.end);
    float **packed = &copy->packed[shard->number];
    int next = next_member(ranks, ranks->rank);
    HYSGD_TRY(memory_alloc_vector(count, sizeof **packed, packed));
    snapshot_pack(&slice, state->places, state->count, *packed);
    if (next == ranks->rank) {
        confirm(ranks, generation);
        return HYSGD_OK;
    }
    const struct message_copy message = {.head = {MESSAGE_SLICE_COPY, sizeof message},
                                         .server = shard->number,
                                         .generation = generation,
                                         .bytes = count * sizeof **packed};
    ranks_send(ranks, next, &message, sizeof message);
    copy->under_way++;
    return comm_send(ranks->comm, next, ranks_tag(ranks, CHANNEL_COPY, shard->number), *packed, message.bytes,
                     slice_has_left, copy);
}

static void slice_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)bytes;
    if (!ranks_is_past(copy->ranks, completion))
        confirm(copy->ranks, copy->generation);
}

enum hysgd_status ranks_copies_take_in(struct ranks *ranks, int from, const struct message_copy *message) {
    struct ranks_copy *copy;
    HYSGD_TRY(make_copy(ranks, message->generation, &copy));
    HYSGD_TRY(memory_alloc_vector(message->bytes, 1, &copy->packed[message->server]));
    return comm_receive(ranks->comm, from, ranks_tag(ranks, CHANNEL_COPY, message->server),
                        copy->packed[message->server], message->bytes, slice_has_come, copy);
}

/* Which rank hosts a server from here on: its own, or the one that has the other copy. */
int ranks_copies_heir(const struct ranks *ranks, int server) {
    int rank = ranks->server_ranks[server];
    return ranks->members[rank].is_lost ? next_member(ranks, rank) : rank;
}
