/* SPDX-License-Identifier: Apache-2.0 */
/* Schedulers in virtual time: modelled threads of unequal speeds ask for blocks, and every question, block and wait
 * is charged to a clock of its own. Deterministic. */
#ifndef HYSGD_LOWRANK_SIMULATE_H
#define HYSGD_LOWRANK_SIMULATE_H

#include "lowrank/scheduler.h"

struct simulate_setup {
    const struct scheduler_ops *ops;
    void *self;                        /* of the scheduler; its init has been called with `grid` */
    const struct scheduler_grid *grid; /* its threads are the modelled ones */
    const double *speeds;              /* [threads] ratings a second, above 0; NULL: 1 each */
    double request_seconds; /* a question with its answer; where the scheduler is_serial, one at a time */
};

/* Sums over threads, in seconds: threads * seconds = busy + scheduling + waiting. */
struct simulate_account {
    double seconds; /* of the epoch */
    double busy, scheduling, waiting;
    uint64_t requests, tasks;
};

/* A thread's part in it. */
struct simulate_lane {
    uint64_t visits; /* of ratings */
    double busy;
};

struct simulation;

/* Room for a simulation; the setup's parts are kept by the caller. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status simulation_alloc(const struct simulate_setup *setup,
                                                    struct simulation **simulation_out);
void simulation_free(struct simulation *simulation);

/* Simulates an epoch, for which the scheduler's begin has been called. `visit` is called for each task when its
 * thread begins it, in the order of the clock: at any time after all tasks that used its groups before have ended.
 * False ends the epoch at once. HYSGD_FAILED when all wait for each other. */
HYSGD_MUST_CHECK enum hysgd_status simulate_epoch(struct simulation *simulation,
                                                  bool (*visit)(void *context, const struct scheduler_task *task),
                                                  void *context, struct simulate_account *account_out);

/* The thread's part in the latest epoch. */
struct simulate_lane simulation_lane(const struct simulation *simulation, int thread);

#endif
