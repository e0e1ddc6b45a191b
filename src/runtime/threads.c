/* SPDX-License-Identifier: Apache-2.0 */
/* The threads runtime: a thread per worker on real cores, parameters in shared memory. There is no server thread:
 * the worker whose gradient completes an update does the server's work, and every worker that waits takes shards of
 * it. One lock guards the engine; it is held for a verdict, never for work on vectors. The calling thread
 * evaluates, saves, drains the recorder and watches the limits. */
#include <math.h>
#include <sched.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/list.h"
#include "runtime/threads.h"

static const struct hysgd_option threads_options[] = {
    {"pin", HYSGD_OPTION_CHOICE, offsetof(struct threads, pin), "auto", 0, 0, "auto|yes|no",
     "bind each worker to a core; auto: when there are no more workers than cores"},
    {"spin", HYSGD_OPTION_REAL, offsetof(struct threads, spin), "0.01", 0, 1, NULL,
     "seconds that a waiting worker polls before it sleeps, since waking takes long; when there are no more workers than cores"},
    {0},
};

/* The calling thread's period. */
#define TICK_NANOSECONDS 5000000

static void tick(struct threads_run *run) {
    drive_drain(run->training, threads_now(run));
    nanosleep(&(struct timespec){0, TICK_NANOSECONDS}, NULL);
}

/* Takes the lock while no verdict's work is under way, and holds new verdicts back until then; call threads_serve
 * before giving the lock back. */
static void lock_quiet(struct threads_run *run) {
    atomic_store(&run->is_wanted, true);
    threads_lock_draining(run);
    while (run->is_busy) {
        pthread_mutex_unlock(&run->lock);
        sched_yield();
        threads_lock_draining(run);
    }
    atomic_store(&run->is_wanted, false);
}

/* What is evaluated or saved is the state of this moment. Lock held. */
static double present_moment(const struct threads_run *run) {
    return isnan(run->stopped) ? threads_now(run) : run->stopped;
}

static enum hysgd_status evaluate(struct threads_run *run) {
    struct training *training = run->training;
    struct hysgd_metrics metrics;
    bool computes = training->setup->computes_gradients;
    lock_quiet(run);
    double seconds = present_moment(run);
    drive_begin_evaluation(training, seconds);
    int read = computes ? server_acquire(&training->server) : 0;
    threads_serve(run, 0);
    pthread_mutex_unlock(&run->lock);
    enum hysgd_status status =
        drive_evaluate(training, computes ? training->server.versions[read] : NULL, &metrics);
    threads_lock_draining(run);
    if (computes)
        server_let_go(&training->server, read);
    if (status == HYSGD_OK)
        drive_end_evaluation(training, &metrics, seconds);
    threads_note_stop(run);
    pthread_mutex_unlock(&run->lock);
    return status;
}

/* Saves while verdicts are held back; the workers go on computing. What they compute is not part of the state. */
static enum hysgd_status save(struct threads_run *run) {
    struct snapshot_image *image;
    lock_quiet(run);
    double seconds = present_moment(run);
    enum hysgd_status status = drive_begin_save(run->training, seconds, NULL, &image);
    if (status == HYSGD_OK) {
        run->is_busy = true;
        pthread_mutex_unlock(&run->lock);
        status = drive_write_save(run->training, image);
        threads_lock_draining(run);
        drive_end_save(run->training, image, status, seconds);
        run->is_busy = false;
    }
    threads_serve(run, 0);
    pthread_mutex_unlock(&run->lock);
    return status;
}

static enum hysgd_status start_lane(struct threads_run *run, struct lane *lane) {
    atomic_fetch_add(&run->alive, 1);
    int fault = pthread_create(&lane->thread, NULL, lane_main, lane);
    if (fault != 0) {
        atomic_fetch_sub(&run->alive, 1);
        return hysgd_fail(HYSGD_FAILED, "thread %d of %d cannot be started: %s", lane->worker, run->workers,
                          strerror(fault));
    }
    lane->is_started = true;
    return HYSGD_OK;
}

/* Lock held, and no verdict's work under way. */
static enum hysgd_status lose(struct threads_run *run, struct lane *lane) {
    struct engine_verdict verdict;
    lane->will_be_lost = false;
    lane->is_lost = true;
    lane_call(lane);
    HYSGD_TRY(drive_lose(run->training, lane->worker, threads_now(run), &verdict));
    return threads_act(run, &verdict, 0);
}

/* The same; the lane has no thread. */
static enum hysgd_status join(struct threads_run *run, struct lane *lane) {
    struct engine_verdict verdict;
    lane->will_join = lane->is_lost = lane->is_released = false;
    atomic_store(&lane->is_called, false);
    atomic_store(&lane->has_ended, false);
    HYSGD_TRY(start_lane(run, lane));
    HYSGD_TRY(drive_join(run->training, lane->worker, threads_now(run), &verdict));
    return threads_act(run, &verdict, 0);
}

/* Waits for the thread of a worker that has left, which may still be computing. */
static void end_lane(struct threads_run *run, struct lane *lane) {
    while (!atomic_load(&lane->has_ended))
        tick(run);
    pthread_join(lane->thread, NULL);
    lane->is_started = false;
}

static enum hysgd_status change_workers(struct threads_run *run) {
    const struct timing *timing = run->training->setup->timing;
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < run->workers && status == HYSGD_OK; i++) {
        struct lane *lane = &run->lanes[i];
        bool is_to_leave = lane->will_be_lost && !lane->is_lost && threads_now(run) >= timing->lost_at[i];
        bool is_to_join = lane->will_join && lane->is_lost && threads_now(run) >= timing->joins_at[i];
        if (!is_to_leave && !is_to_join)
            continue;
        if (is_to_join && lane->is_started)
            end_lane(run, lane);
        lock_quiet(run);
        threads_serve(run, 0); /* what was delivered whole still counts */
        if (!threads_is_stopping(run)) {
            status = is_to_leave ? lose(run, lane) : join(run, lane);
            threads_serve(run, 0); /* what was delivered while the lock was free for work */
        }
        pthread_mutex_unlock(&run->lock);
    }
    return status;
}

