/* SPDX-License-Identifier: Apache-2.0 */
/* Tiny data sets in the formats of MNIST, CIFAR-10 and MovieLens, written into a folder. Included after cmocka.h.
 */
#ifndef TESTS_DATA_TINY_FILES_H
#define TESTS_DATA_TINY_FILES_H

#include "data/cifar10.h"
#include "data/folder.h"

#define IDX_IMAGE 784

/* Writes the header of an IDX file of unsigned bytes and returns its size. */
static inline size_t idx_header(uint8_t *bytes, int rank, const uint32_t *dims) {
    memcpy(bytes, (const uint8_t[]){0, 0, 8, (uint8_t)rank}, 4);
    for (int i = 0; i < rank; i++) {
        for (int b = 0; b < 4; b++)
            bytes[4 + 4 * i + b] = (uint8_t)(dims[i] >> (24 - 8 * b));
    }
    return 4 + 4 * (size_t)rank;
}

/* `count` images (at most 8), pixel p of image i being (i * 31 + p) modulo 256. */
static inline size_t idx_images(uint8_t *bytes, uint32_t count) {
    size_t size = idx_header(bytes, 3, (const uint32_t[]){count, 28, 28});
    for (size_t i = 0; i < count * (size_t)IDX_IMAGE; i++)
        bytes[size++] = (uint8_t)(i / IDX_IMAGE * 31 + i % IDX_IMAGE);
    return size;
}

/* `count` labels, label i being (i * 3) modulo 10. */
static inline size_t idx_labels(uint8_t *bytes, uint32_t count) {
    size_t size = idx_header(bytes, 1, &count);
    for (uint32_t i = 0; i < count; i++)
        bytes[size++] = (uint8_t)(i * 3 % 10);
    return size;
}

/* The four files: 6 training and 4 test samples. */
static inline void idx_write_all(struct folder *folder) {
    uint8_t bytes[16 + 8 * IDX_IMAGE];
    folder_write(folder, "train-images-idx3-ubyte", bytes, idx_images(bytes, 6));
    folder_write_gzip(folder, "train-labels-idx1-ubyte.gz", bytes, idx_labels(bytes, 6));
    folder_write_gzip(folder, "t10k-images.idx3-ubyte.gz", bytes, idx_images(bytes, 4));
    folder_write(folder, "t10k-labels.idx1-ubyte", bytes, idx_labels(bytes, 4));
}

/* `count` records (at most 4): label i + first, every pixel of plane c being 60 * c + i. */
static inline size_t cifar10_records(uint8_t *bytes, int count, int first) {
    for (int i = 0; i < count; i++) {
        uint8_t *record = bytes + i * CIFAR10_RECORD;
        record[0] = (uint8_t)(i + first);
        for (int c = 0; c < 3; c++)
            memset(record + 1 + c * 1024, 60 * c + i, 1024);
    }
    return (size_t)count * CIFAR10_RECORD;
}

/* The six files: five batches of 2 records with the labels 0 to 9, the last but one batch in gzip, and 3 test
 * records. */
static inline void cifar10_write_all(struct folder *folder) {
    uint8_t bytes[4 * CIFAR10_RECORD];
    char name[32];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin%s", i, i == 4 ? ".gz" : "");
        size_t size = cifar10_records(bytes, 2, 2 * (i - 1));
        if (i == 4)
            folder_write_gzip(folder, name, bytes, size);
        else
            folder_write(folder, name, bytes, size);
    }
    folder_write(folder, "test_batch.bin", bytes, cifar10_records(bytes, 3, 5));
}

/* `ratings`: 30 of 5 users for 10 items. */
static inline void ratings_write(struct folder *folder) {
    char text[30 * 16];
    size_t size = 0;
    for (int i = 0; i < 30; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%d::%d::%d::%d\n", i % 5 + 1, i * 3 % 10 + 1,
                                 i * 7 % 5 + 1, 1000 - i);
    folder_write(folder, "ratings", text, size);
}

#endif
