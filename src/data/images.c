/* SPDX-License-Identifier: Apache-2.0 */
/* Storage of labelled images and the conversion from bytes to standardised floats, which every batch pays for. */
#include "data/images.h"

#include <inttypes.h>

#include "base/memory.h"

void images_set_shape(struct images *images, int channels, int height, int width, int classes) {
    images->channels = channels;
    images->height = height;
    images->width = width;
    images->classes = classes;
}

void images_standardise(struct images *images, const double *mean, const double *deviation) {
    for (int c = 0; c < images->channels; c++) {
        images->scale[c] = (float)(1.0 / (255.0 * deviation[c]));
        images->shift[c] = (float)(-mean[c] / deviation[c]);
    }
}

static size_t image_bytes(const struct images *images) {
    return (size_t)images->channels * (size_t)images->height * (size_t)images->width;
}

enum hysgd_status images_alloc_split(struct images *images, enum hysgd_split split, uint64_t count,
                                     uint8_t **pixels_out, uint8_t **labels_out) {
    struct images_split *target = &images->splits[split];
    HYSGD_TRY(memory_alloc(count, image_bytes(images), &target->pixel_memory));
    HYSGD_TRY(memory_alloc(count, 1, &target->label_memory));
    target->count = count;
    target->pixels = *pixels_out = target->pixel_memory;
    target->labels = *labels_out = target->label_memory;
    return HYSGD_OK;
}

void images_fini(struct images *images) {
    for (int i = 0; i < 2; i++) {
        memory_free(images->splits[i].pixel_memory);
        memory_free(images->splits[i].label_memory);
        images->splits[i] = (struct images_split){0};
    }
}

void images_describe(const struct images *images, struct hysgd_data_shape *shape_out) {
    *shape_out = (struct hysgd_data_shape){.train_count = images->splits[HYSGD_TRAIN].count,
                                           .test_count = images->splits[HYSGD_TEST].count,
                                           .channels = images->channels,
                                           .height = images->height,
                                           .width = images->width,
                                           .classes = images->classes};
}

/* Kept apart so that the compiler sees a loop over distinct arrays with constant factors, and vectorizes it. */
static void convert(const uint8_t *restrict bytes, size_t count, float scale, float shift, float *restrict out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (float)bytes[i] * scale + shift;
}

void images_gather(const struct images *images, enum hysgd_split split, const uint64_t *indices, size_t count,
                   float *inputs, int32_t *labels) {
    const struct images_split *from = &images->splits[split];
    size_t plane = (size_t)images->height * (size_t)images->width;
    size_t size = image_bytes(images);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pixels = from->pixels + indices[i] * size;
        for (int c = 0; inputs && c < images->channels; c++) {
            convert(pixels, plane, images->scale[c], images->shift[c], inputs);
            pixels += plane;
            inputs += plane;
        }
        labels[i] = from->labels[indices[i]];
    }
}

enum hysgd_status images_check_labels(const uint8_t *labels, uint64_t count, size_t stride, int classes,
                                      const char *where) {
    for (uint64_t i = 0; i < count; i++) {
        if (labels[i * stride] >= classes)
            return hysgd_fail(HYSGD_INPUT, "%s: label %d at index %" PRIu64 "; expected 0 to %d", where,
                              labels[i * stride], i, classes - 1);
    }
    return HYSGD_OK;
}
