/* SPDX-License-Identifier: Apache-2.0 */
/* The events as a trace that Perfetto and chrome://tracing open: the JSON array form of the Trace Event Format,
 * which they also read where its end is missing. Every worker has a track of what it does (computing, sending,
 * waiting, computing what it gives up), which its account adds up, and one of its gradients that are held; the
 * server has one of its updates; threshold, staleness and the number of held gradients are counters.
 *
 * Times are whole nanoseconds, rounded once for both neighbours, so that slices of a track touch and never overlap.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "base/memory.h"
#include "record/encode.h"
#include "record/output.h"
#include "record/sinks.h"

/* The groups of tracks; numbers of processes in the format. */
enum group { GROUP_WORKERS = 1, GROUP_HELD, GROUP_SERVER };

enum counter { COUNTER_THRESHOLD, COUNTER_STALENESS, COUNTER_HELD, COUNTERS };

enum activity { ABSENT, COMPUTING, WAITING };

struct trace_worker {
    enum activity activity;
    double since;      /* it does that; run clock */
    double ended;      /* of its latest slice */
    uint64_t version;  /* that it computes at */
    uint64_t held;     /* gradients held */
    double held_since; /* where held > 0 */
};

struct trace {
    struct output output;
    bool has_line; /* a comma is due */
    int workers;
    struct trace_worker *states; /* [workers] */
    int *holders, holder_count;  /* [workers] those with gradients held */
    uint64_t counters[COUNTERS]; /* as shown */
    bool is_shown[COUNTERS];
    double server_ended;
};

enum hysgd_status sink_trace_alloc(const char *path, void **self_out) {
    struct trace *trace;
    HYSGD_TRY(memory_alloc(1, sizeof *trace, &trace));
    enum hysgd_status status = output_open(&trace->output, path);
    if (status != HYSGD_OK) {
        sink_trace_free(trace);
        return status;
    }
    *self_out = trace;
    return HYSGD_OK;
}

void sink_trace_free(void *self) {
    struct trace *trace = self;
    if (trace == NULL)
        return;
    output_fini(&trace->output);
    memory_free(trace->states);
    memory_free(trace->holders);
    memory_free(trace);
}

/* ---- Lines ---- */

static FILE *begin_line(struct trace *trace) {
    fputs(trace->has_line ? ",\n" : "[\n", trace->output.stream);
    trace->has_line = true;
    return trace->output.stream;
}

/* Beyond some centuries all times are the same. */
static int64_t nanoseconds(double seconds) {
    return llround(fmin(fmax(seconds, 0), 9e9) * 1e9);
}

/* As microseconds, which is what the format has. */
#define MICROSECONDS       "%" PRId64 ".%03d"
#define AS_MICROSECONDS(n) (n) / 1000, (int)((n) % 1000)

/* A slice from the first moment to the second, or to where the slice before it ended when that is later. `details`:
 * members of an object. */
static void write_slice(struct trace *trace, enum group group, int track, const char *name, double begin,
                        double end, const char *details) {
    int64_t first = nanoseconds(begin), length = nanoseconds(end) - first;
    if (length < 0)
        return;
    fprintf(begin_line(trace),
            "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"ts\":" MICROSECONDS ",\"dur\":" MICROSECONDS
            ",\"args\":{%s}}",
            (int)group, track, name, AS_MICROSECONDS(first), AS_MICROSECONDS(length), details);
}

static void write_instant(struct trace *trace, const char *name, double seconds) {
    int64_t at = nanoseconds(seconds);
    fprintf(begin_line(trace),
            "{\"ph\":\"i\",\"s\":\"g\",\"pid\":%d,\"tid\":1,\"name\":\"%s\",\"ts\":" MICROSECONDS "}",
            (int)GROUP_SERVER, name, AS_MICROSECONDS(at));
}

