/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile tables of times: what is accepted has times of every worker, and finite ones; what is refused has a
 * message and leaves nothing behind. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "train/times.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const struct measured *measured) {
    for (int i = 0; i < measured->count; i++) {
        if (measured->workers[i].count == 0)
            abort();
        for (size_t j = 0; j < measured->workers[i].count; j++) {
            const struct measured_gradient *gradient = &measured->workers[i].gradients[j];
            if (!(gradient->compute_seconds >= 0 && gradient->compute_seconds <= MEASURED_MOST_SECONDS) ||
                !(gradient->transit_seconds >= 0 && gradient->transit_seconds <= MEASURED_MOST_SECONDS))
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t before = memory_used();
    struct measured measured = {0};
    if (size == 0)
        return 0;
    FILE *file = fmemopen((void *)(uintptr_t)bytes, size, "r");
    if (file == NULL)
        abort();
    enum hysgd_status status = times_read_table(&measured, file, "fuzz");
    if (status == HYSGD_OK)
        status = times_check(&measured, "fuzz");
    fclose(file);
    if (status == HYSGD_OK)
        check(&measured);
    else if (hysgd_error_message()[0] == '\0')
        abort();
    measured_fini(&measured);
    if (memory_used() != before)
        abort();
    return 0;
}
