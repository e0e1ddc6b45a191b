/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the ranks of a group: nonblocking, without acknowledgement by the application, and made so that
 * the death of a rank blocks nobody. It knows no workers, servers or gradients. A rank is a process (MPI) or, for
 * tests, a thread of this process (comm_local.h). */
#ifndef HYSGD_RUNTIME_COMM_H
#define HYSGD_RUNTIME_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* One end of a group; belongs to one thread at a time, which makes all calls, `done` functions included. */
struct comm;

/* Tags of messages are below this: MPI gives 28 bits, and this leaves some to tell apart what is not the caller's.
 */
#define COMM_TAG_END ((uint32_t)1 << 26)

/* The length that is told of a message that was longer than its receive allowed. What the receiver's memory then
 * holds is undefined; nothing beyond it was written. */
#define COMM_TOO_LONG SIZE_MAX

struct comm_completion;

/* Called by comm_progress for each completion: of a send, data may be used again; of a receive, the message is
 * there. `bytes`: the message's length. Sends and receives may be begun from here, and ranks abandoned;
 * comm_progress, comm_close and comm_open may not be called. */
typedef void comm_done(void *self, const struct comm_completion *completion, size_t bytes);

struct comm_completion {
    comm_done *done; /* NULL: nobody wants to know */
    void *self;
    int from_or_to; /* rank */
    uint32_t tag;
    void *data; /* as given to comm_send or comm_receive */
};

/* Was this process started by mpirun, mpiexec or srun, as one of the ranks of a job? Reads the environment only.
 * Rank and size, as the launcher tells them, are written when it was; both may be NULL. */
bool comm_is_launched(int *rank_out, int *size_out);

/* Does the launcher let the others live when one of its processes dies? Open MPI's mpirun is asked for that, and
 * tells it in the environment; of other launchers it is not known, and this is true. */
bool comm_outlives_deaths(void);

/* Was this process started by comm_admit? Reads the environment only. */
bool comm_is_admitted(void);

/* Joins the ranks that the launcher started. Collective over all of them: returns on none before all have called.
 * Without a launcher a group of one. May be called again after comm_close, unless ranks had died. HYSGD_USAGE: a
 * build without MPI, another MPI's launcher, or ranks were lost before. From then on the process ignores SIGPIPE,
 * which is what a dead peer's connection raises. The MPI library is left at exit(), see comm_close. `may_grow`:
 * ranks may be admitted later. In a process that was admitted: joins the group that admits it, once. */
HYSGD_MUST_CHECK enum hysgd_status comm_open(bool may_grow, struct comm **comm_out);

int comm_rank(const struct comm *comm);

/* Ranks are below this, those included that are gone or never came: it grows where some are admitted, up to
 * comm_most. */
int comm_size(const struct comm *comm);
int comm_most(const struct comm *comm);

/* The name of a rank's host; valid until comm_close. */
const char *comm_host(const struct comm *comm, int rank);

/* Does a rank share memory and process numbers with this one? Containers and network namespaces are hosts too. */
bool comm_is_same_host(const struct comm *comm, int rank);

/* May another thread take this end over, once the present one makes no calls any more? MPI may be bound to one. */
bool comm_may_change_thread(const struct comm *comm);

/* Begins to send a message of any length, 2^31 bytes and more included, to a rank, the own allowed. `data` has to
 * stay as it is until `done`. Messages of the same sender and tag arrive in the order of their sends. To an
 * abandoned rank: nothing is sent and `done` is never called. */
HYSGD_MUST_CHECK enum hysgd_status comm_send(struct comm *comm, int to, uint32_t tag, const void *data,
                                             size_t bytes, comm_done *done, void *self);

/* Begins to receive one message of at most `most` bytes; receives of the same rank and tag are served in the order
 * of these calls. `data` may not be touched until `done`. From an abandoned rank: `done` is never called. */
