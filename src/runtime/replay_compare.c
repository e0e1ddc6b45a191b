/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a replay does what the log says, bit by bit: see replay_compare.h. */
#include "runtime/replay_compare.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "record/kinds.h"
#include "record/log_format.h"

enum hysgd_status replay_differ(struct replay *replay, const char *format, ...) {
    const struct event *event = &replay->expected;
    char what[256], who[32] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (event->worker >= 0)
        snprintf(who, sizeof who, " of worker %d", event->worker);
    replay->has_differed = true;
    return hysgd_fail(HYSGD_FAILED, "%s: event %" PRIu64 ", %s%s at %.9g s: %s", replay->path, replay->read,
                      record_events[event->kind].name, who, event->seconds, what);
}

static void print_value(const struct record_field *field, const void *self, char *text, size_t size) {
    uint64_t bits = log_load(field, self);
    double real;
    memcpy(&real, &bits, sizeof real);
    if (log_coding(field->type) == LOG_REAL)
        snprintf(text, size, "%.17g", real);
    else
        snprintf(text, size, "%" PRId64, (int64_t)bits);
}

/* Says in which of its numbers, bit by bit, `actual` is not as recorded; false when it is. */
static bool find_difference(const struct record_kind *kind, const void *actual, const void *recorded, char *text,
                            size_t size) {
    for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
        enum log_coding coding = log_coding(field->type);
        char here[32], there[32];
        if ((coding != LOG_INTEGER && coding != LOG_REAL) || log_load(field, actual) == log_load(field, recorded))
            continue;
        print_value(field, actual, here, sizeof here);
        print_value(field, recorded, there, sizeof there);
        snprintf(text, size, "%s is %s: recorded is %s", field->name, here, there);
        return true;
    }
    return false;
}

enum hysgd_status replay_compare_event(struct replay *replay) {
    struct event *actual = &replay->emitted[0];
    if (replay->emitted_count == 0)
        return replay_differ(replay, "nothing of this kind happens here");
    if (actual->kind != replay->expected.kind)
        return replay_differ(replay, "%s of version %" PRIu64 " comes here instead",
                             record_events[actual->kind].name, actual->version);
    if (actual->kind == EVENT_RESTORED) { /* of what is undone only the log knows */
        actual->restored.kept = replay->expected.restored.kept;
        actual->restored.undone = replay->expected.restored.undone;
    }
    char text[128];
    if (find_difference(&record_event, actual, &replay->expected, text, sizeof text) ||
        find_difference(&record_events[actual->kind], actual, &replay->expected, text, sizeof text))
        return replay_differ(replay, "%s", text);
    replay->repeated++;
    replay->emitted_count--;
    memmove(replay->emitted, replay->emitted + 1, (size_t)replay->emitted_count * sizeof *replay->emitted);
    return HYSGD_OK;
}

static enum hysgd_status take_emitted(void *self, const struct event *event) {
    struct replay *replay = self;
    if (!replay->is_comparing)
        return HYSGD_OK;
    if (replay->emitted_count == REPLAY_MOST_EMITTED)
        return hysgd_fail(HYSGD_FAILED, "replay: more than %d events come of one", REPLAY_MOST_EMITTED);
    replay->emitted[replay->emitted_count++] = *event;
    return HYSGD_OK;
}

const struct sink_ops replay_sink = {.event = take_emitted};

static enum hysgd_status compare_part(struct replay *replay, const struct record_kind *kind, int index,
                                      const void *actual, const void *recorded) {
    char text[128], which[32] = "";
    if (!find_difference(kind, actual, recorded, text, sizeof text))
        return HYSGD_OK;
    if (index >= 0)
        snprintf(which, sizeof which, " %d", index);
    replay->has_differed = true;
    return hysgd_fail(HYSGD_FAILED, "%s: after the last event, %s%s: %s", replay->path, kind->name, which, text);
}

enum hysgd_status replay_compare_end(struct replay *replay, const struct event_summary *recorded) {
    struct event_summary summary;
    training_summarize(replay->training, recorded->seconds, &summary);
    summary.server_seconds = recorded->server_seconds;
    summary.returns = recorded->returns;
    summary.undone = recorded->undone;
    bool has_failed = strcmp(recorded->reason, "diverged") == 0 || strcmp(recorded->reason, "failed") == 0;
    if (has_failed) /* perhaps in an evaluation, which is not recorded then */
        summary.train_loss = recorded->train_loss;
    if (strcmp(recorded->reason, "failed") == 0) /* ranks have no common parameters then */
        summary.checksum = recorded->checksum;
    HYSGD_TRY(compare_part(replay, &record_end, -1, &summary, recorded));
    for (int i = 0; i < summary.workers; i++)
        replay->training->accounts[i].undone = recorded->accounts[i].undone;
    for (int i = 0; i < summary.workers; i++)
        HYSGD_TRY(compare_part(replay, &record_account, i, &summary.accounts[i], &recorded->accounts[i]));
    for (int i = 0; i < summary.class_count && i < recorded->class_count; i++)
        HYSGD_TRY(compare_part(replay, &record_class, i, &summary.classes[i], &recorded->classes[i]));
    replay->has_compared_end = true;
    return HYSGD_OK;
}
