/* SPDX-License-Identifier: Apache-2.0 */
/* What recording costs: seconds of CPU per gradient (its start, arrival and update) for each form of the event log,
 * written to a file in the working directory, and their share of a gradient of lenet on digits with a batch of 32,
 * computed by one thread. Medians of several runs. Ends with 1 when the
 * compact form takes more than the bar. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "record/log_reader.h"
#include "record/sinks.h"

/* Per cent of a gradient. */
#define BAR 2.0

enum { EVENTS = 3000, REPEATS = 100, RUNS = 5 };

static const char log_path[] = "bench_log.hylog", sink_path[] = "bench_log.tmp";

/* Of this thread: other work on the machine does not count. */
static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare_reals(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double values[RUNS]) {
    qsort(values, RUNS, sizeof values[0], compare_reals);
    return values[RUNS / 2];
}

/* Trains for so many gradients in this thread. */
static enum hysgd_status train(const char *gradients, const char *log, double *seconds_out) {
    const char *const options[][2] = {
        {"runtime", "virtual"},  {"model", "lenet"},       {"data", "digits,train=2000,test=100"},
        {"workers", "8"},        {"policy", "async"},      {"speeds", "7x1,0.3"},
        {"eval-every", "never"}, {"gradients", gradients}, {"log", log},
        {"compute", "lognormal"}};
    struct hysgd_job *job;
    struct hysgd_result result;
    HYSGD_TRY(hysgd_job_alloc(&job));
    enum hysgd_status status = HYSGD_OK;
    for (size_t i = 0; i < sizeof options / sizeof *options && status == HYSGD_OK; i++)
        status = hysgd_job_set(job, options[i][0], options[i][1]);
    double begun = now_seconds();
    if (status == HYSGD_OK)
        status = hysgd_job_run(job, &result);
    *seconds_out = now_seconds() - begun;
    hysgd_job_free(job);
    return status;
}

/* What a gradient takes beyond the making of the data and the last evaluation. */
static enum hysgd_status time_gradient(double *seconds_out) {
    double seconds[RUNS], few, many;
    for (int i = 0; i < RUNS; i++) {
        HYSGD_TRY(train("50", "", &few));
        HYSGD_TRY(train("250", "", &many));
        seconds[i] = (many - few) / 200;
    }
    *seconds_out = median(seconds);
    return HYSGD_OK;
}

static enum hysgd_status read_events(struct log_reader *reader, struct event *events, size_t *count_out) {
    bool has_event = true;
    *count_out = 0;
    while (has_event && *count_out < EVENTS) {
        HYSGD_TRY(log_reader_next(reader, &events[*count_out], &has_event));
        *count_out += has_event;
    }
    return HYSGD_OK;
}

struct form {
    const char *name;
    double bar; /* per cent of a gradient */
    const struct sink_ops *ops;
    enum hysgd_status (*alloc)(const char *path, void **self_out);
    void (*free)(void *self);
};

/* Writes the events again and again, pulsing as often as the threads runtime does at most. */
static enum hysgd_status write_events(const struct form *form, const struct event_run *run,
                                      const struct event *events, size_t count, double *seconds_out) {
    void *sink;
    HYSGD_TRY(form->alloc(sink_path, &sink));
    enum hysgd_status status = form->ops->begin(sink, run);
    double begun = now_seconds();
    for (int repeat = 0; repeat < REPEATS; repeat++)
        for (size_t i = 0; i < count && status == HYSGD_OK; i++) {
            status = form->ops->event(sink, &events[i]);
            if (i % 16 == 0 && status == HYSGD_OK)
                status = form->ops->pulse(sink, events[i].seconds);
        }
    *seconds_out = now_seconds() - begun;
    form->free(sink);
    return status;
}

static enum hysgd_status print_form(const struct form *form, const struct event_run *run,
                                    const struct event *events, size_t count, double gradient) {
    double seconds[RUNS], gradients = 0;
    struct stat file = {0};
    for (size_t i = 0; i < count; i++)
        gradients += events[i].kind == EVENT_ARRIVAL;
    for (int i = 0; i < RUNS; i++)
        HYSGD_TRY(write_events(form, run, events, count, &seconds[i]));
    stat(sink_path, &file);
    unlink(sink_path);
    double each = median(seconds) / REPEATS / gradients, share = 100 * each / gradient;
    printf("%-12s %14.1f %14.2f %16.3f\n", form->name, (double)file.st_size / REPEATS / gradients, 1e6 * each,
           share);
    if (share > form->bar)
        return hysgd_fail(HYSGD_FAILED, "the %s log takes %.3g %% of a gradient: expected at most %g %%",
                          form->name, share, form->bar);
    return HYSGD_OK;
}

static enum hysgd_status print_forms(struct log_reader *reader, double gradient) {
    static const struct form forms[] = {{"compact", BAR, &sink_log, sink_log_alloc, sink_log_free},
                                        {"JSON lines", 100, &sink_jsonl, sink_jsonl_alloc, sink_jsonl_free},
                                        {"trace", 100, &sink_trace, sink_trace_alloc, sink_trace_free}};
    struct event events[EVENTS];
    size_t count;
    HYSGD_TRY(read_events(reader, events, &count));
    printf("a gradient of lenet: %.3f ms\n\n%-12s %14s %14s %16s\n", 1e3 * gradient, "", "bytes a grad.",
           "us a gradient", "% of a gradient");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        HYSGD_TRY(print_form(&forms[i], log_reader_run(reader), events, count, gradient));
    return HYSGD_OK;
}

int main(void) {
    struct log_reader *reader = NULL;
    double gradient = 0, logged;
    enum hysgd_status status = time_gradient(&gradient);
    if (status == HYSGD_OK)
        status = train("1000", log_path, &logged);
    if (status == HYSGD_OK)
        status = log_reader_open(log_path, &reader);
    if (status == HYSGD_OK)
        status = print_forms(reader, gradient);
    log_reader_close(reader);
    unlink(log_path);
    if (status != HYSGD_OK)
        fprintf(stderr, "bench_log: %s\n", hysgd_error_message());
    return hysgd_status_exit_code(status);
}
