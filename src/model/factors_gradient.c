/* SPDX-License-Identifier: Apache-2.0 */
/* Loss and gradient of low-rank factorization on a batch of ratings, for training under a policy; in double
 * precision where it adds up. Training under a scheduler, a rating at a time, is in lowrank/ and takes the options
 * only. Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", Computer 42 (2009),
 * with s = m + b_u + c_v + p_u . q_v, loss = mean over the batch of l(r, s) + h (l2 (|p_u|^2 + |q_v|^2) +
 * bias_l2 (b_u^2 + c_v^2)) + l1 (|p_u|_1 + |q_v|_1), h = 1 for the squared losses and 1/2 for the others: the
 * gradient is that of a scheduler's step, times 2 for the squared ones. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "model/factors.h"
#include "model/list.h"

/* ---- Layout ---- */

enum { ROWS, COLUMNS, MEAN, ROW_BIAS, COLUMN_BIAS };

static void add_tensor(struct factors_model *model, const char *name, size_t count, size_t width) {
    size_t first = 0;
    if (model->tensor_count > 0) {
        const struct hysgd_tensor *last = &model->tensors[model->tensor_count - 1];
        first = last->first + last->dims[0] * (last->rank == 2 ? last->dims[1] : 1);
    }
    struct hysgd_tensor *tensor = &model->tensors[model->tensor_count++];
    *tensor = (struct hysgd_tensor){.rank = width > 0 ? 2 : 1, .dims = {count, width}, .first = first};
    memcpy(tensor->name, name, strlen(name) + 1);
}

static enum hysgd_status init(void *self, const struct hysgd_data_shape *shape) {
    struct factors_model *model = self;
    HYSGD_TRY(factors_model_check(model));
    if (shape->row_count == 0 || shape->column_count == 0)
        return hysgd_fail(HYSGD_USAGE,
                          "model factors: the data are no ratings: expected data such as ratings:FILE");
    if (model->loss >= FIT_BPR_ROWS || model->negatives > 0)
        return hysgd_fail(HYSGD_USAGE, "model factors: %s needs a scheduler: a policy trains on what is there only",
                          model->negatives > 0 ? "negatives" : "loss=bpr");
    if (model->is_nonnegative)
        return hysgd_fail(HYSGD_USAGE, "model factors: nonnegative=yes needs a scheduler");
    size_t rank = (size_t)model->rank;
    model->row_count = shape->row_count;
    model->column_count = shape->column_count;
    model->tensor_count = 0;
    add_tensor(model, "rows", shape->row_count, rank);
    add_tensor(model, "columns", shape->column_count, rank);
    add_tensor(model, "mean", 1, 0);
    if (factors_model_kernel(model).has_biases) {
        add_tensor(model, "row_bias", shape->row_count, 0);
        add_tensor(model, "column_bias", shape->column_count, 0);
    }
    return HYSGD_OK;
}

static size_t vector_size(const struct factors_model *model) {
    size_t ends = (size_t)model->row_count + model->column_count;
    return ends * (size_t)model->rank + 1 + (model->tensor_count > ROW_BIAS ? ends : 0);
}

static void describe(const void *self, struct hysgd_model_layout *layout_out) {
    const struct factors_model *model = self;
    *layout_out = (struct hysgd_model_layout){.parameter_count = vector_size(model),
                                              .tensors = model->tensors,
                                              .tensor_count = model->tensor_count,
                                              .has_sparse_gradients = true,
                                              .outputs = 1};
}

/* The start values of a scheduler's run: each row's are its own stream. */
static void start(const void *self, uint64_t seed, float *vector_out) {
    const struct factors_model *model = self;
    size_t rank = (size_t)model->rank;
    float unit = (float)(factors_model_scale(model, model->mean) / sqrt((double)rank));
    memset(vector_out, 0, vector_size(model) * sizeof *vector_out);
    vector_out[model->tensors[MEAN].first] = factors_model_has_mean(model) ? (float)model->mean : 0;
    for (int side = ROWS; side <= COLUMNS; side++)
        for (size_t i = 0; i < model->tensors[side].dims[0]; i++) {
            float *values = vector_out + model->tensors[side].first + i * rank;
            struct random random;
            random_init(&random, seed, (uint32_t)side, RANDOM_START, i);
            if (factors_model_start(model) == FACTORS_POSITIVE)
                random_fill_uniform(&random, values, rank);
            else
                random_fill_normal(&random, values, rank);
            for (size_t d = 0; d < rank; d++)
                values[d] *= unit;
        }
}

/* ---- Loss ---- */

/* Loss and z = -(d loss / d s). */
struct pull {
    double loss, pull;
};

static struct pull pull_of(enum fit_loss loss, double rating, double prediction) {
    double error = rating - prediction, sign = rating > 0 ? 1 : -1, margin = sign * prediction;
    double missing = fmax(1 - margin, 0), divisor = fmax(prediction, 0x1p-10);
    switch (loss) {
    case FIT_ABSOLUTE:
        return (struct pull){fabs(error), (error > 0) - (error < 0)};
    case FIT_LOGISTIC:
        return (struct pull){log1p(exp(-fabs(margin))) + fmax(-margin, 0), sign / (1 + exp(margin))};
    case FIT_SQUARED_HINGE:
        return (struct pull){missing * missing, 2 * sign * missing};
    case FIT_KL:
        return (struct pull){(rating > 0 ? rating * log(rating / divisor) : 0) - rating + divisor,
                             prediction > 0x1p-10 ? rating / divisor - 1 : 0};
    default:
        return (struct pull){error * error, 2 * error};
    }
}

/* One rating: where its row and column have their parameters in the vector. */
struct pair {
    size_t row, column;           /* of the factors */
    size_t row_bias, column_bias; /* where there are biases */
};

