/* SPDX-License-Identifier: Apache-2.0 */
/* A group whose ranks are threads of this process: for tests, which can delay messages, and kill and freeze ranks.
 */
#ifndef HYSGD_RUNTIME_COMM_LOCAL_H
#define HYSGD_RUNTIME_COMM_LOCAL_H

#include "runtime/comm.h"

struct comm_local_setup {
    int size; /* ranks, at least 1 */
    /* With a seed other than 0 each message is hidden for a random number, at most `most_delay`, of its receiver's
     * calls of comm_progress, so that messages of different senders or tags overtake each other; and each is at
     * random either copied at once or kept in the sender's memory until it is received. Without, messages of up to
     * 4096 bytes are copied, as MPI libraries do. */
    uint64_t seed;
    int most_delay;
    bool hides_deaths; /* comm_peer_has_died is false for ever, as between hosts */
    int most;          /* ranks that there may ever be; at least `size`, or 0: no more are admitted */
    /* Starts the thread of a rank that is admitted, to which it hands the end; by the thread of the root of the
     * admission, without any lock. NULL: nobody can be admitted. */
    void (*start)(void *self, struct comm *end);
    void *start_self;
};

/* Makes a group; `ends_out`: [size], an end for each rank, to be handed to its thread and closed there. Every end
 * has to be closed. */
HYSGD_MUST_CHECK enum hysgd_status comm_local_open(const struct comm_local_setup *setup, struct comm **ends_out);

/* The following act on the group of `end`, which may be any that is not closed; from any thread.
 * Kill: sending, receiving and progress of the rank fail from now on, so that its thread comes to its end; its
 * messages that were not copied are gone, and with a seed some others too. */
void comm_local_kill(struct comm *end, int rank);

/* The same in the rank's send with this number, from 1, counted from now on; 0: not any more. */
void comm_local_kill_at(struct comm *end, int rank, uint64_t send);

/* Freeze: until thawed, a rank completes nothing and what it sends does not leave, as if its process were stopped.
 */
void comm_local_freeze(struct comm *end, int rank, bool is_frozen);

/* Cut: until mended, no message of two ranks reaches the other one. */
void comm_local_cut(struct comm *end, int one, int other, bool is_cut);

#endif
