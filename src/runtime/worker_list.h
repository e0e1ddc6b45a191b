/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that give every worker a number. */
#ifndef HYSGD_RUNTIME_WORKER_LIST_H
#define HYSGD_RUNTIME_WORKER_LIST_H

#include "base/status.h"

/* Reads "A,B,...", each a `noun` from 1e-6 to 1e6, "4xA" standing for four workers, into the beginning of
 * values_out [workers]; how many it gives goes to count_out. HYSGD_USAGE names the key, the item and what was
 * expected, also when there are more than workers. */
HYSGD_MUST_CHECK enum hysgd_status worker_list_read(const char *key, const char *noun, const char *text,
                                                    int workers, double *values_out, int *count_out);

#endif
