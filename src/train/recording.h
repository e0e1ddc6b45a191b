/* SPDX-License-Identifier: Apache-2.0 */
/* Everyone who looks at the events of a run: the views that its description names, and those that are added to
 * them.
 */
#ifndef HYSGD_TRAIN_RECORDING_H
#define HYSGD_TRAIN_RECORDING_H

#include "record/recorder.h"
#include "train/description.h"
#include "train/views.h"

/* A view of the events that is added to those of the description; borrowed. */
struct run_sink {
    const struct sink_ops *ops;
    void *self;
};

/* Events between two drains; the emitter waits for the drainer where that is not enough. */
#define RECORDING_EVENTS 32768

/* Zeroed: nobody looks. */
struct recording {
    struct recorder *recorder; /* NULL: nobody looks */
    struct views_paths paths;
    struct views views;
    struct log_reader *reader;           /* of the log that is gone on with, as views refer to its run; or NULL */
    char own_csv[4096], own_trace[4096]; /* paths, where they are not those of the words */
};

/* Where the words have the files. They are borrowed. */
struct views_paths recording_paths(const struct description *words);

/* Opens the files that are written. There is room for so many `events` between two drains (RECORDING_EVENTS where
 * nobody knows better). `wants_history` keeps the curves also where the description names no report.
 * HYSGD_OUTPUT, HYSGD_MEMORY. Safe to close when it fails. The words are borrowed. */
HYSGD_MUST_CHECK enum hysgd_status recording_open(struct recording *recording, const struct description *words,
                                                  size_t events, const struct run_sink *sinks, size_t sink_count,
                                                  bool wants_history);
void recording_close(struct recording *recording);

/* The end for the sinks and the report. The first failure counts, that of the run before any other, with its
 * `message`; an interrupt is none. */
HYSGD_MUST_CHECK enum hysgd_status recording_end(struct recording *recording, enum hysgd_status status,
                                                 const char *message, const struct event_summary *summary,
                                                 const char *title);

#endif
