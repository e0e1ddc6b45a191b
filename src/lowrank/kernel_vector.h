/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels over vectors, for any instruction set: included once by a file that has defined `lanes`, a vector of
 * FACTORS_LANES floats, and its operations. Each function below is compiled for constant modes, so that what a mode
 * does not need costs nothing. kernel_plain.c says what is computed; the order of operations is the same here. */
#include "lowrank/kernel_vector_pairs.h"
#include "lowrank/kernel_vector_step.h"

/* Chunks of a side that are asked for ahead of a rating, so many that the third-level cache has the time to bring
 * them; and ratings at least. */
#define CHUNKS_AHEAD  40
#define RATINGS_AHEAD 4

/* Chunks of a side with a state beyond which prefetching would push out of the first-level cache what is at work.
 */
#define MOST_PREFETCHED 4

/* ---- One rating ---- */

INLINE struct fit fit_at(const struct visit *visit, const struct side *row, const struct side *column, float rating,
                         float weight, float product, const struct mode mode) {
    float s = visit->mean;
    if (visit->has_biases)
        s = s + (bias_ahead(row, mode) + bias_ahead(column, mode));
    if (mode.is_lean)
        return fit_squared(rating, s + product);
    struct fit fit = fit_rating(visit->setup->loss, rating, s + product);
    return (struct fit){weight * fit.loss, weight * fit.pull};
}

/* Whether the factors of both stay in registers between the sum of products and the step. */
INLINE bool is_kept(const struct mode mode) {
    return mode.chunks > 0 && mode.chunks <= LANES_KEPT;
}

INLINE void move_constant(const struct visit *visit, const struct side *row, const struct side *column, float pull,
                          const lanes *p_kept, const lanes *q_kept, const struct mode mode) {
    const float rate = visit->step->rate;
    const lanes push = lanes_all(rate * pull), rates = lanes_all(rate);
    const lanes keep_p = lanes_all(1 - rate * row->l2), keep_q = lanes_all(1 - rate * column->l2);
    for (uint32_t c = 0; c < visit->chunks; c++) {
        lanes p = is_kept(mode) ? p_kept[c] : load_at(row->values, c);
        lanes q = is_kept(mode) ? q_kept[c] : load_at(column->values, c);
        if (!row->is_fixed)
            store_at(row->values, c, shaped(visit, lanes_fma(push, q, lanes_mul(keep_p, p)), rates, row->l1, mode));
        if (!column->is_fixed)
            store_at(column->values, c,
                     shaped(visit, lanes_fma(push, p, lanes_mul(keep_q, q)), rates, column->l1, mode));
    }
}

INLINE void move_each(const struct visit *visit, const struct side *row, const struct side *column, float pull,
                      const struct mode mode) {
    const lanes rates = lanes_all(visit->step->rate), pulls = lanes_all(pull);
    const lanes l2_p = lanes_all(row->l2), l2_q = lanes_all(column->l2);
    for (uint32_t c = 0; c < visit->chunks; c++) {
        lanes p = ahead(row, c, mode), q = ahead(column, c, mode);
        if (!row->is_fixed)
            move(visit, row, c, rates, lanes_fms(pulls, q, lanes_mul(l2_p, p)), mode);
        if (!column->is_fixed)
            move(visit, column, c, rates, lanes_fms(pulls, p, lanes_mul(l2_q, q)), mode);
    }
}

/* Sums over group 0 and 1 of p p, p q and q q, as the rows' step and then the columns' wants them. */
struct group_sums {
    __m128 own;     /* pp0 pp1 qq0 qq1 */
    __m128 product; /* pq0 pq1 pq0 pq1 */
};

/* A rating between the two halves of its visit: its sums are known, nothing has moved. */
struct half {
    struct side row, column;
    lanes p[LANES_KEPT], q[LANES_KEPT]; /* where is_kept */
    float product;
    struct group_sums sums; /* adagrad2 */
    __m128 old, rates;      /* adagrad2: sums of squares so far, and rates by them */
    __m128 biases;          /* adagrad2: bias and its sum of squares of the row, of the column */
    __m128 bias_rates;      /* adagrad2: row, row, column, column */
};

