/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in `ratings`: sparse ratings of items by users, read from a text file and cut into parts. */
#include "data/ratings_data.h"

#include <math.h>
#include <string.h>

#include "data/ratings_duplicates.h"
#include "data/ratings_split.h"

struct ratings_file {
    struct ratings_data data; /* the first member */
    char *path, *test;
    struct ratings_parts parts;
    int duplicates; /* enum ratings_duplicates */
    bool are_pairs;
};

/* Reads a file behind what is there, and applies the rule for duplicates to it alone. */
static enum hysgd_status read_file(const struct ratings_file *file, const char *path, bool wants_times,
                                   struct ratings *ratings) {
    const struct ratings_format format = {.wants_times = wants_times, .are_pairs = file->are_pairs};
    uint64_t first = ratings->count;
    HYSGD_TRY(ratings_read(path, &format, ratings));
    return ratings_drop_duplicates(ratings, first, (enum ratings_duplicates)file->duplicates, path);
}

static enum hysgd_status ratings_file_init(void *self, uint64_t seed) {
    struct ratings_file *file = self;
    struct ratings_split *split = &file->data.split;
    struct ratings_split_plan plan;
    bool has_test = file->test[0] != '\0';
    if (file->path[0] == '\0')
        return hysgd_fail(HYSGD_USAGE, "data ratings: no file is given; expected ratings:FILE");
    HYSGD_TRY(ratings_parts_plan(&file->parts, "data ratings", has_test, &plan));
    HYSGD_TRY(read_file(file, file->path, ratings_split_wants_times(&plan), &split->all));
    uint64_t test_first = split->all.count;
    if (has_test)
        HYSGD_TRY(read_file(file, file->test, false, &split->all));
    HYSGD_TRY(ids_shrink(&split->all.rows));
    HYSGD_TRY(ids_shrink(&split->all.columns));
    split->oracle = NAN;
    split->is_by_default = !has_test && strcmp(file->parts.split, "auto") == 0;
    return ratings_split_make(split, &plan, test_first, file->parts.validation,
                              ratings_parts_seed(&file->parts, seed), file->path);
}

static const struct hysgd_option options[] = {
    {"path", HYSGD_OPTION_TEXT, offsetof(struct ratings_file, path), "", 0, 0, NULL,
     "file of lines user item value [time], separated by spaces, tabs, commas or ::, plain, .gz or .xz; ids are "
     "numbers or texts, a header is passed over"},
    {"test", HYSGD_OPTION_TEXT, offsetof(struct ratings_file, test), "", 0, 0, NULL,
     "such a file with the test part, in place of a split"},
    {"split", HYSGD_OPTION_TEXT, offsetof(struct ratings_file, parts.split), "auto", 0, 0, NULL,
     RATINGS_SPLIT_HELP},
    {"validation", HYSGD_OPTION_REAL, offsetof(struct ratings_file, parts.validation), "0", 0,
     RATINGS_MOST_VALIDATION, NULL, RATINGS_VALIDATION_HELP},
    {"seed", HYSGD_OPTION_INT, offsetof(struct ratings_file, parts.seed), "0", 0, 9007199254740992, NULL,
     RATINGS_SEED_HELP},
    {"duplicates", HYSGD_OPTION_CHOICE, offsetof(struct ratings_file, duplicates), "last", 0, 0,
     RATINGS_DUPLICATES_WORDS,
     "of several ratings of an item by one user, the last in the file counts, or the sum of them, or all, or they "
     "are refused"},
    {"pairs", HYSGD_OPTION_BOOL, offsetof(struct ratings_file, are_pairs), "no", 0, 0, NULL,
     "lines have no value: each pair of a user and an item stands for the value 1"},
    {0}};

const struct hysgd_data_ops data_ratings_file = {
    .about = {.name = "ratings",
              .summary = "ratings of items by users, from a text file",
              .size = sizeof(struct ratings_file),
              .options = options},
    .init = ratings_file_init,
    .fini = ratings_data_fini,
    .describe = ratings_data_describe,
    .gather = ratings_data_gather,
};
