/* SPDX-License-Identifier: Apache-2.0 */
/* Folding in: factors for a row (or column) that training has not seen, from its ratings, with the other side as it
 * is. */
#ifndef HYSGD_LOWRANK_FOLD_H
#define HYSGD_LOWRANK_FOLD_H

#include "lowrank/kernel.h"

/* A rating of the new row: the column and the value (or the other way round). */
struct fold_rating {
    uint32_t other;
    float value;
};

struct fold_setup {
    const struct kernel_setup *kernel; /* loss, penalties and biases of the training */
    enum factors_side_name side;       /* SIDE_ROWS: a new row is folded in */
    /* Of the passes, where there are any. */
    float rate;
    uint32_t epochs; /* 1 to 2^24 - 1 */
    uint64_t seed;
};

/* Writes the factors of the new row to values_out [stride], padding included, and its bias to bias_out (0 without
 * biases). With the squared loss, without l1, negatives and signs, they are the minimum of
 *     sum over its ratings of ((r - s)^2 + l2 |p|^2 + bias_l2 b^2),
 * which training approaches, by Cholesky's method; otherwise they come from `epochs` passes of adagrad2 over the
 * ratings in random order. Without ratings all is 0. HYSGD_USAGE: a rating of an unknown column, or a row by
 * FIT_BPR_COLUMNS or a column by FIT_BPR_ROWS, which have no others to draw; HYSGD_MEMORY; HYSGD_DIVERGED: the
 * factors are not finite. On failure the outputs are unchanged. */
HYSGD_MUST_CHECK enum hysgd_status fold_in(const struct fold_setup *setup, const struct factors *factors,
                                           const struct fold_rating *ratings, uint32_t count, float *values_out,
                                           float *bias_out);

#endif
