/* SPDX-License-Identifier: Apache-2.0 */
/* The compact event log: what is written reads back to the last bit, a log cut at any byte reads up to the cut, and
 * one that is not what it should be is refused with the byte where that shows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "record/kinds.h"
#include "record/log_format.h"
#include "record/log_reader.h"
#include "record/sinks.h"
#include "samples.h"

#define EVENTS 400

/* A file in memory. */
struct file {
    char *bytes;
    size_t size;
};

static struct file read_file(const char *path) {
    struct file file = {0};
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    fseek(stream, 0, SEEK_END);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    file.bytes = malloc(file.size);
    assert_int_equal(fread(file.bytes, 1, file.size, stream), file.size);
    fclose(stream);
    return file;
}

static double some_real(uint64_t i) {
    static const double values[] = {
        0, 1, 0.1, 1.0 / 3, -2.5e-300, DBL_MAX, DBL_TRUE_MIN, (double)NAN, (double)INFINITY};
    size_t count = sizeof values / sizeof *values;
    return values[(i + i / count) % count]; /* another one when the kinds come round */
}

/* An event with every field of its kind set, at times that do not decrease. */
static struct event some_event(uint64_t i) {
    struct event event = {.kind = (enum event_kind)(i % record_event_count),
                          .worker = (int32_t)(i / 3 % 2),
                          .seconds = (double)i / 7,
                          .version = 10 + i * i};
    const struct record_field *field = record_events[event.kind].fields;
    for (uint64_t k = i; field->name != NULL; field++, k += 3) {
        char *at = (char *)&event + field->offset;
        if (field->type == RECORD_COUNT || field->type == RECORD_LIMIT)
            *(uint64_t *)at = k % 11 == 0 && event.kind != EVENT_ARRIVAL ? UINT64_MAX - k : k;
        else if (field->type == RECORD_REAL || field->type == RECORD_BOUND)
            *(double *)at = some_real(k);
        else if (field->type == RECORD_FLAG)
            *(bool *)at = k % 2;
        else if (field->type == RECORD_INT)
            *(int32_t *)at = (int32_t)k - 5;
    }
    return event;
}

static struct file write_log(const struct event_run *run, uint64_t count, const struct event_summary *summary) {
    char path[64];
    void *sink;
    sample_file(path);
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, run), HYSGD_OK);
    for (uint64_t i = 0; i < count; i++) {
        struct event event = some_event(i);
        assert_int_equal(sink_log.event(sink, &event), HYSGD_OK);
    }
    assert_int_equal(sink_log.end(sink, summary), HYSGD_OK);
    sink_log_free(sink);
    struct file file = read_file(path);
    unlink(path);
    return file;
}

static enum hysgd_status open_bytes(const char *bytes, size_t size, struct log_reader **reader_out) {
    FILE *stream = size > 0 ? fmemopen((void *)(uintptr_t)bytes, size, "r") : fopen("/dev/null", "r");
    assert_non_null(stream);
    return log_reader_open_stream(stream, "a.hylog", reader_out);
}

/* The status of reading all of it, and the number of events before that. */
static enum hysgd_status read_all(const char *bytes, size_t size, uint64_t *count_out, bool *has_ended_out) {
    struct log_reader *reader;
    struct event event;
    bool has_event = true;
    *count_out = 0;
    *has_ended_out = false;
    enum hysgd_status status = open_bytes(bytes, size, &reader);
    if (status != HYSGD_OK)
        return status;
    while (status == HYSGD_OK && has_event) {
        status = log_reader_next(reader, &event, &has_event);
        *count_out += status == HYSGD_OK && has_event;
    }
    *has_ended_out = log_reader_summary(reader) != NULL;
    log_reader_close(reader);
    return status;
}

static void assert_same_fields(const struct record_kind *kind, const void *one, const void *other) {
    for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
        assert_int_equal(log_load(field, one), log_load(field, other));
        if (field->type == RECORD_TEXT)
            assert_string_equal(*(const char *const *)((const char *)one + field->offset),
                                *(const char *const *)((const char *)other + field->offset));
    }
}

