/* SPDX-License-Identifier: Apache-2.0 */
/* How well scores put the columns that a row chose in the held-out part before those that it did not: the area
 * under the ROC curve, and precision, recall, NDCG and hit rate of the first k, means over the rows that can be
 * judged. */
#ifndef HYSGD_LOWRANK_RANKING_H
#define HYSGD_LOWRANK_RANKING_H

#include "base/status.h"

#define RANKING_MOST_K 1000

/* Sums over `rows`; a reader divides. Mergeable: the sums of two parts add up to those of both. */
struct ranking {
    uint64_t rows;                        /* with at least one relevant column and one other candidate */
    double auc;                           /* that a relevant column has a higher score than another one; ties 1/2 */
    double precision, recall, ndcg, hits; /* of the first k: relevant / k, relevant / all relevant, gains with
                                             1 / log2(1 + place) over the best possible ones, any at all */
};

/* What one row is judged by. Column lists are ascending without repetition; a column that was seen is no candidate,
 * even if it is relevant too. */
struct ranking_row {
    const float *scores;  /* [count]; NaN counts as -INFINITY */
    uint32_t count;       /* columns */
    const uint32_t *seen; /* [seen_count] in the training part */
    uint32_t seen_count;
    const uint32_t *relevant; /* [relevant_count] in the held-out part */
    uint32_t relevant_count;
};

/* Adds the row to the sums; of equal scores the column with the lower number comes first. `k` is 1 to
 * RANKING_MOST_K; `scratch` [relevant_count] floats are overwritten. */
void ranking_add(struct ranking *ranking, const struct ranking_row *row, uint32_t k, float *scratch);
void ranking_merge(struct ranking *ranking, const struct ranking *other);

/* The means, NaN without rows. */
struct ranking ranking_mean(const struct ranking *ranking);

/* One of the first k. */
struct ranking_entry {
    uint32_t column;
    float score;
};

/* Writes the k candidates with the highest scores, the best first, to top_out [k]; returns how many there are:
 * fewer than k where there are fewer candidates. `row->relevant` is not looked at. */
uint32_t ranking_top(const struct ranking_row *row, uint32_t k, struct ranking_entry *top_out);

#endif
