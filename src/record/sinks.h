/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks there are: what a run's events are turned into. Each is made, added to a recorder, and freed after
 * recorder_end. */
#ifndef HYSGD_RECORD_SINKS_H
#define HYSGD_RECORD_SINKS_H

#include "record/recorder.h"

/* The event log in its compact form, see log_format.h; log_reader.h reads it. HYSGD_OUTPUT names the path. A reader
 * that goes away (a closed pipe) is such a failure, never a signal that ends the run. */
extern const struct sink_ops sink_log;
HYSGD_MUST_CHECK enum hysgd_status sink_log_alloc(const char *path, void **self_out);
void sink_log_free(void *self);

/* Goes on with the first `bytes` bytes of a log, whole blocks, that another process has begun: adopt it.
 * HYSGD_OUTPUT. */
HYSGD_MUST_CHECK enum hysgd_status sink_log_continue(const char *path, uint64_t bytes, void **self_out);

/* The same as JSON lines: a header line with version and run, a line per event, a line with the summary. */
extern const struct sink_ops sink_jsonl;
HYSGD_MUST_CHECK enum hysgd_status sink_jsonl_alloc(const char *path, void **self_out);
void sink_jsonl_free(void *self);

/* Likewise, with whole lines. */
HYSGD_MUST_CHECK enum hysgd_status sink_jsonl_continue(const char *path, uint64_t bytes, void **self_out);

/* A CSV row per evaluation: seconds, epochs, received, updates, threshold, mean_staleness, train_loss, test_loss,
 * test_accuracy. */
extern const struct sink_ops sink_csv;
HYSGD_MUST_CHECK enum hysgd_status sink_csv_alloc(const char *path, void **self_out);
void sink_csv_free(void *self);

/* Likewise; the means of its next row are of what comes from now on. */
HYSGD_MUST_CHECK enum hysgd_status sink_csv_continue(const char *path, uint64_t bytes, void **self_out);

/* A trace for Perfetto: a track per worker, one per worker with gradients held, one of the updates, and counters.
 */
extern const struct sink_ops sink_trace;
HYSGD_MUST_CHECK enum hysgd_status sink_trace_alloc(const char *path, void **self_out);
void sink_trace_free(void *self);

/* A file for TensorBoard in the directory `path`, which is made if it is not there: scalars (losses, accuracy,
 * threshold, staleness, rate, waiting) and histograms (staleness, compute seconds per worker). HYSGD_USAGE in a
 * build without the libraries for it. */
extern const struct sink_ops sink_tensorboard;
HYSGD_MUST_CHECK enum hysgd_status sink_tensorboard_alloc(const char *path, void **self_out);
void sink_tensorboard_free(void *self);

/* A live view over HTTP at `address`, see serve_request.h: the report of the run while it goes on, and metrics for
 * Prometheus. Read-only; readers, however slow or many, never make the run wait, but for a second at its end, in
 * which they may fetch that. HYSGD_OUTPUT when the port cannot be opened; HYSGD_USAGE in a build without the
 * library. */
extern const struct sink_ops sink_serve;
HYSGD_MUST_CHECK enum hysgd_status sink_serve_alloc(const char *address, void **self_out);
void sink_serve_free(void *self);

enum progress_level { PROGRESS_QUIET, PROGRESS_NORMAL, PROGRESS_VERBOSE };

/* One line a second: samples/s, loss, accuracy, threshold, staleness, waiting share, time left; rewritten in place
 * and fitted to the terminal's width where `out` is a terminal, a plain line at each evaluation (verbose: every
 * second) where not. */
extern const struct sink_ops sink_progress;
HYSGD_MUST_CHECK enum hysgd_status sink_progress_alloc(FILE *out, enum progress_level level, void **self_out);
void sink_progress_free(void *self);

/* The curves and timelines of one run, thinned to a bounded size whatever the run's length: what the report draws.
 */
struct history;
extern const struct sink_ops sink_history;
HYSGD_MUST_CHECK enum hysgd_status history_alloc(struct history **history_out);
void history_free(struct history *history);

/* Says where the run that it holds comes from, once the run has begun: the path of its log. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status history_name(struct history *history, const char *source);

/* Writes one self-contained HTML file about one or several runs; charts by dygraphs, inlined. Written whole or not
 * at all. */
HYSGD_MUST_CHECK enum hysgd_status report_write(const char *path, const char *title,
                                                const struct history *const *histories, size_t count);

/* The run as text: accounting per worker and the totals, fitted to `columns`. */
void summary_print(const struct event_summary *summary, int columns, FILE *out);

#endif
