/* SPDX-License-Identifier: Apache-2.0 */
/* Training over blocks: epochs in which a scheduler hands every block to a thread once. Knows threads, clocks and
 * the account of an epoch; what is done with a tile is the caller's (a kernel's), and so is when to stop. */
#ifndef HYSGD_LOWRANK_FACTORIZE_H
#define HYSGD_LOWRANK_FACTORIZE_H

#include <stdatomic.h>

#include "lowrank/blocks.h"
#include "lowrank/scheduler.h"
#include "lowrank/team.h"

/* A thread's part in an epoch. */
struct factorize_lane {
    uint64_t visits;     /* of ratings */
    double busy_seconds; /* in the kernels */
};

/* The account of an epoch. Sums of seconds are over all threads: threads * seconds = busy + scheduling + waiting.
 */
struct factorize_epoch {
    int epoch;                 /* from 1 */
    uint64_t visits;           /* ratings visited; checked to be each once (for passes = 2, once for each side) */
    uint64_t tasks;            /* blocks handed out, the empty ones too */
    uint64_t requests;         /* questions to the scheduler */
    double loss;               /* sum over the ratings of the loss before their step */
    double seconds;            /* of this epoch: real, or modelled in virtual time */
    double total_seconds;      /* of all epochs of this call so far, without the work of the callbacks */
    double busy_seconds;       /* in the kernels */
    double scheduling_seconds; /* in the scheduler; in virtual time, as modelled */
    double waiting_seconds;    /* for a block, or for the end of the epoch */
    const struct factorize_lane *lanes; /* [lane_count] of the threads, or of the modelled ones */
    int lane_count;
};

/* What is done in an epoch. */
struct factorize_work {
    /* An epoch begins; called by the calling thread while the others rest. NULL: nothing to do. */
    void (*begin)(void *context, int epoch);

    /* Visits the ratings of a tile of the task's block once, in the order of its cells, and returns the sum of
     * their losses before each step. Called by several threads at once (`thread`: of the team), on blocks that
     * share nothing that is changed (task->sides), unless the scheduler says may_conflict. */
    double (*visit)(void *context, const struct tile *tile, const struct scheduler_task *task, int thread);

    /* An epoch is over; called by the calling thread while the others rest, which it may call to work by team_run.
     * Sets *stops_out to end the training. NULL: nothing to do. A failure ends the training and is passed on. */
    enum hysgd_status (*end)(void *context, const struct factorize_epoch *epoch, bool *stops_out);
    void *context;
};

/* Modelled threads instead of real ones: the same scheduler, the true factors, and a clock that counts ratings. */
struct factorize_virtual {
    int threads;
    const double *speeds;   /* [threads] ratings a second, above 0 */
    double request_seconds; /* what a question to the scheduler takes; one at a time where it is_serial */
};

struct factorize_setup {
    struct blocks *blocks;
    struct plugin *scheduler; /* opened from scheduler_list; its init is called here */
    struct team *team;        /* the threads; in virtual time one is enough */
    int first_epoch;          /* 1, or where a run is taken up */
    int last_epoch;           /* at most */
    uint64_t seed;
    bool is_deterministic;                        /* the same bits for any number of threads */
    const struct factorize_virtual *virtual_time; /* NULL: real threads */
    struct factorize_work work;
    const atomic_bool *is_stopping; /* set from outside: ends after the present epoch; or NULL */
};

/* Groups a side for blocks_setup: what the scheduler wants for this many threads, or, when deterministic, a number
 * that does not depend on them; never more than there are rows or columns. */
int factorize_groups(const struct plugin *scheduler, int threads, bool is_deterministic, uint64_t count,
                     uint32_t least_side);

/* Trains. HYSGD_DIVERGED when a loss is not a finite number (says in which epoch), HYSGD_INTERRUPTED when
 * is_stopping ended it, HYSGD_MEMORY, HYSGD_USAGE of the scheduler, and what `end` returns. */
HYSGD_MUST_CHECK enum hysgd_status factorize(const struct factorize_setup *setup);

#endif
