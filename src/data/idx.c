/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of IDX files, the format of MNIST and the data sets that copy it (http://yann.lecun.com/exdb/mnist/).
 */
#include "data/idx.h"

#include <stdio.h>

#define TYPE_UNSIGNED_BYTE 0x08

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* "60000 x 28 x 28" */
static void print_dims(const struct idx *idx, char *text, size_t size) {
    size_t used = 0;
    for (int i = 0; i < idx->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? " x %u" : "%u", idx->dims[i]);
}

static enum hysgd_status check_size(const struct idx *idx, size_t header, size_t size, const char *where) {
    char dims[64];
    print_dims(idx, dims, sizeof dims);
    size_t expected = header;
    size_t volume = 1;
    for (int i = 0; i < idx->rank; i++) {
        if (__builtin_mul_overflow(volume, idx->dims[i], &volume))
            return hysgd_fail(HYSGD_INPUT, "%s: the dimensions %s are too large", where, dims);
    }
    if (__builtin_add_overflow(expected, volume, &expected))
        return hysgd_fail(HYSGD_INPUT, "%s: the dimensions %s are too large", where, dims);
    if (size < expected)
        return hysgd_fail(HYSGD_INPUT, "%s: truncated at byte %zu; expected %zu bytes for %s", where, size,
                          expected, dims);
    if (size > expected)
        return hysgd_fail(HYSGD_INPUT, "%s: %zu trailing bytes; expected the end at byte %zu after %s", where,
                          size - expected, expected, dims);
    return HYSGD_OK;
}

enum hysgd_status idx_parse(const uint8_t *bytes, size_t size, int rank, const char *where, struct idx *idx_out) {
    size_t header = 4 + 4 * (size_t)rank;
    if (size == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: the file is empty; expected an IDX header of %zu bytes", where, header);
    uint32_t expected = TYPE_UNSIGNED_BYTE << 8 | (uint32_t)rank;
    if (size >= 4 && big_endian(bytes) != expected)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: begins with 0x%08x; expected 0x%08x, IDX of unsigned bytes in %d dimension%s", where,
                          big_endian(bytes), expected, rank, rank == 1 ? "" : "s");
    if (size < header)
        return hysgd_fail(HYSGD_INPUT, "%s: truncated at byte %zu; expected an IDX header of %zu bytes", where,
                          size, header);
    struct idx idx = {.rank = rank, .data = bytes + header};
    for (int i = 0; i < rank; i++)
        idx.dims[i] = big_endian(bytes + 4 + 4 * (size_t)i);
    HYSGD_TRY(check_size(&idx, header, size, where));
    *idx_out = idx;
    return HYSGD_OK;
}
