/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd evaluate: loss and accuracy of a checkpoint on data. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "train/recommender.h"
#include "train/trained.h"

struct options {
    char *data, *model;
    int split; /* enum recommender_part, whose first two are those of enum hysgd_split */
    int64_t limit, batch, top;
    double relevant;
    bool json;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"data", HYSGD_OPTION_TEXT, AT(data), "", 0, 0, NULL,
     "evaluate on these data, not on those of the checkpoint; of ratings that a model of factors was not trained on all, "
     "unless their split is given"},
    {"model", HYSGD_OPTION_TEXT, AT(model), "", 0, 0, NULL, "the model, where the checkpoint does not say it"},
    {"split", HYSGD_OPTION_CHOICE, AT(split), "test", 0, 0, "train|test|validation",
     "which part of the data; validation: of ratings only"},
    {"limit", HYSGD_OPTION_INT, AT(limit), "0", 0, 1e12, NULL, "only the first so many samples; 0: all"},
    {"batch", HYSGD_OPTION_INT, AT(batch), "256", 1, 1e6, NULL, "samples evaluated at a time"},
    {"top", HYSGD_OPTION_INT, AT(top), "0", 0, RECOMMENDER_MOST_TOP, NULL,
     "model factors: judge the first so many items of each user by precision, recall and NDCG, and all by AUC; 0: 10 where the "
     "model is of one-class data, else not at all"},
    {"relevant", HYSGD_OPTION_REAL, AT(relevant), "-1e30", -1e30, 1e30, NULL,
     "with --top: ratings of at least this are of items that the user would choose"},
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

static enum hysgd_status evaluate_factors(struct recommender *recommender, const struct options *own) {
    const struct recommender_judging judging = {.part = (enum recommender_part)own->split,
                                                .limit = (uint64_t)own->limit,
                                                .top = (uint32_t)own->top,
                                                .relevant = own->relevant};
    if (own->model[0] != '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "evaluate: --model has no effect: a model of factors says itself what it is");
    return recommender_evaluate(recommender, &judging, own->json ? RECOMMENDER_JSON : RECOMMENDER_CSV, stdout);
}

static enum hysgd_status evaluate_samples(const char *path, const struct options *own) {
    struct trained *trained;
    struct hysgd_metrics metrics = {0};
    if (own->split == RECOMMENDER_VALIDATION || own->top > 0)
        return hysgd_fail(HYSGD_USAGE, "evaluate: %s is for models of factors",
                          own->top > 0 ? "--top" : "--split=validation");
    HYSGD_TRY(trained_open(path, own->model, own->data, own->batch, &trained));
    enum hysgd_status status = trained_evaluate(trained, (enum hysgd_split)own->split, own->limit, &metrics);
    if (status == HYSGD_OK && own->json)
        status = trained_print_json(trained, &metrics, stdout);
    else if (status == HYSGD_OK)
        print_text(trained_data(trained), &metrics);
    trained_close(trained);
    return status;
}

static enum hysgd_status evaluate(const char *path, const void *options) {
    const struct options *own = options;
    struct recommender *recommender;
    HYSGD_TRY(recommender_open(path, own->data, &recommender));
    enum hysgd_status status =
        recommender != NULL ? evaluate_factors(recommender, own) : evaluate_samples(path, own);
    recommender_close(recommender);
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
    .details =
        "Model and data are those that the checkpoint was trained with, unless given.\n"
        "A model of factors is judged by RMSE and MAE, or by what its loss is; with --top, and where the data are "
        "one-class, by how it ranks the items that a user has in this part among those not in the training part.",
    .examples = "  hysgd evaluate run.safetensors\n"
                "  hysgd evaluate run.safetensors --split train --limit 1000 --json\n"
                "  hysgd evaluate ratings.safetensors --top 10 --relevant 4\n",
    .run = run,
};
