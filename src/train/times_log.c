/* SPDX-License-Identifier: Apache-2.0 */
/* The times in an event log: see times.h. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/log_reader.h"
#include "train/times.h"
#include "train/scheduling.h"

/* What differs by less is the rounding of sums of times. */
#define LEAST_SECONDS 1e-9

/* A gradient that was not delivered: given up, or unfinished at the end. It comes before number `place` of the
 * worker's delivered ones. */
struct undelivered {
    int worker;
    size_t place;
    double spent_seconds;
};

/* The present gradient of a worker. */
struct begun {
    double seconds;     /* when it was begun; NaN: there is none */
    double lag_seconds; /* from the server's latest deed to that */
    bool is_next;       /* the worker has delivered one before */
};

struct reading {
    struct times *times;
    struct log_reader *reader;
    const char *path;
    double server_free_at; /* the end of its latest deed */
    double latest_seconds; /* of the events */
    struct begun *begun;   /* [workers] of the run */
    double first_seconds;  /* of the run, which may be resumed */
    uint64_t first_version;
    struct undelivered *undelivered; /* [count] */
    size_t count, capacity;
};

/* ---- Events ---- */

static enum hysgd_status check_seconds(const struct reading *reading, const char *what, double seconds) {
    if (seconds >= 0 && seconds <= MEASURED_MOST_SECONDS)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT, "%s: byte %" PRIu64 ": %s is %g: expected seconds from 0 to 1e9", reading->path,
                      log_reader_byte(reading->reader), what, seconds);
}

/* A worker is released by a deed of the server; how late it starts after the latest one is at least what it takes
 * to wake up and to read. Its first start has that of the whole run in it. */
static void take_start(struct reading *reading, const struct event *event) {
    struct begun *begun = &reading->begun[event->worker];
    double lag = event->seconds - reading->server_free_at;
    begun->seconds = event->seconds;
    begun->lag_seconds = begun->is_next && lag > LEAST_SECONDS && lag <= MEASURED_MOST_SECONDS ? lag : 0;
    begun->is_next = true;
}

static enum hysgd_status take_arrival(struct reading *reading, const struct event *event) {
    double batches = fmax((double)event->arrival.batches, 1); /* logs without local steps may lack the number */
    struct measured_gradient gradient = {event->arrival.compute_seconds / batches, event->arrival.transit_seconds};
    HYSGD_TRY(check_seconds(reading, "compute_seconds", gradient.compute_seconds));
    HYSGD_TRY(check_seconds(reading, "transit_seconds", gradient.transit_seconds));
    HYSGD_TRY(check_seconds(reading, "queue_seconds", event->arrival.queue_seconds));
    gradient.compute_seconds += reading->begun[event->worker].lag_seconds;
    HYSGD_TRY(measured_add(&reading->times->measured, event->worker, &gradient));
    double began = fmax(event->seconds - event->arrival.queue_seconds, reading->server_free_at);
    double receive = event->seconds - began;
    reading->server_free_at = event->seconds;
    reading->begun[event->worker].seconds = (double)NAN;
    return measured_extend(&reading->times->measured.receive, receive < LEAST_SECONDS ? 0 : receive);
}

static enum hysgd_status take_update(struct reading *reading, const struct event *event) {
    HYSGD_TRY(check_seconds(reading, "service_seconds", event->update.service_seconds));
    reading->server_free_at = event->seconds;
    reading->times->updates = event->version - reading->first_version;
    reading->times->seconds = event->seconds - reading->first_seconds;
    return measured_extend(&reading->times->measured.apply, event->update.service_seconds);
}

static enum hysgd_status add_undelivered(struct reading *reading, int worker, double spent_seconds) {
    const struct measured *measured = &reading->times->measured;
    HYSGD_TRY(
        memory_grow(&reading->undelivered, reading->count, &reading->capacity, 64, sizeof *reading->undelivered));
    size_t place = worker < measured->count ? measured->workers[worker].count : 0;
    reading->undelivered[reading->count++] = (struct undelivered){worker, place, spent_seconds};
    return HYSGD_OK;
}

static enum hysgd_status take_abandoned(struct reading *reading, const struct event *event) {
    HYSGD_TRY(check_seconds(reading, "spent_seconds", event->abandoned.spent_seconds));
    reading->server_free_at = event->seconds;
    reading->begun[event->worker].seconds = (double)NAN;
    return add_undelivered(reading, event->worker, event->abandoned.spent_seconds);
}

