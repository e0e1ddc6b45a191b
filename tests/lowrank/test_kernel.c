/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of lowrank/kernel.h against their equations, computed here in double precision and in the form of their
 * sources; the best kernel of this machine (the others give the same bits, see test_kernel_vectors.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "lowrank/kernel.h"

enum { RANK = 19, STEPS = 40 };

/* One row and two columns; column 0 is the one that is rated. */
struct pair {
    struct factors factors;
    float *p, *q, *other;
};

static void pair_init(struct pair *pair, enum step_rule rule) {
    const struct factors_shape shape = {1, 2, RANK, kernel_state(rule)};
    assert_int_equal(factors_init(&pair->factors, &shape), HYSGD_OK);
    factors_start(&pair->factors, FACTORS_POSITIVE, 1, 1, 7);
    pair->p = factors_row(&pair->factors, 0);
    pair->q = factors_column(&pair->factors, 0);
    pair->other = factors_column(&pair->factors, 1);
}

static double run(struct pair *pair, const struct kernel_setup *setup, const struct kernel_step *step,
                  float value) {
    struct kernel kernel;
    const struct cell cell = {0, 0, value};
    const struct tile tile = {.cells = &cell, .count = 1};
    assert_int_equal(kernel_init(&kernel, setup), HYSGD_OK);
    return kernel_run(&kernel, &pair->factors, &tile, step);
}

static double dot(const double *a, const double *b) {
    double sum = 0;
    for (int d = 0; d < RANK; d++)
        sum += a[d] * b[d];
    return sum;
}

static void widen(const float *values, double *wide) {
    for (int d = 0; d < RANK; d++)
        wide[d] = (double)values[d];
}

static void assert_near(const float *values, const double *expected, double tolerance) {
    for (int d = 0; d < RANK; d++)
        if (!(fabs((double)values[d] - expected[d]) <= tolerance))
            fail_msg("factor %d is %.9g, expected %.9g", d, (double)values[d], expected[d]);
}

static float rating_of(int step) {
    return (float)(1 + step * 7 % 5);
}

static void a_constant_step_follows_its_equations(void **state) {
    (void)state;
    struct factors factors;
    struct kernel kernel;
    const struct cell cell = {1, 0, 4};
    const struct tile tile = {0, 1, &cell, 1};
    const struct kernel_setup setup = {.rank = 2, .l2 = {0.5f, 0.25f}, .has_biases = true, .bias_l2 = 0.125f};
    assert_int_equal(kernel_init(&kernel, &setup), HYSGD_OK);
    assert_int_equal(factors_init(&factors, &(struct factors_shape){2, 2, 2, kernel_state(setup.rule)}), HYSGD_OK);
    float *p = factors_row(&factors, 1), *q = factors_column(&factors, 1);
    p[0] = 1, p[1] = 2, q[0] = 3, q[1] = -1;
    factors.mean = 1;
    factors.sides[SIDE_ROWS].extra[1].bias = 0.5f;
    /* predicted 1 + 0.5 + 0 + 1, so the error is 1.5 */
    assert_true(kernel_run(&kernel, &factors, &tile, &(struct kernel_step){.rate = 0.5f}) == 2.25);
    assert_true(p[0] == 1 + 0.5f * (1.5f * 3 - 0.5f * 1) && p[1] == 2 + 0.5f * (1.5f * -1 - 0.5f * 2));
    assert_true(q[0] == 3 + 0.5f * (1.5f * 1 - 0.25f * 3) && q[1] == -1 + 0.5f * (1.5f * 2 + 0.25f * 1));
    assert_true(factors.sides[SIDE_ROWS].extra[1].bias == 0.5f + 0.5f * (1.5f - 0.125f * 0.5f));
    assert_true(factors.sides[SIDE_COLUMNS].extra[1].bias == 0.5f * 1.5f);
    factors_fini(&factors);
}

/* p^ = p + gamma phi, e = r - p^ q^, phi <- gamma phi + eta (e q^ - lambda p^), p <- p + phi, and so for q. */
static void nesterov_follows_the_accelerated_equations(void **state) {
    (void)state;
    const double eta = 0.02, gamma = 0.7, lambda = 0.05;
    const struct kernel_setup setup = {.rule = RULE_NESTEROV, .rank = RANK, .l2 = {0.05f, 0.05f}};
    const struct kernel_step step = {.rate = 0.02f, .momentum = 0.7f};
    double p[RANK], q[RANK], phi[RANK] = {0}, psi[RANK] = {0}, p_ahead[RANK], q_ahead[RANK];
    struct pair pair;
    pair_init(&pair, setup.rule);
    widen(pair.p, p), widen(pair.q, q);
    for (int t = 0; t < STEPS; t++) {
        for (int d = 0; d < RANK; d++)
            p_ahead[d] = p[d] + gamma * phi[d], q_ahead[d] = q[d] + gamma * psi[d];
        double e = (double)rating_of(t) - dot(p_ahead, q_ahead);
        for (int d = 0; d < RANK; d++) {
            phi[d] = gamma * phi[d] + eta * (e * q_ahead[d] - lambda * p_ahead[d]);
            psi[d] = gamma * psi[d] + eta * (e * p_ahead[d] - lambda * q_ahead[d]);
            p[d] += phi[d], q[d] += psi[d];
        }
        double loss = run(&pair, &setup, &step, rating_of(t));
        assert_true(fabs(loss - e * e) < 1e-4);
    }
    assert_near(pair.p, p, 1e-5);
    assert_near(pair.q, q, 1e-5);
    factors_fini(&pair.factors);
}

/* Duchi, Hazan and Singer: every factor has its sum of squared gradients, this one's included. */
static void adagrad_divides_by_the_root_of_each_sum(void **state) {
    (void)state;
    const struct kernel_setup setup = {.rule = RULE_ADAGRAD, .rank = RANK, .l2 = {0.05f, 0.1f}};
    const struct kernel_step step = {.rate = 0.1f};
    double p[RANK], q[RANK], p_sum[RANK], q_sum[RANK];
    struct pair pair;
    pair_init(&pair, setup.rule);
    widen(pair.p, p), widen(pair.q, q);
    for (int d = 0; d < RANK; d++)
        p_sum[d] = q_sum[d] = 1;
    for (int t = 0; t < STEPS; t++) {
        double e = (double)rating_of(t) - dot(p, q);
        for (int d = 0; d < RANK; d++) {
            double g = 0.05 * p[d] - e * q[d], h = 0.1 * q[d] - e * p[d];
            p_sum[d] += g * g, q_sum[d] += h * h;
            p[d] -= 0.1 * g / sqrt(p_sum[d]), q[d] -= 0.1 * h / sqrt(q_sum[d]);
        }
        (void)run(&pair, &setup, &step, rating_of(t));
    }
    assert_near(pair.p, p, 1e-5);
    assert_near(pair.q, q, 1e-5);
    factors_fini(&pair.factors);
}

/* One side of the peer's rule as published: Chin, Zhuang, Juan and Lin, "A learning-rate schedule for stochastic
 * gradient methods to matrix factorization", PAKDD 2015: the factors of a group share the mean of the squared
 * gradients so far, which starts at 1. */
static void peer_step(double *own, const double *other, double *sums, double e, double lambda,
                      bool is_first_epoch) {
    for (int group = 0; group < (is_first_epoch ? 1 : 2); group++) {
        const int first = group == 0 ? 0 : 8, end = group == 0 ? 8 : RANK;
        double squares = 0, eta = 0.1 / sqrt(sums[group]);
        for (int d = first; d < end; d++) {
            double g = lambda * own[d] - e * other[d];
            squares += g * g;
            own[d] -= eta * g;
        }
        sums[group] += squares / (end - first);
    }
}

static void adagrad2_is_the_published_rule_of_the_peer(void **state) {
    (void)state;
    const struct kernel_setup setup = {.rule = RULE_ADAGRAD2, .rank = RANK, .l2 = {0.05f, 0.1f}};
    double p[RANK], q[RANK], before[RANK], p_sums[2] = {1, 1}, q_sums[2] = {1, 1};
    struct pair pair;
    pair_init(&pair, setup.rule);
    widen(pair.p, p), widen(pair.q, q);
    for (int t = 0; t < STEPS; t++) {
        bool is_first_epoch = t < STEPS / 4;
        const struct kernel_step step = {.rate = 0.1f, .is_frozen = is_first_epoch};
        double e = (double)rating_of(t) - dot(p, q);
        memcpy(before, p, sizeof p);
        peer_step(p, q, p_sums, e, 0.05, is_first_epoch);
        peer_step(q, before, q_sums, e, 0.1, is_first_epoch);
        double loss = run(&pair, &setup, &step, rating_of(t));
        assert_true(fabs(loss - e * e) < 1e-3);
    }
    assert_near(pair.p, p, 1e-5);
    assert_near(pair.q, q, 1e-5);
    for (int g = 0; g < 2; g++)
        assert_true(fabs((double)pair.factors.sides[SIDE_ROWS].extra[0].sums[g] / p_sums[g] - 1) < 1e-5);
    factors_fini(&pair.factors);
}

static void the_bias_of_adagrad2_steps_by_the_sum_so_far(void **state) {
    (void)state;
    const struct kernel_setup setup = {.rule = RULE_ADAGRAD2, .rank = RANK, .has_biases = true, .bias_l2 = 0.05f};
    struct pair pair;
    pair_init(&pair, setup.rule);
    double bias = 0, sum = 1;
    for (int t = 0; t < STEPS; t++) {
        float s = factors_predict(&pair.factors, 0, 0);
        double g = (double)(rating_of(t) - s) - 0.05 * bias;
        bias += 0.1 / sqrt(sum) * g;
        sum += g * g;
        (void)run(&pair, &setup, &(struct kernel_step){.rate = 0.1f}, rating_of(t));
        assert_true(fabs((double)pair.factors.sides[SIDE_COLUMNS].extra[0].bias - bias) < 1e-5);
    }
    assert_true(fabs((double)pair.factors.sides[SIDE_ROWS].extra[0].bias_state - sum) < 1e-3);
    factors_fini(&pair.factors);
}

/* The loss of a rating when factor `d` of the row is moved by `by`; nothing else changes. */
static double loss_at(enum fit_loss loss, float rating, int d, float by) {
    const struct kernel_setup setup = {.loss = loss, .rank = RANK};
    const struct kernel_step step = {
        .rate = 0, .is_fixed = {true, true}, .first_drawn = loss == FIT_BPR_COLUMNS ? 0 : 1, .drawn_count = 1};
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    pair.p[d] += by;
    double value = run(&pair, &setup, &step, rating);
    factors_fini(&pair.factors);
    return value;
}

static void every_step_goes_down_the_slope_of_its_loss(void **state) {
    (void)state;
    const float h = 0x1p-7f, ratings[] = {3, 0, -1};
    for (enum fit_loss loss = FIT_SQUARED; loss <= FIT_BPR_ROWS; loss++)
        for (size_t r = 0; r < (loss == FIT_KL ? 2 : 3); r++) {
            const bool is_squared = loss == FIT_SQUARED || loss == FIT_SQUARED_HINGE;
            const struct kernel_setup setup = {.loss = loss, .rank = RANK};
            struct pair pair;
            pair_init(&pair, RULE_CONSTANT);
            (void)run(&pair, &setup, &(struct kernel_step){.rate = 1, .first_drawn = 1, .drawn_count = 1},
                      ratings[r]);
            struct pair start;
            pair_init(&start, RULE_CONSTANT);
            for (int d = 0; d < RANK; d++) {
                double slope =
                    (loss_at(loss, ratings[r], d, h) - loss_at(loss, ratings[r], d, -h)) / (2 * (double)h);
                double moved = (double)(pair.p[d] - start.p[d]) * (is_squared ? 2 : 1);
                if (fabs(moved + slope) > 2e-3 * fmax(1, fabs(slope)))
                    fail_msg("loss %d rating %g factor %d moved %g, slope %g", loss, (double)ratings[r], d, moved,
                             slope);
            }
            factors_fini(&start.factors);
            factors_fini(&pair.factors);
        }
}

static void a_pair_pushes_the_winner_up_and_the_drawn_one_down(void **state) {
    (void)state;
    const struct kernel_setup setup = {.loss = FIT_BPR_ROWS, .rank = RANK, .l2 = {0.05f, 0.1f}};
    double p[RANK], w[RANK], l[RANK], lead[RANK];
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    widen(pair.p, p), widen(pair.q, w), widen(pair.other, l);
    for (int d = 0; d < RANK; d++)
        lead[d] = w[d] - l[d];
    double margin = dot(p, lead), z = 1 / (1 + exp(margin));
    double loss = run(&pair, &setup, &(struct kernel_step){.rate = 0.1f, .drawn_count = 2}, 1);
    assert_true(fabs(loss - log1p(exp(-margin))) < 1e-6);
    for (int d = 0; d < RANK; d++) {
        w[d] += 0.1 * (z * p[d] - 0.1 * w[d]);
        l[d] += 0.1 * (-z * p[d] - 0.1 * l[d]);
        p[d] += 0.1 * (z * lead[d] - 0.05 * p[d]);
    }
    assert_near(pair.p, p, 1e-6);
    assert_near(pair.q, w, 1e-6);
    assert_near(pair.other, l, 1e-6);
    factors_fini(&pair.factors);
}

static void a_pair_without_another_to_draw_is_left_out(void **state) {
    (void)state;
    const struct kernel_setup setup = {.loss = FIT_BPR_COLUMNS, .rank = RANK};
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    float before[RANK];
    memcpy(before, pair.p, sizeof before);
    assert_true(run(&pair, &setup, &(struct kernel_step){.rate = 1, .drawn_count = 1}, 1) == 0);
    assert_memory_equal(before, pair.p, sizeof before);
    factors_fini(&pair.factors);
}

static void negatives_pull_other_columns_toward_their_value(void **state) {
    (void)state;
    const struct kernel_setup setup = {
        .rank = RANK, .negatives = 1, .negative_value = 0.25f, .negative_weight = 0.5f};
    const struct kernel_step step = {.rate = 0.01f, .drawn_count = 2};
    double p[RANK], q[RANK], other[RANK];
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    widen(pair.p, p), widen(pair.q, q), widen(pair.other, other);
    double e = 1 - dot(p, q), kept[RANK];
    memcpy(kept, p, sizeof p);
    for (int d = 0; d < RANK; d++)
        p[d] += 0.01 * e * q[d], q[d] += 0.01 * e * kept[d];
    double f = 0.25 - dot(p, other);
    memcpy(kept, p, sizeof p);
    for (int d = 0; d < RANK; d++)
        p[d] += 0.01 * 0.5 * f * other[d], other[d] += 0.01 * 0.5 * f * kept[d];
    assert_true(fabs(run(&pair, &setup, &step, 1) - (e * e + 0.5 * f * f)) < 1e-4);
    assert_near(pair.p, p, 1e-5);
    assert_near(pair.q, q, 1e-5);
    assert_near(pair.other, other, 1e-5);
    factors_fini(&pair.factors);
}

static void draws_stay_in_their_range(void **state) {
    (void)state;
    const struct kernel_setup setup = {.loss = FIT_BPR_ROWS, .rank = 4};
    struct cell cells[200];
    struct kernel kernel;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){8, 40, 4, FACTORS_NO_STATE}), HYSGD_OK);
    for (int i = 0; i < 200; i++)
        cells[i] = (struct cell){(uint16_t)(i % 8), (uint16_t)(i % 2), 1};
    factors_start(&factors, FACTORS_NORMAL, 1, 1, 1);
    struct factors start = factors;
    const size_t bytes = 40 * factors.stride * sizeof(float);
    float before[40 * FACTORS_LANES];
    memcpy(before, start.sides[SIDE_COLUMNS].values, bytes);
    assert_int_equal(kernel_init(&kernel, &setup), HYSGD_OK);
    const struct tile tile = {.first_column = 10, .cells = cells, .count = 200};
    (void)kernel_run(&kernel, &factors, &tile,
                     &(struct kernel_step){.rate = 0.1f, .first_drawn = 20, .drawn_count = 5});
    for (uint32_t column = 0; column < 40; column++) {
        bool has_moved = memcmp(before + column * factors.stride, factors_column(&factors, column), 16) != 0;
        assert_int_equal(has_moved, (column >= 10 && column < 12) || (column >= 20 && column < 25));
    }
    factors_fini(&factors);
}

