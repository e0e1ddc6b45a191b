/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd recommend: the best items for users, by a model of factors. */
#include <stdio.h>

#include "cli/command.h"
#include "train/recommender.h"

struct options {
    char *user, *ratings, *new_items, *data;
    bool all, skip_seen;
    int64_t top;
    int format;
};

#define AT(field) offsetof(struct options, field)

static const struct hysgd_option own_options[] = {
    {"user", HYSGD_OPTION_TEXT, AT(user), "", 0, 0, NULL, "for this user"},
    {"all", HYSGD_OPTION_BOOL, AT(all), "no", 0, 0, NULL, "for all users"},
    {"ratings", HYSGD_OPTION_TEXT, AT(ratings), "", 0, 0, NULL,
     "for the users of this file, lines user item value, who are folded in from these ratings"},
    {"new-items", HYSGD_OPTION_TEXT, AT(new_items), "", 0, 0, NULL,
     "also offer the items of this file, lines user item value, which are folded in from these ratings by users of the model"},
    {"top", HYSGD_OPTION_INT, AT(top), "10", 1, RECOMMENDER_MOST_TOP, NULL, "items for a user"},
    {"skip-seen", HYSGD_OPTION_BOOL, AT(skip_seen), "no", 0, 0, NULL,
     "leave out the items that the user has rated, in the data or in the file"},
    {"data", HYSGD_OPTION_TEXT, AT(data), "", 0, 0, NULL,
     "where ratings are looked up for --skip-seen; those of the training unless given"},
    {"format", HYSGD_OPTION_CHOICE, AT(format), "csv", 0, 0, "csv|json",
     "CSV with a head line, or a JSON object a line"},
    {0},
};

static enum hysgd_status recommend(const char *path, const void *options) {
    const struct options *own = options;
    const struct recommender_wish wish = {
        .row = own->user, .ratings = own->ratings, .top = (uint32_t)own->top, .skips_seen = own->skip_seen};
    struct recommender *recommender;
    if (own->user[0] == '\0' && own->ratings[0] == '\0' && !own->all)
        return hysgd_fail(HYSGD_USAGE, "recommend: for whom? expected --user, --all or --ratings");
    if (own->all && (own->user[0] != '\0' || own->ratings[0] != '\0'))
        return hysgd_fail(HYSGD_USAGE, "recommend: --all is for every user of the model: it goes without --%s",
                          own->user[0] != '\0' ? "user" : "ratings");
    HYSGD_TRY(recommender_open(path, own->data, &recommender));
    if (recommender == NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: is no model of factors", path);
    enum hysgd_status status = HYSGD_OK;
    if (own->new_items[0] != '\0')
        status = recommender_extend(recommender, RECOMMENDER_ITEMS, own->new_items);
    if (status == HYSGD_OK)
        status = recommender_recommend(recommender, &wish, (enum recommender_format)own->format, stdout);
    recommender_close(recommender);
    return status;
}

static int run(const struct command *command, int argc, char **argv) {
    struct options own;
    return command_run_on_file(command, argc, argv, &own, recommend);
}

const struct command command_recommend = {
    .name = "recommend",
    .words = "MODEL",
    .least_words = 1,
    .most_words = 1,
    .tables = {{"for whom", own_options, NULL}},
    .table_count = 1,
    .summary = "Prints the items that a model of factors expects users to like best.",
    .details =
        "MODEL is what train --model factors --save writes. Items without training ratings are left out. A user whom the "
        "model does not know, or whose ratings have changed, is folded in: the user's factors are found from the ratings "
        "given, with those of the items as they are; and a new item likewise from ratings by users that the model knows.",
    .examples = "  hysgd recommend ratings.safetensors --user 17 --top 10 --skip-seen\n"
                "  hysgd recommend ratings.safetensors --all --skip-seen > top.csv\n"
                "  hysgd recommend ratings.safetensors --ratings new-users.csv --format json\n"
                "  hysgd recommend ratings.safetensors --all --new-items first-ratings.csv\n",
    .run = run,
};
