/* SPDX-License-Identifier: Apache-2.0 */
/* Folding in by least squares or by steps; see fold.h. */
#include "lowrank/fold.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "linalg/vector.h"

/* Added to the diagonal, relative to its mean, so that fewer ratings than factors without a penalty have a
 * solution.
 */
#define LEAST_RIDGE 1e-6

/* Sums of squared gradients at the start of the passes, as the peer has them in training. */
#define SUM_START 1

struct fold {
    const struct fold_setup *setup;
    const struct factors *factors;
    const struct factors_side *others; /* the side that stays */
    const struct fold_rating *ratings;
    uint32_t count;
    float *values; /* [stride] */
    float bias;
};

/* ---- Least squares ---- */

/* The equations of x = (factors, bias) with `size` unknowns: matrix [size][size], of which the lower half counts,
 * and right side [size]. */
struct equations {
    uint32_t size;
    double *matrix, *right;
};

static void equations_add(struct equations *equations, const float *factors, uint32_t rank, double value) {
    for (uint32_t i = 0; i < equations->size; i++) {
        const double left = i < rank ? (double)factors[i] : 1;
        double *row = equations->matrix + (size_t)i * equations->size;
        for (uint32_t j = 0; j <= i; j++)
            row[j] += left * (j < rank ? (double)factors[j] : 1);
        equations->right[i] += left * value;
    }
}

static void equations_set(struct equations *equations, const struct fold *fold) {
    const struct kernel_setup *kernel = fold->setup->kernel;
    const uint32_t rank = fold->factors->rank, size = equations->size;
    double trace = 0;
    for (uint32_t n = 0; n < fold->count; n++) {
        const uint32_t other = fold->ratings[n].other;
        double known = (double)fold->factors->mean;
        if (kernel->has_biases)
            known += (double)fold->others->extra[other].bias;
        equations_add(equations, fold->others->values + (size_t)other * fold->factors->stride, rank,
                      (double)fold->ratings[n].value - known);
    }
    for (uint32_t i = 0; i < size; i++)
        trace += equations->matrix[(size_t)i * size + i];
    for (uint32_t i = 0; i < size; i++) {
        const float l2 = i < rank ? kernel->l2[fold->setup->side] : kernel->bias_l2;
        equations->matrix[(size_t)i * size + i] += fold->count * (double)l2 + LEAST_RIDGE * trace / size + 1e-30;
    }
}

/* Cholesky's decomposition in place, then both triangles; the solution replaces the right side. */
static void equations_solve(struct equations *equations) {
    const size_t size = equations->size;
    double *a = equations->matrix, *x = equations->right;
    for (size_t j = 0; j < size; j++) {
        for (size_t i = j; i < size; i++) {
            double sum = a[i * size + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * size + k] * a[j * size + k];
            a[i * size + j] = i == j ? sqrt(sum) : sum / a[j * size + j];
        }
        for (size_t k = 0; k < j; k++)
            x[j] -= a[j * size + k] * x[k];
        x[j] /= a[j * size + j];
    }
    for (size_t j = size; j-- > 0;) {
        for (size_t k = j + 1; k < size; k++)
            x[j] -= a[k * size + j] * x[k];
        x[j] /= a[j * size + j];
    }
}

static enum hysgd_status solve(struct fold *fold) {
    const uint32_t rank = fold->factors->rank;
    struct equations equations = {.size = rank + fold->setup->kernel->has_biases};
    HYSGD_TRY(memory_alloc((size_t)equations.size * (equations.size + 1), sizeof(double), &equations.matrix));
    equations.right = equations.matrix + (size_t)equations.size * equations.size;
    equations_set(&equations, fold);
    equations_solve(&equations);
    for (uint32_t d = 0; d < rank; d++)
        fold->values[d] = (float)equations.right[d];
    if (equations.size > rank)
        fold->bias = (float)equations.right[rank];
    memory_free(equations.matrix);
    return HYSGD_OK;
}

/* ---- Passes ---- */

/* A rating is a tile of its own, as its number need not be near that of the others. */
static void visit(const struct fold *fold, const struct kernel *kernel, struct factors *alone, uint64_t which,
                  struct kernel_step *step) {
    const struct fold_rating *rating = &fold->ratings[which];
    const struct cell cell = {0, 0, rating->value};
    struct tile tile = {.cells = &cell, .count = 1};
    if (fold->setup->side == SIDE_ROWS)
        tile.first_column = rating->other;
    else
        tile.first_row = rating->other;
    (void)kernel_run(kernel, alone, &tile, step);
}

