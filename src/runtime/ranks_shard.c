/* SPDX-License-Identifier: Apache-2.0 */
/* One slice of the parameters: takes in the workers' gradients, carries out the coordinator's orders one after the
 * other, each as soon as the gradients that it needs are there, and sends the parameters to whom it is told. */
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"

/* Shards of 64 KiB that are worked on between two looks at the messages. */
#define PORTION 16

/* Seconds between two reports to the coordinator, unless something must be told. */
#define REPORT_SECONDS 5e-3

static void part_has_come(void *self, const struct comm_completion *completion, size_t bytes);

static size_t slice_count(const struct ranks_shard *shard) {
    return shard->slice.end - shard->slice.first;
}

/* -1: of none any more. */
static int worker_of_rank(const struct ranks_shard *shard, int rank) {
    for (int i = 0; i < shard->ranks->workers; i++)
        if (shard->sources[i] == rank)
            return i;
    return -1;
}

static bool source_is_gone(const struct ranks_shard *shard, int worker) {
    int rank = shard->sources[worker];
    return rank < 0 || shard->ranks->members[rank].is_lost;
}

static enum hysgd_status await_part(struct ranks_shard *shard, int worker) {
    struct ranks *ranks = shard->ranks;
    void *place = shard->server.gradients[worker];
    size_t bytes = slice_count(shard) * sizeof(float);
    if (shard->encoded) {
        place = shard->encoded[worker];
        bytes = wire_bound(&ranks->training->outgoing.format, shard->slice.first, slice_count(shard));
    }
    shard->has_part[worker] = false;
    if (source_is_gone(shard, worker))
        return HYSGD_OK;
    return comm_receive(ranks->comm, shard->sources[worker], ranks_tag(ranks, CHANNEL_GRADIENT, shard->number),
                        place, bytes, part_has_come, shard);
}

/* Where a worker may be lost in the midst of a delivery, or its line be slow, the verdict waits until it is whole.
 */
static void confirm(struct ranks_shard *shard, int worker) {
    const struct message_has_part message = {.head = {MESSAGE_HAS_PART, sizeof message},
                                             .server = shard->number,
                                             .worker = worker,
                                             .rank = shard->sources[worker],
                                             .received = ranks_leader_time(shard->ranks, machine_seconds())};
    ranks_send(shard->ranks, shard->ranks->leader, &message, sizeof message);
}

static void part_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_shard *shard = self;
    int worker = worker_of_rank(shard, completion->from_or_to);
    if (ranks_is_past(shard->ranks, completion) || worker < 0)
        return;
    enum hysgd_status status = HYSGD_OK;
    if (shard->drops_next[worker]) {
        status = await_part(shard, worker);
    } else {
        if (shard->encoded)
            status = wire_decode(&shard->ranks->training->outgoing.format, shard->slice.first, slice_count(shard),
                                 shard->encoded[worker], bytes, shard->server.gradients[worker]);
        shard->has_part[worker] = true;
        if (shard->ranks->confirms)
            confirm(shard, worker);
    }
    shard->drops_next[worker] = false;
    if (status != HYSGD_OK)
        ranks_report_failure(shard->ranks, status);
}

static enum hysgd_status alloc_encoded(struct ranks_shard *shard) {
    const struct ranks *ranks = shard->ranks;
    size_t bytes = wire_bound(&ranks->training->outgoing.format, shard->slice.first, slice_count(shard));
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *shard->encoded, &shard->encoded));
    for (int i = 0; i < ranks->workers; i++)
        HYSGD_TRY(memory_alloc_vector(bytes, 1, &shard->encoded[i]));
    return HYSGD_OK;
}

