/* SPDX-License-Identifier: Apache-2.0 */
/* Generates the bash completion and the manual page from the tables of the commands and the plug-ins. */
#include <string.h>

#include "base/option_text.h"
#include "cli/args.h"
#include "cli/help.h"
#include "cli/log_table.h"
#include "train/catalog.h"

/* Calls `visit` for every option that the command takes, the common ones included. */
static void visit_options(const struct command *command,
                          void (*visit)(const struct command *command, const struct hysgd_option *option,
                                        FILE *out),
                          FILE *out) {
    const struct command_table common[] = {{.options = args_common_options}, {.options = args_config_options}};
    for (size_t i = 0; i < command->table_count + 1 + command->has_config; i++) {
        const struct command_table *table =
            i < command->table_count ? &command->tables[i] : &common[i - command->table_count];
        const struct hysgd_option *option = command_option(table, table->options);
        for (; option->key != NULL; option = command_option(table, option + 1))
            visit(command, option, out);
    }
}

/* ---- Completion ---- */

static void print_key(const struct command *command, const struct hysgd_option *option, FILE *out) {
    (void)command;
    fprintf(out, " --%s", option->key);
}

/* A case of the value that follows "COMMAND --KEY". Options without known values complete file names. */
static void print_values(const struct command *command, const struct hysgd_option *option, FILE *out) {
    const struct catalog_kind *kind = catalog_kind(option->key);
    size_t length;
    const char *word;
    if (kind == NULL && option->type != HYSGD_OPTION_CHOICE)
        return;
    fprintf(out, "    '%s --%s') words='", command->name, option->key);
    for (size_t i = 0; kind != NULL && i < kind->list->count; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", kind->list->entries[i]->name);
    for (int i = 0; kind == NULL && (word = option_word(option->words, i, &length)) != NULL; i++)
        fprintf(out, "%s%.*s", i > 0 ? " " : "", (int)length, word);
    fputs("' ;;\n", out);
}

void help_print_completion(FILE *out) {
    fputs("# bash completion for hysgd, printed by `hysgd list --completion bash`\n"
          "_hysgd() {\n"
          "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=''\n"
          "  if [[ $before == '=' ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "  if [[ $current == '=' ]]; then current=''; fi\n"
          "  if (( COMP_CWORD == 1 )); then\n"
          "    words='",
          out);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "%s ", commands[i]->name);
    fputs("--help --version'\n"
          "  elif [[ $current == -* ]]; then\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(out, "    %s) words='--help", commands[i]->name);
        visit_options(commands[i], print_key, out);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n"
          "  else\n"
          "    case \"${COMP_WORDS[1]} $before\" in\n",
          out);
    for (size_t i = 0; i < command_count; i++)
        visit_options(commands[i], print_values, out);
    fputs("    'list list') words='", out);
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++)
        fprintf(out, "%s ", kind->plural);
    fputs(LOG_TABLE_WORD, out);
    fputs("' ;;\n"
          "    esac\n"
          "  fi\n"
          "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "}\n"
          "complete -o default -F _hysgd hysgd\n",
          out);
}

/* ---- Manual ---- */

void help_print_roff(const char *text, FILE *out) {
    bool is_line_start = true;
    for (; *text != '\0'; text++) {
        if (is_line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        is_line_start = *text == '\n';
    }
}

static void print_option(const struct command *command, const struct hysgd_option *option, FILE *out) {
    char expected[512];
    (void)command;
    fputs(".TP\n\\fB\\-\\-", out);
    help_print_roff(option->key, out);
    fputs("\\fR", out);
    if (option->type != HYSGD_OPTION_BOOL) {
        option_describe(option, expected, sizeof expected);
        fputs(" \\fI", out);
        help_print_roff(expected, out);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    help_print_roff(option->help, out);
    if (option->initial != NULL && option->initial[0] != '\0' && option->type != HYSGD_OPTION_BOOL) {
        fputs(" (default ", out);
        help_print_roff(option->initial, out);
        fputc(')', out);
    }
    fputc('\n', out);
}

static void print_command(const struct command *command, FILE *out) {
    fprintf(out, ".SS hysgd %s [OPTIONS] %s\n", command->name, command->words);
    help_print_roff(command->summary, out);
    fputs("\n.PP\n", out);
    help_print_roff(command->details != NULL ? command->details : "", out);
    fputc('\n', out);
    visit_options(command, print_option, out);
    if (command->examples != NULL) {
        fputs(".PP\nExamples:\n.PP\n.nf\n", out);
        help_print_roff(command->examples, out);
        fputs(".fi\n", out);
    }
}

static void print_plugin(const struct hysgd_plugin *entry, FILE *out) {
    fputs(".TP\n\\fB", out);
    help_print_roff(entry->name, out);
    fputs("\\fR", out);
    if (entry->alias != NULL)
        fprintf(out, " (also \\fB%s\\fR)", entry->alias);
    fputc('\n', out);
    help_print_roff(entry->summary, out);
    if (entry->source != NULL) {
        fputs(" (", out);
        help_print_roff(entry->source, out);
        fputc(')', out);
    }
    fputc('\n', out);
    if (options_count(entry->options) == 0)
        return;
    fputs(".RS\n", out);
    for (const struct hysgd_option *option = entry->options; option->key != NULL; option++) {
        char expected[512];
        option_describe(option, expected, sizeof expected);
        fputs(".TP\n\\fB", out);
        help_print_roff(option->key, out);
        fputs("\\fR=", out);
        help_print_roff(option->initial != NULL ? option->initial : "", out);
        fputc('\n', out);
        help_print_roff(option->help, out);
        fputs(" (", out);
        help_print_roff(expected, out);
        fputs(")\n", out);
    }
    fputs(".RE\n", out);
}

void help_print_manual(FILE *out) {
    fputs(".TH HYSGD 1 \"\" \"hysgd " HYSGD_VERSION "\" \"User Commands\"\n"
          ".SH NAME\nhysgd \\- parallel stochastic gradient descent, synchronous, asynchronous and hybrid\n"
          ".SH SYNOPSIS\n.B hysgd\n.I COMMAND\n[OPTIONS]\n.SH COMMANDS\n",
          out);
    for (size_t i = 0; i < command_count; i++)
        print_command(commands[i], out);
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++) {
        fputs(".SH ", out);
        for (const char *c = kind->plural; *c != '\0'; c++)
            fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
        fprintf(out, "\nOptions follow the name: %s,key=value,... Shown with their defaults.\n",
                kind->list->count > 0 ? kind->list->entries[0]->name : "name");
        for (size_t i = 0; i < kind->list->count; i++)
            print_plugin(kind->list->entries[i], out);
    }
    log_table_print_manual(out);
    fputs(".SH EXIT STATUS\n", out);
    help_print_roff(help_exit_codes, out);
    fputc('\n', out);
}
