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

/* The object, or NULL with what was made of it freed. */
static json_t *finish(json_t *object, int failures) {
    if (failures == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *limit(double value) {
    return value > 0 ? encode_real(value) : json_null();
}

static json_t *limit_count(uint64_t value) {
    return value > 0 ? encode_count(value) : json_null();
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
    json_t *object = json_object();
    int failures = 0;
    failures |= json_object_set_new(object, "title", encode_text(run->title));
    failures |= json_object_set_new(object, "runtime", encode_text(run->runtime));
    failures |= json_object_set_new(object, "workers", json_integer(run->workers));
    failures |= json_object_set_new(object, "batch", encode_count(run->batch));
    failures |= json_object_set_new(object, "train_count", encode_count(run->train_count));
    failures |= json_object_set_new(object, "parameter_count", encode_count(run->parameter_count));
    failures |= json_object_set_new(object, "limit_epochs", limit(run->limit_epochs));
    failures |= json_object_set_new(object, "limit_seconds", limit(run->limit_seconds));
    failures |= json_object_set_new(object, "limit_updates", limit_count(run->limit_updates));
    failures |= json_object_set_new(object, "limit_gradients", limit_count(run->limit_gradients));
    failures |= json_object_set_new(object, "target_accuracy", limit(run->target_accuracy));
    failures |= json_object_set_new(object, "target_loss", limit(run->target_loss));
    failures |= json_object_set_new(object, "first_received", encode_count(run->first_received));
    failures |= json_object_set_new(object, "first_version", encode_count(run->first_version));
    failures |= json_object_set_new(object, "first_seconds", encode_real(run->first_seconds));
    failures |= json_object_set_new(object, "options", encode_options(run));
    return finish(object, failures);
}

static json_t *encode_account(const struct event_account *account) {
    json_t *object = json_object();
    int failures = 0;
    failures |= json_object_set_new(object, "received", encode_count(account->received));
    failures |= json_object_set_new(object, "applied", encode_count(account->applied));
    failures |= json_object_set_new(object, "dropped", encode_count(account->dropped));
    failures |= json_object_set_new(object, "held", encode_count(account->held));
    failures |= json_object_set_new(object, "compute_seconds", encode_real(account->compute_seconds));
    failures |= json_object_set_new(object, "transit_seconds", encode_real(account->transit_seconds));
    failures |= json_object_set_new(object, "waiting_seconds", encode_real(account->waiting_seconds));
    failures |= json_object_set_new(object, "most_staleness", encode_count(account->most_staleness));
    failures |= json_object_set_new(object, "staleness_sum", encode_real(account->staleness_sum));
    return finish(object, failures);
}

static json_t *encode_accounts(const struct event_summary *summary) {
    json_t *accounts = json_array();
    for (int i = 0; i < summary->workers && accounts != NULL; i++) {
        if (json_array_append_new(accounts, encode_account(&summary->accounts[i])) != 0) {
            json_decref(accounts);
            accounts = NULL;
        }
    }
    return accounts;
}

json_t *encode_summary(const struct event_summary *summary) {
    json_t *object = json_object();
    int failures = 0;
    failures |= json_object_set_new(object, "t", encode_real(summary->seconds));
    failures |= json_object_set_new(object, "reason", encode_text(summary->reason));
    failures |= json_object_set_new(object, "updates", encode_count(summary->updates));
    failures |= json_object_set_new(object, "forced_updates", encode_count(summary->forced_updates));
    failures |= json_object_set_new(object, "unfinished", encode_count(summary->unfinished));
    failures |= json_object_set_new(object, "server_seconds", encode_real(summary->server_seconds));
    failures |= json_object_set_new(object, "train_loss", encode_real(summary->train_loss));
    failures |= json_object_set_new(object, "test_loss", encode_real(summary->test_loss));
    failures |= json_object_set_new(object, "test_accuracy", encode_real(summary->test_accuracy));
    failures |= json_object_set_new(object, "target_seconds", encode_real(summary->target_seconds));
    failures |= json_object_set_new(object, "accounts", encode_accounts(summary));
    return finish(object, failures);
}
