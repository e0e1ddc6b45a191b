/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and start values of the factor matrices, and the prediction for one pair; see factors.h. */
#include "lowrank/factors.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

static uint32_t stride_of(uint32_t rank) {
    return (rank + FACTORS_LANES - 1) / FACTORS_LANES * FACTORS_LANES;
}

static enum hysgd_status side_init(struct factors_side *side, uint32_t count, size_t stride, bool has_state) {
    side->count = count;
    HYSGD_TRY(memory_alloc_vector((size_t)count * stride, sizeof *side->values, &side->values));
    memset(side->values, 0, (size_t)count * stride * sizeof *side->values);
    if (has_state) {
        HYSGD_TRY(memory_alloc_vector((size_t)count * stride, sizeof *side->state, &side->state));
        memset(side->state, 0, (size_t)count * stride * sizeof *side->state);
    }
    return memory_alloc(count, sizeof *side->extra, &side->extra);
}

enum hysgd_status factors_init(struct factors *factors, const struct factors_shape *shape) {
    *factors = (struct factors){0};
    if (shape->rank < 1 || shape->rank > FACTORS_MOST_RANK)
        return hysgd_fail(HYSGD_USAGE, "rank %u: expected 1 to %d", shape->rank, FACTORS_MOST_RANK);
    factors->rank = shape->rank;
    factors->state = shape->state;
    factors->stride = stride_of(shape->rank);
    bool has_state = shape->state != FACTORS_NO_STATE;
    HYSGD_TRY(side_init(&factors->sides[SIDE_ROWS], shape->row_count, factors->stride, has_state));
    return side_init(&factors->sides[SIDE_COLUMNS], shape->column_count, factors->stride, has_state);
}

void factors_fini(struct factors *factors) {
    for (int s = 0; s < SIDE_COUNT; s++) {
        memory_free(factors->sides[s].values);
        memory_free(factors->sides[s].state);
        memory_free(factors->sides[s].extra);
    }
    *factors = (struct factors){0};
}

void factors_start_part(struct factors *factors, enum factors_side_name name, uint32_t first, uint32_t end,
                        const uint32_t *places, enum factors_start start, float scale, float sum_start,
                        uint64_t seed) {
    struct factors_side *side = &factors->sides[name];
    const size_t stride = factors->stride;
    const float unit = scale / sqrtf((float)factors->rank);
    for (uint32_t i = first; i < end; i++) {
        const size_t place = places != NULL ? places[i] : i;
        float *values = side->values + place * stride;
        struct random random;
        random_init(&random, seed, (uint32_t)name, RANDOM_START, i);
        if (start == FACTORS_POSITIVE)
            random_fill_uniform(&random, values, factors->rank);
        else
            random_fill_normal(&random, values, factors->rank);
        for (uint32_t d = 0; d < factors->rank; d++)
            values[d] *= unit;
        memset(values + factors->rank, 0, (stride - factors->rank) * sizeof *values);
        for (size_t d = 0; side->state && d < stride; d++)
            side->state[place * stride + d] = factors->state == FACTORS_SUMS ? sum_start : 0;
        side->extra[place] = (struct factor_extra){.sums = {sum_start, sum_start}};
        side->extra[place].bias_state = factors->state == FACTORS_VELOCITY ? 0 : sum_start;
    }
}

void factors_start(struct factors *factors, enum factors_start start, float scale, float sum_start, uint64_t seed) {
    for (int s = 0; s < SIDE_COUNT; s++)
        factors_start_part(factors, s, 0, factors->sides[s].count, NULL, start, scale, sum_start, seed);
}

size_t factors_bytes_each(uint32_t rank, enum factors_state state) {
    size_t matrices = state == FACTORS_NO_STATE ? 1 : 2;
    return matrices * stride_of(rank) * sizeof(float) + sizeof(struct factor_extra);
}

float factors_predict(const struct factors *factors, uint32_t row, uint32_t column) {
    const float *p = factors_row(factors, row), *q = factors_column(factors, column);
    float lanes[FACTORS_LANES] = {0};
    for (size_t first = 0; first < factors->stride; first += FACTORS_LANES)
        for (size_t lane = 0; lane < FACTORS_LANES; lane++)
            lanes[lane] += p[first + lane] * q[first + lane];
    for (size_t width = FACTORS_LANES / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++)
            lanes[lane] += lanes[lane + width];
    float base = factors->mean + factors->sides[SIDE_ROWS].extra[row].bias;
    return base + factors->sides[SIDE_COLUMNS].extra[column].bias + lanes[0];
}
