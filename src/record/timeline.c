/* SPDX-License-Identifier: Apache-2.0 */
/* Follows each worker from start to arrival, or giving up, to the next start. Merging adds up the times of each
 * activity, so that totals stay exact. */
#include "record/timeline.h"

#include <math.h>

#include "base/memory.h"

enum hysgd_status timeline_init(struct timeline *timeline, int workers) {
    int stride = (workers + TIMELINE_MOST_WORKERS - 1) / TIMELINE_MOST_WORKERS;
    timeline->workers = workers;
    timeline->stride = stride > 0 ? stride : 1;
    timeline->kept_count = (workers + timeline->stride - 1) / timeline->stride;
    int shares = timeline->kept_count > 0 ? timeline->kept_count : 1;
    timeline->capacity = (size_t)(TIMELINE_MOST_RECORDS / shares) & ~(size_t)1;
    size_t kept_count = (size_t)timeline->kept_count;
    HYSGD_TRY(memory_alloc(kept_count, sizeof *timeline->kept, &timeline->kept));
    HYSGD_TRY(memory_alloc(kept_count * timeline->capacity, sizeof *timeline->records, &timeline->records));
    for (size_t i = 0; i < kept_count; i++) {
        timeline->kept[i].records = timeline->records + i * timeline->capacity;
        timeline->kept[i].gradients_per_record = 1;
    }
    return HYSGD_OK;
}

void timeline_fini(struct timeline *timeline) {
    memory_free(timeline->kept);
    memory_free(timeline->records);
    *timeline = (struct timeline){0};
}

static void merge_record(struct timeline_record *into, const struct timeline_record *from) {
    into->end = from->end;
    into->gradients += from->gradients;
    for (int i = 0; i < TIMELINE_ACTIVITIES; i++)
        into->seconds[i] += from->seconds[i];
}

static void merge_pairs(struct timeline_worker *worker) {
    for (size_t i = 0; i < worker->count / 2; i++) {
        worker->records[i] = worker->records[2 * i];
        merge_record(&worker->records[i], &worker->records[2 * i + 1]);
    }
    worker->count /= 2;
    worker->gradients_per_record *= 2;
}

/* Closes the open record at the given time and keeps it. */
static void close_record(struct timeline_worker *worker, size_t capacity, double seconds) {
    if (!worker->is_open)
        return;
    worker->is_open = false;
    struct timeline_record *open = &worker->open;
    double span = fmax(seconds - open->end, 0);
    open->seconds[worker->is_waiting ? TIMELINE_WAITING : TIMELINE_COMPUTING] += span;
    open->end += span;
    struct timeline_record *last = worker->count > 0 ? &worker->records[worker->count - 1] : NULL;
    if (last != NULL && last->gradients < worker->gradients_per_record) {
        merge_record(last, open);
        return;
    }
    if (worker->count == capacity)
        merge_pairs(worker);
    worker->records[worker->count++] = *open;
}

static void open_record(struct timeline_worker *worker, double seconds) {
    worker->open = (struct timeline_record){.begin = seconds, .end = seconds, .gradients = 1};
    worker->is_open = true;
    worker->is_waiting = false;
}

/* Where the parts of the way are known, its rest is that of what was to be known. */
static void divide_transit(struct timeline_record *record, const struct event *event, double transit) {
    double pull = event->arrival.pull_seconds, push = event->arrival.push_seconds;
    if (!(pull >= 0 && push >= 0)) {
        record->seconds[TIMELINE_IN_TRANSIT] = transit;
        return;
    }
    record->seconds[TIMELINE_PULLING] = pull;
    record->seconds[TIMELINE_PUSHING] = push;
    record->seconds[TIMELINE_CONFIRMING] = fmax(transit - pull - push, 0);
}

static void take_arrival(struct timeline_worker *worker, size_t capacity, const struct event *event) {
    double compute = fmax(event->arrival.compute_seconds, 0), transit = fmax(event->arrival.transit_seconds, 0),
           queue = fmax(event->arrival.queue_seconds, 0);
    if (!worker->is_open || worker->is_waiting) { /* its start was not recorded */
        double start = event->seconds - compute - transit - queue;
        close_record(worker, capacity, start);
        open_record(worker, start);
    }
    worker->open.seconds[TIMELINE_COMPUTING] = compute;
    divide_transit(&worker->open, event, transit);
    worker->open.seconds[TIMELINE_QUEUED] = queue;
    worker->open.end = fmax(event->seconds, worker->open.begin);
    worker->is_waiting = true;
}

static void take_abandoned(struct timeline_worker *worker, const struct event *event) {
    if (!worker->is_open || worker->is_waiting)
        return; /* its start was not recorded */
    worker->open.seconds[TIMELINE_ABANDONED] = fmax(event->abandoned.spent_seconds, 0);
    worker->open.seconds[TIMELINE_QUEUED] = fmax(event->abandoned.queue_seconds, 0);
    worker->open.end = fmax(event->seconds, worker->open.begin);
    worker->is_waiting = true;
}

void timeline_add(struct timeline *timeline, const struct event *event) {
    if (event->worker < 0 || event->worker >= timeline->workers || event->worker % timeline->stride != 0 ||
        !isfinite(event->seconds))
        return;
    struct timeline_worker *worker = &timeline->kept[event->worker / timeline->stride];
    switch (event->kind) {
    case EVENT_START:
        close_record(worker, timeline->capacity, event->seconds);
        open_record(worker, event->seconds);
        break;
    case EVENT_ARRIVAL:
        take_arrival(worker, timeline->capacity, event);
        break;
    case EVENT_ABANDONED:
        take_abandoned(worker, event);
        break;
    case EVENT_LOST:
    case EVENT_JOINED:
        close_record(worker, timeline->capacity, event->seconds);
        break;
    case EVENT_UPDATE:
    case EVENT_EVALUATION:
    case EVENT_CHECKPOINT:
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_RESTORED:
    case EVENT_CLOCK:
    case EVENT_COPIED:
        break;
    }
}

void timeline_end(struct timeline *timeline, double seconds) {
    for (int i = 0; i < timeline->kept_count; i++)
        close_record(&timeline->kept[i], timeline->capacity, seconds);
}
