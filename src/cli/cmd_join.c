/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd join: one more worker for a run that goes on. */
#include "cli/command.h"
#include "train/join.h"

struct options {
    char *host;
};

static const struct hysgd_option own_options[] = {
    {"host", HYSGD_OPTION_TEXT, offsetof(struct options, host), "", 0, 0, NULL,
     "where its process is to run: a host that mpirun was given, with a slot to spare; by default mpirun chooses"},
    {0},
};

static enum hysgd_status join(const char *path, const void *options) {
    const struct options *own = options;
    return join_run(path, own->host, stdout);
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, join);
}

const struct command command_join = {
    .name = "join",
    .words = "SOCKET",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"the new worker", own_options, NULL}},
    .table_count = 1,
    .summary = "Adds a worker to a run on several processes that goes on.",
    .details =
        "SOCKET is what the run was given as --control; the command runs on the host of the rank that leads it, which is "
        "rank 0 as long as that is there. It waits until the worker takes part, and says which one that is. The run starts "
        "one more process with its own command line, on a slot that mpirun has to spare (mpirun --oversubscribe makes "
        "room), and goes on meanwhile. The process must find what the others did: the same program, options and data.\n"
        "The worker takes the place of one that was lost or has left, else one of those that --spare keeps free. Exit code "
        "0: it takes part. 1: the run refuses and says why, or is lost or stopped before it answers. 3: nothing that "
        "listens at SOCKET is a run.",
    .examples = "  mpirun --oversubscribe --enable-recovery -n 4 hysgd train --runtime mpi \\\n"
                "      --tolerate 1 --spare 2 --control run.sock &\n"
                "  hysgd join run.sock\n"
                "  hysgd join run.sock --host node7\n",
    .run = run,
};
