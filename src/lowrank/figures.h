/* SPDX-License-Identifier: Apache-2.0 */
/* How far predictions are from held-out ratings, and how well they rank, computed by a team of threads with the
 * same bits whatever its size. */
#ifndef HYSGD_LOWRANK_FIGURES_H
#define HYSGD_LOWRANK_FIGURES_H

#include "lowrank/kernel.h"
#include "lowrank/lists.h"
#include "lowrank/ranking.h"
#include "lowrank/team.h"

struct rating;

/* Sums over `count` ratings; a reader divides. */
struct figures {
    uint64_t count;
    double loss;              /* of the losses of a single rating; 0 for the others */
    double squared, absolute; /* of the differences */
    uint64_t correct;         /* predictions with the sign of the rating, 0 counting as negative */
};

/* Over entries whose rows and columns are those of the factors. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status figures_of_ratings(struct team *team, const struct factors *factors,
                                                      enum fit_loss loss, const struct rating *entries,
                                                      uint64_t count, struct figures *figures_out);

/* The ranking of all columns by their predictions, over the rows that have a relevant column: see ranking_add.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status figures_of_ranking(struct team *team, const struct factors *factors,
                                                      const struct lists *seen, const struct lists *relevant,
                                                      uint32_t k, struct ranking *ranking_out);

/* Adds one rating and its prediction. */
void figures_add(struct figures *figures, enum fit_loss loss, float rating, float prediction);

void figures_merge(struct figures *figures, const struct figures *other);

double figures_rmse(const struct figures *figures);
double figures_mae(const struct figures *figures);

#endif
