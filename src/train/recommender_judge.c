/* SPDX-License-Identifier: Apache-2.0 */
/* How far a model of factors is from ratings, and how well it ranks: see recommender.h. */
#include <inttypes.h>
#include <math.h>

#include "base/memory.h"
#include "lowrank/figures.h"
#include "train/json.h"
#include "train/recommender_model.h"

#define DEFAULT_TOP 10

_Static_assert(RECOMMENDER_MOST_TOP <= RANKING_MOST_K, "ranking looks at so many");

/* What was found. */
struct verdict {
    uint64_t ratings, unseen; /* unseen: of a row or column that was not trained */
    uint64_t skipped;         /* of those, without a prediction: unseen=error */
    struct figures figures;
    uint32_t top;           /* 0: no ranking */
    struct ranking ranking; /* means */
};

/* A model that says nothing of these data would get figures all the same: those of its mean. */
static enum hysgd_status check_data(const struct recommender *recommender) {
    bool is_own = recommender->data_given[0] == '\0' && recommender->file.has_ids;
    if (is_own && !recommender_has_trained(recommender))
        return hysgd_fail(HYSGD_INPUT,
                          "%s: the data are not those that it was trained on: give --data to evaluate it on others",
                          recommender->path);
    return HYSGD_OK;
}

static enum hysgd_status judge_unseen(const struct recommender *recommender, const struct rating *rating,
                                      struct verdict *verdict) {
    double value;
    float prediction = 0;
    verdict->unseen++;
    if (factors_model_unseen(recommender->options, &value) == UNSEEN_ERROR) {
        verdict->skipped++;
        return HYSGD_OK;
    }
    HYSGD_TRY(recommender_pair(recommender, rating->row, rating->column, &prediction));
    figures_add(&verdict->figures, (enum fit_loss)recommender->options->loss, rating->value, prediction);
    return HYSGD_OK;
}

/* The ratings of trained rows and columns go into `seen_out` [count]; the others are judged. */
static enum hysgd_status sort_ratings(const struct recommender *recommender, const struct rating *entries,
                                      uint64_t count, struct rating *seen_out, struct verdict *verdict) {
    uint64_t seen = 0;
    verdict->ratings = count;
    for (uint64_t i = 0; i < count; i++) {
        const struct rating rating = {recommender->numbers[SIDE_ROWS][entries[i].row],
                                      recommender->numbers[SIDE_COLUMNS][entries[i].column], entries[i].value};
        if (recommender_is_trained(recommender, SIDE_ROWS, rating.row) &&
            recommender_is_trained(recommender, SIDE_COLUMNS, rating.column))
            seen_out[seen++] = rating;
        else
            HYSGD_TRY(judge_unseen(recommender, &rating, verdict));
    }
    if (seen == 0 && count > 0)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: is a model of other data: none of the %" PRIu64
                          " ratings is of a user and an item that it was trained on",
                          recommender->path, count);
    struct figures figures;
    HYSGD_TRY(figures_of_ratings(recommender->team, &recommender->file.factors,
                                 (enum fit_loss)recommender->options->loss, seen_out, seen, &figures));
    figures_merge(&verdict->figures, &figures);
    return HYSGD_OK;
}

/* The columns that each row has among the entries, which are of at least the value `least`. */
static enum hysgd_status list_entries(const struct recommender *recommender, const struct rating *entries,
                                      uint64_t count, double least, struct lists *lists_out) {
    struct rating *known;
    uint64_t known_count, kept = 0;
    HYSGD_TRY(recommender_known(recommender, entries, count, &known, &known_count));
    for (uint64_t i = 0; i < known_count; i++)
        if ((double)known[i].value >= least)
            known[kept++] = known[i];
    enum hysgd_status status = lists_init(lists_out, known, kept, recommender->file.factors.sides[SIDE_ROWS].count);
    memory_free(known);
    return status;
}

static enum hysgd_status judge_ranking(const struct recommender *recommender,
                                       const struct recommender_judging *judging, uint64_t count,
                                       struct verdict *verdict) {
    const struct ratings_part *part = recommender_part(recommender, judging->part);
    const struct ratings_part *train = recommender_part(recommender, RECOMMENDER_TRAIN);
    struct lists seen = {0}, relevant = {0};
    struct ranking sums;
    bool is_train = judging->part == RECOMMENDER_TRAIN;
    enum hysgd_status status = list_entries(recommender, part->entries, count, judging->relevant, &relevant);
    if (status == HYSGD_OK)
        status = list_entries(recommender, train->entries, is_train ? 0 : train->count, -INFINITY, &seen);
    if (status == HYSGD_OK)
        status = figures_of_ranking(recommender->team, &recommender->file.factors, &seen, &relevant, verdict->top,
                                    &sums);
    if (status == HYSGD_OK)
        verdict->ranking = ranking_mean(&sums);
    lists_fini(&seen);
    lists_fini(&relevant);
    return status;
}

