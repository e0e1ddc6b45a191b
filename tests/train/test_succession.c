/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are gone on with by another process than the one that began them: whole whatever of them was
 * written, with everything that is made of them, and left alone where they are not what they should be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "record/log_reader.h"
#include "record/samples.h"
#include "train/succession.h"

enum { EVENTS = 3000, KEPT = 40 };

/* ---- A record that a process has left ---- */

static struct event event_at(int number) {
    double seconds = 0.001 * number;
    switch (number % 4) {
    case 0:
        return sample_start(number / 4 % 2, seconds, (uint64_t)number / 4);
    case 1:
        return sample_arrival(number / 4 % 2, seconds, 0.0005, 0.0001, 1.0 / (1 + number));
    case 2:
        return sample_update(seconds, (uint64_t)number / 4 + 1);
    default:
        return number % 40 == 3 ? sample_evaluation(seconds, 0.5, 0.9) : sample_start(1, seconds, 1);
    }
}

struct files {
    char folder[64], log[96], csv[96], trace[96], report[96], own[112];
};

static void make_files(struct files *files, const char *log) {
    strcpy(files->folder, "/tmp/hysgd-succession-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->log, sizeof files->log, "%s/%s", files->folder, log);
    snprintf(files->csv, sizeof files->csv, "%s/run.csv", files->folder);
    snprintf(files->trace, sizeof files->trace, "%s/run.trace", files->folder);
    snprintf(files->report, sizeof files->report, "%s/run.html", files->folder);
    snprintf(files->own, sizeof files->own, "%s.rank2", files->log);
}

static void remove_files(const struct files *files) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", files->folder);
    assert_int_equal(system(command), 0);
}

static struct event_run run_of_ranks(void) {
    struct event_run run = sample_run;
    run.runtime = "mpi";
    return run;
}

static void write_events(const struct sink_ops *ops, void *sink, int events) {
    const struct event_run run = run_of_ranks();
    assert_int_equal(ops->begin(sink, &run), HYSGD_OK);
    for (int i = 0; i < events; i++) {
        const struct event event = event_at(i);
        assert_int_equal(ops->event(sink, &event), HYSGD_OK);
    }
    assert_int_equal(ops->flush(sink), HYSGD_OK);
}

static off_t size_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

/* A log that was being written when its process was killed. Returns its bytes, of which `cut` are left. */
static off_t leave_log(const struct files *files, int events, off_t cut) {
    void *sink;
    assert_int_equal(sink_log_alloc(files->log, &sink), HYSGD_OK);
    write_events(&sink_log, sink, events);
    off_t size = size_of(files->log);
    sink_log_free(sink);
    if (cut >= 0)
        assert_int_equal(truncate(files->log, cut), 0);
    return size;
}

/* ---- Going on ---- */

struct heir {
    struct description words;
    struct recording recording;
    struct succession succession;
    struct training_record record;
    struct event_account accounts[2];
    uint64_t received[2];
};

/* Is to go on with a log after the first `kept` events. */
static void begin_heir(struct heir *heir, const char *log, int kept) {
    memset(heir, 0, sizeof *heir);
    assert_int_equal(description_init(&heir->words), HYSGD_OK);
    assert_int_equal(description_set(&heir->words, "log", log), HYSGD_OK);
    heir->succession =
        (struct succession){.words = &heir->words, .rank = 2, .workers = 2, .accounts = heir->accounts};
    heir->record = (struct training_record){.place = {0, (uint64_t)kept, kept > 0 ? event_at(kept - 1).seconds : 0},
                                            .received = heir->received};
}

static void succeed(struct heir *heir) {
    enum hysgd_status status = recording_succeed(&heir->recording, &heir->succession, &heir->record);
    assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
}

static void open_heir(struct heir *heir, const struct files *files, int kept) {
    begin_heir(heir, files->log, kept);
    assert_int_equal(description_set(&heir->words, "csv", files->csv), HYSGD_OK);
    assert_int_equal(description_set(&heir->words, "trace", files->trace), HYSGD_OK);
    assert_int_equal(description_set(&heir->words, "report", files->report), HYSGD_OK);
    succeed(heir);
}

static void close_heir(struct heir *heir) {
    recording_close(&heir->recording);
    description_fini(&heir->words);
}