static void l1_makes_small_factors_zero_and_signs_are_kept(void **state) {
    (void)state;
    const struct kernel_setup setup = {.rank = RANK, .l1 = {0.5f, 0}};
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    memset(pair.q, 0, RANK * sizeof(float));
    pair.p[0] = 0.04f, pair.p[1] = -0.04f, pair.p[2] = -1, pair.p[3] = 1;
    (void)run(&pair, &setup, &(struct kernel_step){.rate = 0.125f}, 0);
    assert_true(pair.p[0] == 0 && pair.p[1] == 0 && pair.p[2] == -0.9375f && pair.p[3] == 0.9375f);
    factors_fini(&pair.factors);
}

static void factors_do_not_become_negative_when_asked(void **state) {
    (void)state;
    const struct kernel_setup setup = {.rank = RANK, .is_nonnegative = true};
    struct pair pair;
    pair_init(&pair, RULE_CONSTANT);
    (void)run(&pair, &setup, &(struct kernel_step){.rate = 1}, -100);
    for (int d = 0; d < RANK; d++)
        assert_true(pair.p[d] == 0 && pair.q[d] == 0);
    factors_fini(&pair.factors);
}

static void a_fixed_side_is_not_written(void **state) {
    (void)state;
    for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++) {
        const struct kernel_setup setup = {.rule = rule, .rank = RANK, .l2 = {0.1f, 0.1f}, .has_biases = true};
        const struct kernel_step step = {.rate = 0.1f, .momentum = 0.5f, .is_fixed = {[SIDE_COLUMNS] = true}};
        struct pair pair;
        pair_init(&pair, rule);
        float q[RANK], p = pair.p[0];
        const struct factor_extra extra = pair.factors.sides[SIDE_COLUMNS].extra[0];
        memcpy(q, pair.q, sizeof q);
        (void)run(&pair, &setup, &step, 5);
        assert_memory_equal(q, pair.q, sizeof q);
        assert_memory_equal(&extra, &pair.factors.sides[SIDE_COLUMNS].extra[0], sizeof extra);
        assert_true(p != pair.p[0] && pair.factors.sides[SIDE_ROWS].extra[0].bias != 0);
        factors_fini(&pair.factors);
    }
}

