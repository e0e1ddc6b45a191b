/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker has which samples: disjoint parts of the training set, dealt alike or unequally. */
#ifndef HYSGD_DATA_PARTITION_H
#define HYSGD_DATA_PARTITION_H

#include "base/plugin.h"

/* The samples of each worker: those of worker w are indices[first[w]] to indices[first[w + 1] - 1]. Every sample
 * belongs to one worker, and every worker has at least one. */
struct partition {
    uint64_t *indices; /* [samples] */
    uint64_t *first;   /* [workers + 1] */
    int workers;
};

/* What a dealer goes by. */
struct partition_input {
    uint64_t samples;
    uint64_t seed;
    int workers;
    int classes;           /* 0: the data have no labels */
    const int32_t *labels; /* [samples], for dealers that need them; else NULL */
    uint32_t row_count;    /* 0: the data are no ratings */
    const uint32_t *rows;  /* [samples] whose rating it is, for dealers that need them; else NULL */
};

struct partition_ops {
    struct hysgd_plugin about;
    bool needs_labels, needs_rows;
    /* Fills indices and first, which are allocated and hold 0, 1, 2, ... and zeros. */
    enum hysgd_status (*deal)(const void *self, const struct partition_input *input, struct partition *partition);
};

/* iid, contiguous, dirichlet, rows */
extern const struct plugin_list partition_list;

/* Deals the training set of `data` (open and initialised) by `dealer` (open; NULL: iid). HYSGD_USAGE when there are
 * more workers than samples, when labels are needed and missing, or when a worker is left without a sample. Safe to
 * fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status partition_init(struct partition *partition, const struct plugin *dealer,
                                                  const struct plugin *data, int workers, uint64_t seed);
void partition_fini(struct partition *partition);

/* The labels of the training samples with these indices, in their order, to be freed also when it fails.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status partition_read_labels(const struct plugin *data,
                                                         const struct hysgd_data_shape *shape,
                                                         const uint64_t *indices, uint64_t samples,
                                                         int32_t **labels_out);

#endif
