/* SPDX-License-Identifier: Apache-2.0 */
/* The event log as JSON lines: that every line is JSON with the promised fields, and that what cannot be written is
 * reported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <jansson.h>
#include <locale.h>
#include <signal.h>

#include "base/memory.h"
#include "record/encode.h"
#include "record/sinks.h"
#include "fail_memory.h"
#include "samples.h"

/* Logs the events between begin and end; the lines, parsed, as an array that the caller decrefs. */
static json_t *log_and_parse(const struct event_run *run, const struct event *events, size_t count) {
    char path[64];
    sample_file(path);
    void *sink;
    assert_int_equal(sink_jsonl_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_jsonl.begin(sink, run), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sink_jsonl.event(sink, &events[i]), HYSGD_OK);
    assert_int_equal(sink_jsonl.end(sink, &sample_summary), HYSGD_OK);
    sink_jsonl_free(sink);
    char *text = sample_read(path);
    unlink(path);
    json_t *lines = json_array();
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL;)
        assert_int_equal(json_array_append_new(lines, json_loads(line, JSON_REJECT_DUPLICATES, NULL)), 0);
    free(text);
    return lines;
}

static void every_kind_of_event_is_one_json_line(void **state) {
    (void)state;
    static const char *const names[] = {"start", "arrival", "update", "evaluation", "checkpoint", "lost", "joined"};
    struct event events[7] = {sample_start(1, 0, 3), sample_arrival(1, 1, 0.5, 0.25, 2), sample_update(1, 6),
                              sample_evaluation(2, 0.5, 0.9)};
    for (int kind = EVENT_CHECKPOINT; kind <= EVENT_JOINED; kind++)
        events[kind] = (struct event){.kind = (enum event_kind)kind, .worker = 1, .seconds = 3};
    json_t *lines = log_and_parse(&sample_run, events, 7);
    assert_int_equal(json_array_size(lines), 9);
    for (size_t i = 0; i < 7; i++) {
        json_t *line = json_array_get(lines, i + 1);
        assert_string_equal(json_string_value(json_object_get(line, "event")), names[i]);
        assert_true(json_number_value(json_object_get(line, "t")) == events[i].seconds);
        assert_non_null(json_object_get(line, "worker"));
        assert_int_equal(json_integer_value(json_object_get(line, "version")), events[i].version);
    }
    json_decref(lines);
}

static void the_first_line_describes_the_run(void **state) {
    (void)state;
    json_t *lines = log_and_parse(&sample_run, NULL, 0);
    json_t *head = json_array_get(lines, 0);
    assert_int_equal(json_integer_value(json_object_get(head, "hysgd_log")), 1);
    assert_string_equal(json_string_value(json_object_get(head, "title")), "threshold,step=300");
    assert_string_equal(json_string_value(json_object_get(head, "runtime")), "virtual");
    assert_int_equal(json_integer_value(json_object_get(head, "workers")), 2);
    assert_true(json_number_value(json_object_get(head, "limit_epochs")) == 10);
    assert_true(json_is_null(json_object_get(head, "limit_updates")));
    json_t *options = json_object_get(head, "options");
    assert_string_equal(json_string_value(json_object_get(options, "policy")), "threshold,step=300");
    json_decref(lines);
}

static void the_last_line_has_the_accounts_and_null_for_nan(void **state) {
    (void)state;
    json_t *lines = log_and_parse(&sample_run, NULL, 0);
    json_t *end = json_array_get(lines, 1);
    assert_string_equal(json_string_value(json_object_get(end, "event")), "end");
    assert_string_equal(json_string_value(json_object_get(end, "reason")), "epochs");
    assert_true(json_is_null(json_object_get(end, "target_seconds")));
    assert_true(json_number_value(json_object_get(end, "test_accuracy")) == 0.875);
    json_t *accounts = json_object_get(end, "accounts");
    assert_int_equal(json_array_size(accounts), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(accounts, 0), "dropped")), 10);
    json_decref(lines);
}

static void an_arrival_reads_as_documented(void **state) {
    (void)state;
    char path[64];
    sample_file(path);
    void *sink;
    struct event event = sample_arrival(1, 0.3, 0.1, 1.0 / 3, (double)NAN);
    assert_int_equal(sink_jsonl_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_jsonl.event(sink, &event), HYSGD_OK);
    assert_int_equal(sink_jsonl.pulse(sink, 1), HYSGD_OK); /* the first pulse flushes */
    char *text = sample_read(path);
    assert_string_equal(text,
                        "{\"t\":0.3,\"event\":\"arrival\",\"worker\":1,\"version\":5,\"read\":3,\"staleness\":2,"
                        "\"weight\":1,\"batches\":1,\"loss\":null,\"compute_seconds\":0.1,"
                        "\"transit_seconds\":0.33333333333333331,\"queue_seconds\":0,"
                        "\"data_seconds\":0,\"pull_seconds\":null,\"push_seconds\":null,\"threshold\":2,"
                        "\"held\":1}\n");
    free(text);
    sink_jsonl_free(sink);
    unlink(path);
}

