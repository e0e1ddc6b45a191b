/* SPDX-License-Identifier: Apache-2.0 */
/* Literal events and runs for the tests of the record layer, and a file that a test may write. */
#ifndef HYSGD_TESTS_RECORD_SAMPLES_H
#define HYSGD_TESTS_RECORD_SAMPLES_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record/event.h"

static const char *const sample_options[][2] = {{"policy", "threshold,step=300"}, {"seed", "1"}};

static const struct event_run sample_run = {
    .title = "threshold,step=300",
    .description = sample_options,
    .description_count = 2,
    .runtime = "virtual",
    .workers = 2,
    .batch = 32,
    .train_count = 6400,
    .parameter_count = 7,
    .limit_epochs = 10,
    .program = "hysgd",
    .loss_name = "",
    .accuracy_name = "",
};

static inline struct event sample_start(int worker, double seconds, uint64_t version) {
    return (struct event){.kind = EVENT_START, .worker = worker, .seconds = seconds, .version = version};
}

static inline struct event sample_arrival(int worker, double seconds, double compute, double transit, double loss) {
    return (struct event){.kind = EVENT_ARRIVAL,
                          .worker = worker,
                          .seconds = seconds,
                          .version = 5,
                          .arrival = {.read = 3,
                                      .weight = 1,
                                      .batches = 1,
                                      .loss = loss,
                                      .compute_seconds = compute,
                                      .transit_seconds = transit,
                                      .pull_seconds = (double)NAN,
                                      .push_seconds = (double)NAN,
                                      .threshold = 2,
                                      .held = 1}};
}

static inline struct event sample_update(double seconds, uint64_t version) {
    return (struct event){.kind = EVENT_UPDATE,
                          .worker = -1,
                          .seconds = seconds,
                          .version = version,
                          .update = {.gradients = 2, .weight = 2, .rate = 0.1, .threshold = 2}};
}

static inline struct event sample_evaluation(double seconds, double loss, double accuracy) {
    return (struct event){.kind = EVENT_EVALUATION,
                          .worker = -1,
                          .seconds = seconds,
                          .version = 6,
                          .evaluation = {.loss = loss, .accuracy = accuracy, .epochs = 0.5, .received = 100}};
}

static const struct event_account sample_accounts[2] = {
    {.received = 60,
     .applied = 50,
     .dropped = 10,
     .compute_seconds = 6,
     .transit_seconds = 1,
     .waiting_seconds = 3,
     .share = {0.6, 0.5}},
    {.received = 40,
     .applied = 40,
     .compute_seconds = 8,
     .waiting_seconds = 2,
     .most_staleness = 4,
     .staleness_sum = 20,
     .share = {0.4, 0.5}},
};

static const struct event_share sample_classes[2] = {{0.5, 0.25}, {0.5, 0.75}};

static const struct event_summary sample_summary = {
    .reason = "epochs",
    .seconds = 10,
    .updates = 45,
    .server_seconds = 2.5,
    .train_loss = 0.25,
    .test_loss = 0.5,
    .test_accuracy = 0.875,
    .target_seconds = (double)NAN,
    .accounts = sample_accounts,
    .workers = 2,
    .classes = sample_classes,
    .class_count = 2,
};

/* A new empty file; the path is in `path`, the caller unlinks it. */
static inline void sample_file(char path[64]) {
    strcpy(path, "/tmp/hysgd-record-XXXXXX");
    int descriptor = mkstemp(path);
    if (descriptor < 0)
        abort();
    close(descriptor);
}

/* The whole file as a text that the caller frees. */
static inline char *sample_read(const char *path) {
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    if (file == NULL || getdelim(&text, &size, '\0', file) < 0) {
        free(text);
        text = strdup("");
    }
    if (file != NULL)
        fclose(file);
    return text;
}

#endif
