/* SPDX-License-Identifier: Apache-2.0 */
/* Reads blocks: see log_source.h. */
#include "record/log_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/memory.h"

/* A length is believed only as far as there are bytes: memory for a block is taken in steps of this. */
#define FIRST_CAPACITY 16384

uint64_t log_source_byte(const struct log_source *source) {
    return source->first + (uint64_t)(source->cursor.at - source->block);
}

enum hysgd_status log_source_fail(const struct log_source *source, uint64_t byte, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return hysgd_fail(HYSGD_INPUT, "%s: byte %" PRIu64 ": %s", source->name, byte, text);
}

/* Reads up to `size` bytes. */
static enum hysgd_status read_bytes(struct log_source *source, void *to, size_t size, size_t *read_out) {
    errno = 0;
    *read_out = fread(to, 1, size, source->stream);
    if (*read_out < size && ferror(source->stream))
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be read: %s", source->name, strerror(errno != 0 ? errno : EIO));
    return HYSGD_OK;
}

static enum hysgd_status check_head(const struct log_source *source, const uint8_t *head, size_t size) {
    size_t magic = strlen(LOG_MAGIC);
    if (size == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: is empty: expected an event log", source->name);
    if (head[0] == '{')
        return hysgd_fail(HYSGD_INPUT,
                          "%s: is no event log in the compact form: JSON lines, if it is that, cannot be read back",
                          source->name);
    if (memcmp(head, LOG_MAGIC, size < magic ? size : magic) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: is not an event log: expected it to begin with \"%s\"", source->name,
                          LOG_MAGIC);
    if (size < LOG_HEAD_BYTES)
        return log_source_fail(source, size, "the log is cut within its head");
    uint32_t version = log_get_word(head + magic);
    if (version != LOG_VERSION)
        return log_source_fail(source, magic,
                               "the log has version %" PRIu32 " of the format: this hysgd reads version %d",
                               version, LOG_VERSION);
    return HYSGD_OK;
}

enum hysgd_status log_source_init(struct log_source *source, FILE *stream, const char *name) {
    uint8_t head[LOG_HEAD_BYTES];
    size_t size;
    *source = (struct log_source){.stream = stream, .next = LOG_HEAD_BYTES};
    HYSGD_TRY(memory_copy_text(name, &source->name));
    HYSGD_TRY(read_bytes(source, head, sizeof head, &size));
    return check_head(source, head, size);
}

void log_source_fini(struct log_source *source) {
    if (source->stream != NULL)
        fclose(source->stream);
    memory_free(source->name);
    memory_free(source->block);
    *source = (struct log_source){0};
}

static enum hysgd_status grow(struct log_source *source, size_t wanted) {
    size_t capacity = source->capacity > 0 ? 2 * source->capacity : FIRST_CAPACITY;
    if (capacity > wanted && wanted > FIRST_CAPACITY)
        capacity = wanted;
    HYSGD_TRY(memory_enlarge(&source->block, source->size, capacity, 1));
    source->capacity = capacity;
    return HYSGD_OK;
}

/* Reads `length` bytes, or fewer where the file ends. */
static enum hysgd_status read_payload(struct log_source *source, size_t length) {
    source->size = 0;
    while (source->size < length) {
        size_t read;
        if (source->size == source->capacity)
            HYSGD_TRY(grow(source, length));
        size_t room = source->capacity - source->size, left = length - source->size,
               step = left < room ? left : room;
        HYSGD_TRY(read_bytes(source, source->block + source->size, step, &read));
        source->size += read;
        if (read < step)
            break;
    }
    return HYSGD_OK;
}

/* Whether nothing but zeros is left: what some file systems leave after a crash of the machine. */
static bool only_zeros_follow(struct log_source *source) {
    int byte;
    while ((byte = fgetc(source->stream)) == 0) {
    }
    return byte == EOF;
}

enum hysgd_status log_source_next(struct log_source *source, bool *has_block_out) {
    uint8_t head[LOG_BLOCK_BYTES];
    size_t size;
    *has_block_out = false;
    if (source->is_cut)
        return HYSGD_OK;
    HYSGD_TRY(read_bytes(source, head, sizeof head, &size));
    source->is_cut = size > 0 && size < sizeof head;
    if (size < sizeof head)
        return HYSGD_OK;
    size_t length = log_get_word(head);
    uint32_t checksum = log_get_word(head + 4);
    if (length == 0 && checksum == 0 && only_zeros_follow(source)) {
        source->is_cut = true;
        return HYSGD_OK;
    }
    if (length == 0 || length > LOG_MOST_BLOCK)
        return log_source_fail(source, source->next,
                               "the log is damaged: a block of %zu bytes; expected 1 to %d bytes", length,
                               LOG_MOST_BLOCK);
    HYSGD_TRY(read_payload(source, length));
    bool is_whole = source->size == length && log_checksum(head, source->block, length) == checksum;
    if (!is_whole && source->size == length && fgetc(source->stream) != EOF)
        return log_source_fail(source, source->next,
                               "the log is damaged: the checksum of the block of %zu bytes does not fit", length);
    source->is_cut = !is_whole;
    if (!is_whole)
        return HYSGD_OK;
    source->first = source->next + LOG_BLOCK_BYTES;
    source->next = source->first + length;
    source->cursor = (struct log_cursor){source->block, source->block + length};
    *has_block_out = true;
    return HYSGD_OK;
}
