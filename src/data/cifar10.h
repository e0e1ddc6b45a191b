/* SPDX-License-Identifier: Apache-2.0 */
/* The binary format of CIFAR-10: records of one label byte and 3 x 32 x 32 pixels, planes red, green, blue. */
#ifndef HYSGD_DATA_CIFAR10_H
#define HYSGD_DATA_CIFAR10_H

#include "base/status.h"

#define CIFAR10_PIXELS  3072
#define CIFAR10_RECORD  (1 + CIFAR10_PIXELS)
#define CIFAR10_CLASSES 10

/* Checks that the bytes are whole records, at least one, with valid labels, and counts them. HYSGD_INPUT begins
 * with `where`, the file's name. */
HYSGD_MUST_CHECK enum hysgd_status cifar10_check(const uint8_t *bytes, size_t size, const char *where,
                                                 uint64_t *count_out);

#endif
