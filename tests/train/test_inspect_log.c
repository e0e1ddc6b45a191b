/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed of an event log: its events by kind, and how the clocks of its ranks compare. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "record/sinks.h"
#include "train/inspect_log.h"

static struct event clock_event(double seconds, int rank, double offset, double error) {
    return (struct event){.kind = EVENT_CLOCK, .worker = -1, .seconds = seconds, .clock = {rank, offset, error}};
}

/* Without its end. */
static void write_events(const struct event *events, size_t count, char path[64]) {
    const struct event_run run = {.title = "sync\x1b[2J", .runtime = "mpi", .workers = 4, .batch = 64};
    void *sink;
    strcpy(path, "/tmp/hysgd-inspect-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &run), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sink_log.event(sink, &events[i]), HYSGD_OK);
    assert_int_equal(sink_log.pulse(sink, 20), HYSGD_OK);
    sink_log_free(sink);
}

/* A log of four ranks, of which the second is a second behind and drifts. */
static void write_log(char path[64]) {
    const struct event events[] = {clock_event(0.5, 1, 1, 1e-3),
                                   clock_event(0.5, 0, 0, 0),
                                   {.kind = EVENT_START, .worker = 0, .seconds = 1},
                                   clock_event(2, 3, -0.25, 1e-3),
                                   clock_event(12.5, 1, 1.5, 2e-3)};
    write_events(events, sizeof events / sizeof *events, path);
}

static char *print_log(const char *path, bool is_json) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(inspect_log_print(path, is_json, out), HYSGD_OK);
    fclose(out);
    return text;
}

static void clocks_are_listed_by_rank_with_their_latest_offset(void **state) {
    (void)state;
    char path[64];
    size_t used = memory_used();
    write_log(path);
    assert_true(inspect_is_log(path));
    char *text = print_log(path, true);
    json_t *all = json_loads(text, 0, NULL), *clocks = json_object_get(all, "clocks");
    assert_int_equal(json_array_size(clocks), 3);
    const int ranks[] = {0, 1, 3};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(clocks, i), "rank")), ranks[i]);
    json_t *second = json_array_get(clocks, 1);
    assert_true(json_real_value(json_object_get(second, "offset_seconds")) == 1.5);
    assert_true(json_real_value(json_object_get(second, "first_offset_seconds")) == 1);
    assert_true(json_real_value(json_object_get(second, "error_seconds")) == 2e-3);
    assert_int_equal(json_integer_value(json_object_get(second, "compared")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(all, "events"), "start")), 1);
    assert_true(json_is_null(json_object_get(all, "reason")));
    json_decref(all);
    free(text);
    unlink(path);
    assert_int_equal(memory_used(), used);
}

static void clocks_of_before_a_coordinator_was_lost_are_told_apart(void **state) {
    (void)state;
    const struct event events[] = {clock_event(0.5, 0, 0, 0),    clock_event(0.5, 1, 1, 1e-3),
                                   clock_event(0.5, 2, 2, 1e-3), clock_event(0.5, 3, 3, 1e-3),
                                   clock_event(7, 1, 0, 0),      clock_event(7, 2, 1, 1e-3)};
    char path[64];
    write_events(events, sizeof events / sizeof *events, path);
    char *text = print_log(path, false);
    assert_non_null(strstr(text, "0.500  was the coordinator before rank 1\n"));
    assert_non_null(strstr(text, "7.000\n       2 "));
    assert_non_null(strstr(text, "7.000\n       3 "));
    assert_non_null(strstr(text, "0.500  with rank 0, which was the coordinator\n"));
    free(text);
    text = print_log(path, true);
    json_t *all = json_loads(text, 0, NULL), *clocks = json_object_get(all, "clocks");
    const int with[] = {0, 1, 1, 0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(clocks, i), "with")), with[i]);
    json_decref(all);
    free(text);
    unlink(path);
}

static void texts_of_a_log_do_not_steer_the_terminal(void **state) {
    (void)state;
    char path[64];
    write_log(path);
    char *text = print_log(path, false);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "cut before the end"));
    assert_non_null(strstr(text, "clock                   4\n"));
    assert_non_null(strstr(text, "       1      1500.0000             2.0000"));
    free(text);
    unlink(path);
}

static void other_files_are_no_logs(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-inspect-XXXXXX";
    int file = mkstemp(path);
    assert_true(write(file, "HYSGDLO", 7) == 7);
    close(file);
    assert_false(inspect_is_log(path));
    unlink(path);
    assert_false(inspect_is_log(path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_are_listed_by_rank_with_their_latest_offset),
        cmocka_unit_test(clocks_of_before_a_coordinator_was_lost_are_told_apart),
        cmocka_unit_test(texts_of_a_log_do_not_steer_the_terminal),
        cmocka_unit_test(other_files_are_no_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
