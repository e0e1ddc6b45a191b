/* SPDX-License-Identifier: Apache-2.0 */
/* Formats numbers and texts for the record's files. */
#include "record/encode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Makes a locale's decimal separator, which may be several bytes, a single point. */
static void force_point(char *text) {
    char *to = text;
    bool has_point = false;
    for (const char *from = text; *from != '\0'; from++) {
        if (strchr("0123456789+-e", *from) != NULL) {
            *to++ = *from;
        } else if (!has_point) {
            *to++ = '.';
            has_point = true;
        }
    }
    *to = '\0';
}

const char *encode_number(double value, int digits, const char *missing, char text[ENCODE_NUMBER_SIZE]) {
    if (!isfinite(value)) {
        snprintf(text, ENCODE_NUMBER_SIZE, "%s", missing);
        return text;
    }
    if (fabs(value) < 1e6 && value == (double)(long)value) {
        snprintf(text, ENCODE_NUMBER_SIZE, "%ld", (long)value); /* weights, zeros: the common case, and quick */
        return text;
    }
    snprintf(text, ENCODE_NUMBER_SIZE, "%.*g", digits > 0 ? digits : 15, value);
    if (digits == 0 && strtod(text, NULL) != value)
        snprintf(text, ENCODE_NUMBER_SIZE, "%.17g", value);
    force_point(text);
    return text;
}

json_t *encode_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *encode_count(uint64_t value) {
    return value <= INT64_MAX ? json_integer((json_int_t)value) : json_null();
}

json_t *encode_text(const char *text) {
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    char *copy;
    if (memory_copy_text(text, &copy) != HYSGD_OK)
        return NULL;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c > 127)
            *c = '?';
    value = json_string(copy);
    memory_free(copy);
    return value;
}