static void every_event_reads_back_to_the_last_bit(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, EVENTS, &sample_summary);
    struct log_reader *reader;
    struct event event;
    bool has_event;
    assert_int_equal(open_bytes(file.bytes, file.size, &reader), HYSGD_OK);
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct event written = some_event(i);
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
        assert_true(has_event);
        assert_int_equal(event.kind, written.kind);
        assert_same_fields(&record_event, &event, &written);
        assert_same_fields(&record_events[event.kind], &event, &written);
    }
    assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    assert_false(has_event);
    assert_int_equal(log_reader_byte(reader), file.size);
    assert_null(log_reader_unknown(reader));
    log_reader_close(reader);
    free(file.bytes);
}

static void the_run_and_its_end_read_back(void **state) {
    (void)state;
    struct event_run written = sample_run;
    written.loss_name = "RMSE";
    written.accuracy_name = "AUC";
    struct file file = write_log(&written, 0, &sample_summary);
    struct log_reader *reader;
    struct event event;
    bool has_event;
    assert_int_equal(open_bytes(file.bytes, file.size, &reader), HYSGD_OK);
    const struct event_run *run = log_reader_run(reader);
    assert_same_fields(&record_run, run, &written);
    assert_int_equal(run->description_count, sample_run.description_count);
    for (int i = 0; i < run->description_count; i++)
        assert_same_fields(&record_option, run->description[i], sample_run.description[i]);
    assert_null(log_reader_summary(reader));
    assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    const struct event_summary *summary = log_reader_summary(reader);
    assert_non_null(summary);
    assert_same_fields(&record_end, summary, &sample_summary);
    for (int i = 0; i < summary->workers; i++)
        assert_same_fields(&record_account, &summary->accounts[i], &sample_summary.accounts[i]);
    assert_int_equal(summary->class_count, sample_summary.class_count);
    for (int i = 0; i < summary->class_count; i++)
        assert_same_fields(&record_class, &summary->classes[i], &sample_summary.classes[i]);
    log_reader_close(reader);
    free(file.bytes);
}

static void a_run_without_names_for_its_losses_is_written(void **state) {
    (void)state;
    struct event_run run = sample_run;
    struct log_reader *reader;
    run.loss_name = run.accuracy_name = NULL;
    struct file file = write_log(&run, 0, &sample_summary);
    assert_int_equal(open_bytes(file.bytes, file.size, &reader), HYSGD_OK);
    assert_string_equal(log_reader_run(reader)->loss_name, "");
    assert_string_equal(log_reader_run(reader)->accuracy_name, "");
    log_reader_close(reader);
    free(file.bytes);
}

static void a_log_cut_at_any_byte_reads_up_to_the_cut(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, EVENTS, &sample_summary);
    uint64_t count, before = 0;
    bool has_ended;
    for (size_t size = 0; size < file.size; size++) {
        enum hysgd_status status = read_all(file.bytes, size, &count, &has_ended);
        assert_false(has_ended);
        assert_true(count >= before);
        if (status != HYSGD_OK) {
            assert_int_equal(status, HYSGD_INPUT);
            assert_int_equal(before, 0);
            assert_true(strstr(hysgd_error_message(), size == 0 ? "is empty" : "is cut") != NULL);
        }
        before = count;
    }
    assert_true(before > EVENTS / 2); /* several blocks: a cut in the last loses that one only */
    assert_int_equal(read_all(file.bytes, file.size, &count, &has_ended), HYSGD_OK);
    assert_true(has_ended);
    assert_int_equal(count, EVENTS);
    free(file.bytes);
}

static void a_changed_byte_is_never_taken_for_an_event(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, EVENTS, &sample_summary);
    uint64_t count;
    bool has_ended;
    for (size_t at = 0; at < file.size; at++) {
        file.bytes[at] ^= 0x20;
        enum hysgd_status status = read_all(file.bytes, file.size, &count, &has_ended);
        file.bytes[at] ^= 0x20;
        assert_false(has_ended);
        if (status != HYSGD_OK)
            assert_int_equal(status, HYSGD_INPUT);
        else /* it may have been the writer's last words */
            assert_true(count < EVENTS);
    }
    free(file.bytes);
}

