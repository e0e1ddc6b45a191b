/* SPDX-License-Identifier: Apache-2.0 */
/* The measured times of workers, from the event log of a run or from a table. */
#ifndef HYSGD_TRAIN_TIMES_H
#define HYSGD_TRAIN_TIMES_H

#include <stdio.h>

#include "runtime/measured.h"
#include "train/description.h"

/* What there is besides the times. NaN and NULL: not known, as everything of a table is. */
struct times {
    struct measured measured;
    bool is_log;
    bool is_cut;      /* the log ends before its run */
    char *policy;     /* of the recorded run, in the user's words; owned */
    uint64_t updates; /* that the run applied in `seconds` */
    double seconds;
    double test_loss, test_accuracy; /* of its latest evaluation */
    uint64_t train_count;            /* samples in the training set */
    uint64_t estimated;              /* gradients that were not delivered, see times_read_log */
    uint64_t lost;                   /* workers that left for good */
};

/* Reads a log or a table, whichever the file is. Options of the log's run become those of the description that were
 * not given, except for limits if one was given, for files, and for what the measured times stand for. HYSGD_INPUT
 * names the file, the place and what was expected there. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status times_read(struct times *times, const char *path,
                                              struct description *description);
void times_fini(struct times *times);

/* The reader of logs, for tests. A log tells when a gradient was received and how long it had waited; what is left
 * after the server's previous deed is the time in which the server took it in. How late a worker starts after the
 * server's latest deed counts as computing. The time of a gradient that was
 * given up is only known to be more than was spent on it: it is taken to be that of the worker's next delivered one
 * that took longer, or what was spent where none did. */
HYSGD_MUST_CHECK enum hysgd_status times_read_log(struct times *times, const char *path,
                                                  struct description *description);

/* The reader of tables: lines with numbers between commas, the first line naming the columns `worker` (from 0),
 * `compute` (seconds) and, where wanted, `transit` (seconds), in any order; empty lines and lines that begin with #
 * are passed over. A worker's times are in the order of its lines. `name` is for messages. */
HYSGD_MUST_CHECK enum hysgd_status times_read_table(struct measured *measured, FILE *file, const char *name);

/* Every worker must have times, and not only zeros. HYSGD_INPUT; `name` is for the message. */
HYSGD_MUST_CHECK enum hysgd_status times_check(const struct measured *measured, const char *name);

#endif
