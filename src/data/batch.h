/* SPDX-License-Identifier: Apache-2.0 */
/* The buffers of one thread for the samples of a batch, gathered from the data by their indices. */
#ifndef HYSGD_DATA_BATCH_H
#define HYSGD_DATA_BATCH_H

#include "base/plugin.h"

/* Zeroed: no buffers. */
struct batch_buffers {
    uint64_t *indices;       /* [most] written by the owner before batch_gather */
    float *inputs, *targets; /* [most][...]; targets NULL where the data have none */
    int32_t *labels;         /* [most]; NULL where the data have none */
};

/* For at most `most` samples of data of this shape. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status batch_init(struct batch_buffers *buffers, const struct hysgd_data_shape *shape,
                                              size_t most);
void batch_fini(struct batch_buffers *buffers);

/* Copies the samples of the first `count` indices into the buffers. The batch points into them; whose gradient it
 * is for is left to the caller. */
struct hysgd_batch batch_gather(struct batch_buffers *buffers, const struct hysgd_data_ops *data, const void *self,
                                enum hysgd_split split, size_t count);

#endif
