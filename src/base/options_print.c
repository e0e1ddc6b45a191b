/* SPDX-License-Identifier: Apache-2.0 */
/* Printing of options: values in the form that options_parse reads back, and the help text. */
#include "base/option_text.h"

#include <inttypes.h>
#include <string.h>

#define DESCRIPTION_BYTES 512

/* The column where the help begins, unless a key with its default is longer than that. */
#define WIDEST_LABEL 24

/* A text is put in quotes where options_parse would otherwise see a quote, a parenthesis or the end of the value.
 */
static void print_text(const char *text, FILE *out) {
    if (*text != '"' && *text != '(' && strchr(text, ',') == NULL) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_real(double value, FILE *out) {
    char text[OPTION_REAL_BYTES];
    option_format_real(value, text);
    fputs(text, out);
}

static void print_choice(const struct hysgd_option *option, int index, FILE *out) {
    size_t length;
    const char *word = option_word(option->words, index, &length);
    if (word != NULL)
        fwrite(word, 1, length, out);
}

void options_print_value(const struct hysgd_option *option, const void *self, FILE *out) {
    const void *field = (const char *)self + option->offset;
    switch (option->type) {
    case HYSGD_OPTION_BOOL:
        fputs(*(const bool *)field ? "yes" : "no", out);
        break;
    case HYSGD_OPTION_INT:
        fprintf(out, "%" PRId64, *(const int64_t *)field);
        break;
    case HYSGD_OPTION_REAL:
        print_real(*(const double *)field, out);
        break;
    case HYSGD_OPTION_CHOICE:
        print_choice(option, *(const int *)field, out);
        break;
    case HYSGD_OPTION_TEXT:
        if (*(const char *const *)field != NULL)
            print_text(*(const char *const *)field, out);
        break;
    }
}

void options_print(const struct hysgd_option *table, const void *self, FILE *out) {
    for (size_t i = 0; i < options_count(table); i++) {
        fprintf(out, "%s%s=", i > 0 ? "," : "", table[i].key);
        options_print_value(&table[i], self, out);
    }
}

/* Prints the words of `text` after position `*column`, in lines that begin at `left` and end before `columns`. */
static void print_wrapped(const char *text, int left, int columns, int *column, FILE *out) {
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        if (*column > left && *column + 1 + length > columns) {
            fprintf(out, "\n%*s", left, "");
            *column = left;
        } else if (*column > left) {
            fputc(' ', out);
            *column += 1;
        }
        fwrite(text, 1, (size_t)length, out);
        *column += length;
        text += length;
        text += strspn(text, " ");
    }
}

static int label_length(const struct hysgd_option *option) {
    return (int)(strlen(option->key) + 1 + (option->initial != NULL ? strlen(option->initial) : 0));
}

static int find_label_width(const struct hysgd_option *table) {
    int widest = 0;
    for (size_t i = 0; i < options_count(table); i++) {
        int length = label_length(&table[i]);
        if (length > widest && length <= WIDEST_LABEL)
            widest = length;
    }
    return widest;
}

void options_help(const struct hysgd_option *table, int indent, int columns, FILE *out) {
    int width = find_label_width(table);
    int left = indent + width + 2;
    for (size_t i = 0; i < options_count(table); i++) {
        const struct hysgd_option *option = &table[i];
        char values[DESCRIPTION_BYTES], line[2 * DESCRIPTION_BYTES];
        int column = left;
        fprintf(out, "%*s%s=%s", indent, "", option->key, option->initial != NULL ? option->initial : "");
        int length = label_length(option);
        if (length > width)
            fprintf(out, "\n%*s", left, "");
        else
            fprintf(out, "%*s", width - length + 2, "");
        option_describe(option, values, sizeof values);
        snprintf(line, sizeof line, "%s (%s)", option->help != NULL ? option->help : "", values);
        print_wrapped(line, left, columns, &column, out);
        fputc('\n', out);
    }
}
