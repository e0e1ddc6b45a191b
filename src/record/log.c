/* SPDX-License-Identifier: Apache-2.0 */
/* The sink that writes the compact event log of log_format.h. A block goes to the system when it has some
 * kilobytes, and four times a second whatever it has: that is what a killed run loses. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "record/log_format.h"
#include "record/output.h"
#include "record/sinks.h"

/* A payload of so many bytes is written out. */
#define BLOCK_ENOUGH 8192

/* That a record without texts takes at most. */
#define MOST_RECORD ((2 * RECORD_MOST_FIELDS + 2) * LOG_MOST_VALUE)

#define MOST_KINDS 64

struct log {
    struct output output;
    uint8_t *block;        /* [capacity] head and payload */
    size_t used, capacity; /* used: LOG_BLOCK_BYTES when the payload is empty */
    uint64_t previous[MOST_KINDS][RECORD_MOST_FIELDS];
};

/* Not yet open. */
static enum hysgd_status alloc_log(struct log **log_out) {
    struct log *log;
    HYSGD_TRY(memory_alloc(1, sizeof *log, &log));
    log->capacity = LOG_BLOCK_BYTES + BLOCK_ENOUGH + MOST_RECORD;
    log->used = LOG_BLOCK_BYTES;
    enum hysgd_status status = memory_alloc(log->capacity, 1, &log->block);
    if (status == HYSGD_OK)
        *log_out = log;
    else
        sink_log_free(log);
    return status;
}

/* Frees one that could not be opened. */
static enum hysgd_status note_opened(struct log *log, enum hysgd_status status, void **self_out) {
    if (status == HYSGD_OK)
        *self_out = log;
    else
        sink_log_free(log);
    return status;
}

enum hysgd_status sink_log_alloc(const char *path, void **self_out) {
    struct log *log;
    HYSGD_TRY(alloc_log(&log));
    return note_opened(log, output_open(&log->output, path), self_out);
}

enum hysgd_status sink_log_continue(const char *path, uint64_t bytes, void **self_out) {
    struct log *log;
    HYSGD_TRY(alloc_log(&log));
    return note_opened(log, output_continue(&log->output, path, bytes), self_out);
}

void sink_log_free(void *self) {
    struct log *log = self;
    if (log == NULL)
        return;
    output_fini(&log->output);
    memory_free(log->block);
    memory_free(log);
}

/* ---- Blocks ---- */

static enum hysgd_status close_block(struct log *log) {
    size_t size = log->used - LOG_BLOCK_BYTES;
    if (size == 0)
        return HYSGD_OK;
    log_put_word(log->block, (uint32_t)size);
    log_put_word(log->block + 4, log_checksum(log->block, log->block + LOG_BLOCK_BYTES, size));
    errno = 0;
    fwrite(log->block, 1, log->used, log->output.stream); /* see output_check */
    log->used = LOG_BLOCK_BYTES;
    memset(log->previous, 0, sizeof log->previous);
    return output_check(&log->output);
}

static enum hysgd_status close_full_block(struct log *log) {
    if (log->used < LOG_BLOCK_BYTES + BLOCK_ENOUGH)
        return HYSGD_OK;
    HYSGD_TRY(close_block(log));
    return output_flush(&log->output);
}

/* Makes room for a record with texts of `size` bytes, which is a block of its own where it is large. */
static enum hysgd_status make_room(struct log *log, size_t size) {
    if (size > LOG_MOST_BLOCK - MOST_RECORD)
        return hysgd_fail(HYSGD_OUTPUT, "%s: a text of %zu bytes is too long for an event log: expected at most %d",
                          log->output.path, size, LOG_MOST_BLOCK - MOST_RECORD);
    if (log->capacity - log->used >= size + MOST_RECORD)
        return HYSGD_OK;
    HYSGD_TRY(close_block(log));
    size_t capacity = LOG_BLOCK_BYTES + size + MOST_RECORD;
    if (log->capacity >= capacity)
        return HYSGD_OK;
    HYSGD_TRY(memory_enlarge(&log->block, 0, capacity, 1));
    log->capacity = capacity;
    return HYSGD_OK;
}

/* ---- Records ---- */

static uint8_t *put_text(uint8_t *to, const char *text) {
    size_t length = strlen(text);
    to = log_put_varint(to, length);
    memcpy(to, text, length);
    return to + length;
}

/* Of a field that may be absent, "". */
static const char *text_at(const struct record_field *field, const void *self) {
    const char *text = *(const char *const *)((const char *)self + field->offset);
    return text != NULL ? text : "";
}

static uint8_t *put_fields(struct log *log, uint8_t *to, int number, const struct record_kind *kind,
                           const void *self) {
    uint64_t *previous = log->previous[number];
    for (const struct record_field *field = kind->fields; field->name != NULL; field++, previous++) {
        enum log_coding coding = log_coding(field->type);
        if (coding == LOG_INTEGER)
            to = log_put_integer(to, log_load(field, self), previous);
        else if (coding == LOG_REAL)
            to = log_put_real(to, log_load(field, self), previous);
        else if (coding == LOG_TEXT)
            to = put_text(to, text_at(field, self));
    }
    return to;
}

