/* SPDX-License-Identifier: Apache-2.0 */
/* What commands have in common. */
#include "cli/command.h"

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

int command_run_on_file(const struct command *command, int argc, char **argv, void *options, command_on_file *act) {
    struct args args;
    struct own own = {command, options};
    const struct command_taker takers[] = {{set_own, &own}};
    enum hysgd_status status = options_init(command->tables[0].options, options);
    if (status == HYSGD_OK)
        status = args_read(&args, command, takers, argc, argv);
    if (status == HYSGD_OK && args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (status == HYSGD_OK)
        status = act(args.words[0], options);
    options_fini(command->tables[0].options, options);
    return command_report(status);
}
