/* SPDX-License-Identifier: Apache-2.0 */
/* What a comparison found: the results of every policy over several seeds, their means and standard deviations, as
 * a table, as CSV and as JSON. Runs nothing. */
#ifndef HYSGD_TRAIN_OUTCOME_H
#define HYSGD_TRAIN_OUTCOME_H

#include <stdio.h>

#include "base/status.h"

enum outcome_end {
    OUTCOME_MISSING, /* not run, or interrupted */
    OUTCOME_FINISHED,
    OUTCOME_DIVERGED
};

/* What there is of a run that trains factors only. */
struct outcome_fit {
    double epochs, mae, ratings_per_second, scheduling_share, imbalance; /* NaN: not known */
};

/* The runs of one policy, or of one scheduler. */
struct outcome {
    char *policy;                 /* in the user's words; owned */
    bool is_scheduled;            /* it is a scheduler */
    const char *loss_name;        /* what the test losses are; static; NULL: the model's loss, and no fits */
    struct outcome_fit *fits;     /* [repeat] owned */
    size_t repeat;                /* seeds */
    enum outcome_end *ends;       /* [repeat] owned */
    struct hysgd_result *results; /* [repeat] of those that are finished; owned */
};

/* HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status outcome_init(struct outcome *outcome, const char *policy, size_t repeat);
void outcome_fini(struct outcome *outcome);

/* How many of the runs ended in this way. */
size_t outcome_count(const struct outcome *outcome, enum outcome_end end);

/* A table fitted to `columns`: columns of less importance are left out where the terminal is narrow. HYSGD_MEMORY.
 */
HYSGD_MUST_CHECK enum hysgd_status outcomes_print_text(const struct outcome *outcomes, size_t count, int columns,
                                                       FILE *out);

/* A row per policy: for each quantity the mean and the standard deviation over the finished runs. */
void outcomes_print_csv(const struct outcome *outcomes, size_t count, FILE *out);
HYSGD_MUST_CHECK enum hysgd_status outcomes_print_json(const struct outcome *outcomes, size_t count, FILE *out);

#endif
