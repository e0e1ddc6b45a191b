/* SPDX-License-Identifier: Apache-2.0 */
/* The rank that decides: hears what has arrived, asks the engine, and tells servers and workers what to do. It
 * holds no slice for that, and no vector passes through it but those that it evaluates. See ranks.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks_totals.h"
#include "runtime/snapshot.h"
#include "runtime/worker.h"

/* Between two looks at the recorder, the limits in seconds and the milestones. */
#define TICK_SECONDS 2e-3

enum phase {
    PHASE_OPENING, /* ranks are getting ready */
    PHASE_TRAINING,
    PHASE_ENDING, /* stopped: the last evaluation and checkpoint */
    PHASE_OVER
};

/* What of a worker is known here only. */
struct remote {
    double released;        /* on the run's clock */
    unsigned char *waiting; /* room for its delivery, while the engine waits for the servers */
    double delivered;       /* on the run's clock: that delivery came */
    bool wants_to_leave;
    bool has_announced; /* its delivery, of which this many servers have not told that they have their part */
    int missing_parts;
};

struct ranks_coordinator {
    struct ranks *ranks;
    enum phase phase;
    struct remote *remotes;      /* [workers] */
    bool *is_ready;              /* [count] */
    uint64_t orders;             /* sent */
    struct message_order *order; /* the one being made */
    double origin;               /* of the run's clock, on the machine's */
    double stopped;              /* on the run's clock; NaN: it runs */
    double ticked;
    float *vector; /* [count] what is evaluated */
    int gathering; /* slices of it that have not come yet; -1: nobody gathers */
    bool is_evaluating;
    double evaluated_seconds; /* the moment of what is being gathered or evaluated */
    bool has_saved_last;      /* the checkpoint at the end is begun, or over */
    bool is_last;             /* that is the end of the run */
    struct hysgd_metrics metrics;
    double *service_seconds; /* [servers] of an update, the latest known */
    struct ranks_totals values, probed;
    struct snapshot_image *image; /* of the checkpoint that is being written; NULL: none is */
    struct snapshot_file *file;
    unsigned char *plan;  /* on its way to all ranks */
    bool *has_saved;      /* [count] its part, or is lost */
    bool is_save_void;    /* somebody was lost before that: it is not to be kept */
    double saved_seconds; /* the moment of the image */
    enum hysgd_status save_status;
    char save_message[1024];
    uint64_t generation;         /* the latest that was begun */
    bool has_copied, is_copying; /* one was begun; and is not yet held by all who are to */
    int unheld, lost_before_copy;
    uint64_t copied_version;
    struct ranks_state *state; /* of it, on its way */
    int state_under_way;
    bool is_pending; /* an action whose outcome the engine is to know before it goes on */
    struct engine_verdict pending;
    double pending_since;
    int *queue, queue_first, queue_count; /* [workers] ring of deliveries that wait for it */
};

static double now_of(const struct ranks_coordinator *self) {
    return self->ranks->training->start_seconds + machine_seconds() - self->origin;
}

/* What is evaluated or saved is the state of this moment. */
static double present_moment(const struct ranks_coordinator *self) {
    return isnan(self->stopped) ? now_of(self) : self->stopped;
}

static void send_to_all(struct ranks *ranks, const void *message, size_t bytes) {
    for (int i = 0; i < ranks->count; i++)
        ranks_send(ranks, i, message, bytes);
}

/* Once for each rank with servers, whatever their number. */
static void send_to_servers(struct ranks *ranks, const void *message, size_t bytes) {
    for (int i = 0; i < ranks->servers; i++) {
        bool is_first = true;
        for (int k = 0; k < i; k++)
            is_first = is_first && ranks->server_ranks[k] != ranks->server_ranks[i];
        if (is_first)
            ranks_send(ranks, ranks->server_ranks[i], message, bytes);
    }
}

/* ---- Orders ---- */

