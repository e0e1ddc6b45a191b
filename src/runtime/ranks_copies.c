/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of the state of a run in the memory of its ranks, so that it survives the loss of some. A generation is
 * the state at one place of the stream of orders: what the coordinator knows goes to every rank, and each server
 * keeps a copy of its slice and sends another to the next rank. It counts once all have confirmed; the two latest
 * that count are kept, as ranks may learn of that at different times. See ranks.h. */
#include <string.h>

#include "base/memory.h"
#include "runtime/ranks.h"
#include "runtime/worker_own.h"

struct ranks_copy *ranks_copy_of(struct ranks *ranks, uint64_t generation) {
    struct ranks_copy *copy = ranks->copies[generation % RANKS_COPIES];
    return copy && copy->generation == generation ? copy : NULL;
}

static void free_copy(struct ranks *ranks, struct ranks_copy *copy) {
    for (int i = 0; copy->packed && i < ranks->servers; i++)
        memory_free(copy->packed[i]);
    memory_free(copy->packed);
    memory_free(copy->own);
    memory_free(copy->plan);
    memory_free(copy);
}

/* What is still being sent or received, in vain where a rank is lost, stays. */
static void put_aside(struct ranks *ranks, struct ranks_copy *copy) {
    if (!copy)
        return;
    if (copy->under_way == 0) {
        free_copy(ranks, copy);
        return;
    }
    copy->older = ranks->old_copies;
    ranks->old_copies = copy;
}

/* The place of a generation, empty if it held an earlier one. What comes for a generation that a later one has
 * taken the place of is received all the same: the next message is behind it. */
static enum hysgd_status make_copy(struct ranks *ranks, uint64_t generation, struct ranks_copy **copy_out) {
    struct ranks_copy **place = &ranks->copies[generation % RANKS_COPIES], *copy = *place;
    if (!copy || copy->generation != generation) {
        HYSGD_TRY(memory_alloc(1, sizeof *copy, &copy));
        *copy = (struct ranks_copy){.ranks = ranks, .generation = generation};
        if (*place && (*place)->generation > generation)
            place = &ranks->old_copies, copy->older = ranks->old_copies;
        else
            put_aside(ranks, *place);
        *place = copy;
    }
    if (!copy->packed)
        HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *copy->packed, &copy->packed));
    *copy_out = copy;
    return HYSGD_OK;
}

void ranks_copies_fini(struct ranks *ranks) {
    for (int i = 0; i < RANKS_COPIES; i++) {
        if (ranks->copies[i])
            free_copy(ranks, ranks->copies[i]);
        ranks->copies[i] = NULL;
    }
    while (ranks->old_copies) {
        struct ranks_copy *copy = ranks->old_copies;
        ranks->old_copies = copy->older;
        free_copy(ranks, copy);
    }
    memory_free(ranks->beginning);
    ranks->beginning = NULL;
}

static void confirm(struct ranks *ranks, uint64_t generation) {
    const struct message_held message = {.head = {MESSAGE_HELD, sizeof message}, .generation = generation};
    ranks_send(ranks, ranks->leader, &message, sizeof message);
}

/* ---- What the coordinator knows ---- */

int ranks_next_member(const struct ranks *ranks, int rank) {
    for (int i = 1; i < ranks->count; i++)
        if (!ranks->members[(rank + i) % ranks->count].is_lost)
            return (rank + i) % ranks->count;
    return rank;
}

static enum hysgd_status pack_state(struct ranks *ranks, const void *rest, size_t length,
                                    const struct snapshot_place *places, size_t count,
                                    struct ranks_parcel **parcel_out, size_t *bytes_out) {
    size_t servers = (size_t)ranks->servers;
    struct ranks_state *state;
    *bytes_out = sizeof *state + count * sizeof *places + 2 * servers * sizeof(int32_t) + length;
    HYSGD_TRY(ranks_parcel_alloc(ranks, *bytes_out, parcel_out));
    state = (void *)(*parcel_out)->content;
    *state =
        (struct ranks_state){.count = count, .servers = servers, .bytes = length, .place = ranks->training->place};
    memcpy(state->places, places, count * sizeof *places);
    int32_t *holders = (int32_t *)(void *)(state->places + count);
    for (size_t i = 0; i < servers; i++) {
        holders[2 * i] = ranks->server_ranks[i];
        holders[2 * i + 1] = ranks_next_member(ranks, ranks->server_ranks[i]);
    }
    memcpy(holders + 2 * servers, rest, length);
    return HYSGD_OK;
}

enum hysgd_status ranks_state_make(struct ranks *ranks, double seconds, struct ranks_parcel **parcel_out,
                                   size_t *bytes_out) {
    struct training *training = ranks->training;
    struct snapshot_image *image;
    struct snapshot_place *places = NULL;
    unsigned char *rest = NULL;
    size_t length = 0, count = 0;
    HYSGD_TRY(snapshot_take(training, seconds, NULL, &image));
    enum hysgd_status status = snapshot_store_state(image, training->setup, &rest, &length);
    snapshot_discard(image);
    if (status == HYSGD_OK)
        status = snapshot_plan(training, &places, &count);
    if (status == HYSGD_OK)
        status = pack_state(ranks, rest, length, places, count, parcel_out, bytes_out);
    memory_free(places);
    memory_free(rest);
    return status;
}

