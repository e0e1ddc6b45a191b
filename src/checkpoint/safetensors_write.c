/* SPDX-License-Identifier: Apache-2.0 */
/* Writes safetensors: composes the header, then replaces the target as a whole. */
#include "checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/memory.h"
#include "checkpoint/replacement.h"

#define LENGTH_BYTES   8 /* of the header's length, which begins the file */
#define DATA_ALIGNMENT 8 /* the data begin at a multiple of this */
#define METADATA_KEY   "__metadata__"

static enum hysgd_status no_memory(void) {
    return hysgd_fail(HYSGD_MEMORY, "out of memory for the header");
}

/* jansson does not say whether it lacked memory or the text is not UTF-8: in the latter case only the unchecked way
 * works. */
static enum hysgd_status fail_text(const char *what, const char *text) {
    json_t *checked = json_string(text), *unchecked = json_string_nocheck(text);
    bool is_wrong = checked == NULL && unchecked != NULL;
    json_decref(checked);
    json_decref(unchecked);
    return is_wrong ? hysgd_fail(HYSGD_OUTPUT, "%s is not UTF-8", what) : no_memory();
}

static enum hysgd_status add_metadata(json_t *header, const char *const (*metadata)[2], size_t count) {
    if (count == 0)
        return HYSGD_OK;
    json_t *object = json_object();
    if (json_object_set_new(header, METADATA_KEY, object) != 0)
        return no_memory();
    for (size_t i = 0; i < count; i++) {
        const char *key = metadata[i][0];
        json_t *value = json_string(metadata[i][1]);
        if (value == NULL)
            return fail_text("a value of the metadata", metadata[i][1]);
        if (json_object_get(object, key) != NULL) {
            json_decref(value);
            return hysgd_fail(HYSGD_OUTPUT, "the metadata have two values of '%s'", key);
        }
        if (json_object_set_new(object, key, value) != 0)
            return fail_text("a key of the metadata", key);
    }
    return HYSGD_OK;
}

static json_t *shape_of(const struct safetensors_tensor *tensor) {
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank && shape != NULL; i++) {
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->dims[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    }
    return shape;
}

static enum hysgd_status check_tensor(const json_t *header, const struct safetensors_tensor *tensor) {
    uint64_t bytes;
    if (strcmp(tensor->name, METADATA_KEY) == 0)
        return hysgd_fail(HYSGD_OUTPUT, "a tensor has the name '" METADATA_KEY "', which the format reserves");
    if (json_object_get(header, tensor->name) != NULL)
        return hysgd_fail(HYSGD_OUTPUT, "two tensors have the name '%s'", tensor->name);
    if (tensor->rank < 0 || tensor->rank > SAFETENSORS_MOST_RANK)
        return hysgd_fail(HYSGD_OUTPUT, "tensor '%s' has rank %d, expected 0 to %d", tensor->name, tensor->rank,
                          SAFETENSORS_MOST_RANK);
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] > INT64_MAX)
            return hysgd_fail(HYSGD_OUTPUT, "tensor '%s' has a dimension of %" PRIu64 ", expected less than 2^63",
                              tensor->name, tensor->dims[i]);
    }
    if (!safetensors_tensor_bytes(tensor, &bytes))
        return hysgd_fail(HYSGD_OUTPUT, "tensor '%s' has a shape beyond 2^63 bytes", tensor->name);
    return HYSGD_OK;
}

static enum hysgd_status add_tensors(json_t *header, const struct safetensors_tensor *tensors, size_t count) {
    uint64_t begin = 0, bytes, end;
    for (size_t i = 0; i < count; i++) {
        HYSGD_TRY(check_tensor(header, &tensors[i]));
        if (!safetensors_tensor_bytes(&tensors[i], &bytes) || (end = begin + bytes) > INT64_MAX)
            return hysgd_fail(HYSGD_OUTPUT, "the tensors are together beyond 2^63 bytes");
        json_t *shape = shape_of(&tensors[i]);
        if (shape == NULL)
            return no_memory();
        json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", safetensors_type_name(tensors[i].type), "shape",
                                  shape, "data_offsets", (json_int_t)begin, (json_int_t)end);
        if (entry == NULL)
            return no_memory();
        if (json_object_set_new(header, tensors[i].name, entry) != 0)
            return fail_text("the name of a tensor", tensors[i].name);
        begin = end;
    }
    return HYSGD_OK;
}