static void divergence_shows_in_the_loss(void **state) {
    (void)state;
    for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++) {
        const struct kernel_setup setup = {.rule = rule, .rank = RANK, .is_nonnegative = true};
        struct pair pair;
        pair_init(&pair, rule);
        pair.p[3] = NAN;
        assert_true(isnan(run(&pair, &setup, &(struct kernel_step){.rate = 0.1f}, 5)));
        assert_true(isnan(pair.p[3]));
        factors_fini(&pair.factors);
    }
}

static void a_falling_rate_follows_its_formula(void **state) {
    (void)state;
    assert_true(rule_rate(RULE_CONSTANT, 0.25, 3, 7) == 0.25);
    assert_true(rule_rate(RULE_DECAY, 0.25, 3, 0) == 0.25);
    assert_true(fabs(rule_rate(RULE_DECAY, 0.25, 3, 4) - 0.25 / 25) < 1e-15);
}

static void values_out_of_range_are_refused(void **state) {
    (void)state;
    struct kernel kernel;
    assert_int_equal(kernel_init(&kernel, &(struct kernel_setup){.rank = 0}), HYSGD_USAGE);
    assert_int_equal(kernel_init(&kernel, &(struct kernel_setup){.rank = 4, .l1 = {0, -1}}), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "a penalty or weight of -1: expected a number from 0");
    assert_int_equal(kernel_init(&kernel, &(struct kernel_setup){.rank = 4, .bias_l2 = NAN}), HYSGD_USAGE);
    assert_int_equal(kernel_init(&kernel, &(struct kernel_setup){.rank = 4, .loss = FIT_BPR_ROWS, .negatives = 1}),
                     HYSGD_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_step_follows_its_equations),
        cmocka_unit_test(nesterov_follows_the_accelerated_equations),
        cmocka_unit_test(adagrad_divides_by_the_root_of_each_sum),
        cmocka_unit_test(adagrad2_is_the_published_rule_of_the_peer),
        cmocka_unit_test(the_bias_of_adagrad2_steps_by_the_sum_so_far),
        cmocka_unit_test(every_step_goes_down_the_slope_of_its_loss),
        cmocka_unit_test(a_pair_pushes_the_winner_up_and_the_drawn_one_down),
        cmocka_unit_test(a_pair_without_another_to_draw_is_left_out),
        cmocka_unit_test(negatives_pull_other_columns_toward_their_value),
        cmocka_unit_test(draws_stay_in_their_range),
        cmocka_unit_test(l1_makes_small_factors_zero_and_signs_are_kept),
        cmocka_unit_test(factors_do_not_become_negative_when_asked),
        cmocka_unit_test(a_fixed_side_is_not_written),
        cmocka_unit_test(divergence_shows_in_the_loss),
        cmocka_unit_test(a_falling_rate_follows_its_formula),
        cmocka_unit_test(values_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
