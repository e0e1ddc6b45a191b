/* SPDX-License-Identifier: Apache-2.0 */
/* The options of low-rank factorization and what they mean; see factors.h. */
#include "model/factors.h"

#include <math.h>
#include <string.h>

#include "base/options.h"

#define AT(field) offsetof(struct factors_model, field)
#define INT       HYSGD_OPTION_INT
#define REAL      HYSGD_OPTION_REAL
#define BOOL      HYSGD_OPTION_BOOL
#define CHOICE    HYSGD_OPTION_CHOICE

/* clang-format off */
const struct hysgd_option factors_model_options[] = {
    {"rank", INT, AT(rank), "32", 1, FACTORS_MOST_RANK, NULL, "factors of a row and of a column"},
    {"loss", CHOICE, AT(loss), "squared", 0, 0, FACTORS_LOSS_WORDS,
     "of a rating r and its prediction s: (r - s)^2; |r - s|; for yes (r > 0) and no log(1 + exp(-s)) or max(0, 1 - s)^2, "
     "s negated for no; r log(r / s) - r + s; bpr: log(1 + exp(t - s)), t the prediction for another column of the row, "
     "drawn at random, or for another row of the column"},
    {"step", CHOICE, AT(step), "adagrad2", 0, 0, FACTORS_RULE_WORDS,
     "constant: the rate; decay: rate / (1 + decay e^1.5) in epoch e; nesterov: the accelerated step of A2PSGD; adagrad: a rate "
     "for each factor; adagrad2: two for each row and column, the first 8 factors before the others, as in LIBMF"},
    {"rate", REAL, AT(rate), "0", 0, 1e6, NULL, "learning rate; 0: one that suits the step"},
    {"decay", REAL, AT(decay), "0.05", 0, 1e6, NULL, "of step=decay"},
    {"momentum", REAL, AT(momentum), "0.9", 0, 0.999999, NULL, "of step=nesterov"},
    {"l2", REAL, AT(l2), "0.05", 0, 1e6, NULL, "weight of the squared factors of a rating's row and column in the loss"},
    {"l1", REAL, AT(l1), "0", 0, 1e6, NULL, "weight of the absolute factors"},
    {"biases", BOOL, AT(has_biases), "yes", 0, 0, NULL, "a bias of each row and of each column; not of bpr and nonnegative=yes"},
    {"bias-l2", REAL, AT(bias_l2), "0.01", 0, 1e6, NULL, "weight of the squared biases"},
    {"nonnegative", BOOL, AT(is_nonnegative), "no", 0, 0, NULL, "factors at least 0"},
    {"start", CHOICE, AT(start), "normal", 0, 0, "positive|normal",
     "factors begin uniform from 0 to scale / sqrt(rank), or normal with that deviation; nonnegative=yes and loss=kl are "
     "always positive"},
    {"scale", REAL, AT(scale), "0", 0, 1e6, NULL,
     "of the factors at the beginning; 0: 0.1, or so that positive ones predict the mean rating"},
    {"negatives", INT, AT(negatives), "0", 0, 1000, NULL,
     "one-class data: columns drawn at random after each rating, which take a step towards negative-value"},
    {"negative-value", REAL, AT(negative_value), "0", -1e6, 1e6, NULL, "what is not there stands for"},
    {"negative-weight", REAL, AT(negative_weight), "0.1", 0, 1e6, NULL, "of the loss of what is not there"},
    {"unseen", HYSGD_OPTION_TEXT, AT(unseen), "mean", 0, 0, NULL,
     "prediction for a row or column without ratings in the training part: mean (with the bias of the other one), error, or "
     "a number"},
    {"instructions", CHOICE, AT(isa), "best", 0, 0, FACTORS_ISA_WORDS,
     "that a scheduler's steps are made of; all give the same bits"},
    {0},
};
/* clang-format on */

/* ---- What the options mean ---- */

/* Small: what is learnt is then not hidden by what was there, and the same error is a little smaller in the end. */
#define NORMAL_SCALE 0.1

enum factors_unseen factors_model_unseen(const struct factors_model *model, double *value_out) {
    *value_out = 0;
    if (strcmp(model->unseen, "mean") == 0)
        return UNSEEN_MEAN;
    return options_read_real(model->unseen, value_out) ? UNSEEN_VALUE : UNSEEN_ERROR;
}

