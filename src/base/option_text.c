/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and words of option tables as text: reading, shortest printing, and which known word an unknown one is
 * nearest to. The process's locale has no influence. */
#include "base/option_text.h"

#include <ctype.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Longer words are near to nothing, which saves an allocation. */
#define WORD_BYTES 64

/* An exponent that is out of range for every mantissa; stops the counting of digits. */
#define FAR_EXPONENT 10000

struct decimal {
    bool is_negative;
    bool is_too_large; /* the mantissa has lost digits */
    uint64_t mantissa;
    int exponent; /* the value is mantissa * 10^exponent */
};

static void take_digit(struct decimal *decimal, char digit) {
    if (__builtin_mul_overflow(decimal->mantissa, 10, &decimal->mantissa) ||
        __builtin_add_overflow(decimal->mantissa, (uint64_t)(digit - '0'), &decimal->mantissa))
        decimal->is_too_large = true;
}

/* Reads [sign] digits [. digits] [e [sign] digits] and returns what follows; NULL when malformed. */
static const char *read_decimal(const char *text, struct decimal *decimal_out) {
    struct decimal decimal = {.is_negative = *text == '-'};
    if (*text == '-' || *text == '+')
        text++;
    const char *first = text;
    while (isdigit((unsigned char)*text))
        take_digit(&decimal, *text++);
    bool has_digits = text > first;
    if (*text == '.') {
        const char *point = text++;
        for (; isdigit((unsigned char)*text) && text - point < FAR_EXPONENT; decimal.exponent--)
            take_digit(&decimal, *text++);
        has_digits = has_digits || text > point + 1;
    }
    if (!has_digits)
        return NULL;
    if (*text == 'e' || *text == 'E') {
        text++;
        int sign = *text == '-' ? -1 : 1;
        if (*text == '-' || *text == '+')
            text++;
        if (!isdigit((unsigned char)*text))
            return NULL;
        int exponent = 0;
        for (; isdigit((unsigned char)*text); text++)
            exponent = exponent < FAR_EXPONENT ? 10 * exponent + (*text - '0') : exponent;
        decimal.exponent += sign * exponent;
    }
    *decimal_out = decimal;
    return text;
}

static int suffix_exponent(const char *suffix) {
    if (*suffix == '\0')
        return 0;
    if (suffix[1] != '\0')
        return -1;
    switch (*suffix) {
    case 'k':
        return 3;
    case 'M':
        return 6;
    case 'G':
        return 9;
    default:
        return -1;
    }
}

/* The magnitude of a decimal that is a whole number; false when it is not one or is too large. */
static bool find_magnitude(struct decimal decimal, uint64_t *magnitude_out) {
    uint64_t magnitude = decimal.mantissa;
    for (int exponent = decimal.exponent; exponent < 0 && magnitude != 0; exponent++) {
        if (magnitude % 10 != 0)
            return false;
        magnitude /= 10;
    }
    for (int exponent = decimal.exponent; exponent > 0 && magnitude != 0; exponent--)
        if (__builtin_mul_overflow(magnitude, 10, &magnitude))
            return false;
    *magnitude_out = magnitude;
    return true;
}

bool options_read_int(const char *text, int64_t *value_out) {
    struct decimal decimal;
    uint64_t magnitude;
    const char *suffix = read_decimal(text, &decimal);
    if (suffix == NULL || decimal.is_too_large)
        return false;
    int thousands = suffix_exponent(suffix);
    if (thousands < 0)
        return false;
    decimal.exponent += thousands;
    if (!find_magnitude(decimal, &magnitude) || magnitude > (uint64_t)INT64_MAX + decimal.is_negative)
        return false;
    /* INT64_MIN has no positive counterpart, so the sign is applied to the unsigned number. */
    *value_out = (int64_t)(decimal.is_negative ? -magnitude : magnitude);
    return true;
}

/* Programs that embed the library may have set a locale with a decimal comma. */
static locale_t enter_plain_locale(locale_t *plain_out) {
    *plain_out = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return uselocale(*plain_out);
}