enum hysgd_status ranks_shard_init(struct ranks *ranks, struct ranks_shard *shard, int number) {
    const struct training *training = ranks->training;
    size_t workers = (size_t)ranks->workers;
    *shard = (struct ranks_shard){.ranks = ranks, .number = number, .slice = ranks->slices[number]};
    shard->layout = server_slice(&training->layout, shard->slice.first, shard->slice.end);
    HYSGD_TRY(server_init(&shard->server, training->setup->optimizer, &shard->layout, ranks->workers));
    if (training->engine.table.rows)
        HYSGD_TRY(server_keep_table(&shard->server));
    if (training->setup->correction)
        HYSGD_TRY(server_correct(&shard->server, training->setup->correction));
    HYSGD_TRY(server_watch(&shard->server, training->estimator.has_probe));
    shard->server.is_split = true;
    memcpy(server_vector(&shard->server), training->whole + shard->slice.first, slice_count(shard) * sizeof(float));
    HYSGD_TRY(memory_alloc(workers, sizeof *shard->sources, &shard->sources));
    memcpy(shard->sources, ranks->worker_ranks, workers * sizeof *shard->sources);
    HYSGD_TRY(memory_alloc(workers, sizeof *shard->has_part, &shard->has_part));
    HYSGD_TRY(memory_alloc(workers, sizeof *shard->drops_next, &shard->drops_next));
    if (!wire_is_plain(&training->outgoing.format))
        HYSGD_TRY(alloc_encoded(shard));
    for (int i = 0; i < ranks->workers; i++) {
        shard->has_part[i] = training->engine.workers[i].is_in_buffer; /* of a state that was saved */
        if (!shard->has_part[i])
            HYSGD_TRY(await_part(shard, i));
    }
    return HYSGD_OK;
}

void ranks_shard_fini(struct ranks_shard *shard) {
    for (struct ranks_order *order = shard->first, *next; order; order = next) {
        next = order->next;
        memory_free(order);
    }
    for (int i = 0; shard->encoded && i < shard->ranks->workers; i++)
        memory_free(shard->encoded[i]);
    memory_free(shard->encoded);
    server_fini(&shard->server);
    memory_free(shard->sources);
    memory_free(shard->has_part);
    memory_free(shard->drops_next);
    *shard = (struct ranks_shard){0};
}

enum hysgd_status ranks_shard_take_order(struct ranks_shard *shard, const struct message_order *message) {
    struct ranks_order *order;
    size_t bytes = message->head.bytes;
    HYSGD_TRY(memory_alloc(1, sizeof *order + bytes, &order));
    memcpy(order->content, message, bytes);
    if (shard->last)
        shard->last->next = order;
    else
        shard->first = order;
    shard->last = order;
    return HYSGD_OK;
}

/* ---- Carrying out ---- */

/* An order as it came, with its lists. */
struct reading {
    const struct message_order *message;
    struct server_order order;
    const int32_t *released;
};

static struct reading read_order(const struct ranks_order *order) {
    const struct message_order *message = (const void *)order->content;
    struct reading reading = {.message = message, .order = message->order};
    const struct engine_part *parts = (const void *)(message + 1);
    const struct server_row *rows = (const void *)(parts + message->part_count);
    reading.order.parts = (struct engine_part *)(uintptr_t)parts;
    reading.order.part_count = message->part_count;
    reading.order.rows = (struct server_row *)(uintptr_t)rows;
    reading.order.row_count = message->row_count;
    reading.released = (const void *)(rows + message->row_count);
    return reading;
}

static bool parts_are_here(const struct ranks_shard *shard, const struct reading *reading) {
    for (int i = 0; i < reading->order.part_count; i++)
        if (!shard->has_part[reading->order.parts[i].worker])
            return false;
    return true;
}

static enum hysgd_status drop(struct ranks_shard *shard, int worker) {
    if (shard->has_part[worker])
        return await_part(shard, worker);
    shard->drops_next[worker] = true;
    return HYSGD_OK;
}

/* What is sent to the coordinator of every shard, on a channel of its own. */
static enum hysgd_status tell(struct ranks_shard *shard, enum message_channel channel, const void *values,
                              size_t bytes, comm_done *done) {
    struct ranks *ranks = shard->ranks;
    return comm_send(ranks->comm, ranks->leader, ranks_tag(ranks, channel, shard->number), values, bytes, done,
                     shard);
}

static void probe_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_shard *shard = self;
    (void)completion, (void)bytes;
    shard->is_telling = false;
}

static enum hysgd_status tell_values(struct ranks_shard *shard) {
    int columns;
    const double *values = server_values(&shard->server, &columns);
    size_t bytes = (size_t)shard->server.shard_count * (size_t)columns * sizeof *values;
    if (shard->has_told)
        return HYSGD_OK;
    shard->has_told = true;
    return tell(shard, CHANNEL_VALUES, values, bytes, NULL);
}

