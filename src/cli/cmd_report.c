/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd report: curves and timelines of one or several recorded runs. */
#include "cli/command.h"
#include "train/overlay.h"

struct options {
    char *out, *title;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"out", HYSGD_OPTION_TEXT, AT(out), "report.html", 0, 0, NULL, "the HTML file to write"},
    {"title", HYSGD_OPTION_TEXT, AT(title), "", 0, 0, NULL,
     "its heading; without one, the policy of the run or the number of runs"},
    {0},
};

static enum hysgd_status report(const char *const *paths, size_t count, const void *options) {
    const struct options *own = options;
    struct export_result results[OVERLAY_MOST_LOGS];
    HYSGD_TRY(overlay_write(paths, count, own->title, own->out, results));
    for (size_t i = 0; i < count; i++)
        command_note_log(paths[i], &results[i]);
    return HYSGD_OK;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_files(command, argc, argv, &own, report);
}

const struct command command_report_logs = {
    .name = "report",
    .words = "LOG...",
    .least_words = 1,
    .most_words = OVERLAY_MOST_LOGS,
    .tables = {{"what to write", own_options, NULL}},
    .table_count = 1,
    .summary = "Draws the event logs of one or several runs into one HTML file.",
    .details =
        "Each LOG is what --log of train writes in the compact form. The file needs no network and no other file: loss "
        "and accuracy, threshold and staleness against time, gradients or samples, what each worker contributed and what "
        "it did when, and a table of the runs, drawn over each other in the order given, with what differs in their "
        "settings first. Logs of any length give a page of a few megabytes: curves are means and extremes of up to 1024 "
        "equal spans of time, and in timelines the gradients of a worker that follow each other are joined, with the "
        "time of each activity added up, until there are at most 50,000 spans.",
    .examples = "  hysgd report run.hylog\n"
                "  hysgd report sync.hylog async.hylog threshold.hylog --out policies.html\n",
    .run = run,
};
