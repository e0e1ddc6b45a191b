/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient computing of a rank: a thread that computes, and what the calling thread does for it: receives the
 * parameters, lets it begin, sends what it has done. See ranks.h. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"
#include "runtime/worker.h"

/* ---- The thread ---- */

/* Asked between the pieces of a gradient. */
static bool gives_up(void *self) {
    const struct ranks_worker *worker = self;
    return atomic_load_explicit(&worker->is_cancelled, memory_order_relaxed) ||
           (worker->gives_up < (double)INFINITY && machine_seconds() >= worker->gives_up);
}

/* Injected slowness and delay, as in the threads runtime: to the policy a gradient is computed for all of the
 * slowness, and may be given up meanwhile. */
static void pass_delay(struct ranks_worker *worker, uint64_t draw, double computed) {
    struct training *training = worker->ranks->training;
    const struct timing *timing = training->setup->timing;
    double slower = worker->ranks->fastest / timing->speeds[worker->worker];
    double ready = worker->begun + (computed - worker->begun) * slower;
    double arrives = ready + timing_delay(timing, worker->worker, draw), now;
    worker->compute_seconds = ready - worker->begun;
    worker->transit_seconds = arrives - ready;
    training->workers[worker->worker].data_seconds *= slower;
    while (arrives > computed && (now = machine_seconds()) < arrives && !worker->has_given_up) {
        bool is_cancelled = atomic_load_explicit(&worker->is_cancelled, memory_order_relaxed);
        worker->has_given_up = now >= worker->gives_up || (is_cancelled && now < ready);
        double pause = fmin(fmin(arrives, worker->gives_up) - now, 1e-3);
        if (!worker->has_given_up && pause > 0)
            nanosleep(&(struct timespec){0, (long)(pause * 1e9)}, NULL);
    }
}

static enum hysgd_status compute(struct ranks_worker *worker) {
    struct training *training = worker->ranks->training;
    int index = worker->worker;
    const struct worker_watch watch = {gives_up, worker};
    bool may_give_up = training->engine.policy->worker_ops != NULL;
    uint64_t draw = training->workers[index].draws;
    worker->begun = machine_seconds();
    worker->gives_up = worker->begun + worker->release.patience;
    shares_begin(&training->shares, index);
    HYSGD_TRY(worker_compute(training, index, worker->vector, may_give_up ? &watch : NULL));
    worker->has_given_up = training->workers[index].has_given_up;
    pass_delay(worker, draw, machine_seconds());
    return HYSGD_OK;
}

static void note_status(struct ranks_worker *worker, enum hysgd_status status) {
    worker->status = status;
    if (status != HYSGD_OK)
        snprintf(worker->message, sizeof worker->message, "%s", hysgd_error_message());
}

static void *worker_main(void *argument) {
    struct ranks_worker *worker = argument;
    struct ranks *ranks = worker->ranks;
    note_status(worker, worker_open(ranks->training, worker->worker));
    pthread_mutex_lock(&ranks->lock);
    worker->is_open = true;
    comm_wake(ranks->comm);
    for (;;) {
        worker->is_idle = true;
        while (!worker->is_ending && (!worker->is_computing || worker->is_done))
            pthread_cond_wait(&worker->wake, &ranks->lock);
        worker->is_idle = false;
        if (worker->is_ending)
            break;
        pthread_mutex_unlock(&ranks->lock);
        enum hysgd_status status = compute(worker);
        note_status(worker, status);
        pthread_mutex_lock(&ranks->lock);
        worker->is_done = true;
        pthread_mutex_unlock(&ranks->lock);
        comm_wake(ranks->comm); /* not before: it would run into the lock at once */
        if (status == HYSGD_OK)
            worker_prepare(ranks->training, worker->worker); /* while the parameters are on their way */
        pthread_mutex_lock(&ranks->lock);
    }
    pthread_mutex_unlock(&ranks->lock);
    return NULL;
}

/* ---- The calling thread ---- */

static void slice_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_worker *worker = self;
    (void)bytes;
    worker->awaited -= !ranks_is_past(worker->ranks, completion);
}

static void slice_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_worker *worker = self;
    (void)bytes;
    worker->pushing -= !ranks_is_past(worker->ranks, completion);
}

/* Before anyone sends them: the parameters go straight to where the thread reads them. */
static enum hysgd_status await_parameters(struct ranks_worker *worker) {
    struct ranks *ranks = worker->ranks;
    for (int i = 0; i < ranks->servers; i++) {
        const struct ranks_slice *slice = &ranks->slices[i];
        HYSGD_TRY(comm_receive(ranks->comm, ranks->server_ranks[i], ranks_tag(ranks, CHANNEL_PARAMETERS, i),
                               worker->vector + slice->first, (slice->end - slice->first) * sizeof(float),
                               slice_has_come, worker));
        worker->awaited++;
    }
    return HYSGD_OK;
}

