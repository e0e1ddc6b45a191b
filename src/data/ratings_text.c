/* SPDX-License-Identifier: Apache-2.0 */
/* Reading lines of ratings. The common forms of a field, a few digits or a short decimal number, are read in one go
 * right up to the separator; anything else is measured, trimmed and judged slowly. Every line ends with a newline,
 * so that no loop has to look for the end of the bytes. */
#include "data/ratings_text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"

#define REAL_BYTES  64
#define SHOWN_BYTES 40
/* An id longer than this is a sign of a wrong separator. */
#define MOST_ID_BYTES 1024
/* All numbers of so many digits are below 2^63, and of so many, exact as double. */
#define SAFE_DIGITS  18
#define EXACT_DIGITS 15

struct field {
    const char *text;
    size_t length;
};

static inline bool is_blank(enum ratings_separator separator, char c) {
    return c == ' ' || c == '\r' || (c == '\t' && separator != RATINGS_TAB);
}

/* How long the separator is that begins here; 0: none does. Of several spaces the others are blanks. */
static inline size_t separator_length(enum ratings_separator separator, const char *at) {
    switch (separator) {
    case RATINGS_TAB:
        return *at == '\t';
    case RATINGS_COMMA:
        return *at == ',';
    case RATINGS_COLONS:
        return at[0] == ':' && at[1] == ':' ? 2 : 0;
    default:
        return *at == ' ' || *at == '\t';
    }
}

static inline const char *skip_blanks(enum ratings_separator separator, const char *at) {
    while (is_blank(separator, *at))
        at++;
    return at;
}

/* Where the field in quotes that begins here ends, its last quote included; NULL: not in this line. */
static const char *quoted_end(const char *at) {
    for (at++; *at != '\n'; at++) {
        if (*at != '"')
            continue;
        if (at[1] != '"')
            return at + 1;
        at++; /* two stand for one */
    }
    return NULL;
}

/* The end of the field that begins here: a separator or the newline. Between commas, one in quotes may have commas.
 */
static const char *field_end(enum ratings_separator separator, const char *at) {
    const char *quoted = separator == RATINGS_COMMA && *at == '"' ? quoted_end(at) : NULL;
    if (quoted != NULL)
        at = quoted;
    while (*at != '\n' && separator_length(separator, at) == 0)
        at++;
    return at;
}

/* Where the field after the one that ends here begins; NULL: it was the last of its line. */
static inline const char *next_field(enum ratings_separator separator, const char *end) {
    if (*end == '\n')
        return NULL;
    const char *at = skip_blanks(separator, end + separator_length(separator, end));
    return separator == RATINGS_SPACES && *at == '\n' ? NULL : at;
}

/* The field without the blanks behind it; those before it have been skipped. */
static struct field trim(enum ratings_separator separator, const char *at, const char *end) {
    while (end > at && is_blank(separator, end[-1]))
        end--;
    return (struct field){at, (size_t)(end - at)};
}

/* The field as messages show it: not too long. */
static const char *shown(struct field field, char text[SHOWN_BYTES]) {
    bool is_cut = field.length >= SHOWN_BYTES;
    snprintf(text, SHOWN_BYTES, "%.*s%s", (int)(is_cut ? SHOWN_BYTES - sizeof "..." : field.length), field.text,
             is_cut ? "..." : "");
    return text;
}

/* Takes the quotes off a field (RFC 4180), which then lies in `text`. */
static enum hysgd_status unquote(struct field *field, const char *what, char text[MOST_ID_BYTES]) {
    char seen[SHOWN_BYTES];
    const char *end = field->text + field->length, *close = quoted_end(field->text);
    size_t length = 0;
    if (close == NULL || close > end)
        return hysgd_fail(HYSGD_INPUT, "the quote of the %s %s is not closed", what, shown(*field, seen));
    if (close < end)
        return hysgd_fail(HYSGD_INPUT, "the %s %s goes on behind its quotes; expected \"\" for a quote in it", what,
                          shown(*field, seen));
    for (const char *at = field->text + 1; at < end - 1; at += 1 + (*at == '"')) {
        if (length == MOST_ID_BYTES)
            return hysgd_fail(HYSGD_INPUT, "the %s %s has more than %d bytes", what, shown(*field, seen),
                              MOST_ID_BYTES);
        text[length++] = *at;
    }
    *field = (struct field){text, length};
    return HYSGD_OK;
}

