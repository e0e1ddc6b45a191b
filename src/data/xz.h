/* SPDX-License-Identifier: Apache-2.0 */
/* The .xz format, where liblzma is there. */
#ifndef HYSGD_DATA_XZ_H
#define HYSGD_DATA_XZ_H

#include "data/file.h"

#define XZ_MAGIC_BYTES 6

static inline bool xz_is(const uint8_t *bytes, size_t size) {
    static const uint8_t magic[XZ_MAGIC_BYTES] = {0xfd, '7', 'z', 'X', 'Z', 0};
    for (size_t i = 0; i < sizeof magic; i++)
        if (i >= size || bytes[i] != magic[i])
            return false;
    return true;
}

/* Decompresses all streams of the raw bytes. HYSGD_INPUT names the file `path` when they are damaged, truncated,
 * hold more than `limit` bytes, or when this program was built without liblzma. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status xz_decompress(const struct file *raw, const char *path, size_t limit,
                                                 struct file *file_out);

#endif
