/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels in plain C, one factor after the other: the definition that the vector kernels must meet bit for bit,
 * and what runs on processors without them. Sums run in FACTORS_LANES lanes, which are then folded in halves. */
#include <math.h>
#include <string.h>

#include "lowrank/kernels.h"
#include "lowrank/loss.h"

/* A row or column at work. */
struct side {
    float *values, *state;
    struct factor_extra *extra;
    float l1, l2;
    bool is_fixed;
};

struct visit {
    const struct kernel_setup *setup;
    const struct kernel_step *step;
    uint32_t rank, stride;
};

static struct side side_at(const struct kernel *kernel, const struct kernel_step *step,
                           const struct factors *factors, enum factors_side_name name, uint32_t index) {
    const struct factors_side *side = &factors->sides[name];
    size_t offset = (size_t)index * factors->stride;
    return (struct side){
        .values = side->values + offset,
        .state = side->state ? side->state + offset : NULL,
        .extra = &side->extra[index],
        .l1 = kernel->setup.l1[name],
        .l2 = kernel->setup.l2[name],
        .is_fixed = step->is_fixed[name],
    };
}

/* The sum of lanes first .. first + count - 1. */
static float fold(const float *lanes, size_t count) {
    float part[FACTORS_LANES];
    memcpy(part, lanes, count * sizeof *part);
    for (size_t width = count / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++)
            part[lane] += part[lane + width];
    return part[0];
}

static float dot(const float *a, const float *b, uint32_t stride) {
    float lanes[FACTORS_LANES];
    for (uint32_t d = 0; d < stride; d++)
        lanes[d % FACTORS_LANES] = d < FACTORS_LANES ? a[d] * b[d] : fmaf(a[d], b[d], lanes[d % FACTORS_LANES]);
    return fold(lanes, FACTORS_LANES);
}

static float prediction(const struct kernel_setup *setup, float mean, float row_bias, float column_bias,
                        float product) {
    return setup->has_biases ? mean + row_bias + column_bias + product : mean + product;
}

/* What follows the gradient step: l1 with the rate of this factor, then the sign. */
static float shape(const struct kernel_setup *setup, float value, float shrink) {
    if (shrink > 0)
        value = copysignf(fmaxf(fabsf(value) - shrink, 0), value);
    return setup->is_nonnegative ? fmaxf(value, 0) : value;
}

static void constant_factors(const struct visit *visit, const struct side *row, const struct side *column,
                             float pull) {
    const float rate = visit->step->rate;
    const float push = rate * pull, keep_p = 1 - rate * row->l2, keep_q = 1 - rate * column->l2;
    for (uint32_t d = 0; d < visit->stride; d++) {
        float p = row->values[d], q = column->values[d];
        if (!row->is_fixed)
            row->values[d] = shape(visit->setup, fmaf(push, q, keep_p * p), rate * row->l1);
        if (!column->is_fixed)
            column->values[d] = shape(visit->setup, fmaf(push, p, keep_q * q), rate * column->l1);
    }
}

static void move_bias(const struct visit *visit, const struct side *side, float pull) {
    struct factor_extra *extra = side->extra;
    const float rate = visit->step->rate;
    if (visit->setup->has_biases && !side->is_fixed)
        extra->bias = fmaf(rate, fmaf(-visit->setup->bias_l2, extra->bias, pull), extra->bias);
}

static float visit_constant(const struct visit *visit, const struct side *row, const struct side *column,
                            float mean, float rating) {
    float s = prediction(visit->setup, mean, row->extra->bias, column->extra->bias,
                         dot(row->values, column->values, visit->stride));
    struct fit fit = fit_rating(visit->setup->loss, rating, s);
    constant_factors(visit, row, column, fit.pull);
    move_bias(visit, row, fit.pull);
    move_bias(visit, column, fit.pull);
    return fit.loss;
}

double kernel_run_plain(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                        const struct kernel_step *step) {
    const struct visit visit = {&kernel->setup, step, factors->rank, factors->stride};
    double sum = 0;
    for (uint32_t i = 0; i < tile->count; i++) {
        const struct cell *cell = &tile->cells[i];
        struct side row = side_at(kernel, step, factors, SIDE_ROWS, tile->first_row + cell->row);
        struct side column = side_at(kernel, step, factors, SIDE_COLUMNS, tile->first_column + cell->column);
        sum += visit_constant(&visit, &row, &column, factors->mean, cell->value);
    }
    return sum;
}
