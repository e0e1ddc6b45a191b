/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding, encoding and decoding of gradients: see wire.h. A slice is walked over in pieces that are encoded in
 * the same way throughout: blocks, cut where the exact elements begin.
 *
 * Without leaving out zeros a slice is its pieces, one after the other: floats, bfloat16s, or the scale (float) and
 * the codes (bytes). Otherwise each piece has a header of 16 bits before it:
 *     0              the piece as above
 *     1 to 512       so many runs: the scale, if there is one, then for each run its first element and its length
 *                    (16 bits each) and its elements
 *     32768 + k      k pieces, within a frame, in which all is zero */
#include "linalg/wire.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "linalg/bfloat16.h"
#include "linalg/vector.h"

#define INDEPENDENT _Pragma("GCC ivdep")

#define MAGNITUDE_BITS 0x7fffffffu
#define INFINITE_BITS  0x7f800000u
#define MOST_CODE      127

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct piece {
    size_t first, count;
    enum wire_element element;
};

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The piece that begins at `first`, of a slice up to `end`. */
static struct piece piece_at(const struct wire_format *format, size_t first, size_t end) {
    size_t limit = least(end, (first / WIRE_BLOCK + 1) * WIRE_BLOCK);
    if (first >= format->exact_from)
        return (struct piece){first, limit - first, WIRE_FP32};
    return (struct piece){first, least(limit, format->exact_from) - first, format->element};
}

static size_t width_of(enum wire_element element) {
    static const size_t widths[] = {[WIRE_FP32] = 4, [WIRE_BF16] = 2, [WIRE_INT8] = 1};
    return widths[element];
}

static size_t scale_size(enum wire_element element) {
    return element == WIRE_INT8 ? sizeof(float) : 0;
}

/* ---- Scales ---- */

/* Of a block; not a number where something in it is not finite, 0 where all is too small to have one. */
struct scale {
    float value, inverse;
};

/* Below it nothing is told from 0, so that neither a scale nor its inverse leaves the range of normal numbers. */
#define LEAST_MAGNITUDE 0x1p-100f

/* 17 significant bits times the 7 of a code are exact in a float. */
#define SCALE_DROPPED 0x7fu

/* `most`: the greatest magnitude of the block, as bits. */
static struct scale scale_for(uint32_t most) {
    const float greatest = float_of(bits_of(FLT_MAX / MOST_CODE) & ~SCALE_DROPPED);
    if (most >= INFINITE_BITS)
        return (struct scale){NAN, 0};
    if (float_of(most) < LEAST_MAGNITUDE)
        return (struct scale){0, 0};
    float scale = float_of((bits_of(float_of(most) / MOST_CODE) + SCALE_DROPPED) & ~SCALE_DROPPED);
    scale = scale < greatest ? scale : greatest;
    return (struct scale){scale, 1 / scale};
}

VECTOR_CODE static uint32_t find_most(const float *values, size_t count) {
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t magnitude = bits_of(values[i]) & MAGNITUDE_BITS;
        most = most > magnitude ? most : magnitude;
    }
    return most;
}

/* What is to be rounded of an element: its sum with what was kept; 0 where the gradient leaves it alone, unless
 * `always` is all ones. */
static inline float due(float gradient, float total, uint32_t always) {
    return float_of(bits_of(total) & (always | -(uint32_t)(gradient != 0)));
}

VECTOR_CODE static uint32_t find_most_due(const float *gradient, const float *kept, uint32_t always, size_t count) {
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t magnitude = bits_of(due(gradient[i], gradient[i] + kept[i], always)) & MAGNITUDE_BITS;
        most = most > magnitude ? most : magnitude;
    }
    return most;
}

/* ---- Rounding ---- */

/* Adding and taking away 1.5 * 2^23 rounds what is far smaller to an integer, ties to even; 0 comes out without a
 * sign. */
static inline float nearest(float value) {
    return (value + 0x1.8p23f) - 0x1.8p23f;
}

VECTOR_CODE static void round_int8(float *values, float scale, float inverse, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = nearest(values[i] * inverse) * scale;
}

VECTOR_CODE static void feed_int8(float *gradient, const float *kept, float *left, uint32_t always, float scale,
                                  float inverse, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        float total = gradient[i] + kept[i];
        float rounded = nearest(due(gradient[i], total, always) * inverse) * scale;
        left[i] = total - rounded;
        gradient[i] = rounded;
    }
}

