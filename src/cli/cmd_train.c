/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd train: one run. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "record/sinks.h"
#include "train/description.h"
#include "train/factorization.h"
#include "train/job.h"
#include "train/result.h"

struct options {
    bool json;
};

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL,
     "print the result as a JSON object"},
    {0},
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    return options_set(own_options, self, "train", key, value);
}

static enum hysgd_status set_job(void *self, const char *key, const char *value) {
    return hysgd_job_set(self, key, value);
}

/* The last view of the events: the summary on standard output. */
static enum hysgd_status end_with_text(void *self, const struct event_summary *summary) {
    const struct factorization *factorization = job_factorization(self);
    if (factorization != NULL)
        factorization_print(factorization, summary, stdout);
    else
        summary_print(summary, terminal_columns(stdout), stdout);
    return HYSGD_OK;
}

static enum hysgd_status end_with_json(void *self, const struct event_summary *summary) {
    const struct factorization *factorization = job_factorization(self);
    if (factorization != NULL)
        return factorization_print_json(factorization, summary, stdout);
    return result_print_json(summary, stdout);
}

/* What was decided without being asked for, and where the run can be watched; the port is open by now. */
static enum hysgd_status begin_with_notes(void *self, const struct event_run *run) {
    if (job_has_chosen_runtime(self))
        fprintf(stderr, "hysgd: %d ranks: runtime %s\n", job_ranks(self), run->runtime);
    for (int i = 0; i < run->description_count; i++) {
        const char *value = run->description[i][1];
        if (strcmp(run->description[i][0], "serve") == 0 && value[0] != '\0')
            fprintf(stderr, "hysgd: live view at http://%s%s/\n",
                    strchr(value, ':') != NULL ? "" : "127.0.0.1:", value);
    }
    return HYSGD_OK;
}

static const struct sink_ops notes = {.begin = begin_with_notes};
static const struct sink_ops text_summary = {.end = end_with_text};
static const struct sink_ops json_summary = {.end = end_with_json};

static void stop_job(void *job) {
    hysgd_job_stop(job);
}

static enum hysgd_status run_job(struct hysgd_job *job, const struct args *args, const struct options *own) {
    struct hysgd_result result;
    struct signals signals = {0};
    void *progress = NULL;
    bool has_begun;
    enum hysgd_status status = HYSGD_OK;
    if (!args->is_quiet)
        status = sink_progress_alloc(stderr, args->is_verbose ? PROGRESS_VERBOSE : PROGRESS_NORMAL, &progress);
    if (status == HYSGD_OK && progress != NULL)
        status = job_add_sink(job, &sink_progress, progress);
    if (status == HYSGD_OK && !args->is_quiet)
        status = job_add_sink(job, &notes, job);
    if (status == HYSGD_OK)
        status = job_add_sink(job, own->json ? &json_summary : &text_summary, job);
    if (status == HYSGD_OK)
        status = signals_start(&signals, stop_job, job);
    if (status == HYSGD_OK)
        status = job_run(job, &result, &has_begun);
    signals_stop(&signals);
    sink_progress_free(progress);
    return status;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own = {0};
    struct args args;
    struct hysgd_job *job;
    enum hysgd_status status = hysgd_job_alloc(&job);
    if (status != HYSGD_OK)
        return command_report(status);
    const struct command_taker takers[] = {{set_job, job}, {set_own, &own}};
    status = args_read(&args, command, takers, argc, argv);
    if (status != HYSGD_OK)
        status = job_decline(job, status);
    else if (args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (args.is_dry_run)
        status = job_print(job, stdout);
    else
        status = run_job(job, &args, &own);
    int code = job_speaks(job) ? command_report(status) : hysgd_status_exit_code(status);
    if (job_is_left_behind(job))
        code = HYSGD_OK; /* a launcher would end the others too */
    hysgd_job_free(job);
    return code;
}

const struct command command_train = {
    .name = "train",
    .words = "",
    .has_config = true,
    .tables = {{"the run", description_options, NULL}, {"output", own_options, NULL}},
    .table_count = 2,
    .summary = "Trains a model with one policy and prints how it went.",
    .details =
        "Four choices make a run: the data and the model, the optimizer, the policy (when gradients are applied and who "
        "waits for whom), and the runtime (where workers live and what a clock is). A choice with options of its own is "
        "written name,key=value,...: hysgd list NAME shows them.\n"
        "The summary goes to standard output, progress to standard error. The first interrupt ends the run as a limit "
        "would, with a checkpoint if --save is given; the second one kills it.",
    .examples = "  hysgd train --policy threshold,step=300 --workers 4 --epochs 5\n"
                "  hysgd train --data mnist:DIR --policy async --optimizer adam,rate=1e-3 \\\n"
                "      --save run.safetensors\n"
                "  hysgd train --runtime virtual --workers 8 --speeds 4x1,4x0.25 --policy sync \\\n"
                "      --deadline 60\n"
                "  hysgd train --resume run.safetensors --epochs 10 --save run.safetensors\n"
                "  hysgd train --policy cyclic --dry-run > run.conf\n"
                "  hysgd train --config run.conf\n",
    .run = run,
};