static enum hysgd_status judge(const struct recommender *recommender, const struct recommender_judging *judging,
                               struct verdict *verdict) {
    const struct ratings_part *part = recommender_part(recommender, judging->part);
    uint64_t count = judging->limit > 0 && judging->limit < part->count ? judging->limit : part->count;
    bool is_one_class = factors_model_is_one_class(recommender->options);
    struct rating *seen;
    if (count == 0)
        return hysgd_fail(HYSGD_USAGE, "data %s have no %s ratings; %s", recommender->data.ops->name,
                          judging->part == RECOMMENDER_TRAIN  ? "training"
                          : judging->part == RECOMMENDER_TEST ? "test"
                                                              : "validation",
                          recommender->is_whole
                              ? "they are others than those of the training: without --split all are judged"
                              : "--split train judges what was not split off");
    verdict->top = judging->top > 0 ? judging->top : is_one_class ? DEFAULT_TOP : 0;
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *seen, &seen));
    enum hysgd_status status = sort_ratings(recommender, part->entries, count, seen, verdict);
    memory_free(seen);
    if (status == HYSGD_OK && verdict->top > 0)
        status = judge_ranking(recommender, judging, count, verdict);
    return status;
}

/* ---- Printing ---- */

static void print_row(FILE *out, const char *name, uint32_t top, double value) {
    char title[32];
    snprintf(title, sizeof title, top > 0 ? "%s@%" PRIu32 : "%s", name, top);
    fprintf(out, "%-14s%.4f\n", title, value);
}

static double loss_of(const struct recommender *recommender, const struct verdict *verdict) {
    return factors_model_loss(recommender->options, verdict->figures.loss / (double)verdict->figures.count);
}

static void print_text(const struct recommender *recommender, const struct verdict *verdict, FILE *out) {
    const struct factors_model *options = recommender->options;
    const struct ranking *ranking = &verdict->ranking;
    fprintf(out, "%-14s%" PRIu64, "ratings", verdict->ratings);
    if (recommender->is_whole)
        fprintf(out, ", all of data that it was not trained on");
    if (verdict->unseen > 0)
        fprintf(out, ", %" PRIu64 " of a user or item without training ratings%s", verdict->unseen,
                verdict->skipped > 0 ? " and without prediction" : "");
    fputc('\n', out);
    if (!factors_model_is_one_class(options)) {
        if (options->loss != FIT_ABSOLUTE && options->loss != FIT_SQUARED)
            print_row(out, factors_model_loss_name(options), 0, loss_of(recommender, verdict));
        if (factors_model_has_signs(options))
            print_row(out, "accuracy", 0, (double)verdict->figures.correct / (double)verdict->figures.count);
        else
            print_row(out, "RMSE", 0, figures_rmse(&verdict->figures));
        if (!factors_model_has_signs(options))
            print_row(out, "MAE", 0, figures_mae(&verdict->figures));
    }
    if (verdict->top == 0)
        return;
    if (ranking->rows == 0) {
        fprintf(out, "%-14s%s\n", "users ranked", "0: none has both an item to find and one that is none");
        return;
    }
    print_row(out, "AUC", 0, ranking->auc);
    print_row(out, "precision", verdict->top, ranking->precision);
    print_row(out, "recall", verdict->top, ranking->recall);
    print_row(out, "NDCG", verdict->top, ranking->ndcg);
    print_row(out, "hit rate", verdict->top, ranking->hits);
    fprintf(out, "%-14s%" PRIu64 "\n", "users ranked", ranking->rows);
}

static enum hysgd_status print_json(const struct recommender *recommender, const struct verdict *verdict,
                                    FILE *out) {
    const struct factors_model *options = recommender->options;
    const double none = (double)NAN;
    bool is_single = !factors_model_is_one_class(options), is_ranked = verdict->top > 0;
    double correct = (double)verdict->figures.correct / (double)verdict->figures.count;
    json_t *json =
        json_pack("{s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:I, s:I}", "ratings", (json_int_t)verdict->ratings,
                  "unseen", (json_int_t)verdict->unseen, "loss_name", factors_model_loss_name(options), "loss",
                  json_number(is_single ? loss_of(recommender, verdict) : none), "accuracy",
                  json_number(factors_model_has_signs(options) ? correct : none), "rmse",
                  json_number(is_single ? figures_rmse(&verdict->figures) : none), "mae",
                  json_number(is_single ? figures_mae(&verdict->figures) : none), "top", (json_int_t)verdict->top,
                  "users_ranked", (json_int_t)verdict->ranking.rows);
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"auc", verdict->ranking.auc},
                   {"precision", verdict->ranking.precision},
                   {"recall", verdict->ranking.recall},
                   {"ndcg", verdict->ranking.ndcg},
                   {"hit_rate", verdict->ranking.hits}};
    int failed = json == NULL;
    for (size_t i = 0; !failed && i < sizeof numbers / sizeof numbers[0]; i++)
        failed = json_object_set_new(json, numbers[i].key, json_number(is_ranked ? numbers[i].value : none));
    return json_print(failed ? json_drop(json) : json, JSON_COMPACT, out);
}

enum hysgd_status recommender_evaluate(struct recommender *recommender, const struct recommender_judging *judging,
                                       enum recommender_format format, FILE *out) {
    struct verdict verdict = {0};
    HYSGD_TRY(recommender_load(recommender));
    HYSGD_TRY(check_data(recommender));
    HYSGD_TRY(judge(recommender, judging, &verdict));
    if (format == RECOMMENDER_JSON)
        return print_json(recommender, &verdict, out);
    print_text(recommender, &verdict, out);
    return HYSGD_OK;
}
