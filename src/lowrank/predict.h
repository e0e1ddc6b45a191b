/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions in bulk: for a list of pairs, and of all columns for a few rows at a time. */
#ifndef HYSGD_LOWRANK_PREDICT_H
#define HYSGD_LOWRANK_PREDICT_H

#include "lowrank/kernel.h"

struct rating;

/* The predictions for `count` pairs, as factors_predict gives them, bit for bit, on any processor. The value of a
 * rating is not looked at. */
void predict_ratings(const struct factors *factors, const struct rating *ratings, uint64_t count, float *out);

/* The column factors laid out for scores of all columns; as large as they are. Does not follow later changes. */
struct scorer {
    uint32_t rank;
    uint32_t columns;
    uint32_t width; /* columns rounded up to FACTORS_LANES: a row of scores */
    float *packed;  /* [width / FACTORS_LANES][rank][FACTORS_LANES] */
    float *biases;  /* [width] */
    enum kernel_isa isa;
};

/* HYSGD_MEMORY. HYSGD_USAGE: the instruction set (KERNEL_BEST as a rule) is not there. Safe to fini when it fails.
 */
HYSGD_MUST_CHECK enum hysgd_status scorer_init(struct scorer *scorer, const struct factors *factors,
                                               enum kernel_isa isa);
void scorer_fini(struct scorer *scorer);

/* Rows that are best given at once, and the most. */
#define SCORER_ROWS 8

/* The scores of all columns for rows of factors ([rank] each) and their bases (mean + bias of the row):
 * scores_out [row_count][width], aligned to MEMORY_ALIGNMENT; what is past the last column has no meaning. The same
 * bits on any processor, however many rows there are; other than those of predict_ratings by rounding. Any thread
 * may call it. */
void scorer_run(const struct scorer *scorer, const float *const *rows, const float *bases, uint32_t row_count,
                float *scores_out);

#endif
