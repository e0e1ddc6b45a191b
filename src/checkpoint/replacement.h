/* SPDX-License-Identifier: Apache-2.0 */
/* A file that replaces another as a whole: it grows under a temporary name in the folder of the one that it
 * replaces, and takes its name only when it is complete and on the disk. Messages do not name the file: callers
 * locate them. */
#ifndef HYSGD_CHECKPOINT_REPLACEMENT_H
#define HYSGD_CHECKPOINT_REPLACEMENT_H

#include <limits.h>

#include "base/status.h"

struct replacement {
    int folder, file;              /* descriptors; a folder renamed meanwhile does no harm */
    char name[NAME_MAX + 1];       /* of the file that is replaced */
    char temporary[NAME_MAX + 48]; /* of the new one until it is complete */
    char folder_path[PATH_MAX];    /* links followed */
};

/* Makes the temporary file, "NAME.PID-NUMBER.tmp" with this number or one of the next. HYSGD_OUTPUT; then nothing
 * is open. A symbolic link is followed; what is not a regular file is refused. */
HYSGD_MUST_CHECK enum hysgd_status replacement_open(struct replacement *replacement, const char *path,
                                                    uint64_t number);

/* Makes it so long, and takes the space on the disk where the file system can. */
HYSGD_MUST_CHECK enum hysgd_status replacement_reserve(const struct replacement *replacement, uint64_t bytes);

/* Syncs and renames it; then, or when that fails, nothing is open and no temporary file is left. */
HYSGD_MUST_CHECK enum hysgd_status replacement_commit(struct replacement *replacement);
void replacement_abort(struct replacement *replacement);

/* Of any file that is open for writing. */
HYSGD_MUST_CHECK enum hysgd_status replacement_write(int file, uint64_t offset, const void *data, uint64_t bytes);
HYSGD_MUST_CHECK enum hysgd_status replacement_sync(int file);

#endif