INLINE void begin_others(const struct visit *visit, struct half *half, const struct mode mode) {
    const struct side *row = &half->row, *column = &half->column;
    lanes p = ahead(row, 0, mode), q = ahead(column, 0, mode), first = lanes_mul(p, q), others = lanes_all(0);
    half->p[0] = p, half->q[0] = q;
    for (uint32_t c = 1; c < visit->chunks; c++) {
        p = ahead(row, c, mode), q = ahead(column, c, mode);
        if (is_kept(mode))
            half->p[c] = p, half->q[c] = q;
        others = lanes_fma(p, q, others);
    }
    half->product = lanes_fold(mode.chunks == 1 ? first : lanes_add(first, others));
}

INLINE float finish_others(const struct visit *visit, const struct half *half, float rating, float weight,
                           const struct mode mode) {
    const struct side *row = &half->row, *column = &half->column;
    struct fit fit = fit_at(visit, row, column, rating, weight, half->product, mode);
    if (mode.rule == RULE_CONSTANT)
        move_constant(visit, row, column, fit.pull, half->p, half->q, mode);
    else
        move_each(visit, row, column, fit.pull, mode);
    move_bias(visit, row, fit.pull, mode);
    move_bias(visit, column, fit.pull, mode);
    return fit.loss;
}

/* ---- One rating by adagrad2 ---- */

INLINE struct group_sums sum_groups(const struct visit *visit, const struct side *row, const struct side *column,
                                    lanes *p_kept, lanes *q_kept, const struct mode mode) {
    lanes p = load_at(row->values, 0), q = load_at(column->values, 0);
    lanes first[3] = {lanes_mul(p, p), lanes_mul(q, q), lanes_mul(p, q)};
    lanes others[3] = {lanes_all(0), lanes_all(0), lanes_all(0)};
    p_kept[0] = p, q_kept[0] = q;
    for (uint32_t c = 1; c < visit->chunks; c++) {
        p = load_at(row->values, c), q = load_at(column->values, c);
        if (is_kept(mode))
            p_kept[c] = p, q_kept[c] = q;
        others[0] = lanes_fma(p, p, others[0]), others[1] = lanes_fma(q, q, others[1]);
        others[2] = lanes_fma(p, q, others[2]);
    }
    __m128 group[2];
    lanes_fold_groups(first, others, mode.chunks == 1, group); /* each pp qq pq pq */
    return (struct group_sums){_mm_unpacklo_ps(group[0], group[1]), _mm_unpackhi_ps(group[0], group[1])};
}

INLINE void store_sums(const struct side *row, const struct side *column, __m128 sums) {
    if (!row->is_fixed)
        _mm_storel_pi((__m64 *)(void *)row->extra->sums, sums);
    if (!column->is_fixed)
        _mm_storeh_pi((__m64 *)(void *)column->extra->sums, sums);
}

/* Sums of squares, biases, and rates by the sums before this rating: one root and one division for all of them. */
INLINE void load_extra(const struct visit *visit, struct half *half) {
    if (!visit->has_biases) {
        __m128 sums = _mm_castpd_ps(_mm_load_sd((const double *)(const void *)half->row.extra->sums));
        half->old = _mm_loadh_pi(sums, (const __m64 *)(const void *)half->column.extra->sums);
        half->rates = _mm_div_ps(visit->rates, _mm_sqrt_ps(half->old));
        half->biases = half->bias_rates = _mm_setzero_ps(); /* there are none */
        return;
    }
    const __m128 row = _mm_load_ps(half->row.extra->sums), column = _mm_load_ps(half->column.extra->sums);
    const __m256 both = _mm256_set_m128(column, row),
                 rates = _mm256_div_ps(visit->extra_rates, _mm256_sqrt_ps(both));
    const __m128 row_rates = _mm256_castps256_ps128(rates), column_rates = _mm256_extractf128_ps(rates, 1);
    half->old = _mm_movelh_ps(row, column);
    half->rates = _mm_movelh_ps(row_rates, column_rates);
    half->biases = _mm_movehl_ps(column, row);
    half->bias_rates = _mm_shuffle_ps(row_rates, column_rates, _MM_SHUFFLE(3, 3, 3, 3));
}

INLINE void store_extra(const struct visit *visit, const struct half *half, __m128 sums, __m128 pull) {
    if (!visit->has_biases) {
        store_sums(&half->row, &half->column, sums);
        return;
    }
    const __m128 g = _mm_fnmadd_ps(visit->bias_l2, half->biases, pull), twice = _mm_moveldup_ps(g);
    const __m128 moved = _mm_fmadd_ps(half->bias_rates, g, half->biases);
    const __m128 biases = _mm_blend_ps(moved, _mm_fmadd_ps(twice, twice, half->biases), 0xa);
    if (!half->row.is_fixed)
        _mm_store_ps(half->row.extra->sums, _mm_movelh_ps(sums, biases));
    if (!half->column.is_fixed)
        _mm_store_ps(half->column.extra->sums, _mm_movehl_ps(biases, sums));
}