static void a_block_in_the_middle_that_is_damaged_is_named(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, EVENTS, &sample_summary);
    uint64_t count;
    bool has_ended;
    size_t first = LOG_HEAD_BYTES, second = first + LOG_BLOCK_BYTES + log_get_word((uint8_t *)file.bytes + first);
    file.bytes[second + LOG_BLOCK_BYTES + 5] ^= 1;
    char place[64];
    snprintf(place, sizeof place, "a.hylog: byte %zu: ", second);
    assert_int_equal(read_all(file.bytes, file.size, &count, &has_ended), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), place));
    assert_non_null(strstr(hysgd_error_message(), "checksum"));
    free(file.bytes);
}

static void zeros_behind_a_log_are_a_cut(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, 10, &sample_summary);
    size_t head = LOG_HEAD_BYTES + LOG_BLOCK_BYTES + log_get_word((uint8_t *)file.bytes + LOG_HEAD_BYTES);
    uint64_t count;
    bool has_ended;
    memset(file.bytes + head, 0, file.size - head);
    assert_int_equal(read_all(file.bytes, file.size, &count, &has_ended), HYSGD_OK);
    assert_int_equal(count, 0);
    file.bytes[file.size - 1] = 1;
    assert_int_equal(read_all(file.bytes, file.size, &count, &has_ended), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "a block of 0 bytes"));
    free(file.bytes);
}

static void what_is_no_log_is_refused(void **state) {
    (void)state;
    static const char *const others[][2] = {
        {"{\"hysgd_log\":1}\n", "JSON lines"},
        {"seconds,epochs\n1,2,3,4,5,6,7,8\n", "is not an event log"},
        {"HYSGDLOG\2\0\0\0", "version 2 of the format: this hysgd reads version 1"},
        {"HYSGDLOG\1\0\0\0", "cut before the run is described"},
        {"HYSG", "cut within its head"},
        {"", "is empty"},
    };
    static const size_t sizes[] = {16, 31, 12, 12, 4, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct log_reader *reader;
        assert_int_equal(open_bytes(others[i][0], sizes[i], &reader), HYSGD_INPUT);
        assert_non_null(strstr(hysgd_error_message(), "a.hylog: "));
        assert_non_null(strstr(hysgd_error_message(), others[i][1]));
    }
}

/* The message with which a log of these events is refused. */
static const char *refusal(const struct event *events, size_t count) {
    static char path[64];
    void *sink;
    uint64_t read;
    bool has_ended;
    sample_file(path);
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &sample_run), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sink_log.event(sink, &events[i]), HYSGD_OK);
    assert_int_equal(sink_log.end(sink, &sample_summary), HYSGD_OK);
    sink_log_free(sink);
    struct file file = read_file(path);
    unlink(path);
    assert_int_equal(read_all(file.bytes, file.size, &read, &has_ended), HYSGD_INPUT);
    assert_int_equal(read, count - 1);
    free(file.bytes);
    return hysgd_error_message();
}

static void time_that_runs_backwards_is_refused(void **state) {
    (void)state;
    const struct event events[] = {sample_start(0, 2, 0), sample_start(1, 1.5, 0)};
    assert_non_null(strstr(refusal(events, 2), "time runs backwards: event start at 1.5 s follows one at 2 s"));
}

static void an_evaluation_may_be_of_an_earlier_moment(void **state) {
    (void)state;
    const struct event events[] = {sample_start(0, 2, 0), sample_evaluation(1, 0.5, 0.5), sample_start(1, 3, 0),
                                   sample_start(1, 2.5, 0)};
    assert_non_null(strstr(refusal(events, 4), "event start at 2.5 s follows one at 3 s"));
}

static void workers_that_do_not_exist_are_refused(void **state) {
    (void)state;
    const struct event beyond = sample_start(2, 1, 0), nobody = sample_start(-1, 1, 0);
    assert_non_null(strstr(refusal(&beyond, 1), "event start of worker 2: expected a worker of 2"));
    assert_non_null(strstr(refusal(&nobody, 1), "event start of worker -1"));
}

