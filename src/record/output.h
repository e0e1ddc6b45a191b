/* SPDX-License-Identifier: Apache-2.0 */
/* A file that a sink writes: every failure becomes HYSGD_OUTPUT with the path and the system's reason. */
#ifndef HYSGD_RECORD_OUTPUT_H
#define HYSGD_RECORD_OUTPUT_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* Large, zeroed before output_open; lives inside an allocated sink. Not to be moved while open. */
struct output {
    FILE *stream;           /* NULL: closed */
    char *path;             /* as the user gave it; "-" is standard output, which is flushed, never closed */
    char *temporary;        /* where the bytes are until output_close; NULL: in `path` itself */
    double flushed_seconds; /* when output_pulse last flushed, on the system's monotonic clock */
    char buffer[1 << 16];
};

/* Opens for writing from the beginning. A regular file is this output's alone while it is open: HYSGD_OUTPUT where
 * another process, or another output of this one, writes to it; it is left as it is then. */
HYSGD_MUST_CHECK enum hysgd_status output_open(struct output *output, const char *path);

/* As output_open, but the path changes only when output_close succeeds: the bytes go to a temporary file beside it,
 * which is then renamed. What is not a regular file (a device, a pipe) is written directly. */
HYSGD_MUST_CHECK enum hysgd_status output_open_whole(struct output *output, const char *path);

/* Goes on with the first `bytes` bytes of a regular file, in a new file that takes its place: whoever still writes
 * to the old one changes nothing any more. */
HYSGD_MUST_CHECK enum hysgd_status output_continue(struct output *output, const char *path, uint64_t bytes);

/* HYSGD_OUTPUT when something since the opening could not be written. Does not flush. */
HYSGD_MUST_CHECK enum hysgd_status output_check(struct output *output);

/* Lets readers see what was written so far. */
HYSGD_MUST_CHECK enum hysgd_status output_flush(struct output *output);

/* Whether it is time to flush: true at most four times a second, however often it is called. */
bool output_is_due(struct output *output);

/* Flushes when it is time. */
HYSGD_MUST_CHECK enum hysgd_status output_pulse(struct output *output);

/* Flushes, closes, and puts the file in its place. */
HYSGD_MUST_CHECK enum hysgd_status output_close(struct output *output);

/* Closes without judging, and removes a temporary file. Safe on a zeroed output and after output_close. */
void output_fini(struct output *output);

#endif
