/* SPDX-License-Identifier: Apache-2.0 */
/* What the vector kernels of ratings and of pairs share: a side at work, and moving its values and its bias. For
 * kernel_vector.h, which says what must be defined before. */
#ifndef HYSGD_LOWRANK_KERNEL_VECTOR_STEP_H
#define HYSGD_LOWRANK_KERNEL_VECTOR_STEP_H

#include "lowrank/kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* What is known when a function is compiled. */
struct mode {
    enum step_rule rule;
    uint32_t chunks; /* of FACTORS_LANES factors; 0: known when it runs */
    bool is_lean;    /* squared loss, both sides move, no l1, any sign, no draws */
    bool has_biases; /* of a lean one; otherwise the setup says it */
    bool is_frozen;  /* adagrad2: the first group only */
};

/* What all ratings of a tile share. */
struct visit {
    const struct kernel_setup *setup;
    const struct kernel_step *step;
    float mean;
    bool has_biases;
    uint32_t chunks;
    size_t stride;
    struct factors_side sides[SIDE_COUNT];          /* copies, which the compiler knows that no step changes */
    __m128 rates, shares, l2, l2_twice, l2_squared; /* adagrad2: row group 0, 1, column group 0, 1 */
    __m128 bias_l2;
    __m256 extra_rates; /* adagrad2: of a row's extra and a column's */
};

/* A row or column at work. */
struct side {
    float *values, *state;
    struct factor_extra *extra;
    float l1, l2, momentum;
    bool is_fixed;
};

INLINE struct visit visit_begin(const struct kernel *kernel, const struct factors *factors,
                                const struct kernel_step *step, const struct mode mode) {
    const struct kernel_setup *setup = &kernel->setup;
    struct visit visit = {.setup = setup,
                          .step = step,
                          .mean = factors->mean,
                          .has_biases = mode.is_lean ? mode.has_biases : setup->has_biases,
                          .chunks = mode.chunks ? mode.chunks : factors->stride / FACTORS_LANES};
    visit.stride = (size_t)visit.chunks * FACTORS_LANES;
    visit.sides[SIDE_ROWS] = factors->sides[SIDE_ROWS];
    visit.sides[SIDE_COLUMNS] = factors->sides[SIDE_COLUMNS];
    if (mode.rule == RULE_ADAGRAD2) {
        const float other = mode.is_frozen ? 0 : step->rate, p = setup->l2[SIDE_ROWS], q = setup->l2[SIDE_COLUMNS];
        const float share[2] = {group_share(factors->rank, 0, mode.is_frozen),
                                group_share(factors->rank, 1, mode.is_frozen)};
        visit.rates = _mm_setr_ps(step->rate, other, step->rate, other);
        visit.bias_l2 = _mm_set1_ps(setup->bias_l2);
        visit.extra_rates = _mm256_setr_ps(step->rate, other, 0, step->rate, step->rate, other, 0, step->rate);
        visit.shares = _mm_setr_ps(share[0], share[1], share[0], share[1]);
        visit.l2 = _mm_setr_ps(p, p, q, q);
        visit.l2_twice = _mm_setr_ps(-2 * p, -2 * p, -2 * q, -2 * q);
        visit.l2_squared = _mm_setr_ps(p * p, p * p, q * q, q * q);
    }
    return visit;
}

INLINE struct side side_at(const struct visit *visit, enum factors_side_name name, size_t index,
                           const struct mode mode) {
    const struct factors_side *side = &visit->sides[name];
    bool is_fixed = !mode.is_lean && visit->step->is_fixed[name];
    return (struct side){
        .values = side->values + index * visit->stride,
        .state =
            mode.rule == RULE_NESTEROV || mode.rule == RULE_ADAGRAD ? side->state + index * visit->stride : NULL,
        .extra = &side->extra[index],
        .l1 = visit->setup->l1[name],
        .l2 = visit->setup->l2[name],
        .momentum = is_fixed ? 0 : visit->step->momentum,
        .is_fixed = is_fixed,
    };
}

INLINE void prefetch_each(const float *values, size_t stride) {
    for (size_t d = 0; d < stride; d += FACTORS_LANES)
        _mm_prefetch((const char *)(values + d), _MM_HINT_T0);
}

/* ---- Moving a vector of values ---- */

INLINE lanes load_at(const float *values, uint32_t chunk) {
    return lanes_load(values + (size_t)chunk * FACTORS_LANES);
}

INLINE void store_at(float *values, uint32_t chunk, lanes vector) {
    lanes_store(values + (size_t)chunk * FACTORS_LANES, vector);
}

INLINE lanes shaped(const struct visit *visit, lanes value, lanes rate, float l1, const struct mode mode) {
    if (mode.is_lean)
        return value;
    if (l1 > 0)
        value = lanes_shrink(value, lanes_mul(rate, lanes_all(l1)));
    return visit->setup->is_nonnegative ? lanes_max(lanes_all(0), value) : value;
}

INLINE lanes ahead(const struct side *side, uint32_t chunk, const struct mode mode) {
    lanes value = load_at(side->values, chunk);
    return mode.rule == RULE_NESTEROV ? lanes_fma(lanes_all(side->momentum), load_at(side->state, chunk), value)
                                      : value;
}

INLINE float bias_ahead(const struct side *side, const struct mode mode) {
    const struct factor_extra *extra = side->extra;
    return mode.rule == RULE_NESTEROV ? scalar_fma(side->momentum, extra->bias_state, extra->bias) : extra->bias;
}

/* A step of `g` uphill at the rate of the rule or, for adagrad2, of the group. */
INLINE void move(const struct visit *visit, const struct side *side, uint32_t chunk, lanes rate, lanes g,
                 const struct mode mode) {
    lanes value = load_at(side->values, chunk);
    if (mode.rule == RULE_NESTEROV) {
        lanes velocity = lanes_fma(rate, g, lanes_mul(lanes_all(side->momentum), load_at(side->state, chunk)));
        store_at(side->state, chunk, velocity);
        store_at(side->values, chunk, shaped(visit, lanes_add(value, velocity), rate, side->l1, mode));
        return;
    }
    if (mode.rule == RULE_ADAGRAD) {
        lanes sum = lanes_fma(g, g, load_at(side->state, chunk));
        store_at(side->state, chunk, sum);
        rate = lanes_divide_by_root(rate, sum);
    }
    store_at(side->values, chunk, shaped(visit, lanes_fma(rate, g, value), rate, side->l1, mode));
}

INLINE void move_bias(const struct visit *visit, const struct side *side, float pull, const struct mode mode) {
    struct factor_extra *extra = side->extra;
    float rate = visit->step->rate;
    if (!visit->has_biases || side->is_fixed)
        return;
    float g = scalar_fma(-visit->setup->bias_l2, bias_ahead(side, mode), pull);
    if (mode.rule == RULE_NESTEROV) {
        extra->bias_state = scalar_fma(rate, g, side->momentum * extra->bias_state);
        extra->bias += extra->bias_state;
        return;
    }
    const float old = extra->bias_state;
    if (mode.rule >= RULE_ADAGRAD)
        extra->bias_state = scalar_fma(g, g, old);
    if (mode.rule >= RULE_ADAGRAD)
        rate = rate / sqrtf(mode.rule == RULE_ADAGRAD ? extra->bias_state : old);
    extra->bias = scalar_fma(rate, g, extra->bias);
}

#endif
