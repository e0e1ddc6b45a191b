/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and texts in the form that JSON and CSV can hold: no NaN, a point in every locale, valid UTF-8. */
#ifndef HYSGD_RECORD_ENCODE_H
#define HYSGD_RECORD_ENCODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "record/event.h"

#define ENCODE_NUMBER_SIZE 32

/* Writes `value` with `digits` significant digits (at most 17), or with as many as it needs to be read back exactly
 * where digits is 0; `missing` (shorter than the buffer) where it is not a finite number. Returns `text`. */
const char *encode_number(double value, int digits, const char *missing, char text[ENCODE_NUMBER_SIZE]);

/* The exact number or null, in a buffer that lives as long as the enclosing block. */
#define ENCODE_JSON(value) encode_number((value), 0, "null", (char[ENCODE_NUMBER_SIZE]){0})

/* A new JSON value; NULL when memory is short. A text that is not UTF-8 has '?' for its bytes above 127. */
json_t *encode_text(const char *text);

/* The fields of the first and the last line of an event log (see jsonl.c) as a new object; NULL when memory is
 * short.
 */
json_t *encode_run(const struct event_run *run);
json_t *encode_summary(const struct event_summary *summary);

#endif
