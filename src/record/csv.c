/* SPDX-License-Identifier: Apache-2.0 */
/* The curves of a run as a table: a header and a row per evaluation. mean_staleness (of the gradients that were not
 * dropped) and train_loss (of all gradients) are means over what arrived since the row before; a cell is empty
 * where there is no value. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "base/memory.h"
#include "record/encode.h"
#include "record/output.h"
#include "record/sinks.h"

struct csv {
    struct output output;
    uint64_t threshold; /* at the latest arrival or update; 0: none yet */
    /* Since the row before: */
    uint64_t admitted, losses; /* gradients; those of them and of the dropped ones whose loss is a number */
    double staleness_sum, loss_sum;
};

/* Frees one that could not be opened. */
static enum hysgd_status note_opened(struct csv *csv, enum hysgd_status status, void **self_out) {
    if (status == HYSGD_OK)
        *self_out = csv;
    else
        sink_csv_free(csv);
    return status;
}

enum hysgd_status sink_csv_alloc(const char *path, void **self_out) {
    struct csv *csv;
    HYSGD_TRY(memory_alloc(1, sizeof *csv, &csv));
    return note_opened(csv, output_open(&csv->output, path), self_out);
}

enum hysgd_status sink_csv_continue(const char *path, uint64_t bytes, void **self_out) {
    struct csv *csv;
    HYSGD_TRY(memory_alloc(1, sizeof *csv, &csv));
    return note_opened(csv, output_continue(&csv->output, path, bytes), self_out);
}

void sink_csv_free(void *self) {
    struct csv *csv = self;
    if (csv == NULL)
        return;
    output_fini(&csv->output);
    memory_free(csv);
}

static enum hysgd_status csv_begin(void *self, const struct event_run *run) {
    (void)run;
    struct csv *csv = self;
    fputs("seconds,epochs,received,updates,threshold,mean_staleness,train_loss,test_loss,test_accuracy\n",
          csv->output.stream);
    return output_check(&csv->output);
}

/* The number or, for what is missing, an empty cell; in a buffer that lives as long as the enclosing block. */
#define CELL(value) encode_number((value), 0, "", (char[ENCODE_NUMBER_SIZE]){0})

static double mean(double sum, uint64_t count) {
    return count > 0 ? sum / (double)count : (double)NAN;
}

static enum hysgd_status write_row(struct csv *csv, const struct event *event) {
    double threshold = csv->threshold > 0 ? (double)csv->threshold : (double)NAN;
    errno = 0;
    fprintf(csv->output.stream, "%s,%s,%" PRIu64 ",%" PRIu64 ",%s,%s,%s,%s,%s\n", CELL(event->seconds),
            CELL(event->evaluation.epochs), event->evaluation.received, event->version, CELL(threshold),
            CELL(mean(csv->staleness_sum, csv->admitted)), CELL(mean(csv->loss_sum, csv->losses)),
            CELL(event->evaluation.loss), CELL(event->evaluation.accuracy));
    csv->admitted = csv->losses = 0;
    csv->staleness_sum = csv->loss_sum = 0;
    return output_check(&csv->output);
}

static enum hysgd_status csv_event(void *self, const struct event *event) {
    struct csv *csv = self;
    if (event->kind == EVENT_EVALUATION)
        return write_row(csv, event);
    if (event->kind == EVENT_UPDATE)
        csv->threshold = event->update.threshold;
    if (event->kind != EVENT_ARRIVAL)
        return HYSGD_OK;
    csv->threshold = event->arrival.threshold;
    if (isfinite(event->arrival.loss)) {
        csv->losses++;
        csv->loss_sum += event->arrival.loss;
    }
    if (event->arrival.weight > 0) {
        csv->admitted++;
        csv->staleness_sum += (double)(event->version - event->arrival.read);
    }
    return HYSGD_OK;
}

static enum hysgd_status csv_pulse(void *self, double seconds) {
    (void)seconds;
    struct csv *csv = self;
    return output_pulse(&csv->output);
}

static enum hysgd_status csv_flush(void *self) {
    struct csv *csv = self;
    return output_flush(&csv->output);
}

static enum hysgd_status csv_end(void *self, const struct event_summary *summary) {
    (void)summary;
    struct csv *csv = self;
    return output_close(&csv->output);
}

const struct sink_ops sink_csv = {
    .begin = csv_begin, .event = csv_event, .pulse = csv_pulse, .flush = csv_flush, .end = csv_end};
