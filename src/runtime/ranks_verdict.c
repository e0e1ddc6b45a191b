/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator's verdicts: what has arrived goes to the engine, and what the engine decides to the servers, as
 * orders that all of them carry out in the same sequence, and to the workers. See ranks_coordinator.h. */
#include <math.h>
#include <string.h>

#include "runtime/ranks_coordinator.h"
#include "runtime/worker.h"

struct message_order *coordinator_begin_order(struct ranks_coordinator *self) {
    *self->order =
        (struct message_order){.head = {MESSAGE_ORDER, sizeof *self->order}, .dropped = -1, .joined = -1};
    return self->order;
}

static void append(struct message_order *order, const void *data, size_t bytes) {
    memcpy((unsigned char *)order + order->head.bytes, data, bytes);
    order->head.bytes += (uint32_t)bytes;
}

/* Copies what the engine has decided, before it is asked again. */
static void add_action(struct ranks_coordinator *self) {
    const struct server_order *action = &self->ranks->training->order;
    struct message_order *order = self->order;
    order->has_action = true;
    order->order = *action;
    order->part_count = action->part_count;
    order->row_count = action->row_count;
    append(order, action->parts, (size_t)action->part_count * sizeof *action->parts);
    append(order, action->rows, (size_t)action->row_count * sizeof *action->rows);
}

static void release(struct ranks_coordinator *self, int worker, double seconds) {
    struct ranks *ranks = self->ranks;
    struct training *training = ranks->training;
    const struct engine_worker *state = &training->engine.workers[worker];
    drive_started(training, worker, state->read, seconds);
    self->remotes[worker].released = seconds;
    struct message_released message = {.head = {MESSAGE_RELEASED, sizeof message},
                                       .worker = worker,
                                       .is_again = !drive_reads(self->ranks->training, worker),
                                       .version = state->read,
                                       .batches = state->batches,
                                       .patience = state->patience,
                                       .taken = training->workers[worker].taken};
    if (training->local.ops)
        message.clock = training->local.workers[worker].clock;
    self->remotes[worker].has_delivered_last = self->remotes[worker].leaves;
    if (!self->remotes[worker].leaves)
        ranks_send(ranks, ranks->worker_ranks[worker], &message, sizeof message);
}

/* Whom the engine has released: they start, and are sent the parameters. */
void coordinator_add_released(struct ranks_coordinator *self, double seconds) {
    const struct engine *engine = &self->ranks->training->engine;
    for (int i = 0; i < engine->released_count; i++) {
        int32_t worker = engine->released[i];
        bool again = !drive_reads(self->ranks->training, worker);
        release(self, worker, seconds);
        if (again || self->remotes[worker].leaves)
            continue;
        append(self->order, &worker, sizeof worker);
        self->order->released_count++;
    }
}

void coordinator_send_order(struct ranks_coordinator *self) {
    struct message_order *order = self->order;
    if (!order->has_action && order->released_count == 0 && order->dropped < 0 && order->joined < 0 &&
        !order->is_evaluated && !order->is_saved && order->copied == 0)
        return;
    order->number = ++self->orders;
    coordinator_send_to_servers(self->ranks, order, order->head.bytes);
}

static void send_cancelled(struct ranks_coordinator *self, int worker, bool is_lost) {
    const struct message_cancelled message = {
        .head = {MESSAGE_CANCELLED, sizeof message}, .worker = worker, .is_lost = is_lost};
    ranks_send(self->ranks, self->ranks->worker_ranks[worker], &message, sizeof message);
}

/* What an update took the slowest server lately: the engine need not wait for this one. */
static double expected_service(const struct ranks_coordinator *self) {
    double seconds = 0;
    for (int i = 0; i < self->ranks->servers; i++)
        seconds = fmax(seconds, self->service_seconds[i]);
    return seconds;
}

/* What follows an action for the engine and the workers; the order has been begun. */
enum hysgd_status coordinator_end_action(struct ranks_coordinator *self, const struct engine_verdict *verdict,
                                         double seconds, double service) {
    struct training *training = self->ranks->training;
    training->server_seconds += service;
    HYSGD_TRY(drive_end_action(training, verdict, seconds, service));
    for (int i = 0; i < training->engine.cancelled_count; i++)
        send_cancelled(self, training->engine.cancelled[i], false);
    coordinator_add_released(self, seconds);
    coordinator_send_order(self);
    return HYSGD_OK;
}

/* Does what a verdict asks for; the order has been begun. Servers apply an update in the place of the stream of
 * orders where it stands, so the next verdict need not wait for them, unless the policy wants to know what they
 * see. */
static enum hysgd_status act(struct ranks_coordinator *self, const struct engine_verdict *verdict, double seconds) {
    struct training *training = self->ranks->training;
    HYSGD_TRY(drive_begin_action(training, verdict->action));
    if (verdict->action != ENGINE_NOTHING)
        add_action(self);
    if (verdict->action == ENGINE_NOTHING || !training->estimator.has_probe)
        return coordinator_end_action(self, verdict, seconds,
                                      verdict->action == ENGINE_UPDATE ? expected_service(self) : 0);
    self->is_pending = true;
    self->pending = *verdict;
    self->pending_since = seconds;
    coordinator_send_order(self);
    return HYSGD_OK;
}

