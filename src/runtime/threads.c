/* SPDX-License-Identifier: Apache-2.0 */
/* The threads runtime: a thread per worker on real cores, parameters in shared memory. There is no server thread:
 * the worker whose gradient completes an update does the server's work, and every worker that waits takes shards of
 * it. One lock guards the engine; it is held for a verdict, never for work on vectors. The calling thread
 * evaluates, saves, drains the recorder and watches the limits. */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "runtime/drive.h"
#include "runtime/list.h"
#include "runtime/worker.h"

enum pin_choice { PIN_AUTO, PIN_YES, PIN_NO };

struct threads {
    int pin;     /* enum pin_choice */
    double spin; /* seconds */
};

static const struct hysgd_option threads_options[] = {
    {"pin", HYSGD_OPTION_CHOICE, offsetof(struct threads, pin), "auto", 0, 0, "auto|yes|no",
     "bind each worker to a core; auto: when there are no more workers than cores"},
    {"spin", HYSGD_OPTION_REAL, offsetof(struct threads, spin), "0.0002", 0, 1, NULL,
     "seconds that a waiting worker polls before it sleeps, when there are no more workers than cores"},
    {0},
};

/* Shards from which on sleeping workers are woken to help: below, waking costs more than it saves. */
#define WORTH_WAKING 32

/* The calling thread's period. */
#define TICK_NANOSECONDS 5000000

struct threads_run;

/* A worker's thread. Guarded by the run's lock, except what is atomic. */
struct lane {
    _Alignas(64) struct threads_run *run; /* no line is shared with another lane */
    int worker;
    pthread_t thread;
    bool is_started; /* the thread exists */
    pthread_cond_t wake;
    atomic_bool is_called; /* there is something to look at */
    bool is_asleep;        /* waits on `wake` */
    bool is_idle;          /* waits for its release */
    bool is_released;
    bool is_lost;
    int version;     /* read by it, acquired when it was released */
    uint64_t helped; /* the latest job that it took shards of */
    double compute_seconds, transit_seconds, delivered;
};

struct threads_run {
    struct training *training;
    const struct threads *options;
    struct lane *lanes; /* [workers] */
    int workers, cores;
    bool spins;
    double fastest; /* the largest relative speed */
    pthread_mutex_t lock;
    struct timespec origin;               /* when the run's clock was at training->start_seconds */
    int opened;                           /* lanes whose workspace is open, or that failed */
    atomic_int alive;                     /* lanes that have not ended */
    int *queue, queue_first, queue_count; /* [workers] ring: delivered gradients without a verdict */
    atomic_bool is_wanted; /* the calling thread wants the lock while nothing is worked on: no verdicts meanwhile */
    bool is_busy;          /* vectors are worked on, or the state is being saved: no verdicts meanwhile */
    bool has_work;         /* shards may be left to take */
    uint64_t job;          /* number of the present or latest work */
    atomic_int helpers;    /* lanes inside server_help; raised under the lock */
    double stopped;        /* the clock when the run stopped; NaN: it runs */
};

/* Seconds on the machine's clock. */
static double read_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Seconds on the run's clock. Lock held, or between the reading and the delivery of a version. */
static double now(const struct threads_run *run) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return run->training->start_seconds + (double)(time.tv_sec - run->origin.tv_sec) +
           1e-9 * (double)(time.tv_nsec - run->origin.tv_nsec);
}

