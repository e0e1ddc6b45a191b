/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping and resampling measured times: see measured.h. */
#include "runtime/measured.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

#define FIRST_CAPACITY 64

void measured_fini(struct measured *measured) {
    for (int i = 0; i < measured->count; i++)
        memory_free(measured->workers[i].gradients);
    memory_free(measured->workers);
    memory_free(measured->receive.seconds);
    memory_free(measured->apply.seconds);
    *measured = (struct measured){0};
}

static enum hysgd_status reach(struct measured *measured, int worker) {
    if (worker >= measured->capacity) {
        int capacity = worker < FIRST_CAPACITY ? FIRST_CAPACITY : 2 * worker;
        HYSGD_TRY(memory_enlarge(&measured->workers, (size_t)measured->count, (size_t)capacity,
                                 sizeof *measured->workers));
        measured->capacity = capacity;
    }
    if (worker >= measured->count)
        measured->count = worker + 1;
    return HYSGD_OK;
}

enum hysgd_status measured_add(struct measured *measured, int worker, const struct measured_gradient *gradient) {
    HYSGD_TRY(reach(measured, worker));
    struct measured_worker *of = &measured->workers[worker];
    HYSGD_TRY(memory_grow(&of->gradients, of->count, &of->capacity, FIRST_CAPACITY, sizeof *of->gradients));
    of->gradients[of->count++] = *gradient;
    return HYSGD_OK;
}

enum hysgd_status measured_extend(struct measured_series *series, double seconds) {
    HYSGD_TRY(
        memory_grow(&series->seconds, series->count, &series->capacity, FIRST_CAPACITY, sizeof *series->seconds));
    series->seconds[series->count++] = seconds;
    return HYSGD_OK;
}

/* ---- Resampling ---- */

/* Copies `count` entries of `size` bytes in blocks. */
static enum hysgd_status resample(const void *from, size_t count, size_t size, struct random *random,
                                  void *to_out) {
    size_t block = (size_t)ceil(cbrt((double)count));
    char *to;
    HYSGD_TRY(memory_alloc(count, size, &to));
    for (size_t filled = 0; filled < count;) {
        size_t at = random_below(random, count);
        for (size_t i = 0; i < block && filled < count; i++, filled++, at = at + 1 < count ? at + 1 : 0)
            memcpy(to + filled * size, (const char *)from + at * size, size);
    }
    memcpy(to_out, &to, sizeof to);
    return HYSGD_OK;
}

static enum hysgd_status resample_series(const struct measured_series *from, struct random *random,
                                         struct measured_series *to) {
    if (from->count == 0)
        return HYSGD_OK;
    HYSGD_TRY(resample(from->seconds, from->count, sizeof *from->seconds, random, &to->seconds));
    to->count = to->capacity = from->count;
    return HYSGD_OK;
}

static enum hysgd_status resample_all(const struct measured *from, uint64_t seed, uint64_t replicate,
                                      struct measured *to) {
    struct random random;
    HYSGD_TRY(memory_alloc((size_t)from->count, sizeof *to->workers, &to->workers));
    to->count = to->capacity = from->count;
    for (int i = 0; i < from->count; i++) {
        const struct measured_worker *worker = &from->workers[i];
        random_init(&random, seed, (uint32_t)i, RANDOM_BOOTSTRAP, replicate);
        HYSGD_TRY(resample(worker->gradients, worker->count, sizeof *worker->gradients, &random,
                           &to->workers[i].gradients));
        to->workers[i].count = to->workers[i].capacity = worker->count;
    }
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_BOOTSTRAP, replicate);
    HYSGD_TRY(resample_series(&from->receive, &random, &to->receive));
    return resample_series(&from->apply, &random, &to->apply);
}

enum hysgd_status measured_resample(const struct measured *from, uint64_t seed, uint64_t replicate,
                                    struct measured *measured_out) {
    *measured_out = (struct measured){0};
    enum hysgd_status status = resample_all(from, seed, replicate, measured_out);
    if (status != HYSGD_OK)
        measured_fini(measured_out);
    return status;
}
