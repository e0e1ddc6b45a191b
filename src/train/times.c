/* SPDX-License-Identifier: Apache-2.0 */
/* Tells logs from tables, and checks what was read: see times.h. */
#include "train/times.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/log_format.h"

void times_fini(struct times *times) {
    measured_fini(&times->measured);
    memory_free(times->policy);
    *times = (struct times){0};
}

enum hysgd_status times_check(const struct measured *measured, const char *name) {
    for (int i = 0; i < measured->count; i++) {
        const struct measured_worker *worker = &measured->workers[i];
        double sum = 0;
        for (size_t j = 0; j < worker->count; j++)
            sum += worker->gradients[j].compute_seconds + worker->gradients[j].transit_seconds;
        if (worker->count == 0)
            return hysgd_fail(HYSGD_INPUT,
                              "%s: worker %d has no times: expected at least one of each worker from 0 to %d", name,
                              i, measured->count - 1);
        if (sum <= 0)
            return hysgd_fail(HYSGD_INPUT, "%s: all times of worker %d are 0: expected seconds above 0", name, i);
    }
    if (measured->count == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: holds no times of workers", name);
    return HYSGD_OK;
}

static bool is_log(FILE *file) {
    char head[sizeof LOG_MAGIC - 1];
    size_t size = fread(head, 1, sizeof head, file);
    rewind(file);
    return size > 0 && memcmp(head, LOG_MAGIC, size) == 0;
}

static enum hysgd_status read_table(struct times *times, FILE *file, const char *path) {
    HYSGD_TRY(times_read_table(&times->measured, file, path));
    return times_check(&times->measured, path);
}

enum hysgd_status times_read(struct times *times, const char *path, struct description *description) {
    *times = (struct times){.seconds = (double)NAN, .test_loss = (double)NAN, .test_accuracy = (double)NAN};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    times->is_log = is_log(file);
    enum hysgd_status status = times->is_log ? HYSGD_OK : read_table(times, file, path);
    fclose(file);
    return times->is_log ? times_read_log(times, path, description) : status;
}