static void fill(float *values, float value, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

static void round_block(float *gradient, const float *kept, float *left, uint32_t always, size_t count) {
    struct scale scale =
        scale_for(kept ? find_most_due(gradient, kept, always, count) : find_most(gradient, count));
    if (isnan(scale.value)) {
        fill(gradient, NAN, count);
        if (kept && left != kept)
            memcpy(left, kept, count * sizeof *left);
    } else if (kept) {
        feed_int8(gradient, kept, left, always, scale.value, scale.inverse, count);
    } else {
        round_int8(gradient, scale.value, scale.inverse, count);
    }
}

VECTOR_CODE static void round_bf16(float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = widen(narrow(values[i]));
}

VECTOR_CODE static void feed_bf16(float *gradient, const float *kept, float *left, uint32_t always, size_t count) {
    INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        float total = gradient[i] + kept[i];
        float rounded = widen(narrow(due(gradient[i], total, always)));
        float rest = total - rounded;
        left[i] = (bits_of(rest) & MAGNITUDE_BITS) < INFINITE_BITS ? rest : kept[i];
        gradient[i] = rounded;
    }
}

void wire_round(const struct wire_format *format, size_t first, size_t count, float *gradient, const float *kept,
                float *left) {
    size_t end = least(first + count, format->exact_from);
    uint32_t always = format->leaves_out_zeros ? 0 : UINT32_MAX;
    if (format->element == WIRE_FP32)
        return;
    for (size_t at = first; at < end;) {
        struct piece piece = piece_at(format, at, end);
        float *values = gradient + (at - first);
        const float *before = kept ? kept + (at - first) : NULL;
        float *after = left ? left + (at - first) : NULL;
        if (piece.element == WIRE_INT8)
            round_block(values, before, after, always, piece.count);
        else if (kept)
            feed_bf16(values, before, after, always, piece.count);
        else
            round_bf16(values, piece.count);
        at += piece.count;
    }
}

/* ---- A piece in its code ---- */

struct coded {
    _Alignas(64) union {
        float floats[WIRE_BLOCK];
        uint16_t halves[WIRE_BLOCK];
        int8_t bytes[WIRE_BLOCK];
    };
    float scale; /* of bytes */
};

VECTOR_CODE static void code_bf16(const float *values, uint16_t *halves, size_t count) {
    for (size_t i = 0; i < count; i++)
        halves[i] = narrow(values[i]);
}

VECTOR_CODE static void code_int8(const float *values, float inverse, int8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        bytes[i] = (int8_t)(int32_t)nearest(values[i] * inverse);
}

static void code_piece(const struct piece *piece, const float *values, struct coded *coded) {
    if (piece->element == WIRE_FP32) {
        memcpy(coded->floats, values, piece->count * sizeof *values);
    } else if (piece->element == WIRE_BF16) {
        code_bf16(values, coded->halves, piece->count);
    } else {
        struct scale scale = scale_for(find_most(values, piece->count));
        coded->scale = scale.value;
        if (isnan(scale.value))
            memset(coded->bytes, 0, piece->count);
        else
            code_int8(values, scale.inverse, coded->bytes, piece->count);
    }
}

VECTOR_CODE static void value_bf16(const uint16_t *halves, float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = widen(halves[i]);
}

VECTOR_CODE static void value_int8(const int8_t *bytes, float scale, float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = (float)bytes[i] * scale;
}

static void value_piece(const struct piece *piece, const struct coded *coded, float *values) {
    if (piece->element == WIRE_FP32)
        memcpy(values, coded->floats, piece->count * sizeof *values);
    else if (piece->element == WIRE_BF16)
        value_bf16(coded->halves, values, piece->count);
    else if (isnan(coded->scale))
        fill(values, NAN, piece->count);
    else
        value_int8(coded->bytes, coded->scale, values, piece->count);
}

static size_t dense_size(const struct piece *piece) {
    return scale_size(piece->element) + piece->count * width_of(piece->element);
}

static uint8_t *put(uint8_t *out, const void *data, size_t size) {
    memcpy(out, data, size);
    return out + size;
}

static uint8_t *put_dense(uint8_t *out, const struct piece *piece, const struct coded *coded) {
    out = put(out, &coded->scale, scale_size(piece->element));
    return put(out, coded->floats, piece->count * width_of(piece->element));
}

/* ---- Leaving out zeros ---- */

#define EMPTY_FLAG 0x8000u

VECTOR_CODE static bool is_all_zero(const float *values, size_t count) {
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++)
        found |= bits_of(values[i]);
    return found == 0;
}

/* marks[i] = whether element i is not zero in its code. */
VECTOR_CODE static void mark_piece(const struct piece *piece, const struct coded *coded, uint8_t *marks) {
    if (piece->element == WIRE_FP32)
        for (size_t i = 0; i < piece->count; i++)
            marks[i] = bits_of(coded->floats[i]) != 0;
    else if (piece->element == WIRE_BF16)
        for (size_t i = 0; i < piece->count; i++)
            marks[i] = coded->halves[i] != 0;
    else
        for (size_t i = 0; i < piece->count; i++)
            marks[i] = coded->bytes[i] != 0;
}

