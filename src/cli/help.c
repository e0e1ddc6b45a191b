/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the help of a command from its option tables, fitted to the terminal. */
#include "cli/help.h"

#include <string.h>

#include "base/option_text.h"
#include "cli/args.h"
#include "cli/terminal.h"
#include "train/catalog.h"

#define HELP_COLUMN 24
#define TEXT_BYTES  768

/* What stands for the value in "--key VALUE". */
static const char *placeholder(const struct hysgd_option *option) {
    switch (option->type) {
    case HYSGD_OPTION_BOOL:
        return "";
    case HYSGD_OPTION_INT:
        return " N";
    case HYSGD_OPTION_REAL:
        return " X";
    case HYSGD_OPTION_CHOICE:
        return " WORD";
    case HYSGD_OPTION_TEXT:
        return " TEXT";
    }
    return "";
}

/* What the option takes and what holds without it, in brackets. */
static void describe(const struct hysgd_option *option, bool is_full, char *text, size_t size) {
    char expected[TEXT_BYTES / 2] = "";
    size_t used = (size_t)snprintf(text, size, "%s", option->help);
    bool has_initial = option->initial != NULL && option->initial[0] != '\0' && option->type != HYSGD_OPTION_BOOL;
    if (option->type == HYSGD_OPTION_CHOICE)
        snprintf(expected, sizeof expected, "%s", option->words);
    else if (is_full && (option->type == HYSGD_OPTION_INT || option->type == HYSGD_OPTION_REAL))
        option_describe(option, expected, sizeof expected);
    if (used >= size || (!has_initial && expected[0] == '\0'))
        return;
    snprintf(text + used, size - used, " [%s%s%s%s]", expected, expected[0] != '\0' && has_initial ? "; " : "",
             has_initial ? "default " : "", has_initial ? option->initial : "");
}

static void print_options(const struct command_table *table, bool is_full, int columns, FILE *out) {
    const struct hysgd_option *option = command_option(table, table->options);
    for (; option->key != NULL; option = command_option(table, option + 1)) {
        char text[TEXT_BYTES];
        int column = fprintf(out, "  --%s%s", option->key, placeholder(option));
        if (column > HELP_COLUMN - 2) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%*s", HELP_COLUMN - column, "");
        describe(option, is_full, text, sizeof text);
        terminal_wrap(text, HELP_COLUMN, HELP_COLUMN, columns, out);
        fputc('\n', out);
    }
}

/* Lines of a text; `indent` before each, wrapped. */
static void print_paragraphs(const char *text, int indent, int columns, FILE *out) {
    while (text != NULL && *text != '\0') {
        char line[4 * TEXT_BYTES];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        fprintf(out, "%*s", indent, "");
        terminal_wrap(line, indent, indent, columns, out);
        fputc('\n', out);
        text += length + (text[length] == '\n');
    }
}

static bool has_key(const struct command *command, const char *key) {
    for (size_t i = 0; i < command->table_count; i++) {
        const struct command_table *table = &command->tables[i];
        const struct hysgd_option *option = command_option(table, table->options);
        for (; option->key != NULL; option = command_option(table, option + 1))
            if (strcmp(option->key, key) == 0)
                return true;
    }
    return false;
}

/* The names that the command's options can take. */
static void print_plugins(const struct command *command, int columns, FILE *out) {
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++) {
        if (!has_key(command, kind->option))
            continue;
        fprintf(out, "\n%s, %s:\n", kind->plural, kind->question);
        for (size_t i = 0; i < kind->list->count; i++) {
            const struct hysgd_plugin *entry = kind->list->entries[i];
            int column = fprintf(out, "  %s", entry->name);
            fprintf(out, "%*s", column < HELP_COLUMN ? HELP_COLUMN - column : 1, "");
            terminal_wrap(entry->summary, HELP_COLUMN, HELP_COLUMN, columns, out);
            fputc('\n', out);
        }
    }
}

const char *const help_exit_codes = "0 done, 1 the run failed, 2 wrong usage, 3 an input could not be read, "
                                    "4 the target was not reached, 130 interrupted (after a checkpoint, where one "
                                    "is asked for)";

void help_print(const struct command *command, bool is_full, FILE *out) {
    const struct command_table config_table = {.options = args_config_options};
    const struct command_table common_table = {.options = args_common_options};
    int columns = terminal_columns(out);
    fprintf(out, "usage: hysgd %s [OPTIONS]%s%s\n\n", command->name, command->words[0] != '\0' ? " " : "",
            command->words);
    print_paragraphs(command->summary, 0, columns, out);
    if (is_full && command->details != NULL) {
        fputc('\n', out);
        print_paragraphs(command->details, 0, columns, out);
    }
    for (size_t i = 0; i < command->table_count; i++) {
        fprintf(out, "\n%s:\n", command->tables[i].title);
        print_options(&command->tables[i], is_full, columns, out);
    }
    fputs("\nall commands:\n", out);
    if (command->has_config)
        print_options(&config_table, is_full, columns, out);
    print_options(&common_table, is_full, columns, out);
    fputs("  -h, --help            this help, short or full\n", out);
    if (!is_full)
        return;
    print_plugins(command, columns, out);
    if (command->examples != NULL)
        fprintf(out, "\nexamples:\n%s", command->examples);
    fputs("\nexit codes:\n", out);
    print_paragraphs(help_exit_codes, 2, columns, out);
}

void help_print_top(FILE *out) {
    int columns = terminal_columns(out);
    fputs("usage: hysgd COMMAND [OPTIONS]\n\n", out);
    print_paragraphs("Trains models by parallel stochastic gradient descent, synchronous, asynchronous and hybrid.",
                     0, columns, out);
    fputs("\ncommands:\n", out);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(out, "  %-10s ", commands[i]->name);
        terminal_wrap(commands[i]->summary, 13, 13, columns, out);
        fputc('\n', out);
    }
    fputs("\n", out);
    print_paragraphs(
        "`hysgd COMMAND -h` is a command's short help, `--help` the full one; `hysgd --version` tells the "
        "version.",
        0, columns, out);
}
