/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables: defaults, setting one option, and reading "key=value,key=value" into a state. Printing and help
 * are in options_print.c, numbers and words in option_text.c. */
#include "base/option_text.h"

#include <string.h>

#include "base/memory.h"

#define DESCRIPTION_BYTES 512

static void *field_of(const struct hysgd_option *option, void *self) {
    return (char *)self + option->offset;
}

size_t options_count(const struct hysgd_option *table) {
    size_t count = 0;
    while (table != NULL && table[count].key != NULL)
        count++;
    return count;
}

static enum hysgd_status fail_unknown_key(const struct hysgd_option *table, const char *what, const char *key) {
    struct option_near near = {0};
    char keys[DESCRIPTION_BYTES] = "";
    size_t used = 0;
    size_t count = options_count(table);
    if (count == 0)
        return hysgd_fail(HYSGD_USAGE, "%s: unknown option '%s': it has no options", what, key);
    for (size_t i = 0; i < count; i++) {
        option_near_take(&near, key, table[i].key, strlen(table[i].key));
        if (used < sizeof keys)
            used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s", i > 0 ? ", " : "", table[i].key);
    }
    if (near.word != NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: unknown option '%s': did you mean '%s'?", what, key, near.word);
    return hysgd_fail(HYSGD_USAGE, "%s: unknown option '%s': expected one of %s", what, key, keys);
}

static enum hysgd_status fail_value(const struct hysgd_option *option, const char *what, const char *value,
                                    const char *fault) {
    char expected[DESCRIPTION_BYTES];
    option_describe(option, expected, sizeof expected);
    return hysgd_fail(HYSGD_USAGE, "%s: %s=%s is %s: expected %s", what, option->key, value, fault, expected);
}

static bool is_in_range(const struct hysgd_option *option, double value) {
    bool has_limits = option->least != 0 || option->most != 0;
    return !has_limits || (value >= option->least && value <= option->most);
}

static enum hysgd_status set_bool(const struct hysgd_option *option, bool *field, const char *what,
                                  const char *value) {
    bool is_yes = strcmp(value, "yes") == 0;
    if (!is_yes && strcmp(value, "no") != 0)
        return fail_value(option, what, value, "not valid");
    *field = is_yes;
    return HYSGD_OK;
}

static enum hysgd_status set_int(const struct hysgd_option *option, int64_t *field, const char *what,
                                 const char *value) {
    int64_t number;
    if (!options_read_int(value, &number))
        return fail_value(option, what, value, "not valid");
    if (!is_in_range(option, (double)number))
        return fail_value(option, what, value, "out of range");
    *field = number;
    return HYSGD_OK;
}

static enum hysgd_status set_real(const struct hysgd_option *option, double *field, const char *what,
                                  const char *value) {
    double number;
    if (!options_read_real(value, &number))
        return fail_value(option, what, value, "not valid");
    if (!is_in_range(option, number))
        return fail_value(option, what, value, "out of range");
    *field = number;
    return HYSGD_OK;
}

static enum hysgd_status set_choice(const struct hysgd_option *option, int *field, const char *what,
                                    const char *value) {
    struct option_near near = {0};
    const char *word;
    size_t length;
    for (int i = 0; (word = option_word(option->words, i, &length)) != NULL; i++) {
        if (strlen(value) == length && memcmp(value, word, length) == 0) {
            *field = i;
            return HYSGD_OK;
        }
        option_near_take(&near, value, word, length);
    }
    if (near.word == NULL)
        return fail_value(option, what, value, "not valid");
    return hysgd_fail(HYSGD_USAGE, "%s: %s=%s is not valid: expected one of %s; did you mean '%.*s'?", what,
                      option->key, value, option->words, (int)near.length, near.word);
}

static enum hysgd_status set_text(char **field, const char *value) {
    char *copy;
    HYSGD_TRY(memory_copy_text(value, &copy));
    memory_free(*field);
    *field = copy;
    return HYSGD_OK;
}

static enum hysgd_status set_field(const struct hysgd_option *option, void *self, const char *what,
                                   const char *value) {
    void *field = field_of(option, self);
    switch (option->type) {
    case HYSGD_OPTION_BOOL:
        return set_bool(option, field, what, value);
    case HYSGD_OPTION_INT:
        return set_int(option, field, what, value);
    case HYSGD_OPTION_REAL:
        return set_real(option, field, what, value);
    case HYSGD_OPTION_CHOICE:
        return set_choice(option, field, what, value);
    case HYSGD_OPTION_TEXT:
        return set_text(field, value);
    }
    return hysgd_fail(HYSGD_USAGE, "%s: %s has the unknown option type %d", what, option->key, (int)option->type);
}

static void forget_texts(const struct hysgd_option *table, void *self) {
    for (size_t i = 0; i < options_count(table); i++)
        if (table[i].type == HYSGD_OPTION_TEXT)
            *(char **)field_of(&table[i], self) = NULL;
}

enum hysgd_status options_init(const struct hysgd_option *table, void *self) {
    forget_texts(table, self); /* so that options_fini is safe however far this comes */
    for (size_t i = 0; i < options_count(table); i++) {
        const char *initial = table[i].initial;
        if (initial == NULL && table[i].type == HYSGD_OPTION_TEXT)
            initial = "";
        if (initial == NULL)
            return hysgd_fail(HYSGD_USAGE, "the option %s has no default", table[i].key);
        HYSGD_TRY(set_field(&table[i], self, "default", initial));
    }
    return HYSGD_OK;
}

void options_fini(const struct hysgd_option *table, void *self) {
    for (size_t i = 0; i < options_count(table); i++)
        if (table[i].type == HYSGD_OPTION_TEXT)
            memory_free(*(char **)field_of(&table[i], self));
    forget_texts(table, self);
}

enum hysgd_status options_set(const struct hysgd_option *table, void *self, const char *what, const char *key,
                              const char *value) {
    for (size_t i = 0; i < options_count(table); i++)
        if (strcmp(table[i].key, key) == 0)
            return set_field(&table[i], self, what, value);
    return fail_unknown_key(table, what, key);
}

/* One key=value inside a longer text; nothing is terminated. */
struct pair {
    const char *key, *value;
    size_t key_length, value_length; /* in bytes, the value's with its quotes or parentheses */
};

/* `at` is on a double quote; returns what follows the closing one, NULL when there is none. */
static const char *skip_quotes(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\0')
            return NULL;
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
    }
    return at + 1;
}

