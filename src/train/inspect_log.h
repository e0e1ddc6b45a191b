/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an event log: its run, how many events of each kind, and how the clocks of its ranks compare. */
#ifndef HYSGD_TRAIN_INSPECT_LOG_H
#define HYSGD_TRAIN_INSPECT_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

/* Whether a file begins as an event log does; false also where it cannot be read. */
bool inspect_is_log(const char *path);

/* Prints what is in a log, as text or as JSON. HYSGD_INPUT. */
HYSGD_MUST_CHECK enum hysgd_status inspect_log_print(const char *path, bool is_json, FILE *out);

#endif
