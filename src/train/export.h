/* SPDX-License-Identifier: Apache-2.0 */
/* The views of a recorded log. */
#ifndef HYSGD_TRAIN_EXPORT_H
#define HYSGD_TRAIN_EXPORT_H

#include "record/log_reader.h"
#include "train/views.h"

struct export_result {
    uint64_t events;
    bool is_cut;       /* the log ends before its run does */
    uint64_t bytes;    /* of the log, up to its end or its cut */
    char unknown[160]; /* the first kind or field of the log that this program does not know; "": it knows all */
};

/* What a reader that has read all it could says about its log, but for the number of events. */
void export_note(const struct log_reader *reader, struct export_result *result);

/* Reads the log and writes the views that are wanted, of what there is where the log was cut. HYSGD_INPUT,
 * HYSGD_OUTPUT, HYSGD_USAGE when none is wanted or a path cannot be written. */
HYSGD_MUST_CHECK enum hysgd_status export_log(const char *path, const struct views_paths *paths,
                                              struct export_result *result_out);

#endif
