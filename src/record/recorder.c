/* SPDX-License-Identifier: Apache-2.0 */
/* The ring between the thread that trains and the thread that writes: single producer, single consumer, no locks.
 * It keeps the order of the events and isolates the sinks from each other's failures; it does not know what a sink
 * makes of an event. */
#include "record/recorder.h"

#include <limits.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"

#define CACHE_LINE 64

struct sink {
    const struct sink_ops *ops;
    void *self;      /* borrowed */
    bool has_begun;  /* elsewhere */
    bool has_failed; /* not called again */
};

/* Positions count events since the start and are reduced by `mask` only to index the ring. */
struct recorder {
    struct event *ring; /* [mask + 1] */
    size_t mask;

    alignas(CACHE_LINE) atomic_size_t emitted; /* written by the emitting thread */
    size_t drained_seen;                       /* emitting thread: a position that `drained` has reached */
    alignas(CACHE_LINE) atomic_size_t drained; /* written by the draining thread */

    struct sink sinks[RECORDER_MOST_SINKS];
    int sink_count;
    enum hysgd_status status; /* the first failure of a sink */
    char message[1024];       /* its text: a later drain may be called by another thread */
};

enum hysgd_status recorder_alloc(size_t capacity, struct recorder **recorder_out) {
    if (capacity > SIZE_MAX / 2 / sizeof(struct event))
        return hysgd_fail(HYSGD_MEMORY, "a recorder for %zu events does not fit into memory", capacity);
    size_t rounded = 1;
    while (rounded < capacity)
        rounded *= 2;
    struct recorder *recorder;
    HYSGD_TRY(memory_alloc(1, sizeof *recorder, &recorder));
    enum hysgd_status status = memory_alloc(rounded, sizeof *recorder->ring, &recorder->ring);
    if (status != HYSGD_OK) {
        memory_free(recorder);
        return status;
    }
    recorder->mask = rounded - 1;
    atomic_init(&recorder->emitted, 0);
    atomic_init(&recorder->drained, 0);
    *recorder_out = recorder;
    return HYSGD_OK;
}

void recorder_free(struct recorder *recorder) {
    if (recorder == NULL)
        return;
    memory_free(recorder->ring);
    memory_free(recorder);
}

enum hysgd_status recorder_add(struct recorder *recorder, const struct sink_ops *ops, void *self) {
    if (recorder->sink_count == RECORDER_MOST_SINKS)
        return hysgd_fail(HYSGD_USAGE, "a recorder takes at most %d sinks", RECORDER_MOST_SINKS);
    recorder->sinks[recorder->sink_count++] = (struct sink){.ops = ops, .self = self};
    return HYSGD_OK;
}

enum hysgd_status recorder_adopt(struct recorder *recorder, const struct sink_ops *ops, void *self) {
    HYSGD_TRY(recorder_add(recorder, ops, self));
    recorder->sinks[recorder->sink_count - 1].has_begun = true;
    return HYSGD_OK;
}

/* Takes note of what a call of a sink returned. Only the first failure of any sink is kept. */
static void note(struct recorder *recorder, struct sink *sink, enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    sink->has_failed = true;
    if (recorder->status != HYSGD_OK)
        return;
    recorder->status = status;
    size_t length = strnlen(hysgd_error_message(), sizeof recorder->message - 1);
    memcpy(recorder->message, hysgd_error_message(), length);
    recorder->message[length] = '\0';
}

/* The first failure so far, with its message in the calling thread. */
static enum hysgd_status outcome(const struct recorder *recorder) {
    if (recorder->status != HYSGD_OK)
        status_set_message(recorder->message);
    return recorder->status;
}

enum hysgd_status recorder_begin(struct recorder *recorder, const struct event_run *run) {
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && !sink->has_begun && sink->ops->begin != NULL)
            note(recorder, sink, sink->ops->begin(sink->self, run));
    }
    return outcome(recorder);
}

bool recorder_emit(struct recorder *recorder, const struct event *event) {
    size_t position = atomic_load_explicit(&recorder->emitted, memory_order_relaxed);
    if (position - recorder->drained_seen > recorder->mask) {
        /* Acquire: the drainer has read a slot before it is written again. */
        recorder->drained_seen = atomic_load_explicit(&recorder->drained, memory_order_acquire);
        if (position - recorder->drained_seen > recorder->mask)
            return false;
    }
    recorder->ring[position & recorder->mask] = *event;
    atomic_store_explicit(&recorder->emitted, position + 1, memory_order_release);
    return true;
}

static void hand_out(struct recorder *recorder, const struct event *event) {
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && sink->ops->event != NULL)
            note(recorder, sink, sink->ops->event(sink->self, event));
    }
}

/* Each slot is given back as soon as it was read, so that a waiting emitter goes on during a long drain. */
static void drain_ring(struct recorder *recorder) {
    size_t position = atomic_load_explicit(&recorder->drained, memory_order_relaxed);
    size_t end = atomic_load_explicit(&recorder->emitted, memory_order_acquire);
    for (; position != end; position++) {
        hand_out(recorder, &recorder->ring[position & recorder->mask]);
        atomic_store_explicit(&recorder->drained, position + 1, memory_order_release);
    }
}

enum hysgd_status recorder_drain(struct recorder *recorder, double seconds) {
    drain_ring(recorder);
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && sink->ops->pulse != NULL)
            note(recorder, sink, sink->ops->pulse(sink->self, seconds));
    }
    return outcome(recorder);
}

enum hysgd_status recorder_notice(struct recorder *recorder, const char *text) {
    drain_ring(recorder);
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && sink->ops->notice != NULL)
            note(recorder, sink, sink->ops->notice(sink->self, text));
    }
    return outcome(recorder);
}

enum hysgd_status recorder_flush(struct recorder *recorder, double seconds) {
    enum hysgd_status drained = recorder_drain(recorder, seconds);
    (void)drained; /* kept, and returned below */
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && sink->ops->flush != NULL)
            note(recorder, sink, sink->ops->flush(sink->self));
    }
    return outcome(recorder);
}

enum hysgd_status recorder_end(struct recorder *recorder, const struct event_summary *summary) {
    drain_ring(recorder);
    for (int i = 0; i < recorder->sink_count; i++) {
        struct sink *sink = &recorder->sinks[i];
        if (!sink->has_failed && sink->ops->end != NULL)
            note(recorder, sink, sink->ops->end(sink->self, summary));
    }
    return outcome(recorder);
}