static enum hysgd_status find_pair(const struct factors_model *model, const float *input, struct pair *pair_out) {
    uint32_t row, column;
    memcpy(&row, &input[0], sizeof row);
    memcpy(&column, &input[1], sizeof column);
    if (row >= model->row_count || column >= model->column_count)
        return hysgd_fail(HYSGD_FAILED,
                          "model factors: row %" PRIu32 ", column %" PRIu32 " is not below %" PRIu32
                          " and %" PRIu32,
                          row, column, model->row_count, model->column_count);
    bool has_biases = model->tensor_count > ROW_BIAS;
    *pair_out = (struct pair){model->tensors[ROWS].first + row * (size_t)model->rank,
                              model->tensors[COLUMNS].first + column * (size_t)model->rank,
                              has_biases ? model->tensors[ROW_BIAS].first + row : 0,
                              has_biases ? model->tensors[COLUMN_BIAS].first + column : 0};
    return HYSGD_OK;
}

static double predict_pair(const struct factors_model *model, const float *vector, const struct pair *pair) {
    double sum = (double)vector[model->tensors[MEAN].first];
    if (model->tensor_count > ROW_BIAS)
        sum += (double)vector[pair->row_bias] + (double)vector[pair->column_bias];
    for (size_t d = 0; d < (size_t)model->rank; d++)
        sum += (double)vector[pair->row + d] * (double)vector[pair->column + d];
    return sum;
}

/* What every parameter of the batch shares. */
struct penalties {
    double share; /* of a rating in the batch */
    double l1, l2, bias_l2, half;
};

/* Adds the gradient of one parameter whose partner in the prediction is `partner`; returns its penalty. */
static double add_gradient(const struct penalties *penalties, double l1, double l2, double value, double pulled,
                           float *gradient) {
    double slope = 2 * penalties->half * l2 * value + l1 * ((value > 0) - (value < 0));
    *gradient += (float)(penalties->share * (slope - pulled));
    return penalties->half * l2 * value * value + l1 * fabs(value);
}

static double add_pair(const struct factors_model *model, const float *vector, const struct pair *pair,
                       double rating, const struct penalties *penalties, float *gradient) {
    const struct pull pull = pull_of((enum fit_loss)model->loss, rating, predict_pair(model, vector, pair));
    double loss = pull.loss;
    for (size_t d = 0; d < (size_t)model->rank; d++) {
        double p = (double)vector[pair->row + d], q = (double)vector[pair->column + d];
        loss += add_gradient(penalties, penalties->l1, penalties->l2, p, pull.pull * q, &gradient[pair->row + d]);
        loss +=
            add_gradient(penalties, penalties->l1, penalties->l2, q, pull.pull * p, &gradient[pair->column + d]);
    }
    gradient[model->tensors[MEAN].first] -= (float)(penalties->share * pull.pull);
    if (model->tensor_count <= ROW_BIAS)
        return loss;
    const size_t biases[] = {pair->row_bias, pair->column_bias};
    for (int i = 0; i < 2; i++)
        loss += add_gradient(penalties, 0, penalties->bias_l2, (double)vector[biases[i]], pull.pull,
                             &gradient[biases[i]]);
    return loss;
}

static enum hysgd_status gradient(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)workspace;
    const struct factors_model *model = self;
    bool is_squared = model->loss == FIT_SQUARED || model->loss == FIT_SQUARED_HINGE;
    const struct penalties penalties = {1 / (double)batch->count, model->l1, model->l2, model->bias_l2,
                                        is_squared ? 1 : 0.5};
    struct pair pair = {0};
    double sum = 0;
    memset(gradient_out, 0, vector_size(model) * sizeof *gradient_out);
    for (size_t i = 0; i < batch->count; i++) {
        HYSGD_TRY(find_pair(model, batch->inputs + 2 * i, &pair));
        sum += add_pair(model, vector, &pair, (double)batch->targets[i], &penalties, gradient_out);
    }
    *loss_out = sum * penalties.share;
    return HYSGD_OK;
}

static enum hysgd_status evaluate(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    (void)workspace;
    const struct factors_model *model = self;
    struct hysgd_metrics sum = *metrics;
    struct pair pair = {0};
    for (size_t i = 0; i < batch->count; i++) {
        HYSGD_TRY(find_pair(model, batch->inputs + 2 * i, &pair));
        double prediction = predict_pair(model, vector, &pair), rating = (double)batch->targets[i];
        sum.loss += pull_of((enum fit_loss)model->loss, rating, prediction).loss;
        sum.correct += (prediction > 0) == (rating > 0);
    }
    sum.count += batch->count;
    sum.has_accuracy = model->loss == FIT_LOGISTIC || model->loss == FIT_SQUARED_HINGE;
    *metrics = sum;
    return HYSGD_OK;
}

static enum hysgd_status predict(const void *self, void *workspace, const float *vector,
                                 const struct hysgd_batch *batch, float *outputs_out) {
    (void)workspace;
    struct pair pair = {0};
    for (size_t i = 0; i < batch->count; i++) {
        HYSGD_TRY(find_pair(self, batch->inputs + 2 * i, &pair));
        outputs_out[i] = (float)predict_pair(self, vector, &pair);
    }
    return HYSGD_OK;
}

const struct hysgd_model_ops model_factors = {
    .about = {.name = "factors",
              .alias = "mf",
              .summary = "low-rank factors of ratings, with biases; under a scheduler, or under a policy",
              .source = "arXiv 2408.16592; Koren, Bell and Volinsky 2009",
              .size = sizeof(struct factors_model),
              .options = factors_model_options},
    .init = init,
    .describe = describe,
    .start = start,
    .gradient = gradient,
    .evaluate = evaluate,
    .predict = predict,
};