/* A counter is written where it changes. */
static void write_counter(struct trace *trace, enum counter counter, double seconds, uint64_t value) {
    static const char *const names[] = {
        [COUNTER_THRESHOLD] = "threshold", [COUNTER_STALENESS] = "staleness", [COUNTER_HELD] = "held gradients"};
    static const char *const units[] = {
        [COUNTER_THRESHOLD] = "gradients", [COUNTER_STALENESS] = "versions", [COUNTER_HELD] = "gradients"};
    if (trace->is_shown[counter] && trace->counters[counter] == value)
        return;
    trace->is_shown[counter] = true;
    trace->counters[counter] = value;
    int64_t at = nanoseconds(seconds);
    fprintf(begin_line(trace),
            "{\"ph\":\"C\",\"pid\":%d,\"name\":\"%s\",\"ts\":" MICROSECONDS ",\"args\":{\"%s\":%" PRIu64 "}}",
            (int)GROUP_SERVER, names[counter], AS_MICROSECONDS(at), units[counter], value);
}

static void name_group(struct trace *trace, enum group group, const char *name) {
    fprintf(begin_line(trace), "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"%s\"}}",
            (int)group, name);
    fprintf(begin_line(trace),
            "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_sort_index\",\"args\":{\"sort_index\":%d}}", (int)group,
            (int)group);
}

static void name_track(struct trace *trace, enum group group, int track, const char *name) {
    fprintf(begin_line(trace),
            "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", (int)group,
            track, name);
}

/* ---- Workers ---- */

/* A slice on the worker's track; it begins where the one before ended, at the earliest. */
static void add_activity(struct trace *trace, int worker, const char *name, double begin, double end) {
    struct trace_worker *state = &trace->states[worker];
    char details[64];
    begin = fmax(begin, state->ended);
    end = fmax(end, begin);
    snprintf(details, sizeof details, "\"version\":%" PRIu64, state->version);
    write_slice(trace, GROUP_WORKERS, worker, name, begin, end, details);
    state->ended = end;
}

/* Closes what the worker is doing. */
static void end_activity(struct trace *trace, int worker, double seconds) {
    struct trace_worker *state = &trace->states[worker];
    if (state->activity == WAITING)
        add_activity(trace, worker, "waiting", state->since, seconds);
    else if (state->activity == COMPUTING)
        add_activity(trace, worker, "unfinished", state->since, seconds);
    state->activity = ABSENT;
}

static void take_start(struct trace *trace, const struct event *event) {
    struct trace_worker *state = &trace->states[event->worker];
    end_activity(trace, event->worker, event->seconds);
    state->activity = COMPUTING;
    state->since = event->seconds;
    state->version = event->version;
}

static void take_arrival(struct trace *trace, const struct event *event) {
    struct trace_worker *state = &trace->states[event->worker];
    double delivered = event->seconds - event->arrival.queue_seconds,
           computed = delivered - event->arrival.transit_seconds;
    double begun = state->activity == COMPUTING ? state->since : computed - event->arrival.compute_seconds;
    double pull = event->arrival.pull_seconds, push = event->arrival.push_seconds;
    state->version = event->arrival.read;
    if (pull >= 0 && push >= 0) {
        begun = delivered - event->arrival.transit_seconds - event->arrival.compute_seconds + pull;
        computed = begun + event->arrival.compute_seconds;
        add_activity(trace, event->worker, "receiving", begun - pull, begun);
    }
    add_activity(trace, event->worker, "computing", begun, computed);
    add_activity(trace, event->worker, "sending", computed, delivered);
    state->activity = WAITING;
    state->since = delivered;
    write_counter(trace, COUNTER_THRESHOLD, event->seconds, event->arrival.threshold);
    if (event->arrival.weight <= 0)
        return;
    write_counter(trace, COUNTER_STALENESS, event->seconds, event->version - event->arrival.read);
    write_counter(trace, COUNTER_HELD, event->seconds, event->arrival.held);
    if (state->held++ > 0)
        return;
    state->held_since = event->seconds;
    trace->holders[trace->holder_count++] = event->worker;
}

static void take_abandoned(struct trace *trace, const struct event *event) {
    struct trace_worker *state = &trace->states[event->worker];
    double ended = event->seconds - event->abandoned.queue_seconds;
    state->version = event->abandoned.read;
    add_activity(trace, event->worker, "given up", ended - event->abandoned.spent_seconds, ended);
    state->activity = WAITING;
    state->since = ended;
}

