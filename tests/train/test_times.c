/* SPDX-License-Identifier: Apache-2.0 */
/* Reading measured times: tables with faults, and logs whose times must come back as they were modelled. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "hysgd.h"
#include "record/sinks.h"
#include "train/times.h"

static enum hysgd_status read_text(const char *text, struct measured *measured) {
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    *measured = (struct measured){0};
    enum hysgd_status status = times_read_table(measured, file, "t.csv");
    fclose(file);
    return status == HYSGD_OK ? times_check(measured, "t.csv") : status;
}

static void a_table_is_read_in_any_order_of_columns(void **state) {
    (void)state;
    struct measured measured;
    const char *text = "# measured\n\n transit, worker ,compute\r\n0.5,1,2\n0.25,0,1e-3\n0,1,4\n";
    assert_int_equal(read_text(text, &measured), HYSGD_OK);
    assert_int_equal(measured.count, 2);
    assert_int_equal(measured.workers[1].count, 2);
    assert_true(measured_at(&measured, 0, 0)->compute_seconds == 1e-3);
    assert_true(measured_at(&measured, 0, 0)->transit_seconds == 0.25);
    assert_true(measured_at(&measured, 1, 1)->compute_seconds == 4);
    measured_fini(&measured);
}

static void a_fault_of_a_table_has_its_line_and_column(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"worker,compute\n0,-1\n", "t.csv:2: column compute: \"-1\" is not a time: expected seconds from 0 to 1e9"},
        {"worker,compute\n0,\n", "t.csv:2: column compute: the time is missing: expected seconds from 0 to 1e9"},
        {"worker,compute\n0,1s\n", "t.csv:2: column compute: \"1s\" is not a time: expected seconds from 0 to 1e9"},
        {"worker,compute\n0,nan\n",
         "t.csv:2: column compute: \"nan\" is not a time: expected seconds from 0 to 1e9"},
        {"worker,compute,transit\n0,1,2\n0,1\n",
         "t.csv:3: column transit is missing: expected 3 columns, as the first line has"},
        {"worker,compute\n0,1,2\n", "t.csv:2: column 3 is one too many: expected 2, as the first line has"},
        {"worker,compute\n-1,1\n", "t.csv:2: column worker: \"-1\" is not a worker: expected 0 to 65535"},
        {"worker,compute\n65536,1\n", "t.csv:2: column worker: \"65536\" is not a worker: expected 0 to 65535"},
        {"worker\n", "t.csv:1: the column compute is missing: expected a line such as worker,compute,transit"},
        {"worker,compute\n1,1\n", "t.csv: worker 0 has no times: expected at least one of each worker from 0 to 1"},
        {"worker,compute\n0,0\n", "t.csv: all times of worker 0 are 0: expected seconds above 0"},
        {"worker,compute\n", "t.csv: holds no times of workers"},
        {"worker,compute,worker\n",
         "t.csv:1: column 3: \"worker\" is there twice: expected the columns worker, compute and, where wanted, "
         "transit, or an event log"},
        {"\x7f"
         "ELF\x02\x01",
         "t.csv:1: is neither an event log nor a table of times"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct measured measured;
        assert_int_equal(read_text(rows[i][0], &measured), HYSGD_INPUT);
        assert_string_equal(hysgd_error_message(), rows[i][1]);
        measured_fini(&measured);
    }
}

/* A modelled run with its log in `path`. */
static void run_logged(const char *policy, const char *gradients, char path[64]) {
    const char *const options[][2] = {{"runtime", "virtual"},
                                      {"model", "quadratic"},
                                      {"data", "none"},
                                      {"workers", "3"},
                                      {"speeds", "1,1,0.5"},
                                      {"compute", "uniform,least=0.01,most=0.03"},
                                      {"delay", "one,constant,mean=0.005"},
                                      {"receive", "uniform,least=0,most=0.001"},
                                      {"apply", "constant,mean=0.002"},
                                      {"policy", policy},
                                      {"gradients", gradients},
                                      {"log", path}};
    struct hysgd_job *job;
    struct hysgd_result result;
    strcpy(path, "/tmp/hysgd-times-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_int_equal(hysgd_job_set(job, options[i][0], options[i][1]), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    hysgd_job_free(job);
}

static void a_log_gives_the_times_of_workers_and_server(void **state) {
    (void)state;
    char path[64];
    struct times times;
    struct description description;
    run_logged("async", "200", path);
    assert_int_equal(description_init(&description), HYSGD_OK);
    assert_int_equal(times_read(&times, path, &description), HYSGD_OK);
    unlink(path);
    assert_true(times.is_log && !times.is_cut);
    assert_int_equal(times.measured.count, 3);
    assert_int_equal(times.measured.receive.count, 200);
    assert_int_equal(times.measured.apply.count, 200);
    assert_int_equal(times.updates, 200);
    assert_string_equal(times.policy, "async");
    assert_string_equal(description.model, "quadratic,dimension=100,condition=100,noise=1");
    assert_int_equal(description.gradients, 200);
    for (uint64_t i = 0; i < 200; i++) {
        const struct measured_gradient *slow = measured_at(&times.measured, 2, i);
        assert_true(slow->compute_seconds >= 0.02 && slow->compute_seconds <= 0.06);
        assert_true(slow->transit_seconds == 0.005 && measured_at(&times.measured, 0, i)->transit_seconds == 0);
        assert_in_range((int)(1e9 * times.measured.receive.seconds[i] + 0.5), 0, 1000000);
        assert_true(times.measured.apply.seconds[i] == 0.002);
    }
    times_fini(&times);
    description_fini(&description);
}

static void what_was_given_up_takes_longer_than_was_spent(void **state) {
    (void)state;
    char path[64];
    struct times times;
    struct description description;
    run_logged("timeout,patience=0.035", "100", path);
    assert_int_equal(description_init(&description), HYSGD_OK);
    assert_int_equal(times_read(&times, path, &description), HYSGD_OK);
    unlink(path);
    uint64_t count = 0, long_ones = 0;
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < times.measured.workers[i].count; j++) {
            const struct measured_gradient *gradient = &times.measured.workers[i].gradients[j];
            count++;
            long_ones += gradient->compute_seconds + gradient->transit_seconds >= 0.035 - 1e-12;
        }
    assert_true(times.estimated > 10);
    assert_int_equal(count, 100 + times.estimated);
    assert_in_range(long_ones, times.estimated - 3, times.estimated); /* three may be unfinished */
    times_fini(&times);
    description_fini(&description);
}

