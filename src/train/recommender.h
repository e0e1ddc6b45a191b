/* SPDX-License-Identifier: Apache-2.0 */
/* A trained model of factors that answers: what a row would give a column, which columns are best for a row, how
 * far both are from ratings. Rows and columns go by the ids of the data. */
#ifndef HYSGD_TRAIN_RECOMMENDER_H
#define HYSGD_TRAIN_RECOMMENDER_H

#include <stdio.h>

#include "base/status.h"

/* Columns that can be asked for of a row. */
#define RECOMMENDER_MOST_TOP 1000

struct recommender; /* opaque */

/* Opens the model at `path`; NULL where the file is a checkpoint of another kind. HYSGD_INPUT. `data` ("": those of
 * the training, when they are needed) and `path` are borrowed. */
HYSGD_MUST_CHECK enum hysgd_status recommender_open(const char *path, const char *data,
                                                    struct recommender **recommender_out);
void recommender_close(struct recommender *recommender);

enum recommender_format { RECOMMENDER_CSV, RECOMMENDER_JSON };

/* ---- New users and items ---- */

enum recommender_side { RECOMMENDER_USERS, RECOMMENDER_ITEMS };

/* Folds in the users or items of a file of ratings: those that the model does not know become known, and those that
 * it does are what they are by these ratings. Ratings whose other end the model does not know, or has not learnt
 * from an earlier call, do not count. HYSGD_INPUT; HYSGD_USAGE: the loss of the model cannot. */
HYSGD_MUST_CHECK enum hysgd_status recommender_extend(struct recommender *recommender, enum recommender_side side,
                                                      const char *path);

/* ---- Evaluating ---- */

enum recommender_part { RECOMMENDER_TRAIN, RECOMMENDER_TEST, RECOMMENDER_VALIDATION };

struct recommender_judging {
    enum recommender_part part;
    uint64_t limit;  /* ratings at most; 0: all */
    uint32_t top;    /* columns that ranking looks at; 0: 10 for one-class models, no ranking for others */
    double relevant; /* ratings of at least this are what a row would choose; -INFINITY: all */
};

/* Prints the figures as text, or as a JSON object. HYSGD_INPUT when the model is of other data: none of the ratings
 * is of a row and a column that it knows, or the training ratings are not those that it was trained on and `data`
 * was not given. */
HYSGD_MUST_CHECK enum hysgd_status recommender_evaluate(struct recommender *recommender,
                                                        const struct recommender_judging *judging,
                                                        enum recommender_format format, FILE *out);

/* ---- Predicting ---- */

/* Prints a line for each pair of the file, or for the one pair of `row` and `column` where `pairs` is "".
 * HYSGD_USAGE: a row or column is unknown, and the model's unseen=error. */
HYSGD_MUST_CHECK enum hysgd_status recommender_predict(struct recommender *recommender, const char *pairs,
                                                       const char *row, const char *column,
                                                       enum recommender_format format, FILE *out);

/* A line for each rating of a part of the data, from `first` on, `count` of them (0: all). */
HYSGD_MUST_CHECK enum hysgd_status recommender_predict_part(struct recommender *recommender,
                                                            enum recommender_part part, uint64_t first,
                                                            uint64_t count, enum recommender_format format,
                                                            FILE *out);

/* ---- Recommending ---- */

struct recommender_wish {
    const char *row;     /* whose columns are wanted; "": all rows, of `ratings` where there are some */
    const char *ratings; /* a file: rows that are folded in from their ratings there; "": none */
    uint32_t top;        /* columns for a row */
    bool skips_seen;     /* leave out what the row has rated in the data, or in `ratings` */
};

/* Prints the columns with the highest predictions, the best first; columns without training ratings are left out.
 * HYSGD_USAGE: the row is unknown. */
HYSGD_MUST_CHECK enum hysgd_status recommender_recommend(struct recommender *recommender,
                                                         const struct recommender_wish *wish,
                                                         enum recommender_format format, FILE *out);

#endif
