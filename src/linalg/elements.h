/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the elements of activations, in float or bfloat16, whose memory order does not matter to them. */
#ifndef HYSGD_LINALG_ELEMENTS_H
#define HYSGD_LINALG_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>

/* What the elements are; sums and products are computed in float and rounded to nearest even. */
enum element { ELEMENT_FLOAT, ELEMENT_BFLOAT16 };

/* All arrays have `count` elements; `out` may be one of the inputs. */

/* out = max(in, 0); a NaN stays one. */
void elements_relu(enum element element, const void *in, void *out, size_t count);

/* out = a + b, or max(a + b, 0) when is_relu. */
void elements_add(enum element element, const void *a, const void *b, bool is_relu, void *out, size_t count);

/* The gradient behind max(x, 0): out = a where its result `value` is positive, else 0; (a + b) instead of a unless
 * b is NULL. */
void elements_gate(enum element element, const void *a, const void *b, const void *value, void *out, size_t count);

/* Adds bias[i] to element i of each row (NULL: nothing), then takes max(., 0) when is_relu; [count][width] floats
 * in place. */
void elements_bias(const float *bias, bool is_relu, float *rows, size_t count, size_t width);

/* out = in * factor. */
void elements_multiply(enum element element, const void *in, const float *factor, void *out, size_t count);

#endif