/* The length in front, and spaces behind so that the data are aligned. */
static enum hysgd_status header_text(const json_t *header, char **text_out, size_t *bytes_out) {
    size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    if (length == 0)
        return no_memory();
    size_t padded = (length + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
    if (padded > SAFETENSORS_MOST_HEADER)
        return hysgd_fail(HYSGD_OUTPUT, "the header takes %zu bytes, expected at most %d", padded,
                          SAFETENSORS_MOST_HEADER);
    char *text;
    HYSGD_TRY(memory_alloc(LENGTH_BYTES + padded, 1, &text));
    for (int i = 0; i < LENGTH_BYTES; i++)
        text[i] = (char)((uint64_t)padded >> 8 * i & 0xff);
    memset(text + LENGTH_BYTES, ' ', padded);
    if (json_dumpb(header, text + LENGTH_BYTES, length, JSON_COMPACT) != length) {
        memory_free(text);
        return no_memory();
    }
    *text_out = text;
    *bytes_out = LENGTH_BYTES + padded;
    return HYSGD_OK;
}

static enum hysgd_status compose(const struct safetensors_tensor *tensors, size_t count,
                                 const char *const (*metadata)[2], size_t metadata_count, char **text_out,
                                 size_t *bytes_out) {
    json_t *header = json_object();
    if (header == NULL)
        return no_memory();
    enum hysgd_status status = add_metadata(header, metadata, metadata_count);
    if (status == HYSGD_OK)
        status = add_tensors(header, tensors, count);
    if (status == HYSGD_OK)
        status = header_text(header, text_out, bytes_out);
    json_decref(header);
    return status;
}

/* The header, and the tensors that are here. */
static enum hysgd_status fill(int file, const char *header, size_t header_bytes,
                              const struct safetensors_tensor *tensors, size_t count) {
    uint64_t offset = header_bytes, bytes;
    HYSGD_TRY(replacement_write(file, 0, header, header_bytes));
    for (size_t i = 0; i < count; i++) {
        if (!safetensors_tensor_bytes(&tensors[i], &bytes))
            continue;
        if (tensors[i].data != NULL)
            HYSGD_TRY(replacement_write(file, offset, tensors[i].data, bytes));
        offset += bytes;
    }
    return HYSGD_OK;
}

enum hysgd_status safetensors_store(const struct safetensors_tensor *tensors, size_t count,
                                    const char *const (*metadata)[2], size_t metadata_count, void *bytes_out,
                                    size_t *length_out) {
    char *header = NULL, *all;
    size_t length = 0, at;
    uint64_t bytes;
    HYSGD_TRY(compose(tensors, count, metadata, metadata_count, &header, &length));
    at = length;
    for (size_t i = 0; i < count; i++)
        length += safetensors_tensor_bytes(&tensors[i], &bytes) ? bytes : 0;
    enum hysgd_status status = memory_alloc(length, 1, &all);
    if (status == HYSGD_OK) {
        memcpy(all, header, at);
        for (size_t i = 0; i < count; i++)
            if (safetensors_tensor_bytes(&tensors[i], &bytes) && bytes > 0) {
                memcpy(all + at, tensors[i].data, bytes);
                at += bytes;
            }
        *(char **)bytes_out = all;
        *length_out = length;
    }
    memory_free(header);
    return status;
}

static enum hysgd_status write_all(const char *path, const struct safetensors_tensor *tensors, size_t count,
                                   const char *const (*metadata)[2], size_t metadata_count) {
    struct replacement replacement;
    char *header = NULL;
    size_t header_bytes = 0;
    HYSGD_TRY(compose(tensors, count, metadata, metadata_count, &header, &header_bytes));
    enum hysgd_status status = replacement_open(&replacement, path, 0);
    if (status == HYSGD_OK) {
        status = fill(replacement.file, header, header_bytes, tensors, count);
        if (status == HYSGD_OK)
            status = replacement_commit(&replacement);
        else
            replacement_abort(&replacement);
    }
    memory_free(header);
    return status;
}

enum hysgd_status safetensors_write(const char *path, const struct safetensors_tensor *tensors, size_t count,
                                    const char *const (*metadata)[2], size_t metadata_count) {
    enum hysgd_status status = write_all(path, tensors, count, metadata, metadata_count);
    return status == HYSGD_OK ? HYSGD_OK : status_locate(status, path);
}

/* ---- A file that several processes write ---- */

struct safetensors_writer {
    struct replacement replacement;
    char *path, *temporary;
    uint64_t *offsets; /* [count of tensors] */
};

static void writer_free(struct safetensors_writer *writer) {
    memory_free(writer->path);
    memory_free(writer->temporary);
    memory_free(writer->offsets);
    memory_free(writer);
}

/* Other processes may work in other folders, so the path must be whole. */
static enum hysgd_status find_temporary(struct safetensors_writer *writer) {
    char folder[PATH_MAX];
    const struct replacement *replacement = &writer->replacement;
    if (realpath(replacement->folder_path, folder) == NULL)
        return hysgd_fail(HYSGD_OUTPUT, "its directory has no path: %s", strerror(errno));
    size_t size = strlen(folder) + strlen(replacement->temporary) + 2;
    HYSGD_TRY(memory_alloc(size, 1, &writer->temporary));
    snprintf(writer->temporary, size, "%s/%s", folder, replacement->temporary);
    return HYSGD_OK;
}

/* With the replacement open. */
static enum hysgd_status begin_file(struct safetensors_writer *writer, const char *header, size_t header_bytes,
                                    const struct safetensors_tensor *tensors, size_t count) {
    uint64_t total = header_bytes, bytes = 0;
    HYSGD_TRY(memory_alloc(count, sizeof *writer->offsets, &writer->offsets));
    for (size_t i = 0; i < count; i++) {
        writer->offsets[i] = total;
        total += safetensors_tensor_bytes(&tensors[i], &bytes) ? bytes : 0;
    }
    HYSGD_TRY(find_temporary(writer));
    HYSGD_TRY(replacement_reserve(&writer->replacement, total));
    return fill(writer->replacement.file, header, header_bytes, tensors, count);
}

static enum hysgd_status begin(struct safetensors_writer *writer, const char *header, size_t header_bytes,
                               const struct safetensors_tensor *tensors, size_t count) {
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return hysgd_fail(HYSGD_OUTPUT, "cannot be written: the system gives no random number: %s",
                          strerror(errno));
    HYSGD_TRY(replacement_open(&writer->replacement, writer->path, number >> 1));
    enum hysgd_status status = begin_file(writer, header, header_bytes, tensors, count);
    if (status != HYSGD_OK)
        replacement_abort(&writer->replacement);
    return status;
}

enum hysgd_status safetensors_begin(const char *path, const struct safetensors_tensor *tensors, size_t count,
                                    const char *const (*metadata)[2], size_t metadata_count,
                                    struct safetensors_writer **writer_out) {
    struct safetensors_writer *writer;
    char *header = NULL;
    size_t header_bytes = 0;
    HYSGD_TRY(memory_alloc(1, sizeof *writer, &writer));
    enum hysgd_status status = memory_copy_text(path, &writer->path);
    if (status == HYSGD_OK)
        status = compose(tensors, count, metadata, metadata_count, &header, &header_bytes);
    if (status == HYSGD_OK)
        status = begin(writer, header, header_bytes, tensors, count);
    memory_free(header);
    if (status == HYSGD_OK) {
        *writer_out = writer;
        return HYSGD_OK;
    }
    writer_free(writer);
    return status_locate(status, path);
}

const char *safetensors_temporary(const struct safetensors_writer *writer) {
    return writer->temporary;
}

uint64_t safetensors_offset(const struct safetensors_writer *writer, size_t tensor) {
    return writer->offsets[tensor];
}

static enum hysgd_status write_pieces(int file, const struct safetensors_piece *pieces, size_t count) {
    for (size_t i = 0; i < count; i++)
        HYSGD_TRY(replacement_write(file, pieces[i].offset, pieces[i].data, pieces[i].bytes));
    return replacement_sync(file);
}

enum hysgd_status safetensors_write_pieces(const char *temporary, const struct safetensors_piece *pieces,
                                           size_t count) {
    int file = open(temporary, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return hysgd_fail(HYSGD_OUTPUT,
                          "%s: cannot be opened: %s: expected a directory that every process of the run sees",
                          temporary, strerror(errno));
    enum hysgd_status status = write_pieces(file, pieces, count);
    if (close(file) != 0 && status == HYSGD_OK)
        status = hysgd_fail(HYSGD_OUTPUT, "cannot be written: %s", strerror(errno));
    return status == HYSGD_OK ? HYSGD_OK : status_locate(status, temporary);
}

enum hysgd_status safetensors_commit(struct safetensors_writer *writer) {
    enum hysgd_status status = replacement_commit(&writer->replacement);
    if (status != HYSGD_OK)
        status = status_locate(status, writer->path);
    writer_free(writer);
    return status;
}

void safetensors_abort(struct safetensors_writer *writer) {
    replacement_abort(&writer->replacement);
    writer_free(writer);
}
