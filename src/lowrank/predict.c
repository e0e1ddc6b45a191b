/* SPDX-License-Identifier: Apache-2.0 */
/* Packing columns, choosing an instruction set, and predictions in plain C; see predict.h. */
#include "lowrank/predict.h"

#include <math.h>

#include "data/ratings.h"
#include "lowrank/kernels.h"

static void predict_plain(const struct factors *factors, const struct rating *ratings, uint64_t count, float *out) {
    for (uint64_t i = 0; i < count; i++)
        out[i] = factors_predict(factors, ratings[i].row, ratings[i].column);
}

static void score_plain(const struct scorer *scorer, const float *const *rows, const float *bases,
                        uint32_t row_count, float *scores_out) {
    for (uint32_t row = 0; row < row_count; row++)
        for (uint32_t column = 0; column < scorer->width; column++) {
            const float *packed = scorer->packed + (size_t)(column / FACTORS_LANES) * scorer->rank * FACTORS_LANES;
            float sum = scorer->biases[column];
            for (uint32_t d = 0; d < scorer->rank; d++)
                sum = fmaf(rows[row][d], packed[(size_t)d * FACTORS_LANES + column % FACTORS_LANES], sum);
            scores_out[(size_t)row * scorer->width + column] = sum + bases[row];
        }
}

void predict_ratings(const struct factors *factors, const struct rating *ratings, uint64_t count, float *out) {
#if defined(__x86_64__)
    const enum kernel_isa isa = kernel_best_isa();
    if (isa == KERNEL_AVX512)
        predict_avx512(factors, ratings, count, out);
    else if (isa == KERNEL_AVX2)
        predict_avx2(factors, ratings, count, out);
    else
#endif
        predict_plain(factors, ratings, count, out);
}

void scorer_run(const struct scorer *scorer, const float *const *rows, const float *bases, uint32_t row_count,
                float *scores_out) {
#if defined(__x86_64__)
    if (scorer->isa == KERNEL_AVX512)
        score_avx512(scorer, rows, bases, row_count, scores_out);
    else if (scorer->isa == KERNEL_AVX2)
        score_avx2(scorer, rows, bases, row_count, scores_out);
    else
#endif
        score_plain(scorer, rows, bases, row_count, scores_out);
}

static void pack(struct scorer *scorer, const struct factors *factors) {
    for (uint32_t column = 0; column < scorer->columns; column++) {
        const float *values = factors_column(factors, column);
        float *packed = scorer->packed + (size_t)(column / FACTORS_LANES) * scorer->rank * FACTORS_LANES;
        for (uint32_t d = 0; d < scorer->rank; d++)
            packed[(size_t)d * FACTORS_LANES + column % FACTORS_LANES] = values[d];
        scorer->biases[column] = factors->sides[SIDE_COLUMNS].extra[column].bias;
    }
}

enum hysgd_status scorer_init(struct scorer *scorer, const struct factors *factors, enum kernel_isa isa) {
    const uint32_t columns = factors->sides[SIDE_COLUMNS].count;
    *scorer = (struct scorer){.rank = factors->rank, .columns = columns};
    HYSGD_TRY(kernel_choose_isa(isa, &scorer->isa));
    if (columns > UINT32_MAX - FACTORS_LANES)
        return hysgd_fail(HYSGD_USAGE, "%u columns: expected at most %u", columns, UINT32_MAX - FACTORS_LANES);
    scorer->width = (columns + FACTORS_LANES - 1) / FACTORS_LANES * FACTORS_LANES;
    HYSGD_TRY(memory_alloc(scorer->width, sizeof *scorer->biases, &scorer->biases));
    HYSGD_TRY(memory_alloc((size_t)scorer->width * scorer->rank, sizeof *scorer->packed, &scorer->packed));
    pack(scorer, factors);
    return HYSGD_OK;
}

void scorer_fini(struct scorer *scorer) {
    memory_free(scorer->packed);
    memory_free(scorer->biases);
    *scorer = (struct scorer){0};
}
