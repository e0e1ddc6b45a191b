/* SPDX-License-Identifier: Apache-2.0 */
/* The sink that remembers a run for the report: it shares the events out to curves and timelines of bounded size.
 */
#include "record/history.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum hysgd_status history_alloc(struct history **history_out) {
    return memory_alloc(1, sizeof **history_out, history_out);
}

/* Frees what belongs to a run. */
static void forget(struct history *history) {
    for (int i = 0; history->description != NULL && i < history->run.description_count; i++) {
        memory_free(history->description[i][0]);
        memory_free(history->description[i][1]);
    }
    memory_free(history->description);
    memory_free(history->title);
    memory_free(history->runtime);
    memory_free(history->loss_name);
    memory_free(history->accuracy_name);
    memory_free(history->source);
    memory_free(history->reason);
    memory_free(history->accounts);
    memory_free(history->classes);
    timeline_fini(&history->timeline);
    memset(history, 0, sizeof *history);
}

void history_free(struct history *history) {
    if (history == NULL)
        return;
    forget(history);
    memory_free(history);
}

enum hysgd_status history_name(struct history *history, const char *source) {
    char *copy;
    HYSGD_TRY(memory_copy_text(source, &copy));
    memory_free(history->source);
    history->source = copy;
    return HYSGD_OK;
}

static enum hysgd_status copy_description(struct history *history, const struct event_run *run) {
    size_t count = (size_t)run->description_count;
    HYSGD_TRY(memory_alloc(count, sizeof *history->description, &history->description));
    for (size_t i = 0; i < count; i++) {
        HYSGD_TRY(memory_copy_text(run->description[i][0], &history->description[i][0]));
        HYSGD_TRY(memory_copy_text(run->description[i][1], &history->description[i][1]));
    }
    history->run.description = (const char *const(*)[2])history->description;
    return HYSGD_OK;
}

static enum hysgd_status history_begin(void *self, const struct event_run *run) {
    struct history *history = self;
    forget(history);
    history->run = *run;
    history->run.title = history->run.runtime = history->run.program = "";
    history->run.loss_name = history->run.accuracy_name = "";
    history->run.description = NULL;
    HYSGD_TRY(copy_description(history, run));
    HYSGD_TRY(memory_copy_text(run->title, &history->title));
    HYSGD_TRY(memory_copy_text(run->runtime, &history->runtime));
    HYSGD_TRY(memory_copy_text(run->loss_name != NULL ? run->loss_name : "", &history->loss_name));
    HYSGD_TRY(memory_copy_text(run->accuracy_name != NULL ? run->accuracy_name : "", &history->accuracy_name));
    HYSGD_TRY(timeline_init(&history->timeline, run->workers));
    history->run.title = history->title;
    history->run.runtime = history->runtime;
    history->run.loss_name = history->loss_name;
    history->run.accuracy_name = history->accuracy_name;
    history->received = run->first_received;
    history->gradients.origin = history->loss.origin = history->staleness.origin = history->seconds =
        run->first_seconds;
    history->ratio.origin = history->gain.origin = history->cutoff.origin = run->first_seconds;
    history->has_begun = true;
    return HYSGD_OK;
}

static void take_arrival(struct history *history, const struct event *event) {
    curve_add(&history->gradients, event->seconds, (double)++history->received);
    curve_add(&history->loss, event->seconds, event->arrival.loss);
    if (event->arrival.weight > 0)
        curve_add(&history->staleness, event->seconds, (double)(event->version - event->arrival.read));
    steps_add(&history->threshold, event->seconds, (double)event->arrival.threshold);
}

/* A signal that is lost in the noise has come out as 0 or below: there is no ratio then. */
static void take_estimate(struct history *history, const struct event *event) {
    if (event->estimate.signal > 0 && event->estimate.noise > 0)
        curve_add(&history->ratio, event->seconds, event->estimate.noise / event->estimate.signal);
    curve_add(&history->gain, event->seconds, event->estimate.gain);
    curve_add(&history->cutoff, event->seconds, event->estimate.cutoff);
}

static enum hysgd_status history_event(void *self, const struct event *event) {
    struct history *history = self;
    if (event->seconds > history->seconds)
        history->seconds = event->seconds;
    timeline_add(&history->timeline, event);
    if (event->kind == EVENT_ARRIVAL)
        take_arrival(history, event);
    if (event->kind == EVENT_ESTIMATE)
        take_estimate(history, event);
    if (event->kind == EVENT_EVALUATION) {
        const struct point point = {.seconds = event->seconds,
                                    .loss = event->evaluation.loss,
                                    .accuracy = event->evaluation.accuracy,
                                    .epochs = event->evaluation.epochs,
                                    .received = event->evaluation.received,
                                    .updates = event->version};
        points_add(&history->evaluations, &point);
    }
    return HYSGD_OK;
}

static enum hysgd_status history_end(void *self, const struct event_summary *summary) {
    struct history *history = self;
    timeline_end(&history->timeline, summary->seconds);
    HYSGD_TRY(memory_copy_text(summary->reason, &history->reason));
    HYSGD_TRY(memory_alloc((size_t)summary->workers, sizeof *history->accounts, &history->accounts));
    if (summary->workers > 0)
        memcpy(history->accounts, summary->accounts, (size_t)summary->workers * sizeof *history->accounts);
    HYSGD_TRY(memory_alloc((size_t)summary->class_count, sizeof *history->classes, &history->classes));
    if (summary->class_count > 0)
        memcpy(history->classes, summary->classes, (size_t)summary->class_count * sizeof *history->classes);
    history->summary = *summary;
    history->summary.reason = history->reason;
    history->summary.accounts = history->accounts;
    history->summary.classes = history->classes;
    history->seconds = fmax(history->seconds, summary->seconds);
    history->has_ended = true;
    return HYSGD_OK;
}

const struct sink_ops sink_history = {.begin = history_begin, .event = history_event, .end = history_end};