/* What the workers were at when the log ended. */
static enum hysgd_status take_unfinished(struct reading *reading, double seconds) {
    int workers = log_reader_run(reading->reader)->workers;
    for (int i = 0; i < workers; i++)
        if (seconds >= reading->begun[i].seconds)
            HYSGD_TRY(add_undelivered(reading, i, seconds - reading->begun[i].seconds));
    return HYSGD_OK;
}

static enum hysgd_status take(struct reading *reading, const struct event *event) {
    reading->latest_seconds = fmax(reading->latest_seconds, event->seconds);
    switch (event->kind) {
    case EVENT_START:
        take_start(reading, event);
        return HYSGD_OK;
    case EVENT_ARRIVAL:
        return take_arrival(reading, event);
    case EVENT_UPDATE:
        return take_update(reading, event);
    case EVENT_ABANDONED:
        return take_abandoned(reading, event);
    case EVENT_EVALUATION:
        reading->times->test_loss = event->evaluation.loss;
        reading->times->test_accuracy = event->evaluation.accuracy;
        return HYSGD_OK;
    case EVENT_LOST:
        reading->times->lost++;
        reading->begun[event->worker].seconds = (double)NAN;
        return HYSGD_OK;
    case EVENT_CHECKPOINT:
    case EVENT_JOINED:
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_RESTORED:
    case EVENT_CLOCK:
    case EVENT_COPIED:
        break;
    }
    return HYSGD_OK;
}

/* ---- Gradients that were not delivered ---- */

static double seconds_of(const struct measured_gradient *gradient) {
    return gradient->compute_seconds + gradient->transit_seconds;
}

/* The first of the worker's delivered gradients from `place` on, around the end, that took longer than was spent.
 * `longest` is the time of its longest. */
static struct measured_gradient complete(const struct measured_worker *worker,
                                         const struct undelivered *undelivered, double longest) {
    for (size_t i = 0; longest > undelivered->spent_seconds; i++) {
        const struct measured_gradient *gradient = &worker->gradients[(undelivered->place + i) % worker->count];
        if (seconds_of(gradient) > undelivered->spent_seconds)
            return *gradient;
    }
    return (struct measured_gradient){.compute_seconds = undelivered->spent_seconds};
}

/* How far the merging of a worker has come. */
struct merged {
    size_t next;    /* of its delivered gradients */
    double longest; /* of them, seconds */
};

static enum hysgd_status copy_until(const struct measured *from, int worker, size_t end, struct merged *merged,
                                    struct measured *to) {
    for (; merged->next < end; merged->next++)
        HYSGD_TRY(measured_add(to, worker, &from->workers[worker].gradients[merged->next]));
    return HYSGD_OK;
}

static enum hysgd_status merge_into(const struct reading *reading, struct merged *merged, struct measured *to) {
    const struct measured *from = &reading->times->measured;
    for (int i = 0; i < from->count; i++)
        for (size_t j = 0; j < from->workers[i].count; j++)
            merged[i].longest = fmax(merged[i].longest, seconds_of(&from->workers[i].gradients[j]));
    for (size_t i = 0; i < reading->count; i++) {
        const struct undelivered *undelivered = &reading->undelivered[i];
        int worker = undelivered->worker;
        const struct measured_gradient completed =
            complete(&from->workers[worker], undelivered, merged[worker].longest);
        HYSGD_TRY(copy_until(from, worker, undelivered->place, &merged[worker], to));
        HYSGD_TRY(measured_add(to, worker, &completed));
    }
    for (int i = 0; i < from->count; i++)
        HYSGD_TRY(copy_until(from, i, from->workers[i].count, &merged[i], to));
    return HYSGD_OK;
}

/* Puts the gradients that were not delivered in their places among those that were. */
static enum hysgd_status merge(struct reading *reading) {
    struct measured *measured = &reading->times->measured, whole = {0};
    struct merged *merged;
    if (reading->count == 0)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc((size_t)measured->count, sizeof *merged, &merged));
    enum hysgd_status status = merge_into(reading, merged, &whole);
    memory_free(merged);
    if (status != HYSGD_OK) {
        measured_fini(&whole);
        return status;
    }
    whole.receive = measured->receive;
    whole.apply = measured->apply;
    measured->receive = measured->apply = (struct measured_series){0};
    measured_fini(measured);
    *measured = whole;
    reading->times->estimated = reading->count;
    return HYSGD_OK;
}