/* Records the return, another event and the end. */
static void end_heir(struct heir *heir) {
    struct event_run run = run_of_ranks();
    double now = heir->record.seconds;
    const struct event restored = {.kind = EVENT_RESTORED,
                                   .worker = -1,
                                   .seconds = now,
                                   .restored = {.kept = heir->record.place.events, .rank = 0}};
    const struct event start = sample_start(0, now, 1);
    const char *message = "";
    assert_int_equal(recorder_begin(heir->recording.recorder, &run), HYSGD_OK);
    assert_true(recorder_emit(heir->recording.recorder, &restored));
    assert_true(recorder_emit(heir->recording.recorder, &start));
    assert_int_equal(recording_end(&heir->recording, HYSGD_OK, message, &sample_summary, ""), HYSGD_OK);
    close_heir(heir);
}

static void expect_same(const struct event *event, int number) {
    const struct event expected = event_at(number);
    assert_int_equal(event->kind, expected.kind);
    assert_int_equal(event->worker, expected.worker);
    assert_memory_equal(&event->seconds, &expected.seconds, sizeof expected.seconds);
    assert_int_equal(event->version, expected.version);
}

/* One valid log: `events` of before, the return, one more, and the end. */
static void expect_log(const char *path, int events) {
    struct log_reader *reader;
    struct event event;
    bool has_event;
    assert_int_equal(log_reader_open(path, &reader), HYSGD_OK);
    for (int i = 0;; i++) {
        enum hysgd_status status = log_reader_next(reader, &event, &has_event);
        assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
        if (!has_event) {
            assert_int_equal(i, events + 2);
            break;
        }
        if (i < events)
            expect_same(&event, i);
        else
            assert_int_equal(event.kind, i == events ? EVENT_RESTORED : EVENT_START);
    }
    assert_non_null(log_reader_summary(reader));
    log_reader_close(reader);
}

static void a_log_that_was_cut_anywhere_is_gone_on_with(void **state) {
    (void)state;
    struct files files;
    make_files(&files, "run.hylog");
    off_t size = leave_log(&files, EVENTS, -1);
    for (off_t cut = size; cut > size / 3; cut -= size / 17) {
        struct heir heir;
        leave_log(&files, EVENTS, cut);
        open_heir(&heir, &files, KEPT);
        assert_string_equal(heir.record.warning, "");
        assert_true(heir.record.is_continued);
        assert_in_range(heir.record.events, cut < size ? KEPT : EVENTS, EVENTS);
        int events = (int)heir.record.events;
        assert_true(heir.record.seconds == event_at(events - 1).seconds);
        end_heir(&heir);
        expect_log(files.log, events);
    }
    remove_files(&files);
}

static void who_still_writes_to_the_old_files_spoils_nothing(void **state) {
    (void)state;
    struct files files;
    struct heir heir;
    void *sleeper;
    make_files(&files, "run.hylog");
    assert_int_equal(sink_log_alloc(files.log, &sleeper), HYSGD_OK);
    write_events(&sink_log, sleeper, EVENTS);
    open_heir(&heir, &files, KEPT);
    for (int i = EVENTS; i < 2 * EVENTS; i++) {
        const struct event late = event_at(i);
        assert_int_equal(sink_log.event(sleeper, &late), HYSGD_OK);
    }
    end_heir(&heir);
    assert_int_equal(sink_log.end(sleeper, &sample_summary), HYSGD_OK);
    sink_log_free(sleeper);
    expect_log(files.log, EVENTS);
    remove_files(&files);
}

static char *content_of(const char *path) {
    char *text = calloc(1, 1 << 22);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    assert_true(fread(text, 1, (1 << 22) - 1, stream) > 0);
    fclose(stream);
    return text;
}

static int count_rows(const char *path) {
    char *text = content_of(path);
    int rows = 0;
    for (const char *c = text; *c != '\0'; c++)
        rows += *c == '\n';
    free(text);
    return rows - 1;
}

/* The views are those of the whole run, also where their own files are gone. */
static void what_is_made_of_a_log_is_made_again(void **state) {
    (void)state;
    struct files files;
    struct heir heir;
    make_files(&files, "run.hylog");
    leave_log(&files, EVENTS, -1);
    open_heir(&heir, &files, KEPT);
    end_heir(&heir);
    assert_int_equal(count_rows(files.csv), EVENTS / 40);
    char *trace = content_of(files.trace), *report = content_of(files.report);
    assert_non_null(strstr(trace, "restored"));
    assert_non_null(strstr(trace, "evaluation"));
    assert_string_equal(trace + strlen(trace) - 2, "]\n");
    assert_non_null(strstr(report, "\"first_received\":0"));
    free(trace);
    free(report);
    remove_files(&files);
}

