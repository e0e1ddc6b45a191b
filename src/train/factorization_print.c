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
    if (judgement->ranking.rows > 0)
        fprintf(out, "AUC %.4f  precision@%d %.4f  recall@%d %.4f  NDCG@%d %.4f  ", judgement->ranking.auc,
                FACTORIZATION_TOP, judgement->ranking.precision, FACTORIZATION_TOP, judgement->ranking.recall,
                FACTORIZATION_TOP, judgement->ranking.ndcg);
    fprintf(out, "of %" PRIu64 " ratings", judgement->count);
    if (judgement->unseen > 0)
        fprintf(out, ", %" PRIu64 " of a row or column without training ratings", judgement->unseen);
    fputc('\n', out);
}

/* NaN: not known. */
static double oracle(const struct factorization *run) {
    return data_ratings(&run->resolved->data)->oracle;
}

void factorization_print(const struct factorization *run, const struct event_summary *summary, FILE *out) {
    const struct factorization_result *result = &run->result;
    double busy = result->seconds > 0 ? (double)result->visits / result->seconds : 0;
    fprintf(out, "ended after %d epochs, %.3g s (%s)", result->epochs, summary->seconds, summary->reason);
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
    if (run->ratings->duplicates > 0)
        fprintf(out, "%-11s%" PRIu64 " ratings left out, of a user and an item that came again\n", "duplicates",
                run->ratings->duplicates);
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
    return json_print(failed ? json_drop(json) : json, JSON_COMPACT, out);
}
