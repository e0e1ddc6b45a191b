/* SPDX-License-Identifier: Apache-2.0 */
/* Vector code for flat parameter vectors: combining gradients and their norms. Element-wise results do not depend
 * on the processor: contraction is off and no sum is reordered, except in the norm, whose order is fixed by the
 * length. */
#ifndef HYSGD_LINALG_VECTOR_H
#define HYSGD_LINALG_VECTOR_H

#include <stddef.h>
#include <stdint.h>

/* Compiles a function once for each of these instruction sets and picks at run time. Sanitizers cannot intercept
 * the choice. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(HYSGD_SANITIZE)
#define VECTOR_CODE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTOR_CODE
#endif

/* sum += weight * values, or sum = weight * values when is_first; [count] each. */
void vector_accumulate(float *restrict sum, const float *restrict values, float weight, int is_first, size_t count);

/* Copies to `out`, aligned to 16 bytes, past the caches: for what other cores will read before this one does, as
 * taking a line from a distant core's cache is slower than writing to memory. Call vector_end_stream before telling
 * the others. */
void vector_stream(float *restrict out, const float *restrict values, size_t count);

/* Waits until everything that this thread has written can be seen by all. */
void vector_end_stream(void);

/* The sum of squares in double, in an order fixed by `count`. */
double vector_norm_squared(const float *values, size_t count);

/* The same of left - right. */
double vector_distance_squared(const float *left, const float *right, size_t count);

/* The sum of products, likewise. */
double vector_dot(const float *left, const float *right, size_t count);

/* Whether every value is finite. */
int vector_is_finite(const float *values, size_t count);

#endif
