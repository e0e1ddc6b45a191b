/* SPDX-License-Identifier: Apache-2.0 */
/* Batch buffers: see batch.h. */
#include "data/batch.h"

#include "base/memory.h"

enum hysgd_status batch_init(struct batch_buffers *buffers, const struct hysgd_data_shape *shape, size_t most) {
    size_t width = (size_t)shape->channels * (size_t)shape->height * (size_t)shape->width;
    HYSGD_TRY(memory_alloc(most, sizeof *buffers->indices, &buffers->indices));
    HYSGD_TRY(memory_alloc(most * width, sizeof *buffers->inputs, &buffers->inputs));
    if (shape->targets > 0)
        HYSGD_TRY(memory_alloc(most * (size_t)shape->targets, sizeof *buffers->targets, &buffers->targets));
    if (shape->classes > 0)
        HYSGD_TRY(memory_alloc(most, sizeof *buffers->labels, &buffers->labels));
    return HYSGD_OK;
}

void batch_fini(struct batch_buffers *buffers) {
    memory_free(buffers->indices);
    memory_free(buffers->inputs);
    memory_free(buffers->targets);
    memory_free(buffers->labels);
    *buffers = (struct batch_buffers){0};
}

struct hysgd_batch batch_gather(struct batch_buffers *buffers, const struct hysgd_data_ops *data, const void *self,
                                enum hysgd_split split, size_t count) {
    data->gather(self, split, buffers->indices, count, buffers->inputs, buffers->labels, buffers->targets);
    return (struct hysgd_batch){
        .count = count, .inputs = buffers->inputs, .labels = buffers->labels, .targets = buffers->targets};
}