static struct message_order *begin_order(struct ranks_coordinator *self) {
    *self->order = (struct message_order){.head = {MESSAGE_ORDER, sizeof *self->order}, .dropped = -1};
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
                                       .patience = state->patience};
    if (training->local.ops)
        message.clock = training->local.workers[worker].clock;
    ranks_send(ranks, ranks->worker_ranks[worker], &message, sizeof message);
}

/* Whom the engine has released: they start, and are sent the parameters. */
static void add_released(struct ranks_coordinator *self, double seconds) {
    const struct engine *engine = &self->ranks->training->engine;
    for (int i = 0; i < engine->released_count; i++) {
        int32_t worker = engine->released[i];
        bool again = !drive_reads(self->ranks->training, worker);
        release(self, worker, seconds);
        if (again)
            continue;
        append(self->order, &worker, sizeof worker);
        self->order->released_count++;
    }
}

static void send_order(struct ranks_coordinator *self) {
    struct message_order *order = self->order;
    if (!order->has_action && order->released_count == 0 && order->dropped < 0 && !order->is_evaluated &&
        !order->is_saved && order->copied == 0)
        return;
    order->number = ++self->orders;
    send_to_servers(self->ranks, order, order->head.bytes);
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
static enum hysgd_status end_action(struct ranks_coordinator *self, const struct engine_verdict *verdict,
                                    double seconds, double service) {
    struct training *training = self->ranks->training;
    training->server_seconds += service;
    HYSGD_TRY(drive_end_action(training, verdict, seconds, service));
    for (int i = 0; i < training->engine.cancelled_count; i++)
        send_cancelled(self, training->engine.cancelled[i], false);
    add_released(self, seconds);
    send_order(self);
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
        return end_action(self, verdict, seconds, verdict->action == ENGINE_UPDATE ? expected_service(self) : 0);
    self->is_pending = true;
    self->pending = *verdict;
    self->pending_since = seconds;
    send_order(self);
    return HYSGD_OK;
}

/* ---- Verdicts ---- */

static enum hysgd_status take_arrival(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct training *training = self->ranks->training;
    const struct remote *remote = &self->remotes[message->worker];
    struct engine_verdict verdict;
    double seconds = now_of(self), since = remote->delivered - remote->released;
    struct drive_arrival arrival = {.worker = message->worker,
                                    .seconds = seconds,
                                    .compute_seconds = message->compute_seconds,
                                    .transit_seconds = fmax(since - message->compute_seconds, 0),
                                    .queue_seconds = seconds - remote->delivered,
                                    .receive_seconds = NAN,
                                    .data_seconds = message->data_seconds};
    HYSGD_TRY(drive_arrive(training, &arrival, &verdict));
    begin_order(self);
    if (verdict.weight <= 0)
        self->order->dropped = message->worker;
    return act(self, &verdict, seconds);
}

static enum hysgd_status take_abandonment(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct engine_verdict verdict;
    struct drive_abandonment abandonment = {.worker = message->worker,
                                            .seconds = now_of(self),
                                            .spent_seconds = message->compute_seconds,
                                            .queue_seconds = 0,
                                            .is_cancelled = message->is_cancelled};
    HYSGD_TRY(drive_abandon(self->ranks->training, &abandonment, &verdict));
    begin_order(self);
    return act(self, &verdict, abandonment.seconds);
}

static bool is_stopping(const struct ranks_coordinator *self) {
    return atomic_load_explicit(&self->ranks->training->is_stopping, memory_order_relaxed);
}

/* Notes when the run stopped, and has the workers stop what is of no use any more. */
static void note_stop(struct ranks_coordinator *self) {
    const struct training *training = self->ranks->training;
    if (!is_stopping(self) || !isnan(self->stopped))
        return;
    double limit = training->setup->limits.seconds, seconds = now_of(self);
    self->stopped = limit > 0 && seconds > limit ? limit : seconds;
    for (int i = 0; i < self->ranks->workers; i++)
        send_cancelled(self, i, true);
}

/* No verdict meanwhile: the engine waits for an outcome, or its state is being saved. */
static bool is_held(const struct ranks_coordinator *self) {
    return self->is_pending || self->image != NULL;
}

static enum hysgd_status serve(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct training *training = self->ranks->training;
    struct training_worker *worker = &training->workers[message->worker];
    size_t samples = 1 + (size_t)training->shares.classes;
    if (training->engine.workers[message->worker].activity != ENGINE_COMPUTING)
        return HYSGD_OK; /* lost meanwhile */
    drive_is_over(training, now_of(self));
    note_stop(self);
    if (self->phase != PHASE_TRAINING || is_stopping(self))
        return HYSGD_OK;
    if (training->setup->only_worker != message->worker) /* whose thread may be preparing the next batch */
        worker->draws = message->draws, worker->loss = message->loss;
    training->outgoing.workers[message->worker].bytes = message->sent_bytes;
    memcpy(training->shares.deliveries + (size_t)message->worker * samples, message + 1, samples * sizeof(double));
    HYSGD_TRY(message->has_given_up ? take_abandonment(self, message) : take_arrival(self, message));
    drive_is_over(training, now_of(self));
    note_stop(self);
    return HYSGD_OK;
}

/* In the order in which they came. */
static enum hysgd_status take_delivery(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct remote *remote = &self->remotes[message->worker];
    remote->delivered = now_of(self);
    if (!is_held(self) && self->queue_count == 0)
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
static enum hysgd_status take_announcement(struct ranks_coordinator *self, const struct message_arrived *message) {
    struct remote *remote = &self->remotes[message->worker];
    if (!self->ranks->confirms || message->has_given_up)
        return take_delivery(self, message);
    memcpy(remote->waiting, message, message->head.bytes);
    remote->has_announced = true;
    remote->missing_parts += self->ranks->servers;
    return remote->missing_parts == 0 ? take_whole(self, message->worker) : HYSGD_OK;
}

static enum hysgd_status take_part(struct ranks_coordinator *self, const struct message_has_part *message) {
    struct remote *remote = &self->remotes[message->worker];
    remote->missing_parts--; /* below 0 where it comes before the announcement */
    return remote->has_announced && remote->missing_parts == 0 ? take_whole(self, message->worker) : HYSGD_OK;
}

static enum hysgd_status serve_queue(struct ranks_coordinator *self) {
    while (self->queue_count > 0 && !is_held(self)) {
        int worker = self->queue[self->queue_first];
        self->queue_first = (self->queue_first + 1) % self->ranks->workers;
        self->queue_count--;
        HYSGD_TRY(serve(self, (const void *)self->remotes[worker].waiting));
    }
    return HYSGD_OK;
}

static enum hysgd_status lose(struct ranks_coordinator *self, int worker) {
    struct training *training = self->ranks->training;
    struct engine_verdict verdict;
    double seconds = now_of(self);
    if (training->engine.workers[worker].activity == ENGINE_LOST)
        return HYSGD_OK;
    send_cancelled(self, worker, true);
    HYSGD_TRY(drive_lose(training, worker, seconds, &verdict));
    begin_order(self);
    return act(self, &verdict, seconds);
}

static enum hysgd_status lose_workers(struct ranks_coordinator *self) {
    const struct timing *timing = self->ranks->training->setup->timing;
    for (int i = 0; i < self->ranks->workers; i++)
        if (!is_held(self) && (self->remotes[i].wants_to_leave || now_of(self) >= timing->lost_at[i]))
            HYSGD_TRY(lose(self, i));
    return HYSGD_OK;
}

/* ---- Totals over the servers ---- */

/* What a pass has found, added up, lets the servers go on. */
static enum hysgd_status send_totals(struct ranks_coordinator *self) {
    struct ranks_totals *values = &self->values;
    struct ranks *ranks = self->ranks;
    struct message_totals *message;
    int columns = 0;
    for (int i = 0; i < ranks->servers; i++)
        if (values->shards[i] > 0)
            columns = (int)(values->bytes[i] / sizeof(double)) / values->shards[i];
    size_t bytes = sizeof *message + (size_t)columns * sizeof(double);
    HYSGD_TRY(memory_alloc(1, bytes, &message));
    *message = (struct message_totals){.head = {MESSAGE_TOTALS, (uint32_t)bytes}, .columns = columns};
    for (int i = 0; i < ranks->servers; i++)
        if (values->shards[i] > 0)
            server_add_values((double *)(message + 1), (const double *)(const void *)values->contents[i], columns,
                              values->shards[i]);
    send_to_servers(ranks, message, bytes);
    memory_free(message);
    return ranks_totals_next(values);
}

/* What the probes have seen, added up, is the outcome that the engine waits for. */
static enum hysgd_status take_probed(struct ranks_coordinator *self) {
    struct ranks_totals *probed = &self->probed;
    struct training *training = self->ranks->training;
    double seconds = now_of(self);
    training->probed = (struct probe_values){0};
    for (int i = 0; i < self->ranks->servers; i++)
        if (probed->shards[i] > 0)
            probe_total(&training->probed, (const void *)probed->contents[i], probed->shards[i]);
    HYSGD_TRY(ranks_totals_next(probed));
    self->is_pending = false;
    begin_order(self);
    HYSGD_TRY(end_action(self, &self->pending, seconds, seconds - self->pending_since));
    return serve_queue(self);
}

static enum hysgd_status step_totals(struct ranks_coordinator *self, bool *has_acted) {
    bool has_values = ranks_totals_are_here(&self->values), has_probed = ranks_totals_are_here(&self->probed);
    *has_acted = *has_acted || has_values || has_probed;
    if (has_values)
        HYSGD_TRY(send_totals(self));
    return has_probed ? take_probed(self) : HYSGD_OK;
}

/* ---- Evaluations ---- */

static void slice_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_coordinator *coordinator = self;
    (void)bytes;
    coordinator->gathering -= !ranks_is_past(coordinator->ranks, completion);
}

/* The parameters as they are after all orders so far. */
static enum hysgd_status gather(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    self->gathering = 0;
    for (int i = 0; i < ranks->servers; i++) {
        const struct ranks_slice *slice = &ranks->slices[i];
        HYSGD_TRY(comm_receive(ranks->comm, ranks->server_ranks[i], ranks_tag(ranks, CHANNEL_EVALUATED, i),
                               self->vector + slice->first, (slice->end - slice->first) * sizeof(float),
                               slice_has_come, self));
        self->gathering++;
    }
    begin_order(self)->is_evaluated = true;
    send_order(self);
    return HYSGD_OK;
}

static enum hysgd_status evaluate_aside(void *argument) {
    struct ranks_coordinator *self = argument;
    return drive_evaluate(self->ranks->training, self->vector, &self->metrics);
}

static enum hysgd_status begin_evaluation(struct ranks_coordinator *self) {
    self->is_evaluating = true;
    self->evaluated_seconds = present_moment(self);
    drive_begin_evaluation(self->ranks->training, self->evaluated_seconds);
    return gather(self);
}

/* Goes on with what is under way: slices, then the evaluation itself. */
static enum hysgd_status step_evaluation(struct ranks_coordinator *self, bool *has_acted) {
    struct ranks *ranks = self->ranks;
    enum hysgd_status status;
    if (self->gathering == 0) {
        self->gathering = -1;
        *has_acted = true;
        if (self->is_evaluating)
            ranks_set_aside(ranks, evaluate_aside, self);
    } else if (self->is_evaluating && ranks_aside_is_done(ranks, &status)) {
        self->is_evaluating = false;
        *has_acted = true;
        HYSGD_TRY(status);
        drive_end_evaluation(ranks->training, &self->metrics, self->evaluated_seconds);
        note_stop(self);
    }
    return HYSGD_OK;
}

static bool is_busy(const struct ranks_coordinator *self) {
    return self->is_evaluating || self->gathering >= 0 || is_held(self);
}

/* ---- Checkpoints ---- */

/* The plan of the file, to everyone. */
static enum hysgd_status send_plan(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    size_t count;
    const struct snapshot_place *places = snapshot_places(self->file, &count);
    size_t bytes = sizeof(struct ranks_plan) + count * sizeof *places;
    const struct message_plan message = {.head = {MESSAGE_PLAN, sizeof message}, .plan_bytes = bytes};
    struct ranks_plan *plan;
    memory_free(self->plan);
    self->plan = NULL;
    HYSGD_TRY(memory_alloc(bytes, 1, &plan));
    self->plan = (unsigned char *)plan;
    plan->count = count;
    memcpy(plan->places, places, count * sizeof *places);
    if (snprintf(plan->temporary, sizeof plan->temporary, "%s", snapshot_temporary(self->file)) >=
        (int)sizeof plan->temporary)
        return hysgd_fail(HYSGD_OUTPUT, "%s: the path is too long", snapshot_temporary(self->file));
    send_to_all(ranks, &message, sizeof message);
    for (int i = 0; i < ranks->count; i++)
        HYSGD_TRY(comm_send(ranks->comm, i, ranks_tag(ranks, CHANNEL_PLAN, 0), plan, bytes, NULL, NULL));
    return HYSGD_OK;
}

static void end_save(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    enum hysgd_status status = self->save_status;
    if (status != HYSGD_OK || self->is_save_void)
        snapshot_abort(self->file);
    else
        status = snapshot_commit(self->file);
    if (self->save_status != HYSGD_OK)
        status_set_message(self->save_message);
    if (self->is_save_void)
        snapshot_discard(self->image); /* the next one is for the next milestone */
    else
        drive_end_save(training, self->image, status, self->saved_seconds);
    self->is_save_void = false;
    self->file = NULL;
    self->image = NULL;
    if (status != HYSGD_OK)
        drive_fail(training, status);
}

/* The image is of this moment; verdicts wait until all ranks have written their parts. */
static enum hysgd_status begin_save(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    struct snapshot_image *image;
    self->saved_seconds = present_moment(self);
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
    HYSGD_TRY(send_plan(self));
    begin_order(self)->is_saved = true;
    send_order(self);
    return HYSGD_OK;
}

static void note_saved(struct ranks_coordinator *self, int from, const struct message_text *message) {
    struct ranks *ranks = self->ranks;
    self->has_saved[from] = true;
    if (message->status == HYSGD_OK || self->save_status != HYSGD_OK)
        return;
    self->save_status = (enum hysgd_status)message->status;
    snprintf(self->save_message, sizeof self->save_message, "rank %d on %s: %s", from, comm_host(ranks->comm, from),
             (const char *)(message + 1));
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

static enum hysgd_status step_save(struct ranks_coordinator *self, bool *has_acted) {
    if (!self->image)
        return HYSGD_OK;
    note_lost_writers(self);
    for (int i = 0; i < self->ranks->count; i++)
        if (!self->has_saved[i])
            return HYSGD_OK;
    *has_acted = true;
    end_save(self);
    note_stop(self);
    return serve_queue(self);
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

static enum hysgd_status make_state(struct ranks_coordinator *self, struct ranks_state **state_out,
                                    size_t *bytes_out) {
    struct training *training = self->ranks->training;
    struct snapshot_image *image;
    struct snapshot_place *places = NULL;
    unsigned char *rest = NULL;
    size_t length = 0, count = 0;
    HYSGD_TRY(snapshot_take(training, present_moment(self), NULL, &image));
    enum hysgd_status status = snapshot_store_state(image, training->setup, &rest, &length);
    snapshot_discard(image);
    if (status == HYSGD_OK)
        status = snapshot_plan(training, &places, &count);
    *bytes_out = sizeof **state_out + count * sizeof *places + length;
    if (status == HYSGD_OK)
        status = memory_alloc(*bytes_out, 1, state_out);
    if (status == HYSGD_OK) {
        **state_out = (struct ranks_state){.count = count, .bytes = length};
        memcpy((*state_out)->places, places, count * sizeof *places);
        memcpy((*state_out)->places + count, rest, length);
    }
    memory_free(places);
    memory_free(rest);
    return status;
}

static void state_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_coordinator *coordinator = self;
    (void)completion, (void)bytes;
    coordinator->state_under_way--;
}

/* A copy of the state of this moment, in the memory of all ranks; the run goes on meanwhile. */
static enum hysgd_status begin_copy(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    struct message_copy message = {.head = {MESSAGE_COPY, sizeof message}, .generation = next_generation(self)};
    size_t bytes;
    if (self->state_under_way > 0)
        return HYSGD_OK;
    memory_free(self->state);
    self->state = NULL;
    HYSGD_TRY(make_state(self, &self->state, &bytes));
    message.bytes = bytes;
    self->copied_version = ranks->training->engine.progress.version;
    self->lost_before_copy = ranks->lost_count;
    self->is_copying = self->has_copied = true;
    self->unheld = ranks->servers;
    for (int i = 0; i < ranks->count; i++) {
        if (ranks->members[i].is_lost)
            continue;
        self->unheld++;
        ranks_send(ranks, i, &message, sizeof message);
        self->state_under_way++;
        HYSGD_TRY(comm_send(ranks->comm, i, ranks_tag(ranks, CHANNEL_COPY_PLAN, 0), self->state, bytes,
                            state_has_left, self));
    }
    begin_order(self)->copied = message.generation;
    send_order(self);
    return HYSGD_OK;
}

static void note_held(struct ranks_coordinator *self, const struct message_held *message) {
    struct ranks *ranks = self->ranks;
    if (!self->is_copying || message->generation != self->generation || --self->unheld > 0)
        return;
    self->is_copying = false;
    ranks->generation = self->generation;
    ranks_members_tell(ranks);
}

static bool copy_is_due(struct ranks_coordinator *self) {
    const struct ranks *ranks = self->ranks;
    if (ranks->options->tolerate == 0 || ranks->count - ranks->lost_count < 2)
        return false;
    if (self->is_copying && self->lost_before_copy == ranks->lost_count)
        return false;
    if (!self->has_copied || self->is_copying) /* at the beginning, and where somebody was lost in between */
        return true;
    return ranks->training->engine.progress.version >= self->copied_version + (uint64_t)ranks->options->copies;
}

/* ---- The course of the run ---- */

static enum hysgd_status begin_training(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    self->phase = PHASE_TRAINING;
    self->origin = machine_seconds();
    drive_restart(training, training->start_seconds);
    begin_order(self);
    add_released(self, training->start_seconds);
    send_order(self);
    return HYSGD_OK;
}

static void tick(struct ranks_coordinator *self) {
    self->ticked = machine_seconds();
    drive_drain(self->ranks->training, present_moment(self));
}

static enum hysgd_status watch(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    double seconds = now_of(self);
    HYSGD_TRY(lose_workers(self));
    bool is_over = drive_is_over(training, seconds);
    note_stop(self);
    if (!is_over && !is_busy(self) && drive_evaluation_is_due(training, seconds))
        return begin_evaluation(self);
    if (!is_over && !is_held(self) && copy_is_due(self))
        HYSGD_TRY(begin_copy(self));
    if (!is_over && !is_busy(self) && drive_save_is_due(training, seconds))
        return begin_save(self);
    return HYSGD_OK;
}

static void end(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    struct {
        struct message_text head;
        char text[sizeof ranks->training->message];
    } message = {.head = {.head = {MESSAGE_END, sizeof message}, .status = (int32_t)ranks->training->status}};
    snprintf(message.text, sizeof message.text, "%s", ranks->training->message);
    self->phase = PHASE_OVER;
    send_to_all(ranks, &message, sizeof message);
}

/* After the stop: what was begun, a last evaluation, the parameters that the run ends with, and the end. */
static enum hysgd_status conclude(struct ranks_coordinator *self) {
    struct training *training = self->ranks->training;
    if (is_busy(self))
        return HYSGD_OK;
    self->phase = PHASE_ENDING;
    if (drive_last_evaluation_is_due(training, self->stopped))
        return begin_evaluation(self);
    if (training->status == HYSGD_OK && !self->is_last) {
        self->is_last = true;
        return gather(self);
    }
    if (drive_saves_at_end(training) && !self->has_saved_last) {
        self->has_saved_last = true;
        return begin_save(self);
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
    if (is_time)
        tick(self);
    HYSGD_TRY(step_totals(self, has_acted));
    HYSGD_TRY(step_evaluation(self, has_acted));
    HYSGD_TRY(step_save(self, has_acted));
    if (self->phase == PHASE_OPENING) {
        if (is_stopping(self))
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
    note_stop(self);
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

static enum hysgd_status hear(struct ranks_coordinator *self, int from, const struct message_head *message) {
    struct ranks *ranks = self->ranks;
    switch ((enum message_kind)message->kind) {
    case MESSAGE_READY:
        self->is_ready[from] = true;
        return HYSGD_OK;
    case MESSAGE_ARRIVED:
        return take_announcement(self, (const void *)message);
    case MESSAGE_HAS_PART:
        return take_part(self, (const void *)message);
    case MESSAGE_REPORTED:
        return note_report(self, (const void *)message);
    case MESSAGE_LEAVING:
        self->remotes[((const struct message_cancelled *)message)->worker].wants_to_leave = true;
        return HYSGD_OK;
    case MESSAGE_HELD:
        note_held(self, (const void *)message);
        return HYSGD_OK;
    case MESSAGE_SAVED:
        note_saved(self, from, (const void *)message);
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
    note_stop(ranks->coordinator);
}

/* ---- Its beginning and its end ---- */

static enum hysgd_status start_totals(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    const struct training *training = ranks->training;
    HYSGD_TRY(ranks_totals_start(&self->values, ranks, CHANNEL_VALUES, (size_t)ranks->workers * sizeof(double)));
    if (!training->estimator.has_probe)
        return HYSGD_OK;
    return ranks_totals_start(&self->probed, ranks, CHANNEL_PROBED, sizeof(struct probe_values));
}

enum hysgd_status ranks_coordinator_start(struct ranks *ranks) {
    struct ranks_coordinator *self;
    HYSGD_TRY(memory_alloc(1, sizeof *self, &self));
    *self = (struct ranks_coordinator){.ranks = ranks, .gathering = -1, .stopped = NAN};
    ranks->coordinator = self;
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *self->remotes, &self->remotes));
    HYSGD_TRY(memory_alloc((size_t)ranks->count, sizeof *self->is_ready, &self->is_ready));
    HYSGD_TRY(memory_alloc((size_t)ranks->count, sizeof *self->has_saved, &self->has_saved));
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *self->service_seconds, &self->service_seconds));
    HYSGD_TRY(memory_alloc(1, ranks->control_most, &self->order));
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *self->queue, &self->queue));
    for (int i = 0; i < ranks->workers; i++)
        HYSGD_TRY(memory_alloc(ranks->control_most, 1, &self->remotes[i].waiting));
    for (int i = 0; i < ranks->workers; i++)
        self->remotes[i].wants_to_leave = ranks->members[ranks->worker_ranks[i]].is_lost;
    self->generation = (uint64_t)ranks->incarnation << 32;
    HYSGD_TRY(start_totals(self));
    return memory_alloc_vector(ranks->training->server.count, sizeof(float), &self->vector);
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
    memory_free(self->plan);
    if (self->file)
        snapshot_abort(self->file);
    snapshot_discard(self->image);
    memory_free(self->service_seconds);
    memory_free(self->order);
    memory_free(self->vector);
    memory_free(self->state);
    memory_free(self);
}

void ranks_coordinator_lose(struct ranks *ranks, int worker) {
    ranks->coordinator->remotes[worker].wants_to_leave = true;
}

double ranks_coordinator_now(const struct ranks *ranks) {
    return ranks->coordinator->phase == PHASE_OPENING ? ranks->clock + machine_seconds()
                                                      : now_of(ranks->coordinator);
}

double ranks_coordinator_seconds(const struct ranks *ranks) {
    const struct ranks_coordinator *self = ranks->coordinator;
    return isnan(self->stopped) ? ranks->training->start_seconds : self->stopped;
}
