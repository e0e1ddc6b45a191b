/* SPDX-License-Identifier: Apache-2.0 */
/* The event log: JSON lines, each one object. The numbers of events are exact (they read back to the same double),
 * those of the first and last line have 15 digits; what is not known is null.
 *
 * First line: "hysgd_log" (version of this format: 1), "title", "runtime", "workers", "batch", "train_count",
 * "parameter_count", "limit_epochs", "limit_seconds", "limit_updates", "limit_gradients", "target_accuracy",
 * "target_loss" (null: none), "first_received", "first_version", "first_seconds" (not 0 in a resumed run),
 * "options" (object: the resolved options as texts).
 *
 * Then a line for each event in the order in which they happened: "t" (seconds on the run's clock), "event",
 * "worker" (null where none is concerned), "version" (start: that was read; arrival: at the verdict; update: after
 * it; else the present one), and by the value of "event":
 *
 * - "start": "draw" (the worker's gradients before this one).
 * - "arrival": "read" (version that it was computed at), "staleness", "weight" (0: dropped), "loss",
 *   "compute_seconds", "transit_seconds", "queue_seconds", "threshold", "held".
 * - "update": "gradients", "weight", "rate", "service_seconds", "threshold", "forced" (true: nobody could go on
 *   otherwise).
 * - "evaluation": "loss", "accuracy", "epochs", "received".
 * - "checkpoint": "received".
 * - "lost" and "joined": nothing more.
 *
 * Last line: "event":"end", "t", "reason", "updates", "forced_updates", "unfinished", "server_seconds",
 * "train_loss", "test_loss", "test_accuracy", "target_seconds", "accounts" (array, a worker each: "received",
 * "applied", "dropped", "held", "compute_seconds", "transit_seconds", "waiting_seconds", "most_staleness",
 * "staleness_sum"). A log without this line is of a run that was killed. */
#include <errno.h>
#include <inttypes.h>

#include "base/memory.h"
#include "record/encode.h"
#include "record/output.h"
#include "record/sinks.h"

#define LOG_VERSION 1

struct log {
    struct output output;
};

enum hysgd_status sink_log_alloc(const char *path, void **self_out) {
    struct log *log;
    HYSGD_TRY(memory_alloc(1, sizeof *log, &log));
    enum hysgd_status status = output_open(&log->output, path);
    if (status != HYSGD_OK) {
        sink_log_free(log);
        return status;
    }
    *self_out = log;
    return HYSGD_OK;
}

void sink_log_free(void *self) {
    struct log *log = self;
    if (log == NULL)
        return;
    output_fini(&log->output);
    memory_free(log);
}

/* Writes `head` (a new object) with the fields of `body`, both taken over. 15 digits: options such as 0.1 stay
 * readable; the exact values of events are not written here. */
static enum hysgd_status write_line(struct log *log, json_t *head, json_t *body) {
    bool is_whole = head != NULL && body != NULL && json_object_update(head, body) == 0;
    json_decref(body);
    if (!is_whole) {
        json_decref(head);
        return hysgd_fail(HYSGD_MEMORY, "%s: no memory for a line", log->output.path);
    }
    errno = 0;
    (void)json_dumpf(head, log->output.stream, JSON_COMPACT | JSON_REAL_PRECISION(15)); /* see output_check */
    json_decref(head);
    fputc('\n', log->output.stream);
    return output_check(&log->output);
}

static enum hysgd_status log_begin(void *self, const struct event_run *run) {
    return write_line(self, json_pack("{si}", "hysgd_log", LOG_VERSION), encode_run(run));
}

static void write_arrival(FILE *stream, const struct event *event) {
    fprintf(stream,
            ",\"read\":%" PRIu64 ",\"staleness\":%" PRIu64 ",\"weight\":%s,\"loss\":%s,\"compute_seconds\":%s"
            ",\"transit_seconds\":%s,\"queue_seconds\":%s,\"threshold\":%" PRIu64 ",\"held\":%" PRIu64,
            event->arrival.read, event->version - event->arrival.read, ENCODE_JSON(event->arrival.weight),
            ENCODE_JSON(event->arrival.loss), ENCODE_JSON(event->arrival.compute_seconds),
            ENCODE_JSON(event->arrival.transit_seconds), ENCODE_JSON(event->arrival.queue_seconds),
            event->arrival.threshold, event->arrival.held);
}

static void write_update(FILE *stream, const struct event *event) {
    fprintf(stream,
            ",\"gradients\":%" PRIu64 ",\"weight\":%s,\"rate\":%s,\"service_seconds\":%s,\"threshold\":%" PRIu64
            ",\"forced\":%s",
            event->update.gradients, ENCODE_JSON(event->update.weight), ENCODE_JSON(event->update.rate),
            ENCODE_JSON(event->update.service_seconds), event->update.threshold,
            event->update.is_forced ? "true" : "false");
}

static void write_fields(FILE *stream, const struct event *event) {
    switch (event->kind) {
    case EVENT_START:
        fprintf(stream, ",\"draw\":%" PRIu64, event->start.draw);
        break;
    case EVENT_ARRIVAL:
        write_arrival(stream, event);
        break;
    case EVENT_UPDATE:
        write_update(stream, event);
        break;
    case EVENT_EVALUATION:
        fprintf(stream, ",\"loss\":%s,\"accuracy\":%s,\"epochs\":%s,\"received\":%" PRIu64,
                ENCODE_JSON(event->evaluation.loss), ENCODE_JSON(event->evaluation.accuracy),
                ENCODE_JSON(event->evaluation.epochs), event->evaluation.received);
        break;
    case EVENT_CHECKPOINT:
        fprintf(stream, ",\"received\":%" PRIu64, event->checkpoint.received);
        break;
    case EVENT_LOST:
    case EVENT_JOINED:
        break;
    }
}

static enum hysgd_status log_event(void *self, const struct event *event) {
    static const char *const names[] = {
        [EVENT_START] = "start",           [EVENT_ARRIVAL] = "arrival",       [EVENT_UPDATE] = "update",
        [EVENT_EVALUATION] = "evaluation", [EVENT_CHECKPOINT] = "checkpoint", [EVENT_LOST] = "lost",
        [EVENT_JOINED] = "joined",
    };
    struct log *log = self;
    FILE *stream = log->output.stream;
    char worker[16] = "null";
    if (event->worker >= 0)
        snprintf(worker, sizeof worker, "%" PRId32, event->worker);
    errno = 0;
    fprintf(stream, "{\"t\":%s,\"event\":\"%s\",\"worker\":%s,\"version\":%" PRIu64, ENCODE_JSON(event->seconds),
            names[event->kind], worker, event->version);
    write_fields(stream, event);
    fputs("}\n", stream);
    return output_check(&log->output);
}

static enum hysgd_status log_pulse(void *self, double seconds) {
    (void)seconds;
    struct log *log = self;
    return output_pulse(&log->output);
}

static enum hysgd_status log_end(void *self, const struct event_summary *summary) {
    struct log *log = self;
    HYSGD_TRY(write_line(log, json_pack("{ss}", "event", "end"), encode_summary(summary)));
    return output_close(&log->output);
}

const struct sink_ops sink_log = {.begin = log_begin, .event = log_event, .pulse = log_pulse, .end = log_end};