static enum hysgd_status alloc_encoded(struct ranks_worker *worker) {
    const struct ranks *ranks = worker->ranks;
    const struct wire_format *format = &ranks->training->outgoing.format;
    size_t bytes = 0;
    if (wire_is_plain(format))
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *worker->places, &worker->places));
    for (int i = 0; i < ranks->servers; i++) {
        const struct ranks_slice *slice = &ranks->slices[i];
        worker->places[i] = bytes;
        bytes += wire_bound(format, slice->first, slice->end - slice->first);
    }
    return memory_alloc_vector(bytes, 1, &worker->encoded);
}

uint64_t ranks_worker_received(const struct ranks *ranks, int worker) {
    const struct engine_worker *state = &ranks->training->engine.workers[worker];
    return state->applied + state->dropped + state->held;
}

enum hysgd_status ranks_worker_start(struct ranks *ranks, int index) {
    struct ranks_worker *worker;
    size_t count = ranks->training->server.count;
    HYSGD_TRY(memory_alloc(1, sizeof *worker, &worker));
    *worker =
        (struct ranks_worker){.ranks = ranks, .worker = index, .delivered = ranks_worker_received(ranks, index)};
    pthread_cond_init(&worker->wake, NULL);
    ranks->worker = worker;
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->vector));
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->gradient));
    ranks->training->workers[index].gradient = worker->gradient;
    HYSGD_TRY(alloc_encoded(worker));
    HYSGD_TRY(await_parameters(worker));
    int fault = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (fault != 0)
        return hysgd_fail(HYSGD_FAILED, "a thread cannot be started: %s", strerror(fault));
    worker->is_started = true;
    return HYSGD_OK;
}

bool ranks_worker_is_idle(struct ranks *ranks) {
    const struct ranks_worker *worker = ranks->worker;
    if (!worker)
        return true;
    pthread_mutex_lock(&ranks->lock);
    bool is_idle = worker->is_idle && (!worker->is_computing || worker->is_done);
    pthread_mutex_unlock(&ranks->lock);
    return is_idle;
}

void ranks_worker_interrupt(struct ranks *ranks) {
    struct ranks_worker *worker = ranks->worker;
    atomic_store(&worker->is_cancelled, true);
    while (!ranks_worker_is_idle(ranks))
        nanosleep(&(struct timespec){0, 100000}, NULL);
    pthread_mutex_lock(&ranks->lock);
    worker->is_computing = worker->is_done = worker->is_released = false;
    pthread_mutex_unlock(&ranks->lock);
}

enum hysgd_status ranks_worker_renew(struct ranks *ranks, struct ranks_past *past) {
    struct ranks_worker *worker = ranks->worker;
    size_t count = ranks->training->server.count;
    past->memory[PAST_VECTOR] = worker->vector;
    past->memory[PAST_GRADIENT] = worker->gradient;
    past->memory[PAST_ENCODED] = worker->encoded;
    past->memory[PAST_PLACES] = worker->places;
    worker->vector = worker->gradient = NULL;
    worker->encoded = NULL;
    worker->places = NULL;
    worker->awaited = worker->pushing = 0;
    worker->is_announced = false; /* to the new incarnation, */
    worker->is_lost = false;      /* in which it may not have left yet */
    worker->delivered = ranks_worker_received(ranks, worker->worker);
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->vector));
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->gradient));
    ranks->training->workers[worker->worker].gradient = worker->gradient;
    HYSGD_TRY(alloc_encoded(worker));
    return await_parameters(worker);
}

void ranks_worker_stop(struct ranks *ranks) {
    struct ranks_worker *worker = ranks->worker;
    if (!worker || !worker->is_started)
        return;
    atomic_store(&worker->is_cancelled, true);
    pthread_mutex_lock(&ranks->lock);
    worker->is_ending = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&ranks->lock);
    pthread_join(worker->thread, NULL);
    worker->is_started = false;
}

void ranks_worker_free(struct ranks *ranks) {
    struct ranks_worker *worker = ranks->worker;
    if (!worker)
        return;
    pthread_cond_destroy(&worker->wake);
    ranks->training->workers[worker->worker].gradient = NULL;
    memory_free(worker->encoded);
    memory_free(worker->places);
    memory_free(worker->vector);
    memory_free(worker->gradient);
    memory_free(worker);
    ranks->worker = NULL;
}

/* A slice as it travels: itself, or what it is encoded to, at its own place of `encoded`. */
static const void *encode(struct ranks_worker *worker, int server, size_t *bytes_out) {
    const struct ranks_slice *slice = &worker->ranks->slices[server];
    const struct wire_format *format = &worker->ranks->training->outgoing.format;
    const float *gradient = worker->gradient + slice->first;
    size_t count = slice->end - slice->first;
    *bytes_out = count * sizeof *gradient;
    if (wire_is_plain(format))
        return gradient;
    unsigned char *encoded = worker->encoded + worker->places[server];
    *bytes_out = wire_encode(format, slice->first, count, gradient, encoded);
    return encoded;
}

