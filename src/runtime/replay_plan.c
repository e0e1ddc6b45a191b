/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a log through before it is repeated: finds damage, and the moments at which evaluations began. */
#include <string.h>

#include "base/memory.h"
#include "runtime/replay.h"

static enum hysgd_status add_evaluation(struct replay_plan *plan, const struct event *event) {
    if (plan->evaluation_count == plan->evaluation_room) {
        struct replay_evaluation *larger;
        size_t room = plan->evaluation_room > 0 ? 2 * plan->evaluation_room : 64;
        HYSGD_TRY(memory_alloc(room, sizeof *larger, &larger));
        if (plan->evaluation_count > 0)
            memcpy(larger, plan->evaluations, plan->evaluation_count * sizeof *larger);
        memory_free(plan->evaluations);
        plan->evaluations = larger;
        plan->evaluation_room = room;
    }
    plan->evaluations[plan->evaluation_count++] = (struct replay_evaluation){
        .seconds = event->seconds, .version = event->version, .received = event->evaluation.received};
    return HYSGD_OK;
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
    }
    plan->is_cut = log_reader_summary(reader) == NULL;
    plan->bytes = log_reader_byte(reader);
    if (log_reader_unknown(reader) != NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: has %s, which this program does not know and cannot repeat", path,
                          log_reader_unknown(reader));
    return HYSGD_OK;
}

void replay_plan_fini(struct replay_plan *plan) {
    memory_free(plan->evaluations);
    *plan = (struct replay_plan){0};
}
