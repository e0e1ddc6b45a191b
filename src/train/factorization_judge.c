/* SPDX-License-Identifier: Apache-2.0 */
/* What the held-out parts say of the factors as they are: see factorization.h. */
#include <math.h>

#include "train/factorization.h"

/* Pairs for which the user has said what is to be predicted. */
static void add_unseen(const struct held_out *held_out, double prediction, enum fit_loss loss,
                       struct figures *figures) {
    const struct ratings_part *part = &held_out->part;
    for (uint64_t i = part->count - held_out->unseen; i < part->count; i++)
        figures_add(figures, loss, part->entries[i].value, (float)prediction);
}

static enum hysgd_status judge_ratings(const struct factorization *run, const struct held_out *held_out,
                                       struct judgement *judgement) {
    enum fit_loss loss = (enum fit_loss)run->model->loss;
    double prediction;
    enum factors_unseen unseen = factors_model_unseen(run->model, &prediction);
    uint64_t known = held_out->part.count - (unseen != UNSEEN_MEAN ? held_out->unseen : 0);
    struct figures figures;
    HYSGD_TRY(figures_of_ratings(run->team, &run->factors, loss, held_out->part.entries, known, &figures));
    if (unseen == UNSEEN_VALUE)
        add_unseen(held_out, prediction, loss, &figures);
    judgement->skipped = unseen == UNSEEN_ERROR ? held_out->unseen : 0;
    if (figures.count == 0)
        return HYSGD_OK;
    judgement->rmse = figures_rmse(&figures);
    judgement->mae = figures_mae(&figures);
    judgement->loss = factors_model_loss(run->model, figures.loss / (double)figures.count);
    if (factors_model_has_signs(run->model))
        judgement->accuracy = (double)figures.correct / (double)figures.count;
    return HYSGD_OK;
}

static enum hysgd_status judge_ranking(const struct factorization *run, const struct held_out *held_out,
                                       struct judgement *judgement) {
    struct ranking sums;
    HYSGD_TRY(figures_of_ranking(run->team, &run->factors, &run->seen, &held_out->lists, FACTORIZATION_TOP, &sums));
    judgement->ranking = ranking_mean(&sums);
    judgement->accuracy = judgement->ranking.auc;
    return HYSGD_OK;
}

enum hysgd_status factorization_judge(const struct factorization *run, const struct held_out *held_out,
                                      struct judgement *judgement_out) {
    struct judgement judgement = {.count = held_out->part.count,
                                  .unseen = held_out->unseen,
                                  .loss = (double)NAN,
                                  .accuracy = (double)NAN,
                                  .rmse = (double)NAN,
                                  .mae = (double)NAN};
    if (held_out->part.count > 0 && factors_model_is_one_class(run->model))
        HYSGD_TRY(judge_ranking(run, held_out, &judgement));
    else if (held_out->part.count > 0)
        HYSGD_TRY(judge_ratings(run, held_out, &judgement));
    *judgement_out = judgement;
    return HYSGD_OK;
}
