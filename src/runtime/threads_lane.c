/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's thread: waits for its release, computes, delays its delivery as told, delivers, and helps with the
 * vectors while it waits. */
#include <math.h>
#include <sched.h>

#include "base/machine.h"
#include "runtime/threads.h"
#include "runtime/worker.h"

/* Seconds; whoever waits for longer looks again then. */
#define LONGEST_SLEEP 1e6

/* Sleeps on the lane's condition until it is called or the moment (on the run's clock) has come. Lock held. */
static void sleep_until(struct lane *lane, double moment) {
    const struct threads_run *run = lane->run;
    double latest = fmin(moment, threads_now(run) + LONGEST_SLEEP);
    double whole, fraction = modf(latest - run->training->start_seconds, &whole);
    struct timespec until = {run->origin.tv_sec + (time_t)whole, run->origin.tv_nsec + (long)(fraction * 1e9)};
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    lane->is_asleep = true;
    pthread_cond_timedwait(&lane->wake, &lane->run->lock, &until);
    lane->is_asleep = false;
}

/* Looks out for a call without the lock for a bounded time; a sleeping thread takes far longer to come back. */
static void poll_call(struct lane *lane) {
    struct threads_run *run = lane->run;
    double until = machine_seconds() + run->options->spin;
    pthread_mutex_unlock(&run->lock);
    for (unsigned i = 0; !atomic_load_explicit(&lane->is_called, memory_order_acquire); i++) {
        threads_pause();
        if (i % 64 == 63 && machine_seconds() > until)
            break;
    }
    pthread_mutex_lock(&run->lock);
}

static void take_shards(struct lane *lane) {
    struct threads_run *run = lane->run;
    lane->helped = run->job;
    atomic_fetch_add(&run->helpers, 1);
    pthread_mutex_unlock(&run->lock);
    server_help(&run->training->server, lane->worker);
    atomic_fetch_sub(&run->helpers, 1);
    pthread_mutex_lock(&run->lock);
}

static bool is_ended(const struct lane *lane) {
    return threads_is_stopping(lane->run) || lane->is_lost;
}

/* Waits for the lane's release and helps meanwhile. False when the lane is to end. Lock held. */
static bool await_release(struct lane *lane) {
    struct threads_run *run = lane->run;
    bool has_polled = !run->spins;
    lane->is_idle = true;
    while (!lane->is_released && !is_ended(lane)) {
        atomic_store_explicit(&lane->is_called, false, memory_order_relaxed);
        if (run->has_work && lane->helped != run->job) {
            take_shards(lane);
            has_polled = !run->spins; /* the release is near */
        } else if (threads_may_serve(run)) {
            threads_serve(run, lane->worker);
            has_polled = !run->spins;
        } else if (!has_polled) {
            poll_call(lane);
            has_polled = true;
        } else {
            lane->is_asleep = true;
            pthread_cond_wait(&lane->wake, &run->lock);
            lane->is_asleep = false;
        }
    }
    lane->is_idle = false;
    return !is_ended(lane);
}

static bool is_cancelled(const struct lane *lane) {
    return atomic_load_explicit(&lane->is_cancelled, memory_order_relaxed);
}

/* Asked between the pieces of a gradient; without the lock. */
static bool gives_up(void *self) {
    const struct lane *lane = self;
    bool has_limit = lane->gives_up < (double)INFINITY; /* the clock costs more than the flag */
    return is_cancelled(lane) || (has_limit && threads_now(lane->run) >= lane->gives_up);
}

/* Injected slowness and delay: the gradient is computed, but does not arrive yet. To the policy it is computed for
 * all of the slowness, and may be given up. Lock held. */
