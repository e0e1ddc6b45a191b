/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting ratings into the part to train on, that to validate with, and that to test with. */
#ifndef HYSGD_DATA_RATINGS_SPLIT_H
#define HYSGD_DATA_RATINGS_SPLIT_H

#include "data/ratings.h"

enum ratings_split_kind {
    RATINGS_SPLIT_NONE,         /* no test part */
    RATINGS_SPLIT_FRACTION,     /* each rating with the probability `share` */
    RATINGS_SPLIT_TIME,         /* the share of ratings given last */
    RATINGS_SPLIT_LEAVE_ONE,    /* one rating, drawn, of each user who has two or more */
    RATINGS_SPLIT_LEAVE_LATEST, /* the one given last */
    RATINGS_SPLIT_FOLD          /* one of `folds` parts of about equal size */
};

struct ratings_split_plan {
    enum ratings_split_kind kind;
    double share; /* of the ratings in the test part; above 0 and below 1 */
    int folds, fold;
};

/* Reads none, fraction:SHARE, time:SHARE, leave-one-out, leave-one-out:latest or kfold:FOLDS/FOLD, with folds
 * counted from 0. HYSGD_USAGE begins with `what`. */
HYSGD_MUST_CHECK enum hysgd_status ratings_split_parse(const char *what, const char *text,
                                                       struct ratings_split_plan *plan_out);

/* Whether time stamps are needed. */
bool ratings_split_wants_times(const struct ratings_split_plan *plan);

/* Reorders split->all so that its parts follow each other, and describes them. The test part are the entries from
 * `test_first` on (the plan's kind is then none), or what the plan says. `validation` is the share of the others in
 * the validation part, 0 to below 1: the latest with RATINGS_SPLIT_TIME, else drawn. The same seed draws the same.
 * Time stamps are freed. HYSGD_MEMORY; HYSGD_INPUT, which begins with `name`, when nothing is left to train on. */
HYSGD_MUST_CHECK enum hysgd_status ratings_split_make(struct ratings_split *split,
                                                      const struct ratings_split_plan *plan, uint64_t test_first,
                                                      double validation, uint64_t seed, const char *name);

#endif
