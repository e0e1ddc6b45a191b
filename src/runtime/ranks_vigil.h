/* SPDX-License-Identifier: Apache-2.0 */
/* Who is still there between the opening of a group and the run: each rank gives signs of life to rank 0, and it to
 * all, while it reads its data and prepares the run. */
#ifndef HYSGD_RUNTIME_RANKS_VIGIL_H
#define HYSGD_RUNTIME_RANKS_VIGIL_H

#include "runtime/comm.h"

struct ranks_vigil;

/* In each rank, once the group is open. After `patience` seconds without a sign of life a rank is silent. */
HYSGD_MUST_CHECK enum hysgd_status ranks_vigil_open(struct comm *comm, double patience,
                                                    struct ranks_vigil **vigil_out);

/* After the group is left, so that nobody writes to this memory any more; NULL is allowed. */
void ranks_vigil_close(struct ranks_vigil *vigil);

/* Between these, a thread of its own has the group, and the calling thread may do what takes long. NULL is allowed,
 * and nothing happens where MPI allows no other thread: then silence is waited for much longer. */
HYSGD_MUST_CHECK enum hysgd_status ranks_vigil_start(struct ranks_vigil *vigil);
void ranks_vigil_stop(struct ranks_vigil *vigil);

/* Gives signs of life; by a thread that waits with comm_progress. */
HYSGD_MUST_CHECK enum hysgd_status ranks_vigil_step(struct ranks_vigil *vigil);

/* Why nobody need wait for a rank, as "has ended"; NULL: it is there. Only rank 0 knows who is silent; the others,
 * of rank 0. Valid until the next call. */
const char *ranks_vigil_find_fault(struct ranks_vigil *vigil, int rank);

#endif
