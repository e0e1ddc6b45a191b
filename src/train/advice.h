/* SPDX-License-Identifier: Apache-2.0 */
/* What simulations of several policies over measured times found: which is best, by how much, how sure that is; as
 * a table, as JSON and as a picture. Runs nothing. */
#ifndef HYSGD_TRAIN_ADVICE_H
#define HYSGD_TRAIN_ADVICE_H

#include <stdio.h>

#include "base/status.h"

/* The lag of a gradient is how many others the parameters take after those that it was computed at, up to and with
 * its own update: (1 + staleness) * (gradients of an update) - 1, by the means of its worker and of the run. Where
 * gradients are mostly noise it does no harm, and gradients/s count (discount 0); without noise a step of many
 * gradients is no better than one of a single one, a late step is no step, and 1 + lag of them are worth one
 * (discount 1). */
enum advice_quantity {
    ADVICE_UPDATES,      /* per second */
    ADVICE_GRADIENTS,    /* applied, per second */
    ADVICE_USEFUL,       /* the same, each counting (1 + lag)^-discount */
    ADVICE_USEFUL_LEAST, /* the same with discount 1 */
    ADVICE_WAITING,      /* share of the workers' time, 0 to 1 */
    ADVICE_STALENESS,    /* mean over the applied gradients, in versions */
    ADVICE_TARGET,       /* seconds until the target was reached; NaN: it was not */
    ADVICE_LOSS,         /* on the test data, at the end */
    ADVICE_ACCURACY,     /* likewise, 0 to 1 */
    ADVICE_QUANTITIES
};

/* One simulation; NaN: does not exist. */
struct advice_sample {
    double values[ADVICE_QUANTITIES];
};

struct advice_policy {
    char *name;                    /* in the user's words; owned */
    char *fault;                   /* why it was left out, or NULL; owned */
    struct advice_sample *samples; /* [1 + replicates] over the times as they were measured, then over resampled
                                      ones; owned */
};

struct advice {
    struct advice_policy *policies; /* [count] owned */
    size_t count;
    size_t replicates;
    bool has_gradients; /* true: the best is the first at the target; false: it has the most useful gradients/s */
    double discount;
    char *target;            /* with gradients; owned, or NULL */
    char *source;            /* the file with the times; owned */
    char *recorded;          /* the policy of the recorded run, owned; NULL: unknown */
    double recorded_updates; /* per second, of the recorded run; NaN: unknown */
    int workers;
    uint64_t times;     /* gradients with a time */
    uint64_t estimated; /* of them, with an estimated one */
    uint64_t lost;      /* workers that left the recorded run */
    bool is_cut;        /* the log */
    double *scratch;    /* [1 + replicates] owned */
};

/* The policies and samples are made by the caller. */
void advice_fini(struct advice *advice);

/* A share of the replicates, an interval that holds 90 % of them, and the value over the times as measured. NaN:
 * not known. */
struct advice_estimate {
    double value, low, high;
};

struct advice_estimate advice_estimate(const struct advice *advice, size_t policy, enum advice_quantity quantity);

/* The policies that took part, the best first, into order_out [count]; returns how many there are. */
size_t advice_rank(const struct advice *advice, size_t *order_out);

/* How much better the first of two policies is than the second: 0.1 is 10 % more useful gradients a second, or 10 %
 * more speed to the target. */
struct advice_estimate advice_margin(const struct advice *advice, size_t first, size_t second);

/* The share of the replicates in which the policy is the best; NaN without replicates. */
double advice_best_share(const struct advice *advice, size_t policy);

/* The policy with the most of a quantity over the times as measured. There is one that took part. */
size_t advice_most(const struct advice *advice, enum advice_quantity quantity);

/* What the best has the most of: useful gradients/s, or 1 / seconds to the target; 0: the target was not reached.
 */
double advice_merit(const struct advice *advice, size_t policy);

/* HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status advice_print_text(const struct advice *advice, int columns, FILE *out);
HYSGD_MUST_CHECK enum hysgd_status advice_print_json(const struct advice *advice, FILE *out);

/* Writes one self-contained HTML file with the recommendation, a chart and the table. Written whole or not at all.
 */
HYSGD_MUST_CHECK enum hysgd_status advice_write_picture(const struct advice *advice, const char *path);

#endif