static enum hysgd_status watch(struct threads_run *run) {
    double seconds = threads_now(run);
    HYSGD_TRY(change_workers(run));
    threads_lock_draining(run);
    bool is_over = drive_is_over(run->training, seconds);
    bool evaluates = !is_over && drive_evaluation_is_due(run->training, seconds);
    bool saves = !is_over && drive_save_is_due(run->training, seconds);
    threads_note_stop(run);
    pthread_mutex_unlock(&run->lock);
    if (evaluates)
        HYSGD_TRY(evaluate(run));
    return saves ? save(run) : HYSGD_OK;
}

/* Lets the computing workers begin, once all have their workspaces: the clock starts here. */
static void begin_clock(struct threads_run *run) {
    pthread_mutex_lock(&run->lock);
    clock_gettime(CLOCK_MONOTONIC, &run->origin);
    drive_restart(run->training, run->training->start_seconds);
    threads_release(run);
    pthread_mutex_unlock(&run->lock);
}

static bool all_are_open(struct threads_run *run) {
    pthread_mutex_lock(&run->lock);
    bool are_open = run->opened == run->workers || threads_is_stopping(run);
    pthread_mutex_unlock(&run->lock);
    return are_open;
}

static enum hysgd_status start_lanes(struct threads_run *run) {
    for (int i = 0; i < run->workers; i++) {
        struct lane *lane = &run->lanes[i];
        if (run->training->engine.workers[i].activity == ENGINE_LOST)
            lane->is_lost = true;
        HYSGD_TRY(start_lane(run, lane));
    }
    return HYSGD_OK;
}

static void stop_lanes(struct threads_run *run) {
    atomic_store(&run->training->is_stopping, true);
    threads_lock_draining(run);
    threads_note_stop(run);
    lane_call_all(run);
    pthread_mutex_unlock(&run->lock);
    while (atomic_load(&run->alive) > 0)
        tick(run);
    for (int i = 0; i < run->workers; i++)
        if (run->lanes[i].is_started)
            pthread_join(run->lanes[i].thread, NULL);
}

static enum hysgd_status train(struct threads_run *run) {
    HYSGD_TRY(start_lanes(run));
    while (!all_are_open(run))
        tick(run);
    begin_clock(run);
    while (!threads_is_stopping(run)) {
        HYSGD_TRY(watch(run));
        tick(run);
    }
    return HYSGD_OK;
}

/* After the lanes have ended: the last evaluation and checkpoint. */
static enum hysgd_status conclude(struct threads_run *run) {
    struct training *training = run->training;
    if (drive_last_evaluation_is_due(training, run->stopped))
        HYSGD_TRY(evaluate(run));
    return drive_saves_at_end(training) ? save(run) : HYSGD_OK;
}

/* The lock is held for less than it takes to sleep and wake, so where every worker has a core, who wants it spins
 * first. */
static void init_lock(struct threads_run *run) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
    if (run->spins)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    pthread_mutex_init(&run->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static enum hysgd_status init_run(struct threads_run *run) {
    const struct timing *timing = run->training->setup->timing;
    run->workers = run->training->setup->workers;
    run->cores = machine_cores();
    run->spins = run->workers <= run->cores;
    run->training->server.is_shared = run->workers > 1 && run->cores > 1;
    run->stopped = NAN;
    init_lock(run);
    clock_gettime(CLOCK_MONOTONIC, &run->origin);
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *run->queue, &run->queue));
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *run->lanes, &run->lanes));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    for (int i = 0; i < run->workers; i++) {
        run->lanes[i].run = run;
        run->lanes[i].worker = i;
        run->lanes[i].will_be_lost = timing_will_lose(timing, i, run->training->start_seconds);
        run->lanes[i].will_join = timing_will_join(timing, i, run->training->start_seconds);
        run->fastest = fmax(run->fastest, timing->speeds[i]);
        pthread_cond_init(&run->lanes[i].wake, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return HYSGD_OK;
}

static void fini_run(struct threads_run *run) {
    for (int i = 0; run->lanes && i < run->workers; i++)
        pthread_cond_destroy(&run->lanes[i].wake);
    pthread_mutex_destroy(&run->lock);
    memory_free(run->lanes);
    memory_free(run->queue);
}

static enum hysgd_status threads_run(void *self, struct training *training, double *seconds_out) {
    struct threads_run run = {.training = training, .options = self};
    training->drainer = pthread_self();
    enum hysgd_status status = init_run(&run);
    if (status == HYSGD_OK)
        status = train(&run);
    if (status != HYSGD_OK) {
        threads_lock_draining(&run);
        drive_fail(training, status);
        pthread_mutex_unlock(&run.lock);
    }
    if (run.lanes)
        stop_lanes(&run);
    status = conclude(&run);
    if (status != HYSGD_OK)
        drive_fail(training, status);
    drive_drain(training, run.stopped);
    *seconds_out = isnan(run.stopped) ? training->start_seconds : run.stopped;
    fini_run(&run);
    return drive_finish(training);
}

const struct runtime_ops runtime_threads = {
    .about = {"threads", NULL, "a thread per worker on real cores; injected delays make workers unequal", NULL,
              sizeof(struct threads), threads_options},
    .run = threads_run,
};