/* The values have been taken in by then. */
void ranks_shard_take_totals(struct ranks_shard *shard, const struct message_totals *message) {
    if (!shard->has_told)
        return; /* a slice of nothing */
    shard->has_told = false;
    server_continue(&shard->server, (const double *)(message + 1));
}

static enum hysgd_status end_action(struct ranks_shard *shard, const struct reading *reading) {
    struct server *server = &shard->server;
    bool is_update = reading->order.is_update;
    shard->is_working = false;
    if (is_update && shard->bad_version == 0 && atomic_load(&server->is_bad)) {
        shard->bad_version = reading->order.step.number;
        shard->bad_worker = server_find_bad(server, &reading->order);
    }
    server_end(server);
    if (server->probe && server->shard_count > 0) {
        const struct probe *probe = server->probe;
        shard->is_telling = true;
        HYSGD_TRY(tell(shard, CHANNEL_PROBED, probe->of_shards,
                       (size_t)probe->shard_count * sizeof *probe->of_shards, probe_has_left));
    }
    if (is_update) {
        shard->service_seconds += machine_seconds() - shard->begun;
        shard->updates++;
    }
    for (int i = 0; i < reading->order.part_count; i++)
        HYSGD_TRY(await_part(shard, reading->order.parts[i].worker));
    return HYSGD_OK;
}

/* Does a portion of an order's work; false in the last argument: it is not over. */
static enum hysgd_status act(struct ranks_shard *shard, const struct reading *reading, bool *is_over_out) {
    *is_over_out = false;
    if (!shard->is_working) {
        if (shard->is_telling)
            return HYSGD_OK;
        shard->is_working = true;
        shard->begun = machine_seconds();
        HYSGD_TRY(server_begin(&shard->server, &reading->order));
    }
    switch (server_work(&shard->server, PORTION)) {
    case SERVER_WORKS:
        return HYSGD_OK;
    case SERVER_WAITS:
        return tell_values(shard);
    default:
        *is_over_out = true;
        return end_action(shard, reading);
    }
}

/* A version on its way to a worker. */
static void version_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_shard *shard = self;
    (void)bytes;
    int worker = worker_of_rank(shard, completion->from_or_to);
    if (worker >= 0)
        server_has_read(&shard->server, worker);
}

static enum hysgd_status send_to_worker(struct ranks_shard *shard, int worker) {
    struct ranks *ranks = shard->ranks;
    if (source_is_gone(shard, worker))
        return HYSGD_OK;
    server_read(&shard->server, worker);
    return comm_send(ranks->comm, shard->sources[worker], ranks_tag(ranks, CHANNEL_PARAMETERS, shard->number),
                     server_read_vector(&shard->server, worker), slice_count(shard) * sizeof(float),
                     version_has_left, shard);
}

static void evaluated_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_shard *shard = self;
    (void)completion, (void)bytes;
    server_let_go(&shard->server, shard->evaluated);
}

static enum hysgd_status send_to_leader(struct ranks_shard *shard) {
    struct ranks *ranks = shard->ranks;
    shard->evaluated = server_acquire(&shard->server);
    return comm_send(ranks->comm, ranks->leader, ranks_tag(ranks, CHANNEL_EVALUATED, shard->number),
                     shard->server.versions[shard->evaluated], slice_count(shard) * sizeof(float),
                     evaluated_has_left, shard);
}

/* What follows an order's work on the vectors. */
static enum hysgd_status conclude(struct ranks_shard *shard, const struct reading *reading) {
    if (reading->message->dropped >= 0)
        HYSGD_TRY(drop(shard, reading->message->dropped));
    for (int i = 0; i < reading->message->released_count; i++)
        HYSGD_TRY(send_to_worker(shard, reading->released[i]));
    if (reading->message->is_evaluated)
        HYSGD_TRY(send_to_leader(shard));
    if (reading->message->copied > 0)
        HYSGD_TRY(ranks_copies_take(shard, reading->message->copied));
    shard->is_saving = reading->message->is_saved;
    shard->done = reading->message->number;
    return HYSGD_OK;
}

