/* SPDX-License-Identifier: Apache-2.0 */
/* The records of an event log, as the list and the manual explain them. */
#ifndef HYSGD_CLI_LOG_TABLE_H
#define HYSGD_CLI_LOG_TABLE_H

#include <stdio.h>

#include "base/status.h"

/* The word that asks for them. */
#define LOG_TABLE_WORD "log"

/* As text fitted to `columns`; as a JSON object (HYSGD_MEMORY); as a section of the manual page. */
void log_table_print(int columns, FILE *out);
HYSGD_MUST_CHECK enum hysgd_status log_table_print_json(FILE *out);
void log_table_print_manual(FILE *out);

#endif
