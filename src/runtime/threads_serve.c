/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads do under the lock, and the work on vectors that a verdict asks for: see threads.h. There is no
 * server thread. */
#include <math.h>
#include <sched.h>

#include "runtime/threads.h"

/* Shards from which on sleeping workers are woken to help: below, waking costs more than it saves. */
#define WORTH_WAKING 32

double threads_now(const struct threads_run *run) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return run->training->start_seconds + (double)(time.tv_sec - run->origin.tv_sec) +
           1e-9 * (double)(time.tv_nsec - run->origin.tv_nsec);
}

/* Takes the lock in the calling thread. Whoever holds it may be waiting for that thread to drain the recorder, so
 * it must not just block. */
void threads_lock_draining(struct threads_run *run) {
    while (pthread_mutex_trylock(&run->lock) != 0) {
        drive_drain(run->training, threads_now(run));
        sched_yield();
    }
}

/* Takes the lock in any thread. */
static void lock_again(struct threads_run *run) {
    if (pthread_equal(pthread_self(), run->training->drainer))
        threads_lock_draining(run);
    else
        pthread_mutex_lock(&run->lock);
}

/* Makes a lane look at what there is for it. Lock held. */
void lane_call(struct lane *lane) {
    atomic_store_explicit(&lane->is_called, true, memory_order_release);
    if (lane->is_asleep)
        pthread_cond_signal(&lane->wake);
}

void lane_call_all(struct threads_run *run) {
    for (int i = 0; i < run->workers; i++)
        lane_call(&run->lanes[i]);
}

/* Notes when the run stopped, once, and tells everyone. Lock held. */
void threads_note_stop(struct threads_run *run) {
    if (!threads_is_stopping(run) || !isnan(run->stopped))
        return;
    double limit = run->training->setup->limits.seconds, seconds = threads_now(run);
    run->stopped = limit > 0 && seconds > limit ? limit : seconds;
    lane_call_all(run);
}

void threads_fail(struct threads_run *run, enum hysgd_status status) {
    drive_fail(run->training, status);
    threads_note_stop(run);
}

/* Calls lanes that wait for their release to take shards; those asleep only where that pays. Lock held. */
static void call_helpers(struct threads_run *run) {
    int wanted = run->cores - 1;
    bool wakes = run->training->server.shard_count >= WORTH_WAKING;
    for (int i = 0; i < run->workers && wanted > 0; i++) {
        struct lane *lane = &run->lanes[i];
        if (!lane->is_idle || (lane->is_asleep && !wakes))
            continue;
        lane_call(lane);
        wanted--;
    }
}

/* Waits, without the lock, until all shards are done and nobody is inside them. */
static void await_helpers(struct threads_run *run) {
    for (unsigned i = 0; !server_is_done(&run->training->server) || atomic_load(&run->helpers) > 0; i++) {
        if (i < 1000)
            threads_pause();
        else
            sched_yield();
    }
}

/* Does the prepared work on the vectors, with whoever helps; `home`: the worker whose part comes first. Lock held
 * before and after, not meanwhile. */
static void work(struct threads_run *run, int home) {
    run->is_busy = run->has_work = true;
    run->job++;
    call_helpers(run);
    pthread_mutex_unlock(&run->lock);
    server_help(&run->training->server, home);
    await_helpers(run);
    lock_again(run);
    while (atomic_load(&run->helpers) > 0) { /* one came between the look and the lock */
        pthread_mutex_unlock(&run->lock);
        await_helpers(run);
        lock_again(run);
    }
    run->is_busy = run->has_work = false;
}

void threads_release(struct threads_run *run) {
    struct training *training = run->training;
    const struct engine *engine = &training->engine;
    for (int i = 0; i < engine->released_count; i++) {
        struct lane *lane = &run->lanes[engine->released[i]];
        if (training->setup->computes_gradients)
            drive_read(training, lane->worker);
        atomic_store_explicit(&lane->is_cancelled, false, memory_order_relaxed);
        lane->is_released = true;
        lane_call(lane);
    }
}

/* Tells the workers whose gradients the policy has no more use for. Lock held. */
static void cancel_workers(struct threads_run *run) {
    const struct engine *engine = &run->training->engine;
    for (int i = 0; i < engine->cancelled_count; i++) {
        struct lane *lane = &run->lanes[engine->cancelled[i]];
        atomic_store_explicit(&lane->is_cancelled, true, memory_order_relaxed);
        lane_call(lane);
    }
}

/* Does what a verdict asks for and lets the released workers go. Lock held. */
enum hysgd_status threads_act(struct threads_run *run, const struct engine_verdict *verdict, int home) {
    struct training *training = run->training;
    double begun = threads_now(run);
    HYSGD_TRY(drive_begin_action(training, verdict->action));
    if (verdict->action != ENGINE_NOTHING && training->setup->computes_gradients)
        work(run, home);
    double ended = threads_now(run);
    training->server_seconds += ended - begun;
    HYSGD_TRY(drive_end_action(training, verdict, ended, ended - begun));
    cancel_workers(run);
    threads_release(run);
    return HYSGD_OK;
}

bool threads_may_serve(const struct threads_run *run) {
    return run->queue_count > 0 && !run->is_busy && !atomic_load_explicit(&run->is_wanted, memory_order_relaxed);
}

/* The verdict on what a lane has delivered, or given up. Lock held. */
static enum hysgd_status take_delivery(struct threads_run *run, const struct lane *lane,
                                       struct engine_verdict *verdict_out) {
    double seconds = threads_now(run);
    if (lane->has_given_up) {
        struct drive_abandonment abandonment = {.worker = lane->worker,
                                                .seconds = seconds,
                                                .spent_seconds = lane->delivered - lane->begun,
                                                .queue_seconds = seconds - lane->delivered,
                                                .is_cancelled = lane->delivered < lane->gives_up};
        return drive_abandon(run->training, &abandonment, verdict_out);
    }
    struct drive_arrival arrival = {.worker = lane->worker,
                                    .seconds = seconds,
                                    .compute_seconds = lane->compute_seconds,
                                    .transit_seconds = lane->transit_seconds,
                                    .pull_seconds = NAN,
                                    .push_seconds = NAN,
                                    .queue_seconds = seconds - lane->delivered,
                                    .receive_seconds = NAN,
                                    .data_seconds = lane->data_seconds};
    return drive_arrive(run->training, &arrival, verdict_out);
}

/* Gives verdicts on the delivered gradients, in the order of their arrival, unless someone else is at it. Lock
 * held. */
void threads_serve(struct threads_run *run, int home) {
    while (threads_may_serve(run) && !drive_is_over(run->training, threads_now(run))) {
        struct lane *lane = &run->lanes[run->queue[run->queue_first]];
        run->queue_first = (run->queue_first + 1) % run->workers;
        run->queue_count--;
        struct engine_verdict verdict;
        enum hysgd_status status = take_delivery(run, lane, &verdict);
        if (status == HYSGD_OK)
            status = threads_act(run, &verdict, home);
        if (status != HYSGD_OK)
            threads_fail(run, status);
        drive_is_over(run->training, threads_now(run));
    }
    threads_note_stop(run);
}
