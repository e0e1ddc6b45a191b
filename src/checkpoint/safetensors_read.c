/* SPDX-License-Identifier: Apache-2.0 */
/* Reads safetensors. The header is parsed by jansson; every number in it is checked here before it is used, and
 * nothing is handed out unless the whole file is sound. Messages are made where the fault is found and located by
 * the callers. */
#include "checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define LENGTH_BYTES 8 /* of the header's length, which begins the file */
#define METADATA_KEY "__metadata__"

struct entry {
    struct safetensors_tensor tensor;
    uint64_t begin, end; /* of its data within the byte buffer */
};

struct pair {
    const char *key, *value; /* owned by the header */
};

struct safetensors_file {
    char *name;            /* for messages */
    void *buffer;          /* the byte buffer of a file that was read; NULL for bytes in memory */
    int descriptor;        /* of a file of which only the header was read; else -1 */
    uint64_t data_begin;   /* in that file */
    json_t *header;        /* owns the names and the metadata */
    struct entry *entries; /* [count], in the order of their data */
    size_t count;
    struct pair *metadata; /* [metadata_count] */
    size_t metadata_count;
};

#define MOST_SHOWN 64

/* A word from the file as a message may show it: short, and without what would upset a terminal. */
static const char *shown(const char *word, char text[static MOST_SHOWN + 4]) {
    size_t length = strnlen(word, MOST_SHOWN);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)word[i];
        text[i] = byte < 0x20 || byte > 0x7e ? '?' : word[i];
    }
    strcpy(text + length, word[length] == '\0' ? "" : "...");
    return text;
}

static bool is_whole(const json_t *value) {
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static enum hysgd_status take_type(const json_t *value, struct safetensors_tensor *tensor) {
    char text[MOST_SHOWN + 4];
    if (!json_is_string(value))
        return hysgd_fail(HYSGD_INPUT, "'dtype' is %s, expected text such as \"F32\"",
                          value == NULL ? "missing" : "not text");
    if (!safetensors_type_find(json_string_value(value), &tensor->type))
        return hysgd_fail(HYSGD_INPUT,
                          "'dtype' is '%s', expected one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL",
                          shown(json_string_value(value), text));
    return HYSGD_OK;
}

static enum hysgd_status take_shape(const json_t *value, struct safetensors_tensor *tensor) {
    if (!json_is_array(value))
        return hysgd_fail(HYSGD_INPUT, "'shape' is %s, expected a list of whole numbers",
                          value == NULL ? "missing" : "not a list");
    size_t rank = json_array_size(value);
    if (rank > SAFETENSORS_MOST_RANK)
        return hysgd_fail(HYSGD_INPUT, "'shape' has %zu dimensions, expected at most %d", rank,
                          SAFETENSORS_MOST_RANK);
    tensor->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!is_whole(dim))
            return hysgd_fail(HYSGD_INPUT, "'shape' has at place %zu no whole number of at least 0", i);
        tensor->dims[i] = (uint64_t)json_integer_value(dim);
    }
    return HYSGD_OK;
}

static enum hysgd_status take_offsets(const json_t *value, uint64_t buffer_bytes, struct entry *entry) {
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !is_whole(begin) || !is_whole(end))
        return hysgd_fail(HYSGD_INPUT, "'data_offsets' is %s, expected a list of two whole numbers of at least 0",
                          value == NULL ? "missing" : "something else");
    entry->begin = (uint64_t)json_integer_value(begin);
    entry->end = (uint64_t)json_integer_value(end);
    if (entry->begin > entry->end || entry->end > buffer_bytes)
        return hysgd_fail(HYSGD_INPUT,
                          "'data_offsets' is [%" PRIu64 ",%" PRIu64 "], expected begin <= end <= %" PRIu64
                          ", the bytes after the header",
                          entry->begin, entry->end, buffer_bytes);
    return HYSGD_OK;
}

static enum hysgd_status take_tensor(const json_t *described, uint64_t buffer_bytes, struct entry *entry) {
    if (!json_is_object(described))
        return hysgd_fail(HYSGD_INPUT, "its entry is no object, expected {\"dtype\", \"shape\", \"data_offsets\"}");
    HYSGD_TRY(take_type(json_object_get(described, "dtype"), &entry->tensor));
    HYSGD_TRY(take_shape(json_object_get(described, "shape"), &entry->tensor));
    HYSGD_TRY(take_offsets(json_object_get(described, "data_offsets"), buffer_bytes, entry));
    uint64_t bytes;
    if (!safetensors_tensor_bytes(&entry->tensor, &bytes))
        return hysgd_fail(HYSGD_INPUT, "'shape' has a product beyond 2^63 bytes");
    if (bytes != entry->end - entry->begin)
        return hysgd_fail(HYSGD_INPUT,
                          "'data_offsets' span %" PRIu64 " bytes, expected %" PRIu64 " for its type and shape",
                          entry->end - entry->begin, bytes);
    return HYSGD_OK;
}