static void leave_plain_locale(locale_t plain, locale_t before) {
    uselocale(before);
    if (plain != (locale_t)0)
        freelocale(plain);
}

bool options_read_real(const char *text, double *value_out) {
    struct decimal decimal;
    const char *end = read_decimal(text, &decimal); /* refuses what only strtod takes: spaces, inf, hexadecimal */
    if (end == NULL || *end != '\0')
        return false;
    locale_t plain;
    locale_t before = enter_plain_locale(&plain);
    double value = strtod(text, NULL);
    leave_plain_locale(plain, before);
    if (!isfinite(value))
        return false;
    *value_out = value;
    return true;
}

/* The shortest form from `precision` digits on. */
static void format_from(double value, int precision, char text_out[OPTION_REAL_BYTES]) {
    locale_t plain;
    locale_t before = enter_plain_locale(&plain);
    do
        snprintf(text_out, OPTION_REAL_BYTES, "%.*g", precision, value);
    while (precision++ < DBL_DECIMAL_DIG && strtod(text_out, NULL) != value);
    leave_plain_locale(plain, before);
}

void option_format_real(double value, char text_out[OPTION_REAL_BYTES]) {
    format_from(value, DBL_DIG, text_out);
}

static void describe_range(const struct hysgd_option *option, char *text_out, size_t size) {
    char least[OPTION_REAL_BYTES], most[OPTION_REAL_BYTES];
    bool is_int = option->type == HYSGD_OPTION_INT;
    const char *number = is_int ? "an integer" : "a number";
    double far = is_int ? 0x1p63 : DBL_MAX;
    bool has_limits = option->least != 0 || option->most != 0;
    bool has_least = has_limits && option->least > -far;
    bool has_most = has_limits && option->most < far;
    format_from(option->least, 6, least);
    format_from(option->most, 6, most);
    if (has_least && has_most)
        snprintf(text_out, size, "%s from %s to %s", number, least, most);
    else if (has_least)
        snprintf(text_out, size, "%s, at least %s", number, least);
    else if (has_most)
        snprintf(text_out, size, "%s, at most %s", number, most);
    else
        snprintf(text_out, size, "%s", number);
}

void option_describe(const struct hysgd_option *option, char *text_out, size_t size) {
    switch (option->type) {
    case HYSGD_OPTION_BOOL:
        snprintf(text_out, size, "yes or no");
        break;
    case HYSGD_OPTION_INT:
    case HYSGD_OPTION_REAL:
        describe_range(option, text_out, size);
        break;
    case HYSGD_OPTION_CHOICE:
        snprintf(text_out, size, "one of %s", option->words);
        break;
    case HYSGD_OPTION_TEXT:
        snprintf(text_out, size, "text");
        break;
    }
}

const char *option_word(const char *words, int index, size_t *length_out) {
    if (index < 0)
        return NULL;
    for (; index > 0; index--) {
        words = strchr(words, '|');
        if (words == NULL)
            return NULL;
        words++;
    }
    *length_out = strcspn(words, "|");
    return words;
}

static bool is_same_letter(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Levenshtein's distance by rows; both lengths are below WORD_BYTES. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[WORD_BYTES];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + !is_same_letter(a[i - 1], b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

void option_near_take(struct option_near *near, const char *word, const char *candidate, size_t length) {
    size_t word_length = strlen(word);
    if (word_length == 0 || word_length >= WORD_BYTES || length >= WORD_BYTES)
        return;
    bool is_beginning = word_length >= 2 && word_length < length && memcmp(word, candidate, word_length) == 0;
    size_t distance = is_beginning ? 1 : edit_distance(word, word_length, candidate, length);
    if (distance > (word_length + 2) / 3 || distance >= word_length ||
        (near->word != NULL && near->distance <= distance))
        return;
    *near = (struct option_near){.word = candidate, .length = length, .distance = distance};
}

const char *options_nearest(const char *word, const char *const *words, size_t count) {
    struct option_near near = {0};
    for (size_t i = 0; i < count; i++)
        option_near_take(&near, word, words[i], strlen(words[i]));
    return near.word;
}
