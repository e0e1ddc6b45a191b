/* SPDX-License-Identifier: Apache-2.0 */
/* Hands a log to the sinks that a run would have, so that every view can be had afterwards. */
#include "record/log_play.h"

#include "record/tally.h"

struct play {
    struct log_reader *reader;
    struct recorder *recorder;
    struct tally tally;
    uint64_t events;
};

static enum hysgd_status play_events(struct play *play) {
    struct event event;
    bool has_event;
    for (;;) {
        HYSGD_TRY(log_reader_next(play->reader, &event, &has_event));
        if (!has_event)
            return HYSGD_OK;
        tally_add(&play->tally, &event);
        play->events++;
        if (recorder_emit(play->recorder, &event))
            continue;
        HYSGD_TRY(recorder_drain(play->recorder, event.seconds));
        if (!recorder_emit(play->recorder, &event))
            return hysgd_fail(HYSGD_FAILED, "the recorder has no room for an event");
    }
}

static enum hysgd_status play_all(struct play *play) {
    struct event_summary cut;
    HYSGD_TRY(tally_init(&play->tally, log_reader_run(play->reader)));
    HYSGD_TRY(recorder_begin(play->recorder, log_reader_run(play->reader)));
    HYSGD_TRY(play_events(play));
    const struct event_summary *summary = log_reader_summary(play->reader);
    if (summary == NULL) {
        tally_summarize(&play->tally, LOG_PLAY_CUT, &cut);
        summary = &cut;
    }
    return recorder_end(play->recorder, summary);
}

enum hysgd_status log_play(struct log_reader *reader, struct recorder *recorder, uint64_t *events_out) {
    struct play play = {.reader = reader, .recorder = recorder};
    enum hysgd_status status = play_all(&play);
    tally_fini(&play.tally);
    *events_out = play.events;
    return status;
}
