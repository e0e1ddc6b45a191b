/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run in the numbers of the public result, and as JSON. */
#ifndef HYSGD_TRAIN_RESULT_H
#define HYSGD_TRAIN_RESULT_H

#include <stdio.h>

#include "base/status.h"
#include "record/event.h"

/* Adds up the workers' accounts. */
void result_fill(const struct event_summary *summary, struct hysgd_result *result_out);

/* Prints one JSON object on one line; numbers that do not exist are null. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status result_print_json(const struct event_summary *summary, FILE *out);

#endif
