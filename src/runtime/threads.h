/* SPDX-License-Identifier: Apache-2.0 */
/* The threads runtime inside: the calling thread (threads.c), the workers' threads (threads_lane.c), and what both
 * do under the one lock, giving verdicts and working on the vectors (threads_serve.c). */
#ifndef HYSGD_RUNTIME_THREADS_H
#define HYSGD_RUNTIME_THREADS_H

#include <time.h>

#include "runtime/drive.h"

enum pin_choice { PIN_AUTO, PIN_YES, PIN_NO };

/* The options. */
struct threads {
    int pin;     /* enum pin_choice */
    double spin; /* seconds */
};

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
    bool will_be_lost, will_join; /* it is to leave, and to join, at moments that are still to come */
    atomic_bool has_ended;        /* the thread of one that left: it can be joined */
    uint64_t helped;              /* the latest job that it took shards of */
    atomic_bool is_cancelled;     /* the policy has no more use for what it computes */
    bool has_given_up;            /* its latest gradient: that is what it delivers */
    double begun, gives_up;       /* its latest gradient: when, and when its patience ends; INFINITY: never */
    double compute_seconds, transit_seconds, delivered;
    double data_seconds; /* of compute_seconds */
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
    int *queue, queue_first, queue_count; /* [workers] ring: who has delivered or given up, without a verdict */
    atomic_bool is_wanted; /* the calling thread wants the lock while nothing is worked on: no verdicts meanwhile */
    bool is_busy;          /* vectors are worked on, or the state is being saved: no verdicts meanwhile */
    bool has_work;         /* shards may be left to take */
    uint64_t job;          /* number of the present or latest work */
    atomic_int helpers;    /* lanes inside server_help; raised under the lock */
    double stopped;        /* the clock when the run stopped; NaN: it runs */
};

/* Seconds on the run's clock. Lock held, or between the reading and the delivery of a version. */
double threads_now(const struct threads_run *run);

static inline bool threads_is_stopping(const struct threads_run *run) {
    return atomic_load_explicit(&run->training->is_stopping, memory_order_acquire);
}

/* Lets a processor that waits for another one save its strength. */
static inline void threads_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Takes the lock in the calling thread, which drains the recorder meanwhile: whoever holds the lock may be waiting
 * for that. */
void threads_lock_draining(struct threads_run *run);

/* Makes a lane look at what there is for it; all lanes. Lock held. */
void lane_call(struct lane *lane);
void lane_call_all(struct threads_run *run);

/* Notes when the run stopped, once, and tells everyone. Lock held. */
void threads_note_stop(struct threads_run *run);

/* Notes a failure and stops. Lock held. */
void threads_fail(struct threads_run *run, enum hysgd_status status);

/* Lets the workers go that the engine has released. Lock held, no update under way. */
void threads_release(struct threads_run *run);

/* Does what a verdict asks for and lets the released workers go; `home`: the worker whose part of the vectors comes
 * first. Lock held before and after, not while vectors are worked on. */
HYSGD_MUST_CHECK enum hysgd_status threads_act(struct threads_run *run, const struct engine_verdict *verdict,
                                               int home);

/* Whether there are gradients without a verdict, and nobody keeps them waiting. Lock held. */
bool threads_may_serve(const struct threads_run *run);

/* Gives verdicts on the delivered gradients, in the order of their arrival, unless someone else is at it. Lock held
 * before and after. */
void threads_serve(struct threads_run *run, int home);

/* A worker's thread; the argument is its struct lane. */
void *lane_main(void *argument);

#endif