/* ---- Verdicts ---- */

/* Between 0 and what is there; in single precision, which the clocks do not have and the log is smaller for. */
static double part_of(double most, double seconds) {
    return isnan(seconds) ? seconds : (double)(float)fmin(fmax(seconds, 0), fmax(most, 0));
}

/* Divides the way of a gradient by the moments that its worker and the servers have told. */
static void divide_transit(const struct ranks_coordinator *self, const struct message_arrived *message,
                           struct drive_arrival *arrival) {
    struct remote *remote = &self->remotes[message->worker];
    double begun = coordinator_time(self, message->begun), computed = begun + message->compute_seconds;
    double pushed = remote->last_part > 0 ? coordinator_time(self, remote->last_part) : remote->delivered;
    arrival->pull_seconds = part_of(arrival->transit_seconds, begun - remote->released);
    arrival->push_seconds = part_of(arrival->transit_seconds - arrival->pull_seconds, pushed - computed);
}

static enum hysgd_status take_arrival(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct training *training = self->ranks->training;
    const struct remote *remote = &self->remotes[message->worker];
    struct engine_verdict verdict;
    double seconds = coordinator_now(self), since = remote->delivered - remote->released;
    struct drive_arrival arrival = {.worker = message->worker,
                                    .seconds = seconds,
                                    .compute_seconds = message->compute_seconds,
                                    .transit_seconds = fmax(since - message->compute_seconds, 0),
                                    .queue_seconds = seconds - remote->delivered,
                                    .receive_seconds = NAN,
                                    .data_seconds = message->data_seconds};
    divide_transit(self, message, &arrival);
    HYSGD_TRY(drive_arrive(training, &arrival, &verdict));
    coordinator_begin_order(self);
    if (verdict.weight <= 0)
        self->order->dropped = message->worker;
    return act(self, &verdict, seconds);
}

static enum hysgd_status take_abandonment(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct engine_verdict verdict;
    struct drive_abandonment abandonment = {.worker = message->worker,
                                            .seconds = coordinator_now(self),
                                            .spent_seconds = message->compute_seconds,
                                            .queue_seconds = 0,
                                            .is_cancelled = message->is_cancelled};
    HYSGD_TRY(drive_abandon(self->ranks->training, &abandonment, &verdict));
    coordinator_begin_order(self);
    return act(self, &verdict, abandonment.seconds);
}

bool coordinator_is_stopping(const struct ranks_coordinator *self) {
    return atomic_load_explicit(&self->ranks->training->is_stopping, memory_order_relaxed);
}

/* Notes when the run stopped, and has the workers stop what is of no use any more. */
void coordinator_note_stop(struct ranks_coordinator *self) {
    const struct training *training = self->ranks->training;
    if (!coordinator_is_stopping(self) || !isnan(self->stopped))
        return;
    double limit = training->setup->limits.seconds, seconds = coordinator_now(self);
    self->stopped = limit > 0 && seconds > limit ? limit : seconds;
    for (int i = 0; i < self->ranks->workers; i++)
        send_cancelled(self, i, true);
}

/* No verdict meanwhile: the engine waits for an outcome, or its state is being saved. */
bool coordinator_is_held(const struct ranks_coordinator *self) {
    return self->is_pending || self->image != NULL;
}

static enum hysgd_status serve(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct training *training = self->ranks->training;
    struct training_worker *worker = &training->workers[message->worker];
    size_t samples = 1 + (size_t)training->shares.classes;
    if (training->engine.workers[message->worker].activity != ENGINE_COMPUTING)
        return HYSGD_OK; /* lost meanwhile */
    drive_is_over(training, coordinator_now(self));
    coordinator_note_stop(self);
    if (self->phase != PHASE_TRAINING || coordinator_is_stopping(self))
        return HYSGD_OK;
    if (training->setup->only_worker != message->worker) /* whose thread may be preparing the next batch */
        worker->draws = message->draws, worker->loss = message->loss;
    training->outgoing.workers[message->worker].bytes = message->sent_bytes;
    memcpy(training->shares.deliveries + (size_t)message->worker * samples, message + 1, samples * sizeof(double));
    HYSGD_TRY(message->has_given_up ? take_abandonment(self, message) : take_arrival(self, message));
    drive_is_over(training, coordinator_now(self));
    coordinator_note_stop(self);
    return HYSGD_OK;
}

/* In the order in which they came. */
static enum hysgd_status take_delivery(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct remote *remote = &self->remotes[message->worker];
    remote->delivered = coordinator_now(self);
    if (!coordinator_is_held(self) && self->queue_count == 0)
        return serve(self, message);
    if (remote->waiting != (const unsigned char *)message)
        memcpy(remote->waiting, message, message->head.bytes);
    self->queue[(self->queue_first + self->queue_count++) % self->ranks->workers] = message->worker;
    return HYSGD_OK;
}