static enum hysgd_status take_tensors(struct safetensors_file *file, uint64_t buffer_bytes) {
    const char *name;
    json_t *described;
    HYSGD_TRY(memory_alloc(json_object_size(file->header), sizeof(*file->entries), &file->entries));
    json_object_foreach(file->header, name, described) {
        if (strcmp(name, METADATA_KEY) == 0)
            continue;
        struct entry *entry = &file->entries[file->count++];
        entry->tensor.name = name;
        enum hysgd_status status = take_tensor(described, buffer_bytes, entry);
        if (status != HYSGD_OK) {
            char text[MOST_SHOWN + 4], where[MOST_SHOWN + 20];
            snprintf(where, sizeof(where), "tensor '%s'", shown(name, text));
            return status_locate(status, where);
        }
    }
    return HYSGD_OK;
}

static int compare_entries(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return strcmp(a->tensor.name, b->tensor.name); /* empty tensors: any order that is always the same */
}

/* Puts the tensors in the order of their data, which must cover the byte buffer once and without holes. */
static enum hysgd_status check_cover(struct safetensors_file *file, uint64_t buffer_bytes) {
    char text[MOST_SHOWN + 4];
    uint64_t covered = 0;
    qsort(file->entries, file->count, sizeof(*file->entries), compare_entries);
    for (size_t i = 0; i < file->count; i++) {
        const struct entry *entry = &file->entries[i];
        if (entry->begin != covered)
            return hysgd_fail(HYSGD_INPUT,
                              "tensor '%s': data begin at %" PRIu64 ", expected %" PRIu64
                              " where the tensor before it ends",
                              shown(entry->tensor.name, text), entry->begin, covered);
        covered = entry->end;
    }
    if (covered != buffer_bytes)
        return hysgd_fail(HYSGD_INPUT,
                          "the tensors cover %" PRIu64 " bytes after the header, expected all %" PRIu64, covered,
                          buffer_bytes);
    return HYSGD_OK;
}

static enum hysgd_status take_metadata(struct safetensors_file *file) {
    json_t *metadata = json_object_get(file->header, METADATA_KEY), *value;
    const char *key;
    char text[MOST_SHOWN + 4];
    if (metadata == NULL)
        return HYSGD_OK;
    if (!json_is_object(metadata))
        return hysgd_fail(HYSGD_INPUT, METADATA_KEY " is no object, expected keys and values that are text");
    HYSGD_TRY(memory_alloc(json_object_size(metadata), sizeof(*file->metadata), &file->metadata));
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return hysgd_fail(HYSGD_INPUT, METADATA_KEY ": the value of '%s' is not text", shown(key, text));
        file->metadata[file->metadata_count++] = (struct pair){key, json_string_value(value)};
    }
    return HYSGD_OK;
}

/* Fills the file from its header, except for where the data are. */
static enum hysgd_status take_header(struct safetensors_file *file, const char *header, size_t length,
                                     uint64_t buffer_bytes) {
    if (length == 0 || header[0] != '{')
        return hysgd_fail(HYSGD_INPUT, "the header does not begin with '{' at byte %d", LENGTH_BYTES);
    json_error_t error;
    file->header = json_loadb(header, length, JSON_REJECT_DUPLICATES, &error);
    if (file->header == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return hysgd_fail(HYSGD_MEMORY, "out of memory for a header of %zu bytes", length);
        char text[MOST_SHOWN + 4];
        return hysgd_fail(HYSGD_INPUT, "the header is not the JSON expected at byte %d: %s",
                          LENGTH_BYTES + error.position, shown(error.text, text));
    }
    HYSGD_TRY(take_metadata(file));
    HYSGD_TRY(take_tensors(file, buffer_bytes));
    return check_cover(file, buffer_bytes);
}

