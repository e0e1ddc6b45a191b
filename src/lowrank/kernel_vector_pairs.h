/* SPDX-License-Identifier: Apache-2.0 */
/* The vector kernels of pairs (BPR): a rating's row and column, and another row or column drawn at random. For
 * kernel_vector.h, which says what must be defined before. */
#ifndef HYSGD_LOWRANK_KERNEL_VECTOR_PAIRS_H
#define HYSGD_LOWRANK_KERNEL_VECTOR_PAIRS_H

#include "lowrank/kernel_vector_step.h"

/* One of the three at work: its rates, and its squared gradients so far. */
struct mover {
    const struct side *side;
    float rates[2];
    lanes first, others;
};

INLINE struct mover mover_at(const struct visit *visit, const struct side *side, const struct mode mode) {
    const float rate = visit->step->rate;
    struct mover mover = {side, {rate, rate}, lanes_all(0), lanes_all(0)};
    for (int g = 0; g < 2 && mode.rule == RULE_ADAGRAD2; g++)
        mover.rates[g] = (g == 1 && visit->step->is_frozen ? 0 : rate) / sqrtf(side->extra->sums[g]);
    return mover;
}

INLINE void mover_move(const struct visit *visit, struct mover *mover, uint32_t chunk, lanes g,
                       const struct mode mode) {
    if (chunk == 0)
        mover->first = lanes_mul(g, g);
    else
        mover->others = lanes_fma(g, g, mover->others);
    const __m128 rates = _mm_setr_ps(mover->rates[0], mover->rates[1], 0, 0);
    if (!mover->side->is_fixed)
        move(visit, mover->side, chunk, chunk == 0 ? lanes_pick(rates, 0, 1) : lanes_pick(rates, 1, 1), g, mode);
}

INLINE void mover_end(const struct visit *visit, const struct mover *mover, const struct mode mode) {
    __m128 group[2];
    const lanes first[3] = {mover->first, mover->first, mover->first};
    const lanes others[3] = {mover->others, mover->others, mover->others};
    lanes_fold_groups(first, others, false, group);
    float *sums = mover->side->extra->sums;
    for (int g = 0; g < 2 && mode.rule == RULE_ADAGRAD2 && !mover->side->is_fixed; g++) {
        float share = group_share(visit->setup->rank, g, visit->step->is_frozen);
        sums[g] = scalar_fma(_mm_cvtss_f32(group[g]), share, sums[g]);
    }
}

INLINE float visit_pair(const struct visit *visit, const struct side *anchor, const struct side *winner,
                        const struct side *loser, const struct mode mode) {
    struct mover movers[3] = {mover_at(visit, anchor, mode), mover_at(visit, winner, mode),
                              mover_at(visit, loser, mode)};
    lanes first = lanes_all(0), others = lanes_all(0);
    for (uint32_t c = 0; c < visit->chunks; c++) {
        lanes a = ahead(anchor, c, mode), lead = lanes_sub(ahead(winner, c, mode), ahead(loser, c, mode));
        if (c == 0)
            first = lanes_mul(a, lead);
        else
            others = lanes_fma(a, lead, others);
    }
    float margin = lanes_fold(lanes_add(first, others));
    if (visit->has_biases)
        margin = margin + (bias_ahead(winner, mode) - bias_ahead(loser, mode));
    const struct fit fit = fit_margin(margin);
    const lanes pull = lanes_all(fit.pull), push = lanes_all(-fit.pull);
    for (uint32_t c = 0; c < visit->chunks; c++) {
        lanes a = ahead(anchor, c, mode), w = ahead(winner, c, mode), l = ahead(loser, c, mode);
        mover_move(visit, &movers[0], c, lanes_fms(pull, lanes_sub(w, l), lanes_mul(lanes_all(anchor->l2), a)),
                   mode);
        mover_move(visit, &movers[1], c, lanes_fms(pull, a, lanes_mul(lanes_all(winner->l2), w)), mode);
        mover_move(visit, &movers[2], c, lanes_fms(push, a, lanes_mul(lanes_all(loser->l2), l)), mode);
    }
    for (int i = 0; i < 3; i++)
        mover_end(visit, &movers[i], mode);
    move_bias(visit, winner, fit.pull, mode);
    move_bias(visit, loser, -fit.pull, mode);
    return fit.loss;
}

INLINE float visit_drawn_pair(const struct visit *visit, uint32_t row, uint32_t column, struct draw *draw,
                              const struct mode mode) {
    bool is_row = visit->setup->loss == FIT_BPR_COLUMNS;
    enum factors_side_name changing = is_row ? SIDE_ROWS : SIDE_COLUMNS;
    uint32_t winner_index = is_row ? row : column, loser_index = draw_other(draw, winner_index);
    if (loser_index == winner_index)
        return 0;
    struct side anchor = side_at(visit, is_row ? SIDE_COLUMNS : SIDE_ROWS, is_row ? column : row, mode);
    struct side winner = side_at(visit, changing, winner_index, mode);
    struct side loser = side_at(visit, changing, loser_index, mode);
    return visit_pair(visit, &anchor, &winner, &loser, mode);
}

INLINE double run_pairs(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                        const struct kernel_step *step, const struct mode mode) {
    const struct visit visit = visit_begin(kernel, factors, step, mode);
    struct draw draw;
    double sum = 0;
    draw_init(&draw, tile, step);
    for (uint32_t i = 0; i < tile->count; i++)
        sum += visit_drawn_pair(&visit, tile->first_row + tile->cells[i].row,
                                tile->first_column + tile->cells[i].column, &draw, mode);
    return sum;
}

#endif
