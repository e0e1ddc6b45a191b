/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors in a checkpoint: parameters, optimizer, held gradients, and what corrections need. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_VECTORS_H
#define HYSGD_RUNTIME_SNAPSHOT_VECTORS_H

#include "runtime/snapshot.h"

/* The tensors of a checkpoint, and the names that are not constants. Zeroed, it is safe to fini. */
struct snapshot_tensors {
    const struct server *server; /* whose vectors they are; NULL: they are elsewhere */
    struct safetensors_tensor *tensors;
    struct snapshot_place *places; /* [count], as the tensors */
    size_t count;
    char (*names)[48];
    size_t name_count;
};

/* Room for the vectors of a training and `others` more tensors. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_tensors_init(struct snapshot_tensors *list,
                                                         const struct training *training, size_t others);
void snapshot_tensors_fini(struct snapshot_tensors *list);

void snapshot_add(struct snapshot_tensors *list, const struct safetensors_tensor *tensor,
                  const struct snapshot_place *place);

/* Adds the vectors, by reference; `flights` [workers] as in struct snapshot_in_flight, or NULL. */
void snapshot_gather_vectors(struct snapshot_tensors *list, const struct training *training,
                             const struct snapshot_flight *flights);

/* The server's vector, or its slice of it, from its first element; NULL: it has none. */
float *snapshot_vector(const struct server *server, const struct snapshot_place *place);

/* What was read of the gradients under way, or NULL. */
const struct snapshot_flight *snapshot_resumed_flights(const struct training *training);

/* Once engine and estimates are restored, gives a server all the vectors that they and `flights` speak of, to be
 * filled. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_shape(struct server *server, const struct training *training,
                                                  const struct snapshot_flight *flights);

/* Then reads them back, or what of them is in this process, and puts the workers' samplers to where they belong.
 * HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_read_vectors(struct training *training,
                                                         const struct safetensors_file *file, const char *path);

#endif