struct run {
    uint16_t first, count;
};

/* The first element from `at` on with this mark; `count` where there is none. */
static size_t find_mark(const uint8_t *marks, uint8_t mark, size_t at, size_t count) {
    const uint8_t *found = memchr(marks + at, mark, count - at);
    return found ? (size_t)(found - marks) : count;
}

/* The next run from `at` on; its count is 0 where there is none. Gaps that cost no more than another run's header
 * belong to it. */
static struct run next_run(const uint8_t *marks, size_t gap, size_t at, size_t count) {
    size_t first = find_mark(marks, 1, at, count);
    size_t end = first;
    for (size_t next = first; next < count && next - end <= gap; next = find_mark(marks, 1, end, count))
        end = find_mark(marks, 0, next, count);
    return (struct run){(uint16_t)first, (uint16_t)(end - first)};
}

/* The piece with its header, in runs where that is smaller. NULL: all of its codes are zero, nothing is written. */
static uint8_t *put_sparse(uint8_t *out, const struct piece *piece, const struct coded *coded) {
    uint8_t marks[WIRE_BLOCK];
    size_t width = width_of(piece->element), gap = sizeof(struct run) / width;
    size_t size = scale_size(piece->element);
    uint16_t runs = 0;
    mark_piece(piece, coded, marks);
    uint8_t *at = put(out + sizeof runs, &coded->scale, size);
    for (struct run run = {0}; (run = next_run(marks, gap, run.first + run.count, piece->count)).count > 0;
         runs++) {
        size += sizeof run + run.count * width;
        if (size >= dense_size(piece))
            break;
        at = put(at, &run, sizeof run);
        at = put(at, (const uint8_t *)coded->floats + run.first * width, run.count * width);
    }
    bool is_bad = piece->element == WIRE_INT8 && isnan(coded->scale);
    if (runs == 0 && size <= scale_size(piece->element) && !is_bad)
        return NULL;
    bool is_dense = is_bad || size >= dense_size(piece);
    put(out, is_dense ? &(uint16_t){0} : &runs, sizeof runs);
    return is_dense ? put_dense(out + sizeof runs, piece, coded) : at;
}

/* The header of pieces that are left out, at `header`, counts one more; a new one begins where there is none yet.
 */
static uint8_t *put_empty(uint8_t *out, uint8_t **header) {
    uint16_t word = EMPTY_FLAG;
    if (*header)
        memcpy(&word, *header, sizeof word);
    else
        *header = out;
    word++;
    return put(*header, &word, sizeof word);
}

/* ---- Slices ---- */

/* Bytes of a slice without headers, and its pieces. */
static size_t measure(const struct wire_format *format, size_t first, size_t count, size_t *pieces_out) {
    size_t end = first + count, middle = first > format->exact_from ? first : least(end, format->exact_from);
    size_t lossy = middle - first;
    size_t blocks = (lossy + WIRE_BLOCK - 1) / WIRE_BLOCK;
    *pieces_out = blocks;
    if (end > middle)
        *pieces_out += (end - 1) / WIRE_BLOCK - middle / WIRE_BLOCK + 1;
    return lossy * width_of(format->element) + blocks * scale_size(format->element) + (end - middle) * 4;
}

size_t wire_bound(const struct wire_format *format, size_t first, size_t count) {
    size_t pieces, size = measure(format, first, count, &pieces);
    return size + (format->leaves_out_zeros ? pieces * sizeof(uint16_t) : 0);
}

static size_t encode_dense(const struct wire_format *format, size_t first, size_t count, const float *gradient,
                           uint8_t *out) {
    struct coded coded = {.scale = 0};
    uint8_t *at = out;
    for (size_t next = first; next < first + count;) {
        struct piece piece = piece_at(format, next, first + count);
        code_piece(&piece, gradient + (next - first), &coded);
        at = put_dense(at, &piece, &coded);
        next += piece.count;
    }
    return (size_t)(at - out);
}

