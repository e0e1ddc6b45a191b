/* SPDX-License-Identifier: Apache-2.0 */
/* A fixed number of threads that do one piece of work after another together: making blocks, an epoch, an
 * evaluation.
 */
#ifndef HYSGD_LOWRANK_TEAM_H
#define HYSGD_LOWRANK_TEAM_H

#include "base/status.h"

struct team;

/* What each thread of a team does; `thread` is 0 to threads - 1. */
typedef void (*team_work)(void *context, int thread);

/* Starts `threads` - 1 threads; the caller is thread 0. HYSGD_MEMORY, HYSGD_FAILED when the system gives no more
 * threads. Free with team_stop. */
HYSGD_MUST_CHECK enum hysgd_status team_start(int threads, struct team **team_out);

/* Ends the threads; NULL is allowed. */
void team_stop(struct team *team);

int team_threads(const struct team *team);

/* Lets every thread do the work and returns when all have; what they wrote is then visible. Only the thread that
 * started the team calls it. */
void team_run(struct team *team, team_work work, void *context);

/* Splits 0 to count - 1 into one range a thread, of equal size but for one: first to end - 1. */
void team_share(const struct team *team, int thread, uint64_t count, uint64_t *first_out, uint64_t *end_out);

#endif