/* `at` is on an opening parenthesis; returns what follows its closing one, NULL when there is none. */
static const char *skip_parentheses(const char *at) {
    size_t depth = 0;
    do {
        if (*at == '\0')
            return NULL;
        if (*at == '"') {
            at = skip_quotes(at);
            if (at == NULL)
                return NULL;
            continue;
        }
        depth += *at == '(';
        depth -= *at == ')';
        at++;
    } while (depth > 0);
    return at;
}

/* The end of a value, which is at a comma or at the end of the text; NULL when quotes or parentheses are amiss. */
static const char *value_end(const char *value) {
    const char *end;
    if (*value == '"')
        end = skip_quotes(value);
    else if (*value == '(')
        end = skip_parentheses(value);
    else
        return value + strcspn(value, ",");
    return end != NULL && (*end == ',' || *end == '\0') ? end : NULL;
}

static enum hysgd_status scan_pair(const char *what, const char *text, struct pair *pair_out) {
    size_t length = strcspn(text, "=,");
    if (text[length] != '=' || length == 0)
        return hysgd_fail(HYSGD_USAGE, "%s: '%.*s' is not of the form key=value", what, (int)strcspn(text, ","),
                          text);
    const char *value = text + length + 1;
    const char *end = value_end(value);
    if (end == NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: %s: expected %s at the end of the value, then a comma or nothing", what,
                          text, *value == '"' ? "a closing quote" : "a closing parenthesis");
    *pair_out =
        (struct pair){.key = text, .key_length = length, .value = value, .value_length = (size_t)(end - value)};
    return HYSGD_OK;
}

/* Is the key of `pair` also that of an earlier pair of the text, all of which have been scanned before? */
static bool is_repeated(const char *what, const char *text, const struct pair *pair) {
    struct pair earlier;
    while (text < pair->key && scan_pair(what, text, &earlier) == HYSGD_OK) {
        if (earlier.key_length == pair->key_length && memcmp(earlier.key, pair->key, pair->key_length) == 0)
            return true;
        text = earlier.value + earlier.value_length + 1;
    }
    return false;
}

/* Copies a value without its quotes or parentheses and ends it with a zero byte. */
static void copy_value(const struct pair *pair, char *copy) {
    const char *at = pair->value, *end = at + pair->value_length;
    bool is_quoted = *at == '"' && pair->value_length > 0;
    if (is_quoted || (*at == '(' && pair->value_length > 0)) {
        at++;
        end--;
    }
    while (at < end) {
        if (is_quoted && *at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
        *copy++ = *at++;
    }
    *copy = '\0';
}

static enum hysgd_status set_pair(const struct hysgd_option *table, void *self, const char *what,
                                  const struct pair *pair) {
    char *key;
    HYSGD_TRY(memory_alloc(pair->key_length + pair->value_length + 2, 1, &key));
    char *value = key + pair->key_length + 1;
    memcpy(key, pair->key, pair->key_length);
    copy_value(pair, value);
    enum hysgd_status status = options_set(table, self, what, key, value);
    memory_free(key);
    return status;
}

enum hysgd_status options_parse(const struct hysgd_option *table, void *self, const char *what, const char *text) {
    if (*text == '\0')
        return HYSGD_OK;
    const char *at = text;
    do {
        struct pair pair;
        HYSGD_TRY(scan_pair(what, at, &pair));
        if (is_repeated(what, text, &pair))
            return hysgd_fail(HYSGD_USAGE, "%s: the option %.*s is given twice", what, (int)pair.key_length,
                              pair.key);
        HYSGD_TRY(set_pair(table, self, what, &pair));
        at = pair.value + pair.value_length;
    } while (*at++ == ',');
    return HYSGD_OK;
}