/* Finds the field that begins here and where it ends. One that had quotes around it is in `text`. */
static enum hysgd_status read_field(enum ratings_separator separator, const char *at, const char *what,
                                    char text[MOST_ID_BYTES], struct field *field_out, const char **end_out) {
    *end_out = field_end(separator, at);
    *field_out = trim(separator, at, *end_out);
    bool is_quoted = separator == RATINGS_COMMA && field_out->length > 0 && *field_out->text == '"';
    return is_quoted ? unquote(field_out, what, text) : HYSGD_OK;
}

static bool read_real(struct field field, double *value_out) {
    char text[REAL_BYTES];
    if (field.length >= sizeof text || memchr(field.text, '\0', field.length) != NULL)
        return false;
    memcpy(text, field.text, field.length);
    text[field.length] = '\0';
    return options_read_real(text, value_out);
}

static enum hysgd_status read_rare_id(enum ratings_separator separator, const char *at, const char *what,
                                      struct ids *ids, uint32_t *index_out, const char **end_out) {
    char text[MOST_ID_BYTES], seen[SHOWN_BYTES];
    struct field field;
    HYSGD_TRY(read_field(separator, at, what, text, &field, end_out));
    if (field.length == 0)
        return hysgd_fail(HYSGD_INPUT, "the id of the %s is empty", what);
    if (field.length > MOST_ID_BYTES)
        return hysgd_fail(HYSGD_INPUT, "the id of the %s, '%s', has %zu bytes; expected at most %d", what,
                          shown(field, seen), field.length, MOST_ID_BYTES);
    if (memchr(field.text, '\0', field.length) != NULL)
        return hysgd_fail(HYSGD_INPUT, "the id of the %s, '%s', has a NUL byte in it: the file is no text", what,
                          shown(field, seen));
    return ids_add(ids, field.text, field.length, index_out);
}

/* Reads an id and stores its index and where it ends. */
static inline enum hysgd_status read_id(enum ratings_separator separator, const char *at, const char *what,
                                        struct ids *ids, uint32_t *index_out, const char **end_out) {
    const char *end = at;
    uint64_t number = 0; /* may overflow: the length is judged afterwards */
    for (unsigned digit; (digit = (unsigned char)*end - (unsigned)'0') <= 9; end++)
        number = 10 * number + digit;
    size_t length = (size_t)(end - at);
    if (length == 0 || length > SAFE_DIGITS || (*at == '0' && length > 1) || ids->are_texts ||
        (*end != '\n' && separator_length(separator, end) == 0))
        return read_rare_id(separator, at, what, ids, index_out, end_out);
    *end_out = end;
    return ids_add_number(ids, (int64_t)number, index_out);
}

static enum hysgd_status read_rare_value(enum ratings_separator separator, const char *at, float *value_out,
                                         const char **end_out) {
    double value;
    char text[MOST_ID_BYTES], seen[SHOWN_BYTES];
    struct field field;
    HYSGD_TRY(read_field(separator, at, "value", text, &field, end_out));
    if (!read_real(field, &value))
        return hysgd_fail(HYSGD_INPUT, "the value '%s' is not a finite number", shown(field, seen));
    if (fabs(value) > FLT_MAX)
        return hysgd_fail(HYSGD_INPUT, "the value %s is too large; expected at most %g", shown(field, seen),
                          (double)FLT_MAX);
    *value_out = (float)value;
    return HYSGD_OK;
}

