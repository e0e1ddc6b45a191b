/* SPDX-License-Identifier: Apache-2.0 */
/* Checks where a run is going to write before anything is trained, so that no result is lost in the end. Writes
 * nothing itself. */
#ifndef HYSGD_TRAIN_OUTPUT_PATHS_H
#define HYSGD_TRAIN_OUTPUT_PATHS_H

#include <stddef.h>

#include "base/status.h"

enum output_manner {
    OUTPUT_WRITTEN,  /* into the file as it is */
    OUTPUT_REPLACED, /* a regular file is replaced as a whole, anything else is written into */
    OUTPUT_ONLY_REPLACED,
    OUTPUT_DIRECTORY /* files are added to it; it is made when only it is missing */
};

struct output_path {
    const char *key, *path; /* path "": none */
    enum output_manner manner;
};

/* Every path must be one that can be written, and no two may be the same file. Only a file that is always replaced
 * may be the one that `input` ("": none) names, which the run reads. HYSGD_USAGE names the option and the path;
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status output_paths_check(const struct output_path *outputs, size_t count,
                                                      const char *input);

#endif
