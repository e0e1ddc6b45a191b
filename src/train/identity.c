/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at samples through the functions that training uses: see identity.h. */
#include "train/identity.h"

#include <stdio.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/data.h"
#include "linalg/plan.h"

#define MOST_SAMPLES 4096
#define MOST_BYTES   (16 << 20)

/* Room for one sample. */
struct sample {
    float *inputs, *targets;
};

static uint64_t add_bytes(uint64_t sum, const void *bytes, size_t size) {
    return crc32_z((uLong)sum, bytes, size);
}

static uint64_t add_shape(uint64_t sum, const struct hysgd_data_shape *shape, uint64_t count) {
    const uint64_t numbers[] = {count,
                                (uint64_t)shape->channels,
                                (uint64_t)shape->height,
                                (uint64_t)shape->width,
                                (uint64_t)shape->classes,
                                (uint64_t)shape->targets};
    return add_bytes(sum, numbers, sizeof numbers);
}

static uint64_t add_split(const struct plugin *data, enum hysgd_split split, uint64_t count,
                          const struct hysgd_data_shape *shape, const struct sample *sample) {
    size_t width = (size_t)shape->channels * (size_t)shape->height * (size_t)shape->width;
    uint64_t fitting = MOST_BYTES / ((width + (size_t)shape->targets + 1) * sizeof(float)) + 1;
    uint64_t looked_at = fitting < MOST_SAMPLES ? fitting : MOST_SAMPLES, sum = add_shape(0, shape, count);
    if (count < looked_at)
        looked_at = count;
    for (uint64_t i = 0; i < looked_at; i++) {
        uint64_t index = (uint64_t)((double)i / (double)looked_at * (double)count);
        int32_t label = 0;
        data_ops(data)->gather(data->self, split, &index, 1, sample->inputs, shape->classes > 0 ? &label : NULL,
                               shape->targets > 0 ? sample->targets : NULL);
        sum = add_bytes(sum, &label, sizeof label);
        sum = add_bytes(sum, sample->inputs, width * sizeof *sample->inputs);
        sum = add_bytes(sum, sample->targets, (size_t)shape->targets * sizeof *sample->targets);
    }
    return sum;
}

enum hysgd_status identity_of_data(const struct plugin *data, struct identity *identity_out) {
    struct hysgd_data_shape shape;
    struct sample sample = {0};
    data_ops(data)->describe(data->self, &shape);
    size_t width = (size_t)shape.channels * (size_t)shape.height * (size_t)shape.width;
    enum hysgd_status status = memory_alloc(width, sizeof *sample.inputs, &sample.inputs);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)shape.targets, sizeof *sample.targets, &sample.targets);
    if (status == HYSGD_OK)
        *identity_out = (struct identity){add_split(data, HYSGD_TRAIN, shape.train_count, &shape, &sample),
                                          add_split(data, HYSGD_TEST, shape.test_count, &shape, &sample)};
    memory_free(sample.inputs);
    memory_free(sample.targets);
    return status;
}

void identity_of_program(char text[IDENTITY_PROGRAM_BYTES]) {
    char kernels[IDENTITY_PROGRAM_BYTES / 2];
    plan_identify(kernels, sizeof kernels);
    snprintf(text, IDENTITY_PROGRAM_BYTES, "hysgd " HYSGD_VERSION ", %s", kernels);
}
