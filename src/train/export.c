/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a log to the views: see export.h. */
#include "train/export.h"

#include <stdio.h>

#include "record/log_play.h"
#include "train/output_paths.h"

/* Events handed out at a time. */
#define RING_EVENTS 1024

static enum hysgd_status check_paths(const char *log, const struct views_paths *paths) {
    const struct output_path outputs[] = {{"jsonl", paths->jsonl, OUTPUT_WRITTEN},
                                          {"csv", paths->csv, OUTPUT_WRITTEN},
                                          {"tensorboard", paths->tensorboard, OUTPUT_DIRECTORY},
                                          {"trace", paths->trace, OUTPUT_WRITTEN},
                                          {"report", paths->report, OUTPUT_REPLACED}};
    if (!views_are_wanted(paths))
        return hysgd_fail(HYSGD_USAGE, "export: %s: no view is asked for: see `hysgd export -h`", log);
    return output_paths_check(outputs, sizeof outputs / sizeof outputs[0], log);
}

static enum hysgd_status play(struct log_reader *reader, const struct views_paths *paths, struct recorder *recorder,
                              struct export_result *result) {
    struct views views;
    enum hysgd_status status = views_open(&views, paths, false, recorder);
    if (status == HYSGD_OK)
        status = log_play(reader, recorder, &result->events);
    if (status == HYSGD_OK)
        status = views_finish(&views, paths, log_reader_run(reader)->title);
    views_close(&views);
    return status;
}

void export_note(const struct log_reader *reader, struct export_result *result) {
    result->is_cut = log_reader_summary(reader) == NULL;
    result->bytes = log_reader_byte(reader);
    if (log_reader_unknown(reader) != NULL)
        snprintf(result->unknown, sizeof result->unknown, "%s", log_reader_unknown(reader));
}

enum hysgd_status export_log(const char *path, const struct views_paths *paths, struct export_result *result_out) {
    struct log_reader *reader;
    struct recorder *recorder;
    *result_out = (struct export_result){0};
    HYSGD_TRY(check_paths(path, paths));
    HYSGD_TRY(log_reader_open(path, &reader));
    enum hysgd_status status = recorder_alloc(RING_EVENTS, &recorder);
    if (status == HYSGD_OK) {
        status = play(reader, paths, recorder, result_out);
        recorder_free(recorder);
    }
    export_note(reader, result_out);
    log_reader_close(reader);
    return status;
}
