/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels with AVX2 and FMA: a vector is two registers. */
#include "lowrank/kernels.h"

#ifdef __AVX2__
#include "lowrank/kernel_vector_fold.h"

typedef struct {
    __m256 low, high;
} lanes;

/* Chunks of each side that stay in registers, and the most chunks for two ratings at once. */
#define LANES_KEPT  2
#define LANES_TWICE 1

/* Rows and vectors of columns whose scores are summed at once. */
#define SCORE_ROWS   4
#define SCORE_CHUNKS 1

static inline lanes lanes_load(const float *values) {
    return (lanes){_mm256_load_ps(values), _mm256_load_ps(values + 8)};
}

static inline void lanes_store(float *values, lanes vector) {
    _mm256_store_ps(values, vector.low);
    _mm256_store_ps(values + 8, vector.high);
}

static inline lanes lanes_all(float value) {
    return (lanes){_mm256_set1_ps(value), _mm256_set1_ps(value)};
}

static inline lanes lanes_add(lanes a, lanes b) {
    return (lanes){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

static inline lanes lanes_sub(lanes a, lanes b) {
    return (lanes){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

static inline lanes lanes_mul(lanes a, lanes b) {
    return (lanes){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

/* a b - c */
static inline lanes lanes_fms(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high)};
}

/* a > b ? a : b */
static inline lanes lanes_max(lanes a, lanes b) {
    return (lanes){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}

static inline lanes lanes_divide_by_root(lanes a, lanes b) {
    return (lanes){_mm256_div_ps(a.low, _mm256_sqrt_ps(b.low)), _mm256_div_ps(a.high, _mm256_sqrt_ps(b.high))};
}

static inline __m256 shrink_half(__m256 value, __m256 shrink) {
    const __m256 sign = _mm256_and_ps(value, _mm256_set1_ps(-0.0f));
    __m256 size = _mm256_sub_ps(_mm256_xor_ps(value, sign), shrink);
    return _mm256_or_ps(_mm256_max_ps(_mm256_setzero_ps(), size), sign);
}

/* |value| - shrink, not below 0, with the sign of value. */
static inline lanes lanes_shrink(lanes value, lanes shrink) {
    return (lanes){shrink_half(value.low, shrink.low), shrink_half(value.high, shrink.high)};
}

/* The sum of all lanes. */
static inline float lanes_fold(lanes vector) {
    __m256 eight = _mm256_add_ps(vector.low, vector.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Sums of the lower halves of first[0], [1], [2], [2] into group_out[0]; of the upper ones, and of all of others,
 * which are 0 where is_single, into group_out[1]. */
static inline void lanes_fold_groups(const lanes first[3], const lanes others[3], bool is_single,
                                     __m128 group_out[2]) {
    __m256 rest[3];
    for (int i = 0; i < 3; i++)
        rest[i] =
            is_single ? first[i].high : _mm256_add_ps(first[i].high, _mm256_add_ps(others[i].low, others[i].high));
    group_out[0] = fold_eight(first[0].low, first[1].low, first[2].low);
    group_out[1] = fold_eight(rest[0], rest[1], rest[2]);
}

static inline __m256 pick_half(__m128 elements, int which) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(elements), _mm256_set1_epi32(which));
}

/* Element `low` in the lower half, element `high` in the upper. */
static inline lanes lanes_pick(__m128 elements, int low, int high) {
    return (lanes){pick_half(elements, low), pick_half(elements, high)};
}

static inline float scalar_fma(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

#define OF_THIS_SET(name) name##_avx2
#include "lowrank/kernel_vector_entries.h"
#endif
