/* SPDX-License-Identifier: Apache-2.0 */
/* Reads arguments. What an option means is in its table; nothing is printed here. */
#include "cli/args.h"

#include <string.h>

#include "base/option_text.h"

#define WORD_BYTES 64

struct common {
    bool quiet, verbose, dry_run;
    char *config;
};

const struct hysgd_option args_common_options[] = {
    {"quiet", HYSGD_OPTION_BOOL, offsetof(struct common, quiet), "no", 0, 0, NULL, "-q: no progress"},
    {"verbose", HYSGD_OPTION_BOOL, offsetof(struct common, verbose), "no", 0, 0, NULL, "-v: more progress"},
    {0},
};

const struct hysgd_option args_config_options[] = {
    {"config", HYSGD_OPTION_TEXT, offsetof(struct common, config), "", 0, 0, NULL,
     "read options from this file, lines of the form key = value; later arguments count more"},
    {"dry-run", HYSGD_OPTION_BOOL, offsetof(struct common, dry_run), "no", 0, 0, NULL,
     "check everything, print it with every default in the form that --config reads, and train nothing"},
    {0},
};

/* Everything that the reading of one argument needs. */
struct reader {
    struct args *args;
    const struct command *command;
    const struct command_taker *takers; /* of the command's tables */
};

/* ---- Finding ---- */

const struct hysgd_option *command_option(const struct command_table *table, const struct hysgd_option *option) {
    for (; option->key != NULL; option++) {
        const char *const *word = table->without;
        while (word != NULL && *word != NULL && strcmp(*word, option->key) != 0)
            word++;
        if (word == NULL || *word == NULL)
            break;
    }
    return option;
}

static const struct hysgd_option *find_in(const struct command_table *table, const char *key) {
    const struct hysgd_option *option = command_option(table, table->options);
    while (option->key != NULL && strcmp(option->key, key) != 0)
        option = command_option(table, option + 1);
    return option->key != NULL ? option : NULL;
}

static void near_in(const struct command_table *table, const char *key, struct option_near *near) {
    const struct hysgd_option *option = command_option(table, table->options);
    for (; option->key != NULL; option = command_option(table, option + 1))
        option_near_take(near, key, option->key, strlen(option->key));
}

static const struct command_table common_table = {.options = args_common_options};
static const struct command_table config_table = {.options = args_config_options};

