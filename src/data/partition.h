/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker has which samples: disjoint parts of the training set, dealt alike or unequally, and what becomes of
 * the part of a worker that is lost. */
#ifndef HYSGD_DATA_PARTITION_H
#define HYSGD_DATA_PARTITION_H

#include "base/plugin.h"

/* A worker was lost: its samples were dealt to those that were left, indices[first[w]] to indices[first[w + 1] - 1]
 * to worker w. Or one has joined: the same are all that worker w has had since then. Never changes. */
struct partition_change {
    int worker; /* that was lost or has joined */
    bool is_join;
    uint64_t *indices; /* of a loss, all that it had in the end; of a join, those of all workers */
    uint64_t *first;   /* [workers + 1] */
};

/* Workers that may join, at most: each takes an array as long as the training set. */
#define PARTITION_MOST_JOINS 1024

/* The samples of each worker: those that worker w was dealt at first are indices[first[w]] to
 * indices[first[w + 1] - 1], every loss of another one may have added some, and with every worker that joins all
 * are dealt anew. Every sample belongs to one worker, and every worker that is there has at least one. What has
 * been dealt stays as it is, so another thread may read the samples after the first so many changes while one more
 * is added. */
struct partition {
    uint64_t *indices; /* [samples] */
    uint64_t *first;   /* [workers + 1] */
    int workers;
    struct partition_change *changes; /* [change_room], of which change_count are there, in their order */
    int change_count, change_room, join_count;
    uint64_t *counts;   /* [workers] samples after all changes; 0 of the lost */
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

/* Adds places for workers that are not there yet, and have no samples until they join. Before any change.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status partition_add_places(struct partition *partition, int places);

/* Deals the samples of a lost worker to those that are left: numbers that differ by at most one, the larger ones to
 * who has the fewest samples, one sample after the other in turn. Where rows stay with one worker, each goes as a
 * whole to who has the fewest samples by then. Depends on the first deal and on the order of the
 * changes only. Nothing to do when it was lost before or nobody is left. HYSGD_MEMORY: nothing is changed. */
HYSGD_MUST_CHECK enum hysgd_status partition_lose(struct partition *partition, int worker);

/* Gives samples to a worker that has none: as many as it had when it was lost or, where it was not there before, as
 * all have on average. They come from those who have the most at that moment, one by one: of each first the last
 * ones that it had, then the last ones. Where rows stay with one worker, whole rows go. Nobody is left without a
 * sample. Depends on the first deal and on the order of the changes only. Nothing to do when it has some.
 * HYSGD_FAILED: there is none for it, or PARTITION_MOST_JOINS have joined. HYSGD_MEMORY, too: nothing is changed.
 */
HYSGD_MUST_CHECK enum hysgd_status partition_join(struct partition *partition, int worker);

/* Takes all changes back. Nobody may be reading. */
void partition_restore(struct partition *partition);

/* How many samples a worker that is there has after the first `changes` changes, and which: indices_out [so many].
 */
uint64_t partition_count(const struct partition *partition, int worker, int changes);
void partition_gather(const struct partition *partition, int worker, int changes, uint64_t *indices_out);

/* The labels of the training samples with these indices, in their order, to be freed also when it fails.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status partition_read_labels(const struct plugin *data,
                                                         const struct hysgd_data_shape *shape,
                                                         const uint64_t *indices, uint64_t samples,
                                                         int32_t **labels_out);

#endif
