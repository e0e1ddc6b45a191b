/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a checkpoint, or in any other safetensors file. */
#ifndef HYSGD_TRAIN_INSPECT_H
#define HYSGD_TRAIN_INSPECT_H

#include <stdio.h>

#include "base/status.h"

/* Prints the metadata and a row per tensor (shape, type, mean, standard deviation, smallest, largest, numbers that
 * are not finite), as text for a terminal of `columns` or as JSON. HYSGD_INPUT. */
HYSGD_MUST_CHECK enum hysgd_status inspect_print(const char *path, bool is_json, int columns, FILE *out);

#endif
