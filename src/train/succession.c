/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the log that is left and goes on with it: see succession.h. A compact log is played to the views, so that
 * they are what they would have been; JSON lines cannot be read back, and are only gone on with. */
#include "train/succession.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "record/log_reader.h"

/* Events handed out at a time, and between two signs of life. */
#define PLAYED_EVENTS 4096

static enum hysgd_status fail_place(const char *path) {
    return hysgd_fail(HYSGD_INPUT,
                      "%s: is not the log of this run, or lacks what was recorded before the state gone back to",
                      path);
}

/* ---- A compact log ---- */

/* A log that is read. */
struct reading {
    const char *path;
    struct log_reader *reader;
    struct tally tally;
    uint64_t bytes; /* up to which it is whole */
    struct training_record *record;
};

/* The event that the state gone back to has as its latest must be the one of the log. */
static enum hysgd_status take_event(struct reading *reading, const struct event *event) {
    struct training_record *record = reading->record;
    record->events++;
    record->seconds = event->seconds > record->seconds ? event->seconds : record->seconds;
    if (record->events == record->place.events && event->seconds != record->place.seconds)
        return fail_place(reading->path);
    tally_add(&reading->tally, event);
    if (record->events % PLAYED_EVENTS == 0 && record->pulse)
        record->pulse(record->pulse_self);
    return HYSGD_OK;
}

static enum hysgd_status read_events(struct reading *reading) {
    struct event event;
    bool has_event = true;
    for (;;) {
        HYSGD_TRY(log_reader_next(reading->reader, &event, &has_event));
        if (!has_event)
            break;
        HYSGD_TRY(take_event(reading, &event));
    }
    reading->bytes = log_reader_byte(reading->reader);
    bool is_over = log_reader_summary(reading->reader) != NULL;
    return is_over || reading->record->events < reading->record->place.events ? fail_place(reading->path)
                                                                              : HYSGD_OK;
}

/* What the log tells of the workers. */
static void take_accounts(const struct reading *reading, struct succession *succession) {
    const struct event_run *run = log_reader_run(reading->reader);
    for (int i = 0; i < succession->workers; i++) {
        reading->record->received[i] = reading->tally.accounts[i].received;
        succession->accounts[i].undone = reading->tally.accounts[i].undone;
    }
    succession->returns = reading->tally.summary.returns;
    succession->undone = reading->tally.summary.undone;
    reading->record->has_received = run->first_received == 0; /* else some are of before the log */
}

/* Before anything is written: whether it is the log to go on with, and what it has. */
static enum hysgd_status look_through(struct reading *reading, struct succession *succession) {
    HYSGD_TRY(log_reader_open(reading->path, &reading->reader));
    const struct event_run *run = log_reader_run(reading->reader);
    if (run->workers != succession->workers)
        return fail_place(reading->path);
    HYSGD_TRY(tally_init(&reading->tally, run));
    HYSGD_TRY(read_events(reading));
    take_accounts(reading, succession);
    return HYSGD_OK;
}

/* Gives the same events to the views. */
static enum hysgd_status play_events(struct recording *recording, const struct training_record *record,
                                     struct recorder *recorder) {
    struct event event;
    bool has_event = true;
    HYSGD_TRY(recorder_begin(recorder, log_reader_run(recording->reader)));
    for (uint64_t i = 0; i < record->events && has_event; i++) {
        HYSGD_TRY(log_reader_next(recording->reader, &event, &has_event));
        if (i % PLAYED_EVENTS == 0 && record->pulse)
            record->pulse(record->pulse_self);
        if (!has_event || recorder_emit(recorder, &event))
            continue;
        HYSGD_TRY(recorder_drain(recorder, event.seconds));
        if (!recorder_emit(recorder, &event))
            return hysgd_fail(HYSGD_FAILED, "the recorder has no room for an event");
    }
    return recorder_drain(recorder, record->seconds);
}

