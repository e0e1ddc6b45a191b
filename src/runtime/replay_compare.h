/* SPDX-License-Identifier: Apache-2.0 */
/* The comparison of a replay with its log: of each event, and of the accounts at the end. What is not as recorded,
 * to the last bit, ends the replay. */
#ifndef HYSGD_RUNTIME_REPLAY_COMPARE_H
#define HYSGD_RUNTIME_REPLAY_COMPARE_H

#include "runtime/replay.h"

/* Ends the replay at the log's latest event, with what is wrong there. HYSGD_FAILED. */
__attribute__((format(printf, 2, 3))) HYSGD_MUST_CHECK enum hysgd_status replay_differ(struct replay *replay,
                                                                                       const char *format, ...);

/* The oldest event that came out must be the log's latest. HYSGD_FAILED. */
HYSGD_MUST_CHECK enum hysgd_status replay_compare_event(struct replay *replay);

/* Compares the accounts, apart from the time of the server, which not all that it does is recorded of.
 * HYSGD_FAILED. */
HYSGD_MUST_CHECK enum hysgd_status replay_compare_end(struct replay *replay, const struct event_summary *recorded);

#endif