static void a_gradient_of_a_version_to_come_is_refused(void **state) {
    (void)state;
    struct event event = sample_arrival(1, 1, 1, 0, 0.5);
    event.arrival.read = event.version + 1;
    assert_non_null(strstr(refusal(&event, 1), "event arrival is of version 6 when there was 5"));
}

static void a_long_text_is_a_block_of_its_own(void **state) {
    (void)state;
    size_t length = 300000;
    char *text = malloc(length + 1);
    memset(text, 'x', length);
    text[length] = '\0';
    const char *const options[][2] = {{"policy", "async"}, {"model", text}, {"seed", "1"}};
    struct event_run run = sample_run;
    run.description = options;
    run.description_count = 3;
    struct file file = write_log(&run, 5, &sample_summary);
    struct log_reader *reader;
    assert_int_equal(open_bytes(file.bytes, file.size, &reader), HYSGD_OK);
    assert_int_equal(log_reader_run(reader)->description_count, 3);
    assert_string_equal(log_reader_run(reader)->description[1][1], text);
    assert_string_equal(log_reader_run(reader)->description[2][0], "seed");
    log_reader_close(reader);
    free(file.bytes);
    free(text);
}

/* Builds a log by hand whose kind "arrival" has one field that is not known and lacks the others. */
static size_t write_foreign(uint8_t *bytes) {
    static const uint8_t payload[] = "\0\1\3run\2\1\7workers\2\15first_seconds" /* kind 1: run */
                                     "\0\2\5event\2\2\1t\1\6worker"             /* kind 2: event */
                                     "\0\3\7arrival\1\1\5extra"                 /* kind 3 */
                                     "\0\4\7strange\1\3\4text"                  /* kind 4 */
                                     "\1\4\0"                                   /* a run of 2 workers from 0 s */
                                     "\4\0\0\3abc"                              /* a strange event */
                                     "\3\0\0\5";                                /* an arrival of worker 0 */
    uint32_t size = sizeof payload - 1;
    memcpy(bytes, "HYSGDLOG\1\0\0\0", LOG_HEAD_BYTES);
    log_put_word(bytes + LOG_HEAD_BYTES, size);
    log_put_word(bytes + LOG_HEAD_BYTES + 4, log_checksum(bytes + LOG_HEAD_BYTES, payload, size));
    memcpy(bytes + LOG_HEAD_BYTES + LOG_BLOCK_BYTES, payload, size);
    return LOG_HEAD_BYTES + LOG_BLOCK_BYTES + size;
}

static void kinds_and_fields_of_other_versions_are_passed_over(void **state) {
    (void)state;
    uint8_t bytes[512];
    size_t size = write_foreign(bytes);
    struct log_reader *reader;
    struct event event;
    bool has_event;
    assert_int_equal(open_bytes((char *)bytes, size, &reader), HYSGD_OK);
    assert_string_equal(log_reader_unknown(reader), "arrival.extra");
    assert_true(log_reader_has(reader, "run", "workers"));
    assert_false(log_reader_has(reader, "arrival", "loss"));
    assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    assert_true(has_event);
    assert_int_equal(event.kind, EVENT_ARRIVAL);
    assert_int_equal(event.worker, 0);
    assert_true(isnan(event.arrival.loss));
    assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    assert_false(has_event);
    log_reader_close(reader);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    struct file file = write_log(&sample_run, 20, &sample_summary);
    size_t before = memory_used();
    uint64_t n = 1, count;
    bool has_ended;
    enum hysgd_status status;
    do {
        memory_fail_at(n++);
        status = read_all(file.bytes, file.size, &count, &has_ended);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
        assert_int_equal(memory_used(), before);
    } while (status != HYSGD_OK);
    assert_true(n > 5);
    free(file.bytes);
}

