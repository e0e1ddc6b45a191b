/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that give every worker a number, and the weights of workers, which are such a text. */
#ifndef HYSGD_RUNTIME_WORKER_LIST_H
#define HYSGD_RUNTIME_WORKER_LIST_H

#include "data/partition.h"

/* Reads "A,B,...", each a `noun` from 1e-6 to 1e6, "4xA" standing for four workers, into the beginning of
 * values_out [workers]; how many it gives goes to count_out. HYSGD_USAGE names the key, the item and what was
 * expected, also when there are more than workers. */
HYSGD_MUST_CHECK enum hysgd_status worker_list_read(const char *key, const char *noun, const char *text,
                                                    int workers, double *values_out, int *count_out);

/* What the gradients of each worker are multiplied with, from the text of worker-weights: "none" (or "" or NULL),
 * "samples" (in proportion to its samples in the partition), or a list of relative weights, one for each worker.
 * Scaled to the mean 1. The array [workers] is freed by the caller; NULL for none, and for "samples" where
 * `partition` is NULL. HYSGD_USAGE, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status worker_weights_read(const char *text, int workers,
                                                       const struct partition *partition, double **weights_out);

/* The same for "samples" after a loss: the weights of those that are left have the mean 1. Else nothing to do. */
void worker_weights_deal(const char *text, const struct partition *partition, double *weights);

#endif