/* Moves both by rates, pushes and keeps of (row group 0, 1, column group 0, 1). */
INLINE void move_groups(const struct visit *visit, const struct side *row, const struct side *column, __m128 rates,
                        __m128 push, __m128 keep, const lanes *p_kept, const lanes *q_kept,
                        const struct mode mode) {
    lanes push_p = lanes_pick(push, 0, 1), push_q = lanes_pick(push, 2, 3);
    lanes keep_p = lanes_pick(keep, 0, 1), keep_q = lanes_pick(keep, 2, 3);
    lanes rate_p = lanes_pick(rates, 0, 1), rate_q = lanes_pick(rates, 2, 3);
    const uint32_t end = mode.is_frozen ? 1 : visit->chunks;
    for (uint32_t c = 0; c < end; c++) {
        lanes p = is_kept(mode) ? p_kept[c] : load_at(row->values, c);
        lanes q = is_kept(mode) ? q_kept[c] : load_at(column->values, c);
        if (c == 1) {
            push_p = lanes_pick(push, 1, 1), push_q = lanes_pick(push, 3, 3);
            keep_p = lanes_pick(keep, 1, 1), keep_q = lanes_pick(keep, 3, 3);
            rate_p = lanes_pick(rates, 1, 1), rate_q = lanes_pick(rates, 3, 3);
        }
        if (!row->is_fixed)
            store_at(row->values, c,
                     shaped(visit, lanes_fma(push_p, q, lanes_mul(keep_p, p)), rate_p, row->l1, mode));
        if (!column->is_fixed)
            store_at(column->values, c,
                     shaped(visit, lanes_fma(push_q, p, lanes_mul(keep_q, q)), rate_q, column->l1, mode));
    }
}

INLINE void begin_adagrad2(const struct visit *visit, struct half *half, const struct mode mode) {
    load_extra(visit, half);
    half->sums = sum_groups(visit, &half->row, &half->column, half->p, half->q, mode);
    const __m128 product = half->sums.product;
    half->product = _mm_cvtss_f32(_mm_add_ss(product, _mm_movehdup_ps(product)));
}

INLINE float finish_adagrad2(const struct visit *visit, const struct half *half, float rating, float weight,
                             const struct mode mode) {
    const struct side *row = &half->row, *column = &half->column;
    const struct group_sums sums = half->sums;
    struct fit fit = fit_at(visit, row, column, rating, weight, half->product, mode);
    const __m128 pull = _mm_set1_ps(fit.pull);
    move_groups(visit, row, column, half->rates, _mm_mul_ps(half->rates, pull),
                _mm_fnmadd_ps(half->rates, visit->l2, _mm_set1_ps(1)), half->p, half->q, mode);
    const __m128 other = _mm_shuffle_ps(sums.own, sums.own, _MM_SHUFFLE(1, 0, 3, 2));
    __m128 squares = _mm_mul_ps(_mm_mul_ps(pull, pull), other);
    squares = _mm_fmadd_ps(_mm_mul_ps(visit->l2_twice, pull), sums.product, squares);
    squares = _mm_max_ps(_mm_fmadd_ps(visit->l2_squared, sums.own, squares), _mm_setzero_ps());
    store_extra(visit, half, _mm_fmadd_ps(squares, visit->shares, half->old), pull);
    return fit.loss;
}

INLINE void begin(const struct visit *visit, struct half *half, uint32_t row, uint32_t column,
                  const struct mode mode) {
    half->row = side_at(visit, SIDE_ROWS, row, mode);
    half->column = side_at(visit, SIDE_COLUMNS, column, mode);
    if (mode.rule == RULE_ADAGRAD2)
        begin_adagrad2(visit, half, mode);
    else
        begin_others(visit, half, mode);
}

INLINE float finish(const struct visit *visit, const struct half *half, float rating, float weight,
                    const struct mode mode) {
    return mode.rule == RULE_ADAGRAD2 ? finish_adagrad2(visit, half, rating, weight, mode)
                                      : finish_others(visit, half, rating, weight, mode);
}

