/* SPDX-License-Identifier: Apache-2.0 */
/* The views of whole runs: that they hold what the run's account says, and that a log gives the same as the run. */
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

#include "hysgd.h"
#include "record/log_reader.h"
#include "train/export.h"

/* Files of a run in a folder of its own. */
struct files {
    char folder[32], log[64], trace[64], csv[64], other_trace[64], other_csv[64];
};

static void make_files(struct files *files) {
    strcpy(files->folder, "/tmp/hysgd-views-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->log, sizeof files->log, "%s/run.hylog", files->folder);
    snprintf(files->trace, sizeof files->trace, "%s/run.json", files->folder);
    snprintf(files->csv, sizeof files->csv, "%s/run.csv", files->folder);
    snprintf(files->other_trace, sizeof files->other_trace, "%s/log.json", files->folder);
    snprintf(files->other_csv, sizeof files->other_csv, "%s/log.csv", files->folder);
}

static void remove_files(const struct files *files) {
    unlink(files->log);
    unlink(files->trace);
    unlink(files->csv);
    unlink(files->other_trace);
    unlink(files->other_csv);
    assert_int_equal(rmdir(files->folder), 0);
}

static void train(const struct files *files, const char *runtime, const char *policy) {
    const char *const options[][2] = {{"model", "softmax,kernels=reference"},
                                      {"data", "digits,train=200,test=50"},
                                      {"workers", "4"},
                                      {"batch", "8"},
                                      {"epochs", "2"},
                                      {"runtime", runtime},
                                      {"policy", policy},
                                      {"delay", "0,constant,mean=0.001"},
                                      {"lose", "3@0.03"},
                                      {"log", files->log},
                                      {"trace", files->trace},
                                      {"csv", files->csv}};
    struct hysgd_job *job;
    struct hysgd_result result;
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_int_equal(hysgd_job_set(job, options[i][0], options[i][1]), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    hysgd_job_free(job);
}

static struct log_reader *read_to_the_end(const char *path) {
    struct log_reader *reader;
    struct event event;
    bool has_event = true;
    assert_int_equal(log_reader_open(path, &reader), HYSGD_OK);
    while (has_event)
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    assert_non_null(log_reader_summary(reader));
    return reader;
}

#define MOST_TRACKS 16

/* Adds up the slices of a name by track, and checks that those of a track do not overlap, whatever their name. */
static void add_slices(json_t *trace, int group, const char *name, double seconds_out[MOST_TRACKS]) {
    double ends[MOST_TRACKS] = {0};
    size_t index;
    json_t *line;
    memset(seconds_out, 0, MOST_TRACKS * sizeof *seconds_out);
    json_array_foreach(trace, index, line) {
        if (strcmp(json_string_value(json_object_get(line, "ph")), "X") != 0 ||
            json_integer_value(json_object_get(line, "pid")) != group)
            continue;
        json_int_t track = json_integer_value(json_object_get(line, "tid"));
        double begin = json_number_value(json_object_get(line, "ts")),
               length = json_number_value(json_object_get(line, "dur"));
        assert_in_range(track, 0, MOST_TRACKS - 1);
        assert_true(length >= 0);
        assert_true(begin >= ends[track] - 1e-6); /* microseconds: a thousandth of the format's grain */
        ends[track] = begin + length;
        if (strcmp(json_string_value(json_object_get(line, "name")), name) == 0)
            seconds_out[track] += length * 1e-6;
    }
}

static size_t count_lines(json_t *trace, const char *phase, const char *name) {
    size_t index, count = 0;
    json_t *line;
    json_array_foreach(trace, index, line) {
        count += strcmp(json_string_value(json_object_get(line, "ph")), phase) == 0 &&
                 strcmp(json_string_value(json_object_get(line, "name")), name) == 0;
    }
    return count;
}

static void check_trace(const struct files *files) {
    json_t *trace = json_load_file(files->trace, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_array(trace));
    struct log_reader *reader = read_to_the_end(files->log);
    const struct event_summary *summary = log_reader_summary(reader);
    double computing[MOST_TRACKS], sending[MOST_TRACKS], waiting[MOST_TRACKS], updates[MOST_TRACKS];
    double grain = 2e-9 * (double)json_array_size(trace); /* of the rounding to nanoseconds */
    add_slices(trace, 1, "computing", computing);
    add_slices(trace, 1, "sending", sending);
    add_slices(trace, 1, "waiting", waiting);
    add_slices(trace, 2, "held", updates);
    add_slices(trace, 3, "update", updates);
    for (int i = 0; i < summary->workers; i++) {
        assert_true(fabs(computing[i] - summary->accounts[i].compute_seconds) < grain);
        assert_true(fabs(sending[i] - summary->accounts[i].transit_seconds) < grain);
        if (i != 3) /* the account of a lost worker ends with its last delivery */
            assert_true(fabs(waiting[i] - summary->accounts[i].waiting_seconds) < grain);
    }
    assert_true(updates[1] <= summary->server_seconds + grain);
    assert_int_equal(count_lines(trace, "X", "update"), summary->updates);
    assert_true(count_lines(trace, "C", "threshold") > 0);
    assert_true(count_lines(trace, "C", "staleness") > 0);
    assert_int_equal(count_lines(trace, "M", "thread_name"), 2 * 4 + 1);
    log_reader_close(reader);
    json_decref(trace);
}

static void a_trace_adds_up_to_the_account(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "async", "threshold,step=20", "backup,count=2"};
    static const char *const runtimes[] = {"virtual", "threads"};
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        for (size_t k = 0; k < 2; k++) {
            train(&files, runtimes[k], policies[i]);
            check_trace(&files);
        }
    remove_files(&files);
}

static char *read_text(const char *path) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(getdelim(&text, &size, '\0', file) > 0);
    fclose(file);
    return text;
}

static void assert_same_file(const char *one, const char *other) {
    char *first = read_text(one), *second = read_text(other);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void a_log_gives_the_same_views_as_its_run(void **state) {
    (void)state;
    struct files files;
    struct export_result result;
    make_files(&files);
    train(&files, "threads", "threshold,step=20");
    const struct views_paths paths = {.log = "",
                                      .serve = "",
                                      .jsonl = "",
                                      .csv = files.other_csv,
                                      .tensorboard = "",
                                      .trace = files.other_trace,
                                      .report = ""};
    assert_int_equal(export_log(files.log, &paths, &result), HYSGD_OK);
    assert_false(result.is_cut);
    assert_same_file(files.trace, files.other_trace);
    assert_same_file(files.csv, files.other_csv);
    remove_files(&files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_adds_up_to_the_account),
        cmocka_unit_test(a_log_gives_the_same_views_as_its_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