static void await_arrival(struct lane *lane, uint64_t draw, double computed) {
    struct threads_run *run = lane->run;
    const struct timing *timing = run->training->setup->timing;
    double begun = lane->begun, slower = run->fastest / timing->speeds[lane->worker];
    lane->compute_seconds = (computed - begun) * slower;
    lane->data_seconds = run->training->workers[lane->worker].data_seconds * slower;
    double delay = timing_delay(timing, lane->worker, draw), ready = begun + lane->compute_seconds,
           arrives = ready + delay, now;
    bool is_slowed = slower * (computed - begun) + delay > computed - begun;
    while (is_slowed && (now = threads_now(run)) < arrives && !is_ended(lane) && !lane->has_given_up) {
        lane->has_given_up = now >= lane->gives_up || (is_cancelled(lane) && now < ready);
        if (!lane->has_given_up)
            sleep_until(lane, fmin(arrives, lane->gives_up));
    }
    lane->delivered = threads_now(run);
    lane->transit_seconds = fmax(lane->delivered - begun - lane->compute_seconds, 0);
}

/* Computes the gradient at the version read, or a part of it. Lock held before and after, not meanwhile. */
static enum hysgd_status compute_gradient(struct lane *lane, double *computed_out) {
    struct threads_run *run = lane->run;
    struct training *training = run->training;
    const struct worker_watch watch = {gives_up, lane};
    bool may_give_up = training->engine.policy->worker_ops != NULL;
    pthread_mutex_unlock(&run->lock);
    enum hysgd_status status = worker_compute(
        training, lane->worker, server_read_vector(&training->server, lane->worker), may_give_up ? &watch : NULL);
    *computed_out = threads_now(run);
    pthread_mutex_lock(&run->lock);
    lane->has_given_up = training->workers[lane->worker].has_given_up;
    server_has_read(&training->server, lane->worker);
    return status;
}

/* One gradient, from the release to the delivery, or until it is given up. Lock held before and after, not while it
 * is computed. */
static enum hysgd_status deliver_gradient(struct lane *lane) {
    struct threads_run *run = lane->run;
    struct training *training = run->training;
    const struct engine_worker *worker = &training->engine.workers[lane->worker];
    double begun = threads_now(run), computed = begun;
    uint64_t draw = training->workers[lane->worker].draws;
    lane->is_released = lane->has_given_up = false;
    lane->begun = begun;
    lane->gives_up = begun + worker->patience;
    drive_started(training, lane->worker, worker->read, begun);
    if (training->setup->computes_gradients)
        HYSGD_TRY(compute_gradient(lane, &computed));
    else
        training->workers[lane->worker].draws += worker->batches;
    await_arrival(lane, draw, computed);
    if (is_ended(lane))
        return HYSGD_OK;
    run->queue[(run->queue_first + run->queue_count++) % run->workers] = lane->worker;
    threads_serve(run, lane->worker);
    return HYSGD_OK;
}

static void pin_to_core(const struct threads_run *run, int worker) {
    cpu_set_t allowed, chosen;
    bool pins = run->options->pin == PIN_YES || (run->options->pin == PIN_AUTO && run->workers <= run->cores);
    if (!pins || pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0)
        return;
    int wanted = worker % run->cores;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &allowed) || wanted-- > 0)
            continue;
        CPU_ZERO(&chosen);
        CPU_SET(core, &chosen);
        (void)pthread_setaffinity_np(pthread_self(), sizeof chosen, &chosen); /* unpinned is slower, not wrong */
        return;
    }
}

void *lane_main(void *argument) {
    struct lane *lane = argument;
    struct threads_run *run = lane->run;
    pin_to_core(run, lane->worker);
    enum hysgd_status status =
        run->training->setup->computes_gradients ? worker_open(run->training, lane->worker) : HYSGD_OK;
    pthread_mutex_lock(&run->lock);
    run->opened++;
    while (status == HYSGD_OK && await_release(lane))
        status = deliver_gradient(lane);
    if (lane->is_released && run->training->setup->computes_gradients)
        server_has_read(&run->training->server, lane->worker); /* lost or stopped before it began */
    if (status != HYSGD_OK)
        threads_fail(run, status);
    pthread_mutex_unlock(&run->lock);
    atomic_store(&lane->has_ended, true);
    atomic_fetch_sub(&run->alive, 1);
    return NULL;
}
