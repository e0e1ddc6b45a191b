/* SPDX-License-Identifier: Apache-2.0 */
/* Loops over flat vectors, written so that the compiler vectorizes them for each instruction set; see vector.h for
 * the promised order. */
#include "linalg/vector.h"

#include <string.h>

#if defined(__SSE2__) && !defined(HYSGD_SANITIZE)
#include <immintrin.h>
#define HAS_STREAMS
#endif

VECTOR_CODE void vector_accumulate(float *restrict sum, const float *restrict values, float weight, int is_first,
                                   size_t count) {
    if (is_first) {
        for (size_t i = 0; i < count; i++)
            sum[i] = weight * values[i];
    } else {
        for (size_t i = 0; i < count; i++)
            sum[i] += weight * values[i];
    }
}

#ifdef HAS_STREAMS
/* Whole lines, so that the processor need not read what they held. */
void vector_stream(float *restrict out, const float *restrict values, size_t count) {
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (size_t k = i; k < i + 16; k += 4)
            _mm_stream_ps(out + k, _mm_loadu_ps(values + k));
    memcpy(out + i, values + i, (count - i) * sizeof *out);
}

void vector_end_stream(void) {
    _mm_mfence();
}
#else
void vector_stream(float *restrict out, const float *restrict values, size_t count) {
    memcpy(out, values, count * sizeof *out);
}

void vector_end_stream(void) {
}
#endif

/* Independent sums, added pairwise at the end: the order is a function of the length, not of the processor. */
#define NORM_LANES 16

static double add_lanes(double *lanes) {
    for (size_t width = NORM_LANES / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++)
            lanes[lane] += lanes[lane + width];
    return lanes[0];
}

VECTOR_CODE double vector_norm_squared(const float *values, size_t count) {
    double lanes[NORM_LANES] = {0};
    size_t whole = count - count % NORM_LANES;
    for (size_t i = 0; i < whole; i += NORM_LANES)
        for (size_t lane = 0; lane < NORM_LANES; lane++)
            lanes[lane] += (double)values[i + lane] * (double)values[i + lane];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += (double)values[i] * (double)values[i];
    return add_lanes(lanes);
}

static double square_of_difference(float left, float right) {
    double difference = (double)left - (double)right;
    return difference * difference;
}

VECTOR_CODE double vector_distance_squared(const float *left, const float *right, size_t count) {
    double lanes[NORM_LANES] = {0};
    size_t whole = count - count % NORM_LANES;
    for (size_t i = 0; i < whole; i += NORM_LANES)
        for (size_t lane = 0; lane < NORM_LANES; lane++)
            lanes[lane] += square_of_difference(left[i + lane], right[i + lane]);
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += square_of_difference(left[i], right[i]);
    return add_lanes(lanes);
}

VECTOR_CODE double vector_dot(const float *left, const float *right, size_t count) {
    double lanes[NORM_LANES] = {0};
    size_t whole = count - count % NORM_LANES;
    for (size_t i = 0; i < whole; i += NORM_LANES)
        for (size_t lane = 0; lane < NORM_LANES; lane++)
            lanes[lane] += (double)left[i + lane] * (double)right[i + lane];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += (double)left[i] * (double)right[i];
    return add_lanes(lanes);
}

/* A float is infinite or not a number when all bits of its exponent are set. */
#define EXPONENT_BITS 0x7f800000u

VECTOR_CODE int vector_is_finite(const float *values, size_t count) {
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        found |= (uint32_t)((bits & EXPONENT_BITS) == EXPONENT_BITS);
    }
    return found == 0;
}
