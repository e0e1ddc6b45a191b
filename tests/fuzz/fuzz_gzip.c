/* SPDX-License-Identifier: Apache-2.0 */
/* A file of any bytes, plain, gzip or xz, is refused or read within the limit, and no memory is lost. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/file.h"

#define LIMIT 100000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    int descriptor = memfd_create("input", MFD_CLOEXEC);
    if (descriptor < 0 || write(descriptor, bytes, size) != (ssize_t)size)
        abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    struct file file;
    if (file_read(path, LIMIT, &file) == HYSGD_OK) {
        if (file.size > LIMIT)
            abort();
        file_fini(&file);
    }
    close(descriptor);
    if (memory_used() != 0)
        abort();
    return 0;
}
