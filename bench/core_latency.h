/* SPDX-License-Identifier: Apache-2.0 */
/* Time that a cache line takes from one core to another: what two threads pay for talking to each other. On virtual
 * machines it can change severalfold from one minute to the next, so it is measured beside every figure of two
 * threads. */
#ifndef HYSGD_BENCH_CORE_LATENCY_H
#define HYSGD_BENCH_CORE_LATENCY_H

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

/* From here on two cores count as far from each other. */
#define CORE_LATENCY_FAR 100.0

#define CORE_LATENCY_TRIPS  2000
#define CORE_LATENCY_TRIALS 50

static inline double core_latency_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One line that both threads write in turn: `ball` counts the passes. */
struct core_latency_game {
    _Alignas(128) atomic_int ball;
    _Alignas(128) int cores[2];
};

static inline void core_latency_pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set,
                                 &set); /* the caller has seen the core in its own set */
}

/* Passes the ball on each time it holds `parity`; gives way to others when it does not come for long. */
static inline void core_latency_play(struct core_latency_game *game, int parity) {
    for (int pass = parity; pass < 2 * CORE_LATENCY_TRIPS; pass += 2) {
        for (unsigned i = 0; atomic_load_explicit(&game->ball, memory_order_acquire) != pass; i++)
            if (i > 100000)
                sched_yield();
        atomic_store_explicit(&game->ball, pass + 1, memory_order_release);
    }
}

static inline void *core_latency_partner(void *argument) {
    struct core_latency_game *game = argument;
    core_latency_pin(game->cores[1]);
    core_latency_play(game, 1);
    return NULL;
}

static inline void *core_latency_caller(void *argument) {
    struct core_latency_game *game = argument;
    core_latency_pin(game->cores[0]);
    core_latency_play(game, 0);
    return NULL;
}

/* Nanoseconds one way between two cores; the best of several trials, as others on the machine only ever add. NaN
 * where threads cannot be had. */
static inline double core_latency_between(int first, int second) {
    double best = NAN;
    for (int trial = 0; trial < CORE_LATENCY_TRIALS; trial++) {
        struct core_latency_game game = {.cores = {first, second}};
        pthread_t players[2];
        double began = core_latency_now();
        if (pthread_create(&players[1], NULL, core_latency_partner, &game) != 0)
            return NAN;
        if (pthread_create(&players[0], NULL, core_latency_caller, &game) != 0)
            core_latency_caller(&game); /* in this thread then */
        else
            pthread_join(players[0], NULL);
        pthread_join(players[1], NULL);
        double nanoseconds = (core_latency_now() - began) * 1e9 / (2.0 * CORE_LATENCY_TRIPS);
        best = fmin(isnan(best) ? nanoseconds : best, nanoseconds);
    }
    return best;
}

/* Between the first two cores that this process may use. NaN when there is only one. */
static inline double core_latency(void) {
    cpu_set_t allowed;
    int cores[2], count = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return NAN;
    for (int core = 0; core < CPU_SETSIZE && count < 2; core++)
        if (CPU_ISSET(core, &allowed))
            cores[count++] = core;
    return count < 2 ? NAN : core_latency_between(cores[0], cores[1]);
}

#endif
