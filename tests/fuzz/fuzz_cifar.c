/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are refused or are whole records with valid labels. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "data/cifar10.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint64_t count;
    if (cifar10_check(bytes, size, "input", &count) != HYSGD_OK)
        return 0;
    if (count == 0 || count * CIFAR10_RECORD != size)
        abort();
    for (uint64_t i = 0; i < count; i++) {
        if (bytes[i * CIFAR10_RECORD] >= CIFAR10_CLASSES)
            abort();
    }
    return 0;
}
