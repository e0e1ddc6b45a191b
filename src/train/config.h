/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: lines `key = value`, as --dry-run prints them and --config reads them. A line that begins
 * with # is a comment; a value with blanks at its ends or control characters stands in double quotes, with
 * \" \\ \n \r \t inside. */
#ifndef HYSGD_TRAIN_CONFIG_H
#define HYSGD_TRAIN_CONFIG_H

#include <stdio.h>

#include "base/status.h"

/* Takes one option of the file; its failure ends the reading and is located at the line. */
typedef enum hysgd_status config_set(void *self, const char *key, const char *value);

/* HYSGD_INPUT when the file cannot be read; HYSGD_USAGE names file and line of a malformed line, of a key given
 * twice, or of what `set` refuses. */
HYSGD_MUST_CHECK enum hysgd_status config_read(const char *path, config_set *set, void *self);

/* The same on text in memory; `name` is for messages. */
HYSGD_MUST_CHECK enum hysgd_status config_read_text(const char *name, const char *text, size_t length,
                                                    config_set *set, void *self);

/* Prints one line, which config_read reads back to the same key and value. */
void config_print(const char *key, const char *value, FILE *out);

#endif
