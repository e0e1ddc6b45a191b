/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions over vectors: of pairs in the order of factors_predict, and of all columns for a few rows, where a
 * vector holds neighbouring columns. For kernel_vector.h, which says what must be defined before. */
#ifndef HYSGD_LOWRANK_KERNEL_VECTOR_PREDICT_H
#define HYSGD_LOWRANK_KERNEL_VECTOR_PREDICT_H

#include "data/ratings.h"
#include "lowrank/kernel_vector_step.h"
#include "lowrank/predict.h"

/* Pairs between a pair and the factors asked for ahead of it: these come from memory, not from a cache. */
#define PREDICT_AHEAD 8

INLINE void prefetch_pair(const struct factors *factors, const struct rating *rating) {
    const float *p = factors_row(factors, rating->row), *q = factors_column(factors, rating->column);
    prefetch_each(p, factors->stride);
    prefetch_each(q, factors->stride);
    _mm_prefetch((const char *)&factors->sides[SIDE_ROWS].extra[rating->row], _MM_HINT_T0);
    _mm_prefetch((const char *)&factors->sides[SIDE_COLUMNS].extra[rating->column], _MM_HINT_T0);
}

INLINE float predict_pair(const struct factors *factors, uint32_t row, uint32_t column) {
    const float *p = factors_row(factors, row), *q = factors_column(factors, column);
    lanes sum = lanes_mul(lanes_load(p), lanes_load(q));
    for (uint32_t d = FACTORS_LANES; d < factors->stride; d += FACTORS_LANES)
        sum = lanes_add(sum, lanes_mul(lanes_load(p + d), lanes_load(q + d)));
    float base = factors->mean + factors->sides[SIDE_ROWS].extra[row].bias;
    return base + factors->sides[SIDE_COLUMNS].extra[column].bias + lanes_fold(sum);
}

INLINE void predict_all(const struct factors *factors, const struct rating *ratings, uint64_t count, float *out) {
    for (uint64_t i = 0; i < count; i++) {
        prefetch_pair(factors, &ratings[i + PREDICT_AHEAD < count ? i + PREDICT_AHEAD : i]);
        out[i] = predict_pair(factors, ratings[i].row, ratings[i].column);
    }
}

/* Scores of `chunks` vectors of columns for `row_count` rows, both known when this is compiled. */
INLINE void score_block(const struct scorer *scorer, const float *const *rows, const float *bases,
                        const uint32_t row_count, size_t first, const uint32_t chunks, float *scores_out) {
    lanes sums[SCORE_ROWS][SCORE_CHUNKS];
    const float *packed[SCORE_CHUNKS];
    for (uint32_t c = 0; c < chunks; c++) {
        packed[c] = scorer->packed + (first + c) * scorer->rank * FACTORS_LANES;
        for (uint32_t r = 0; r < row_count; r++)
            sums[r][c] = load_at(scorer->biases, (uint32_t)(first + c));
    }
    for (size_t d = 0; d < scorer->rank; d++)
        for (uint32_t c = 0; c < chunks; c++) {
            const lanes values = lanes_load(packed[c] + d * FACTORS_LANES);
            for (uint32_t r = 0; r < row_count; r++)
                sums[r][c] = lanes_fma(lanes_all(rows[r][d]), values, sums[r][c]);
        }
    for (uint32_t r = 0; r < row_count; r++)
        for (uint32_t c = 0; c < chunks; c++)
            lanes_store(scores_out + r * (size_t)scorer->width + (first + c) * FACTORS_LANES,
                        lanes_add(sums[r][c], lanes_all(bases[r])));
}

INLINE void score_rows(const struct scorer *scorer, const float *const *rows, const float *bases,
                       const uint32_t row_count, float *scores_out) {
    const size_t end = scorer->width / FACTORS_LANES;
    size_t chunk = 0;
    for (; chunk + SCORE_CHUNKS <= end; chunk += SCORE_CHUNKS)
        score_block(scorer, rows, bases, row_count, chunk, SCORE_CHUNKS, scores_out);
    for (; chunk < end; chunk++)
        score_block(scorer, rows, bases, row_count, chunk, 1, scores_out);
}

INLINE void score_all(const struct scorer *scorer, const float *const *rows, const float *bases, uint32_t row_count,
                      float *scores_out) {
    uint32_t row = 0;
    for (; row + SCORE_ROWS <= row_count; row += SCORE_ROWS)
        score_rows(scorer, rows + row, bases + row, SCORE_ROWS, scores_out + (size_t)row * scorer->width);
    for (; row < row_count; row++)
        score_rows(scorer, rows + row, bases + row, 1, scores_out + (size_t)row * scorer->width);
}

#endif