static enum hysgd_status push(struct ranks_worker *worker) {
    struct ranks *ranks = worker->ranks;
    for (int i = 0; i < ranks->servers; i++) {
        size_t bytes;
        const void *content = encode(worker, i, &bytes);
        worker->pushing++;
        HYSGD_TRY(comm_send(ranks->comm, ranks->server_ranks[i], ranks_tag(ranks, CHANNEL_GRADIENT, i), content,
                            bytes, slice_has_left, worker));
    }
    return HYSGD_OK;
}

/* Tells the coordinator, whose verdict then comes while the slices are on their way. */
static enum hysgd_status report_arrival(struct ranks_worker *worker) {
    struct ranks *ranks = worker->ranks;
    const struct training *training = ranks->training;
    const struct training_worker *computed = &training->workers[worker->worker];
    size_t samples = 1 + (size_t)training->shares.classes;
    struct message_arrived *message;
    size_t bytes = sizeof *message + samples * sizeof(double);
    HYSGD_TRY(memory_alloc(1, bytes, &message));
    *message = (struct message_arrived){
        .head = {MESSAGE_ARRIVED, (uint32_t)bytes},
        .worker = worker->worker,
        .has_given_up = worker->has_given_up,
        .is_cancelled = atomic_load(&worker->is_cancelled),
        .draws = computed->draws,
        .loss = computed->loss,
        .compute_seconds = worker->has_given_up ? machine_seconds() - worker->begun : worker->compute_seconds,
        .transit_seconds = worker->transit_seconds,
        .data_seconds = computed->data_seconds,
        .begun = ranks_leader_time(ranks, worker->begun),
        .sent_bytes = outgoing_bytes(training, worker->worker),
    };
    memcpy(message + 1, training->shares.deliveries + (size_t)worker->worker * samples, samples * sizeof(double));
    ranks_send(ranks, ranks->leader, message, bytes);
    memory_free(message);
    return HYSGD_OK;
}

static enum hysgd_status deliver(struct ranks_worker *worker) {
    struct ranks *ranks = worker->ranks;
    if (worker->status != HYSGD_OK) {
        status_set_message(worker->message);
        return worker->status;
    }
    if (worker->is_lost)
        return HYSGD_OK;
    HYSGD_TRY(report_arrival(worker));
    if (worker->awaited == 0) /* nothing was sent to a worker that goes on with what it has */
        HYSGD_TRY(await_parameters(worker));
    if (worker->has_given_up)
        return HYSGD_OK;
    worker_settle(ranks->training, worker->worker);
    worker->delivered++;
    return push(worker);
}

static bool may_begin(const struct ranks_worker *worker) {
    return worker->is_released && !worker->is_lost && worker->pushing == 0 &&
           (worker->awaited == 0 || worker->release.is_again);
}

/* By the calling thread, which at the coordinator has the engine's tables to itself. */
static void note_release(struct ranks_worker *worker) {
    struct training *training = worker->ranks->training;
    training->engine.workers[worker->worker].batches = worker->release.batches;
    if (training->local.ops)
        training->local.workers[worker->worker].clock = worker->release.clock;
}

bool ranks_worker_step(struct ranks *ranks) {
    struct ranks_worker *worker = ranks->worker;
    enum hysgd_status status = HYSGD_OK;
    if (!worker)
        return false;
    pthread_mutex_lock(&ranks->lock);
    bool is_done = worker->is_computing && worker->is_done, is_ready = worker->is_open && !worker->is_computing;
    bool is_new = is_ready && !worker->is_announced, begins = !is_done && is_ready && may_begin(worker);
    if (is_done)
        worker->is_computing = worker->is_done = false;
    else if (begins) {
        note_release(worker);
        worker->is_released = worker->has_given_up = false;
        worker->is_computing = true;
        atomic_store(&worker->is_cancelled, false);
    } else if (is_ready && worker->status != HYSGD_OK) {
        is_done = true; /* it could not even open */
    }
    pthread_mutex_unlock(&ranks->lock);
    if (begins)
        pthread_cond_signal(&worker->wake);
    if (is_new && worker->status == HYSGD_OK)
        ranks_send_ready(ranks);
    worker->is_announced = worker->is_announced || is_new;
    if (is_done && !ranks->has_failed)
        status = deliver(worker);
    if (status != HYSGD_OK)
        ranks_report_failure(ranks, status);
    return is_done || begins;
}

void ranks_worker_released(struct ranks *ranks, const struct message_released *message) {
    ranks->worker->release = *message;
    ranks->training->workers[message->worker].taken = message->taken; /* the thread computes nothing now */
    ranks->worker->is_released = true;
}

void ranks_worker_cancelled(struct ranks *ranks, bool is_lost) {
    ranks->worker->is_lost = ranks->worker->is_lost || is_lost;
    atomic_store(&ranks->worker->is_cancelled, true);
}
