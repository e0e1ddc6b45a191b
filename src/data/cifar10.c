/* SPDX-License-Identifier: Apache-2.0 */
/* CIFAR-10 in its binary version, 32 x 32 colour images of ten classes, read from a directory with the six files
 * data_batch_1.bin to data_batch_5.bin and test_batch.bin. */
#include "data/cifar10.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "data/file.h"
#include "data/images.h"

#define SIDE 32
/* Eight times the size of a published file. */
#define MOST_BYTES ((size_t)80000 * CIFAR10_RECORD)

struct cifar10 {
    char *path;
    int64_t limit;
    struct images images;
};

enum hysgd_status cifar10_check(const uint8_t *bytes, size_t size, const char *where, uint64_t *count_out) {
    if (size == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: the file is empty; expected records of %d bytes", where,
                          CIFAR10_RECORD);
    if (size % CIFAR10_RECORD != 0)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: truncated at byte %zu; expected records of %d bytes, of which %zu are whole", where,
                          size, CIFAR10_RECORD, size / CIFAR10_RECORD);
    uint64_t count = size / CIFAR10_RECORD;
    HYSGD_TRY(images_check_labels(bytes, count, CIFAR10_RECORD, CIFAR10_CLASSES, where));
    *count_out = count;
    return HYSGD_OK;
}

/* One file in memory. */
struct batch {
    char *path;
    struct file file;
    uint64_t count; /* records */
};

static void batch_fini(struct batch *batch) {
    file_fini(&batch->file);
    memory_free(batch->path);
}

/* Leaves a batch that batch_fini accepts even when it fails. */
static enum hysgd_status batch_init(struct batch *batch, const char *directory, const char *name) {
    *batch = (struct batch){0};
    HYSGD_TRY(file_find(directory, (const char *const[]){name, NULL}, &batch->path));
    HYSGD_TRY(file_read(batch->path, MOST_BYTES, &batch->file));
    return cifar10_check(batch->file.bytes, batch->file.size, batch->path, &batch->count);
}

/* A split while it is read. */
struct filling {
    uint8_t *pixels, *labels; /* of the first sample not yet filled */
    uint64_t left;            /* samples not yet filled */
    uint64_t each;            /* records in every batch */
};

/* The first batch says how large all are, so that the memory of the split is asked for once. */
static enum hysgd_status start(struct filling *filling, struct images *images, enum hysgd_split split,
                               uint64_t each, uint64_t batches, uint64_t limit) {
    filling->each = each;
    filling->left = limit > 0 && limit < each * batches ? limit : each * batches;
    return images_alloc_split(images, split, filling->left, &filling->pixels, &filling->labels);
}

static enum hysgd_status add(struct filling *filling, const struct batch *batch) {
    if (batch->count != filling->each)
        return hysgd_fail(HYSGD_INPUT, "%s: %" PRIu64 " records; expected %" PRIu64 " as in the first batch",
                          batch->path, batch->count, filling->each);
    uint64_t count = batch->count < filling->left ? batch->count : filling->left;
    const uint8_t *record = batch->file.bytes;
    for (uint64_t i = 0; i < count; i++, record += CIFAR10_RECORD) {
        *filling->labels++ = record[0];
        memcpy(filling->pixels, record + 1, CIFAR10_PIXELS);
        filling->pixels += CIFAR10_PIXELS;
    }
    filling->left -= count;
    return HYSGD_OK;
}

/* Reads no more files than the limit needs. */
static enum hysgd_status read_split(struct cifar10 *cifar, enum hysgd_split split, const char *const *names,
                                    uint64_t batches, uint64_t limit) {
    struct filling filling = {0};
    for (uint64_t i = 0; i < batches && (i == 0 || filling.left > 0); i++) {
        struct batch batch;
        enum hysgd_status status = batch_init(&batch, cifar->path, names[i]);
        if (status == HYSGD_OK && i == 0)
            status = start(&filling, &cifar->images, split, batch.count, batches, limit);
        if (status == HYSGD_OK)
            status = add(&filling, &batch);
        batch_fini(&batch);
        HYSGD_TRY(status);
    }
    return HYSGD_OK;
}

static enum hysgd_status cifar10_init(void *self, uint64_t seed) {
    static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin"};
    static const char *const test[] = {"test_batch.bin"};
    struct cifar10 *cifar = self;
    (void)seed;
    if (cifar->path[0] == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "data cifar10: no directory is given; expected cifar10:DIR with data_batch_1.bin "
                          "to data_batch_5.bin and test_batch.bin in DIR");
    images_set_shape(&cifar->images, 3, SIDE, SIDE, CIFAR10_CLASSES);
    images_standardise(&cifar->images, (const double[]){0.4914, 0.4822, 0.4465},
                       (const double[]){0.2470, 0.2435, 0.2616});
    HYSGD_TRY(read_split(cifar, HYSGD_TRAIN, train, sizeof train / sizeof *train, (uint64_t)cifar->limit));
    return read_split(cifar, HYSGD_TEST, test, 1, 0);
}

static void cifar10_fini(void *self) {
    struct cifar10 *cifar = self;
    images_fini(&cifar->images);
}

static void cifar10_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct cifar10 *cifar = self;
    images_describe(&cifar->images, shape_out);
}

static void cifar10_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                           float *inputs, int32_t *labels, float *targets) {
    const struct cifar10 *cifar = self;
    (void)targets;
    images_gather(&cifar->images, split, indices, count, inputs, labels);
}

static const struct hysgd_option options[] = {
    {"path", HYSGD_OPTION_TEXT, offsetof(struct cifar10, path), "", 0, 0, NULL,
     "directory with data_batch_1.bin to data_batch_5.bin and test_batch.bin, each plain or .gz"},
    {"limit", HYSGD_OPTION_INT, offsetof(struct cifar10, limit), "0", 0, 1e15, NULL,
     "use only the first so many training samples; 0: all"},
    {0}};

const struct hysgd_data_ops data_cifar10 = {
    .about = {.name = "cifar10",
              .alias = "cifar-10",
              .summary =
                  "CIFAR-10, binary version, standardised with means 0.4914, 0.4822, 0.4465 and deviations 0.2470, "
                  "0.2435, 0.2616",
              .source = "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
              .size = sizeof(struct cifar10),
              .options = options},
    .init = cifar10_init,
    .fini = cifar10_fini,
    .describe = cifar10_describe,
    .gather = cifar10_gather,
};