/* Reads the header's length from the first bytes of a file of `total` bytes. */
static enum hysgd_status take_length(const unsigned char *bytes, uint64_t total, size_t *length_out) {
    uint64_t length = 0;
    if (total < LENGTH_BYTES)
        return hysgd_fail(HYSGD_INPUT, "the file has %" PRIu64 " bytes, expected at least %d", total, LENGTH_BYTES);
    for (int i = 0; i < LENGTH_BYTES; i++)
        length |= (uint64_t)bytes[i] << 8 * i;
    if (length > SAFETENSORS_MOST_HEADER)
        return hysgd_fail(HYSGD_INPUT,
                          "the first 8 bytes say that the header has %" PRIu64 " bytes, expected at most %d",
                          length, SAFETENSORS_MOST_HEADER);
    if (length > total - LENGTH_BYTES)
        return hysgd_fail(HYSGD_INPUT,
                          "the first 8 bytes say that the header has %" PRIu64
                          " bytes, but the file ends after %" PRIu64,
                          length, total);
    *length_out = (size_t)length;
    return HYSGD_OK;
}

static void place_data(struct safetensors_file *file, const void *buffer) {
    for (size_t i = 0; i < file->count; i++)
        file->entries[i].tensor.data = (const char *)buffer + file->entries[i].begin;
}

/* Reads exactly `bytes` bytes. */
static enum hysgd_status read_bytes(int fd, uint64_t offset, void *buffer, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(fd, (char *)buffer + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hysgd_fail(HYSGD_INPUT, "cannot be read: %s", strerror(errno));
        if (got == 0)
            return hysgd_fail(HYSGD_INPUT, "became shorter while it was read, %zu bytes were missing",
                              bytes - done);
        done += (size_t)got;
    }
    return HYSGD_OK;
}

/* `header` is the caller's to free in every case. */
static enum hysgd_status read_header(struct safetensors_file *file, int fd, char **header,
                                     uint64_t *buffer_bytes_out) {
    struct stat stat;
    unsigned char start[LENGTH_BYTES] = {0};
    if (fstat(fd, &stat) != 0)
        return hysgd_fail(HYSGD_INPUT, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(stat.st_mode))
        return hysgd_fail(HYSGD_INPUT, "is not a regular file");
    uint64_t total = (uint64_t)stat.st_size;
    size_t length = 0;
    HYSGD_TRY(read_bytes(fd, 0, start, total < LENGTH_BYTES ? 0 : LENGTH_BYTES));
    HYSGD_TRY(take_length(start, total, &length));
    HYSGD_TRY(memory_alloc(length, 1, header));
    HYSGD_TRY(read_bytes(fd, LENGTH_BYTES, *header, length));
    file->data_begin = LENGTH_BYTES + length;
    *buffer_bytes_out = total - file->data_begin;
    return take_header(file, *header, length, *buffer_bytes_out);
}

/* The data are read after the header was found sound, so that a wrong file costs no more than its header. */
static enum hysgd_status read_data(struct safetensors_file *file, int fd, uint64_t buffer_bytes) {
    HYSGD_TRY(memory_alloc_vector((size_t)buffer_bytes, 1, &file->buffer));
    HYSGD_TRY(read_bytes(fd, file->data_begin, file->buffer, (size_t)buffer_bytes));
    place_data(file, file->buffer);
    return HYSGD_OK;
}

