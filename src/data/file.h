/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file in memory, decompressed where it is gzip or xz. */
#ifndef HYSGD_DATA_FILE_H
#define HYSGD_DATA_FILE_H

#include "base/status.h"

struct file {
    uint8_t *bytes; /* [size], owned; from memory_alloc */
    size_t size;
};

/* Reads a regular file; what begins with the magic bytes of gzip or xz is decompressed (all members or streams).
 * HYSGD_INPUT when it cannot be opened, is no regular file, is damaged or truncated, or holds more than `limit`
 * bytes before or after decompression. */
HYSGD_MUST_CHECK enum hysgd_status file_read(const char *path, size_t limit, struct file *file_out);
void file_fini(struct file *file);

/* Opens a regular file for reading and tells its size and whether it is compressed, so that file_read would
 * decompress it. HYSGD_INPUT as above. Close the descriptor. */
HYSGD_MUST_CHECK enum hysgd_status file_open(const char *path, int *descriptor_out, size_t *size_out,
                                             bool *is_compressed_out);

/* The path of the first that exists among directory/NAME and directory/NAME.gz over `names`, a list that ends with
 * NULL. HYSGD_INPUT lists the names tried. Free the path with memory_free. */
HYSGD_MUST_CHECK enum hysgd_status file_find(const char *directory, const char *const *names, char **path_out);

/* For decompressors: the failure of a file that holds too much. */
HYSGD_MUST_CHECK enum hysgd_status file_fail_size(const char *path, size_t limit);

#endif