static void numbers_read_back_exactly(void **state) {
    (void)state;
    const double values[] = {0.1, 1.0 / 3, -2.5e-300, DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 123456789.125, 1e22, -7};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[ENCODE_NUMBER_SIZE];
        assert_true(strtod(encode_number(values[i], 0, "null", text), NULL) == values[i]);
    }
    char text[ENCODE_NUMBER_SIZE];
    assert_string_equal(encode_number((double)INFINITY, 0, "null", text), "null");
    assert_string_equal(encode_number(-(double)NAN, 0, "", text), "");
    assert_string_equal(encode_number(1.0 / 3, 3, "null", text), "0.333");
}

static void a_locale_with_a_decimal_comma_changes_nothing(void **state) {
    (void)state;
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL) {
        print_message("a_locale_with_a_decimal_comma_changes_nothing skipped because there is no such locale\n");
        skip();
    }
    char text[ENCODE_NUMBER_SIZE];
    assert_string_equal(encode_number(0.5, 0, "null", text), "0.5");
    assert_string_equal(encode_number(1.0 / 3, 0, "null", text), "0.33333333333333331");
    setlocale(LC_NUMERIC, "C");
}

static void hostile_texts_stay_inside_their_strings(void **state) {
    (void)state;
    static const char *const options[][2] = {{"data", "\"quote\" \\ \n\t\x01"},
                                             {"k\xff"
                                              "ey",
                                              "caf\xe9"}};
    struct event_run run = sample_run;
    run.title = "\xc3\xa9 \xff";
    run.description = options;
    json_t *lines = log_and_parse(&run, NULL, 0);
    json_t *head = json_array_get(lines, 0);
    assert_string_equal(json_string_value(json_object_get(head, "title")), "?? ?");
    json_t *texts = json_object_get(head, "options");
    assert_string_equal(json_string_value(json_object_get(texts, "data")), options[0][1]);
    assert_string_equal(json_string_value(json_object_get(texts, "k?ey")), "caf?");
    json_decref(lines);
}

static void a_full_disk_is_reported_with_path_and_reason(void **state) {
    (void)state;
    void *sink;
    assert_int_equal(sink_jsonl_alloc("/dev/full", &sink), HYSGD_OK);
    assert_int_equal(sink_jsonl.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_jsonl.pulse(sink, 0), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/dev/full"));
    assert_non_null(strstr(hysgd_error_message(), "No space left on device"));
    sink_jsonl_free(sink);
}

static void a_full_disk_is_reported_at_the_end_at_the_latest(void **state) {
    (void)state;
    void *sink;
    assert_int_equal(sink_jsonl_alloc("/dev/full", &sink), HYSGD_OK);
    assert_int_equal(sink_jsonl.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_jsonl.end(sink, &sample_summary), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/dev/full"));
    sink_jsonl_free(sink);
}

static void a_full_disk_is_reported_by_an_event(void **state) {
    (void)state;
    void *sink;
    struct event event = sample_arrival(1, 0.3, 0.1, 0.2, 0.5);
    assert_int_equal(sink_jsonl_alloc("/dev/full", &sink), HYSGD_OK);
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < 1000 && status == HYSGD_OK; i++)
        status = sink_jsonl.event(sink, &event);
    assert_int_equal(status, HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "No space left on device"));
    sink_jsonl_free(sink);
}

static void a_reader_that_goes_away_is_a_failure_not_a_signal(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as the command does */
    int ends[2];
    char path[64];
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    void *sink;
    assert_int_equal(sink_jsonl_alloc(path, &sink), HYSGD_OK);
    close(ends[0]);
    assert_int_equal(sink_jsonl.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_jsonl.pulse(sink, 0), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "Broken pipe"));
    sink_jsonl_free(sink);
    close(ends[1]);
}

static void a_path_that_cannot_be_opened_is_named(void **state) {
    (void)state;
    size_t before = memory_used();
    void *sink;
    assert_int_equal(sink_jsonl_alloc("/nowhere/at/all.jsonl", &sink), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/nowhere/at/all.jsonl"));
    assert_non_null(strstr(hysgd_error_message(), "No such file"));
    assert_int_equal(memory_used(), before);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    fail_memory(sink_jsonl_alloc, sink_jsonl_free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_event_is_one_json_line),
        cmocka_unit_test(the_first_line_describes_the_run),
        cmocka_unit_test(the_last_line_has_the_accounts_and_null_for_nan),
        cmocka_unit_test(an_arrival_reads_as_documented),
        cmocka_unit_test(numbers_read_back_exactly),
        cmocka_unit_test(a_locale_with_a_decimal_comma_changes_nothing),
        cmocka_unit_test(hostile_texts_stay_inside_their_strings),
        cmocka_unit_test(a_full_disk_is_reported_with_path_and_reason),
        cmocka_unit_test(a_full_disk_is_reported_at_the_end_at_the_latest),
        cmocka_unit_test(a_full_disk_is_reported_by_an_event),
        cmocka_unit_test(a_reader_that_goes_away_is_a_failure_not_a_signal),
        cmocka_unit_test(a_path_that_cannot_be_opened_is_named),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
