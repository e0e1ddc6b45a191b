/* SPDX-License-Identifier: Apache-2.0 */
/* The progress display: on a pseudo-terminal of a given width, and as plain lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/memory.h"
#include "record/sinks.h"
#include "samples.h"

/* Two workers deliver, one is late; one evaluation; all numbers are wide. */
static void feed(void *sink, const struct event_run *run) {
    assert_int_equal(sink_progress.begin(sink, run), HYSGD_OK);
    struct event events[] = {sample_start(0, 0, 3),
                             sample_start(1, 0, 3),
                             sample_arrival(0, 123.4, 1, 0, 0.123456),
                             sample_arrival(1, 200, 1, 0, 0.123456),
                             sample_start(0, 200, 5),
                             sample_evaluation(234.5, 0.54321, 0.98765)};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(sink_progress.event(sink, &events[i]), HYSGD_OK);
    assert_int_equal(sink_progress.pulse(sink, 300), HYSGD_OK);
    assert_int_equal(sink_progress.end(sink, &sample_summary), HYSGD_OK);
}

/* What a terminal of this width is sent. The caller frees it. */
static char *show_on_terminal(int columns, enum progress_level level) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    struct termios settings;
    assert_int_equal(tcgetattr(terminal, &settings), 0);
    settings.c_oflag &= ~(tcflag_t)OPOST; /* "\n" stays "\n" */
    assert_int_equal(tcsetattr(terminal, TCSANOW, &settings), 0);
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    FILE *out = fdopen(terminal, "w");
    void *sink;
    assert_int_equal(sink_progress_alloc(out, level, &sink), HYSGD_OK);
    feed(sink, &sample_run);
    sink_progress_free(sink);
    char *text = calloc(1, 4096);
    fclose(out); /* so that reading ends */
    ssize_t length = 0, part;
    while ((part = read(master, text + length, 4095 - (size_t)length)) > 0)
        length += part;
    close(master);
    return text;
}

static void no_line_is_as_wide_as_the_terminal(void **state) {
    (void)state;
    const int widths[] = {40, 57, 80, 120, 500};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char *text = show_on_terminal(widths[i], PROGRESS_VERBOSE);
        int lines = 0;
        for (char *rest = text, *line; (line = strsep(&rest, "\r\n")) != NULL;) {
            assert_true(strlen(line) < (size_t)widths[i]);
            lines += line[0] != '\0';
        }
        assert_true(lines >= 3); /* evaluation, pulse, end */
        free(text);
    }
}

static void a_narrow_terminal_loses_fields_from_the_right(void **state) {
    (void)state;
    char *narrow = show_on_terminal(40, PROGRESS_NORMAL), *wide = show_on_terminal(160, PROGRESS_NORMAL);
    assert_non_null(strstr(narrow, "300.0 s  epoch 0.50/10  loss 0.1235"));
    assert_null(strstr(narrow, "waiting"));
    assert_null(strstr(narrow, "accuracy"));
    assert_non_null(strstr(wide, "accuracy 98.77 %"));
    assert_non_null(strstr(wide, "K 2  staleness 2.0  waiting "));
    free(narrow);
    free(wide);
}