static void a_full_disk_is_reported_with_path_and_reason(void **state) {
    (void)state;
    void *sink;
    assert_int_equal(sink_log_alloc("/dev/full", &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &sample_run), HYSGD_OK);
    enum hysgd_status status = HYSGD_OK;
    for (uint64_t i = 0; i < 10 * EVENTS && status == HYSGD_OK; i++) {
        struct event event = some_event(i);
        status = sink_log.event(sink, &event);
    }
    assert_int_equal(status, HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/dev/full: cannot be written: No space left on device"));
    sink_log_free(sink);
}

static void a_pulse_brings_what_was_written_to_the_file(void **state) {
    (void)state;
    char path[64];
    void *sink;
    uint64_t count;
    bool has_ended;
    struct event event = sample_start(0, 1, 0);
    sample_file(path);
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_log.event(sink, &event), HYSGD_OK);
    assert_int_equal(sink_log.pulse(sink, 1), HYSGD_OK); /* the first pulse flushes */
    struct file file = read_file(path);
    assert_int_equal(read_all(file.bytes, file.size, &count, &has_ended), HYSGD_OK);
    assert_int_equal(count, 1);
    free(file.bytes);
    sink_log_free(sink);
    unlink(path);
}

/* What one process has begun to write is not emptied, and not written by two. */
static void a_file_that_is_being_written_is_nobody_elses(void **state) {
    (void)state;
    char path[64];
    void *sink, *other;
    sample_file(path);
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_log.flush(sink), HYSGD_OK);
    struct file before = read_file(path);
    assert_int_equal(sink_log_alloc(path, &other), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), ": another process is writing to it: expected a file that only"));
    assert_int_equal(sink_csv_alloc(path, &other), HYSGD_OUTPUT);
    struct file after = read_file(path);
    assert_true(before.size > 0);
    assert_int_equal(after.size, before.size);
    sink_log_free(sink);
    assert_int_equal(sink_log_alloc(path, &other), HYSGD_OK);
    sink_log_free(other);
    free(before.bytes);
    free(after.bytes);
    unlink(path);
}

static void a_file_that_is_not_there_is_named(void **state) {
    (void)state;
    struct log_reader *reader;
    assert_int_equal(log_reader_open("/nowhere/run.hylog", &reader), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "/nowhere/run.hylog: cannot be opened: No such file"));
    assert_int_equal(log_reader_open("/tmp", &reader), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "/tmp: cannot be read: Is a directory"));
}

static void every_kind_has_a_name_and_fields_that_differ(void **state) {
    (void)state;
    for (size_t i = 0; i < record_event_count; i++) {
        const struct record_kind *kind = &record_events[i];
        assert_non_null(kind->name);
        for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
            assert_true(field - kind->fields < RECORD_MOST_FIELDS);
            assert_non_null(field->help);
            for (const struct record_field *other = kind->fields; other < field; other++)
                assert_string_not_equal(other->name, field->name);
            for (const struct record_field *other = record_event.fields; other->name != NULL; other++)
                assert_string_not_equal(other->name, field->name);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_reads_back_to_the_last_bit),
        cmocka_unit_test(the_run_and_its_end_read_back),
        cmocka_unit_test(a_run_without_names_for_its_losses_is_written),
        cmocka_unit_test(a_log_cut_at_any_byte_reads_up_to_the_cut),
        cmocka_unit_test(a_changed_byte_is_never_taken_for_an_event),
        cmocka_unit_test(a_block_in_the_middle_that_is_damaged_is_named),
        cmocka_unit_test(zeros_behind_a_log_are_a_cut),
        cmocka_unit_test(what_is_no_log_is_refused),
        cmocka_unit_test(time_that_runs_backwards_is_refused),
        cmocka_unit_test(an_evaluation_may_be_of_an_earlier_moment),
        cmocka_unit_test(workers_that_do_not_exist_are_refused),
        cmocka_unit_test(a_gradient_of_a_version_to_come_is_refused),
        cmocka_unit_test(a_long_text_is_a_block_of_its_own),
        cmocka_unit_test(kinds_and_fields_of_other_versions_are_passed_over),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
        cmocka_unit_test(a_full_disk_is_reported_with_path_and_reason),
        cmocka_unit_test(a_pulse_brings_what_was_written_to_the_file),
        cmocka_unit_test(a_file_that_is_being_written_is_nobody_elses),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(every_kind_has_a_name_and_fields_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