static enum hysgd_status play(struct recording *recording, const struct training_record *record, const char *path) {
    struct recorder *recorder;
    if (!views_are_wanted(&recording->paths))
        return HYSGD_OK;
    HYSGD_TRY(log_reader_open(path, &recording->reader));
    HYSGD_TRY(recorder_alloc(PLAYED_EVENTS, &recorder));
    enum hysgd_status status = views_open(&recording->views, &recording->paths, false, recorder);
    if (status == HYSGD_OK)
        status = play_events(recording, record, recorder);
    recorder_free(recorder);
    return status;
}

/* A process that only sleeps may still write to the files of before: these are others. */
static void leave_file(const char *path) {
    struct stat status;
    if (path[0] != '\0' && lstat(path, &status) == 0 && S_ISREG(status.st_mode))
        unlink(path);
}

/* The views that are not made again from the log. */
static struct views_paths paths_of_new(const struct views_paths *paths) {
    return (struct views_paths){.log = "",
                                .jsonl = "",
                                .csv = "",
                                .tensorboard = paths->tensorboard, /* another file in the same directory */
                                .trace = "",
                                .report = "",
                                .serve = ""};
}

static enum hysgd_status add_new(struct recording *recording, const struct succession *succession,
                                 const struct views_paths *paths) {
    HYSGD_TRY(views_add(&recording->views, paths, recording->recorder));
    for (size_t i = 0; i < succession->sink_count; i++)
        HYSGD_TRY(recorder_add(recording->recorder, succession->sinks[i].ops, succession->sinks[i].self));
    return HYSGD_OK;
}

static enum hysgd_status continue_log(struct recording *recording, struct succession *succession,
                                      struct training_record *record, const struct views_paths *paths) {
    struct reading reading = {.path = paths->log, .record = record};
    const struct views_paths others = paths_of_new(paths);
    recording->paths = *paths;
    recording->paths.log = recording->paths.jsonl = recording->paths.tensorboard = "";
    enum hysgd_status status = look_through(&reading, succession);
    log_reader_close(reading.reader);
    tally_fini(&reading.tally);
    HYSGD_TRY(status);
    leave_file(paths->csv);
    leave_file(paths->trace);
    HYSGD_TRY(play(recording, record, paths->log));
    HYSGD_TRY(recorder_alloc(RECORDING_EVENTS, &recording->recorder));
    HYSGD_TRY(views_continue(&recording->views, paths, reading.bytes));
    HYSGD_TRY(views_adopt(&recording->views, recording->recorder));
    return add_new(recording, succession, &others);
}

/* ---- Lines ---- */

/* The whole lines of a file, and what the last of them begins with. */
struct lines {
    uint64_t count, bytes;
    double at_place, last; /* seconds of the event at the record's place, and of the latest one */
    bool has_end;
};

/* Of a line of an event: it begins with its time. */
static double seconds_of(const char *line) {
    return strncmp(line, "{\"t\":", 5) == 0 ? strtod(line + 5, NULL) : -1;
}

