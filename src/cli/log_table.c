/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the tables of record/kinds.c. */
#include "cli/log_table.h"

#include "cli/help.h"
#include "cli/terminal.h"
#include "record/kinds.h"
#include "train/json.h"

#define NAME_COLUMN 4
#define HELP_COLUMN 22

static const char about[] =
    "A log has these records: the run, its options, then what happened in its order, and at the end an account of "
    "each worker, the shares of each class of the data, and the end itself. Every event begins with the fields of "
    "`event`. As JSON lines, the run is the first line, with the options as an object, and the end is the last one, "
    "with the accounts and classes as arrays.";

/* All kinds, in the order in which they come in a log; NULL past the last. */
static const struct record_kind *kind_at(size_t index) {
    static const struct record_kind *const first[] = {&record_run, &record_option, &record_event};
    static const struct record_kind *const last[] = {&record_account, &record_class, &record_end};
    const size_t first_count = sizeof first / sizeof *first, last_count = sizeof last / sizeof *last;
    if (index < first_count)
        return first[index];
    if (index < first_count + record_event_count)
        return &record_events[index - first_count];
    index -= first_count + record_event_count;
    return index < last_count ? last[index] : NULL;
}

static const char *type_name(enum record_type type) {
    switch (type) {
    case RECORD_COUNT:
    case RECORD_LIMIT:
    case RECORD_INT:
        return "integer";
    case RECORD_FLAG:
        return "yes or no";
    case RECORD_REAL:
    case RECORD_BOUND:
        return "real";
    case RECORD_TEXT:
        return "text";
    case RECORD_STALENESS:
        return "shown, not stored";
    }
    return "";
}

static const char *none_name(enum record_type type) {
    return type == RECORD_LIMIT || type == RECORD_BOUND ? "; 0: none" : "";
}

/* What a field is, with its type and unit. */
static void describe(const struct record_field *field, char *text, size_t size) {
    snprintf(text, size, "%s (%s%s%s%s)", field->help, type_name(field->type), field->unit != NULL ? ", " : "",
             field->unit != NULL ? field->unit : "", none_name(field->type));
}

void log_table_print(int columns, FILE *out) {
    char text[256];
    terminal_wrap(about, 0, 0, columns, out);
    fputc('\n', out);
    for (size_t i = 0; kind_at(i) != NULL; i++) {
        const struct record_kind *kind = kind_at(i);
        int column = fprintf(out, "\n%s: ", kind->name) - 1;
        terminal_wrap(kind->help, column, NAME_COLUMN, columns, out);
        fputc('\n', out);
        for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
            column = fprintf(out, "%*s%s ", NAME_COLUMN, "", field->name);
            fprintf(out, "%*s", column < HELP_COLUMN ? HELP_COLUMN - column : 0, "");
            describe(field, text, sizeof text);
            terminal_wrap(text, column < HELP_COLUMN ? HELP_COLUMN : column, HELP_COLUMN, columns, out);
            fputc('\n', out);
        }
    }
}

static json_t *field_json(const struct record_field *field) {
    return json_pack("{s:s, s:s, s:o, s:s}", "name", field->name, "type", type_name(field->type), "unit",
                     json_text(field->unit), "help", field->help);
}

static json_t *kind_json(const struct record_kind *kind) {
    json_t *fields = json_array();
    for (const struct record_field *field = kind->fields; field->name != NULL && fields != NULL; field++)
        if (json_array_append_new(fields, field_json(field)) != 0)
            fields = json_drop(fields);
    return json_pack("{s:s, s:s, s:o}", "name", kind->name, "help", kind->help, "fields", fields);
}

enum hysgd_status log_table_print_json(FILE *out) {
    json_t *kinds = json_array();
    for (size_t i = 0; kind_at(i) != NULL && kinds != NULL; i++)
        if (json_array_append_new(kinds, kind_json(kind_at(i))) != 0)
            kinds = json_drop(kinds);
    return json_print(kinds != NULL ? json_pack("{s:o}", LOG_TABLE_WORD, kinds) : NULL, JSON_INDENT(2), out);
}

void log_table_print_manual(FILE *out) {
    char text[256];
    fputs(".SH EVENT LOG\n", out);
    help_print_roff(about, out);
    fputc('\n', out);
    for (size_t i = 0; kind_at(i) != NULL; i++) {
        const struct record_kind *kind = kind_at(i);
        fprintf(out, ".TP\n\\fB%s\\fR\n", kind->name);
        help_print_roff(kind->help, out);
        fputs("\n.RS\n", out);
        for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
            describe(field, text, sizeof text);
            fprintf(out, ".TP\n\\fB%s\\fR\n", field->name);
            help_print_roff(text, out);
            fputc('\n', out);
        }
        fputs(".RE\n", out);
    }
}