/* Reads a value and stores it and where it ends. */
static inline enum hysgd_status read_value(enum ratings_separator separator, const char *at, float *value_out,
                                           const char **end_out) {
    static const double power[EXACT_DIGITS + 1] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *digits = at + (*at == '-'), *end = digits, *point = NULL;
    uint64_t number = 0;
    for (;; end++) {
        unsigned digit = (unsigned char)*end - (unsigned)'0';
        if (digit <= 9)
            number = 10 * number + digit;
        else if (*end == '.' && point == NULL)
            point = end;
        else
            break;
    }
    size_t count = (size_t)(end - digits) - (point != NULL), decimals = point ? (size_t)(end - point) - 1 : 0;
    const char *stop = *end == '\r' ? end + 1 : end;
    if (count == 0 || count > EXACT_DIGITS || (*stop != '\n' && (stop > end || !separator_length(separator, end))))
        return read_rare_value(separator, at, value_out, end_out);
    double value = (double)number / power[decimals];
    *value_out = (float)(*at == '-' ? -value : value);
    *end_out = stop;
    return HYSGD_OK;
}

static enum hysgd_status read_time(enum ratings_separator separator, const char *at, int64_t *time_out,
                                   const char **end_out) {
    double value;
    char text[MOST_ID_BYTES], seen[SHOWN_BYTES];
    struct field field;
    HYSGD_TRY(read_field(separator, at, "time stamp", text, &field, end_out));
    if (ids_read_number(field.text, field.length, time_out))
        return HYSGD_OK;
    if (!read_real(field, &value) || fabs(value) >= 0x1p63)
        return hysgd_fail(HYSGD_INPUT, "the time stamp '%s' is not a number", shown(field, seen));
    *time_out = (int64_t)value;
    return HYSGD_OK;
}

/* ---- Lines ---- */

static enum hysgd_status fail_missing(const struct ratings_text *text, int columns) {
    static const char *const names[] = {"spaces", "tabs", "commas", "'::'"};
    return hysgd_fail(HYSGD_INPUT, "%d column%s separated by %s; expected user, item%s%s", columns,
                      columns > 1 ? "s" : "", names[text->separator], text->are_pairs ? "" : ", value",
                      text->wants_times ? ", time" : "");
}

/* Reads the line whose first field begins here and stores where its last field that counts ends. */
static inline enum hysgd_status read_line(const struct ratings_text *text, enum ratings_separator separator,
                                          const char *at, struct ratings_sink *sink, const char **end_out) {
    struct rating rating = {.value = 1};
    int columns = 1;
    HYSGD_TRY(read_id(separator, at, "user", sink->rows, &rating.row, end_out));
    if ((at = next_field(separator, *end_out)) == NULL)
        return fail_missing(text, columns);
    columns++;
    HYSGD_TRY(read_id(separator, at, "item", sink->columns, &rating.column, end_out));
    if (!text->are_pairs) {
        if ((at = next_field(separator, *end_out)) == NULL)
            return fail_missing(text, columns);
        columns++;
        HYSGD_TRY(read_value(separator, at, &rating.value, end_out));
        if (rating.value < text->least)
            return hysgd_fail(HYSGD_INPUT, "the value %g: expected none below %g", (double)rating.value,
                              (double)text->least);
    }
    if (text->wants_times) {
        if ((at = next_field(separator, *end_out)) == NULL)
            return fail_missing(text, columns);
        HYSGD_TRY(read_time(separator, at, &sink->times[sink->count], end_out));
    }
    sink->entries[sink->count++] = rating;
    return HYSGD_OK;
}

/* Compiled for each separator. */
static inline enum hysgd_status read_lines(const struct ratings_text *text, enum ratings_separator separator,
                                           const char *at, const char *limit, struct ratings_sink *sink) {
    for (; at < limit; at++, sink->lines++) {
        at = skip_blanks(separator, at);
        if (*at == '\n')
            continue;
        if (sink->count == sink->capacity)
            return hysgd_fail(HYSGD_INPUT, "more lines than there were before: the file changes while it is read");
        HYSGD_TRY(read_line(text, separator, at, sink, &at));
        if (*at != '\n')
            at = memchr(at, '\n', (size_t)(limit - at));
    }
    return HYSGD_OK;
}

enum hysgd_status ratings_text_read(const struct ratings_text *text, const char *bytes, size_t size,
                                    struct ratings_sink *sink) {
    switch (text->separator) {
    case RATINGS_TAB:
        return read_lines(text, RATINGS_TAB, bytes, bytes + size, sink);
    case RATINGS_COMMA:
        return read_lines(text, RATINGS_COMMA, bytes, bytes + size, sink);
    case RATINGS_COLONS:
        return read_lines(text, RATINGS_COLONS, bytes, bytes + size, sink);
    default:
        return read_lines(text, RATINGS_SPACES, bytes, bytes + size, sink);
    }
}

