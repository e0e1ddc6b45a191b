/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint holds about the samples of lost workers, and of those that joined: in which order they left and
 * came, and from which batch on the others go by that. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_ORPHANS_H
#define HYSGD_RUNTIME_SNAPSHOT_ORPHANS_H

#include "runtime/training.h"

/* Numbers of a worker. */
#define SNAPSHOT_ORPHAN_FIELDS 3

/* Numbers of a change, where somebody has joined. */
#define SNAPSHOT_CHANGE_FIELDS 2

/* Fills the table [workers][SNAPSHOT_ORPHAN_FIELDS]. */
void snapshot_store_orphans(const struct training *training, double *table);

/* Fills the table [partition.change_count][SNAPSHOT_CHANGE_FIELDS]. */
void snapshot_store_changes(const struct training *training, double *table);

/* Brings the partition, and what follows from it, into the state of the file, which has no table where nothing was
 * taken over. After the accounts of the workers have been read, while nobody computes. HYSGD_INPUT, HYSGD_MEMORY.
 */
HYSGD_MUST_CHECK enum hysgd_status snapshot_read_orphans(struct training *training,
                                                         const struct safetensors_file *file, const char *path);

#endif