INLINE float visit_rating(const struct visit *visit, uint32_t row, uint32_t column, float rating, float weight,
                          const struct mode mode) {
    struct half half;
    begin(visit, &half, row, column, mode);
    return finish(visit, &half, rating, weight, mode);
}

/* ---- Tiles ---- */

INLINE void prefetch_side(const struct side *side, const struct visit *visit, const struct mode mode) {
    const bool has_state = mode.rule == RULE_NESTEROV || mode.rule == RULE_ADAGRAD;
    if (has_state && visit->chunks > MOST_PREFETCHED)
        return;
    prefetch_each(side->values, visit->stride);
    if (has_state)
        prefetch_each(side->state, visit->stride);
    if (mode.rule == RULE_ADAGRAD2 || visit->has_biases)
        _mm_prefetch((const char *)side->extra, _MM_HINT_T0);
}

INLINE float visit_negative(const struct visit *visit, uint32_t row, uint32_t column, struct draw *draw,
                            const struct mode mode) {
    uint32_t drawn = draw_other(draw, column);
    if (drawn == column)
        return 0;
    return visit_rating(visit, row, drawn, visit->setup->negative_value, visit->setup->negative_weight, mode);
}

INLINE void prefetch(const struct visit *visit, const struct tile *tile, uint32_t i, const struct mode mode) {
    const struct cell *cell = &tile->cells[i < tile->count ? i : 0];
    struct side row = side_at(visit, SIDE_ROWS, tile->first_row + cell->row, mode);
    struct side column = side_at(visit, SIDE_COLUMNS, tile->first_column + cell->column, mode);
    prefetch_side(&row, visit, mode);
    prefetch_side(&column, visit, mode);
}

INLINE float visit_cell(const struct visit *visit, const struct tile *tile, const struct cell *cell,
                        const struct mode mode) {
    return visit_rating(visit, tile->first_row + cell->row, tile->first_column + cell->column, cell->value, 1,
                        mode);
}

/* Ratings between a rating and the factors asked for ahead of it: an even number, as two are visited at once. */
INLINE uint32_t ratings_ahead(const struct visit *visit, const struct mode mode) {
    const bool has_state = mode.rule == RULE_NESTEROV || mode.rule == RULE_ADAGRAD;
    const uint32_t ahead = CHUNKS_AHEAD / (visit->chunks * (has_state ? 4 : 2)) * 2;
    return ahead > RATINGS_AHEAD ? ahead : RATINGS_AHEAD;
}

/* Two ratings that share neither row nor column, step by step in turns: while one waits for its sum, the other
 * works.
 */
INLINE double visit_two(const struct visit *visit, const struct tile *tile, const struct cell *cells,
                        const struct mode mode) {
    struct half half[2];
    begin(visit, &half[0], tile->first_row + cells[0].row, tile->first_column + cells[0].column, mode);
    begin(visit, &half[1], tile->first_row + cells[1].row, tile->first_column + cells[1].column, mode);
    double loss = finish(visit, &half[0], cells[0].value, 1, mode);
    return loss + finish(visit, &half[1], cells[1].value, 1, mode);
}

INLINE double run_ratings(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                          const struct kernel_step *step, const struct mode mode) {
    const struct visit visit = visit_begin(kernel, factors, step, mode);
    const struct tile local = *tile;
    const struct cell *cells = tile->cells;
    const uint32_t ahead = ratings_ahead(&visit, mode);
    const uint32_t count = tile->count, negatives = mode.is_lean ? 0 : kernel->setup.negatives;
    struct draw draw;
    double sum = 0;
    uint32_t i = 0;
    if (negatives > 0)
        draw_init(&draw, tile, step);
    for (; mode.is_lean && mode.chunks > 0 && mode.chunks <= LANES_TWICE && i + 1 < count; i += 2) {
        prefetch(&visit, &local, i + ahead, mode);
        prefetch(&visit, &local, i + ahead + 1, mode);
        if (cells[i].row != cells[i + 1].row && cells[i].column != cells[i + 1].column) {
            sum += visit_two(&visit, &local, &cells[i], mode);
        } else {
            sum += visit_cell(&visit, &local, &cells[i], mode);
            sum += visit_cell(&visit, &local, &cells[i + 1], mode);
        }
    }
    for (; i < count; i++) {
        prefetch(&visit, &local, i + ahead, mode);
        sum += visit_cell(&visit, &local, &cells[i], mode);
        for (uint32_t n = 0; n < negatives; n++)
            sum += visit_negative(&visit, tile->first_row + cells[i].row, tile->first_column + cells[i].column,
                                  &draw, mode);
    }
    return sum;
}

