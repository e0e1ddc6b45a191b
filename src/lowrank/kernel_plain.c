/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels in plain C, one factor after the other: the definition that the vector kernels meet bit for bit, and
 * what runs on processors without them. Sums run in FACTORS_LANES lanes, which are then folded. */
#include <string.h>

#include "lowrank/kernels.h"

/* What all ratings of a tile share. */
struct visit {
    const struct kernel_setup *setup;
    const struct kernel_step *step;
    float mean;
    uint32_t rank, stride;
};

/* A row or column at work. */
struct side {
    float *values, *state;
    struct factor_extra *extra;
    float l1, l2;
    float momentum; /* 0 where nothing moves */
    bool is_fixed;
};

static struct side side_at(const struct visit *visit, const struct factors *factors, enum factors_side_name name,
                           uint32_t index) {
    const struct factors_side *side = &factors->sides[name];
    size_t offset = (size_t)index * factors->stride;
    return (struct side){
        .values = side->values + offset,
        .state = side->state ? side->state + offset : NULL,
        .extra = &side->extra[index],
        .l1 = visit->setup->l1[name],
        .l2 = visit->setup->l2[name],
        .momentum = visit->step->is_fixed[name] ? 0 : visit->step->momentum,
        .is_fixed = visit->step->is_fixed[name],
    };
}

/* ---- Sums ---- */

static float fold(const float lanes[FACTORS_LANES]) {
    float part[FACTORS_LANES];
    memcpy(part, lanes, sizeof part);
    for (size_t width = FACTORS_LANES / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++)
            part[lane] += part[lane + width];
    return part[0];
}

static float fold_group(const float x[FIRST_GROUP]) {
    return ((x[0] + x[2]) + (x[1] + x[3])) + ((x[4] + x[6]) + (x[5] + x[7]));
}

/* Products of the first block of lanes, and the sum of those of all others. */
struct products {
    float first[FACTORS_LANES], others[FACTORS_LANES];
};

static void products_add(struct products *products, uint32_t d, float a, float b) {
    if (d < FACTORS_LANES)
        products->first[d] = a * b;
    else
        products->others[d % FACTORS_LANES] = fmaf(a, b, products->others[d % FACTORS_LANES]);
}

static float products_total(const struct products *products) {
    float lanes[FACTORS_LANES];
    for (size_t lane = 0; lane < FACTORS_LANES; lane++)
        lanes[lane] = products->first[lane] + products->others[lane];
    return fold(lanes);
}

/* The sums over the first 8 factors and over the rest. */
static void products_groups(const struct products *products, float groups_out[2]) {
    float rest[FIRST_GROUP];
    for (size_t lane = 0; lane < FIRST_GROUP; lane++)
        rest[lane] =
            products->first[FIRST_GROUP + lane] + (products->others[lane] + products->others[FIRST_GROUP + lane]);
    groups_out[0] = fold_group(products->first);
    groups_out[1] = fold_group(rest);
}

/* ---- Moving a value ---- */

/* What follows the gradient's step: l1 with the rate of this factor, then the sign. */
static float shaped(const struct visit *visit, float value, float shrink) {
    if (shrink > 0) {
        float size = fabsf(value) - shrink;
        value = copysignf(0 > size ? 0 : size, value); /* a NaN stays one */
    }
    return visit->setup->is_nonnegative && 0 > value ? 0 : value;
}

/* What a gradient is taken at: ahead by the momentum. */
static float ahead(const struct side *side, enum step_rule rule, uint32_t d) {
    return rule == RULE_NESTEROV ? fmaf(side->momentum, side->state[d], side->values[d]) : side->values[d];
}

static float bias_ahead(const struct side *side, enum step_rule rule) {
    const struct factor_extra *extra = side->extra;
    return rule == RULE_NESTEROV ? fmaf(side->momentum, extra->bias_state, extra->bias) : extra->bias;
}