enum hysgd_status factors_model_check(const struct factors_model *model) {
    double value;
    if (strcmp(model->unseen, "mean") != 0 && strcmp(model->unseen, "error") != 0 &&
        !options_read_real(model->unseen, &value))
        return hysgd_fail(HYSGD_USAGE, "model factors: unseen=%s is not valid: expected mean, error or a number",
                          model->unseen);
    if (model->negatives > 0 && model->loss != FIT_SQUARED)
        return hysgd_fail(HYSGD_USAGE, "model factors: negatives=%d needs loss=squared", (int)model->negatives);
    return HYSGD_OK;
}

/* By trials on ratings of 1 to 5 with the default l2. */
double factors_model_rate(const struct factors_model *model) {
    static const double rates[] = {[RULE_CONSTANT] = 0.01,
                                   [RULE_DECAY] = 0.03,
                                   [RULE_NESTEROV] = 0.01,
                                   [RULE_ADAGRAD] = 0.05,
                                   [RULE_ADAGRAD2] = 0.08};
    if (model->rate > 0)
        return model->rate;
    return rates[model->step] * (model->step == RULE_NESTEROV ? 1 - model->momentum : 1);
}

static bool is_bpr(const struct factors_model *model) {
    return model->loss == FIT_BPR_ROWS || model->loss == FIT_BPR_COLUMNS;
}

static bool is_positive(const struct factors_model *model) {
    return model->is_nonnegative || model->loss == FIT_KL;
}

bool factors_model_is_one_class(const struct factors_model *model) {
    return is_bpr(model) || model->negatives > 0;
}

bool factors_model_has_signs(const struct factors_model *model) {
    return model->loss == FIT_LOGISTIC || model->loss == FIT_SQUARED_HINGE;
}

bool factors_model_has_mean(const struct factors_model *model) {
    return (model->loss == FIT_SQUARED || model->loss == FIT_ABSOLUTE) && model->negatives == 0 &&
           !is_positive(model);
}

static bool has_biases(const struct factors_model *model) {
    return model->has_biases && !is_bpr(model) && !is_positive(model);
}

enum factors_start factors_model_start(const struct factors_model *model) {
    return is_positive(model) ? FACTORS_POSITIVE : (enum factors_start)model->start;
}

double factors_model_scale(const struct factors_model *model, double mean) {
    if (model->scale > 0)
        return model->scale;
    /* The product of two factors has the mean (scale / (2 sqrt(rank)))^2. */
    bool is_uncentred = factors_model_start(model) == FACTORS_POSITIVE && !factors_model_has_mean(model);
    return is_uncentred && mean > 0 ? 2 * sqrt(mean) : NORMAL_SCALE;
}

struct kernel_setup factors_model_kernel(const struct factors_model *model) {
    return (struct kernel_setup){.loss = (enum fit_loss)model->loss,
                                 .rule = (enum step_rule)model->step,
                                 .isa = (enum kernel_isa)model->isa,
                                 .rank = (uint32_t)model->rank,
                                 .l1 = {(float)model->l1, (float)model->l1},
                                 .l2 = {(float)model->l2, (float)model->l2},
                                 .bias_l2 = (float)model->bias_l2,
                                 .has_biases = has_biases(model),
                                 .is_nonnegative = is_positive(model),
                                 .negatives = (uint32_t)model->negatives,
                                 .negative_value = (float)model->negative_value,
                                 .negative_weight = (float)model->negative_weight};
}

double factors_model_loss(const struct factors_model *model, double mean) {
    return model->loss == FIT_SQUARED && model->negatives == 0 ? sqrt(mean) : mean;
}

const char *factors_model_loss_name(const struct factors_model *model) {
    static const char *const names[] = {[FIT_SQUARED] = "RMSE",
                                        [FIT_ABSOLUTE] = "MAE",
                                        [FIT_LOGISTIC] = "log loss",
                                        [FIT_SQUARED_HINGE] = "hinge loss",
                                        [FIT_KL] = "KL",
                                        [FIT_BPR_ROWS] = "BPR loss",
                                        [FIT_BPR_COLUMNS] = "BPR loss"};
    return model->negatives > 0 ? "loss" : names[model->loss];
}

const char *factors_model_accuracy_name(const struct factors_model *model) {
    return factors_model_is_one_class(model) ? "AUC" : "";
}
