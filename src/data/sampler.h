/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a worker trains on its samples: an endless sequence of fresh permutations cut into batches. A
 * worker's batches depend on (seed, worker, its partition) only, and on where it took over samples of lost workers,
 * or gave some to one that joined: there a permutation of all that it has begins. */
#ifndef HYSGD_DATA_SAMPLER_H
#define HYSGD_DATA_SAMPLER_H

#include "data/partition.h"

struct sampler {
    const struct partition *partition; /* borrowed */
    int changes;                       /* the samples are those after so many */
    uint64_t count;
    uint64_t seed;
    uint32_t worker;
    uint64_t first;    /* the position where it had drawn none of them yet */
    uint64_t position; /* samples drawn so far */
    uint64_t *order;   /* [count] the permutation of the present pass */
    uint64_t pass;     /* the pass that `order` belongs to; UINT64_MAX: none yet */
};

HYSGD_MUST_CHECK enum hysgd_status sampler_init(struct sampler *sampler, const struct partition *partition,
                                                int worker, uint64_t seed);
void sampler_fini(struct sampler *sampler);

/* The next `batch` sample indices; a batch may span two passes and may be larger than the partition. */
void sampler_next(struct sampler *sampler, size_t batch, uint64_t *indices_out);

/* From the position `first` on the samples are those after so many changes. HYSGD_MEMORY: nothing is changed. */
HYSGD_MUST_CHECK enum hysgd_status sampler_take_over(struct sampler *sampler, int changes, uint64_t first);

/* Continues as if `samples` samples had been drawn; not before `first`. */
void sampler_seek(struct sampler *sampler, uint64_t samples);

#endif
