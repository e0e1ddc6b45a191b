/* SPDX-License-Identifier: Apache-2.0 */
/* Remembers what triggered the latest versions: see attribution.h. */
#include "record/attribution.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* A thread may begin some updates after it was released; with so many versions per worker remembered, and this many
 * at least, none is forgotten before. */
#define VERSIONS_PER_WORKER 4
#define LEAST_VERSIONS      64

enum hysgd_status attribution_init(struct attribution *attribution, int workers, double seconds,
                                   struct event_account *accounts) {
    uint64_t count = LEAST_VERSIONS;
    while (count < (uint64_t)workers * VERSIONS_PER_WORKER)
        count *= 2;
    *attribution = (struct attribution){
        .workers = workers, .trigger_count = count, .latest = {.worker = -1}, .accounts = accounts};
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *attribution->states, &attribution->states));
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *attribution->triggers, &attribution->triggers));
    for (int i = 0; i < workers; i++)
        attribution->states[i].delivered = seconds;
    for (uint64_t i = 0; i < count; i++)
        attribution->triggers[i].worker = -1;
    return HYSGD_OK;
}

void attribution_fini(struct attribution *attribution) {
    memory_free(attribution->states);
    memory_free(attribution->triggers);
    *attribution = (struct attribution){0};
}

void attribution_copy(struct attribution *to, const struct attribution *from) {
    struct attribution kept = *to;
    memcpy(kept.states, from->states, (size_t)from->workers * sizeof *kept.states);
    memcpy(kept.triggers, from->triggers, (size_t)from->trigger_count * sizeof *kept.triggers);
    *to = *from;
    to->states = kept.states;
    to->triggers = kept.triggers;
    to->accounts = kept.accounts;
}

void attribution_restore(struct attribution *attribution, int worker, double delivered, uint64_t version) {
    attribution->states[worker].delivered = delivered;
    attribution->states[worker].version = version;
}

/* A worker has delivered, given up or left: what follows at the server is its doing. */
static void take_turn(struct attribution *attribution, const struct event *event, double delivered) {
    attribution->latest = (struct attribution_trigger){.worker = event->worker, .delivered = delivered};
    attribution->states[event->worker] =
        (struct attribution_worker){.delivered = delivered, .version = event->version};
}

static void take_update(struct attribution *attribution, const struct event *event) {
    struct attribution_trigger *trigger = &attribution->triggers[event->version % attribution->trigger_count];
    *trigger = attribution->latest;
    trigger->version = event->version;
}

/* The trigger of the version that the worker waited for; NULL: it waited for none, or that is forgotten. */
static struct attribution_trigger *find_trigger(const struct attribution *attribution, const struct event *start) {
    struct attribution_trigger *trigger = &attribution->triggers[start->version % attribution->trigger_count];
    bool has_waited = start->version > attribution->states[start->worker].version;
    bool is_known = trigger->version == start->version && trigger->worker >= 0;
    return has_waited && is_known && trigger->worker != start->worker ? trigger : NULL;
}

static void take_start(struct attribution *attribution, const struct event *event) {
    struct attribution_worker *state = &attribution->states[event->worker];
    double waited = event->seconds - state->delivered, caused = 0;
    struct attribution_trigger *trigger = find_trigger(attribution, event);
    if (trigger)
        caused = fmin(fmax(trigger->delivered - state->delivered, 0), waited);
    if (caused > 0) {
        struct event_account *account = &attribution->accounts[trigger->worker];
        account->caused_seconds += caused;
        account->delays += !trigger->has_delayed;
        trigger->has_delayed = true;
    }
    attribution->server_seconds += waited - caused;
    state->delivered = event->seconds;
}

void attribution_add(struct attribution *attribution, const struct event *event) {
    switch (event->kind) {
    case EVENT_START:
        take_start(attribution, event);
        break;
    case EVENT_ARRIVAL:
        take_turn(attribution, event, event->seconds - event->arrival.queue_seconds);
        break;
    case EVENT_ABANDONED:
        take_turn(attribution, event, event->seconds - event->abandoned.queue_seconds);
        break;
    case EVENT_LOST:
    case EVENT_JOINED:
        take_turn(attribution, event, event->seconds);
        break;
    case EVENT_UPDATE:
        take_update(attribution, event);
        break;
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
