/* SPDX-License-Identifier: Apache-2.0 */
/* One report about the runs of several recorded logs. */
#ifndef HYSGD_TRAIN_OVERLAY_H
#define HYSGD_TRAIN_OVERLAY_H

#include "train/export.h"

#define OVERLAY_MOST_LOGS 64

/* Reads the logs [count, 1 to OVERLAY_MOST_LOGS] and writes the report to `out`, of what there is where a log was
 * cut; `title` "": the policy of the run, or how many runs are compared. `results_out` [count] is written in any
 * case, for logs that were not read with zeros. HYSGD_INPUT, HYSGD_OUTPUT, HYSGD_USAGE when `out` cannot be written
 * or is a log. */
HYSGD_MUST_CHECK enum hysgd_status overlay_write(const char *const *logs, size_t count, const char *title,
                                                 const char *out, struct export_result *results_out);

#endif
