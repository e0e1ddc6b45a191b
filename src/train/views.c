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
    enum hysgd_status (*go_on)(const char *path, uint64_t bytes, void **self_out); /* NULL: it cannot */
} table[] = {
    {AT(log), &sink_log, sink_log_alloc, sink_log_free, sink_log_continue},
    {AT(jsonl), &sink_jsonl, sink_jsonl_alloc, sink_jsonl_free, sink_jsonl_continue},
    {AT(csv), &sink_csv, sink_csv_alloc, sink_csv_free, sink_csv_continue},
    {AT(tensorboard), &sink_tensorboard, sink_tensorboard_alloc, sink_tensorboard_free, NULL},
    {AT(trace), &sink_trace, sink_trace_alloc, sink_trace_free, NULL},
    {AT(serve), &sink_serve, sink_serve_alloc, sink_serve_free, NULL},
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

enum hysgd_status views_continue_lines(struct views *views, const struct views_paths *paths, size_t path,
                                       uint64_t bytes) {
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].path == path && table[i].go_on != NULL)
            return table[i].go_on(path_at(paths, path), bytes, &views->sinks[i]);
    return HYSGD_OK;
}

enum hysgd_status views_continue(struct views *views, const struct views_paths *paths, uint64_t bytes) {
    return views_continue_lines(views, paths, AT(log), bytes);
}

enum hysgd_status views_adopt(const struct views *views, struct recorder *recorder) {
    for (size_t i = 0; i < COUNT; i++)
        if (views->sinks[i] != NULL)
            HYSGD_TRY(recorder_adopt(recorder, table[i].ops, views->sinks[i]));
    return views->history != NULL ? recorder_adopt(recorder, &sink_history, views->history) : HYSGD_OK;
}

enum hysgd_status views_open(struct views *views, const struct views_paths *paths, bool wants_history,
                             struct recorder *recorder) {
    *views = (struct views){0};
    HYSGD_TRY(views_add(views, paths, recorder));
    if (!wants_history || views->history != NULL)
        return HYSGD_OK;
    HYSGD_TRY(history_alloc(&views->history));
    return recorder_add(recorder, &sink_history, views->history);
}

enum hysgd_status views_add(struct views *views, const struct views_paths *paths, struct recorder *recorder) {
    for (size_t i = 0; i < COUNT; i++) {
        const char *path = path_at(paths, table[i].path);
        if (path[0] == '\0')
            continue;
        HYSGD_TRY(table[i].alloc(path, &views->sinks[i]));
        HYSGD_TRY(recorder_add(recorder, table[i].ops, views->sinks[i]));
    }
    if (paths->report[0] == '\0')
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
