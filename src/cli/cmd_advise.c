/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd advise: which policy suits the times that were measured. */
#include <stdio.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "train/advise.h"
#include "train/description.h"

struct options {
    bool json;
};

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL, "print the advice as JSON"},
    {0},
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    return options_set(own_options, self, "advise", key, value);
}

static enum hysgd_status set_advise(void *self, const char *key, const char *value) {
    return advise_set(self, key, value);
}

static void stop_advise(void *advise) {
    advise_stop(advise);
}

static enum hysgd_status run_advise(struct advise *advise, const struct args *args, bool is_json) {
    struct signals signals;
    const struct advice *advice = NULL;
    if (!args->is_quiet)
        advise_show(advise, stderr);
    HYSGD_TRY(signals_start(&signals, stop_advise, advise));
    enum hysgd_status status = advise_run(advise, args->words[0], &advice);
    signals_stop(&signals);
    if (advice == NULL)
        return status;
    enum hysgd_status printed =
        is_json ? advice_print_json(advice, stdout) : advice_print_text(advice, terminal_columns(stdout), stdout);
    return status != HYSGD_OK ? status : printed;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own = {0};
    struct args args;
    struct advise *advise;
    enum hysgd_status status = advise_alloc(&advise);
    if (status != HYSGD_OK)
        return command_report(status);
    const struct command_taker takers[] = {{set_advise, advise}, {set_own, &own}, {set_advise, advise}};
    status = args_read(&args, command, takers, argc, argv);
    if (status == HYSGD_OK && args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (status == HYSGD_OK)
        status = run_advise(advise, &args, own.json);
    int code = command_report(status);
    advise_free(advise);
    return code;
}

const struct command command_advise = {
    .name = "advise",
    .words = "LOG|TIMES.csv",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"the simulations", advise_options, NULL},
               {"output", own_options, NULL},
               {"the job", description_options, advise_without}},
    .table_count = 3,
    .summary = "Tells which policy suits the measured times of workers.",
    .details =
        "LOG is what --log of train writes in the compact form, of a run with any policy; its options are those of the job, "
        "unless given. TIMES.csv is a table: a first line worker,compute,transit (transit is optional), then the seconds of "
        "a gradient a line, workers counting from 0. Each policy is simulated in virtual time with these times, in their "
        "order and again from the beginning where they end, and with the server's as the log has them.\n"
        "Without gradients the best policy is the one with the most useful gradients a second, each counting (1 + lag)^-discount, where 1 + lag = (1 + staleness) * (gradients of an update). That is a rule, not a measurement: where gradients are mostly noise, lag does no harm (discount 0); where they are hardly, only updates count, and late ones are worth little (discount 1). With --true-gradients the job itself is trained in virtual time, and the best is the first at the target, by default what the recorded run reached; without, only the limits, batch, micro-batch, receive and apply of the job count.\n"
        "Intervals hold 90 % of the simulations over resampled times: blocks of each worker's sequence, as long as the cube "
        "root of its length, drawn with replacement, workers independently; with true gradients each has also a seed of its "
        "own. What they do not hold: that another policy may change the times themselves, as where workers share cores.",
    .examples = "  hysgd train --workers 4 --delay half,normal,mean=0.1 --policy async \\\n"
                "      --log run.hylog\n"
                "  hysgd advise run.hylog --report advice.html\n"
                "  hysgd advise run.hylog --true-gradients --policy 'sync; async; cutoff'\n"
                "  hysgd advise times.csv --updates 10000 --apply constant,mean=0.001\n",
    .run = run,
};
