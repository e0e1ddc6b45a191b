/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors file format: eight bytes of header length, a JSON header, raw little-endian tensors. Reading runs
 * no code and trusts nothing; writing replaces the file as a whole or leaves the old one. */
#ifndef HYSGD_CHECKPOINT_SAFETENSORS_H
#define HYSGD_CHECKPOINT_SAFETENSORS_H

#include "base/status.h"

enum safetensors_type {
    SAFETENSORS_F64,
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I64,
    SAFETENSORS_I32,
    SAFETENSORS_I16,
    SAFETENSORS_I8,
    SAFETENSORS_U64,
    SAFETENSORS_U32,
    SAFETENSORS_U16,
    SAFETENSORS_U8,
    SAFETENSORS_BOOL
};

#define SAFETENSORS_TYPES       (SAFETENSORS_BOOL + 1)
#define SAFETENSORS_MOST_RANK   8         /* the format has no limit of its own */
#define SAFETENSORS_MOST_HEADER 100000000 /* bytes; the format's own limit */

/* One tensor. In a file that was read, name and data belong to the file; for writing, to the caller. */
struct safetensors_tensor {
    const char *name;
    enum safetensors_type type;
    int rank;                             /* 0: a scalar */
    uint64_t dims[SAFETENSORS_MOST_RANK]; /* outermost first */
    const void *data; /* product of dims elements; unaligned in a file that was read; of BOOL, any byte */
};

struct safetensors_file; /* opaque */

/* Bytes of an element, and the format's name of the type ("F32"). */
size_t safetensors_type_size(enum safetensors_type type);
const char *safetensors_type_name(enum safetensors_type type);

/* The type that the format calls `name`; false when it is none of ours. */
bool safetensors_type_find(const char *name, enum safetensors_type *type_out);

/* Bytes that the elements take. False when they are more than INT64_MAX, also in passing ([2^40, 2^40, 0]), as for
 * the official reader. */
bool safetensors_tensor_bytes(const struct safetensors_tensor *tensor, uint64_t *bytes_out);

/* Reads a regular file into memory. Not mapped: someone who truncates a mapped file would kill the reader by
 * SIGBUS. Every offset, length, type, name and overlap is checked before anything is handed out. HYSGD_INPUT names
 * the file and what is wrong with it. What the format allows and we refuse: element types not listed above, more
 * than SAFETENSORS_MOST_RANK dimensions, and names or metadata with the character U+0000. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_open(const char *path, struct safetensors_file **file_out);
/* The same on bytes in memory, which must outlive the file; `name` is for messages. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_open_bytes(const char *name, const void *bytes, size_t length,
                                                          struct safetensors_file **file_out);
void safetensors_close(struct safetensors_file *file);

/* The tensors, in the order of their data. */
size_t safetensors_count(const struct safetensors_file *file);
const struct safetensors_tensor *safetensors_at(const struct safetensors_file *file, size_t index);
/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors_file *file, const char *name);
/* The value of a key of __metadata__, or NULL. */
const char *safetensors_metadata(const struct safetensors_file *file, const char *key);
size_t safetensors_metadata_count(const struct safetensors_file *file);
void safetensors_metadata_at(const struct safetensors_file *file, size_t index, const char **key_out,
                             const char **value_out);

/* As safetensors_open, but reads the header alone: the tensors' data are NULL, and the functions below fetch what
 * they copy out from the file, which must not change meanwhile. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_open_header(const char *path, struct safetensors_file **file_out);

/* Copies the tensor's elements out; HYSGD_INPUT when name, type or element count is not what the caller needs. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_read(const struct safetensors_file *file, const char *name,
                                                    enum safetensors_type type, uint64_t elements, void *data_out);

/* The same for elements [first, first + count) of the tensor's. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_read_range(const struct safetensors_file *file, const char *name,
                                                          enum safetensors_type type, uint64_t elements,
                                                          uint64_t first, uint64_t count, void *data_out);

/* Writes tensors and metadata (pairs key, value) in the given order to a temporary file beside `path`, syncs it,
 * renames it over `path` and syncs the directory. HYSGD_OUTPUT names path and fault; the old file is then whole and
 * the temporary one gone (except when only the last sync failed: then the new file is in place and may not survive
 * a power cut). A writer that is killed leaves the old file whole and "NAME.PID-N.tmp" beside it. A symbolic link
 * is followed: the file that it names is replaced and the link stays. Anything else that is not a regular file
 * (/dev/null) is refused, for it would be replaced too. Permissions are those of a new file. Names must be UTF-8,
 * differ, and not be "__metadata__". */
HYSGD_MUST_CHECK enum hysgd_status safetensors_write(const char *path, const struct safetensors_tensor *tensors,
                                                     size_t count, const char *const (*metadata)[2],
                                                     size_t metadata_count);

/* The same as bytes in memory, to be freed with memory_free; all tensors have data. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_store(const struct safetensors_tensor *tensors, size_t count,
                                                     const char *const (*metadata)[2], size_t metadata_count,
                                                     void *bytes_out, size_t *length_out);

/* ---- A file that several processes write ---- */

struct safetensors_writer; /* opaque */

/* Begins as safetensors_write does: makes the temporary file in its full length, with the header and those tensors
 * whose data are not NULL. Its name ends with a random number, so that no other file is taken for it. HYSGD_OUTPUT,
 * for example when the disk has no room; then nothing is left. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_begin(const char *path, const struct safetensors_tensor *tensors,
                                                     size_t count, const char *const (*metadata)[2],
                                                     size_t metadata_count, struct safetensors_writer **writer_out);

/* The whole path of the temporary file, for other processes; where the data of a tensor begin in it. */
const char *safetensors_temporary(const struct safetensors_writer *writer);
uint64_t safetensors_offset(const struct safetensors_writer *writer, size_t tensor);

/* Bytes of a file. */
struct safetensors_piece {
    uint64_t offset, bytes;
    const void *data;
};

/* Writes pieces of the temporary file and brings them to the disk; by any process that sees it, several at once.
 * HYSGD_OUTPUT names the file. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_write_pieces(const char *temporary,
                                                            const struct safetensors_piece *pieces, size_t count);

/* Ends as safetensors_write does, once all pieces are written; or leaves the old file as it is and removes the
 * temporary one. Both free the writer. */
HYSGD_MUST_CHECK enum hysgd_status safetensors_commit(struct safetensors_writer *writer);
void safetensors_abort(struct safetensors_writer *writer);

#endif
