/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run under a scheduler as text and as JSON: see factorization.h. */
#include <inttypes.h>
#include <math.h>

#include "train/factorization.h"
#include "train/json.h"

/* ---- Text ---- */

static void print_judgement(const struct factorization *run, const char *part, const struct judgement *judgement,
                            FILE *out) {
    if (judgement->count == 0)
        return;
    fprintf(out, "%-11s", part);
    if (isfinite(judgement->loss))
        fprintf(out, "%s %.4f  ", factors_model_loss_name(run->model), judgement->loss);
    if (run->model->loss == FIT_SQUARED && isfinite(judgement->mae))
        fprintf(out, "MAE %.4f  ", judgement->mae);
    if (factors_model_has_signs(run->model) && isfinite(judgement->accuracy))
        fprintf(out, "accuracy %.2f %%  ", 100 * judgement->accuracy);
    if (factors_model_is_one_class(run->model) && judgement->ranking.rows == 0)
        fprintf(out, "nothing to rank: no row has both a column to find here and one that it has nowhere  ");
    if (judgement->ranking.rows > 0)
        fprintf(out, "AUC %.4f  precision@%d %.4f  recall@%d %.4f  NDCG@%d %.4f  ", judgement->ranking.auc,
                FACTORIZATION_TOP, judgement->ranking.precision, FACTORIZATION_TOP, judgement->ranking.recall,
                FACTORIZATION_TOP, judgement->ranking.ndcg);
    fprintf(out, "of %" PRIu64 " rating%s", judgement->count, judgement->count == 1 ? "" : "s");
    if (judgement->unseen > 0)
        fprintf(out, ", %" PRIu64 " of a row or column without training ratings%s", judgement->unseen,
                judgement->skipped > 0 ? " and without prediction" : "");
    fputc('\n', out);
}

/* NaN: not known. */
static double oracle(const struct factorization *run) {
    return data_ratings(&run->resolved->data)->oracle;
}

/* Ratings that are of another kind than the loss takes them for; NULL: none. */
static const char *warning(const struct factorization *run) {
    bool is_bpr = run->model->loss == FIT_BPR_ROWS || run->model->loss == FIT_BPR_COLUMNS;
    if (factors_model_has_signs(run->model) && run->train.least > 0)
        return "all ratings are above 0, which this loss takes for yes: a model of them says yes to everything";
    if (factors_model_has_signs(run->model) && run->train.most <= 0)
        return "no rating is above 0, and this loss takes the others for no: a model of them says no to everything";
    if (is_bpr && run->train.least <= 0)
        return "loss=bpr takes every pair for one that was chosen, also those with ratings of 0 or below";
    return NULL;
}

void factorization_print(const struct factorization *run, const struct event_summary *summary, FILE *out) {
    const struct factorization_result *result = &run->result;
    double busy = result->seconds > 0 ? (double)result->visits / result->seconds : 0;
    fprintf(out, "ended after %d epoch%s, %.3g s (%s)", result->epochs, result->epochs == 1 ? "" : "s",
            summary->seconds, summary->reason);
    if (result->best_epoch > 0)
        fprintf(out, "; kept the model of epoch %d", result->best_epoch);
    if (isfinite(summary->target_seconds))
        fprintf(out, "; target reached after %.3g s", summary->target_seconds);
    fprintf(out, "\n%-11s%.3g M ratings/s, %d workers, %s kernels\n", "speed", busy / 1e6, summary->workers,
            result->kernel);
    fprintf(out, "%-11swaiting %.1f %%, scheduler %.2f %%, %d x %d blocks, the largest %.2f x the mean\n",
            "threads", 100 * result->waiting_share, 100 * result->scheduling_share, result->row_groups,
            result->column_groups, result->imbalance);
    if (result->visits > 0)
        fprintf(out, "%-11s%s %.4f  of %" PRIu64 " ratings, each before its step\n", "training",
                factors_model_loss_name(run->model), result->train_loss, run->train.count);
    print_judgement(run, "validation", &result->validation, out);
    print_judgement(run, "test", &result->test, out);
    if (run->model->loss == FIT_SQUARED && isfinite(oracle(run)))
        fprintf(out, "%-11sRMSE %.4f  of whoever knows the planted factors\n", "oracle", oracle(run));
    uint64_t duplicates = run->ratings->duplicates;
    if (duplicates > 0)
        fprintf(out, "%-11s%" PRIu64 " rating%s %s\n", "duplicates", duplicates, duplicates > 1 ? "s" : "",
                run->ratings->are_summed ? "added to a later one of the same user and item"
                                         : "left out, of a user and an item that came again");
    if (warning(run) != NULL)
        fprintf(out, "%-11s%s\n", "warning", warning(run));
}

/* ---- JSON ---- */

static json_t *judgement_json(const struct judgement *judgement) {
    if (judgement->count == 0)
        return json_null();
    const struct ranking *ranking = &judgement->ranking;
    bool is_ranked = ranking->rows > 0;
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "ratings", (json_int_t)judgement->count,
                     "unseen", (json_int_t)judgement->unseen, "loss", json_number(judgement->loss), "accuracy",
                     json_number(judgement->accuracy), "rmse", json_number(judgement->rmse), "mae",
                     json_number(judgement->mae), "auc", json_number(is_ranked ? ranking->auc : (double)NAN),
                     "precision", json_number(is_ranked ? ranking->precision : (double)NAN), "recall",
                     json_number(is_ranked ? ranking->recall : (double)NAN), "ndcg",
                     json_number(is_ranked ? ranking->ndcg : (double)NAN));
}

enum hysgd_status factorization_print_json(const struct factorization *run, const struct event_summary *summary,
                                           FILE *out) {
    const struct factorization_result *result = &run->result;
    double speed = result->seconds > 0 ? (double)result->visits / result->seconds : (double)NAN;
    json_t *json = json_pack(
        "{s:s, s:o, s:i, s:i, s:I, s:o, s:o, s:o, s:i, s:i, s:o, s:s, s:s, s:o, s:o}", "reason", summary->reason,
        "seconds", json_number(summary->seconds), "epochs", result->epochs, "best_epoch", result->best_epoch,
        "visits", (json_int_t)result->visits, "ratings_per_second", json_number(speed), "waiting_share",
        json_number(result->waiting_share), "scheduling_share", json_number(result->scheduling_share), "row_groups",
        result->row_groups, "column_groups", result->column_groups, "imbalance", json_number(result->imbalance),
        "kernels", result->kernel, "loss_name", factors_model_loss_name(run->model), "train_loss",
        json_number(result->visits > 0 ? result->train_loss : (double)NAN), "target_seconds",
        json_number(summary->target_seconds));
    int failed = json == NULL;
    if (!failed)
        failed |= json_object_set_new(json, "validation", judgement_json(&result->validation));
    if (!failed)
        failed |= json_object_set_new(json, "test", judgement_json(&result->test));
    if (!failed)
        failed |= json_object_set_new(json, "oracle_rmse", json_number(oracle(run)));
    if (!failed)
        failed |= json_object_set_new(json, "duplicates", json_integer((json_int_t)run->ratings->duplicates));
    if (!failed && warning(run) != NULL)
        failed |= json_object_set_new(json, "warning", json_string(warning(run)));
    return json_print(failed ? json_drop(json) : json, JSON_COMPACT, out);
}
