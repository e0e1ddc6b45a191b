/* SPDX-License-Identifier: Apache-2.0 */
/* Takes events on the hot path without allocating or formatting, and hands them in order to the sinks (log,
 * progress, history) later. */
#ifndef HYSGD_RECORD_RECORDER_H
#define HYSGD_RECORD_RECORDER_H

#include <stdio.h>

#include "base/status.h"
#include "record/event.h"

/* A view of the events. All functions are called by the draining thread; NULL where there is nothing to do. */
struct sink_ops {
    enum hysgd_status (*begin)(void *self, const struct event_run *run);
    enum hysgd_status (*event)(void *self, const struct event *event);
    enum hysgd_status (*pulse)(void *self, double seconds); /* after each drain, for live views; run clock */
    enum hysgd_status (*flush)(void *self);                 /* what is written so far can be read */
    enum hysgd_status (*end)(void *self, const struct event_summary *summary);
    enum hysgd_status (*notice)(void *self, const char *text); /* see recorder_notice */
};

#define RECORDER_MOST_SINKS 16

struct recorder; /* opaque */

/* A ring for `capacity` events (rounded up to a power of two). */
HYSGD_MUST_CHECK enum hysgd_status recorder_alloc(size_t capacity, struct recorder **recorder_out);
void recorder_free(struct recorder *recorder);

/* Adds a view before the run begins; `self` is borrowed. */
HYSGD_MUST_CHECK enum hysgd_status recorder_add(struct recorder *recorder, const struct sink_ops *ops, void *self);

/* The same for a view that another recorder has begun. */
HYSGD_MUST_CHECK enum hysgd_status recorder_adopt(struct recorder *recorder, const struct sink_ops *ops,
                                                  void *self);

HYSGD_MUST_CHECK enum hysgd_status recorder_begin(struct recorder *recorder, const struct event_run *run);

/* Adds an event. One emitting thread at a time (the engine's lock sees to that); the draining thread may be
 * another. False when the ring is full: the caller drains, or waits for the drainer, and tries again; nothing is
 * ever dropped. */
bool recorder_emit(struct recorder *recorder, const struct event *event);

/* Hands all events so far to the sinks, in order. One draining thread. A sink that fails is closed and not called
 * again; its first failure is returned by every later drain, while the others go on. */
HYSGD_MUST_CHECK enum hysgd_status recorder_drain(struct recorder *recorder, double seconds);

/* Drains, and hands a line to those who watch the run; it is in no log. Whoever tells of a loss so, before its
 * event, knows more of it than the event: views do not tell of it again. One draining thread. */
HYSGD_MUST_CHECK enum hysgd_status recorder_notice(struct recorder *recorder, const char *text);

/* Drains, and flushes every sink; otherwise as recorder_drain. */
HYSGD_MUST_CHECK enum hysgd_status recorder_flush(struct recorder *recorder, double seconds);

/* Drains and ends every sink; returns the first failure of any. */
HYSGD_MUST_CHECK enum hysgd_status recorder_end(struct recorder *recorder, const struct event_summary *summary);

#endif