/* ---- The server ---- */

static void end_held(struct trace *trace, double seconds) {
    char details[64];
    for (int i = 0; i < trace->holder_count; i++) {
        struct trace_worker *state = &trace->states[trace->holders[i]];
        snprintf(details, sizeof details, "\"gradients\":%" PRIu64, state->held);
        write_slice(trace, GROUP_HELD, trace->holders[i], "held", state->held_since, seconds, details);
        state->held = 0;
    }
    trace->holder_count = 0;
}

static void take_update(struct trace *trace, const struct event *event) {
    char details[160];
    double begun = fmax(event->seconds - event->update.service_seconds, trace->server_ended);
    snprintf(details, sizeof details, "\"version\":%" PRIu64 ",\"gradients\":%" PRIu64 ",\"rate\":%s,\"forced\":%s",
             event->version, event->update.gradients, ENCODE_JSON(event->update.rate),
             event->update.is_forced ? "true" : "false");
    write_slice(trace, GROUP_SERVER, 1, "update", begun, event->seconds, details);
    trace->server_ended = event->seconds;
    end_held(trace, event->seconds);
    write_counter(trace, COUNTER_HELD, event->seconds, 0);
    write_counter(trace, COUNTER_THRESHOLD, event->seconds, event->update.threshold);
}

/* ---- The sink ---- */

static enum hysgd_status trace_begin(void *self, const struct event_run *run) {
    struct trace *trace = self;
    size_t count = (size_t)run->workers;
    trace->workers = run->workers;
    trace->server_ended = run->first_seconds;
    HYSGD_TRY(memory_alloc(count, sizeof *trace->states, &trace->states));
    HYSGD_TRY(memory_alloc(count, sizeof *trace->holders, &trace->holders));
    errno = 0;
    name_group(trace, GROUP_WORKERS, "workers");
    name_group(trace, GROUP_HELD, "held gradients");
    name_group(trace, GROUP_SERVER, "server");
    name_track(trace, GROUP_SERVER, 1, "updates");
    for (int i = 0; i < run->workers; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker %d", i);
        name_track(trace, GROUP_WORKERS, i, name);
        name_track(trace, GROUP_HELD, i, name);
        trace->states[i] =
            (struct trace_worker){.activity = WAITING, .since = run->first_seconds, .ended = run->first_seconds};
    }
    return output_check(&trace->output);
}

static enum hysgd_status trace_event(void *self, const struct event *event) {
    struct trace *trace = self;
    errno = 0;
    switch (event->kind) {
    case EVENT_START:
        take_start(trace, event);
        break;
    case EVENT_ARRIVAL:
        take_arrival(trace, event);
        break;
    case EVENT_ABANDONED:
        take_abandoned(trace, event);
        break;
    case EVENT_UPDATE:
        take_update(trace, event);
        break;
    case EVENT_EVALUATION:
        write_instant(trace, "evaluation", event->seconds);
        break;
    case EVENT_CHECKPOINT:
        write_instant(trace, "checkpoint", event->seconds);
        break;
    case EVENT_LOST:
        end_activity(trace, event->worker, event->seconds);
        break;
    case EVENT_RESTORED:
        write_instant(trace, "restored", event->seconds);
        break;
    case EVENT_JOINED:
        trace->states[event->worker].activity = ABSENT;
        break;
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_CLOCK:
    case EVENT_COPIED:
        break;
    }
    return output_check(&trace->output);
}

static enum hysgd_status trace_pulse(void *self, double seconds) {
    (void)seconds;
    struct trace *trace = self;
    return output_pulse(&trace->output);
}

static enum hysgd_status trace_end(void *self, const struct event_summary *summary) {
    struct trace *trace = self;
    errno = 0;
    for (int i = 0; i < trace->workers; i++)
        end_activity(trace, i, summary->seconds);
    end_held(trace, summary->seconds);
    fputs("\n]\n", trace->output.stream);
    HYSGD_TRY(output_check(&trace->output));
    return output_close(&trace->output);
}

const struct sink_ops sink_trace = {
    .begin = trace_begin, .event = trace_event, .pulse = trace_pulse, .end = trace_end};