/* A step of `g` uphill; `rate` is that of the group for adagrad2. */
static void move(const struct visit *visit, const struct side *side, uint32_t d, float rate, float g) {
    float value = side->values[d];
    if (visit->setup->rule == RULE_NESTEROV) {
        side->state[d] = fmaf(rate, g, side->momentum * side->state[d]);
        side->values[d] = shaped(visit, value + side->state[d], rate * side->l1);
        return;
    }
    if (visit->setup->rule == RULE_ADAGRAD) {
        side->state[d] = fmaf(g, g, side->state[d]);
        rate = rate / sqrtf(side->state[d]);
    }
    side->values[d] = shaped(visit, fmaf(rate, g, value), rate * side->l1);
}

static void move_bias(const struct visit *visit, const struct side *side, float pull) {
    struct factor_extra *extra = side->extra;
    float rate = visit->step->rate;
    if (!visit->setup->has_biases || side->is_fixed)
        return;
    float g = fmaf(-visit->setup->bias_l2, bias_ahead(side, visit->setup->rule), pull);
    if (visit->setup->rule == RULE_NESTEROV) {
        extra->bias_state = fmaf(rate, g, side->momentum * extra->bias_state);
        extra->bias += extra->bias_state;
        return;
    }
    if (visit->setup->rule >= RULE_ADAGRAD) {
        const float old = extra->bias_state;
        extra->bias_state = fmaf(g, g, old);
        rate = rate / sqrtf(visit->setup->rule == RULE_ADAGRAD ? extra->bias_state : old);
    }
    extra->bias = fmaf(rate, g, extra->bias);
}

/* ---- One rating ---- */

static struct fit fit_at(const struct visit *visit, const struct side *row, const struct side *column, float rating,
                         float weight, float product) {
    const enum step_rule rule = visit->setup->rule;
    float s = visit->mean;
    if (visit->setup->has_biases)
        s = s + (bias_ahead(row, rule) + bias_ahead(column, rule));
    struct fit fit = fit_rating(visit->setup->loss, rating, s + product);
    return (struct fit){weight * fit.loss, weight * fit.pull};
}

/* constant, decay: p <- (1 - rate l2) p + (rate z) q */
static void move_constant(const struct visit *visit, const struct side *row, const struct side *column,
                          float pull) {
    const float rate = visit->step->rate, push = rate * pull;
    const float keep_row = 1 - rate * row->l2, keep_column = 1 - rate * column->l2;
    for (uint32_t d = 0; d < visit->stride; d++) {
        float p = row->values[d], q = column->values[d];
        if (!row->is_fixed)
            row->values[d] = shaped(visit, fmaf(push, q, keep_row * p), rate * row->l1);
        if (!column->is_fixed)
            column->values[d] = shaped(visit, fmaf(push, p, keep_column * q), rate * column->l1);
    }
}

/* nesterov, adagrad: g = z q - l2 p at the point ahead. */
static void move_each(const struct visit *visit, const struct side *row, const struct side *column, float pull) {
    const enum step_rule rule = visit->setup->rule;
    for (uint32_t d = 0; d < visit->stride; d++) {
        float p = ahead(row, rule, d), q = ahead(column, rule, d);
        if (!row->is_fixed)
            move(visit, row, d, visit->step->rate, fmaf(pull, q, -(row->l2 * p)));
        if (!column->is_fixed)
            move(visit, column, d, visit->step->rate, fmaf(pull, p, -(column->l2 * q)));
    }
}

/* Rates and growing sums of adagrad2 for one side. */
struct group_step {
    float rate[2], push[2], keep[2], sums[2];
};

/* The mean of (z q - l2 p)^2 over a group follows from the sums of q q, p q and p p, which are known before z. The
 * rate is that of the sums before this rating. */
static struct group_step group_step(const struct visit *visit, const struct side *side, float pull,
                                    const float own[2], const float product[2], const float other[2]) {
    struct group_step step;
    for (int g = 0; g < 2; g++) {
        bool is_moving = g == 0 || !visit->step->is_frozen;
        step.rate[g] = (is_moving ? visit->step->rate : 0) / sqrtf(side->extra->sums[g]);
        step.push[g] = step.rate[g] * pull;
        step.keep[g] = fmaf(-step.rate[g], side->l2, 1);
        float squares = (pull * pull) * other[g];
        squares = fmaf(-2 * side->l2 * pull, product[g], squares);
        squares = fmaf(side->l2 * side->l2, own[g], squares);
        squares = squares > 0 ? squares : 0;
        step.sums[g] = fmaf(squares, group_share(visit->rank, g, visit->step->is_frozen), side->extra->sums[g]);
    }
    return step;
}

