/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables: reading "key=value,key=value" into a plug-in's state, printing it back, and the help text. */
#ifndef HYSGD_BASE_OPTIONS_H
#define HYSGD_BASE_OPTIONS_H

#include <stdio.h>

#include "base/status.h"

/* In all functions `table` may be NULL (no options) and `what` names the owner in messages ("policy threshold"). */

/* Sets every field to its default. HYSGD_MEMORY leaves a state that options_fini accepts. */
HYSGD_MUST_CHECK enum hysgd_status options_init(const struct hysgd_option *table, void *self);

/* Frees the texts in the state. Safe on a zeroed state and when called twice. */
void options_fini(const struct hysgd_option *table, void *self);

/* Sets one option. HYSGD_USAGE: the key is unknown (names the nearest), or the value is malformed or out of
 * range (names the range or the nearest valid word); the state is then unchanged. */
HYSGD_MUST_CHECK enum hysgd_status options_set(const struct hysgd_option *table, void *self, const char *what,
                                               const char *key, const char *value);

/* Sets the options of "key=value,key=value". A value may be put in double quotes or parentheses to hold commas;
 * inside double quotes \" and \\ stand for the character after the backslash. Options set before a fault stay set.
 * A key given twice is refused. "" is allowed. */
HYSGD_MUST_CHECK enum hysgd_status options_parse(const struct hysgd_option *table, void *self, const char *what,
                                                 const char *text);

/* Prints one value, or all of them as "key=value,key=value", in the form that options_parse reads back to
 * exactly the same state (reals with as many digits as that needs). */
void options_print_value(const struct hysgd_option *option, const void *self, FILE *out);
void options_print(const struct hysgd_option *table, const void *self, FILE *out);

/* Prints a help line per option, wrapped to `columns` and indented by `indent`: key=default,
 * then the help with the range or the words in parentheses, on as many lines as it needs. */
void options_help(const struct hysgd_option *table, int indent, int columns, FILE *out);

/* The number of rows. */
size_t options_count(const struct hysgd_option *table);

/* Reads a whole text as a real number or an integer (with the suffixes of the option types). False when it is
 * malformed, not finite, or out of the type's range. */
bool options_read_real(const char *text, double *value_out);
bool options_read_int(const char *text, int64_t *value_out);

/* The word of `words` (count entries) with the smallest edit distance to `word`; NULL when none is near. */
const char *options_nearest(const char *word, const char *const *words, size_t count);

#endif