static bool has_part_of(const struct reading *reading, int worker) {
    for (int i = 0; i < reading->order.part_count; i++)
        if (reading->order.parts[i].worker == worker)
            return true;
    return false;
}

/* Where the gradients of a worker come in, while one may still be written to the old place. */
static enum hysgd_status renew_place(struct ranks_shard *shard, int worker) {
    const struct wire_format *format = &shard->ranks->training->outgoing.format;
    size_t count = slice_count(shard);
    if (shard->encoded) {
        unsigned char *encoded;
        HYSGD_TRY(memory_alloc_vector(wire_bound(format, shard->slice.first, count), 1, &encoded));
        HYSGD_TRY(ranks_put_aside(shard->ranks, shard->encoded[worker]));
        shard->encoded[worker] = encoded;
        return HYSGD_OK;
    }
    float *gradient;
    HYSGD_TRY(memory_alloc_vector(count, sizeof *gradient, &gradient));
    HYSGD_TRY(ranks_put_aside(shard->ranks, shard->server.gradients[worker]));
    shard->server.gradients[worker] = gradient;
    return HYSGD_OK;
}

/* Another rank computes for the worker. What the one before has delivered whole and the engine holds is in the
 * order; anything else of it is of no use, and what it may still send goes where nobody looks. */
static enum hysgd_status change_source(struct ranks_shard *shard, const struct reading *reading, int worker) {
    struct ranks *ranks = shard->ranks;
    if (shard->sources[worker] == ranks->worker_ranks[worker])
        return HYSGD_OK;
    shard->sources[worker] = ranks->worker_ranks[worker];
    shard->drops_next[worker] = false;
    if (has_part_of(reading, worker))
        return HYSGD_OK;
    if (!shard->has_part[worker])
        HYSGD_TRY(renew_place(shard, worker));
    return await_part(shard, worker);
}

static void remove_first(struct ranks_shard *shard) {
    struct ranks_order *order = shard->first;
    shard->first = order->next;
    if (!shard->first)
        shard->last = NULL;
    memory_free(order);
}

static void report(struct ranks_shard *shard) {
    const struct message_reported message = {.head = {MESSAGE_REPORTED, sizeof message},
                                             .server = shard->number,
                                             .bad_worker = shard->bad_worker,
                                             .bad_version = shard->bad_version,
                                             .done = shard->done,
                                             .updates = shard->updates,
                                             .service_seconds = shard->service_seconds};
    ranks_send(shard->ranks, shard->ranks->leader, &message, sizeof message);
    shard->service_seconds = 0;
    shard->updates = 0;
    shard->reported = shard->done;
}

/* Goes on with the first order. True in the last argument: something was done, and there may be more. */
static enum hysgd_status carry_out(struct ranks_shard *shard, bool *goes_on_out) {
    struct reading reading = read_order(shard->first);
    bool is_over = true;
    *goes_on_out = false;
    uint64_t copied = reading.message->copied;
    if (copied > 0 && !ranks_copies_may_take(shard->ranks, copied))
        return HYSGD_OK;
    if (reading.message->joined >= 0 && !shard->is_saving && !shard->is_working)
        HYSGD_TRY(change_source(shard, &reading, reading.message->joined));
    if (shard->is_saving || shard->has_told || (!shard->is_working && !parts_are_here(shard, &reading)))
        return HYSGD_OK;
    if (reading.message->has_action)
        HYSGD_TRY(act(shard, &reading, &is_over));
    *goes_on_out = is_over || (shard->is_working && !shard->has_told);
    if (!is_over)
        return HYSGD_OK;
    HYSGD_TRY(conclude(shard, &reading));
    remove_first(shard);
    return HYSGD_OK;
}

enum hysgd_status ranks_shard_step(struct ranks_shard *shard, bool *has_acted) {
    bool goes_on = shard->first != NULL;
    if (goes_on)
        HYSGD_TRY(carry_out(shard, &goes_on));
    *has_acted = *has_acted || goes_on;
    double now = machine_seconds();
    if (shard->done > shard->reported && (shard->bad_version > 0 || now - shard->reported_at > REPORT_SECONDS)) {
        shard->reported_at = now;
        report(shard);
    }
    return HYSGD_OK;
}