/* The factors in which the new row is the only one, and the other side is that of the model. */
static void begin_alone(struct fold *fold, struct factors *alone, struct factor_extra *extra) {
    const struct fold_setup *setup = fold->setup;
    bool is_positive = setup->kernel->is_nonnegative || setup->kernel->loss == FIT_KL;
    *alone = *fold->factors;
    alone->state = FACTORS_NO_STATE;
    alone->sides[setup->side] = (struct factors_side){.count = 1, .values = fold->values, .extra = extra};
    factors_start_part(alone, setup->side, 0, 1, NULL, FACTORS_POSITIVE, is_positive ? 1 : 0, SUM_START,
                       setup->seed);
}

static enum hysgd_status pass(struct fold *fold) {
    const struct fold_setup *setup = fold->setup;
    struct kernel_setup with = *setup->kernel;
    struct kernel kernel;
    struct factors alone;
    struct factor_extra extra;
    uint64_t *order;
    with.rule = RULE_ADAGRAD2;
    HYSGD_TRY(kernel_init(&kernel, &with));
    HYSGD_TRY(memory_alloc(fold->count, sizeof *order, &order));
    for (uint32_t n = 0; n < fold->count; n++)
        order[n] = n;
    begin_alone(fold, &alone, &extra);
    struct kernel_step step = {
        .rate = setup->rate,
        .is_fixed = {setup->side != SIDE_ROWS, setup->side != SIDE_COLUMNS},
        .seed = setup->seed,
        .drawn_count = alone.sides[setup->kernel->loss == FIT_BPR_COLUMNS ? SIDE_ROWS : SIDE_COLUMNS].count};
    for (step.epoch = 0; step.epoch < setup->epochs; step.epoch++) {
        struct random random;
        random_init(&random, setup->seed, RANDOM_NO_WORKER, RANDOM_SHUFFLE, step.epoch);
        random_shuffle(&random, order, fold->count);
        for (uint32_t n = 0; n < fold->count; n++)
            visit(fold, &kernel, &alone, order[n], &step);
    }
    fold->bias = extra.bias;
    memory_free(order);
    return HYSGD_OK;
}

/* ---- Both ---- */

static enum hysgd_status check(const struct fold *fold) {
    const enum fit_loss loss = fold->setup->kernel->loss;
    const bool is_row = fold->setup->side == SIDE_ROWS;
    if (loss == (is_row ? FIT_BPR_COLUMNS : FIT_BPR_ROWS))
        return hysgd_fail(HYSGD_USAGE, "a %s cannot be folded in: the loss compares it with other %ss",
                          is_row ? "row" : "column", is_row ? "row" : "column");
    for (uint32_t n = 0; n < fold->count; n++)
        if (fold->ratings[n].other >= fold->others->count)
            return hysgd_fail(HYSGD_USAGE, "%s %u of rating %u: expected less than %u", is_row ? "column" : "row",
                              fold->ratings[n].other, n, fold->others->count);
    return HYSGD_OK;
}

static bool has_minimum_by_squares(const struct kernel_setup *kernel, enum factors_side_name side) {
    return kernel->loss == FIT_SQUARED && kernel->l1[side] <= 0 && kernel->negatives == 0 &&
           !kernel->is_nonnegative;
}

static enum hysgd_status find(struct fold *fold) {
    HYSGD_TRY(check(fold));
    if (fold->count > 0)
        HYSGD_TRY(has_minimum_by_squares(fold->setup->kernel, fold->setup->side) ? solve(fold) : pass(fold));
    if (!vector_is_finite(fold->values, fold->factors->stride) || !isfinite(fold->bias))
        return hysgd_fail(HYSGD_DIVERGED, "folding in diverged: the factors are not finite, try a smaller rate");
    return HYSGD_OK;
}

enum hysgd_status fold_in(const struct fold_setup *setup, const struct factors *factors,
                          const struct fold_rating *ratings, uint32_t count, float *values_out, float *bias_out) {
    struct fold fold = {.setup = setup,
                        .factors = factors,
                        .others = &factors->sides[setup->side == SIDE_ROWS ? SIDE_COLUMNS : SIDE_ROWS],
                        .ratings = ratings,
                        .count = count};
    HYSGD_TRY(memory_alloc(factors->stride, sizeof *fold.values, &fold.values));
    enum hysgd_status status = find(&fold);
    if (status == HYSGD_OK) {
        memcpy(values_out, fold.values, factors->stride * sizeof *values_out);
        *bias_out = fold.bias;
    }
    memory_free(fold.values);
    return status;
}
