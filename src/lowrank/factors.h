/* SPDX-License-Identifier: Apache-2.0 */
/* The two factor matrices of a low-rank model, with biases and the state of the step rule beside them. A rating is
 * predicted as mean + bias of the row + bias of the column + row factors . column factors. */
#ifndef HYSGD_LOWRANK_FACTORS_H
#define HYSGD_LOWRANK_FACTORS_H

#include <stdbool.h>

#include "base/memory.h"

/* Factors are padded with zeros to a multiple of this, one cache line, and stay zero there. */
#define FACTORS_LANES 16

/* The largest rank. */
#define FACTORS_MOST_RANK 65536

enum factors_side_name { SIDE_ROWS, SIDE_COLUMNS, SIDE_COUNT };

/* What a row or column has besides its factors; 16 bytes, so that one load brings it. */
struct factor_extra {
    _Alignas(16) float sums[2]; /* adagrad2: mean squared gradients of the first 8 factors, of the others */
    float bias;                 /* 0 where there are no biases */
    float bias_state;           /* the bias's velocity (nesterov) or sum of squared gradients (adagrad, adagrad2) */
};

struct factors_side {
    uint32_t count;             /* rows, or columns */
    float *values;              /* [count][stride] */
    float *state;               /* [count][stride]: velocities or sums of squares; NULL where the rule has none */
    struct factor_extra *extra; /* [count] */
};

/* What lies beside each factor. */
enum factors_state { FACTORS_NO_STATE, FACTORS_VELOCITY, FACTORS_SUMS };

struct factors {
    uint32_t rank, stride; /* stride: the rank rounded up to FACTORS_LANES */
    enum factors_state state;
    float mean; /* the constant of every prediction */
    struct factors_side sides[SIDE_COUNT];
};

struct factors_shape {
    uint32_t row_count, column_count; /* >= 1 */
    uint32_t rank;                    /* 1 to FACTORS_MOST_RANK */
    enum factors_state state;         /* as kernel_state says */
};

/* All zero. HYSGD_USAGE: the rank; HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status factors_init(struct factors *factors, const struct factors_shape *shape);
void factors_fini(struct factors *factors);

enum factors_start {
    FACTORS_POSITIVE, /* uniform in [0, scale / sqrt(rank)): the peer's start */
    FACTORS_NORMAL    /* normal with standard deviation scale / sqrt(rank) */
};

/* Start values of every factor, a function of (seed, side, index) alone; biases and velocities become 0, sums of
 * squares `sum_start` (> 0). */
void factors_start(struct factors *factors, enum factors_start start, float scale, float sum_start, uint64_t seed);

/* The same for the rows (or columns) from `first` to `end` - 1, so that several threads can share the work. Index i
 * goes to places[i]; NULL: to i. */
void factors_start_part(struct factors *factors, enum factors_side_name side, uint32_t first, uint32_t end,
                        const uint32_t *places, enum factors_start start, float scale, float sum_start,
                        uint64_t seed);

/* Bytes that a kernel touches for a row or column of the rank, with the state: for cutting tiles that fit in a
 * cache. */
size_t factors_bytes_each(uint32_t rank, enum factors_state state);

static inline float *factors_row(const struct factors *factors, uint32_t row) {
    return factors->sides[SIDE_ROWS].values + (size_t)row * factors->stride;
}

static inline float *factors_column(const struct factors *factors, uint32_t column) {
    return factors->sides[SIDE_COLUMNS].values + (size_t)column * factors->stride;
}

/* The prediction for one pair, in an order of additions fixed by the rank. */
float factors_predict(const struct factors *factors, uint32_t row, uint32_t column);

#endif