static enum hysgd_status fail_unknown(const struct reader *reader, const char *key) {
    struct option_near near = {0};
    if (find_in(&common_table, key) != NULL || find_in(&config_table, key) != NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: --%s cannot be set here", reader->command->name, key);
    for (size_t i = 0; i < reader->command->table_count; i++)
        near_in(&reader->command->tables[i], key, &near);
    near_in(&common_table, key, &near);
    if (reader->command->has_config)
        near_in(&config_table, key, &near);
    option_near_take(&near, key, "help", 4);
    if (near.word != NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: unknown option --%s: did you mean --%.*s?", reader->command->name, key,
                          (int)near.length, near.word);
    return hysgd_fail(HYSGD_USAGE, "%s: unknown option --%s: see `hysgd %s -h`", reader->command->name, key,
                      reader->command->name);
}

/* ---- Setting ---- */

/* As `set` of a configuration file, over all tables of the command. */
static enum hysgd_status set_option(void *self, const char *key, const char *value) {
    const struct reader *reader = self;
    for (size_t i = 0; i < reader->command->table_count; i++)
        if (find_in(&reader->command->tables[i], key) != NULL)
            return reader->takers[i].set(reader->takers[i].self, key, value);
    return fail_unknown(reader, key);
}

static enum hysgd_status set_common(const struct reader *reader, const char *key, const char *value) {
    bool *flag = strcmp(key, "quiet") == 0     ? &reader->args->is_quiet
                 : strcmp(key, "verbose") == 0 ? &reader->args->is_verbose
                                               : &reader->args->is_dry_run;
    if (strcmp(key, "config") == 0)
        return config_read(value, set_option, (void *)(uintptr_t)reader);
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return hysgd_fail(HYSGD_USAGE, "%s: --%s=%s is not valid: expected yes or no", reader->command->name, key,
                          value);
    *flag = strcmp(value, "yes") == 0;
    return HYSGD_OK;
}

/* The option of the command with this key, from whichever table. */
static const struct hysgd_option *find_option(const struct reader *reader, const char *key, bool *is_common_out) {
    *is_common_out = false;
    for (size_t i = 0; i < reader->command->table_count; i++) {
        const struct hysgd_option *option = find_in(&reader->command->tables[i], key);
        if (option != NULL)
            return option;
    }
    *is_common_out = true;
    const struct hysgd_option *option = find_in(&common_table, key);
    if (option == NULL && reader->command->has_config)
        option = find_in(&config_table, key);
    return option;
}

/* "--key", "--key=value" or "--key" with the value in the next argument; says how many arguments it took. */
static enum hysgd_status read_long(const struct reader *reader, const char *argument, const char *next,
                                   int *taken_out) {
    char key[WORD_BYTES];
    size_t length = strcspn(argument, "=");
    bool is_common;
    snprintf(key, sizeof key, "%.*s", (int)(length < WORD_BYTES ? length : WORD_BYTES - 1), argument);
    const struct hysgd_option *option = find_option(reader, key, &is_common);
    if (option == NULL || length >= WORD_BYTES)
        return fail_unknown(reader, key);
    const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
    *taken_out = 1;
    if (value == NULL && option->type == HYSGD_OPTION_BOOL)
        value = "yes";
    if (value == NULL) {
        if (next == NULL || strncmp(next, "--", 2) == 0)
            return hysgd_fail(HYSGD_USAGE, "%s: --%s needs a value, as in --%s=VALUE", reader->command->name, key,
                              key);
        value = next;
        *taken_out = 2;
    }
    return is_common ? set_common(reader, key, value) : set_option((void *)(uintptr_t)reader, key, value);
}

static enum hysgd_status read_short(const struct reader *reader, const char *argument) {
    for (const char *letter = argument + 1; *letter != '\0'; letter++)
        switch (*letter) {
        case 'h':
            reader->args->help = ARGS_SHORT_HELP;
            return HYSGD_OK;
        case 'q':
            reader->args->is_quiet = true;
            break;
        case 'v':
            reader->args->is_verbose = true;
            break;
        default:
            return hysgd_fail(HYSGD_USAGE, "%s: unknown option %s: expected -h, -q, -v or a long option",
                              reader->command->name, argument);
        }
    return HYSGD_OK;
}

static enum hysgd_status read_word(const struct reader *reader, const char *word) {
    const struct command *command = reader->command;
    if (reader->args->word_count < command->most_words) {
        reader->args->words[reader->args->word_count++] = word;
        return HYSGD_OK;
    }
    if (command->most_words == 0)
        return hysgd_fail(HYSGD_USAGE, "%s: unexpected word '%s': options begin with --", command->name, word);
    if (command->most_words > 1)
        return hysgd_fail(HYSGD_USAGE, "%s: '%s' is one word too many: expected at most %d (%s)", command->name,
                          word, command->most_words, command->words);
    return hysgd_fail(HYSGD_USAGE, "%s: unexpected word '%s': expected only %s", command->name, word,
                      command->words);
}

enum hysgd_status args_read(struct args *args, const struct command *command, const struct command_taker *takers,
                            int argc, char **argv) {
    const struct reader reader = {args, command, takers};
    bool only_words = false;
    memset(args, 0, sizeof *args);
    /* Help is help wherever it stands, also behind a mistake that made one look for it. */
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            args->help = argv[i][1] == '-' ? ARGS_FULL_HELP : ARGS_SHORT_HELP;
            return HYSGD_OK;
        }
    for (int i = 0, taken = 1; i < argc; i += taken, taken = 1) {
        if (only_words || argv[i][0] != '-' || argv[i][1] == '\0')
            HYSGD_TRY(read_word(&reader, argv[i]));
        else if (strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (argv[i][1] == '-')
            HYSGD_TRY(read_long(&reader, argv[i] + 2, i + 1 < argc ? argv[i + 1] : NULL, &taken));
        else
            HYSGD_TRY(read_short(&reader, argv[i]));
        if (args->help != ARGS_NO_HELP)
            return HYSGD_OK;
    }
    if (args->word_count < command->least_words)
        return hysgd_fail(HYSGD_USAGE, "%s: %s is missing: see `hysgd %s -h`", command->name, command->words,
                          command->name);
    return HYSGD_OK;
}
