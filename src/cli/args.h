/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of a command, read by its option tables: --key value, --key=value, --flag, and words. */
#ifndef HYSGD_CLI_ARGS_H
#define HYSGD_CLI_ARGS_H

#include "cli/command.h"

#define ARGS_MOST_WORDS 64

enum args_help { ARGS_NO_HELP, ARGS_SHORT_HELP, ARGS_FULL_HELP };

/* What every command understands, and the words. */
struct args {
    enum args_help help;
    bool is_quiet, is_verbose, is_dry_run;
    const char *words[ARGS_MOST_WORDS];
    int word_count;
};

/* Options that are not in a table: those of struct args. Printed by the help. */
extern const struct hysgd_option args_common_options[], args_config_options[];

/* Reads the arguments in their order, a later one counting; `takers` go with the command's tables. With -h or
 * --help it reads nothing else. HYSGD_USAGE names the argument and the nearest valid one. */
HYSGD_MUST_CHECK enum hysgd_status args_read(struct args *args, const struct command *command,
                                             const struct command_taker *takers, int argc, char **argv);

#endif
