/* SPDX-License-Identifier: Apache-2.0 */
/* Plays each log to a history of its own and writes one report about all: see overlay.h. */
#include "train/overlay.h"

#include <stdio.h>
#include <string.h>

#include "record/history.h"
#include "record/log_play.h"
#include "train/output_paths.h"

/* Events handed out at a time. */
#define RING_EVENTS 1024

static enum hysgd_status check_out(const char *const *logs, size_t count, const char *out) {
    const struct output_path output = {"out", out, OUTPUT_REPLACED};
    if (out[0] == '\0')
        return hysgd_fail(HYSGD_USAGE, "report: out= is empty: expected the path of an HTML file");
    for (size_t i = 0; i < count; i++)
        HYSGD_TRY(output_paths_check(&output, 1, logs[i]));
    return HYSGD_OK;
}

static enum hysgd_status play(struct log_reader *reader, struct history *history, uint64_t *events_out) {
    struct recorder *recorder;
    HYSGD_TRY(recorder_alloc(RING_EVENTS, &recorder));
    enum hysgd_status status = recorder_add(recorder, &sink_history, history);
    if (status == HYSGD_OK)
        status = log_play(reader, recorder, events_out);
    recorder_free(recorder);
    return status;
}

static enum hysgd_status read_log(const char *path, struct history **history_out, struct export_result *result) {
    struct log_reader *reader;
    HYSGD_TRY(history_alloc(history_out));
    HYSGD_TRY(log_reader_open(path, &reader));
    enum hysgd_status status = play(reader, *history_out, &result->events);
    if (status == HYSGD_OK)
        status = history_name(*history_out, path);
    export_note(reader, result);
    log_reader_close(reader);
    return status;
}

static enum hysgd_status write_report(const struct history *const *histories, size_t count, const char *title,
                                      const char *out) {
    char made[48];
    snprintf(made, sizeof made, "comparison of %zu runs", count);
    if (title[0] == '\0')
        title = count == 1 ? histories[0]->run.title : made;
    return report_write(out, title, histories, count);
}

enum hysgd_status overlay_write(const char *const *logs, size_t count, const char *title, const char *out,
                                struct export_result *results_out) {
    struct history *histories[OVERLAY_MOST_LOGS] = {NULL};
    memset(results_out, 0, count * sizeof *results_out);
    HYSGD_TRY(check_out(logs, count, out));
    enum hysgd_status status = HYSGD_OK;
    for (size_t i = 0; i < count && status == HYSGD_OK; i++)
        status = read_log(logs[i], &histories[i], &results_out[i]);
    if (status == HYSGD_OK)
        status = write_report((const struct history *const *)histories, count, title, out);
    for (size_t i = 0; i < count; i++)
        history_free(histories[i]);
    return status;
}