static void what_the_log_has_of_each_worker_is_known(void **state) {
    (void)state;
    struct files files;
    struct heir heir;
    make_files(&files, "run.hylog");
    leave_log(&files, 80, -1);
    open_heir(&heir, &files, KEPT);
    assert_true(heir.record.has_received);
    assert_int_equal(heir.received[0], 10);
    assert_int_equal(heir.received[1], 10);
    end_heir(&heir);
    remove_files(&files);
}

static void expect_own(const struct files *files, int kept) {
    struct heir heir;
    off_t before = size_of(files->log);
    FILE *stream = fopen(files->csv, "wb"); /* of a run before */
    fputs("another table\n", stream);
    fclose(stream);
    open_heir(&heir, files, kept);
    assert_false(heir.record.is_continued);
    assert_non_null(strstr(heir.record.warning, files->own));
    end_heir(&heir);
    expect_log(files->own, 0);
    assert_int_equal(size_of(files->log), before);
    assert_int_equal(size_of(files->csv), strlen("another table\n"));
}

static void a_log_that_is_not_of_the_run_is_left_alone(void **state) {
    (void)state;
    struct files files;
    void *sink;
    make_files(&files, "run.hylog");
    expect_own(&files, KEPT); /* there is none */
    leave_log(&files, KEPT - 1, -1);
    expect_own(&files, KEPT); /* what led to the state is missing */
    assert_int_equal(sink_log_alloc(files.log, &sink), HYSGD_OK);
    write_events(&sink_log, sink, EVENTS);
    assert_int_equal(sink_log.end(sink, &sample_summary), HYSGD_OK);
    sink_log_free(sink);
    expect_own(&files, KEPT); /* it is over */
    FILE *stream = fopen(files.log, "wb");
    fputs("HYSGDLOG and nothing that is one", stream);
    fclose(stream);
    expect_own(&files, KEPT);
    remove_files(&files);
}

static void a_log_of_other_times_is_left_alone(void **state) {
    (void)state;
    struct files files;
    struct heir heir;
    make_files(&files, "run.hylog");
    leave_log(&files, EVENTS, -1);
    begin_heir(&heir, files.log, KEPT);
    heir.record.place.seconds += 1e-12;
    succeed(&heir);
    assert_false(heir.record.is_continued);
    close_heir(&heir);
    remove_files(&files);
}

static void without_any_place_to_write_the_run_goes_on(void **state) {
    (void)state;
    struct heir heir;
    const struct sink_ops nobody = {0};
    const struct run_sink sink = {&nobody, NULL};
    begin_heir(&heir, "/no such directory/run.hylog", 0);
    heir.succession.sinks = &sink;
    heir.succession.sink_count = 1;
    succeed(&heir);
    assert_false(heir.record.is_continued);
    assert_non_null(strstr(heir.record.warning, "nothing is recorded any more"));
    close_heir(&heir);
}

static void lines_are_gone_on_with_from_the_last_whole_one(void **state) {
    (void)state;
    struct files files;
    struct heir heir;
    void *sink;
    make_files(&files, "run.jsonl");
    assert_int_equal(sink_jsonl_alloc(files.log, &sink), HYSGD_OK);
    write_events(&sink_jsonl, sink, EVENTS);
    sink_jsonl_free(sink);
    assert_int_equal(sink_csv_alloc(files.csv, &sink), HYSGD_OK);
    write_events(&sink_csv, sink, EVENTS);
    sink_csv_free(sink);
    assert_int_equal(truncate(files.log, size_of(files.log) - 7), 0);
    open_heir(&heir, &files, KEPT);
    assert_string_equal(heir.record.warning, "");
    assert_int_equal(heir.record.events, EVENTS - 1);
    assert_true(heir.record.seconds == event_at(EVENTS - 2).seconds);
    end_heir(&heir);
    assert_int_equal(count_rows(files.log), EVENTS - 1 + 3); /* the return, one more, the end */
    assert_int_equal(count_rows(files.csv), EVENTS / 40);
    remove_files(&files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_was_cut_anywhere_is_gone_on_with),
        cmocka_unit_test(who_still_writes_to_the_old_files_spoils_nothing),
        cmocka_unit_test(what_is_made_of_a_log_is_made_again),
        cmocka_unit_test(what_the_log_has_of_each_worker_is_known),
        cmocka_unit_test(a_log_that_is_not_of_the_run_is_left_alone),
        cmocka_unit_test(a_log_of_other_times_is_left_alone),
        cmocka_unit_test(without_any_place_to_write_the_run_goes_on),
        cmocka_unit_test(lines_are_gone_on_with_from_the_last_whole_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
