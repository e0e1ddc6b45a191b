/* SPDX-License-Identifier: Apache-2.0 */
/* Times that were measured, in their order: per worker the compute and transit time of each gradient, and what the
 * server spent. They can take the place of the distributions of a modelled run, as they are or resampled. */
#ifndef HYSGD_RUNTIME_MEASURED_H
#define HYSGD_RUNTIME_MEASURED_H

#include <stddef.h>

#include "base/status.h"

/* Longer times, in seconds, are taken for a fault. */
#define MEASURED_MOST_SECONDS 1e9

/* As many workers as a run can have. */
#define MEASURED_MOST_WORKERS 65536

struct measured_gradient {
    double compute_seconds, transit_seconds;
};

struct measured_worker {
    struct measured_gradient *gradients; /* [count] */
    size_t count, capacity;
};

struct measured_series {
    double *seconds; /* [count] */
    size_t count, capacity;
};

struct measured {
    struct measured_worker *workers; /* [count] */
    int count, capacity;
    struct measured_series receive; /* of the server, per gradient; empty: not measured */
    struct measured_series apply;   /* of the server, per update; empty: not measured */
};

/* A zeroed struct measured is empty. */
void measured_fini(struct measured *measured);

/* Append a time; workers up to the named one come to be, without times. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status measured_add(struct measured *measured, int worker,
                                                const struct measured_gradient *gradient);
HYSGD_MUST_CHECK enum hysgd_status measured_extend(struct measured_series *series, double seconds);

/* Another sequence of the same length for each worker and for the server: blocks of neighbouring times, about the
 * cube root of the length long, drawn with replacement; the end goes on at the beginning (D. Politis and J. Romano,
 * "A circular block-resampling procedure for stationary data", 1992). So times that depend on those just before
 * still do, and a gradient keeps its compute and its transit time together. Workers are drawn independently. */
HYSGD_MUST_CHECK enum hysgd_status measured_resample(const struct measured *from, uint64_t seed, uint64_t replicate,
                                                     struct measured *measured_out);

/* The times of the worker's gradient number `draw`: the sequence is repeated when it ends. */
static inline const struct measured_gradient *measured_at(const struct measured *measured, int worker,
                                                          uint64_t draw) {
    const struct measured_worker *of = &measured->workers[worker];
    return &of->gradients[draw < of->count ? draw : draw % of->count];
}

#endif
