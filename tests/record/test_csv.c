/* SPDX-License-Identifier: Apache-2.0 */
/* The table of evaluations: its exact text, empty cells, and failures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/sinks.h"
#include "fail_memory.h"
#include "samples.h"

static void a_row_has_the_means_since_the_row_before(void **state) {
    (void)state;
    char path[64];
    sample_file(path);
    struct event dropped = sample_arrival(1, 2, 1, 0, 4);
    dropped.arrival.weight = 0;
    dropped.arrival.read = 0;
    const struct event events[] = {sample_arrival(0, 1, 1, 0, 2), dropped, sample_arrival(1, 2, 1, 0, (double)NAN),
                                   sample_evaluation(2.5, 0.5, 0.75), sample_evaluation(3, 0.25, (double)NAN)};
    void *sink;
    assert_int_equal(sink_csv_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_csv.begin(sink, &sample_run), HYSGD_OK);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(sink_csv.event(sink, &events[i]), HYSGD_OK);
    assert_int_equal(sink_csv.end(sink, &sample_summary), HYSGD_OK);
    sink_csv_free(sink);
    char *text = sample_read(path);
    assert_string_equal(
        text, "seconds,epochs,received,updates,threshold,mean_staleness,train_loss,test_loss,test_accuracy\n"
              "2.5,0.5,100,6,2,2,3,0.5,0.75\n"
              "3,0.5,100,6,2,,,0.25,\n");
    free(text);
    unlink(path);
}

static void a_full_disk_is_reported(void **state) {
    (void)state;
    void *sink;
    assert_int_equal(sink_csv_alloc("/dev/full", &sink), HYSGD_OK);
    assert_int_equal(sink_csv.begin(sink, &sample_run), HYSGD_OK);
    assert_int_equal(sink_csv.end(sink, &sample_summary), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/dev/full: "));
    sink_csv_free(sink);
}

static void a_folder_cannot_be_the_table(void **state) {
    (void)state;
    void *sink;
    assert_int_equal(sink_csv_alloc("/tmp", &sink), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "Is a directory"));
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    fail_memory(sink_csv_alloc, sink_csv_free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_means_since_the_row_before),
        cmocka_unit_test(a_full_disk_is_reported),
        cmocka_unit_test(a_folder_cannot_be_the_table),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
