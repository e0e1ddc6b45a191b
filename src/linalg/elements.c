/* SPDX-License-Identifier: Apache-2.0 */
/* Each operation is one loop for float and one for bfloat16, which the compiler vectorizes for each instruction
 * set. Neither loop promises `restrict`: an output may be an input, and then element i is read before it is
 * written. */
#include "linalg/elements.h"

#include <stdint.h>

#include "linalg/bfloat16.h"
#include "linalg/vector.h"

/* The loops carry no dependence from one element to another, although pointers may be equal. */
#define INDEPENDENT _Pragma("GCC ivdep")

/* Written so that a NaN stays one: a run that diverges must be seen to. */
VECTOR_CODE static void relu_float(const float *in, float *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = in[i] < 0 ? 0 : in[i];
}

/* As an integer with a sign, a bfloat16 is above 0 exactly when it is a positive number or a NaN without sign; the
 * NaNs with a sign, which is how x86 makes them, are above infinity, 0x7f80, once the sign is taken off. */
VECTOR_CODE static void relu_bfloat16(const int16_t *in, int16_t *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = (int16_t)(in[i] & -((in[i] > 0) | ((in[i] & 0x7fff) > 0x7f80)));
}

void elements_relu(enum element element, const void *in, void *out, size_t count) {
    if (element == ELEMENT_FLOAT)
        relu_float(in, out, count);
    else
        relu_bfloat16(in, out, count);
}

VECTOR_CODE static void add_float(const float *a, const float *b, float least, float *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        float sum = a[i] + b[i];
        out[i] = sum < least ? least : sum;
    }
}

VECTOR_CODE static void add_bfloat16(const uint16_t *a, const uint16_t *b, float least, uint16_t *out,
                                     size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        float sum = widen(a[i]) + widen(b[i]);
        out[i] = narrow(sum < least ? least : sum);
    }
}

void elements_add(enum element element, const void *a, const void *b, bool is_relu, void *out, size_t count) {
    const float least = is_relu ? 0.0f : -__builtin_inff();
    if (element == ELEMENT_FLOAT)
        add_float(a, b, least, out, count);
    else
        add_bfloat16(a, b, least, out, count);
}

VECTOR_CODE static void gate_float(const float *a, const float *value, float *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = value[i] > 0 ? a[i] : 0;
}

VECTOR_CODE static void gate_sum_float(const float *a, const float *b, const float *value, float *out,
                                       size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        float sum = a[i] + b[i];
        out[i] = value[i] > 0 ? sum : 0;
    }
}

/* A mask instead of a choice: the compiler must not make the load of `a` conditional, which it could not vectorize.
 */
VECTOR_CODE static void gate_bfloat16(const int16_t *a, const int16_t *value, int16_t *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = (int16_t)(a[i] & -(value[i] > 0));
}

VECTOR_CODE static void gate_sum_bfloat16(const uint16_t *a, const uint16_t *b, const int16_t *value, uint16_t *out,
                                          size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        uint16_t sum = narrow(widen(a[i]) + widen(b[i]));
        out[i] = (uint16_t)(sum & -(value[i] > 0));
    }
}

void elements_gate(enum element element, const void *a, const void *b, const void *value, void *out, size_t count) {
    if (element == ELEMENT_FLOAT && b)
        gate_sum_float(a, b, value, out, count);
    else if (element == ELEMENT_FLOAT)
        gate_float(a, value, out, count);
    else if (b)
        gate_sum_bfloat16(a, b, value, out, count);
    else
        gate_bfloat16(a, value, out, count);
}

VECTOR_CODE static void bias_row(const float *restrict bias, float least, float *restrict row, size_t width) {
    for (size_t i = 0; i < width; i++) {
        float sum = row[i] + bias[i];
        row[i] = sum < least ? least : sum;
    }
}

void elements_bias(const float *bias, bool is_relu, float *rows, size_t count, size_t width) {
    if (!bias && is_relu)
        relu_float(rows, rows, count * width);
    for (size_t n = 0; bias && n < count; n++)
        bias_row(bias, is_relu ? 0.0f : -__builtin_inff(), rows + n * width, width);
}

VECTOR_CODE static void multiply_float(const float *in, const float *factor, float *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = in[i] * factor[i];
}

VECTOR_CODE static void multiply_bfloat16(const uint16_t *in, const float *factor, uint16_t *out, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++)
        out[i] = narrow(widen(in[i]) * factor[i]);
}

void elements_multiply(enum element element, const void *in, const float *factor, void *out, size_t count) {
    if (element == ELEMENT_FLOAT)
        multiply_float(in, factor, out, count);
    else
        multiply_bfloat16(in, factor, out, count);
}
