/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the gradients through the events: see tally.h. */
#include "record/tally.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/tally_marks.h"

enum hysgd_status tally_init_unmarked(struct tally *tally, const struct event_run *run) {
    size_t count = (size_t)run->workers;
    *tally = (struct tally){.workers = run->workers,
                            .events = run->first_event,
                            .first_received = run->first_received,
                            .summary = {.seconds = run->first_seconds,
                                        .updates = run->first_version,
                                        .train_loss = (double)NAN,
                                        .test_loss = (double)NAN,
                                        .test_accuracy = (double)NAN,
                                        .target_seconds = (double)NAN,
                                        .workers = run->workers}};
    HYSGD_TRY(memory_alloc(count, sizeof *tally->accounts, &tally->accounts));
    HYSGD_TRY(memory_alloc(count, sizeof *tally->states, &tally->states));
    HYSGD_TRY(memory_alloc(count, sizeof *tally->contributors, &tally->contributors));
    for (size_t i = 0; i < count; i++) {
        tally->states[i].delivered = run->first_seconds;
        tally->states[i].is_lost = i + run->spare >= count;
    }
    return attribution_init(&tally->attribution, run->workers, run->first_seconds, tally->accounts);
}

enum hysgd_status tally_init(struct tally *tally, const struct event_run *run) {
    HYSGD_TRY(tally_init_unmarked(tally, run));
    return strcmp(run->runtime, "mpi") == 0 ? tally_marks_alloc(run, &tally->marks) : HYSGD_OK;
}

void tally_fini(struct tally *tally) {
    tally_marks_free(tally->marks);
    attribution_fini(&tally->attribution);
    memory_free(tally->accounts);
    memory_free(tally->states);
    memory_free(tally->contributors);
    *tally = (struct tally){0};
}

static void take_arrival(struct tally *tally, const struct event *event) {
    struct event_account *account = &tally->accounts[event->worker];
    struct tally_worker *state = &tally->states[event->worker];
    uint64_t staleness = event->version - event->arrival.read;
    account->received++;
    account->compute_seconds += event->arrival.compute_seconds;
    account->transit_seconds += event->arrival.transit_seconds;
    account->data_seconds += event->arrival.data_seconds;
    state->delivered = event->seconds - event->arrival.queue_seconds;
    state->is_under_way = false;
    if (isfinite(event->arrival.loss)) {
        tally->loss_sum += event->arrival.loss;
        tally->loss_count++;
    }
    if (event->arrival.weight <= 0) {
        account->dropped++;
        return;
    }
    if (account->held++ == 0)
        tally->contributors[tally->contributor_count++] = event->worker;
    state->held_staleness += (double)staleness;
    if (staleness > state->held_most_staleness)
        state->held_most_staleness = staleness;
}

static void take_abandoned(struct tally *tally, const struct event *event) {
    struct event_account *account = &tally->accounts[event->worker];
    struct tally_worker *state = &tally->states[event->worker];
    account->abandoned++;
    account->abandoned_seconds += event->abandoned.spent_seconds;
    state->delivered = event->seconds - event->abandoned.queue_seconds;
    state->is_under_way = false;
}

static void take_update(struct tally *tally, const struct event *event) {
    tally->summary.updates = event->version;
    tally->summary.forced_updates += event->update.is_forced;
    tally->summary.server_seconds += event->update.service_seconds;
    for (int i = 0; i < tally->contributor_count; i++) {
        struct event_account *account = &tally->accounts[tally->contributors[i]];
        struct tally_worker *state = &tally->states[tally->contributors[i]];
        account->applied += account->held;
        account->staleness_sum += state->held_staleness;
        if (state->held_most_staleness > account->most_staleness)
            account->most_staleness = state->held_most_staleness;
        account->held = 0;
        state->held_staleness = 0;
        state->held_most_staleness = 0;
    }
    tally->contributor_count = 0;
}

static void take_evaluation(struct tally *tally, const struct event *event) {
    tally->summary.test_loss = event->evaluation.loss;
    tally->summary.test_accuracy = event->evaluation.accuracy;
    tally->summary.checksum = event->evaluation.checksum;
    if (tally->loss_count > 0)
        tally->summary.train_loss = tally->loss_sum / (double)tally->loss_count;
    tally->loss_sum = 0;
    tally->loss_count = 0;
}

static void take_start(struct tally *tally, const struct event *event) {
    struct tally_worker *state = &tally->states[event->worker];
    tally->accounts[event->worker].waiting_seconds += event->seconds - state->delivered;
    state->is_under_way = true;
    state->is_lost = false; /* of a run that is continued, in which one of the spare places was taken before */
}

/* Where it is not known any more what there was: what was held is gone, and the rest stays. */
static void forget_held(struct tally *tally, const struct event *event) {
    tally->summary.updates = event->version;
    for (int i = 0; i < tally->workers; i++) {
        tally->accounts[i].held = 0;
        tally->states[i].held_staleness = 0;
        tally->states[i].held_most_staleness = 0;
        tally->states[i].is_under_way = true;
    }
    tally->contributor_count = 0;
}

