/* SPDX-License-Identifier: Apache-2.0 */
/* What tells data and program apart without keeping them: for logs, whose runs can be repeated on the same only. */
#ifndef HYSGD_TRAIN_IDENTITY_H
#define HYSGD_TRAIN_IDENTITY_H

#include "base/plugin.h"

/* CRC-32 of the shape of the data and of samples of each split: at most 4096 of them, and 16 MiB, evenly spread
 * from the first to the last, so that it costs milliseconds whatever the data. */
struct identity {
    uint64_t train, test;
};

/* The data are ready. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status identity_of_data(const struct plugin *data, struct identity *identity_out);

#define IDENTITY_PROGRAM_BYTES 96

/* This program and the kernels that it computes with on this machine, on which the last bits of a gradient depend:
 * "hysgd 0.1.0, onednn 2.6.0 isa 7ef". */
void identity_of_program(char text[IDENTITY_PROGRAM_BYTES]);

#endif
