/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd evaluate: loss and accuracy of a checkpoint on data. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "train/trained.h"

struct options {
    char *data, *model;
    int split;
    int64_t limit, batch;
    bool json;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"data", HYSGD_OPTION_TEXT, AT(data), "", 0, 0, NULL, "evaluate on these data, not on those of the checkpoint"},
    {"model", HYSGD_OPTION_TEXT, AT(model), "", 0, 0, NULL, "the model, where the checkpoint does not say it"},
    {"split", HYSGD_OPTION_CHOICE, AT(split), "test", 0, 0, "train|test", "which part of the data"},
    {"limit", HYSGD_OPTION_INT, AT(limit), "0", 0, 1e12, NULL, "only the first so many samples; 0: all"},
    {"batch", HYSGD_OPTION_INT, AT(batch), "256", 1, 1e6, NULL, "samples evaluated at a time"},
    {"json", HYSGD_OPTION_BOOL, AT(json), "no", 0, 0, NULL, "print the result as a JSON object"},
    {0},
};

static void print_text(const char *data, const struct hysgd_metrics *metrics) {
    printf("samples   %" PRIu64 "\n", metrics->count);
    printf("loss      %.6g\n", metrics->loss / (double)metrics->count);
    if (metrics->has_accuracy)
        printf("accuracy  %.2f %%\n", 100 * (double)metrics->correct / (double)metrics->count);
    printf("data      %s\n", data);
}

static enum hysgd_status evaluate(const char *path, const void *options) {
    const struct options *own = options;
    struct trained *trained;
    struct hysgd_metrics metrics = {0};
    HYSGD_TRY(trained_open(path, own->model, own->data, own->batch, &trained));
    enum hysgd_status status = trained_evaluate(trained, (enum hysgd_split)own->split, own->limit, &metrics);
    if (status == HYSGD_OK && own->json)
        status = trained_print_json(trained, &metrics, stdout);
    else if (status == HYSGD_OK)
        print_text(trained_data(trained), &metrics);
    trained_close(trained);
    return status;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, evaluate);
}

const struct command command_evaluate = {
    .name = "evaluate",
    .words = "CHECKPOINT",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"what to evaluate", own_options, NULL}},
    .table_count = 1,
    .summary = "Prints loss and accuracy of a checkpoint on data.",
    .details = "Model and data are those that the checkpoint was trained with, unless given.",
    .examples = "  hysgd evaluate run.safetensors\n"
                "  hysgd evaluate run.safetensors --split train --limit 1000 --json\n",
    .run = run,
};