static uint64_t count_received(const struct tally *tally) {
    uint64_t received = 0;
    for (int i = 0; i < tally->workers; i++)
        received += tally->accounts[i].received;
    return received;
}

/* What was counted since is undone. False: that is not known. Logs of earlier versions do not tell, and give 0. */
static bool go_back(struct tally *tally, const struct event *event) {
    uint64_t kept = event->restored.kept, events = tally->events;
    if (kept == events - 1)
        return true;
    if (!tally->marks || (kept == 0 && event->restored.received != tally->first_received) ||
        !tally_marks_go_back(tally->marks, kept, tally))
        return false;
    tally->events = events;
    return true;
}

/* Workers that were computing then begin anew. */
static void take_restored(struct tally *tally, const struct event *event) {
    const struct event_summary before = tally->summary;
    uint64_t received = count_received(tally);
    for (int i = 0; i < tally->workers; i++)
        tally->accounts[i].undone += tally->accounts[i].received;
    bool is_known = go_back(tally, event);
    if (!is_known)
        forget_held(tally, event);
    for (int i = 0; i < tally->workers; i++) {
        struct tally_worker *state = &tally->states[i];
        tally->accounts[i].undone -= tally->accounts[i].received;
        if (!state->is_under_way || state->is_lost)
            continue;
        state->is_under_way = false;
        state->delivered = event->seconds;
        attribution_restore(&tally->attribution, i, event->seconds, event->version);
    }
    tally->summary.seconds = before.seconds;
    tally->summary.returns = before.returns + 1;
    tally->summary.undone = before.undone + (is_known ? received - count_received(tally) : event->restored.undone);
}

void tally_add(struct tally *tally, const struct event *event) {
    tally->events++;
    if (event->seconds > tally->summary.seconds)
        tally->summary.seconds = event->seconds;
    attribution_add(&tally->attribution, event);
    switch (event->kind) {
    case EVENT_START:
        take_start(tally, event);
        break;
    case EVENT_ARRIVAL:
        take_arrival(tally, event);
        break;
    case EVENT_ABANDONED:
        take_abandoned(tally, event);
        break;
    case EVENT_UPDATE:
        take_update(tally, event);
        break;
    case EVENT_EVALUATION:
        take_evaluation(tally, event);
        break;
    case EVENT_LOST:
        tally->states[event->worker].is_lost = true;
        tally->summary.unfinished += tally->states[event->worker].is_under_way;
        break;
    case EVENT_JOINED:
        tally->states[event->worker].is_lost = tally->states[event->worker].is_under_way = false;
        tally->states[event->worker].delivered = event->seconds;
        break;
    case EVENT_RESTORED:
        take_restored(tally, event);
        break;
    case EVENT_COPIED:
    case EVENT_CHECKPOINT:
        if (tally->marks)
            tally_marks_set(tally->marks, tally, event->kind == EVENT_COPIED);
        break;
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_CLOCK:
        break;
    }
}

void tally_summarize(struct tally *tally, const char *reason, struct event_summary *summary_out) {
    struct event_summary *summary = &tally->summary;
    *summary_out = *summary;
    summary_out->reason = reason;
    summary_out->accounts = tally->accounts;
    for (int i = 0; i < tally->workers; i++) {
        struct event_account *account = &tally->accounts[i];
        struct tally_worker *state = &tally->states[i];
        account->dropped += account->held;
        account->held = 0;
        account->share = (struct event_share){(double)NAN, (double)NAN}; /* events do not tell */
        if (state->is_lost)
            continue;
        summary_out->unfinished += state->is_under_way;
        if (!state->is_under_way && summary->seconds > state->delivered) {
            account->waiting_seconds += summary->seconds - state->delivered;
            tally->attribution.open_seconds += summary->seconds - state->delivered;
            state->delivered = summary->seconds; /* a second summary adds nothing */
        }
    }
    summary_out->server_waiting_seconds = tally->attribution.server_seconds;
    summary_out->open_waiting_seconds = tally->attribution.open_seconds;
}

void tally_now(const struct tally *tally, struct event_account *accounts_out, struct event_summary *summary_out) {
    *summary_out = tally->summary;
    summary_out->reason = "";
    summary_out->accounts = accounts_out;
    summary_out->server_waiting_seconds = tally->attribution.server_seconds;
    summary_out->open_waiting_seconds = tally->attribution.open_seconds;
    for (int i = 0; i < tally->workers; i++) {
        const struct tally_worker *state = &tally->states[i];
        accounts_out[i] = tally->accounts[i];
        accounts_out[i].share = (struct event_share){(double)NAN, (double)NAN}; /* events do not tell */
        if (state->is_lost)
            continue;
        summary_out->unfinished += state->is_under_way;
        if (!state->is_under_way && tally->summary.seconds > state->delivered) {
            accounts_out[i].waiting_seconds += tally->summary.seconds - state->delivered;
            summary_out->open_waiting_seconds += tally->summary.seconds - state->delivered;
        }
    }
}
