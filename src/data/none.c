/* SPDX-License-Identifier: Apache-2.0 */
/* Data without content: only a number of samples, for analytic models such as the quadratic, which need it to know
 * what an epoch is. A sample has no inputs, no label and no target. */
#include "base/status.h"

struct none {
    int64_t samples, test;
};

static enum hysgd_status none_init(void *self, uint64_t seed) {
    (void)self;
    (void)seed;
    return HYSGD_OK;
}

static void none_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct none *none = self;
    *shape_out =
        (struct hysgd_data_shape){.train_count = (uint64_t)none->samples, .test_count = (uint64_t)none->test};
}

static void none_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                        float *inputs, int32_t *labels, float *targets) {
    (void)self;
    (void)split;
    (void)indices;
    (void)count;
    (void)inputs;
    (void)labels;
    (void)targets;
}

static const struct hysgd_option options[] = {
    {"samples", HYSGD_OPTION_INT, offsetof(struct none, samples), "10k", 1, 1e15, NULL,
     "training samples in an epoch"},
    {"test", HYSGD_OPTION_INT, offsetof(struct none, test), "1", 0, 1e15, NULL,
     "test samples; one is enough where the loss does not depend on the sample"},
    {0}};

const struct hysgd_data_ops data_none = {
    .about = {.name = "none",
              .summary = "no data, only a number of samples, for analytic models",
              .size = sizeof(struct none),
              .options = options},
    .init = none_init,
    .describe = none_describe,
    .gather = none_gather,
};
