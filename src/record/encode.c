/* SPDX-License-Identifier: Apache-2.0 */
/* Formats numbers and texts for the record's files. */
#include "record/encode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "record/bias.h"
#include "record/straggler.h"
#include "record/kinds.h"

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

static json_t *encode_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* UINT64_MAX is "none". */
static json_t *encode_count(uint64_t value) {
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

/* The object, or NULL with what was made of it freed. */
static json_t *finish(json_t *object, int failures) {
    if (failures == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *encode_field(const struct record_field *field, const void *self) {
    const char *at = (const char *)self + field->offset;
    switch (field->type) {
    case RECORD_COUNT:
        return encode_count(*(const uint64_t *)at);
    case RECORD_LIMIT:
        return *(const uint64_t *)at > 0 ? encode_count(*(const uint64_t *)at) : json_null();
    case RECORD_INT:
        return json_integer(*(const int32_t *)at);
    case RECORD_FLAG:
        return json_boolean(*(const bool *)at);
    case RECORD_REAL:
        return encode_real(*(const double *)at);
    case RECORD_BOUND:
        return *(const double *)at > 0 ? encode_real(*(const double *)at) : json_null();
    case RECORD_TEXT:
        return encode_text(*(const char *const *)at != NULL ? *(const char *const *)at : "");
    case RECORD_STALENESS: /* of events only */
        break;
    }
    return json_null();
}

/* The fields of a record as a new object, which finish takes. */
static json_t *encode_fields(const struct record_kind *kind, const void *self, int *failures) {
    json_t *object = json_object();
    for (const struct record_field *field = kind->fields; field->name != NULL; field++)
        *failures |= json_object_set_new(object, field->name, encode_field(field, self));
    return object;
}

static json_t *encode_options(const struct event_run *run) {
    json_t *options = json_object();
    int failures = options == NULL;
    for (int i = 0; i < run->description_count && failures == 0; i++) {
        json_t *key = encode_text(run->description[i][0]);
        failures |= key == NULL;
        if (key != NULL)
            failures |= json_object_set_new(options, json_string_value(key), encode_text(run->description[i][1]));
        json_decref(key);
    }
    return finish(options, failures);
}

json_t *encode_run(const struct event_run *run) {
    int failures = 0;
    json_t *object = encode_fields(&record_run, run, &failures);
    failures |= json_object_set_new(object, "options", encode_options(run));
    return finish(object, failures);
}

static json_t *encode_one(const struct record_kind *kind, const void *self) {
    int failures = 0;
    json_t *object = encode_fields(kind, self, &failures);
    return finish(object, failures);
}

static json_t *encode_accounts(const struct event_summary *summary) {
    json_t *accounts = json_array();
    int failures = accounts == NULL;
    for (int i = 0; i < summary->workers && failures == 0; i++)
        failures |= json_array_append_new(accounts, encode_one(&record_account, &summary->accounts[i]));
    return finish(accounts, failures);
}

static json_t *encode_classes(const struct event_summary *summary) {
    json_t *classes = json_array();
    int failures = classes == NULL;
    for (int i = 0; i < summary->class_count && failures == 0; i++)
        failures |= json_array_append_new(classes, encode_one(&record_class, &summary->classes[i]));
    return finish(classes, failures);
}

/* Who held the others up: null where nobody did. */
static json_t *encode_straggler(const struct event_summary *summary) {
    struct straggler straggler = straggler_find(summary);
    if (straggler.worker < 0)
        return json_null();
    return json_pack("{s:i, s:o, s:o, s:o, s:s, s:o}", "worker", straggler.worker, "share",
                     encode_real(straggler.share), "last_share", encode_real(straggler.last_share), "seconds",
                     encode_real(straggler.seconds), "cause", straggler_cause_name(straggler.cause), "ratio",
                     encode_real(straggler.ratio));
}

json_t *encode_summary(const struct event_summary *summary) {
    int failures = 0;
    json_t *object = encode_fields(&record_end, summary, &failures);
    failures |= json_object_set_new(object, "accounts", encode_accounts(summary));
    failures |= json_object_set_new(object, "classes", encode_classes(summary));
    failures |= json_object_set_new(object, "worker_bias", encode_real(bias_of_workers(summary).distance));
    failures |= json_object_set_new(object, "class_bias", encode_real(bias_of_classes(summary).distance));
    failures |= json_object_set_new(object, "straggler", encode_straggler(summary));
    return finish(object, failures);
}