static bool is_stopping(const struct threads_run *run) {
    return atomic_load_explicit(&run->training->is_stopping, memory_order_acquire);
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Takes the lock in the calling thread. Whoever holds it may be waiting for that thread to drain the recorder, so
 * it must not just block. */
static void lock_draining(struct threads_run *run) {
    while (pthread_mutex_trylock(&run->lock) != 0) {
        drive_drain(run->training, now(run));
        sched_yield();
    }
}

/* Takes the lock in any thread. */
static void lock_again(struct threads_run *run) {
    if (pthread_equal(pthread_self(), run->training->drainer))
        lock_draining(run);
    else
        pthread_mutex_lock(&run->lock);
}

/* Makes a lane look at what there is for it. Lock held. */
static void call(struct lane *lane) {
    atomic_store_explicit(&lane->is_called, true, memory_order_release);
    if (lane->is_asleep)
        pthread_cond_signal(&lane->wake);
}

static void call_all(struct threads_run *run) {
    for (int i = 0; i < run->workers; i++)
        call(&run->lanes[i]);
}

/* Notes when the run stopped, once, and tells everyone. Lock held. */
static void note_stop(struct threads_run *run) {
    if (!is_stopping(run) || !isnan(run->stopped))
        return;
    double limit = run->training->setup->limits.seconds, seconds = now(run);
    run->stopped = limit > 0 && seconds > limit ? limit : seconds;
    call_all(run);
}

static void fail(struct threads_run *run, enum hysgd_status status) {
    drive_fail(run->training, status);
    note_stop(run);
}

/* Calls lanes that wait for their release to take shards; those asleep only where that pays. Lock held. */
static void call_helpers(struct threads_run *run) {
    int wanted = run->cores - 1;
    bool wakes = run->training->server.shard_count >= WORTH_WAKING;
    for (int i = 0; i < run->workers && wanted > 0; i++) {
        struct lane *lane = &run->lanes[i];
        if (!lane->is_idle || (lane->is_asleep && !wakes))
            continue;
        call(lane);
        wanted--;
    }
}

/* Waits, without the lock, until all shards are done and nobody is inside them. */
static void await_helpers(struct threads_run *run) {
    for (unsigned i = 0; !server_is_done(&run->training->server) || atomic_load(&run->helpers) > 0; i++) {
        if (i < 1000)
            pause_briefly();
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

/* Does what a verdict asks for and lets the released workers go. Lock held. */
static enum hysgd_status act(struct threads_run *run, const struct engine_verdict *verdict, int home) {
    struct training *training = run->training;
    struct engine *engine = &training->engine;
    double begun = now(run);
    HYSGD_TRY(drive_begin_action(training, verdict->action, begun));
    if (verdict->action != ENGINE_NOTHING && training->setup->computes_gradients)
        work(run, home);
    double ended = now(run);
    training->server_seconds += ended - begun;
    HYSGD_TRY(drive_end_action(training, verdict, ended, ended - begun));
    for (int i = 0; i < engine->released_count; i++) {
        struct lane *lane = &run->lanes[engine->released[i]];
        lane->version = training->setup->computes_gradients ? server_acquire(&training->server) : 0;
        lane->is_released = true;
        call(lane);
    }
    return HYSGD_OK;
}

static bool may_serve(const struct threads_run *run) {
    return run->queue_count > 0 && !run->is_busy && !atomic_load_explicit(&run->is_wanted, memory_order_relaxed);
}

/* Gives verdicts on the delivered gradients, in the order of their arrival, unless someone else is at it. Lock
 * held. */
static void serve(struct threads_run *run, int home) {
    while (may_serve(run) && !drive_is_over(run->training, now(run))) {
        struct lane *lane = &run->lanes[run->queue[run->queue_first]];
        run->queue_first = (run->queue_first + 1) % run->workers;
        run->queue_count--;
        double seconds = now(run);
        struct drive_arrival arrival = {.worker = lane->worker,
                                        .seconds = seconds,
                                        .compute_seconds = lane->compute_seconds,
                                        .transit_seconds = lane->transit_seconds,
                                        .queue_seconds = seconds - lane->delivered};
        struct engine_verdict verdict;
        enum hysgd_status status = drive_arrive(run->training, &arrival, &verdict);
        if (status == HYSGD_OK)
            status = act(run, &verdict, home);
        if (status != HYSGD_OK)
            fail(run, status);
        drive_is_over(run->training, now(run));
    }
    note_stop(run);
}

/* Seconds; whoever waits for longer looks again then. */
#define LONGEST_SLEEP 1e6

/* Sleeps on the lane's condition until it is called or the moment (on the run's clock) has come. Lock held. */
static void sleep_until(struct lane *lane, double moment) {
    const struct threads_run *run = lane->run;
    double whole, fraction = modf(fmin(moment - run->training->start_seconds, LONGEST_SLEEP), &whole);
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
    double until = read_clock() + run->options->spin;
    pthread_mutex_unlock(&run->lock);
    for (unsigned i = 0; !atomic_load_explicit(&lane->is_called, memory_order_acquire); i++) {
        pause_briefly();
        if (i % 64 == 63 && read_clock() > until)
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
    return is_stopping(lane->run) || lane->is_lost;
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
        } else if (may_serve(run)) {
            serve(run, lane->worker);
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

/* Injected slowness and delay: the gradient is computed, but does not arrive yet. Lock held. */
static void await_arrival(struct lane *lane, uint64_t draw, double begun, double computed) {
    struct threads_run *run = lane->run;
    const struct timing *timing = run->training->setup->timing;
    double slower = run->fastest / timing->speeds[lane->worker];
    lane->compute_seconds = (computed - begun) * slower;
    double delay = timing_delay(timing, lane->worker, draw), arrives = begun + lane->compute_seconds + delay;
    while (slower * (computed - begun) + delay > computed - begun && now(run) < arrives && !is_ended(lane))
        sleep_until(lane, arrives);
    lane->delivered = now(run);
    lane->transit_seconds = fmax(lane->delivered - begun - lane->compute_seconds, 0);
}

/* One gradient, from the release to the delivery. Lock held before and after, not while it is computed. */
static enum hysgd_status deliver_gradient(struct lane *lane) {
    struct threads_run *run = lane->run;
    struct training *training = run->training;
    bool computes = training->setup->computes_gradients;
    double begun = now(run);
    uint64_t draw = training->workers[lane->worker].draws;
    lane->is_released = false;
    drive_started(training, lane->worker, training->engine.workers[lane->worker].read, begun);
    if (computes) {
        pthread_mutex_unlock(&run->lock);
        enum hysgd_status status = worker_compute(training, lane->worker, training->server.versions[lane->version]);
        double computed = now(run);
        pthread_mutex_lock(&run->lock);
        server_let_go(&training->server, lane->version);
        HYSGD_TRY(status);
        await_arrival(lane, draw, begun, computed);
    } else {
        training->workers[lane->worker].draws++;
        await_arrival(lane, draw, begun, begun);
    }
    if (is_ended(lane))
        return HYSGD_OK;
    run->queue[(run->queue_first + run->queue_count++) % run->workers] = lane->worker;
    serve(run, lane->worker);
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

static void *lane_main(void *argument) {
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
        server_let_go(&run->training->server, lane->version); /* lost or stopped before it began */
    if (status != HYSGD_OK)
        fail(run, status);
    pthread_mutex_unlock(&run->lock);
    atomic_fetch_sub(&run->alive, 1);
    return NULL;
}

/* ---- The calling thread ---- */

static void tick(struct threads_run *run) {
    drive_drain(run->training, now(run));
    nanosleep(&(struct timespec){0, TICK_NANOSECONDS}, NULL);
}

/* Takes the lock while no verdict's work is under way, and holds new verdicts back until then; call `serve` before
 * giving the lock back. */
static void lock_quiet(struct threads_run *run) {
    atomic_store(&run->is_wanted, true);
    lock_draining(run);
    while (run->is_busy) {
        pthread_mutex_unlock(&run->lock);
        sched_yield();
        lock_draining(run);
    }
    atomic_store(&run->is_wanted, false);
}

static enum hysgd_status evaluate(struct threads_run *run, double seconds) {
    struct training *training = run->training;
    struct hysgd_metrics metrics;
    bool computes = training->setup->computes_gradients;
    lock_quiet(run);
    drive_begin_evaluation(training, seconds);
    uint64_t version = training->evaluated_version;
    int read = computes ? server_acquire(&training->server) : 0;
    serve(run, 0);
    pthread_mutex_unlock(&run->lock);
    enum hysgd_status status =
        drive_evaluate(training, computes ? training->server.versions[read] : NULL, &metrics);
    lock_draining(run);
    if (computes)
        server_let_go(&training->server, read);
    if (status == HYSGD_OK)
        drive_end_evaluation(training, &metrics, version, seconds);
    note_stop(run);
    pthread_mutex_unlock(&run->lock);
    return status;
}

/* Saves while verdicts are held back; the workers go on computing. What they compute is not part of the state. */
static enum hysgd_status save(struct threads_run *run, double seconds) {
    struct snapshot_image *image;
    lock_quiet(run);
    enum hysgd_status status = drive_begin_save(run->training, seconds, NULL, &image);
    if (status == HYSGD_OK) {
        run->is_busy = true;
        pthread_mutex_unlock(&run->lock);
        status = drive_write_save(run->training, image);
        lock_draining(run);
        drive_end_save(run->training, image, status, seconds);
        run->is_busy = false;
    }
    serve(run, 0);
    pthread_mutex_unlock(&run->lock);
    return status;
}

static enum hysgd_status lose_workers(struct threads_run *run) {
    const struct timing *timing = run->training->setup->timing;
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < run->workers && status == HYSGD_OK; i++) {
        struct lane *lane = &run->lanes[i];
        struct engine_verdict verdict;
        if (lane->is_lost || now(run) < timing->lost_at[i])
            continue;
        lock_quiet(run);
        if (!is_stopping(run)) {
            lane->is_lost = true;
            call(lane);
            status = drive_lose(run->training, i, now(run), &verdict);
            if (status == HYSGD_OK)
                status = act(run, &verdict, 0);
            serve(run, 0); /* what was delivered while the lock was free for work */
        }
        pthread_mutex_unlock(&run->lock);
    }
    return status;
}

static enum hysgd_status watch(struct threads_run *run) {
    double seconds = now(run);
    HYSGD_TRY(lose_workers(run));
    lock_draining(run);
    bool is_over = drive_is_over(run->training, seconds);
    bool evaluates = !is_over && drive_evaluation_is_due(run->training, seconds);
    bool saves = !is_over && drive_save_is_due(run->training, seconds);
    note_stop(run);
    pthread_mutex_unlock(&run->lock);
    if (evaluates)
        HYSGD_TRY(evaluate(run, seconds));
    return saves ? save(run, seconds) : HYSGD_OK;
}

/* Lets the computing workers begin, once all have their workspaces: the clock starts here. */
static void begin_clock(struct threads_run *run) {
    struct training *training = run->training;
    pthread_mutex_lock(&run->lock);
    clock_gettime(CLOCK_MONOTONIC, &run->origin);
    engine_restart(&training->engine);
    for (int i = 0; i < training->engine.released_count; i++) {
        struct lane *lane = &run->lanes[training->engine.released[i]];
        lane->version = training->setup->computes_gradients ? server_acquire(&training->server) : 0;
        lane->is_released = true;
        call(lane);
    }
    pthread_mutex_unlock(&run->lock);
}

static bool all_are_open(struct threads_run *run) {
    pthread_mutex_lock(&run->lock);
    bool are_open = run->opened == run->workers || is_stopping(run);
    pthread_mutex_unlock(&run->lock);
    return are_open;
}

static enum hysgd_status start_lanes(struct threads_run *run) {
    for (int i = 0; i < run->workers; i++) {
        struct lane *lane = &run->lanes[i];
        if (run->training->engine.workers[i].activity == ENGINE_LOST)
            lane->is_lost = true;
        atomic_fetch_add(&run->alive, 1);
        int fault = pthread_create(&lane->thread, NULL, lane_main, lane);
        if (fault != 0) {
            atomic_fetch_sub(&run->alive, 1);
            return hysgd_fail(HYSGD_FAILED, "thread %d of %d cannot be started: %s", i, run->workers,
                              strerror(fault));
        }
        lane->is_started = true;
    }
    return HYSGD_OK;
}

static void stop_lanes(struct threads_run *run) {
    atomic_store(&run->training->is_stopping, true);
    lock_draining(run);
    note_stop(run);
    call_all(run);
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
    while (!is_stopping(run)) {
        HYSGD_TRY(watch(run));
        tick(run);
    }
    return HYSGD_OK;
}

/* After the lanes have ended: the last evaluation and checkpoint. */
static enum hysgd_status conclude(struct threads_run *run) {
    struct training *training = run->training;
    if (drive_last_evaluation_is_due(training, run->stopped))
        HYSGD_TRY(evaluate(run, run->stopped));
    return drive_saves_at_end(training) ? save(run, run->stopped) : HYSGD_OK;
}

static int count_cores(void) {
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
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
    run->cores = count_cores();
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
        lock_draining(&run);
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
