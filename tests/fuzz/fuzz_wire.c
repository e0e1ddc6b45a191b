/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an encoded slice: refused, or decoded to what can be encoded and decoded again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "linalg/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define MOST (2 * WIRE_FRAME + 3)

/* The first four bytes choose the format and the slice. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static float values[MOST], again[MOST];
    static uint8_t encoded[5 * MOST];
    static const size_t counts[] = {0, 1, 1023, 1024, 1025, 3000, WIRE_FRAME + 1, MOST};
    if (length < 4)
        return 0;
    const struct wire_format format = {(enum wire_element)(bytes[0] % 3), bytes[0] & 4,
                                       bytes[1] & 1 ? SIZE_MAX : (size_t)bytes[1] * 20};
    size_t first = (size_t)(bytes[2] % 40) * WIRE_BLOCK, count = counts[bytes[3] % 8];
    if (wire_decode(&format, first, count, bytes + 4, length - 4, values) != HYSGD_OK)
        return 0;
    wire_round(&format, first, count, values, NULL, NULL);
    size_t size = wire_encode(&format, first, count, values, encoded);
    if (size > wire_bound(&format, first, count) || size != wire_size(&format, first, count, values) ||
        wire_decode(&format, first, count, encoded, size, again) != HYSGD_OK ||
        memcmp(values, again, count * sizeof *values) != 0)
        abort();
    return 0;
}
