/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd replay: a recorded run once more. */
#include <stdio.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "train/replay.h"

struct options {
    bool json;
};

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL,
     "print the outcome as a JSON object"},
    {0},
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    return options_set(own_options, self, "replay", key, value);
}

static enum hysgd_status set_job(void *self, const char *key, const char *value) {
    return replay_job_set(self, key, value);
}

static void stop_job(void *job) {
    replay_job_stop(job);
}

static enum hysgd_status run_job(struct replay_job *job, const struct args *args, bool is_json) {
    struct signals signals;
    if (!args->is_quiet)
        replay_job_show(job, stderr, args->is_verbose ? PROGRESS_VERBOSE : PROGRESS_NORMAL);
    HYSGD_TRY(signals_start(&signals, stop_job, job));
    enum hysgd_status status = replay_job_run(job, args->words[0]);
    signals_stop(&signals);
    if (!replay_job_has_begun(job))
        return status;
    enum hysgd_status printed = HYSGD_OK;
    if (status == HYSGD_OK || is_json)
        printed = replay_job_print(job, is_json, terminal_columns(stdout), stdout);
    return status != HYSGD_OK ? status : printed;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own = {0};
    struct args args;
    struct replay_job *job;
    enum hysgd_status status = replay_job_alloc(&job);
    if (status != HYSGD_OK)
        return command_report(status);
    const struct command_taker takers[] = {{set_job, job}, {set_own, &own}};
    status = args_read(&args, command, takers, argc, argv);
    if (status == HYSGD_OK && args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (status == HYSGD_OK)
        status = run_job(job, &args, own.json);
    int code = command_report(status);
    replay_job_free(job);
    return code;
}

const struct command command_replay = {
    .name = "replay",
    .words = "LOG",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"the replay", replay_options, NULL}, {"output", own_options, NULL}},
    .table_count = 2,
    .summary = "Repeats a recorded run and compares it with its log, to the last bit.",
    .details =
        "LOG is what --log of train writes in the compact form, of any runtime. Which worker's gradient arrived when is "
        "taken from the log; gradients, verdicts and updates are made anew, and every event must come out as recorded: "
        "versions, weights, losses, thresholds, learning rates, evaluations with the checksum of the parameters, and "
        "the accounts at the end. The first difference ends the replay with exit code 1 and is named: event, field, and "
        "both values.\n"
        "With --policy the run goes on under another policy: what if? It does so in modelled time, from --until on or from "
        "the beginning, up to the limits of the recorded run. Workers take their recorded times in their order, and again "
        "from the first where those end, and so does the server; a run in modelled time draws them as it would have. The table "
        "has the recorded run beside it. Gradients under way at the change arrive as they would have; estimates and the "
        "policy's state begin anew.\n"
        "Data, model and program must be those of the recorded run; others are refused with exit code 3. A log that was "
        "cut is repeated up to the cut.",
    .examples = "  hysgd train --policy async --log run.hylog --save run.safetensors\n"
                "  hysgd replay run.hylog --check run.safetensors\n"
                "  hysgd replay run.hylog --until updates=1000 --save early.safetensors\n"
                "  hysgd replay run.hylog --until updates=1000 --policy threshold,step=300\n"
                "  hysgd train --resume early.safetensors --epochs 3\n",
    .run = run,
};
