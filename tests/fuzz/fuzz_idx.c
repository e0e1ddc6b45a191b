/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are refused or give dimensions whose product of bytes can be read. The first byte chooses the rank. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "data/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0)
        return 0;
    int rank = 1 + bytes[0] % IDX_MOST_RANK;
    struct idx idx;
    if (idx_parse(bytes + 1, size - 1, rank, "input", &idx) != HYSGD_OK)
        return 0;
    uint64_t volume = 1;
    for (int i = 0; i < rank; i++)
        volume *= idx.dims[i];
    volatile uint8_t sum = 0;
    for (uint64_t i = 0; i < volume; i++)
        sum = (uint8_t)(sum + idx.data[i]);
    if (idx.rank != rank || idx.data + volume != bytes + size)
        abort();
    return 0;
}
