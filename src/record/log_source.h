/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a compact event log, see log_format.h: checks head and checksums, and tells a log that was cut from
 * one that is damaged. Knows no record. */
#ifndef HYSGD_RECORD_LOG_SOURCE_H
#define HYSGD_RECORD_LOG_SOURCE_H

#include <stdio.h>

#include "record/log_format.h"

struct log_source {
    FILE *stream;             /* owned */
    char *name;               /* in messages */
    uint8_t *block;           /* [capacity] the present payload */
    size_t size, capacity;    /* size: of the present payload */
    uint64_t first;           /* byte of the file where the present payload begins */
    uint64_t next;            /* byte where the next block begins */
    struct log_cursor cursor; /* in the present payload */
    bool is_cut;              /* what follows the present payload is not a whole block */
};

/* Takes over the stream and reads the head. HYSGD_INPUT: not a log, or one of another version. Safe to fini when it
 * fails. */
HYSGD_MUST_CHECK enum hysgd_status log_source_init(struct log_source *source, FILE *stream, const char *name);
void log_source_fini(struct log_source *source);

/* Reads the next block. False at the end of the file, and where it is cut. HYSGD_INPUT: it is damaged or cannot be
 * read. */
HYSGD_MUST_CHECK enum hysgd_status log_source_next(struct log_source *source, bool *has_block_out);

/* The byte of the file where the cursor is. */
uint64_t log_source_byte(const struct log_source *source);

/* Fails with HYSGD_INPUT: the source's name, the byte of the file, and what is wrong there. */
HYSGD_MUST_CHECK enum hysgd_status log_source_fail(const struct log_source *source, uint64_t byte,
                                                   const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
