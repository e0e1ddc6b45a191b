/* SPDX-License-Identifier: Apache-2.0 */
/* The same order of work for any number of threads: a scheduler's epoch is first played with a fixed number of
 * modelled threads, and then every row group and every column group is worked on in the order in which they came
 * there. Blocks that share nothing run at the same time, so the result has the same bits, whoever does the work. */
#ifndef HYSGD_LOWRANK_ORDERED_H
#define HYSGD_LOWRANK_ORDERED_H

#include "lowrank/scheduler.h"

/* The modelled threads: no more than this work at the same time for long. */
#define ORDERED_THREADS 16

/* The state of the table `ordered`. */
struct ordered {
    const struct scheduler_ops *played; /* set these two before init, which opens the scheduler */
    void *played_self;
    struct ordered_state *state;
};

/* A scheduler that is not listed: it is what deterministic=yes makes of one. */
extern const struct scheduler_ops scheduler_ordered;

#endif
