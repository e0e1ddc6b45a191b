/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an event log once and prints what it has: see inspect_log.h. What happened in the run is for the report. */
#include "train/inspect_log.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/kinds.h"
#include "record/log_format.h"
#include "record/log_reader.h"
#include "train/json.h"

#define MOST_KINDS 64

/* Ranks whose clocks are listed: more than a run has. */
#define MOST_CLOCKS 4096

/* The clock of a rank, as it was compared. */
struct clock {
    int32_t rank;
    uint64_t count;
    double first, least, most; /* offsets */
    int32_t with;              /* rank of the coordinator, with whose clock it was compared lately */
    struct event latest;
};

struct contents {
    struct log_reader *reader;
    uint64_t counts[MOST_KINDS];
    double seconds; /* of the latest event */
    struct clock *clocks;
    size_t clock_count, clock_room;
    int32_t coordinator; /* rank that has led lately; -1: not known */
};

bool inspect_is_log(const char *path) {
    char head[sizeof LOG_MAGIC - 1];
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return false;
    bool is_log = fread(head, 1, sizeof head, stream) == sizeof head && memcmp(head, LOG_MAGIC, sizeof head) == 0;
    fclose(stream);
    return is_log;
}

/* ---- Reading ---- */

/* Ranks are few and come in their order: the place is found from the end. */
static enum hysgd_status take_clock(struct contents *contents, const struct event *event) {
    double offset = event->clock.offset_seconds;
    size_t place = contents->clock_count;
    while (place > 0 && contents->clocks[place - 1].rank > event->clock.rank)
        place--;
    struct clock *clock = place > 0 ? &contents->clocks[place - 1] : NULL;
    if (clock == NULL || clock->rank != event->clock.rank) {
        if (contents->clock_count == MOST_CLOCKS)
            return HYSGD_OK;
        HYSGD_TRY(memory_grow(&contents->clocks, contents->clock_count, &contents->clock_room, 16,
                              sizeof *contents->clocks));
        clock = &contents->clocks[place];
        memmove(clock + 1, clock, (contents->clock_count - place) * sizeof *clock);
        contents->clock_count++;
        *clock = (struct clock){.rank = event->clock.rank, .first = offset, .least = offset, .most = offset};
    }
    clock->count++;
    clock->least = fmin(clock->least, offset);
    clock->most = fmax(clock->most, offset);
    if (event->clock.error_seconds == 0) /* as no other is: a new coordinator comes first */
        contents->coordinator = event->clock.rank;
    clock->with = contents->coordinator;
    clock->latest = *event;
    return HYSGD_OK;
}

static enum hysgd_status read_events(struct contents *contents) {
    struct event event;
    bool has_event;
    contents->seconds = log_reader_run(contents->reader)->first_seconds;
    for (;;) {
        HYSGD_TRY(log_reader_next(contents->reader, &event, &has_event));
        if (!has_event)
            return HYSGD_OK;
        contents->counts[event.kind]++;
        contents->seconds = fmax(contents->seconds, event.seconds);
        if (event.kind == EVENT_CLOCK)
            HYSGD_TRY(take_clock(contents, &event));
    }
}

/* ---- Text ---- */

/* Texts come from a file that need not be ours: nothing in them may steer the terminal. */
static void print_plain(const char *text, FILE *out) {
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, out);
}

/* After the loss of a coordinator some clocks have been compared with its clock only. */
static void print_with(const struct contents *contents, const struct clock *clock, FILE *out) {
    if (clock->with == contents->coordinator)
        fputs("\n", out);
    else if (clock->with == clock->rank)
        fprintf(out, "  was the coordinator before rank %" PRId32 "\n", contents->coordinator);
    else
        fprintf(out, "  with rank %" PRId32 ", which was the coordinator\n", clock->with);
}

