/* SPDX-License-Identifier: Apache-2.0 */
/* What commands have in common. */
#include "cli/command.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/args.h"
#include "cli/help.h"

/* The taker of the command's own table. */
struct own {
    const struct command *command;
    void *options;
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    const struct own *own = self;
    return options_set(own->command->tables[0].options, own->options, own->command->name, key, value);
}

/* What to do with the words: one of them. */
struct act {
    command_on_file *one;
    command_on_files *several;
};

static int run_on_words(const struct command *command, int argc, char **argv, void *options, struct act act) {
    struct args args;
    struct own own = {command, options};
    const struct command_taker takers[] = {{set_own, &own}};
    enum hysgd_status status = options_init(command->tables[0].options, options);
    if (status == HYSGD_OK)
        status = args_read(&args, command, takers, argc, argv);
    if (status == HYSGD_OK && args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (status == HYSGD_OK)
        status = act.one != NULL ? act.one(args.words[0], options)
                                 : act.several(args.words, (size_t)args.word_count, options);
    options_fini(command->tables[0].options, options);
    return command_report(status);
}

int command_run_on_file(const struct command *command, int argc, char **argv, void *options, command_on_file *act) {
    return run_on_words(command, argc, argv, options, (struct act){.one = act});
}

int command_run_on_files(const struct command *command, int argc, char **argv, void *options,
                         command_on_files *act) {
    return run_on_words(command, argc, argv, options, (struct act){.several = act});
}

void command_note_log(const char *path, const struct export_result *result) {
    if (result->is_cut)
        fprintf(stderr,
                "hysgd: %s: the log is cut at byte %" PRIu64 ", before the end of its run: it has %" PRIu64
                " events\n",
                path, result->bytes, result->events);
    if (result->unknown[0] != '\0')
        fprintf(stderr, "hysgd: %s: left out what this program does not know, such as %s\n", path, result->unknown);
}
