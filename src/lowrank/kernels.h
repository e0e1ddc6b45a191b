/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels behind kernel.h, one file for each instruction set, and what they share. */
#ifndef HYSGD_LOWRANK_KERNELS_H
#define HYSGD_LOWRANK_KERNELS_H

#include "base/random.h"
#include "lowrank/loss.h"
#include "lowrank/predict.h"

/* Factors of adagrad2's first group. */
#define FIRST_GROUP 8

/* What a factor's squared gradient counts in the mean of adagrad2's group 0 (the first factors) or 1 (the others).
 */
static inline float group_share(uint32_t rank, int group, bool is_frozen) {
    uint32_t first = rank < FIRST_GROUP ? rank : FIRST_GROUP;
    uint32_t size = group == 0 ? first : is_frozen ? 0 : rank - first;
    return size > 0 ? 1.0f / (float)size : 0;
}

/* Everything, one factor after the other. */
kernel_function kernel_run_plain;

/* The same bits, only on processors that have the instructions. */
kernel_function kernel_run_avx2, kernel_run_avx512;

/* Behind predict.h. */
typedef void predict_function(const struct factors *factors, const struct rating *ratings, uint64_t count,
                              float *out);
typedef void score_function(const struct scorer *scorer, const float *const *rows, const float *bases,
                            uint32_t row_count, float *scores_out);
predict_function predict_avx2, predict_avx512;
score_function score_avx2, score_avx512;

/* `isa`, or the best there is for KERNEL_BEST. HYSGD_USAGE: it is not there. */
HYSGD_MUST_CHECK enum hysgd_status kernel_choose_isa(enum kernel_isa isa, enum kernel_isa *isa_out);

/* Drawing rows or columns for one tile. */
struct draw {
    struct random random;
    uint32_t first, count;
};

static inline void draw_init(struct draw *draw, const struct tile *tile, const struct kernel_step *step) {
    random_init(&draw->random, step->seed, step->epoch, RANDOM_NEGATIVE,
                (uint64_t)tile->first_row << 32 | tile->first_column);
    draw->first = step->first_drawn;
    draw->count = step->drawn_count;
}

static inline uint32_t draw_any(struct draw *draw) {
    return draw->first + (uint32_t)random_below(&draw->random, draw->count);
}

/* Any but `taken`; `taken` itself where there is no other. */
static inline uint32_t draw_other(struct draw *draw, uint32_t taken) {
    bool is_inside = taken - draw->first < draw->count;
    if (!is_inside)
        return draw_any(draw);
    if (draw->count == 1)
        return taken;
    uint32_t drawn = draw->first + (uint32_t)random_below(&draw->random, draw->count - 1);
    return drawn + (drawn >= taken);
}

#endif