static void options_that_are_given_stand(void **state) {
    (void)state;
    char path[64];
    struct times times;
    struct description description;
    run_logged("async", "50", path);
    assert_int_equal(description_init(&description), HYSGD_OK);
    assert_int_equal(description_set(&description, "updates", "7"), HYSGD_OK);
    assert_int_equal(times_read(&times, path, &description), HYSGD_OK);
    unlink(path);
    assert_int_equal(description.updates, 7);
    assert_int_equal(description.gradients, 0);
    times_fini(&times);
    description_fini(&description);
}

static enum hysgd_status read_bytes(const char *bytes, size_t size, const char *path) {
    struct times times;
    struct description description;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(bytes, 1, size, file);
    fclose(file);
    assert_int_equal(description_init(&description), HYSGD_OK);
    enum hysgd_status status = times_read(&times, path, &description);
    times_fini(&times);
    description_fini(&description);
    return status;
}

static void a_log_may_be_cut_anywhere(void **state) {
    (void)state;
    char path[64], bytes[32768];
    run_logged("sync", "30", path);
    FILE *file = fopen(path, "r");
    size_t size = fread(bytes, 1, sizeof bytes, file), before = memory_used();
    fclose(file);
    assert_true(size > 1000 && size < sizeof bytes);
    for (size_t length = 0; length < size; length += 97) {
        enum hysgd_status status = read_bytes(bytes, length, path);
        assert_true(status == HYSGD_OK || status == HYSGD_INPUT);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(read_bytes(bytes, size, path), HYSGD_OK);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_read_in_any_order_of_columns),
        cmocka_unit_test(a_fault_of_a_table_has_its_line_and_column),
        cmocka_unit_test(a_log_gives_the_times_of_workers_and_server),
        cmocka_unit_test(what_was_given_up_takes_longer_than_was_spent),
        cmocka_unit_test(options_that_are_given_stand),
        cmocka_unit_test(a_log_may_be_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
