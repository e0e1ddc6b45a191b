/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson lacks for results: numbers that may not exist, and printing whose failure is a status. Functions
 * return NULL when memory runs out, which jansson's own functions take as a failure. */
#ifndef HYSGD_TRAIN_JSON_H
#define HYSGD_TRAIN_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* The number, or null when it is not finite. */
json_t *json_number(double value);

/* The text, or null when there is none. */
json_t *json_text(const char *text);

/* Frees the value and returns NULL. */
json_t *json_drop(json_t *json);

/* Prints the value and a line end, and frees it. HYSGD_MEMORY when it is NULL. `flags` as for json_dumpf. */
HYSGD_MUST_CHECK enum hysgd_status json_print(json_t *json, size_t flags, FILE *out);

#endif
