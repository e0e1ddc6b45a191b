/* SPDX-License-Identifier: Apache-2.0 */
/* Work that is cut into numbered pieces, done by several threads that take one after the other. */
#ifndef HYSGD_DATA_PIECES_H
#define HYSGD_DATA_PIECES_H

#include "base/status.h"

#define PIECES_MOST_LANES 64

/* Does piece `k`; a lane is a thread, and works on one piece at a time. */
typedef enum hysgd_status (*pieces_work)(void *context, int lane, size_t k);

/* How many lanes are worth having for so many pieces: `wanted`, or with 0 as many as there are cores, but at least
 * 1, and at most one for each piece. */
int pieces_lanes(int wanted, size_t count);

/* Does pieces 0 to count - 1. The calling thread is lane 0; one that cannot be started leaves its share to the
 * others. After a failure no new piece is begun; since they are begun in order, all before the first that fails are
 * done. That one's status is returned, its message the calling thread's, and its number stored (failed_out may be
 * NULL). */
HYSGD_MUST_CHECK enum hysgd_status pieces_run(size_t count, int lanes, pieces_work work, void *context,
                                              size_t *failed_out);

#endif
