/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a whole plain, gzip or xz file. All memory, that of zlib included, comes from base/memory.h, and the size
 * limit holds while decompressing, so that a small hostile file cannot fill the memory. */
#include "data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/xz.h"

/* zlib counts in unsigned int; it is fed at most this much at a time. */
#define PIECE_BYTES ((size_t)1 << 30)
/* Deflate cannot shrink data by more than a factor of 1032. */
#define MOST_EXPANSION 1032

enum hysgd_status file_fail_size(const char *path, size_t limit) {
    return hysgd_fail(HYSGD_INPUT, "%s: holds more than %zu bytes, the most that is read of such a file", path,
                      limit);
}

static enum hysgd_status find_size(int descriptor, const char *path, size_t *size_out) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return hysgd_fail(HYSGD_INPUT, "%s: is not a regular file", path);
    *size_out = (size_t)status.st_size;
    return HYSGD_OK;
}

static enum hysgd_status open_regular(const char *path, int *descriptor_out, size_t *size_out) {
    /* Without O_NONBLOCK the opening of a pipe would wait for a writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    enum hysgd_status status = find_size(descriptor, path, size_out);
    if (status == HYSGD_OK)
        *descriptor_out = descriptor;
    else
        close(descriptor);
    return status;
}

static enum hysgd_status read_open(int descriptor, const char *path, size_t limit, size_t size,
                                   struct file *file_out) {
    struct file file = {.size = size};
    if (size > limit)
        return file_fail_size(path, limit);
    HYSGD_TRY(memory_alloc(file.size, 1, &file.bytes));
    size_t done = 0;
    while (done < file.size) {
        ssize_t count = read(descriptor, file.bytes + done, file.size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            enum hysgd_status failed =
                hysgd_fail(HYSGD_INPUT, "%s: %s at byte %zu of %zu", path,
                           count < 0 ? strerror(errno) : "the file became shorter", done, file.size);
            file_fini(&file);
            return failed;
        }
        done += (size_t)count;
    }
    *file_out = file;
    return HYSGD_OK;
}

static enum hysgd_status read_raw(const char *path, size_t limit, struct file *file_out) {
    int descriptor = -1;
    size_t size = 0;
    HYSGD_TRY(open_regular(path, &descriptor, &size));
    enum hysgd_status status = read_open(descriptor, path, limit, size, file_out);
    close(descriptor);
    return status;
}

static void *zlib_alloc(void *opaque, unsigned count, unsigned size) {
    (void)opaque;
    void *memory;
    return memory_alloc(count, size, &memory) == HYSGD_OK ? memory : NULL;
}

static void zlib_free(void *opaque, void *memory) {
    (void)opaque;
    memory_free(memory);
}

static size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A first capacity: the length that the file states in its last four bytes, as far as it is possible, and one byte
 * more. */
static size_t stated_size(const struct file *raw, size_t limit) {
    const uint8_t *end = raw->bytes + raw->size;
    size_t stated = 0;
    if (raw->size >= 18)
        stated = (size_t)end[-4] | (size_t)end[-3] << 8 | (size_t)end[-2] << 16 | (size_t)end[-1] << 24;
    return least_of(least_of(stated, raw->size * MOST_EXPANSION), limit) + 1;
}

static bool is_gzip(const uint8_t *bytes, size_t size) {
    return size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

/* Judges what inflate returned. Sets *is_done at the end of the last member. */
static enum hysgd_status judge(int code, z_stream *stream, const struct file *raw, const char *path,
                               bool *is_done) {
    size_t used = (size_t)(stream->next_in - raw->bytes);
    if (code == Z_MEM_ERROR)
        return HYSGD_MEMORY; /* the message is that of memory_alloc */
    if (code == Z_STREAM_END) {
        *is_done = used == raw->size;
        if (!*is_done && !is_gzip(stream->next_in, raw->size - used))
            return hysgd_fail(HYSGD_INPUT, "%s: %zu bytes follow the end of the gzip data at byte %zu", path,
                              raw->size - used, used);
        if (!*is_done && inflateReset(stream) != Z_OK)
            return hysgd_fail(HYSGD_INPUT, "%s: the gzip data cannot be continued at byte %zu", path, used);
        return HYSGD_OK;
    }
    if (code == Z_BUF_ERROR && used == raw->size && stream->avail_out > 0)
        return hysgd_fail(HYSGD_INPUT, "%s: the gzip data are truncated at byte %zu", path, used);
    if (code != Z_OK && code != Z_BUF_ERROR)
        return hysgd_fail(HYSGD_INPUT, "%s: the gzip data are damaged near byte %zu: %s", path, used,
                          stream->msg ? stream->msg : "not in gzip format");
    return HYSGD_OK;
}

static enum hysgd_status inflate_all(z_stream *stream, const struct file *raw, const char *path, size_t limit,
                                     struct file *out) {
    size_t capacity = stated_size(raw, limit);
    HYSGD_TRY(memory_enlarge(&out->bytes, out->size, capacity, 1));
    stream->next_in = raw->bytes;
    for (bool is_done = false; !is_done;) {
        if (out->size > limit)
            return file_fail_size(path, limit);
        if (out->size == capacity) { /* one byte beyond the limit is allowed, to see whether there is one */
            capacity = least_of(2 * capacity, limit + 1);
            HYSGD_TRY(memory_enlarge(&out->bytes, out->size, capacity, 1));
        }
        size_t left = raw->size - (size_t)(stream->next_in - raw->bytes);
        stream->avail_in = (unsigned)least_of(left, PIECE_BYTES);
        stream->next_out = out->bytes + out->size;
        stream->avail_out = (unsigned)least_of(capacity - out->size, PIECE_BYTES);
        int code = inflate(stream, Z_NO_FLUSH);
        out->size = (size_t)(stream->next_out - out->bytes);
        HYSGD_TRY(judge(code, stream, raw, path, &is_done));
    }
    return out->size > limit ? file_fail_size(path, limit) : HYSGD_OK;
}

static enum hysgd_status decompress(const struct file *raw, const char *path, size_t limit, struct file *file_out) {
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    int code = inflateInit2(&stream, 15 + 16); /* the largest window, gzip only */
    if (code == Z_MEM_ERROR)
        return HYSGD_MEMORY;
    if (code != Z_OK)
        return hysgd_fail(HYSGD_FAILED, "%s: zlib %s cannot be used: %s", path, zlibVersion(), zError(code));
    struct file out = {0};
    enum hysgd_status status = inflate_all(&stream, raw, path, limit, &out);
    inflateEnd(&stream);
    if (status == HYSGD_OK)
        *file_out = out;
    else
        file_fini(&out);
    return status;
}

enum hysgd_status file_read(const char *path, size_t limit, struct file *file_out) {
    struct file raw;
    HYSGD_TRY(read_raw(path, limit, &raw));
    bool is_xz = xz_is(raw.bytes, raw.size);
    if (!is_xz && !is_gzip(raw.bytes, raw.size)) {
        *file_out = raw;
        return HYSGD_OK;
    }
    enum hysgd_status status =
        is_xz ? xz_decompress(&raw, path, limit, file_out) : decompress(&raw, path, limit, file_out);
    file_fini(&raw);
    return status;
}

enum hysgd_status file_open(const char *path, int *descriptor_out, size_t *size_out, bool *is_compressed_out) {
    uint8_t magic[XZ_MAGIC_BYTES];
    HYSGD_TRY(open_regular(path, descriptor_out, size_out));
    ssize_t count = pread(*descriptor_out, magic, sizeof magic, 0);
    *is_compressed_out = count > 0 && (is_gzip(magic, (size_t)count) || xz_is(magic, (size_t)count));
    return HYSGD_OK;
}

void file_fini(struct file *file) {
    memory_free(file->bytes);
    *file = (struct file){0};
}

static enum hysgd_status none_found(const char *directory, const char *const *names) {
    struct stat status;
    if (stat(directory, &status) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: %s; expected a directory that holds %s or %s.gz", directory,
                          strerror(errno), names[0], names[0]);
    if (!S_ISDIR(status.st_mode))
        return hysgd_fail(HYSGD_INPUT, "%s: is not a directory; expected one that holds %s or %s.gz", directory,
                          names[0], names[0]);
    if (access(directory, X_OK) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be searched: %s", directory, strerror(errno));
    char tried[512] = "";
    for (size_t i = 0, used = 0; names[i] && used < sizeof tried; i++)
        used +=
            (size_t)snprintf(tried + used, sizeof tried - used, "%s%s, %s.gz", i ? ", " : "", names[i], names[i]);
    return hysgd_fail(HYSGD_INPUT, "%s: no such file in it; expected one of %s", directory, tried);
}

enum hysgd_status file_find(const char *directory, const char *const *names, char **path_out) {
    static const char *const endings[] = {"", ".gz"};
    for (size_t i = 0; names[i]; i++) {
        size_t size = strlen(directory) + strlen(names[i]) + sizeof "/.gz";
        char *path;
        HYSGD_TRY(memory_alloc(size, 1, &path));
        for (int e = 0; e < 2; e++) {
            snprintf(path, size, "%s/%s%s", directory, names[i], endings[e]);
            if (access(path, F_OK) == 0) {
                *path_out = path;
                return HYSGD_OK;
            }
        }
        memory_free(path);
    }
    return none_found(directory, names);
}
