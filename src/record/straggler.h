/* SPDX-License-Identifier: Apache-2.0 */
/* The worker that holds the others up, if one does, and why. */
#ifndef HYSGD_RECORD_STRAGGLER_H
#define HYSGD_RECORD_STRAGGLER_H

#include "record/event.h"

enum straggler_cause {
    STRAGGLER_COMPUTE, /* the gradient takes it longer than others */
    STRAGGLER_NETWORK, /* its gradients are on the way for longer */
    STRAGGLER_DATA,    /* its samples take longer to get */
    STRAGGLER_CHANCE   /* on average it is no slower than the others: its times vary */
};

/* Means are per gradient received. The seconds that data take are part of the compute time, and taken from it here.
 */
struct straggler {
    int worker;        /* -1: nobody stands out */
    double share;      /* of the waiting of all workers, that it caused; 0 to 1 */
    double last_share; /* of the updates, that somebody waited for it to complete; 0 to 1 */
    double seconds;    /* of waiting, that it caused */
    enum straggler_cause cause;
    double
        ratio; /* of its mean for that cause to the mean of the others; INFINITY where that is 0; NaN for chance */
};

/* Of all waiting: what a worker must have caused more than, to be named. */
#define STRAGGLER_SHARE 0.5

/* Names the worker that caused the most waiting: when that is more than STRAGGLER_SHARE of all waiting, the workers
 * wait for 5 % of their time at least, and it is twice what each would cause if all were equal (nine tenths of all
 * between two workers). The cause is what exceeds the others' mean by the most seconds. */
struct straggler straggler_find(const struct event_summary *summary);

/* "compute", "network", "data", "chance". */
const char *straggler_cause_name(enum straggler_cause cause);

#endif
