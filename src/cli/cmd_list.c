/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd list: what there is to choose from, printed from the tables of the plug-ins. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/log_table.h"
#include "cli/terminal.h"
#include "train/catalog.h"

struct options {
    bool json, man;
    int completion;
};

enum completion { NO_COMPLETION, BASH };

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL, "print the list as JSON"},
    {"completion", HYSGD_OPTION_CHOICE, offsetof(struct options, completion), "none", 0, 0, "none|bash",
     "print a script that makes this shell complete the command's words"},
    {"man", HYSGD_OPTION_BOOL, offsetof(struct options, man), "no", 0, 0, NULL,
     "print the manual page, for man -l"},
    {0},
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    return options_set(own_options, self, "list", key, value);
}

static void print_name(const struct hysgd_plugin *entry, int left, int columns) {
    int column = printf("  %s", entry->name);
    printf("%*s", column < left ? left - column : 1, "");
    column = terminal_wrap(entry->summary, column < left ? left : column + 1, left, columns, stdout);
    if (entry->alias != NULL) {
        bool fits = column + (int)sizeof " (also )" + (int)strlen(entry->alias) <= columns;
        printf("%s%*s(also %s)", fits ? "" : "\n", fits ? 1 : left, "", entry->alias);
    }
    putchar('\n');
}

/* Everything that is known of one plug-in. */
static void print_entry(const struct catalog_kind *kind, const struct hysgd_plugin *entry, int columns) {
    printf("%s %s", kind->option, entry->name);
    if (entry->alias != NULL)
        printf(" (also %s)", entry->alias);
    printf("\n  ");
    terminal_wrap(entry->summary, 2, 2, columns, stdout);
    putchar('\n');
    if (entry->source != NULL) {
        printf("  source: ");
        terminal_wrap(entry->source, 10, 10, columns, stdout);
        putchar('\n');
    }
    if (options_count(entry->options) > 0) {
        puts("  options:");
        options_help(entry->options, 4, columns, stdout);
    }
}

static void print_kind(const struct catalog_kind *kind, int columns, bool is_full) {
    if (!is_full) {
        printf("%s: ", kind->plural);
        terminal_wrap(kind->question, (int)strlen(kind->plural) + 2, 2, columns, stdout);
        putchar('\n');
    }
    for (size_t i = 0; i < kind->list->count; i++) {
        if (is_full && i > 0)
            putchar('\n');
        if (is_full)
            print_entry(kind, kind->list->entries[i], columns);
        else
            print_name(kind->list->entries[i], 18, columns);
    }
}

static enum hysgd_status fail_unknown(const char *word) {
    struct option_near near;
    catalog_nearest(word, &near);
    if (near.word != NULL)
        return hysgd_fail(HYSGD_USAGE, "list: unknown word '%s': did you mean '%.*s'?", word, (int)near.length,
                          near.word);
    return hysgd_fail(
        HYSGD_USAGE,
        "list: unknown word '%s': expected policies, optimizers, corrections, models, data, "
        "partitions, local, wires, schedulers, runtimes, distributions, log, or the name of one of them",
        word);
}

static enum hysgd_status print_list(const char *word, bool is_json) {
    const struct catalog_kind *kind = NULL;
    const struct hysgd_plugin *entry = NULL;
    int columns = terminal_columns(stdout);
    if (word != NULL && strcmp(word, LOG_TABLE_WORD) == 0) {
        if (is_json)
            return log_table_print_json(stdout);
        log_table_print(columns, stdout);
        return HYSGD_OK;
    }
    if (word != NULL && (kind = catalog_kind(word)) == NULL && (entry = catalog_find(word, &kind)) == NULL)
        return fail_unknown(word);
    if (is_json)
        return catalog_print_json(kind, entry, stdout);
    if (entry != NULL)
        print_entry(kind, entry, columns);
    else if (kind != NULL)
        print_kind(kind, columns, true);
    for (const struct catalog_kind *each = catalog_kinds; word == NULL && each->plural != NULL; each++) {
        if (each != catalog_kinds)
            putchar('\n');
        print_kind(each, columns, false);
    }
    return HYSGD_OK;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own = {0};
    struct args args;
    const struct command_taker takers[] = {{set_own, &own}};
    enum hysgd_status status = args_read(&args, command, takers, argc, argv);
    if (status != HYSGD_OK)
        return command_report(status);
    if (args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (own.completion == BASH)
        help_print_completion(stdout);
    else if (own.man)
        help_print_manual(stdout);
    else
        status = print_list(args.word_count > 0 ? args.words[0] : NULL, own.json);
    return command_report(status);
}

const struct command command_list = {
    .name = "list",
    .words = "[WORD]",
    .most_words = 1,
    .tables = {{"output", own_options, NULL}},
    .table_count = 1,
    .summary =
        "Lists policies, optimizers, corrections, models, data, partitions, local steps, wires, schedulers, runtimes and distributions, "
        "with their options.",
    .details =
        "Without a word: everything, a line each. WORD is one of policies, optimizers, corrections, models, data, "
        "partitions, local, wires, schedulers, runtimes, distributions, or a name such as threshold; log: the records and fields of an "
        "event log.",
    .examples = "  hysgd list\n"
                "  hysgd list policies\n"
                "  hysgd list threshold\n"
                "  hysgd list --json | jq '.policies[].name'\n"
                "  hysgd list --completion bash \\\n"
                "      > ~/.local/share/bash-completion/completions/hysgd\n"
                "  hysgd list --man > hysgd.1\n",
    .run = run,
};