static enum hysgd_status take_whole(struct ranks_coordinator *self, int worker) {
    self->remotes[worker].has_announced = false;
    return take_delivery(self, (const void *)self->remotes[worker].waiting);
}

/* Where losses are survived, a delivery counts once all servers have their parts of it: else a worker that is
 * killed in between would leave them waiting. */
enum hysgd_status coordinator_take_announcement(struct ranks_coordinator *self,
                                                const struct message_arrived *message) {
    struct remote *remote = &self->remotes[message->worker];
    if (!self->ranks->confirms || message->has_given_up)
        return take_delivery(self, message);
    memcpy(remote->waiting, message, message->head.bytes);
    remote->has_announced = true;
    remote->missing_parts += self->ranks->servers;
    return remote->missing_parts == 0 ? take_whole(self, message->worker) : HYSGD_OK;
}

enum hysgd_status coordinator_take_part(struct ranks_coordinator *self, const struct message_has_part *message) {
    struct remote *remote = &self->remotes[message->worker];
    if (message->rank != self->ranks->worker_ranks[message->worker])
        return HYSGD_OK;     /* of another that had its number */
    remote->missing_parts--; /* below 0 where it comes before the announcement */
    remote->last_part = fmax(remote->last_part, message->received);
    return remote->has_announced && remote->missing_parts == 0 ? take_whole(self, message->worker) : HYSGD_OK;
}

enum hysgd_status coordinator_serve_queue(struct ranks_coordinator *self) {
    while (self->queue_count > 0 && !coordinator_is_held(self)) {
        int worker = self->queue[self->queue_first];
        self->queue_first = (self->queue_first + 1) % self->ranks->workers;
        self->queue_count--;
        HYSGD_TRY(serve(self, (const void *)self->remotes[worker].waiting));
    }
    return HYSGD_OK;
}

static enum hysgd_status lose(struct ranks_coordinator *self, int worker) {
    struct training *training = self->ranks->training;
    const struct message_cancelled orphaned = {.head = {MESSAGE_ORPHANED, sizeof orphaned}, .worker = worker};
    struct engine_verdict verdict;
    double seconds = coordinator_now(self);
    if (training->engine.workers[worker].activity == ENGINE_LOST)
        return HYSGD_OK;
    ranks_tell_lost_worker(self->ranks, worker);
    send_cancelled(self, worker, true);
    coordinator_send_to_all(self->ranks, &orphaned, sizeof orphaned); /* before any start after the loss */
    HYSGD_TRY(drive_lose(training, worker, seconds, &verdict));
    coordinator_begin_order(self);
    return act(self, &verdict, seconds);
}

/* A worker of a rank that has joined takes part. What a worker of its number has delivered before, and the engine
 * holds, is folded first. */
static enum hysgd_status join(struct ranks_coordinator *self, int worker) {
    struct training *training = self->ranks->training;
    const struct message_cancelled adopted = {.head = {MESSAGE_ADOPTED, sizeof adopted}, .worker = worker};
    struct engine_verdict verdict;
    double seconds = coordinator_now(self);
    self->remotes[worker] = (struct remote){.waiting = self->remotes[worker].waiting};
    ranks_join_is_done(self->ranks, worker);
    HYSGD_TRY(drive_join(training, worker, seconds, &verdict));
    coordinator_send_to_all(self->ranks, &adopted, sizeof adopted); /* before any start after it */
    coordinator_begin_order(self)->joined = worker;
    return act(self, &verdict, seconds);
}

enum hysgd_status coordinator_join_workers(struct ranks_coordinator *self) {
    const struct ranks *ranks = self->ranks;
    for (int i = 0; i < ranks->workers; i++)
        if (!coordinator_is_held(self) && self->remotes[i].joins && !ranks_worker_is_gone(ranks, i) &&
            self->is_ready[ranks->worker_ranks[i]])
            HYSGD_TRY(join(self, i));
    return HYSGD_OK;
}

/* A worker whose rank was told to end still delivers what it computes. */
static bool has_delivered(const struct ranks_coordinator *self, int worker) {
    const struct remote *remote = &self->remotes[worker];
    const struct engine_worker *state = &self->ranks->training->engine.workers[worker];
    return remote->leaves && (remote->has_delivered_last || state->activity != ENGINE_COMPUTING);
}

enum hysgd_status coordinator_lose_workers(struct ranks_coordinator *self) {
    const struct timing *timing = self->ranks->training->setup->timing;
    for (int i = 0; i < self->ranks->workers; i++)
        if (!coordinator_is_held(self) &&
            (self->remotes[i].is_gone || has_delivered(self, i) ||
             (!self->ranks->has_joined[i] && coordinator_now(self) >= timing->lost_at[i])))
            HYSGD_TRY(lose(self, i));
    return HYSGD_OK;
}
