/* SPDX-License-Identifier: Apache-2.0 */
/* Which samples a worker trains on, and in which order: disjoint partitions, each read as an endless sequence of
 * fresh permutations cut into batches. A worker's batches depend on (seed, worker, its partition) only. */
#ifndef HYSGD_DATA_SAMPLER_H
#define HYSGD_DATA_SAMPLER_H

#include "base/status.h"

/* The samples of each worker: those of worker w are indices[first[w]] to indices[first[w + 1] - 1]. */
struct partition {
    uint64_t *indices; /* [samples] */
    uint64_t *first;   /* [workers + 1] */
    int workers;
};

/* Deals `samples` indices at random to the workers, sizes differing by at most one. HYSGD_USAGE when there are more
 * workers than samples. */
HYSGD_MUST_CHECK enum hysgd_status partition_init(struct partition *partition, uint64_t samples, int workers,
                                                  uint64_t seed);
void partition_fini(struct partition *partition);

struct sampler {
    const uint64_t *indices; /* [count], borrowed from the partition */
    uint64_t count;
    uint64_t seed;
    uint32_t worker;
    uint64_t position; /* samples drawn so far */
    uint64_t *order;   /* [count] the permutation of the present pass */
    uint64_t pass;     /* the pass that `order` belongs to; UINT64_MAX: none yet */
};

HYSGD_MUST_CHECK enum hysgd_status sampler_init(struct sampler *sampler, const struct partition *partition,
                                                int worker, uint64_t seed);
void sampler_fini(struct sampler *sampler);

/* The next `batch` sample indices; a batch may span two passes and may be larger than the partition. */
void sampler_next(struct sampler *sampler, size_t batch, uint64_t *indices_out);

/* Continues as if `samples` samples had been drawn. */
void sampler_seek(struct sampler *sampler, uint64_t samples);

#endif
