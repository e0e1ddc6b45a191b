/* SPDX-License-Identifier: Apache-2.0 */
/* The report: one file that asks for nothing else, whose data read back, and that hostile texts cannot leave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "record/history.h"
#include "samples.h"

static struct history *run_to_end(const struct event_run *run) {
    struct history *history;
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    assert_int_equal(sink_history.begin(history, run), HYSGD_OK);
    const struct event events[] = {sample_start(0, 0, 3), sample_evaluation(0, 2, 0.125),
                                   sample_arrival(0, 1, 0.5, 0.25, 2), sample_start(0, 2, 5),
                                   sample_evaluation(3, 0.5, (double)NAN)};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(sink_history.event(history, &events[i]), HYSGD_OK);
    assert_int_equal(sink_history.end(history, &sample_summary), HYSGD_OK);
    return history;
}

/* The text of a report about these runs. The caller frees it. */
static char *write_report(const char *title, const struct history *const *histories, size_t count) {
    char path[64];
    sample_file(path);
    assert_int_equal(report_write(path, title, histories, count), HYSGD_OK);
    char *text = sample_read(path);
    unlink(path);
    return text;
}

/* The data in a report, up to the first thing that ends a script for a browser. The caller decrefs them. */
static json_t *read_data(const char *report) {
    static const char opening[] = "<script type=\"application/json\" id=\"data\">";
    const char *first = strstr(report, opening);
    assert_non_null(first);
    first += strlen(opening);
    const char *end = strstr(first, "</script");
    assert_non_null(end);
    json_t *data = json_loadb(first, (size_t)(end - first), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(data);
    return data;
}

static json_t *at(json_t *array, size_t i, size_t j) {
    return json_array_get(json_array_get(array, i), j);
}

static void the_data_read_back(void **state) {
    (void)state;
    const struct history *histories[2] = {run_to_end(&sample_run), run_to_end(&sample_run)};
    char *text = write_report("Two runs", histories, 2);
    json_t *data = read_data(text), *runs = json_object_get(data, "runs");
    assert_string_equal(json_string_value(json_object_get(data, "title")), "Two runs");
    assert_int_equal(json_array_size(runs), 2);
    json_t *run = json_array_get(runs, 1), *evaluations = json_object_get(run, "evaluations");
    assert_string_equal(json_string_value(json_object_get(json_object_get(run, "run"), "title")),
                        "threshold,step=300");
    assert_int_equal(json_array_size(evaluations), 2);
    assert_true(json_number_value(at(evaluations, 0, 2)) == 0.125);
    assert_true(json_is_null(at(evaluations, 1, 2)));
    assert_true(json_number_value(at(json_object_get(run, "loss"), 0, 1)) == 2);
    assert_true(json_number_value(at(json_object_get(run, "gradients"), 0, 3)) == 1);
    assert_true(json_is_null(json_object_get(run, "source")));
    json_t *workers = json_object_get(json_object_get(run, "timeline"), "workers");
    const double expected[22] = {0, 2, 1, 0, 0.5, 0, 0, 0.25, 0, 0, 1, 2, 10, 1, 0, 8, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < 22; i++)
        assert_true(json_number_value(at(workers, 0, i)) == expected[i]);
    assert_int_equal(json_array_size(json_array_get(workers, 0)), 22);
    json_decref(data);
    free(text);
    history_free((struct history *)(uintptr_t)histories[0]);
    history_free((struct history *)(uintptr_t)histories[1]);
}

static void nothing_is_fetched_from_elsewhere(void **state) {
    (void)state;
    char *text = write_report("Empty", NULL, 0);
    static const char *const forbidden[] = {
        "<link",    "<img",         "<iframe",      "<script src",      "src=\"http", "src=\"/",
        "href=\"",  "href='",       "@import",      "sourceMappingURL", "url(http",   "{{SOURCES}}",
        "{{DATA}}", "{{DYGRAPHS}}", "{{TIMELINE}}", "{{CHARTS}}",       "{{SCRIPT}}"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        assert_null(strstr(text, forbidden[i]));
    assert_non_null(strstr(text, "default-src 'none'"));
    assert_non_null(strstr(text, "Dygraph"));
    assert_string_equal(text + strlen(text) - 8, "</html>\n");
    free(text);
}

static void hostile_texts_cannot_leave_the_data(void **state) {
    (void)state;
    static const char hostile[] = "</script><script>alert(1)</script><!-- {{SCRIPT}} \" \\ & \xff";
    static const char *const options[][2] = {{hostile, hostile}};
    struct event_run run = sample_run;
    run.title = hostile;
    run.description = options;
    run.description_count = 1;
    const struct history *history = run_to_end(&run);
    char *text = write_report(hostile, &history, 1), *harmless = write_report("", NULL, 0);
    json_t *data = read_data(text);
    assert_non_null(strstr(json_string_value(json_object_get(data, "title")), "</script><script>alert(1)"));
    json_decref(data);
    assert_null(strstr(text, "alert(1)</script>"));
    size_t scripts[2] = {0, 0};
    const char *pages[2] = {text, harmless};
    for (int i = 0; i < 2; i++)
        for (const char *place = pages[i]; (place = strstr(place, "<script")) != NULL; place++)
            scripts[i]++;
    assert_int_equal(scripts[0], scripts[1]);
    free(text);
    free(harmless);
    history_free((struct history *)(uintptr_t)history);
}

static void a_run_that_never_began_is_left_out(void **state) {
    (void)state;
    struct history *history;
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    char *text = write_report("Nothing", (const struct history *const *)&history, 1);
    json_t *data = read_data(text);
    assert_int_equal(json_array_size(json_object_get(data, "runs")), 0);
    json_decref(data);
    free(text);
    history_free(history);
}

static void long_runs_are_merged_to_a_bounded_report(void **state) {
    (void)state;
    struct history *histories[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(history_alloc(&histories[i]), HYSGD_OK);
        assert_int_equal(sink_history.begin(histories[i], &sample_run), HYSGD_OK);
        for (int j = 0; j < 49000; j++) {
            struct event start = sample_start(j % 2, j / 2, 0);
            assert_int_equal(sink_history.event(histories[i], &start), HYSGD_OK);
        }
        assert_int_equal(sink_history.end(histories[i], &sample_summary), HYSGD_OK);
    }
    char *text = write_report("Long", (const struct history *const *)histories, 4);
    json_t *data = read_data(text), *runs = json_object_get(data, "runs");
    size_t numbers = 0;
    double computing = 0;
    for (size_t i = 0; i < 4; i++) {
        json_t *timeline = json_object_get(json_array_get(runs, i), "timeline");
        json_t *records = json_array_get(json_object_get(timeline, "workers"), 0);
        numbers += 2 * json_array_size(records);
        for (size_t j = 4; j < json_array_size(records); j += 11)
            computing += json_number_value(json_array_get(records, j));
        history_free(histories[i]);
    }
    assert_true(numbers / 11 > 30000 && numbers / 11 <= 50000);
    assert_true(computing == 4 * 24499.0);
    json_decref(data);
    free(text);
}

static void the_old_report_stays_when_the_new_one_cannot_be_written(void **state) {
    (void)state;
    char folder[] = "/tmp/hysgd-report-XXXXXX", path[64], pattern[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/report.html", folder);
    snprintf(pattern, sizeof pattern, "%s/*", folder);
    assert_int_equal(report_write(path, "first", NULL, 0), HYSGD_OK);
    memory_fail_at(3);
    assert_int_equal(report_write(path, "\xff", NULL, 0), HYSGD_MEMORY);
    memory_fail_at(0);
    char *text = sample_read(path);
    assert_non_null(strstr(text, "\"title\":\"first\""));
    free(text);
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, 1); /* no temporary file */
    globfree(&files);
    unlink(path);
    rmdir(folder);
}

static void a_link_is_followed_and_a_device_is_not_replaced(void **state) {
    (void)state;
    char target[64], path[80];
    sample_file(target);
    snprintf(path, sizeof path, "%s.link", target);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(report_write(path, "linked", NULL, 0), HYSGD_OK);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    char *text = sample_read(target);
    assert_non_null(strstr(text, "linked"));
    free(text);
    unlink(path);
    unlink(target);
    assert_int_equal(report_write("/dev/null", "none", NULL, 0), HYSGD_OK);
    assert_int_equal(lstat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

static void failures_name_the_path_and_the_reason(void **state) {
    (void)state;
    assert_int_equal(report_write("/nowhere/report.html", "none", NULL, 0), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/nowhere/report.html: "));
    assert_non_null(strstr(hysgd_error_message(), "No such file or directory"));
    assert_int_equal(report_write("/dev/full", "none", NULL, 0), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), "/dev/full: "));
    assert_non_null(strstr(hysgd_error_message(), "No space left on device"));
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    char path[64];
    sample_file(path);
    const struct history *history = run_to_end(&sample_run);
    size_t before = memory_used();
    uint64_t n = 1;
    for (;; n++) {
        memory_fail_at(n);
        enum hysgd_status status = report_write(path, "\xff", &history, 1);
        memory_fail_at(0);
        assert_int_equal(memory_used(), before);
        if (status == HYSGD_OK)
            break;
        assert_int_equal(status, HYSGD_MEMORY);
    }
    assert_true(n > 3);
    unlink(path);
    history_free((struct history *)(uintptr_t)history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_read_back),
        cmocka_unit_test(nothing_is_fetched_from_elsewhere),
        cmocka_unit_test(hostile_texts_cannot_leave_the_data),
        cmocka_unit_test(a_run_that_never_began_is_left_out),
        cmocka_unit_test(long_runs_are_merged_to_a_bounded_report),
        cmocka_unit_test(the_old_report_stays_when_the_new_one_cannot_be_written),
        cmocka_unit_test(a_link_is_followed_and_a_device_is_not_replaced),
        cmocka_unit_test(failures_name_the_path_and_the_reason),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
