/* SPDX-License-Identifier: Apache-2.0 */
/* Text fitted to the terminal. */
#ifndef HYSGD_CLI_TERMINAL_H
#define HYSGD_CLI_TERMINAL_H

#include <stdio.h>

/* The width of the terminal behind `out`, else that of the environment's COLUMNS, else 80; at least 40. */
int terminal_columns(FILE *out);

/* Prints the words of a line of text from position `column` on; further lines begin at `left`. Ends without a line
 * end; returns the position. */
int terminal_wrap(const char *text, int column, int left, int columns, FILE *out);

#endif