/* ---- The run ---- */

static bool is_one_of(const char *key, const char *const *keys) {
    for (; *keys != NULL; keys++)
        if (strcmp(key, *keys) == 0)
            return true;
    return false;
}

static const char *const limits[] = {"epochs", "deadline", "updates", "gradients", NULL};

/* Whether an option of the recorded run goes into the description. */
static bool is_wanted(const struct description *description, const char *key) {
    static const char *const never[] = {
        "policy",  "runtime", "speeds", "compute",     "delay",  "lose",
        "receive", "apply",   "save",   "save-every",  "resume", "goes-on-at-target",
        "log",     "csv",     "report", "tensorboard", "trace",  "serve",
        "spare",   "join",    NULL};
    bool is_known = false;
    for (const struct hysgd_option *option = description_options; option->key != NULL; option++)
        is_known = is_known || strcmp(option->key, key) == 0;
    for (const char *const *limit = limits; *limit != NULL && is_known; limit++)
        if (is_one_of(key, limits) && description_is_given(description, *limit))
            return false;
    return is_known && !is_one_of(key, never);
}

static enum hysgd_status take_run(struct reading *reading, struct description *description) {
    const struct event_run *run = log_reader_run(reading->reader);
    struct times *times = reading->times;
    HYSGD_TRY(scheduling_refuse(run, reading->path, "advise"));
    reading->first_seconds = reading->server_free_at = run->first_seconds;
    reading->first_version = run->first_version;
    times->train_count = run->train_count;
    HYSGD_TRY(memory_copy_text(run->title, &times->policy));
    for (int i = 0; i < run->description_count; i++) {
        const char *key = run->description[i][0];
        if (!is_wanted(description, key))
            continue;
        enum hysgd_status status = description_set_default(description, key, run->description[i][1]);
        if (status != HYSGD_OK)
            return status_locate(status == HYSGD_USAGE ? HYSGD_INPUT : status, reading->path);
    }
    description->workers = run->workers;
    reading->latest_seconds = run->first_seconds;
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *reading->begun, &reading->begun));
    for (int i = 0; i < run->workers; i++)
        reading->begun[i].seconds = (double)NAN;
    return HYSGD_OK;
}

static enum hysgd_status read_events(struct reading *reading) {
    struct event event;
    bool has_event;
    for (;;) {
        HYSGD_TRY(log_reader_next(reading->reader, &event, &has_event));
        if (!has_event)
            return HYSGD_OK;
        HYSGD_TRY(take(reading, &event));
    }
}

static enum hysgd_status check_workers(const struct reading *reading) {
    const struct event_run *run = log_reader_run(reading->reader);
    const struct measured *measured = &reading->times->measured;
    for (int i = 0; i < run->workers; i++)
        if (i >= measured->count || measured->workers[i].count == 0)
            return hysgd_fail(
                HYSGD_INPUT,
                "%s: worker %d delivered no gradient, so that its times are not known: expected the log of "
                "a run in which each of the %d workers delivered some",
                reading->path, i, run->workers);
    return times_check(measured, reading->path);
}

static enum hysgd_status read_all(struct reading *reading, struct description *description) {
    struct times *times = reading->times;
    HYSGD_TRY(take_run(reading, description));
    HYSGD_TRY(read_events(reading));
    const struct event_summary *summary = log_reader_summary(reading->reader);
    times->is_cut = summary == NULL;
    if (summary != NULL) {
        times->updates = summary->updates - reading->first_version;
        times->seconds = summary->seconds - reading->first_seconds;
    }
    HYSGD_TRY(check_workers(reading));
    HYSGD_TRY(take_unfinished(reading, summary != NULL ? summary->seconds : reading->latest_seconds));
    return merge(reading);
}

enum hysgd_status times_read_log(struct times *times, const char *path, struct description *description) {
    struct reading reading = {.times = times, .path = path};
    HYSGD_TRY(log_reader_open(path, &reading.reader));
    enum hysgd_status status = read_all(&reading, description);
    memory_free(reading.undelivered);
    memory_free(reading.begun);
    log_reader_close(reading.reader);
    return status;
}