static size_t text_bytes(const struct record_kind *kind, const void *self) {
    size_t size = 0;
    for (const struct record_field *field = kind->fields; field->name != NULL; field++)
        if (field->type == RECORD_TEXT)
            size += strlen(text_at(field, self));
    return size;
}

/* A record that is no event. */
static enum hysgd_status write_record(struct log *log, int number, const struct record_kind *kind,
                                      const void *self) {
    HYSGD_TRY(make_room(log, text_bytes(kind, self)));
    uint8_t *end = log_put_varint(log->block + log->used, (uint64_t)number);
    log->used = (size_t)(put_fields(log, end, number, kind, self) - log->block);
    return close_full_block(log);
}

/* Tells that the log has this kind. */
static enum hysgd_status write_kind(struct log *log, int number, const struct record_kind *kind) {
    size_t size = strlen(kind->name), stored = 0;
    for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
        size += strlen(field->name);
        stored += log_coding(field->type) != 0;
    }
    HYSGD_TRY(make_room(log, size));
    uint8_t *to = log_put_varint(log->block + log->used, LOG_KIND);
    to = put_text(log_put_varint(to, (uint64_t)number), kind->name);
    to = log_put_varint(to, stored);
    for (const struct record_field *field = kind->fields; field->name != NULL; field++)
        if (log_coding(field->type) != 0)
            to = put_text(log_put_varint(to, log_coding(field->type)), field->name);
    log->used = (size_t)(to - log->block);
    return HYSGD_OK;
}

static enum hysgd_status write_kinds(struct log *log) {
    HYSGD_TRY(write_kind(log, LOG_RUN, &record_run));
    HYSGD_TRY(write_kind(log, LOG_OPTION, &record_option));
    HYSGD_TRY(write_kind(log, LOG_ACCOUNT, &record_account));
    HYSGD_TRY(write_kind(log, LOG_CLASS, &record_class));
    HYSGD_TRY(write_kind(log, LOG_END, &record_end));
    HYSGD_TRY(write_kind(log, LOG_EVENT, &record_event));
    for (size_t i = 0; i < record_event_count; i++)
        HYSGD_TRY(write_kind(log, LOG_FIRST_EVENT + (int)i, &record_events[i]));
    return HYSGD_OK;
}

static enum hysgd_status log_begin(void *self, const struct event_run *run) {
    struct log *log = self;
    uint8_t head[LOG_HEAD_BYTES] = LOG_MAGIC;
    log_put_word(head + strlen(LOG_MAGIC), LOG_VERSION);
    errno = 0;
    fwrite(head, 1, sizeof head, log->output.stream);
    HYSGD_TRY(write_kinds(log));
    HYSGD_TRY(write_record(log, LOG_RUN, &record_run, run));
    for (int i = 0; i < run->description_count; i++)
        HYSGD_TRY(write_record(log, LOG_OPTION, &record_option, run->description[i]));
    return close_block(log);
}

static enum hysgd_status log_event(void *self, const struct event *event) {
    struct log *log = self;
    int number = LOG_FIRST_EVENT + (int)event->kind;
    uint8_t *to = log_put_varint(log->block + log->used, (uint64_t)number);
    to = put_fields(log, to, LOG_EVENT, &record_event, event);
    to = put_fields(log, to, number, &record_events[event->kind], event);
    log->used = (size_t)(to - log->block);
    return close_full_block(log);
}

static enum hysgd_status log_pulse(void *self, double seconds) {
    (void)seconds;
    struct log *log = self;
    if (log->used == LOG_BLOCK_BYTES || !output_is_due(&log->output))
        return HYSGD_OK;
    HYSGD_TRY(close_block(log));
    return output_flush(&log->output);
}

static enum hysgd_status log_flush(void *self) {
    struct log *log = self;
    HYSGD_TRY(close_block(log));
    return output_flush(&log->output);
}

static enum hysgd_status log_end(void *self, const struct event_summary *summary) {
    struct log *log = self;
    for (int i = 0; i < summary->workers; i++)
        HYSGD_TRY(write_record(log, LOG_ACCOUNT, &record_account, &summary->accounts[i]));
    for (int i = 0; i < summary->class_count; i++)
        HYSGD_TRY(write_record(log, LOG_CLASS, &record_class, &summary->classes[i]));
    HYSGD_TRY(write_record(log, LOG_END, &record_end, summary));
    HYSGD_TRY(close_block(log));
    return output_close(&log->output);
}

const struct sink_ops sink_log = {
    .begin = log_begin, .event = log_event, .pulse = log_pulse, .flush = log_flush, .end = log_end};
