/* SPDX-License-Identifier: Apache-2.0 */
/* MNIST and the data sets that share its four IDX files, 28 x 28 grey images of ten classes, read from a directory.
 */
#include <inttypes.h>

#include "base/memory.h"
#include "base/status.h"
#include "data/file.h"
#include "data/idx.h"
#include "data/images.h"

#define SIDE    28
#define CLASSES 10
/* More than three times the size of the largest file of the family, EMNIST's 814,255 images. */
#define MOST_BYTES ((size_t)1 << 31)

struct mnist {
    char *path;
    int64_t limit;
    struct images images;
};

/* The names of one file: as published, and as some archives spell it. */
struct names {
    const char *images[3], *labels[3];
};

static const struct names names[] = {
    [HYSGD_TRAIN] = {{"train-images-idx3-ubyte", "train-images.idx3-ubyte", NULL},
                     {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte", NULL}},
    [HYSGD_TEST] = {{"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", NULL},
                    {"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", NULL}},
};

/* The split takes over the memory of the file as soon as it is read, so that fini frees it whatever follows. */
static enum hysgd_status read_images(const char *path, struct images_split *split) {
    struct file file;
    struct idx idx;
    HYSGD_TRY(file_read(path, MOST_BYTES, &file));
    split->pixel_memory = file.bytes;
    HYSGD_TRY(idx_parse(file.bytes, file.size, 3, path, &idx));
    if (idx.dims[0] == 0 || idx.dims[1] != SIDE || idx.dims[2] != SIDE)
        return hysgd_fail(HYSGD_INPUT, "%s: %u images of %u x %u; expected at least one, of %d x %d", path,
                          idx.dims[0], idx.dims[1], idx.dims[2], SIDE, SIDE);
    split->pixels = idx.data;
    split->count = idx.dims[0];
    return HYSGD_OK;
}

static enum hysgd_status read_labels(const char *path, struct images_split *split) {
    struct file file;
    struct idx idx;
    HYSGD_TRY(file_read(path, MOST_BYTES, &file));
    split->label_memory = file.bytes;
    HYSGD_TRY(idx_parse(file.bytes, file.size, 1, path, &idx));
    if (idx.dims[0] != split->count)
        return hysgd_fail(HYSGD_INPUT, "%s: %u labels; expected %" PRIu64 ", one for each image", path, idx.dims[0],
                          split->count);
    HYSGD_TRY(images_check_labels(idx.data, split->count, 1, CLASSES, path));
    split->labels = idx.data;
    return HYSGD_OK;
}

static enum hysgd_status read_split(const struct mnist *mnist, const struct names *files,
                                    struct images_split *split) {
    char *path;
    HYSGD_TRY(file_find(mnist->path, files->images, &path));
    enum hysgd_status status = read_images(path, split);
    memory_free(path);
    HYSGD_TRY(status);
    HYSGD_TRY(file_find(mnist->path, files->labels, &path));
    status = read_labels(path, split);
    memory_free(path);
    return status;
}

static enum hysgd_status init(struct mnist *mnist, const char *name, double mean, double deviation) {
    if (mnist->path[0] == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "data %s: no directory is given; expected %s:DIR with the four IDX files in DIR", name,
                          name);
    images_set_shape(&mnist->images, 1, SIDE, SIDE, CLASSES);
    images_standardise(&mnist->images, &mean, &deviation);
    struct images_split *splits = mnist->images.splits;
    HYSGD_TRY(read_split(mnist, &names[HYSGD_TRAIN], &splits[HYSGD_TRAIN]));
    HYSGD_TRY(read_split(mnist, &names[HYSGD_TEST], &splits[HYSGD_TEST]));
    if (mnist->limit > 0 && (uint64_t)mnist->limit < splits[HYSGD_TRAIN].count)
        splits[HYSGD_TRAIN].count = (uint64_t)mnist->limit;
    return HYSGD_OK;
}

static enum hysgd_status mnist_init(void *self, uint64_t seed) {
    (void)seed;
    return init(self, "mnist", 0.1307, 0.3081);
}

static enum hysgd_status fashion_init(void *self, uint64_t seed) {
    (void)seed;
    return init(self, "fashion", 0.2860, 0.3530);
}

static void mnist_fini(void *self) {
    struct mnist *mnist = self;
    images_fini(&mnist->images);
}

static void mnist_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct mnist *mnist = self;
    images_describe(&mnist->images, shape_out);
}

static void mnist_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                         float *inputs, int32_t *labels, float *targets) {
    const struct mnist *mnist = self;
    (void)targets;
    images_gather(&mnist->images, split, indices, count, inputs, labels);
}

static const struct hysgd_option options[] = {
    {"path", HYSGD_OPTION_TEXT, offsetof(struct mnist, path), "", 0, 0, NULL,
     "directory with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
     "t10k-labels-idx1-ubyte, each plain or .gz"},
    {"limit", HYSGD_OPTION_INT, offsetof(struct mnist, limit), "0", 0, 1e15, NULL,
     "use only the first so many training samples; 0: all"},
    {0}};

const struct hysgd_data_ops data_mnist = {
    .about = {.name = "mnist",
              .summary = "MNIST digits from IDX files, standardised with mean 0.1307 and deviation 0.3081",
              .source =
                  "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998",
              .size = sizeof(struct mnist),
              .options = options},
    .init = mnist_init,
    .fini = mnist_fini,
    .describe = mnist_describe,
    .gather = mnist_gather,
};

const struct hysgd_data_ops data_fashion = {
    .about = {.name = "fashion",
              .alias = "fashion-mnist",
              .summary = "Fashion-MNIST from IDX files, standardised with mean 0.2860 and deviation 0.3530",
              .source = "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747",
              .size = sizeof(struct mnist),
              .options = options},
    .init = fashion_init,
    .fini = mnist_fini,
    .describe = mnist_describe,
    .gather = mnist_gather,
};
