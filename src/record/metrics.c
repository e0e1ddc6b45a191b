/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics for Prometheus, text format 0.0.4: see metrics.h. Counters begin at 0 with the program, also in a run
 * that was resumed, but for the updates, which are the version. */
#include "record/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "record/encode.h"

#define NUMBER(value) encode_number((value), 0, "NaN", (char[ENCODE_NUMBER_SIZE]){0})

static void head(FILE *stream, const char *name, const char *type, const char *help) {
    fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and the end of a line are escaped. */
static void print_value(FILE *stream, const char *text) {
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            fputc('\\', stream);
        if (*text == '\n')
            fputs("\\n", stream);
        else
            fputc(*text, stream);
    }
    fputc('"', stream);
}

static void print_info(FILE *stream, const struct event_run *run) {
    head(stream, "hysgd_run_info", "gauge", "The run, as labels.");
    fputs("hysgd_run_info{policy=", stream);
    print_value(stream, run->title);
    fputs(",runtime=", stream);
    print_value(stream, run->runtime);
    fprintf(stream, ",workers=\"%d\",batch=\"%" PRIu64 "\",parameters=\"%" PRIu64 "\"} 1\n", run->workers,
            run->batch, run->parameter_count);
}

static void print_one(FILE *stream, const char *name, const char *type, const char *help, double value) {
    head(stream, name, type, help);
    fprintf(stream, "%s %s\n", name, NUMBER(value));
}

/* Where evaluations are missing so are their metrics. */
static void print_known(FILE *stream, const char *name, const char *help, double value) {
    if (isfinite(value))
        print_one(stream, name, "gauge", help, value);
}

#define AT(field) offsetof(struct event_account, field)

/* A metric of each worker. */
static const struct worker_metric {
    const char *name, *type, *help; /* help NULL: goes on with the metric before */
    const char *labels;             /* besides the worker */
    size_t offset;
    bool is_count; /* a uint64_t; else a double */
} worker_metrics[] = {
    {"hysgd_gradients_received_total", "counter", "Gradients that reached the server.", "", AT(received), true},
    {"hysgd_gradients_total", "counter", "Gradients whose fate is decided.", ",fate=\"applied\"", AT(applied),
     true},
    {"hysgd_gradients_total", "counter", NULL, ",fate=\"dropped\"", AT(dropped), true},
    {"hysgd_gradients_total", "counter", NULL, ",fate=\"abandoned\"", AT(abandoned), true},
    {"hysgd_gradients_held", "gauge", "Gradients that wait for an update.", "", AT(held), true},
    {"hysgd_worker_seconds_total", "counter", "What the worker spent its time with.", ",activity=\"compute\"",
     AT(compute_seconds), false},
    {"hysgd_worker_seconds_total", "counter", NULL, ",activity=\"transit\"", AT(transit_seconds), false},
    {"hysgd_worker_seconds_total", "counter", NULL, ",activity=\"waiting\"", AT(waiting_seconds), false},
    {"hysgd_worker_seconds_total", "counter", NULL, ",activity=\"abandoned\"", AT(abandoned_seconds), false},
    {"hysgd_staleness_versions_total", "counter", "Sum of the staleness of the applied gradients.", "",
     AT(staleness_sum), false},
    {"hysgd_staleness_most_versions", "gauge", "Largest staleness of an applied gradient.", "", AT(most_staleness),
     true},
};

static void print_workers(FILE *stream, const struct event_summary *summary) {
    for (size_t i = 0; i < sizeof worker_metrics / sizeof worker_metrics[0]; i++) {
        const struct worker_metric *metric = &worker_metrics[i];
        if (metric->help != NULL)
            head(stream, metric->name, metric->type, metric->help);
        for (int worker = 0; worker < summary->workers; worker++) {
            const char *at = (const char *)&summary->accounts[worker] + metric->offset;
            fprintf(stream, "%s{worker=\"%d\"%s} ", metric->name, worker, metric->labels);
            if (metric->is_count)
                fprintf(stream, "%" PRIu64 "\n", *(const uint64_t *)at);
            else
                fprintf(stream, "%s\n", NUMBER(*(const double *)at));
        }
    }
}

void metrics_print(FILE *stream, const struct report_moment *moment) {
    const struct history *history = moment->history;
    const struct event_summary *summary = history->has_ended ? &history->summary : moment->summary;
    print_info(stream, &history->run);
    print_one(stream, "hysgd_running", "gauge", "1 while the run goes on.", history->has_ended ? 0 : 1);
    print_one(stream, "hysgd_run_seconds", "gauge", "The run's clock.", history->seconds);
    print_one(stream, "hysgd_updates_total", "counter",
              "Updates of the parameters, those before a resumed run too.", (double)summary->updates);
    print_one(stream, "hysgd_forced_updates_total", "counter",
              "Updates before the threshold, because nobody could go on otherwise.",
              (double)summary->forced_updates);
    print_one(stream, "hysgd_server_seconds_total", "counter", "In which the server was busy with updates.",
              summary->server_seconds);
    if (history->threshold.count > 0)
        print_one(stream, "hysgd_threshold", "gauge", "Gradients that an update needs.",
                  history->threshold.steps[history->threshold.count - 1].value);
    print_known(stream, "hysgd_train_loss", "Mean over the gradients between the latest two evaluations.",
                summary->train_loss);
    print_known(stream, "hysgd_test_loss", "At the latest evaluation.", summary->test_loss);
    print_known(stream, "hysgd_test_accuracy", "At the latest evaluation, 0 to 1.", summary->test_accuracy);
    print_workers(stream, summary);
}
