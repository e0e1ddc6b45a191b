/* SPDX-License-Identifier: Apache-2.0 */
/* Decompressing .xz. All memory, that of liblzma included, comes from base/memory.h, and the size limit holds while
 * decompressing. */
#include "data/xz.h"

#include <inttypes.h>
#include <lzma.h>

#include "base/memory.h"

/* The highest preset takes 65 MB, and files made with several times that are rare. */
#define MOST_DICTIONARY ((uint64_t)1 << 30)
/* Text becomes about as much larger; the buffer grows when that was too little. */
#define EXPANSION   5
#define LEAST_BYTES ((size_t)4096)

static void *lzma_memory(void *opaque, size_t count, size_t size) {
    (void)opaque;
    void *memory;
    return memory_alloc(count, size, &memory) == HYSGD_OK ? memory : NULL;
}

static void lzma_release(void *opaque, void *memory) {
    (void)opaque;
    memory_free(memory);
}

/* Judges what lzma_code returned other than LZMA_OK. */
static enum hysgd_status judge(lzma_ret code, lzma_stream *stream, const char *path) {
    switch (code) {
    case LZMA_MEM_ERROR:
        return HYSGD_MEMORY; /* the message is that of memory_alloc */
    case LZMA_MEMLIMIT_ERROR:
        return hysgd_fail(HYSGD_INPUT,
                          "%s: the xz data need %" PRIu64 " bytes of memory; at most %" PRIu64 " are given", path,
                          lzma_memusage(stream), MOST_DICTIONARY);
    case LZMA_BUF_ERROR:
        return hysgd_fail(HYSGD_INPUT, "%s: the xz data are truncated at byte %" PRIu64, path, stream->total_in);
    default:
        return hysgd_fail(HYSGD_INPUT, "%s: the xz data are damaged near byte %" PRIu64, path, stream->total_in);
    }
}

static enum hysgd_status decode_all(lzma_stream *stream, const struct file *raw, const char *path, size_t limit,
                                    struct file *out) {
    size_t capacity = 0, wanted = raw->size < limit / EXPANSION ? LEAST_BYTES + raw->size * EXPANSION : limit + 1;
    stream->next_in = raw->bytes;
    stream->avail_in = raw->size;
    for (lzma_ret code = LZMA_OK; code != LZMA_STREAM_END;) {
        if (out->size > limit)
            return file_fail_size(path, limit);
        if (out->size == capacity) {
            HYSGD_TRY(memory_enlarge(&out->bytes, out->size, wanted < limit ? wanted : limit + 1, 1));
            capacity = wanted < limit ? wanted : limit + 1;
            wanted = 2 * capacity;
        }
        stream->next_out = out->bytes + out->size;
        stream->avail_out = capacity - out->size;
        code = lzma_code(stream, LZMA_FINISH);
        out->size = (size_t)(stream->next_out - out->bytes);
        if (code != LZMA_OK && code != LZMA_STREAM_END)
            HYSGD_TRY(judge(code, stream, path));
    }
    return out->size > limit ? file_fail_size(path, limit) : HYSGD_OK;
}

enum hysgd_status xz_decompress(const struct file *raw, const char *path, size_t limit, struct file *file_out) {
    const lzma_allocator allocator = {.alloc = lzma_memory, .free = lzma_release};
    lzma_stream stream = LZMA_STREAM_INIT;
    struct file out = {0};
    stream.allocator = &allocator;
    lzma_ret code = lzma_stream_decoder(&stream, MOST_DICTIONARY, LZMA_CONCATENATED);
    enum hysgd_status status =
        code == LZMA_OK ? decode_all(&stream, raw, path, limit, &out) : judge(code, &stream, path);
    lzma_end(&stream);
    if (status == HYSGD_OK)
        *file_out = out;
    else
        file_fini(&out);
    return status;
}
