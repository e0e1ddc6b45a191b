/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd inspect: what is in a checkpoint, or in an event log. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/terminal.h"
#include "train/inspect.h"
#include "train/inspect_log.h"

struct options {
    bool json;
};

static const struct hysgd_option own_options[] = {
    {"json", HYSGD_OPTION_BOOL, offsetof(struct options, json), "no", 0, 0, NULL,
     "print everything as a JSON object"},
    {0},
};

static enum hysgd_status inspect(const char *path, const void *options) {
    const struct options *own = options;
    if (inspect_is_log(path))
        return inspect_log_print(path, own->json, stdout);
    return inspect_print(path, own->json, terminal_columns(stdout), stdout);
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, inspect);
}

const struct command command_inspect = {
    .name = "inspect",
    .words = "CHECKPOINT|LOG",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"output", own_options, NULL}},
    .table_count = 1,
    .summary = "Prints what is in a checkpoint, with its tensors, or in an event log.",
    .details =
        "Any safetensors file will do. Mean, standard deviation, smallest and largest are over the elements that "
        "are finite numbers; the others are counted. Of an event log: its run, how many events of each kind, and how the "
        "clocks of the ranks compare: a log of several machines has the coordinator's times.",
    .examples = "  hysgd inspect run.safetensors\n"
                "  hysgd inspect run.safetensors --json |\n"
                "      jq '.tensors[] | select(.not_finite > 0)'\n"
                "  hysgd inspect run.hylog\n",
    .run = run,
};
