/* SPDX-License-Identifier: Apache-2.0 */
/* Help, shell completion and the manual page, all printed from the tables of the commands and the plug-ins. */
#ifndef HYSGD_CLI_HELP_H
#define HYSGD_CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

/* The help of a command, short (a line or two per option) or full (also ranges, plug-ins, examples, exit codes). */
void help_print(const struct command *command, bool is_full, FILE *out);

/* What the exit codes mean, as one line. */
extern const char *const help_exit_codes;

/* The commands there are. */
void help_print_top(FILE *out);

/* A bash script that completes commands, options and the names of plug-ins. */
void help_print_completion(FILE *out);

/* Text of a paragraph, with what roff would take for commands made plain. */
void help_print_roff(const char *text, FILE *out);

/* The manual page hysgd(1), as roff. */
void help_print_manual(FILE *out);

#endif
