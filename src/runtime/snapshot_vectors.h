/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors in a checkpoint: parameters, optimizer, held gradients, and what corrections need. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_VECTORS_H
#define HYSGD_RUNTIME_SNAPSHOT_VECTORS_H

#include "runtime/snapshot.h"

/* The tensors of a checkpoint, and the names that are not constants. Zeroed, it is safe to fini. */
struct snapshot_tensors {
    struct safetensors_tensor *tensors;
    size_t count;
    char (*names)[48];
    size_t name_count;
};

/* Room for the vectors of a training and `others` more tensors. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_tensors_init(struct snapshot_tensors *list,
                                                         const struct training *training, size_t others);
void snapshot_tensors_fini(struct snapshot_tensors *list);

/* Adds the vectors, by reference; `flights` [workers] as in struct snapshot_in_flight, or NULL. */
void snapshot_gather_vectors(struct snapshot_tensors *list, const struct training *training,
                             const struct snapshot_flight *flights);

/* Reads them back, once engine and flights are restored, and puts the workers' samplers to where they belong.
 * HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_read_vectors(struct training *training,
                                                         const struct safetensors_file *file, const char *path);

#endif
