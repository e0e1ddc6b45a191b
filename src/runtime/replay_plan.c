/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a log through before it is repeated: finds damage, and the moments at which evaluations began. */
#include <inttypes.h>

#include "base/memory.h"
#include "runtime/replay.h"

#define FIRST_ROOM 64

static enum hysgd_status add_evaluation(struct replay_plan *plan, const struct event *event) {
    HYSGD_TRY(memory_grow(&plan->evaluations, plan->evaluation_count, &plan->evaluation_room, FIRST_ROOM,
                          sizeof *plan->evaluations));
    plan->evaluations[plan->evaluation_count++] = (struct replay_evaluation){.seconds = event->seconds,
                                                                             .version = event->version,
                                                                             .received = event->evaluation.received,
                                                                             .event = plan->events};
    return HYSGD_OK;
}

/* The latest event, a return, undoes earlier ones; with them what they have undone may stand again. */
static enum hysgd_status add_return(struct replay_plan *plan, const char *path, const struct event *event) {
    uint64_t kept = event->restored.kept;
    if (kept == EVENT_NOT_HERE)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: event %" PRIu64
                          ", restored: the run went back to before this log, which cannot be repeated "
                          "therefore",
                          path, plan->events);
    if (kept >= plan->events)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: event %" PRIu64 ", restored: has kept %" PRIu64 " events: expected fewer", path,
                          plan->events, kept);
    while (plan->return_count > 0 && plan->returns[plan->return_count - 1].at > kept)
        plan->return_count--;
    HYSGD_TRY(
        memory_grow(&plan->returns, plan->return_count, &plan->return_room, FIRST_ROOM, sizeof *plan->returns));
    plan->returns[plan->return_count++] = (struct replay_return){kept, plan->events};
    return HYSGD_OK;
}

static void leave_out_undone(struct replay_plan *plan) {
    size_t count = 0, next = 0;
    for (size_t i = 0; i < plan->evaluation_count; i++) {
        struct replay_evaluation *evaluation = &plan->evaluations[i];
        while (next < plan->return_count && plan->returns[next].at < evaluation->event)
            next++;
        evaluation->returns = next;
        if (next == plan->return_count || evaluation->event <= plan->returns[next].kept)
            plan->evaluations[count++] = *evaluation;
    }
    plan->evaluation_count = count;
    for (size_t i = 0; i < plan->return_count; i++)
        plan->undone += plan->returns[i].at - plan->returns[i].kept - 1;
}

enum hysgd_status replay_plan_init(struct replay_plan *plan, const char *path, struct log_reader *reader) {
    struct event event;
    bool has_event;
    *plan = (struct replay_plan){0};
    for (;;) {
        HYSGD_TRY(log_reader_next(reader, &event, &has_event));
        if (!has_event)
            break;
        plan->events++;
        if (event.kind == EVENT_EVALUATION)
            HYSGD_TRY(add_evaluation(plan, &event));
        if (event.kind == EVENT_RESTORED && !log_reader_has(reader, "restored", "kept"))
            return hysgd_fail(HYSGD_INPUT,
                              "%s: event %" PRIu64 ", restored: does not say where the run went back to", path,
                              plan->events);
        if (event.kind == EVENT_RESTORED)
            HYSGD_TRY(add_return(plan, path, &event));
    }
    leave_out_undone(plan);
    plan->is_cut = log_reader_summary(reader) == NULL;
    plan->bytes = log_reader_byte(reader);
    if (log_reader_unknown(reader) != NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: has %s, which this program does not know and cannot repeat", path,
                          log_reader_unknown(reader));
    return HYSGD_OK;
}

void replay_plan_fini(struct replay_plan *plan) {
    memory_free(plan->evaluations);
    memory_free(plan->returns);
    *plan = (struct replay_plan){0};
}
