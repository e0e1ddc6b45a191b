/* SPDX-License-Identifier: Apache-2.0 */
/* What the data plug-ins of ratings share: the samples that other models see, and the options of the parts. */
#ifndef HYSGD_DATA_RATINGS_DATA_H
#define HYSGD_DATA_RATINGS_DATA_H

#include "data/ratings_split.h"

/* The first member of their states. */
struct ratings_data {
    struct ratings_split split;
};

/* `fini`, `describe` and `gather` of struct hysgd_data_ops. The two inputs of a sample hold the bits of the row and
 * of the column as uint32_t, its target is the value; validation samples belong to neither split. */
void ratings_data_fini(void *self);
void ratings_data_describe(const void *self, struct hysgd_data_shape *shape_out);
void ratings_data_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                         float *inputs, int32_t *labels, float *targets);

/* How the parts are made. */
struct ratings_parts {
    char *split;
    double validation;
    int64_t seed; /* 0: that of the run */
};

/* Their help, for the option tables. */
#define RATINGS_SPLIT_HELP                                                                                         \
    "the test part: none, fraction:SHARE (drawn), time:SHARE (the latest), leave-one-out (of each user one, "      \
    "drawn), leave-one-out:latest, kfold:FOLDS/FOLD; auto: fraction:0.1, or none where a file has it"
#define RATINGS_VALIDATION_HELP                                                                                    \
    "share of the other ratings that is kept apart for validation: drawn, or with split=time the latest"
#define RATINGS_SEED_HELP       "names what is drawn, for runs that differ in all but that; 0: the seed of the run"
#define RATINGS_MOST_VALIDATION 0.9

/* The plan of the options; `has_test`: there is a test file. HYSGD_USAGE begins with `what`. */
HYSGD_MUST_CHECK enum hysgd_status ratings_parts_plan(const struct ratings_parts *parts, const char *what,
                                                      bool has_test, struct ratings_split_plan *plan_out);

uint64_t ratings_parts_seed(const struct ratings_parts *parts, uint64_t run_seed);

#endif
