/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a number for each worker: see worker_list.h. */
#include "runtime/worker_list.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"

/* One item: "0.5", or "4x0.5" for four workers. */
static enum hysgd_status read_item(const char *key, const char *noun, const char *item, int *count_out,
                                   double *value_out) {
    const char *cross = strchr(item, 'x');
    int64_t count = 1;
    double value;
    if (cross) {
        char number[16];
        size_t length = (size_t)(cross - item);
        snprintf(number, sizeof number, "%.*s", (int)(length < 15 ? length : 15), item);
        if (!options_read_int(number, &count) || count < 1 || count > 1000000)
            return hysgd_fail(HYSGD_USAGE, "%s: \"%s\": expected a number of workers before the x", key, item);
    }
    if (!options_read_real(cross ? cross + 1 : item, &value) || value < 1e-6 || value > 1e6)
        return hysgd_fail(HYSGD_USAGE,
                          "%s: \"%s\": expected a relative %s from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25", key,
                          item, noun);
    *count_out = (int)count;
    *value_out = value;
    return HYSGD_OK;
}

static enum hysgd_status read_items(const char *key, const char *noun, char *text, int workers, double *values,
                                    int *count_out) {
    int filled = 0;
    while (text) {
        char *item = text, *comma = strchr(text, ',');
        int count = 0;
        double value = 1;
        if (comma)
            *comma = '\0';
        text = comma ? comma + 1 : NULL;
        HYSGD_TRY(read_item(key, noun, item, &count, &value));
        if (count > workers - filled)
            return hysgd_fail(HYSGD_USAGE, "%s: more %ss are given than the %d workers", key, noun, workers);
        while (count-- > 0)
            values[filled++] = value;
    }
    *count_out = filled;
    return HYSGD_OK;
}

enum hysgd_status worker_list_read(const char *key, const char *noun, const char *text, int workers,
                                   double *values_out, int *count_out) {
    char *copy;
    HYSGD_TRY(memory_copy_text(text, &copy));
    enum hysgd_status status = read_items(key, noun, copy, workers, values_out, count_out);
    memory_free(copy);
    return status;
}
