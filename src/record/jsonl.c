/* SPDX-License-Identifier: Apache-2.0 */
/* The event log as JSON lines: an object each, with the fields of record/kinds.c. First line: "hysgd_log" (version
 * of this form: 1), the fields of the run, and "options" (object: the options of the run as texts). Then a line for
 * each event in the order in which they happened: "t", "event" (its kind), "worker", "version", and the fields of
 * the kind. Last line: "event":"end", the fields of the end, and "accounts" (array: the fields of a worker's
 * account each), "classes" (array: the fields of a class each), "worker_bias" and "class_bias" (distances in total
 * variation of the applied samples from the training data, 0 to 1), "straggler" (null, or an object: see
 * straggler.h). A log without this line is of a run that was killed.
 *
 * The numbers of events are exact (they read back to the same double), those of the first and last line have 15
 * digits; what is not known is null. */
#include <errno.h>
#include <inttypes.h>

#include "base/memory.h"
#include "record/encode.h"
#include "record/kinds.h"
#include "record/output.h"
#include "record/sinks.h"

#define LINES_VERSION 1

struct lines {
    struct output output;
};

/* Frees one that could not be opened. */
static enum hysgd_status note_opened(struct lines *lines, enum hysgd_status status, void **self_out) {
    if (status == HYSGD_OK)
        *self_out = lines;
    else
        sink_jsonl_free(lines);
    return status;
}

enum hysgd_status sink_jsonl_alloc(const char *path, void **self_out) {
    struct lines *lines;
    HYSGD_TRY(memory_alloc(1, sizeof *lines, &lines));
    return note_opened(lines, output_open(&lines->output, path), self_out);
}

enum hysgd_status sink_jsonl_continue(const char *path, uint64_t bytes, void **self_out) {
    struct lines *lines;
    HYSGD_TRY(memory_alloc(1, sizeof *lines, &lines));
    return note_opened(lines, output_continue(&lines->output, path, bytes), self_out);
}

void sink_jsonl_free(void *self) {
    struct lines *lines = self;
    if (lines == NULL)
        return;
    output_fini(&lines->output);
    memory_free(lines);
}

/* Writes `head` (a new object) with the fields of `body`, both taken over. 15 digits: options such as 0.1 stay
 * readable; the exact values of events are not written here. */
static enum hysgd_status write_line(struct lines *lines, json_t *head, json_t *body) {
    bool is_whole = head != NULL && body != NULL && json_object_update(head, body) == 0;
    json_decref(body);
    if (!is_whole) {
        json_decref(head);
        return hysgd_fail(HYSGD_MEMORY, "%s: no memory for a line", lines->output.path);
    }
    errno = 0;
    (void)json_dumpf(head, lines->output.stream, JSON_COMPACT | JSON_REAL_PRECISION(15)); /* see output_check */
    json_decref(head);
    fputc('\n', lines->output.stream);
    return output_check(&lines->output);
}

static enum hysgd_status lines_begin(void *self, const struct event_run *run) {
    return write_line(self, json_pack("{si}", "hysgd_log", LINES_VERSION), encode_run(run));
}

static void write_field(FILE *stream, const struct record_field *field, const struct event *event) {
    const char *at = (const char *)event + field->offset;
    switch (field->type) {
    case RECORD_COUNT:
    case RECORD_LIMIT:
        fprintf(stream, ",\"%s\":%" PRIu64, field->name, *(const uint64_t *)at);
        break;
    case RECORD_STALENESS:
        fprintf(stream, ",\"%s\":%" PRIu64, field->name, event->version - event->arrival.read);
        break;
    case RECORD_INT:
        fprintf(stream, ",\"%s\":%" PRId32, field->name, *(const int32_t *)at);
        break;
    case RECORD_FLAG:
        fprintf(stream, ",\"%s\":%s", field->name, *(const bool *)at ? "true" : "false");
        break;
    case RECORD_REAL:
    case RECORD_BOUND:
        fprintf(stream, ",\"%s\":%s", field->name, ENCODE_JSON(*(const double *)at));
        break;
    case RECORD_TEXT: /* not in events */
        break;
    }
}

static enum hysgd_status lines_event(void *self, const struct event *event) {
    struct lines *lines = self;
    FILE *stream = lines->output.stream;
    const struct record_kind *kind = &record_events[event->kind];
    char worker[16] = "null";
    if (event->worker >= 0)
        snprintf(worker, sizeof worker, "%" PRId32, event->worker);
    errno = 0;
    fprintf(stream, "{\"t\":%s,\"event\":\"%s\",\"worker\":%s,\"version\":%" PRIu64, ENCODE_JSON(event->seconds),
            kind->name, worker, event->version);
    for (const struct record_field *field = kind->fields; field->name != NULL; field++)
        write_field(stream, field, event);
    fputs("}\n", stream);
    return output_check(&lines->output);
}

static enum hysgd_status lines_pulse(void *self, double seconds) {
    (void)seconds;
    struct lines *lines = self;
    return output_pulse(&lines->output);
}

static enum hysgd_status lines_flush(void *self) {
    struct lines *lines = self;
    return output_flush(&lines->output);
}

static enum hysgd_status lines_end(void *self, const struct event_summary *summary) {
    struct lines *lines = self;
    HYSGD_TRY(write_line(lines, json_pack("{ss}", "event", "end"), encode_summary(summary)));
    return output_close(&lines->output);
}

const struct sink_ops sink_jsonl = {
    .begin = lines_begin, .event = lines_event, .pulse = lines_pulse, .flush = lines_flush, .end = lines_end};