/* ---- The top ---- */

/* Whether the text is in the line, outside of quotes where these come in pairs. */
static bool has_outside(const char *line, size_t length, const char *text) {
    size_t quotes = 0, met = 0, size = strlen(text);
    for (size_t i = 0; i < length; i++)
        quotes += line[i] == '"';
    for (size_t i = 0; i + size <= length; i++) {
        met += line[i] == '"';
        if ((quotes % 2 == 1 || met % 2 == 0) && memcmp(line + i, text, size) == 0)
            return true;
    }
    return false;
}

static enum ratings_separator find_separator(const char *line, size_t length) {
    return has_outside(line, length, "::")   ? RATINGS_COLONS
           : has_outside(line, length, "\t") ? RATINGS_TAB
           : has_outside(line, length, ",")  ? RATINGS_COMMA
                                             : RATINGS_SPACES;
}

/* Whether the field is one of three words, in whatever case. */
static bool is_word(struct field field, const char *const words[3]) {
    for (size_t i = 0; i < 3; i++)
        if (strlen(words[i]) == field.length && strncasecmp(words[i], field.text, field.length) == 0)
            return true;
    return false;
}

/* Spelled as a number that is not finite, which is a fault of a rating and not the name of a column. */
static bool is_not_finite(struct field field) {
    if (field.length > 0 && (*field.text == '-' || *field.text == '+'))
        field = (struct field){field.text + 1, field.length - 1};
    return is_word(field, (const char *const[]){"nan", "inf", "infinity"});
}

/* The field of the line with this number, from 1, without the quotes around it; empty where there is none. */
static struct field field_at(enum ratings_separator separator, const char *line, int number) {
    const char *at = skip_blanks(separator, line);
    for (; at != NULL && number > 1; number--)
        at = next_field(separator, field_end(separator, at));
    if (at == NULL)
        return (struct field){line, 0};
    struct field field = trim(separator, at, field_end(separator, at));
    bool is_quoted = field.length > 1 && field.text[0] == '"' && field.text[field.length - 1] == '"';
    return is_quoted ? (struct field){field.text + 1, field.length - 2} : field;
}

/* Whether the line names the columns: neither its first field nor the last that counts is a number, but the latter
 * of the line below is, if there is one; or, where no value is to tell, the first is called as we and others do. */
static bool is_header(const struct ratings_text *text, const char *line, const char *below) {
    int last = text->are_pairs ? 2 : 3;
    double number;
    struct field user = field_at(text->separator, line, 1), value = field_at(text->separator, line, last);
    if (value.length == 0 || read_real(user, &number) || read_real(value, &number) || is_not_finite(value))
        return false;
    if (text->are_pairs && is_word(user, (const char *const[]){"user", "userid", "user_id"}))
        return true;
    return below != NULL ? read_real(field_at(text->separator, below, last), &number) : !text->are_pairs;
}

/* Whether nothing of the line counts: it is empty or a comment. */
static bool is_remark(const char *line, size_t length) {
    size_t i = 0;
    while (i < length && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r'))
        i++;
    return i == length || line[i] == '#' || line[i] == '%';
}

void ratings_text_begin(const char *bytes, size_t size, const struct ratings_format *format,
                        struct ratings_text *text_out) {
    struct ratings_text text = {.wants_times = format->wants_times,
                                .are_pairs = format->are_pairs,
                                .least = format->refuses_negative ? 0 : -INFINITY};
    bool is_found = false;
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) /* the mark that some programs put before UTF-8 */
        text.first = 3;
    while (!is_found && text.first < size) {
        const char *line = bytes + text.first;
        size_t length = (size_t)((const char *)memchr(line, '\n', size - text.first) - line);
        const char *below = text.first + length + 1 < size ? line + length + 1 : NULL;
        is_found = !is_remark(line, length);
        if (is_found) {
            text.separator = find_separator(line, length);
            if (!is_header(&text, line, below))
                break;
        }
        text.first += length + 1;
        text.lines++;
    }
    *text_out = text;
}
