/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in `random`: classification of points around Gaussian centres, as in the random data set of arXiv
 * 2407.00101. A class owns several centres, so that a linear model cannot learn it fully and a small network can.
 * Every fifth part is for the test. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"

/* Streams of the centres are named by indices from here on, those of the samples by the ones below. */
#define FIRST_CENTRE ((uint64_t)1 << 63)

struct clusters {
    int64_t dimensions, classes, samples, centres;
    int64_t seed; /* 0: that of the run */
    double spread;
    uint64_t train_count;
    float *inputs;   /* [samples][dimensions]; the test samples are the last */
    int32_t *labels; /* [samples] */
};

/* Draws all centres, [classes * centres][dimensions], normal with deviation 1. */
static void draw_centres(const struct clusters *clusters, uint64_t seed, float *centres_out) {
    for (int64_t c = 0; c < clusters->classes * clusters->centres; c++) {
        struct random random;
        random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_DATA, FIRST_CENTRE + (uint64_t)c);
        random_fill_normal(&random, centres_out + c * clusters->dimensions, (size_t)clusters->dimensions);
    }
}

/* Draws sample i, scaled so that every input has mean 0 and variance 1 over all seeds. */
static void draw_sample(struct clusters *clusters, const float *centres, uint64_t seed, int64_t i) {
    struct random random;
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_DATA, (uint64_t)i);
    int64_t centre = (int64_t)random_below(&random, (uint64_t)(clusters->classes * clusters->centres));
    const float *middle = centres + centre * clusters->dimensions;
    float *inputs = clusters->inputs + i * clusters->dimensions;
    float spread = (float)clusters->spread, scale = 1 / sqrtf(1 + spread * spread);
    random_fill_normal(&random, inputs, (size_t)clusters->dimensions);
    for (int64_t d = 0; d < clusters->dimensions; d++)
        inputs[d] = scale * (middle[d] + spread * inputs[d]);
    clusters->labels[i] = (int32_t)(centre % clusters->classes);
}

static enum hysgd_status random_data_init(void *self, uint64_t seed) {
    struct clusters *clusters = self;
    float *centres;
    if (clusters->seed)
        seed = (uint64_t)clusters->seed;
    clusters->train_count = (uint64_t)(clusters->samples - clusters->samples / 5);
    HYSGD_TRY(memory_alloc((size_t)(clusters->samples * clusters->dimensions), sizeof(float), &clusters->inputs));
    HYSGD_TRY(memory_alloc((size_t)clusters->samples, sizeof(int32_t), &clusters->labels));
    HYSGD_TRY(memory_alloc((size_t)(clusters->classes * clusters->centres * clusters->dimensions), sizeof(float),
                           &centres));
    draw_centres(clusters, seed, centres);
    for (int64_t i = 0; i < clusters->samples; i++)
        draw_sample(clusters, centres, seed, i);
    memory_free(centres);
    return HYSGD_OK;
}

static void random_data_fini(void *self) {
    struct clusters *clusters = self;
    memory_free(clusters->inputs);
    memory_free(clusters->labels);
    clusters->inputs = NULL;
    clusters->labels = NULL;
}

static void random_data_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct clusters *clusters = self;
    *shape_out = (struct hysgd_data_shape){.train_count = clusters->train_count,
                                           .test_count = (uint64_t)clusters->samples - clusters->train_count,
                                           .channels = (int)clusters->dimensions,
                                           .height = 1,
                                           .width = 1,
                                           .classes = (int)clusters->classes};
}

static void random_data_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                               float *inputs, int32_t *labels, float *targets) {
    const struct clusters *clusters = self;
    size_t dimensions = (size_t)clusters->dimensions;
    uint64_t first = split == HYSGD_TRAIN ? 0 : clusters->train_count;
    (void)targets;
    for (size_t i = 0; i < count; i++) {
        if (inputs)
            memcpy(inputs + i * dimensions, clusters->inputs + (first + indices[i]) * dimensions,
                   dimensions * sizeof *inputs);
        labels[i] = clusters->labels[first + indices[i]];
    }
}

static const struct hysgd_option options[] = {
    {"dimensions", HYSGD_OPTION_INT, offsetof(struct clusters, dimensions), "20", 1, 1e5, NULL,
     "inputs of a sample"},
    {"classes", HYSGD_OPTION_INT, offsetof(struct clusters, classes), "10", 2, 1e4, NULL, "classes"},
    {"samples", HYSGD_OPTION_INT, offsetof(struct clusters, samples), "10k", 5, 1e9, NULL,
     "samples, of which 80 % are for training and 20 % for the test"},
    {"centres", HYSGD_OPTION_INT, offsetof(struct clusters, centres), "2", 1, 1e3, NULL,
     "Gaussian centres of each class; with 1 a linear model can learn the classes"},
    {"spread", HYSGD_OPTION_REAL, offsetof(struct clusters, spread), "1", 0, 1e3, NULL,
     "standard deviation around a centre, where that of the centres is 1"},
    {"seed", HYSGD_OPTION_INT, offsetof(struct clusters, seed), "0", 0, 9007199254740992, NULL,
     "names the samples, for runs that differ in all but them; 0: the seed of the run"},
    {0}};

const struct hysgd_data_ops data_random = {
    .about = {.name = "random",
              .alias = "gaussian",
              .summary =
                  "random classification: points around Gaussian centres, each input of mean 0 and variance 1",
              .source = "the random data set of arXiv 2407.00101",
              .size = sizeof(struct clusters),
              .options = options},
    .init = random_data_init,
    .fini = random_data_fini,
    .describe = random_data_describe,
    .gather = random_data_gather,
};