/* With `keeps` false only the size is found out, and `out` has room for two pieces. */
static size_t encode_sparse(const struct wire_format *format, size_t first, size_t count, const float *gradient,
                            uint8_t *out, bool keeps) {
    struct coded coded = {.scale = 0};
    uint8_t *at = out, *empty = NULL;
    size_t size = 0;
    for (size_t next = first; next < first + count;) {
        struct piece piece = piece_at(format, next, first + count);
        const float *values = gradient + (next - first);
        uint8_t *after = NULL;
        if (next % WIRE_FRAME == 0)
            empty = NULL;
        if (!is_all_zero(values, piece.count)) {
            code_piece(&piece, values, &coded);
            after = put_sparse(at, &piece, &coded);
        }
        bool is_longer = after || !empty;
        if (after)
            empty = NULL;
        else
            after = put_empty(at, &empty);
        if (is_longer)
            size += (size_t)(after - at);
        at = keeps ? after : out + (empty ? sizeof(uint16_t) : 0);
        next += piece.count;
    }
    return size;
}

size_t wire_size(const struct wire_format *format, size_t first, size_t count, const float *gradient) {
    uint8_t scratch[2 * sizeof(struct coded)];
    if (!format->leaves_out_zeros)
        return wire_bound(format, first, count);
    return encode_sparse(format, first, count, gradient, scratch, false);
}

size_t wire_encode(const struct wire_format *format, size_t first, size_t count, const float *gradient, void *out) {
    if (format->leaves_out_zeros)
        return encode_sparse(format, first, count, gradient, out, true);
    if (format->element != WIRE_FP32)
        return encode_dense(format, first, count, gradient, out);
    memcpy(out, gradient, count * sizeof *gradient);
    return count * sizeof *gradient;
}

/* ---- Decoding ---- */

struct reader {
    const uint8_t *at;
    size_t size; /* of what is left */
};

static bool take(struct reader *reader, void *data, size_t size) {
    if (reader->size < size)
        return false;
    memcpy(data, reader->at, size);
    reader->at += size;
    reader->size -= size;
    return true;
}

static bool take_dense(struct reader *reader, const struct piece *piece, struct coded *coded) {
    return take(reader, &coded->scale, scale_size(piece->element)) &&
           take(reader, coded->floats, piece->count * width_of(piece->element));
}

static bool take_runs(struct reader *reader, const struct piece *piece, unsigned runs, struct coded *coded) {
    size_t width = width_of(piece->element), end = 0;
    memset(coded->floats, 0, piece->count * width);
    if (!take(reader, &coded->scale, scale_size(piece->element)))
        return false;
    for (unsigned i = 0; i < runs; i++) {
        struct run run;
        if (!take(reader, &run, sizeof run) || run.first < end || run.count == 0 ||
            (size_t)run.first + run.count > piece->count ||
            !take(reader, (uint8_t *)coded->floats + run.first * width, run.count * width))
            return false;
        end = (size_t)run.first + run.count;
    }
    return true;
}

/* `empty`: pieces that are still to be left out. */
static bool take_sparse(struct reader *reader, const struct piece *piece, unsigned *empty, struct coded *coded) {
    uint16_t header = 0;
    if (*empty == 0 && !take(reader, &header, sizeof header))
        return false;
    if (*empty > 0 || header > EMPTY_FLAG) {
        *empty = (*empty > 0 ? *empty : header - EMPTY_FLAG) - 1;
        memset(coded->floats, 0, piece->count * width_of(piece->element));
        coded->scale = 0;
        return true;
    }
    return header == 0 ? take_dense(reader, piece, coded) : take_runs(reader, piece, header, coded);
}

static enum hysgd_status fail_damaged(size_t element) {
    return hysgd_fail(HYSGD_INPUT, "a gradient that has arrived is damaged at element %zu", element);
}

enum hysgd_status wire_decode(const struct wire_format *format, size_t first, size_t count, const void *bytes,
                              size_t size, float *gradient_out) {
    struct reader reader = {bytes, size};
    struct coded coded = {.scale = 0};
    unsigned empty = 0;
    if (!format->leaves_out_zeros && size != wire_bound(format, first, count))
        return hysgd_fail(HYSGD_INPUT, "a gradient that has arrived has %zu bytes: expected %zu", size,
                          wire_bound(format, first, count));
    if (wire_is_plain(format)) {
        memcpy(gradient_out, bytes, size);
        return HYSGD_OK;
    }
    for (size_t next = first; next < first + count;) {
        struct piece piece = piece_at(format, next, first + count);
        if (next % WIRE_FRAME == 0 && empty > 0)
            return fail_damaged(next);
        bool is_good = format->leaves_out_zeros ? take_sparse(&reader, &piece, &empty, &coded)
                                                : take_dense(&reader, &piece, &coded);
        if (!is_good)
            return fail_damaged(next);
        value_piece(&piece, &coded, gradient_out + (next - first));
        next += piece.count;
    }
    return reader.size == 0 && empty == 0 ? HYSGD_OK : fail_damaged(first + count);
}
