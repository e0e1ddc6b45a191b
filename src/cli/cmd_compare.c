/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd compare: several policies on equal terms. */
#include <stdio.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "train/compare.h"
#include "train/description.h"

struct options {
    bool json;
};

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL, "print the table as JSON"},
    {0},
};

static enum hysgd_status set_own(void *self, const char *key, const char *value) {
    return options_set(own_options, self, "compare", key, value);
}

static enum hysgd_status set_compare(void *self, const char *key, const char *value) {
    return compare_set(self, key, value);
}

static void stop_compare(void *compare) {
    compare_stop(compare);
}

static enum hysgd_status run_compare(struct compare *compare, const struct args *args, bool is_json) {
    struct signals signals;
    if (!args->is_quiet)
        compare_show(compare, stderr, args->is_verbose ? PROGRESS_VERBOSE : PROGRESS_NORMAL);
    HYSGD_TRY(signals_start(&signals, stop_compare, compare));
    enum hysgd_status status = compare_run(compare);
    signals_stop(&signals);
    if (compare_finished(compare) == 0)
        return status;
    enum hysgd_status printed = is_json ? compare_print_json(compare, stdout)
                                        : compare_print_table(compare, terminal_columns(stdout), stdout);
    return status != HYSGD_OK ? status : printed;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own = {0};
    struct args args;
    struct compare *compare;
    enum hysgd_status status = compare_alloc(&compare);
    if (status != HYSGD_OK)
        return command_report(status);
    const struct command_taker takers[] = {{set_compare, compare}, {set_own, &own}, {set_compare, compare}};
    status = args_read(&args, command, takers, argc, argv);
    if (status == HYSGD_OK && args.help != ARGS_NO_HELP)
        help_print(command, args.help == ARGS_FULL_HELP, stdout);
    else if (status == HYSGD_OK && args.is_dry_run)
        status = compare_print(compare, stdout);
    else if (status == HYSGD_OK)
        status = run_compare(compare, &args, own.json);
    int code = command_report(status);
    compare_free(compare);
    return code;
}

const struct command command_compare = {
    .name = "compare",
    .words = "",
    .has_config = true,
    .tables = {{"the comparison", compare_options, NULL},
               {"output", own_options, NULL},
               {"every run", description_options, compare_without}},
    .table_count = 3,
    .summary = "Trains with several policies on equal terms and prints a table.",
    .details =
        "All runs have the same data, the same initial parameters, the same order of samples and the same limits. "
        "Numbers are means over the seeds, with the standard deviation after +- where there are several; waiting is the "
        "share of the workers' time spent waiting for others. A target does not end a run here: the table tells when it "
        "was first reached.\n"
        "Beside schedulers, policies are told as they are: losses by their name, and epochs. Options that only one of the two kinds "
        "has are for that kind.\n"
        "With the threads runtime the runs share the machine one after another; with the virtual one the table can be "
        "repeated exactly.",
    .examples = "  hysgd compare --policy sync --policy async --policy threshold,step=300 \\\n"
                "      --epochs 5\n"
                "  hysgd compare --runtime virtual --workers 8 --speeds 4x1,4x0.25 \\\n"
                "      --deadline 30 --policy 'sync; async; cyclic' --repeat 5 \\\n"
                "      --target accuracy=0.95 --report report.html\n",
    .run = run,
};
