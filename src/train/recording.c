/* SPDX-License-Identifier: Apache-2.0 */
/* Opens and ends the views of a run: see recording.h. */
#include "train/recording.h"

#include <string.h>

#include "record/log_reader.h"

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

struct views_paths recording_paths(const struct description *words) {
    bool is_lines = ends_with(words->log, ".jsonl") || ends_with(words->log, ".json");
    return (struct views_paths){.log = is_lines ? "" : words->log,
                                .jsonl = is_lines ? words->log : "",
                                .csv = words->csv,
                                .tensorboard = words->tensorboard,
                                .trace = words->trace,
                                .report = words->report,
                                .serve = words->serve};
}

enum hysgd_status recording_open(struct recording *recording, const struct description *words, size_t events,
                                 const struct run_sink *sinks, size_t sink_count, bool wants_history) {
    recording->paths = recording_paths(words);
    if (sink_count == 0 && !wants_history && !views_are_wanted(&recording->paths))
        return HYSGD_OK;
    HYSGD_TRY(recorder_alloc(events, &recording->recorder));
    HYSGD_TRY(views_open(&recording->views, &recording->paths, wants_history, recording->recorder));
    for (size_t i = 0; i < sink_count; i++)
        HYSGD_TRY(recorder_add(recording->recorder, sinks[i].ops, sinks[i].self));
    return HYSGD_OK;
}

void recording_close(struct recording *recording) {
    recorder_free(recording->recorder);
    views_close(&recording->views);
    log_reader_close(recording->reader);
    *recording = (struct recording){0};
}

enum hysgd_status recording_end(struct recording *recording, enum hysgd_status status, const char *message,
                                const struct event_summary *summary, const char *title) {
    if (recording->recorder == NULL)
        return status;
    enum hysgd_status end = recorder_end(recording->recorder, summary);
    if (end == HYSGD_OK)
        end = views_finish(&recording->views, &recording->paths, title);
    if (status == HYSGD_OK || (status == HYSGD_INTERRUPTED && end != HYSGD_OK))
        return end;
    status_set_message(message);
    return status;
}
