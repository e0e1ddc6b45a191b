/* SPDX-License-Identifier: Apache-2.0 */
/* The IDX format of unsigned bytes: two zero bytes, the type 0x08, the rank, the dimensions as big-endian 32-bit
 * numbers, the data. */
#ifndef HYSGD_DATA_IDX_H
#define HYSGD_DATA_IDX_H

#include "base/status.h"

#define IDX_MOST_RANK 4

struct idx {
    int rank;
    uint32_t dims[IDX_MOST_RANK]; /* outermost first */
    const uint8_t *data;          /* [product of dims], inside the bytes that were parsed */
};

/* Reads the header and checks that exactly the data it promises follow. `rank` is 1 to IDX_MOST_RANK. HYSGD_INPUT
 * begins with `where`, the file's name. */
HYSGD_MUST_CHECK enum hysgd_status idx_parse(const uint8_t *bytes, size_t size, int rank, const char *where,
                                             struct idx *idx_out);

#endif