static void print_clocks(const struct contents *contents, FILE *out) {
    if (contents->clock_count == 0)
        return;
    fputs("\nclocks, by how much they are behind that of the coordinator, whose times are in the log\n"
          "    rank      behind ms     at most off by      first ms   compared        at s\n",
          out);
    for (size_t i = 0; i < contents->clock_count; i++) {
        const struct clock *clock = &contents->clocks[i];
        fprintf(out, "%8" PRId32 " %14.4f %18.4f %13.4f %10" PRIu64 " %11.3f", clock->rank,
                1e3 * clock->latest.clock.offset_seconds, 1e3 * clock->latest.clock.error_seconds,
                1e3 * clock->first, clock->count, clock->latest.seconds);
        print_with(contents, clock, out);
    }
}

static void print_text(const struct contents *contents, FILE *out) {
    const struct event_run *run = log_reader_run(contents->reader);
    const struct event_summary *summary = log_reader_summary(contents->reader);
    print_plain(run->title, out);
    fputs("\nruntime ", out);
    print_plain(run->runtime, out);
    fprintf(out, ", %d workers, batch %" PRIu64 ", %" PRIu64 " parameters\nfrom %g to %g s: ", run->workers,
            run->batch, run->parameter_count, run->first_seconds,
            summary != NULL ? summary->seconds : contents->seconds);
    print_plain(summary != NULL ? summary->reason : "cut before the end", out);
    if (summary != NULL && summary->returns > 0)
        fprintf(out, "\nwent back %" PRIu64 " %s after losses, %" PRIu64 " gradients undone", summary->returns,
                summary->returns == 1 ? "time" : "times", summary->undone);
    fputs("\n\nevents\n", out);
    for (size_t i = 0; i < record_event_count; i++)
        if (contents->counts[i] > 0)
            fprintf(out, "    %-12s %12" PRIu64 "\n", record_events[i].name, contents->counts[i]);
    print_clocks(contents, out);
}

/* ---- JSON ---- */

static json_t *clock_json(const struct clock *clock) {
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:i}", "rank", (int)clock->rank, "offset_seconds",
                     json_number(clock->latest.clock.offset_seconds), "error_seconds",
                     json_number(clock->latest.clock.error_seconds), "first_offset_seconds",
                     json_number(clock->first), "least_offset_seconds", json_number(clock->least),
                     "most_offset_seconds", json_number(clock->most), "compared", (json_int_t)clock->count, "t",
                     json_number(clock->latest.seconds), "with", (int)clock->with);
}

static json_t *contents_json(const struct contents *contents) {
    const struct event_run *run = log_reader_run(contents->reader);
    const struct event_summary *summary = log_reader_summary(contents->reader);
    json_t *events = json_object(), *clocks = json_array();
    int failed = events == NULL || clocks == NULL;
    for (size_t i = 0; !failed && i < record_event_count; i++)
        failed = json_object_set_new(events, record_events[i].name, json_integer((json_int_t)contents->counts[i]));
    for (size_t i = 0; !failed && i < contents->clock_count; i++)
        failed = json_array_append_new(clocks, clock_json(&contents->clocks[i]));
    if (failed) {
        json_decref(events);
        return json_drop(clocks);
    }
    return json_pack(
        "{s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "title", json_text(run->title), "runtime",
        json_text(run->runtime), "workers", (int)run->workers, "first_seconds", json_number(run->first_seconds),
        "seconds", json_number(summary != NULL ? summary->seconds : contents->seconds), "reason",
        summary != NULL ? json_text(summary->reason) : json_null(), "events", events, "clocks", clocks);
}

enum hysgd_status inspect_log_print(const char *path, bool is_json, FILE *out) {
    struct contents contents = {.coordinator = -1};
    HYSGD_TRY(log_reader_open(path, &contents.reader));
    enum hysgd_status status = read_events(&contents);
    if (status == HYSGD_OK && is_json)
        status = json_print(contents_json(&contents), JSON_INDENT(2), out);
    else if (status == HYSGD_OK)
        print_text(&contents, out);
    memory_free(contents.clocks);
    log_reader_close(contents.reader);
    return status;
}
