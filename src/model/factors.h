/* SPDX-License-Identifier: Apache-2.0 */
/* The model `factors`: a rating is a constant, plus a bias of its row and one of its column, plus the product of
 * their factors. Its options are those of factorization under a scheduler (lowrank/) too. */
#ifndef HYSGD_MODEL_FACTORS_H
#define HYSGD_MODEL_FACTORS_H

#include "lowrank/kernel.h"

#define FACTORS_LOSS_WORDS "squared|absolute|logistic|squared-hinge|kl|bpr|bpr-columns" /* enum fit_loss */
#define FACTORS_RULE_WORDS "constant|decay|nesterov|adagrad|adagrad2"                   /* enum step_rule */
#define FACTORS_ISA_WORDS  "best|plain|avx2|avx512"                                     /* enum kernel_isa */

enum factors_unseen { UNSEEN_MEAN, UNSEEN_ERROR, UNSEEN_VALUE };

struct factors_model {
    int64_t rank;
    int loss, step, start, isa; /* enum fit_loss, step_rule, factors_start, kernel_isa */
    double rate;                /* 0: that of the rule, see factors_model_rate */
    double decay, momentum;
    double l1, l2, bias_l2;
    bool has_biases, is_nonnegative;
    double scale; /* of the start values */
    int64_t negatives;
    double negative_value, negative_weight;
    char *unseen; /* "mean", "error" or a number */
    /* Under a policy, of the data: */
    uint32_t row_count, column_count;
    double mean;                    /* of the training ratings, where someone has said so; else 0 */
    struct hysgd_tensor tensors[5]; /* [tensor_count] */
    size_t tensor_count;
};

extern const struct hysgd_option factors_model_options[];
extern const struct hysgd_model_ops model_factors;

/* Checks the options against each other. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status factors_model_check(const struct factors_model *model);

/* What `unseen` says; the value where it is a number. The options are checked. */
enum factors_unseen factors_model_unseen(const struct factors_model *model, double *value_out);

/* The rate of the first epoch. */
double factors_model_rate(const struct factors_model *model);

/* How the factors begin. */
enum factors_start factors_model_start(const struct factors_model *model);

/* Of the factors at the beginning, where the ratings have this mean. */
double factors_model_scale(const struct factors_model *model, double mean);

/* The kernel's part of the options. */
struct kernel_setup factors_model_kernel(const struct factors_model *model);

/* Whether the values are of what was chosen, and all else was not: it is judged by ranking. */
bool factors_model_is_one_class(const struct factors_model *model);

/* Whether predictions are values, so that they are centred at the mean of the ratings. */
bool factors_model_has_mean(const struct factors_model *model);

/* Whether ratings stand for yes and no. */
bool factors_model_has_signs(const struct factors_model *model);

/* A mean loss as it is told: of the squared loss its root. */
double factors_model_loss(const struct factors_model *model, double mean);

/* What the losses of evaluations are called, and "" or what the accuracies are. */
const char *factors_model_loss_name(const struct factors_model *model);
const char *factors_model_accuracy_name(const struct factors_model *model);

#endif
