/* SPDX-License-Identifier: Apache-2.0 */
/* The files in which the events of a run can be seen, live or from a log. */
#ifndef HYSGD_TRAIN_VIEWS_H
#define HYSGD_TRAIN_VIEWS_H

#include "record/sinks.h"

/* Where they go; "": not wanted. */
struct views_paths {
    const char *log;         /* compact */
    const char *jsonl;       /* every event as JSON lines */
    const char *csv;         /* a row per evaluation */
    const char *tensorboard; /* a directory */
    const char *trace;       /* for Perfetto */
    const char *report;      /* HTML */
    const char *serve;       /* no file: the address of the live view */
};

#define VIEWS_MOST 6

/* Zeroed: none. */
struct views {
    void *sinks[VIEWS_MOST]; /* by row of the table in views.c; NULL: not wanted */
    struct history *history; /* NULL: not wanted */
};

/* Whether a path is set. */
bool views_are_wanted(const struct views_paths *paths);

/* Opens them and adds them to the recorder, which they must outlive. `wants_history` keeps the curves also where no
 * report is wanted. HYSGD_OUTPUT, HYSGD_MEMORY. Safe to close when it fails. */
HYSGD_MUST_CHECK enum hysgd_status views_open(struct views *views, const struct views_paths *paths,
                                              bool wants_history, struct recorder *recorder);
void views_close(struct views *views);

/* Opens more of them, which must not be open yet. */
HYSGD_MUST_CHECK enum hysgd_status views_add(struct views *views, const struct views_paths *paths,
                                             struct recorder *recorder);

/* Goes on with a file of another process, the compact log's first `bytes` bytes, or those of the path at this
 * offset; it is to be adopted. HYSGD_OUTPUT. */
HYSGD_MUST_CHECK enum hysgd_status views_continue(struct views *views, const struct views_paths *paths,
                                                  uint64_t bytes);
HYSGD_MUST_CHECK enum hysgd_status views_continue_lines(struct views *views, const struct views_paths *paths,
                                                        size_t path, uint64_t bytes);

/* Adds all that are open, and have begun elsewhere, to another recorder. */
HYSGD_MUST_CHECK enum hysgd_status views_adopt(const struct views *views, struct recorder *recorder);

/* After the recorder has ended: writes what needs the whole run, the report. */
HYSGD_MUST_CHECK enum hysgd_status views_finish(const struct views *views, const struct views_paths *paths,
                                                const char *title);

#endif
