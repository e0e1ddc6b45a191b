/* SPDX-License-Identifier: Apache-2.0 */
/* Opens and closes the views of a run: see views.h. */
#include "train/views.h"

#include <stddef.h>
#include <string.h>

#define AT(path) offsetof(struct views_paths, path)

/* The views that are sinks, a row each. */
static const struct {
    size_t path;
    const struct sink_ops *ops;
    enum hysgd_status (*alloc)(const char *path, void **self_out);
    void (*free)(void *self);
} table[] = {
    {AT(log), &sink_log, sink_log_alloc, sink_log_free},
    {AT(jsonl), &sink_jsonl, sink_jsonl_alloc, sink_jsonl_free},
    {AT(csv), &sink_csv, sink_csv_alloc, sink_csv_free},
    {AT(tensorboard), &sink_tensorboard, sink_tensorboard_alloc, sink_tensorboard_free},
    {AT(trace), &sink_trace, sink_trace_alloc, sink_trace_free},
    {AT(serve), &sink_serve, sink_serve_alloc, sink_serve_free},
};

#define COUNT (sizeof table / sizeof table[0])

_Static_assert(COUNT <= VIEWS_MOST, "each view has a place in struct views");

static const char *path_at(const struct views_paths *paths, size_t offset) {
    return *(const char *const *)((const char *)paths + offset);
}

bool views_are_wanted(const struct views_paths *paths) {
    bool are_wanted = paths->report[0] != '\0';
    for (size_t i = 0; i < COUNT; i++)
        are_wanted = are_wanted || path_at(paths, table[i].path)[0] != '\0';
    return are_wanted;
}

enum hysgd_status views_open(struct views *views, const struct views_paths *paths, bool wants_history,
                             struct recorder *recorder) {
    *views = (struct views){0};
    for (size_t i = 0; i < COUNT; i++) {
        const char *path = path_at(paths, table[i].path);
        if (path[0] == '\0')
            continue;
        HYSGD_TRY(table[i].alloc(path, &views->sinks[i]));
        HYSGD_TRY(recorder_add(recorder, table[i].ops, views->sinks[i]));
    }
    if (!wants_history && paths->report[0] == '\0')
        return HYSGD_OK;
    HYSGD_TRY(history_alloc(&views->history));
    return recorder_add(recorder, &sink_history, views->history);
}

void views_close(struct views *views) {
    for (size_t i = 0; i < COUNT; i++)
        table[i].free(views->sinks[i]);
    history_free(views->history);
    *views = (struct views){0};
}

enum hysgd_status views_finish(const struct views *views, const struct views_paths *paths, const char *title) {
    const struct history *const histories[] = {views->history};
    return paths->report[0] != '\0' ? report_write(paths->report, title, histories, 1) : HYSGD_OK;
}
