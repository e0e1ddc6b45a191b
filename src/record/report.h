/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a run that goes on, in two parts: a page that never changes, and the data that it asks for. */
#ifndef HYSGD_RECORD_REPORT_H
#define HYSGD_RECORD_REPORT_H

#include <stdio.h>

#include "record/history.h"

/* A moment of a run. */
struct report_moment {
    const struct history *history;       /* has begun */
    const struct event_summary *summary; /* so far; not looked at when the history has ended */
    uint64_t serial;                     /* grows from moment to moment */
};

/* The page; it loads its data from `data?after=SERIAL` beside it. What cannot be written shows in the stream.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status report_print_page(FILE *stream, const char *title);

/* The data of a moment as JSON: what report_write puts into its file, with coarser timelines. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status report_print_data(FILE *stream, const struct report_moment *moment);

#endif