static void the_line_is_rewritten_and_ends_with_a_newline(void **state) {
    (void)state;
    char *text = show_on_terminal(80, PROGRESS_NORMAL);
    assert_int_equal(text[0], '\r');
    size_t length = strlen(text);
    assert_int_equal(text[length - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + length - 1);
    free(text);
}

/* A display that is no terminal. */
struct plain {
    char *text; /* what it was sent, once it is closed; the caller frees it */
    size_t size;
    FILE *out;
    void *sink;
};

static void open_plain(struct plain *plain, enum progress_level level) {
    plain->out = open_memstream(&plain->text, &plain->size);
    assert_non_null(plain->out);
    assert_int_equal(sink_progress_alloc(plain->out, level, &plain->sink), HYSGD_OK);
}

static char *close_plain(struct plain *plain) {
    sink_progress_free(plain->sink);
    fclose(plain->out);
    return plain->text;
}

/* What it shows of the whole run. The caller frees it. */
static char *show_plain(const struct event_run *run, enum progress_level level) {
    struct plain plain;
    open_plain(&plain, level);
    feed(plain.sink, run);
    return close_plain(&plain);
}

/* What it shows of these events. The caller frees it. */
static char *show_events(const struct event *events, size_t count) {
    struct plain plain;
    open_plain(&plain, PROGRESS_NORMAL);
    assert_int_equal(sink_progress.begin(plain.sink, &sample_run), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sink_progress.event(plain.sink, &events[i]), HYSGD_OK);
    return close_plain(&plain);
}

static void without_a_terminal_an_evaluation_is_a_plain_line(void **state) {
    (void)state;
    char *text = show_plain(&sample_run, PROGRESS_NORMAL);
    /* 100 gradients of 32 samples in 234.5 s; worker 0 waited 76.6 s, worker 1 34.5 s, of 469 s together. */
    assert_string_equal(text, "234.5 s  epoch 0.50/10  loss 0.1235  test loss 0.5432  accuracy 98.77 %  "
                              "14 samples/s  K 2  staleness 2.0  waiting 24 %\n");
    free(text);
}

static void losses_go_by_the_name_that_the_run_gives_them(void **state) {
    (void)state;
    struct event_run run = sample_run;
    run.loss_name = "RMSE";
    run.accuracy_name = "AUC";
    char *text = show_plain(&run, PROGRESS_NORMAL);
    assert_non_null(strstr(text, "RMSE 0.1235  test RMSE 0.5432  AUC 98.77 %"));
    free(text);
}

/* The account at the end books it so, and the line must not tell of another run than the table. */
static void a_gradient_in_the_queue_is_a_worker_that_waits(void **state) {
    (void)state;
    struct event events[] = {sample_start(0, 0, 3), sample_arrival(0, 100, 40, 0, 0.5),
                             sample_evaluation(200, 0.5, 0.5)};
    events[1].arrival.queue_seconds = 60;
    char *text = show_events(events, sizeof events / sizeof *events);
    assert_non_null(strstr(text, "waiting 80 %")); /* 160 s of 200 s */
    free(text);
}

static void verbose_adds_lines_and_quiet_says_nothing(void **state) {
    (void)state;
    char *verbose = show_plain(&sample_run, PROGRESS_VERBOSE), *quiet = show_plain(&sample_run, PROGRESS_QUIET);
    assert_non_null(strstr(verbose, "\n300.0 s"));
    assert_string_equal(quiet, "");
    free(verbose);
    free(quiet);
}

static void the_nearest_limit_decides_the_position(void **state) {
    (void)state;
    struct event_run run = sample_run;
    run.limit_epochs = 0;
    run.limit_updates = 20000;
    char *text = show_plain(&run, PROGRESS_NORMAL);
    assert_non_null(strstr(text, "update 0/20.0k"));
    free(text);
}

static void a_lost_worker_is_told(void **state) {
    (void)state;
    const struct event events[] = {
        {.kind = EVENT_LOST, .worker = 1, .seconds = 12.34},
        {.kind = EVENT_LOST, .worker = 77, .seconds = 12.34}, /* out of range: told, but not booked */
    };
    char *text = show_events(events, sizeof events / sizeof *events);
    assert_string_equal(text, "worker 1 lost at 12.3 s\nworker 77 lost at 12.3 s\n");
    free(text);
}

static void a_return_is_told(void **state) {
    (void)state;
    const struct event restored = {.kind = EVENT_RESTORED,
                                   .worker = -1,
                                   .seconds = 12.34,
                                   .version = 300,
                                   .restored = {.received = 600, .undone = 40, .rank = 2}};
    char *text = show_events(&restored, 1);
    assert_string_equal(text, "rank 2 lost at 12.3 s: back to update 300, 40 gradients undone\n");
    free(text);
}

static void a_return_to_the_beginning_undoes_all_samples(void **state) {
    (void)state;
    struct event events[] = {sample_start(0, 0, 3),
                             sample_arrival(0, 100, 1, 0, 0.1),
                             {.kind = EVENT_RESTORED, .worker = -1, .seconds = 100, .restored = {.undone = 1}},
                             sample_evaluation(100, 0.5, 0.9)};
    events[1].arrival.batches = sample_run.train_count / sample_run.batch;
    events[3].evaluation.received = 0;
    char *text = show_events(events, sizeof events / sizeof *events);
    assert_non_null(strstr(text, "epoch 0.00/10"));
    free(text);
}

static void who_was_lost_before_a_return_does_not_wait(void **state) {
    (void)state;
    const struct event events[] = {
        sample_start(0, 0, 3),
        {.kind = EVENT_LOST, .worker = 1, .seconds = 0},
        sample_arrival(0, 100, 1, 0, 0.1),
        {.kind = EVENT_RESTORED, .worker = -1, .seconds = 100, .restored = {.received = 1, .kept = EVENT_NOT_HERE}},
        sample_start(0, 100, 3),
        sample_arrival(0, 200, 1, 0, 0.1),
        sample_evaluation(200, 0.5, 0.9)};
    char *text = show_events(events, sizeof events / sizeof *events);
    assert_non_null(strstr(text, "waiting 0 %"));
    free(text);
}

static void whoever_tells_of_losses_itself_is_quoted(void **state) {
    (void)state;
    struct plain plain;
    struct recorder *recorder;
    const struct event lost = {.kind = EVENT_LOST, .worker = 1, .seconds = 12.34};
    const struct event restored = {.kind = EVENT_RESTORED, .worker = -1, .seconds = 12.34, .version = 3};
    const struct event joined = {.kind = EVENT_JOINED, .worker = 1, .seconds = 12.5};
    open_plain(&plain, PROGRESS_NORMAL);
    assert_int_equal(recorder_alloc(16, &recorder), HYSGD_OK);
    assert_int_equal(recorder_add(recorder, &sink_progress, plain.sink), HYSGD_OK);
    assert_int_equal(recorder_begin(recorder, &sample_run), HYSGD_OK);
    assert_true(recorder_emit(recorder, &lost)); /* before it: in the view's own words */
    assert_int_equal(recorder_notice(recorder, "worker 1 is lost: rank 7 on host has ended"), HYSGD_OK);
    assert_true(recorder_emit(recorder, &lost));
    assert_true(recorder_emit(recorder, &restored));
    assert_true(recorder_emit(recorder, &joined));
    assert_int_equal(recorder_drain(recorder, 13), HYSGD_OK);
    recorder_free(recorder);
    char *text = close_plain(&plain);
    assert_string_equal(text, "worker 1 lost at 12.3 s\nworker 1 is lost: rank 7 on host has ended\n");
    free(text);
}

static void a_display_that_cannot_be_written_does_not_fail_the_run(void **state) {
    (void)state;
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    void *sink;
    assert_int_equal(sink_progress_alloc(out, PROGRESS_VERBOSE, &sink), HYSGD_OK);
    feed(sink, &sample_run);
    sink_progress_free(sink);
    fclose(out);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    size_t before = memory_used();
    uint64_t n = 1;
    for (;; n++) {
        void *sink = NULL;
        memory_fail_at(n);
        enum hysgd_status status = sink_progress_alloc(stderr, PROGRESS_QUIET, &sink);
        if (status == HYSGD_OK)
            status = sink_progress.begin(sink, &sample_run);
        memory_fail_at(0);
        sink_progress_free(sink);
        assert_int_equal(memory_used(), before);
        if (status == HYSGD_OK)
            break;
        assert_int_equal(status, HYSGD_MEMORY);
    }
    assert_int_equal(n, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_line_is_as_wide_as_the_terminal),
        cmocka_unit_test(a_narrow_terminal_loses_fields_from_the_right),
        cmocka_unit_test(the_line_is_rewritten_and_ends_with_a_newline),
        cmocka_unit_test(without_a_terminal_an_evaluation_is_a_plain_line),
        cmocka_unit_test(losses_go_by_the_name_that_the_run_gives_them),
        cmocka_unit_test(a_gradient_in_the_queue_is_a_worker_that_waits),
        cmocka_unit_test(verbose_adds_lines_and_quiet_says_nothing),
        cmocka_unit_test(the_nearest_limit_decides_the_position),
        cmocka_unit_test(a_lost_worker_is_told),
        cmocka_unit_test(a_return_is_told),
        cmocka_unit_test(a_return_to_the_beginning_undoes_all_samples),
        cmocka_unit_test(who_was_lost_before_a_return_does_not_wait),
        cmocka_unit_test(whoever_tells_of_losses_itself_is_quoted),
        cmocka_unit_test(a_display_that_cannot_be_written_does_not_fail_the_run),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
