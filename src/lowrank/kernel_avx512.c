/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels with AVX-512: a vector is one register, and 32 of them hold both sides of a rating up to rank 128. */
#include "lowrank/kernels.h"

#ifdef __AVX512F__
#include "lowrank/kernel_vector_fold.h"

typedef __m512 lanes;

/* Chunks of each side that stay in registers, and the most chunks for two ratings at once. */
#define LANES_KEPT  8
#define LANES_TWICE 4

/* Rows and vectors of columns whose scores are summed at once. */
#define SCORE_ROWS   8
#define SCORE_CHUNKS 2

static inline lanes lanes_load(const float *values) {
    return _mm512_load_ps(values);
}

static inline void lanes_store(float *values, lanes vector) {
    _mm512_store_ps(values, vector);
}

static inline lanes lanes_all(float value) {
    return _mm512_set1_ps(value);
}

static inline lanes lanes_add(lanes a, lanes b) {
    return _mm512_add_ps(a, b);
}

static inline lanes lanes_sub(lanes a, lanes b) {
    return _mm512_sub_ps(a, b);
}

static inline lanes lanes_mul(lanes a, lanes b) {
    return _mm512_mul_ps(a, b);
}

static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    return _mm512_fmadd_ps(a, b, c);
}

/* a b - c */
static inline lanes lanes_fms(lanes a, lanes b, lanes c) {
    return _mm512_fmsub_ps(a, b, c);
}

/* a > b ? a : b */
static inline lanes lanes_max(lanes a, lanes b) {
    return _mm512_max_ps(a, b);
}

static inline lanes lanes_divide_by_root(lanes a, lanes b) {
    return _mm512_div_ps(a, _mm512_sqrt_ps(b));
}

/* |value| - shrink, not below 0, with the sign of value. */
static inline lanes lanes_shrink(lanes value, lanes shrink) {
    const __m512 sign = _mm512_and_ps(value, _mm512_set1_ps(-0.0f));
    __m512 size = _mm512_sub_ps(_mm512_xor_ps(value, sign), shrink);
    return _mm512_or_ps(_mm512_max_ps(_mm512_setzero_ps(), size), sign);
}

/* The sum of all lanes. */
static inline float lanes_fold(lanes vector) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(vector), _mm512_extractf32x8_ps(vector, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Sums of the lower halves of x[0], [1], [2], [2] into group_out[0], of the upper ones into group_out[1]. */
static inline void fold_single(const lanes x[3], __m128 group_out[2]) {
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    __m512 b = _mm512_add_ps(x[2], _mm512_permute_ps(x[2], _MM_SHUFFLE(1, 0, 3, 2)));
    __m512 c = _mm512_add_ps(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 1, 0)),
                             _mm512_shuffle_ps(a, b, _MM_SHUFFLE(0, 1, 3, 2)));
    c = _mm512_add_ps(c, _mm512_shuffle_f32x4(c, c, _MM_SHUFFLE(2, 3, 0, 1)));
    group_out[0] = _mm512_castps512_ps128(c);
    group_out[1] = _mm512_extractf32x4_ps(c, 2);
}

/* Sums of the lower halves of first[0], [1], [2], [2] into group_out[0]; of the upper ones, and of all of others,
 * which are 0 where is_single, into group_out[1]. */
static inline void lanes_fold_groups(const lanes first[3], const lanes others[3], bool is_single,
                                     __m128 group_out[2]) {
    __m256 low[3], rest[3];
    if (is_single) {
        fold_single(first, group_out);
        return;
    }
    for (int i = 0; i < 3; i++) {
        low[i] = _mm512_castps512_ps256(first[i]);
        rest[i] = _mm256_add_ps(_mm512_castps512_ps256(others[i]), _mm512_extractf32x8_ps(others[i], 1));
        rest[i] = _mm256_add_ps(_mm512_extractf32x8_ps(first[i], 1), rest[i]);
    }
    group_out[0] = fold_eight(low[0], low[1], low[2]);
    group_out[1] = fold_eight(rest[0], rest[1], rest[2]);
}

/* Element `low` in the lower half, element `high` in the upper. */
static inline lanes lanes_pick(__m128 elements, int low, int high) {
    const __m512i index =
        _mm512_setr_epi32(low, low, low, low, low, low, low, low, high, high, high, high, high, high, high, high);
    return _mm512_permutexvar_ps(index, _mm512_castps128_ps512(elements));
}

static inline float scalar_fma(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

#define OF_THIS_SET(name) name##_avx512
#include "lowrank/kernel_vector_entries.h"
#endif
