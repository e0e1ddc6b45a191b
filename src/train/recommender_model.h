/* SPDX-License-Identifier: Apache-2.0 */
/* What a recommender is made of. Shared by the files recommender*.c only. */
#ifndef HYSGD_TRAIN_RECOMMENDER_MODEL_H
#define HYSGD_TRAIN_RECOMMENDER_MODEL_H

#include "base/plugin.h"
#include "data/ratings.h"
#include "lowrank/lists.h"
#include "lowrank/ranking.h"
#include "lowrank/team.h"
#include "model/factors.h"
#include "train/factors_file.h"
#include "train/recommender.h"

struct recommender {
    const char *path;       /* borrowed */
    const char *data_given; /* borrowed; "": those of the training */
    struct factors_file file;
    struct plugin model; /* its options */
    const struct factors_model *options;
    struct plugin data; /* empty until they are needed */
    bool data_is_ready;
    const struct ratings_split *split;   /* of the data */
    struct ratings_part parts[3];        /* by enum recommender_part */
    bool is_whole;                       /* all ratings of the data are its test part */
    const struct ids *ids[SIDE_COUNT];   /* of the model; its own, or those of the data where it has none */
    uint32_t *numbers[SIDE_COUNT];       /* of a row or column of the data in the model; IDS_NONE: none */
    uint32_t *counts[SIDE_COUNT];        /* of training ratings, where those of the file do not do; owned */
    const uint32_t *trained[SIDE_COUNT]; /* the ones that count */
    struct ids joined[SIDE_COUNT];       /* of the model with those folded in; empty: none were */
    struct team *team;
};

/* Reads the data, if that has not been done. HYSGD_INPUT, HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status recommender_load(struct recommender *recommender);

/* Whether the training part of the data are the ratings that the model was trained on, as far as it knows. */
bool recommender_has_trained(const struct recommender *recommender);

/* The parts of the data: entries with the numbers of the data. */
const struct ratings_part *recommender_part(const struct recommender *recommender, enum recommender_part part);

/* The entries of a part with the numbers of the model; those that it does not know are left out. The caller frees
 * them. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status recommender_known(const struct recommender *recommender,
                                                     const struct rating *entries, uint64_t count,
                                                     struct rating **known_out, uint64_t *known_count_out);

/* The number in the model of what others call so; IDS_NONE: it does not know it. */
uint32_t recommender_find(const struct recommender *recommender, enum factors_side_name side, const struct ids *ids,
                          uint32_t index);

/* Whether the row or column (IDS_NONE: unknown) has been trained. */
bool recommender_is_trained(const struct recommender *recommender, enum factors_side_name side, uint32_t number);

/* The prediction for a pair, either of which may be IDS_NONE; by the model's `unseen` where one is not trained.
 * HYSGD_USAGE where that is an error; `row` and `column` are for its message. */
HYSGD_MUST_CHECK enum hysgd_status recommender_pair(const struct recommender *recommender, uint32_t row_number,
                                                    uint32_t column_number, float *prediction_out);

/* What a file names, folded in from its ratings with the other side as it is. Zeroed: none. */
struct recommender_folded {
    enum factors_side_name side;
    struct ratings ratings;      /* of the file */
    const struct ids *ids;       /* of that side in it */
    struct factors_side factors; /* [ids] without state; owned */
    struct rating *known; /* [known_count] the ratings that count, by `row`: the index in `ids`, and `column`:
                             the number of the other side in the model; owned */
    uint64_t known_count;
};

/* HYSGD_INPUT, HYSGD_MEMORY; HYSGD_USAGE: the loss cannot; HYSGD_DIVERGED. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status recommender_fold(const struct recommender *recommender,
                                                    enum factors_side_name side, const char *path,
                                                    struct recommender_folded *folded);
void recommender_folded_fini(struct recommender_folded *folded);

/* Prints an id as a field of CSV, in quotes where it needs them, or as a JSON string or number. */
void recommender_print_id(const struct ids *ids, uint32_t index, enum recommender_format format, FILE *out);

#endif
