/* SPDX-License-Identifier: Apache-2.0 */
/* A bell by which a sleeper is woken from other threads and from other processes of the same host. It carries no
 * content: who is rung looks for himself what there is, and who misses a ring looks when his time is up. It
 * survives the death of a ringer at any moment. */
#ifndef HYSGD_RUNTIME_BELL_H
#define HYSGD_RUNTIME_BELL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* One page of memory that processes can share. */
struct bell;

/* A bell of this process, to be closed by it. */
HYSGD_MUST_CHECK enum hysgd_status bell_make(struct bell **bell_out);

/* The handle by which another process finds it, valid while this process has it. */
int bell_handle(const struct bell *bell);

/* The bell with that handle of another process of this host, by its number here; NULL where that is not allowed or
 * there is none. To be closed. */
struct bell *bell_find(int64_t process, int handle);

/* Of those who found it and, for tests, those that share it within a process: how many can ring it. */
int bell_ringers(const struct bell *bell);
void bell_add_ringer(struct bell *bell);

/* Wakes who sleeps at it, or keeps him from his next sleep. From any thread; costs a read of memory where it has
 * been rung already. What was written before is seen by who wakes. */
void bell_ring(struct bell *bell);

/* Returns at the first ring since the latest return, or after `seconds`. By the bell's owner, one thread at a time.
 */
void bell_sleep(struct bell *bell, double seconds);

/* NULL is allowed. */
void bell_close(struct bell *bell);

#endif
