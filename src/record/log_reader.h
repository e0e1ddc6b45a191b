/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a compact event log back: the run, its events in their order, and its end. */
#ifndef HYSGD_RECORD_LOG_READER_H
#define HYSGD_RECORD_LOG_READER_H

#include <stdio.h>

#include "base/status.h"
#include "record/event.h"

struct log_reader; /* opaque */

/* Opens a log and reads it up to its first event. HYSGD_INPUT names the file, the byte and what is wrong there: not
 * a log, one of another version, one that is damaged or was cut before its run was described. */
HYSGD_MUST_CHECK enum hysgd_status log_reader_open(const char *path, struct log_reader **reader_out);

/* The same of a stream that is read once from where it is, and closed in any case; `name` stands in messages. */
HYSGD_MUST_CHECK enum hysgd_status log_reader_open_stream(FILE *stream, const char *name,
                                                          struct log_reader **reader_out);
void log_reader_close(struct log_reader *reader);

/* The run, all strings included owned by the reader. */
const struct event_run *log_reader_run(const struct log_reader *reader);

/* The next event; false when there is none any more. What it gives is sound: its worker exists, no gradient is of a
 * version to come, and time does not run backwards (but for the kinds that may_be_earlier). HYSGD_INPUT when the
 * log is damaged or says otherwise; then nothing more can be read. */
HYSGD_MUST_CHECK enum hysgd_status log_reader_next(struct log_reader *reader, struct event *event_out,
                                                   bool *has_event_out);

/* After the last event: the end of the run, owned by the reader; NULL when the log was cut before it. */
const struct event_summary *log_reader_summary(const struct log_reader *reader);

/* The byte of the file at which the latest event begins; after the last one, up to which the log is whole. */
uint64_t log_reader_byte(const struct log_reader *reader);

/* Whether the log has this field of records of this kind ("arrival", "loss"): an older one may not; its value is
 * then what stands for none, or 0. */
bool log_reader_has(const struct log_reader *reader, const char *kind, const char *field);

/* The first kind of event or field seen in the log that this program does not know, "KIND" or "KIND.FIELD"; NULL
 * when it knows all. Such events and fields are passed over. */
const char *log_reader_unknown(const struct log_reader *reader);

#endif
