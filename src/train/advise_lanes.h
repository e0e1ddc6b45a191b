/* SPDX-License-Identifier: Apache-2.0 */
/* The simulations of advise, several at a time. Shared by advise.c and advise_lanes.c only. */
#ifndef HYSGD_TRAIN_ADVISE_LANES_H
#define HYSGD_TRAIN_ADVISE_LANES_H

#include <stdatomic.h>

#include "train/advise.h"
#include "train/run.h"
#include "train/times.h"

#define ADVISE_MOST_LANES 64

struct advise_own {
    char *policy; /* not used: policies are collected */
    bool true_gradients;
    int64_t replicates;
    double discount;
    char *report;
};

struct advise {
    struct description description; /* what all simulations have in common */
    struct advise_own own;
    struct times times;
    struct advice advice;
    FILE *progress;            /* NULL: nobody is told */
    struct own_plugins shared; /* the data, open and ready, where there are gradients */
    bool data_is_ready;        /* its init has been called */
    struct stopper stoppers[ADVISE_MOST_LANES];
    atomic_bool is_stopping;
};

/* Fills the samples of every policy that is not left out, and leaves out those whose simulation fails.
 * HYSGD_MEMORY, HYSGD_INTERRUPTED; HYSGD_USAGE and HYSGD_INPUT for a fault of the job. */
HYSGD_MUST_CHECK enum hysgd_status advise_simulate(struct advise *advise);

#endif