static void move_groups(const struct visit *visit, const struct side *row, const struct side *column,
                        const struct group_step *row_step, const struct group_step *column_step) {
    const uint32_t end = visit->step->is_frozen ? FACTORS_LANES : visit->stride;
    for (uint32_t d = 0; d < end; d++) {
        const int g = d >= FIRST_GROUP;
        float p = row->values[d], q = column->values[d];
        if (!row->is_fixed)
            row->values[d] =
                shaped(visit, fmaf(row_step->push[g], q, row_step->keep[g] * p), row_step->rate[g] * row->l1);
        if (!column->is_fixed)
            column->values[d] = shaped(visit, fmaf(column_step->push[g], p, column_step->keep[g] * q),
                                       column_step->rate[g] * column->l1);
    }
    if (!row->is_fixed)
        memcpy(row->extra->sums, row_step->sums, sizeof row_step->sums);
    if (!column->is_fixed)
        memcpy(column->extra->sums, column_step->sums, sizeof column_step->sums);
}

static float visit_adagrad2(const struct visit *visit, const struct side *row, const struct side *column,
                            float rating, float weight) {
    struct products products[3] = {0};
    float pp[2], pq[2], qq[2];
    for (uint32_t d = 0; d < visit->stride; d++) {
        float p = row->values[d], q = column->values[d];
        products_add(&products[0], d, p, p);
        products_add(&products[1], d, p, q);
        products_add(&products[2], d, q, q);
    }
    products_groups(&products[0], pp);
    products_groups(&products[1], pq);
    products_groups(&products[2], qq);
    struct fit fit = fit_at(visit, row, column, rating, weight, pq[0] + pq[1]);
    struct group_step row_step = group_step(visit, row, fit.pull, pp, pq, qq);
    struct group_step column_step = group_step(visit, column, fit.pull, qq, pq, pp);
    move_groups(visit, row, column, &row_step, &column_step);
    move_bias(visit, row, fit.pull);
    move_bias(visit, column, fit.pull);
    return fit.loss;
}

static float visit_rating(const struct visit *visit, const struct side *row, const struct side *column,
                          float rating, float weight) {
    const enum step_rule rule = visit->setup->rule;
    if (rule == RULE_ADAGRAD2)
        return visit_adagrad2(visit, row, column, rating, weight);
    struct products products = {0};
    for (uint32_t d = 0; d < visit->stride; d++)
        products_add(&products, d, ahead(row, rule, d), ahead(column, rule, d));
    struct fit fit = fit_at(visit, row, column, rating, weight, products_total(&products));
    if (rule == RULE_NESTEROV || rule == RULE_ADAGRAD)
        move_each(visit, row, column, fit.pull);
    else
        move_constant(visit, row, column, fit.pull);
    move_bias(visit, row, fit.pull);
    move_bias(visit, column, fit.pull);
    return fit.loss;
}

/* ---- One pair of ratings (BPR) ---- */

/* One of the three at work: its rates, and its squared gradients so far. */
struct mover {
    const struct side *side;
    float rates[2];
    struct products squares;
};

static struct mover mover_at(const struct visit *visit, const struct side *side) {
    const float rate = visit->step->rate;
    struct mover mover = {.side = side, .rates = {rate, rate}};
    for (int g = 0; g < 2 && visit->setup->rule == RULE_ADAGRAD2; g++)
        mover.rates[g] = (g == 1 && visit->step->is_frozen ? 0 : rate) / sqrtf(side->extra->sums[g]);
    return mover;
}

static void mover_move(const struct visit *visit, struct mover *mover, uint32_t d, float g) {
    products_add(&mover->squares, d, g, g);
    if (!mover->side->is_fixed)
        move(visit, mover->side, d, mover->rates[d >= FIRST_GROUP], g);
}

