/* SPDX-License-Identifier: Apache-2.0 */
/* What a recorded run consists of: a table of the kinds of records and of their fields, from which every log is
 * written and read, and the manual printed. A new event is a row of the enum in event.h and a row here; a new field
 * is a member of its struct and a row here. */
#ifndef HYSGD_RECORD_KINDS_H
#define HYSGD_RECORD_KINDS_H

#include <stddef.h>

#include "record/event.h"

/* The type of the member that a field names. */
enum record_type {
    RECORD_COUNT,    /* uint64_t */
    RECORD_LIMIT,    /* uint64_t; 0: none */
    RECORD_INT,      /* int32_t; -1: none */
    RECORD_FLAG,     /* bool */
    RECORD_REAL,     /* double; NaN: none */
    RECORD_BOUND,    /* double; 0: none */
    RECORD_TEXT,     /* const char *, never NULL; not in events */
    RECORD_STALENESS /* no member: version - read of an arrival, shown and not stored */
};

struct record_field {
    const char *name; /* NULL ends a table */
    enum record_type type;
    size_t offset;    /* of the member, in bytes */
    const char *unit; /* or NULL */
    const char *help; /* one line */
};

struct record_kind {
    const char *name;
    const char *help;
    const struct record_field *fields;
    bool has_worker;     /* the event is one of a worker */
    bool may_be_earlier; /* the event's time may be before that of the event ahead of it */
};

#define RECORD_MOST_FIELDS 32

/* The fields of struct event that every event has. */
extern const struct record_kind record_event;

/* struct event_run, an option of its description (a const char *[2]), struct event_account, struct event_share of a
 * class, struct event_summary.
 */
extern const struct record_kind record_run, record_option, record_account, record_class, record_end;

/* The events, by enum event_kind. */
extern const struct record_kind record_events[];
extern const size_t record_event_count;

#endif
