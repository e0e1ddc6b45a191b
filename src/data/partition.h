/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker has which samples: disjoint parts of the training set, dealt alike or unequally, and what becomes of
 * the part of a worker that is lost. */
#ifndef HYSGD_DATA_PARTITION_H
#define HYSGD_DATA_PARTITION_H

#include "base/plugin.h"

/* The samples of a lost worker, dealt to those that were left: indices[first[w]] to indices[first[w + 1] - 1] went
 * to worker w. Never changes. */
struct partition_loss {
    int worker;        /* whose samples they were */
    uint64_t *indices; /* all that it had in the end */
    uint64_t *first;   /* [workers + 1] */
};

/* The samples of each worker: those that worker w was dealt at first are indices[first[w]] to
 * indices[first[w + 1] - 1], and every loss of another one may have added some. Every sample belongs to one worker,
 * and every worker has at least one at first. What has been dealt stays as it is, so another thread may read the
 * samples after the first so many losses while one more is added. */
struct partition {
    uint64_t *indices; /* [samples] */
    uint64_t *first;   /* [workers + 1] */
    int workers;
    struct partition_loss *losses; /* [workers], of which loss_count are there, in their order */
    int loss_count;
    uint64_t *counts;   /* [workers] samples after all losses; 0 of the lost */
    uint32_t *rows;     /* [samples] whose rating each one is, where a row stays with one worker; else NULL */
    uint32_t row_count; /* of the data */
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

/* Deals the samples of a lost worker to those that are left: numbers that differ by at most one, the larger ones to
 * who has the fewest samples, one sample after the other in turn. Where rows stay with one worker, each goes as a
 * whole to who has the fewest samples by then. Depends on the first deal and on the order of the
 * losses only. Nothing to do when it was lost before or nobody is left. HYSGD_MEMORY: nothing is changed. */
HYSGD_MUST_CHECK enum hysgd_status partition_lose(struct partition *partition, int worker);

/* Takes all losses back. Nobody may be reading. */
void partition_restore(struct partition *partition);

/* How many samples a worker has after the first `losses` losses, its own not counted, and which:
 * indices_out [so many]. */
uint64_t partition_count(const struct partition *partition, int worker, int losses);
void partition_gather(const struct partition *partition, int worker, int losses, uint64_t *indices_out);

/* The labels of the training samples with these indices, in their order, to be freed also when it fails.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status partition_read_labels(const struct plugin *data,
                                                         const struct hysgd_data_shape *shape,
                                                         const uint64_t *indices, uint64_t samples,
                                                         int32_t **labels_out);

#endif
