/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd export: other forms of an event log. */
#include "cli/command.h"
#include "train/export.h"

struct options {
    char *jsonl, *csv, *tensorboard, *trace, *report;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"jsonl", HYSGD_OPTION_TEXT, AT(jsonl), "", 0, 0, NULL, "write every event to this file, as JSON lines"},
    {"csv", HYSGD_OPTION_TEXT, AT(csv), "", 0, 0, NULL, "write a row per evaluation to this file"},
    {"tensorboard", HYSGD_OPTION_TEXT, AT(tensorboard), "", 0, 0, NULL,
     "write curves and histograms to a new file in this directory, for TensorBoard"},
    {"trace", HYSGD_OPTION_TEXT, AT(trace), "", 0, 0, NULL,
     "write what every worker and the server did when to this file, for ui.perfetto.dev"},
    {"report", HYSGD_OPTION_TEXT, AT(report), "", 0, 0, NULL, "write curves and timelines to this HTML file"},
    {0},
};

static enum hysgd_status export(const char *path, const void *options) {
    const struct options *own = options; const struct views_paths paths = {.log = "",
                                                                           .serve = "",
                                                                           .jsonl = own->jsonl,
                                                                           .csv = own->csv,
                                                                           .tensorboard = own->tensorboard,
                                                                           .trace = own->trace,
                                                                           .report = own->report};
    struct export_result result;
    HYSGD_TRY(export_log(path, &paths, &result));
    command_note_log(path, &result);
    return HYSGD_OK;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, export);
}

const struct command command_export = {
    .name = "export",
    .words = "LOG",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"what to write", own_options, NULL}},
    .table_count = 1,
    .summary = "Turns the event log of a run into other forms.",
    .details =
        "LOG is what --log of train writes in the compact form. All forms are those that train writes itself; a log that "
        "was cut, by a kill or a full disk, gives them of what it has. `hysgd list log` explains the events.",
    .examples = "  hysgd export run.hylog --csv run.csv --report run.html\n"
                "  hysgd export run.hylog --jsonl - | jq 'select(.event == \"update\").rate'\n",
    .run = run,
};