enum hysgd_status ranks_copies_begin(struct ranks *ranks) {
    struct ranks_parcel *parcel;
    size_t bytes;
    ranks->training->keeps_place = true;
    ranks->begun = ranks->training->start_seconds;
    HYSGD_TRY(ranks_state_make(ranks, ranks->begun, &parcel, &bytes));
    enum hysgd_status status = memory_alloc(bytes, 1, &ranks->beginning);
    if (status == HYSGD_OK)
        memcpy(ranks->beginning, parcel->content, bytes);
    ranks_parcel_release(parcel);
    return status;
}

static void plan_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)bytes;
    copy->under_way--;
    if (ranks_is_past(copy->ranks, completion))
        return;
    copy->has_plan = true;
    confirm(copy->ranks, copy->generation);
}

/* At the copy's place in the stream of orders the worker has delivered what the state has, or once more: it has not
 * been released since, so what it had before is still there. */
static enum hysgd_status copy_own(struct ranks *ranks, struct ranks_copy *copy, uint64_t delivered) {
    size_t count = worker_own_count(ranks->training);
    if (!ranks->worker || count == 0)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc_vector(count, sizeof *copy->own, &copy->own));
    worker_own_pack(ranks->training, ranks->worker->worker, ranks->worker->delivered > delivered, copy->own);
    return HYSGD_OK;
}

enum hysgd_status ranks_copies_expect(struct ranks *ranks, const struct message_copy *message) {
    struct ranks_copy *copy;
    if (message->committed > ranks->generation)
        ranks->generation = message->committed;
    HYSGD_TRY(make_copy(ranks, message->generation, &copy));
    HYSGD_TRY(copy_own(ranks, copy, message->delivered));
    HYSGD_TRY(memory_alloc(message->bytes, 1, &copy->plan));
    copy->under_way++;
    return comm_receive(ranks->comm, ranks->leader, ranks_tag(ranks, CHANNEL_COPY_PLAN, 0), copy->plan,
                        message->bytes, plan_has_come, copy);
}

enum hysgd_status ranks_copies_tell(struct ranks *ranks, int to) {
    const struct ranks_copy *copy = ranks->generation > 0 ? ranks_copy_of(ranks, ranks->generation) : NULL;
    struct ranks_parcel *parcel;
    if (!copy || !copy->has_plan)
        return HYSGD_OK;
    size_t bytes = ranks_state_bytes((const void *)copy->plan);
    const struct message_copy message = {.head = {MESSAGE_COPY, sizeof message},
                                         .generation = copy->generation,
                                         .bytes = bytes,
                                         .committed = ranks->generation};
    HYSGD_TRY(ranks_parcel_alloc(ranks, bytes, &parcel));
    memcpy(parcel->content, copy->plan, bytes);
    ranks_parcel_release(parcel);
    ranks_send(ranks, to, &message, sizeof message);
    return ranks_parcel_send(ranks, parcel, to, CHANNEL_COPY_PLAN, bytes);
}

/* ---- Slices ---- */

bool ranks_copies_may_take(struct ranks *ranks, uint64_t generation) {
    const struct ranks_copy *copy = ranks->copies[generation % RANKS_COPIES];
    return copy && (copy->generation > generation || (copy->generation == generation && copy->has_plan));
}

static void slice_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)completion, (void)bytes;
    copy->under_way--;
}

/* The shard's slice as it is now, for this rank and the next; of a generation that nobody waits for any more,
 * nothing. */
enum hysgd_status ranks_copies_take(struct ranks_shard *shard, uint64_t generation) {
    struct ranks *ranks = shard->ranks;
    struct ranks_copy *copy = ranks_copy_of(ranks, generation);
    if (!copy)
        return HYSGD_OK;
    const struct ranks_state *state = (const void *)copy->plan;
    const struct snapshot_slice slice = {&shard->server, shard->slice.first};
    size_t count = snapshot_packed_count(state->places, state->count, shard->slice.first, shard->slice.end);
    float **packed = &copy->packed[shard->number];
    int other = ranks_state_holders(state, shard->number)[1];
    HYSGD_TRY(memory_alloc_vector(count, sizeof **packed, packed));
    snapshot_pack(&slice, state->places, state->count, *packed);
    if (other == ranks->rank) {
        confirm(ranks, generation);
        return HYSGD_OK;
    }
    const struct message_copy message = {.head = {MESSAGE_SLICE_COPY, sizeof message},
                                         .server = shard->number,
                                         .generation = generation,
                                         .bytes = count * sizeof **packed};
    ranks_send(ranks, other, &message, sizeof message);
    copy->under_way++;
    return comm_send(ranks->comm, other, ranks_tag(ranks, CHANNEL_COPY, shard->number), *packed, message.bytes,
                     slice_has_left, copy);
}

static void slice_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_copy *copy = self;
    (void)bytes;
    copy->under_way--;
    if (!ranks_is_past(copy->ranks, completion))
        confirm(copy->ranks, copy->generation);
}

enum hysgd_status ranks_copies_take_in(struct ranks *ranks, int from, const struct message_copy *message) {
    struct ranks_copy *copy;
    HYSGD_TRY(make_copy(ranks, message->generation, &copy));
    HYSGD_TRY(memory_alloc_vector(message->bytes, 1, &copy->packed[message->server]));
    copy->under_way++;
    return comm_receive(ranks->comm, from, ranks_tag(ranks, CHANNEL_COPY, message->server),
                        copy->packed[message->server], message->bytes, slice_has_come, copy);
}
