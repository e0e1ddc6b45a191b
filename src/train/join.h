/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a run of several processes to take one more worker in. */
#ifndef HYSGD_TRAIN_JOIN_H
#define HYSGD_TRAIN_JOIN_H

#include <stdio.h>

#include "base/status.h"

/* Asks the run that listens at the path, waits until the worker takes part, and prints which it is. `host`: where
 * its process is to run; "": where the launcher puts it. HYSGD_INPUT: there is no run; HYSGD_FAILED: it refuses. */
HYSGD_MUST_CHECK enum hysgd_status join_run(const char *path, const char *host, FILE *out);

#endif
