/* SPDX-License-Identifier: Apache-2.0 */
/* Three sums of eight floats at once, in the order of adagrad2's groups; for the vector kernels. */
#ifndef HYSGD_LOWRANK_KERNEL_VECTOR_FOLD_H
#define HYSGD_LOWRANK_KERNEL_VECTOR_FOLD_H

#include <immintrin.h>

/* The sums of x, y, z, z. */
static inline __m128 fold_eight(__m256 x, __m256 y, __m256 z) {
    __m256 a = _mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
    __m256 b = _mm256_add_ps(z, _mm256_permute_ps(z, _MM_SHUFFLE(1, 0, 3, 2)));
    __m256 c = _mm256_add_ps(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 1, 0)),
                             _mm256_shuffle_ps(a, b, _MM_SHUFFLE(0, 1, 3, 2)));
    return _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
}

#endif