/* ---- The compiled modes ---- */

#define ARGUMENTS                                                                                                  \
    const struct kernel *kernel, struct factors *factors, const struct tile *tile, const struct kernel_step *step

#define LEAN(name, rule, chunks, has_biases, is_frozen)                                                            \
    static double name(ARGUMENTS) {                                                                                \
        return run_ratings(kernel, factors, tile, step, (struct mode){rule, chunks, true, has_biases, is_frozen}); \
    }

#define LEAN_SIZES(name, rule, has_biases, is_frozen)                                                              \
    LEAN(name##_1, rule, 1, has_biases, is_frozen)                                                                 \
    LEAN(name##_2, rule, 2, has_biases, is_frozen)                                                                 \
    LEAN(name##_4, rule, 4, has_biases, is_frozen)                                                                 \
    LEAN(name##_8, rule, 8, has_biases, is_frozen)                                                                 \
    LEAN(name##_n, rule, 0, has_biases, is_frozen)

/* For one rule: without biases, with them, everything else, and pairs. */
#define RULE(name, rule, is_frozen)                                                                                \
    LEAN_SIZES(name##_lean, rule, false, is_frozen)                                                                \
    LEAN_SIZES(name##_biased, rule, true, is_frozen)                                                               \
    static double name##_any(ARGUMENTS) {                                                                          \
        return run_ratings(kernel, factors, tile, step, (struct mode){rule, 0, false, false, is_frozen});          \
    }                                                                                                              \
    static double name##_pairs(ARGUMENTS) {                                                                        \
        return run_pairs(kernel, factors, tile, step, (struct mode){rule, 0, false, false, is_frozen});            \
    }

RULE(constant, RULE_CONSTANT, false)
RULE(nesterov, RULE_NESTEROV, false)
RULE(adagrad, RULE_ADAGRAD, false)
RULE(adagrad2, RULE_ADAGRAD2, false)
RULE(frozen, RULE_ADAGRAD2, true)

/* Sizes: 1, 2, 4 and 8 chunks, any. */
#define SIZE_COUNT 5

struct compiled {
    kernel_function *lean[2][SIZE_COUNT]; /* without and with biases */
    kernel_function *any, *pairs;
};

#define SIZES(name)                                                                                                \
    { name##_1, name##_2, name##_4, name##_8, name##_n }
#define COMPILED(name)                                                                                             \
    { {SIZES(name##_lean), SIZES(name##_biased)}, name##_any, name##_pairs }

static const struct compiled compiled_constant = COMPILED(constant), compiled_nesterov = COMPILED(nesterov),
                             compiled_adagrad = COMPILED(adagrad), compiled_adagrad2 = COMPILED(adagrad2),
                             compiled_frozen = COMPILED(frozen);

static const struct compiled *compiled_of(enum step_rule rule, bool is_frozen) {
    switch (rule) {
    case RULE_NESTEROV:
        return &compiled_nesterov;
    case RULE_ADAGRAD:
        return &compiled_adagrad;
    case RULE_ADAGRAD2:
        return is_frozen ? &compiled_frozen : &compiled_adagrad2;
    default:
        return &compiled_constant;
    }
}

static kernel_function *choose(const struct kernel_setup *setup, const struct kernel_step *step, uint32_t stride) {
    const struct compiled *compiled = compiled_of(setup->rule, step->is_frozen);
    if (setup->loss >= FIT_BPR_ROWS)
        return compiled->pairs;
    bool has_l1 = setup->l1[SIDE_ROWS] > 0 || setup->l1[SIDE_COLUMNS] > 0;
    bool is_one_sided = step->is_fixed[SIDE_ROWS] || step->is_fixed[SIDE_COLUMNS];
    if (setup->loss != FIT_SQUARED || has_l1 || is_one_sided || setup->is_nonnegative || setup->negatives > 0)
        return compiled->any;
    const uint32_t chunks = stride / FACTORS_LANES;
    const int size = chunks == 1 ? 0 : chunks == 2 ? 1 : chunks == 4 ? 2 : chunks == 8 ? 3 : 4;
    return compiled->lean[setup->has_biases][size];
}
