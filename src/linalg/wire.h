/* SPDX-License-Identifier: Apache-2.0 */
/* How gradients travel: as floats, as bfloat16, or as bytes with a scale for each block; and, where most of a
 * gradient is zero, without its runs of zeros. Pure arithmetic on slices of a flat vector: the worker rounds its
 * gradient in place (wire_round), which is the only place where anything is lost and where the residual of error
 * feedback is kept; what is rounded is encoded and decoded without loss, however the vector is cut into slices. So
 * a gradient that has travelled has the bits of one that has not.
 *
 * int8: a block of WIRE_BLOCK elements, at absolute positions, has the scale s = max |x| / 127, rounded up to 17
 * significant bits, so that every product of it with a code from -127 to 127 is exact; an element has the code
 * nearest to x / s, ties to even. A block in which something is not finite comes out as NaN: a run that diverges
 * must be seen to.
 *
 * Error feedback: what rounding has left out is added to the worker's next gradient. F. Seide et al., "1-bit
 * stochastic gradient descent", Interspeech 2014; S. P. Karimireddy et al., "Error feedback fixes SignSGD and other
 * gradient compression schemes", ICML 2019, algorithm 2. Where runs of zeros are left out, the residual of an
 * element waits until a gradient touches it. */
#ifndef HYSGD_LINALG_WIRE_H
#define HYSGD_LINALG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A slice begins at a multiple of WIRE_BLOCK, and ends at one or at the end of the vector. The encodings of slices
 * that follow each other, one after the other, are the encoding of the whole: where runs of zeros are left out, if
 * they begin at multiples of WIRE_FRAME. */
#define WIRE_BLOCK 1024
#define WIRE_FRAME 16384

enum wire_element { WIRE_FP32, WIRE_BF16, WIRE_INT8 };

struct wire_format {
    enum wire_element element;
    bool leaves_out_zeros;
    size_t exact_from; /* elements from here on are statistics and travel as floats; SIZE_MAX: none */
};

/* Rounds the slice [first, first + count) of a gradient in place to what the format can carry. `kept` [count] is
 * what former roundings have left out and is added first; what this one leaves out goes to `left` [count], which
 * may be `kept`. Both NULL: no feedback; not looked at for exact elements. */
void wire_round(const struct wire_format *format, size_t first, size_t count, float *gradient, const float *kept,
                float *left);

/* Whether the encoding is the floats themselves, which can be sent as they are. */
static inline bool wire_is_plain(const struct wire_format *format) {
    return format->element == WIRE_FP32 && !format->leaves_out_zeros;
}

/* Bytes that the encoding of a slice has at most: without leaving out zeros, exactly. */
size_t wire_bound(const struct wire_format *format, size_t first, size_t count);

/* Bytes that the encoding of this slice has. */
size_t wire_size(const struct wire_format *format, size_t first, size_t count, const float *gradient);

/* Encodes a slice of a rounded gradient into out [wire_bound]; returns the bytes used. `out` need not be aligned.
 * Numbers are in the order of this machine's bytes. */
size_t wire_encode(const struct wire_format *format, size_t first, size_t count, const float *gradient, void *out);

/* Decodes the slice: the bits that wire_encode was given. HYSGD_INPUT: `bytes` [size] are no encoding of such a
 * slice; gradient_out is then unfinished. */
HYSGD_MUST_CHECK enum hysgd_status wire_decode(const struct wire_format *format, size_t first, size_t count,
                                               const void *bytes, size_t size, float *gradient_out);

#endif