static enum hysgd_status read_lines(const char *path, const struct training_record *record, struct lines *lines) {
    FILE *stream = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    *lines = (struct lines){.at_place = -1};
    if (stream == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    while ((length = getline(&line, &size, stream)) > 0 && line[length - 1] == '\n') {
        double seconds = seconds_of(line);
        lines->has_end = lines->count > 0 && seconds < 0;
        lines->last = seconds > lines->last ? seconds : lines->last;
        if (lines->count++ == record->place.events)
            lines->at_place = seconds;
        lines->bytes += (uint64_t)length;
        if (lines->count % PLAYED_EVENTS == 0 && record->pulse)
            record->pulse(record->pulse_self);
    }
    free(line); /* of getline */
    fclose(stream);
    return HYSGD_OK;
}

/* JSON lines of events after a line of the run; the views begin anew, but for the table of evaluations. */
static enum hysgd_status continue_lines(struct recording *recording, struct succession *succession,
                                        struct training_record *record, const struct views_paths *paths) {
    struct lines lines;
    struct views_paths others = *paths;
    others.log = others.jsonl = others.csv = others.trace = "";
    recording->paths = *paths;
    HYSGD_TRY(recorder_alloc(RECORDING_EVENTS, &recording->recorder));
    if (paths->jsonl[0] != '\0') {
        HYSGD_TRY(read_lines(paths->jsonl, record, &lines));
        bool is_other = record->place.events > 0 && lines.at_place != record->place.seconds;
        if (lines.count <= record->place.events || lines.has_end || is_other)
            return fail_place(paths->jsonl);
        record->events = lines.count - 1;
        record->seconds = lines.last;
        HYSGD_TRY(views_continue_lines(&recording->views, paths, offsetof(struct views_paths, jsonl), lines.bytes));
    }
    if (paths->csv[0] != '\0') {
        HYSGD_TRY(read_lines(paths->csv, record, &lines));
        HYSGD_TRY(views_continue_lines(&recording->views, paths, offsetof(struct views_paths, csv), lines.bytes));
    }
    HYSGD_TRY(views_adopt(&recording->views, recording->recorder));
    return add_new(recording, succession, &others);
}

/* ---- Files of one's own ---- */

static void own_path(const char *path, int rank, char own[4096], const char **place) {
    if (path[0] == '\0')
        return;
    if (snprintf(own, 4096, "%s.rank%d", path, rank) < 4096)
        *place = own;
    else
        *place = "";
}

static enum hysgd_status begin_own(struct recording *recording, struct succession *succession,
                                   const struct views_paths *paths) {
    struct views_paths own = *paths;
    own.serve = ""; /* the port may be taken */
    own_path(paths->log, succession->rank, succession->log, &own.log);
    own_path(paths->jsonl, succession->rank, succession->log, &own.jsonl);
    own_path(paths->csv, succession->rank, recording->own_csv, &own.csv);
    own_path(paths->trace, succession->rank, recording->own_trace, &own.trace);
    recording->paths = own;
    HYSGD_TRY(recorder_alloc(RECORDING_EVENTS, &recording->recorder));
    return add_new(recording, succession, &own);
}

/* Nothing but those who are told. */
static enum hysgd_status begin_none(struct recording *recording, struct succession *succession) {
    const struct views_paths none = {"", "", "", "", "", "", ""};
    recording->paths = none;
    succession->log[0] = '\0';
    HYSGD_TRY(recorder_alloc(RECORDING_EVENTS, &recording->recorder));
    return add_new(recording, succession, &none);
}

static void warn(struct training_record *record, const char *log, const char *reason) {
    if (log[0] != '\0')
        snprintf(record->warning, sizeof record->warning, "the record of the run goes on in %.300s: %.600s", log,
                 reason);
    else
        snprintf(record->warning, sizeof record->warning, "nothing is recorded any more: %.900s", reason);
}

static enum hysgd_status go_on(struct recording *recording, struct succession *succession,
                               struct training_record *record, const struct views_paths *paths) {
    if (paths->log[0] == '\0' && paths->jsonl[0] == '\0' && record->place.log != 0)
        record->place.log = 0; /* there is none */
    if (record->place.log != 0)
        return hysgd_fail(HYSGD_INPUT, "the log that the state gone back to is in is that of another rank");
    return paths->log[0] != '\0' ? continue_log(recording, succession, record, paths)
                                 : continue_lines(recording, succession, record, paths);
}

enum hysgd_status recording_succeed(struct recording *recording, struct succession *succession,
                                    struct training_record *record) {
    const struct views_paths paths = recording_paths(succession->words);
    char reason[768];
    if (succession->sink_count == 0 && !views_are_wanted(&paths))
        return HYSGD_OK;
    const char *log = paths.log[0] != '\0' ? paths.log : paths.jsonl;
    if (snprintf(succession->log, sizeof succession->log, "%s", log) >= (int)sizeof succession->log)
        return hysgd_fail(HYSGD_OUTPUT, "%s: the path is too long", log);
    enum hysgd_status status = go_on(recording, succession, record, &paths);
    record->is_continued = status == HYSGD_OK && log[0] != '\0';
    if (status == HYSGD_OK || status == HYSGD_MEMORY)
        return status;
    snprintf(reason, sizeof reason, "%s", hysgd_error_message());
    recording_close(recording);
    record->has_received = false;
    status = begin_own(recording, succession, &paths);
    if (status == HYSGD_OUTPUT || status == HYSGD_USAGE) {
        recording_close(recording);
        status = begin_none(recording, succession);
    }
    warn(record, succession->log, reason);
    return status;
}
