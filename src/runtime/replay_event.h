/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a replay that one event of its log brings about, and those of them that are needed where the replay
 * leaves the log. */
#ifndef HYSGD_RUNTIME_REPLAY_EVENT_H
#define HYSGD_RUNTIME_REPLAY_EVENT_H

#include "runtime/replay.h"

/* Repeats the log's latest event; what comes of it is emitted, for being compared. HYSGD_FAILED: it cannot happen
 * here. Otherwise as drive_arrive and its like. */
HYSGD_MUST_CHECK enum hysgd_status replay_bring_about(struct replay *replay);

/* Lets the workers read that the engine has released. */
void replay_release(struct replay *replay);

/* The server's work of the latest verdict is over. */
HYSGD_MUST_CHECK enum hysgd_status replay_end_action(struct replay *replay, double service_seconds);

/* Computes what the worker delivers, unless a checkpoint held it. */
HYSGD_MUST_CHECK enum hysgd_status replay_compute(struct replay *replay, int worker);

/* The samples of a gradient that is given up are left behind; it itself is not needed. */
void replay_leave(struct replay *replay, int worker);

#endif
