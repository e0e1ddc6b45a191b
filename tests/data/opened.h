/* SPDX-License-Identifier: Apache-2.0 */
/* A data plug-in opened from its specification, as the command opens it. Included after cmocka.h. */
#ifndef TESTS_DATA_OPENED_H
#define TESTS_DATA_OPENED_H

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/data.h"

struct opened {
    struct plugin plugin;
    const struct hysgd_data_ops *ops;
    struct hysgd_data_shape shape;
};

static inline void opened_fini(struct opened *opened) {
    if (opened->ops && opened->ops->fini)
        opened->ops->fini(opened->plugin.self);
    plugin_close(&opened->plugin);
    *opened = (struct opened){0};
}

/* On failure nothing stays open. */
static inline enum hysgd_status opened_init(struct opened *opened, const char *text, uint64_t seed) {
    *opened = (struct opened){0};
    HYSGD_TRY(plugin_open(&data_list, text, &opened->plugin));
    opened->ops = data_ops(&opened->plugin);
    enum hysgd_status status = opened->ops->init(opened->plugin.self, seed);
    if (status == HYSGD_OK)
        opened->ops->describe(opened->plugin.self, &opened->shape);
    else
        opened_fini(opened);
    return status;
}

static inline size_t opened_inputs(const struct opened *opened) {
    return (size_t)opened->shape.channels * (size_t)opened->shape.height * (size_t)opened->shape.width;
}

static inline uint64_t opened_count(const struct opened *opened, enum hysgd_split split) {
    return split == HYSGD_TRAIN ? opened->shape.train_count : opened->shape.test_count;
}

/* A copy of samples first to first + count - 1; exactly as large as they are, so that a sanitizer sees any excess.
 */
struct samples {
    float *inputs, *targets;
    int32_t *labels;
    size_t count, input_bytes;
};

static inline void samples_gather(struct samples *samples, const struct opened *opened, enum hysgd_split split,
                                  uint64_t first, size_t count) {
    uint64_t *indices = malloc(count * sizeof *indices + 1);
    samples->count = count;
    samples->input_bytes = count * opened_inputs(opened) * sizeof(float);
    samples->inputs = malloc(samples->input_bytes + !samples->input_bytes);
    samples->labels = malloc(opened->shape.classes ? count * sizeof(int32_t) : 1);
    samples->targets = malloc(opened->shape.targets ? count * (size_t)opened->shape.targets * sizeof(float) : 1);
    assert_true(indices && samples->inputs && samples->labels && samples->targets);
    for (size_t i = 0; i < count; i++)
        indices[i] = first + i;
    memset(samples->inputs, 0xff, samples->input_bytes); /* NaN, for what gather leaves unwritten */
    opened->ops->gather(opened->plugin.self, split, indices, count, samples->inputs,
                        opened->shape.classes ? samples->labels : NULL,
                        opened->shape.targets ? samples->targets : NULL);
    free(indices);
}

static inline void samples_free(struct samples *samples) {
    free(samples->inputs);
    free(samples->labels);
    free(samples->targets);
}

#endif
