/* SPDX-License-Identifier: Apache-2.0 */
/* Which thread works on which block next. A scheduler sees a grid of blocks and requests of threads, and never a
 * rating, a factor or a clock; so each works in threads and in virtual time alike. */
#ifndef HYSGD_LOWRANK_SCHEDULER_H
#define HYSGD_LOWRANK_SCHEDULER_H

#include "base/plugin.h"

/* Which factors the work on a block changes. */
enum scheduler_sides { SCHEDULER_BOTH, SCHEDULER_ROWS, SCHEDULER_COLUMNS };

/* A block to work on. */
struct scheduler_task {
    int row, column; /* groups */
    enum scheduler_sides sides;
};

enum scheduler_answer {
    SCHEDULER_TASK, /* work on the task */
    SCHEDULER_WAIT, /* there is none for the thread until another is done with its own */
    SCHEDULER_OVER  /* all tasks of this epoch have been handed out */
};

struct scheduler_grid {
    int threads;
    int rows, columns;      /* groups */
    const uint64_t *counts; /* [rows][columns] ratings of each block; the caller keeps them while it schedules */
    uint64_t seed;
};

/* In each epoch every block is handed out exactly once (passes: once for each side), and no two threads hold blocks
 * of which one changes what the other uses, unless may_conflict. What it does in an epoch depends on the grid, the
 * epoch and the requests of that epoch only, so that a run can be taken up after any epoch. */
struct scheduler_ops {
    struct hysgd_plugin about;
    bool may_conflict; /* threads change the same factors at the same time */
    bool is_serial;    /* requests are answered one at a time, under a lock */
    int passes;        /* 1, or 2: each block once for the rows and once for the columns */

    /* Groups a side for so many threads and ratings, when the user states none. */
    int (*groups)(const void *self, int threads, uint64_t count);

    /* Prepares for a grid. HYSGD_USAGE when the options contradict it, HYSGD_MEMORY. Leaves a state that fini
     * accepts, also when it fails. */
    enum hysgd_status (*init)(void *self, const struct scheduler_grid *grid);
    void (*fini)(void *self);

    /* An epoch begins (counted from 1); no thread is in next or holds a task. */
    void (*begin)(void *self, uint64_t epoch);

    /* Called by any thread at any time in an epoch: never blocks for longer than another thread is in next or done.
     * The thread holds no task. */
    enum scheduler_answer (*next)(void *self, int thread, struct scheduler_task *task_out);

    /* The thread has finished with its task; what it wrote is visible to whoever gets the block's groups next. */
    void (*done)(void *self, int thread, const struct scheduler_task *task);
};

extern const struct plugin_list scheduler_list;

static inline const struct scheduler_ops *scheduler_ops(const struct plugin *scheduler) {
    return (const struct scheduler_ops *)scheduler->ops;
}

#endif
