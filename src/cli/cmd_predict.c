/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd predict: what a checkpoint says about samples, a line each. */
#include <stdio.h>

#include "cli/command.h"
#include "train/recommender.h"
#include "train/trained.h"

struct options {
    char *data, *model, *pairs, *user, *item, *new_users, *new_items;
    int split, format;
    int64_t first, count, batch;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"data", HYSGD_OPTION_TEXT, AT(data), "", 0, 0, NULL,
     "predict for these data, not for those of the checkpoint"},
    {"model", HYSGD_OPTION_TEXT, AT(model), "", 0, 0, NULL, "the model, where the checkpoint does not say it"},
    {"split", HYSGD_OPTION_CHOICE, AT(split), "test", 0, 0, "train|test|validation",
     "which part of the data; validation: of ratings only"},
    {"first", HYSGD_OPTION_INT, AT(first), "0", 0, 1e15, NULL, "index of the first sample"},
    {"count", HYSGD_OPTION_INT, AT(count), "0", 0, 1e15, NULL, "how many samples; 0: all from there on"},
    {"format", HYSGD_OPTION_CHOICE, AT(format), "csv", 0, 0, "csv|json",
     "CSV with a head line, or a JSON object a line"},
    {"pairs", HYSGD_OPTION_TEXT, AT(pairs), "", 0, 0, NULL,
     "model factors: predict for the pairs of this file, lines user item"},
    {"user", HYSGD_OPTION_TEXT, AT(user), "", 0, 0, NULL, "model factors: predict for this user and --item"},
    {"item", HYSGD_OPTION_TEXT, AT(item), "", 0, 0, NULL, "model factors: predict for this item and --user"},
    {"new-users", HYSGD_OPTION_TEXT, AT(new_users), "", 0, 0, NULL,
     "model factors: fold in the users of this file, lines user item value, from these ratings"},
    {"new-items", HYSGD_OPTION_TEXT, AT(new_items), "", 0, 0, NULL,
     "model factors: the same for the items of this file"},
    {"batch", HYSGD_OPTION_INT, AT(batch), "256", 1, 1e6, NULL, "samples computed at a time"},
    {0},
};

static enum hysgd_status predict_factors(struct recommender *recommender, const struct options *own) {
    enum recommender_format format = (enum recommender_format)own->format;
    bool has_pair = own->user[0] != '\0' || own->pairs[0] != '\0';
    if (own->model[0] != '\0')
        return hysgd_fail(HYSGD_USAGE, "predict: --model has no effect: a model of factors says itself what it is");
    if (has_pair && (own->first > 0 || own->count > 0))
        return hysgd_fail(HYSGD_USAGE, "predict: --%s is for the ratings of the data, and pairs are given",
                          own->first > 0 ? "first" : "count");
    if (own->new_users[0] != '\0')
        HYSGD_TRY(recommender_extend(recommender, RECOMMENDER_USERS, own->new_users));
    if (own->new_items[0] != '\0')
        HYSGD_TRY(recommender_extend(recommender, RECOMMENDER_ITEMS, own->new_items));
    if (has_pair)
        return recommender_predict(recommender, own->pairs, own->user, own->item, format, stdout);
    return recommender_predict_part(recommender, (enum recommender_part)own->split, (uint64_t)own->first,
                                    (uint64_t)own->count, format, stdout);
}

static enum hysgd_status predict_samples(const char *path, const struct options *own) {
    struct trained *trained;
    bool has_new = own->new_users[0] != '\0' || own->new_items[0] != '\0';
    if (own->split == RECOMMENDER_VALIDATION || own->pairs[0] != '\0' || own->user[0] != '\0' || has_new)
        return hysgd_fail(HYSGD_USAGE,
                          "predict: pairs, new users and items and --split=validation are for models of factors");
    HYSGD_TRY(trained_open(path, own->model, own->data, own->batch, &trained));
    enum hysgd_status status = trained_predict(trained, (enum hysgd_split)own->split, own->first, own->count,
                                               (enum trained_format)own->format, stdout);
    trained_close(trained);
    return status;
}

static enum hysgd_status predict(const char *path, const void *options) {
    const struct options *own = options;
    struct recommender *recommender;
    if ((own->user[0] != '\0') != (own->item[0] != '\0'))
        return hysgd_fail(HYSGD_USAGE, "predict: --user and --item go together");
    if (own->user[0] != '\0' && own->pairs[0] != '\0')
        return hysgd_fail(HYSGD_USAGE, "predict: expected either --pairs or --user and --item");
    HYSGD_TRY(recommender_open(path, own->data, &recommender));
    enum hysgd_status status = recommender != NULL ? predict_factors(recommender, own) : predict_samples(path, own);
    recommender_close(recommender);
    return status;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, predict);
}

const struct command command_predict = {
    .name = "predict",
    .words = "CHECKPOINT",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"what to predict", own_options, NULL}},
    .table_count = 1,
    .summary = "Prints what a checkpoint predicts for samples: class and probability, a line each.",
    .details =
        "Model and data are those that the checkpoint was trained with, unless given. A model without classes "
        "prints its outputs; one of factors the rating that it expects of a user for an item.",
    .examples = "  hysgd predict run.safetensors --count 10\n"
                "  hysgd predict run.safetensors --format json | jq 'select(.class != .label)'\n"
                "  hysgd predict ratings.safetensors --user 17 --item 42\n"
                "  hysgd predict ratings.safetensors --pairs pairs.txt\n",
    .run = run,
};
