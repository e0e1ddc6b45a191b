/* SPDX-License-Identifier: Apache-2.0 */
/* Labelled images kept as bytes and turned into standardised floats when they are gathered. Shared by the image
 * plug-ins. */
#ifndef HYSGD_DATA_IMAGES_H
#define HYSGD_DATA_IMAGES_H

#include "base/status.h"

#define IMAGES_MOST_CHANNELS 3

struct images_split {
    const uint8_t *pixels; /* [count][channels][height][width], inside pixel_memory */
    const uint8_t *labels; /* [count], inside label_memory */
    uint64_t count;
    void *pixel_memory, *label_memory; /* owned */
};

struct images {
    int channels, height, width, classes;
    float scale[IMAGES_MOST_CHANNELS], shift[IMAGES_MOST_CHANNELS]; /* a byte b becomes b * scale + shift */
    struct images_split splits[2];                                  /* by enum hysgd_split */
};

/* Sets the shape of one image; the splits stay as they are. */
void images_set_shape(struct images *images, int channels, int height, int width, int classes);

/* Makes gather return (b / 255 - mean) / deviation; both are [channels]. */
void images_standardise(struct images *images, const double *mean, const double *deviation);

/* Zeroed, writable memory for `count` images, which replaces an empty split. HYSGD_MEMORY leaves what images_fini
 * accepts. */
HYSGD_MUST_CHECK enum hysgd_status images_alloc_split(struct images *images, enum hysgd_split split, uint64_t count,
                                                      uint8_t **pixels_out, uint8_t **labels_out);

/* Frees both splits. Safe on a zeroed object and when called twice. */
void images_fini(struct images *images);

/* `describe` and `gather` of struct hysgd_data_ops. */
void images_describe(const struct images *images, struct hysgd_data_shape *shape_out);
void images_gather(const struct images *images, enum hysgd_split split, const uint64_t *indices, size_t count,
                   float *inputs, int32_t *labels);

/* HYSGD_INPUT for the first of [count] labels, `stride` bytes apart, that is not below `classes`. `where` is the
 * file's name. */
HYSGD_MUST_CHECK enum hysgd_status images_check_labels(const uint8_t *labels, uint64_t count, size_t stride,
                                                       int classes, const char *where);

#endif