HYSGD_MUST_CHECK enum hysgd_status comm_receive(struct comm *comm, int from, uint32_t tag, void *data, size_t most,
                                                comm_done *done, void *self);

/* Completes what is complete, calling `done` for each; never waits. `completed_out` (may be NULL): how many there
 * were. Fails only where this end cannot go on at all. Nothing moves between calls: a rank that waits or computes
 * in pieces calls this often, and comm_rest when there was nothing. */
HYSGD_MUST_CHECK enum hysgd_status comm_progress(struct comm *comm, int *completed_out);

/* Passes the time after a comm_progress that completed nothing: gives the core away at first and sleeps when
 * nothing has come for longer. Ranks of the same host wake it when they send; with others it wakes by itself every
 * 100 microseconds, else every 5 milliseconds. A waiting rank costs a few percent of a core at most. */
void comm_rest(struct comm *comm);

/* The same for a process in which other threads compute: sleeps at once, and with ranks of other hosts up to 500
 * microseconds, as each waking takes time from who computes. */
void comm_doze(struct comm *comm);

/* Ends the present comm_rest or comm_doze, or the next. From any thread of this process. */
void comm_wake(struct comm *comm);

/* Gives a rank up, dead or not: its requests never complete and what it still sends is ignored. The memory of its
 * requests may be written until comm_close returns, so it has to stay. */
void comm_abandon(struct comm *comm, int rank);
bool comm_is_abandoned(const struct comm *comm, int rank);

/* Is it known that a rank's process has ended? At once for those of the same host; others are found out by messages
 * that do not come, which is not done here, and reported as errors by some networks. */
bool comm_peer_has_died(struct comm *comm, int rank);

/* ---- Growing ---- */

/* A rank that is to be admitted. */
struct comm_admission {
    int rank;               /* the number that it gets: at least comm_size, below comm_most */
    const bool *takes_part; /* [rank] who admits it: this rank among others */
    int root;               /* of them; starts its process */
    int latest;          /* the rank that all who take part have admitted latest, or been admitted as; -1: none */
    const char *host;    /* at the root: where the process is to run; NULL: where the launcher puts it */
    const void *welcome; /* at the root: [bytes] what comm_welcome tells there */
    size_t bytes;
};

/* HYSGD_OK: the rank can be sent to and received from. Otherwise it never can, with the calling thread's message.
 */
typedef void comm_admitted(void *self, int rank, enum hysgd_status status);

/* Begins to admit a rank: starts a process like this one, with its command line, which joins with comm_open. All
 * who take part have to call, with the same admission, and go on as before: sends, receives and comm_progress,
 * which calls `done`. Until then, and where it fails, the new rank counts as abandoned. Where somebody who takes
 * part dies meanwhile, `done` may never be called, and no other rank can be admitted; comm_abandon then gives this
 * one up. HYSGD_USAGE: the group was not opened for that. HYSGD_FAILED: an earlier admission has not come to its
 * end, or its process could not be started. */
HYSGD_MUST_CHECK enum hysgd_status comm_admit(struct comm *comm, const struct comm_admission *admission,
                                              comm_admitted *done, void *self);

/* What an admitted rank was told by the one that admitted it; NULL elsewhere. */
const void *comm_welcome(const struct comm *comm, size_t *bytes_out);

/* Begins to leave: tells all ranks, and waits so long for them to do so too. The first that is still waited for,
 * -1: none is. Nothing but comm_leave again, comm_close and what asks may be called from then on. */
int comm_leave(struct comm *comm, double seconds);

/* Leaves the group; NULL is allowed. Waits for all ranks that are neither abandoned nor dead to do so too, so that
 * no end looks like a death, but not longer than some seconds (`all_are_alive`: some minutes, as nobody should be
 * missed). Requests that are not complete are given up, and their memory is the caller's again. After a death
 * exit() leaves without finishing MPI, which would wait for the dead for ever. */
void comm_close(struct comm *comm, bool all_are_alive);

#endif
