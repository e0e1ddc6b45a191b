/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are refused as an event log or give events that are sound. So that the bytes after a change are looked
 * at, too, each block of the input has its checksum put right first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/log_format.h"
#include "record/log_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void put_checksums_right(uint8_t *bytes, size_t size) {
    for (size_t at = LOG_HEAD_BYTES; at < size && size - at > LOG_BLOCK_BYTES;) {
        size_t length = log_get_word(bytes + at), left = size - at - LOG_BLOCK_BYTES;
        if (length == 0 || length > left)
            return;
        log_put_word(bytes + at + 4, log_checksum(bytes + at, bytes + at + LOG_BLOCK_BYTES, length));
        at += LOG_BLOCK_BYTES + length;
    }
}

static void check_event(const struct event_run *run, const struct event *event) {
    const struct record_kind *kind = &record_events[event->kind];
    if (!isfinite(event->seconds) || event->worker >= run->workers || event->worker < (kind->has_worker ? 0 : -1))
        abort();
    if (event->kind == EVENT_ARRIVAL && event->arrival.read > event->version)
        abort();
}

/* Looks at every byte of what was read. */
static size_t measure_run(const struct event_run *run) {
    size_t length = strlen(run->title) + strlen(run->runtime);
    for (int i = 0; i < run->description_count; i++)
        length += strlen(run->description[i][0]) + strlen(run->description[i][1]);
    return length;
}

static void read_log(uint8_t *bytes, size_t size) {
    struct log_reader *reader;
    struct event event;
    bool has_event = true;
    FILE *stream = fmemopen(bytes, size, "r");
    if (stream == NULL || log_reader_open_stream(stream, "input", &reader) != HYSGD_OK)
        return;
    volatile size_t sum = measure_run(log_reader_run(reader));
    while (has_event && log_reader_next(reader, &event, &has_event) == HYSGD_OK && has_event)
        check_event(log_reader_run(reader), &event);
    const struct event_summary *summary = log_reader_summary(reader);
    if (summary != NULL)
        sum += strlen(summary->reason);
    for (int i = 0; summary != NULL && i < summary->workers; i++)
        sum += summary->accounts[i].received;
    (void)sum;
    log_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size);
    if (size == 0 || copy == NULL) {
        free(copy);
        return 0;
    }
    memcpy(copy, bytes, size);
    read_log(copy, size);
    put_checksums_right(copy, size);
    read_log(copy, size);
    free(copy);
    return 0;
}