static void mover_end(const struct visit *visit, const struct mover *mover) {
    float groups[2], *sums = mover->side->extra->sums;
    products_groups(&mover->squares, groups);
    for (int g = 0; g < 2 && visit->setup->rule == RULE_ADAGRAD2 && !mover->side->is_fixed; g++)
        sums[g] = fmaf(groups[g], group_share(visit->rank, g, visit->step->is_frozen), sums[g]);
}

/* The winner's prediction beside the anchor should be above the loser's. */
static float visit_pair(const struct visit *visit, const struct side *anchor, const struct side *winner,
                        const struct side *loser) {
    const enum step_rule rule = visit->setup->rule;
    struct mover movers[3] = {mover_at(visit, anchor), mover_at(visit, winner), mover_at(visit, loser)};
    struct products products = {0};
    for (uint32_t d = 0; d < visit->stride; d++)
        products_add(&products, d, ahead(anchor, rule, d), ahead(winner, rule, d) - ahead(loser, rule, d));
    float margin = products_total(&products);
    if (visit->setup->has_biases)
        margin = margin + (bias_ahead(winner, rule) - bias_ahead(loser, rule));
    struct fit fit = fit_margin(margin);
    for (uint32_t d = 0; d < visit->stride; d++) {
        float a = ahead(anchor, rule, d), w = ahead(winner, rule, d), l = ahead(loser, rule, d);
        mover_move(visit, &movers[0], d, fmaf(fit.pull, w - l, -(anchor->l2 * a)));
        mover_move(visit, &movers[1], d, fmaf(fit.pull, a, -(winner->l2 * w)));
        mover_move(visit, &movers[2], d, fmaf(-fit.pull, a, -(loser->l2 * l)));
    }
    for (int i = 0; i < 3; i++)
        mover_end(visit, &movers[i]);
    move_bias(visit, winner, fit.pull);
    move_bias(visit, loser, -fit.pull);
    return fit.loss;
}

/* ---- A tile ---- */

static float visit_drawn_pair(const struct visit *visit, const struct factors *factors, uint32_t row,
                              uint32_t column, struct draw *draw) {
    bool is_row = visit->setup->loss == FIT_BPR_COLUMNS;
    enum factors_side_name changing = is_row ? SIDE_ROWS : SIDE_COLUMNS;
    uint32_t winner_index = is_row ? row : column, loser_index = draw_other(draw, winner_index);
    if (loser_index == winner_index)
        return 0;
    struct side anchor = side_at(visit, factors, is_row ? SIDE_COLUMNS : SIDE_ROWS, is_row ? column : row);
    struct side winner = side_at(visit, factors, changing, winner_index);
    struct side loser = side_at(visit, factors, changing, loser_index);
    return visit_pair(visit, &anchor, &winner, &loser);
}

static float visit_negative(const struct visit *visit, const struct factors *factors, uint32_t row, uint32_t column,
                            struct draw *draw) {
    uint32_t drawn = draw_other(draw, column);
    if (drawn == column)
        return 0;
    struct side p = side_at(visit, factors, SIDE_ROWS, row), q = side_at(visit, factors, SIDE_COLUMNS, drawn);
    return visit_rating(visit, &p, &q, visit->setup->negative_value, visit->setup->negative_weight);
}

double kernel_run_plain(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                        const struct kernel_step *step) {
    const struct visit visit = {&kernel->setup, step, factors->mean, factors->rank, factors->stride};
    struct draw draw;
    double sum = 0;
    draw_init(&draw, tile, step);
    for (uint32_t i = 0; i < tile->count; i++) {
        const struct cell *cell = &tile->cells[i];
        uint32_t row = tile->first_row + cell->row, column = tile->first_column + cell->column;
        if (kernel->setup.loss >= FIT_BPR_ROWS) {
            sum += visit_drawn_pair(&visit, factors, row, column, &draw);
            continue;
        }
        struct side p = side_at(&visit, factors, SIDE_ROWS, row);
        struct side q = side_at(&visit, factors, SIDE_COLUMNS, column);
        sum += visit_rating(&visit, &p, &q, cell->value, 1);
        for (uint32_t n = 0; n < kernel->setup.negatives; n++)
            sum += visit_negative(&visit, factors, row, column, &draw);
    }
    return sum;
}