static enum hysgd_status read_path(struct safetensors_file *file, bool has_data) {
    /* Without O_NONBLOCK a pipe with no writer would hold us up before we can refuse it. */
    int fd = open(file->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hysgd_fail(HYSGD_INPUT, "cannot be opened: %s", strerror(errno));
    char *header = NULL;
    uint64_t buffer_bytes = 0;
    enum hysgd_status status = read_header(file, fd, &header, &buffer_bytes);
    if (status == HYSGD_OK && has_data)
        status = read_data(file, fd, buffer_bytes);
    memory_free(header);
    if (status == HYSGD_OK && !has_data)
        file->descriptor = fd;
    else
        close(fd);
    return status;
}

static enum hysgd_status read_memory(struct safetensors_file *file, const char *bytes, size_t total) {
    size_t length = 0;
    HYSGD_TRY(take_length((const unsigned char *)bytes, total, &length));
    HYSGD_TRY(take_header(file, bytes + LENGTH_BYTES, length, total - LENGTH_BYTES - length));
    place_data(file, bytes + LENGTH_BYTES + length);
    return HYSGD_OK;
}

static enum hysgd_status file_alloc(const char *name, struct safetensors_file **file_out) {
    struct safetensors_file *file;
    HYSGD_TRY(memory_alloc(1, sizeof(*file), &file));
    enum hysgd_status status = memory_copy_text(name, &file->name);
    if (status != HYSGD_OK) {
        memory_free(file);
        return status;
    }
    file->descriptor = -1;
    *file_out = file;
    return HYSGD_OK;
}

/* Hands the file out, or names it in the message and frees it. */
static enum hysgd_status finish(enum hysgd_status status, struct safetensors_file *file,
                                struct safetensors_file **file_out) {
    if (status == HYSGD_OK) {
        *file_out = file;
        return HYSGD_OK;
    }
    status = status_locate(status, file->name);
    safetensors_close(file);
    return status;
}

enum hysgd_status safetensors_open(const char *path, struct safetensors_file **file_out) {
    struct safetensors_file *file;
    HYSGD_TRY(file_alloc(path, &file));
    return finish(read_path(file, true), file, file_out);
}

enum hysgd_status safetensors_open_header(const char *path, struct safetensors_file **file_out) {
    struct safetensors_file *file;
    HYSGD_TRY(file_alloc(path, &file));
    return finish(read_path(file, false), file, file_out);
}

enum hysgd_status safetensors_open_bytes(const char *name, const void *bytes, size_t length,
                                         struct safetensors_file **file_out) {
    struct safetensors_file *file;
    HYSGD_TRY(file_alloc(name, &file));
    return finish(read_memory(file, bytes, length), file, file_out);
}

void safetensors_close(struct safetensors_file *file) {
    if (file == NULL)
        return;
    if (file->descriptor >= 0)
        close(file->descriptor);
    json_decref(file->header);
    memory_free(file->entries);
    memory_free(file->metadata);
    memory_free(file->buffer);
    memory_free(file->name);
    memory_free(file);
}

size_t safetensors_count(const struct safetensors_file *file) {
    return file->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors_file *file, size_t index) {
    return &file->entries[index].tensor;
}

static const struct entry *find(const struct safetensors_file *file, const char *name) {
    for (size_t i = 0; i < file->count; i++) {
        if (strcmp(file->entries[i].tensor.name, name) == 0)
            return &file->entries[i];
    }
    return NULL;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors_file *file, const char *name) {
    const struct entry *entry = find(file, name);
    return entry != NULL ? &entry->tensor : NULL;
}

const char *safetensors_metadata(const struct safetensors_file *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, METADATA_KEY), key));
}

size_t safetensors_metadata_count(const struct safetensors_file *file) {
    return file->metadata_count;
}

void safetensors_metadata_at(const struct safetensors_file *file, size_t index, const char **key_out,
                             const char **value_out) {
    *key_out = file->metadata[index].key;
    *value_out = file->metadata[index].value;
}

/* Finds a tensor that is what the caller needs. */
static enum hysgd_status find_fitting(const struct safetensors_file *file, const char *name,
                                      enum safetensors_type type, uint64_t elements,
                                      const struct entry **entry_out) {
    const struct entry *entry = find(file, name);
    if (entry == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: has no tensor '%s'", file->name, name);
    const struct safetensors_tensor *tensor = &entry->tensor;
    if (tensor->type != type)
        return hysgd_fail(HYSGD_INPUT, "%s: tensor '%s' has type %s, expected %s", file->name, name,
                          safetensors_type_name(tensor->type), safetensors_type_name(type));
    uint64_t present = 1;
    for (int i = 0; i < tensor->rank; i++)
        present *= tensor->dims[i];
    if (present != elements)
        return hysgd_fail(HYSGD_INPUT, "%s: tensor '%s' has %" PRIu64 " elements, expected %" PRIu64, file->name,
                          name, present, elements);
    *entry_out = entry;
    return HYSGD_OK;
}

enum hysgd_status safetensors_read_range(const struct safetensors_file *file, const char *name,
                                         enum safetensors_type type, uint64_t elements, uint64_t first,
                                         uint64_t count, void *data_out) {
    const struct entry *entry = NULL;
    size_t size = safetensors_type_size(type);
    HYSGD_TRY(find_fitting(file, name, type, elements, &entry));
    if (entry->tensor.data != NULL) {
        memcpy(data_out, (const char *)entry->tensor.data + first * size, count * size);
        return HYSGD_OK;
    }
    uint64_t begin = file->data_begin + entry->begin + first * size;
    enum hysgd_status status = read_bytes(file->descriptor, begin, data_out, count * size);
    return status == HYSGD_OK ? HYSGD_OK : status_locate(status, file->name);
}

enum hysgd_status safetensors_read(const struct safetensors_file *file, const char *name,
                                   enum safetensors_type type, uint64_t elements, void *data_out) {
    return safetensors_read_range(file, name, type, elements, 0, elements, data_out);
}
