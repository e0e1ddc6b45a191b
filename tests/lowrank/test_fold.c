/* SPDX-License-Identifier: Apache-2.0 */
/* Folding in a row or a column beside known factors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "lowrank/fold.h"

enum { RANK = 5, OTHERS = 40 };

static void factors_fill(struct factors *factors) {
    const struct factors_shape shape = {OTHERS, OTHERS, RANK, FACTORS_NO_STATE};
    assert_int_equal(factors_init(factors, &shape), HYSGD_OK);
    factors_start(factors, FACTORS_NORMAL, 2, 1, 3);
    factors->mean = 3;
    for (uint32_t i = 0; i < OTHERS; i++) {
        factors->sides[SIDE_ROWS].extra[i].bias = 0.125f;
        factors->sides[SIDE_COLUMNS].extra[i].bias = -0.25f;
    }
}

/* What a known row would rate. */
static void rate(const struct factors *factors, uint32_t row, struct fold_rating *ratings) {
    for (uint32_t i = 0; i < OTHERS; i++)
        ratings[i] = (struct fold_rating){i, factors_predict(factors, row, i)};
}

static void the_ratings_of_a_known_row_give_back_its_factors(void **state) {
    (void)state;
    struct factors factors;
    struct fold_rating ratings[OTHERS];
    const struct kernel_setup kernel = {.rank = RANK, .has_biases = true};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    rate(&factors, 7, ratings);
    assert_int_equal(fold_in(&setup, &factors, ratings, OTHERS, values, &bias), HYSGD_OK);
    for (int d = 0; d < FACTORS_LANES; d++)
        assert_true(fabsf(values[d] - factors_row(&factors, 7)[d]) < 1e-4f);
    assert_true(fabsf(bias - 0.125f) < 1e-4f);
    factors_fini(&factors);
}

/* Half the derivative of the objective by each unknown. */
static void the_minimum_has_no_slope(void **state) {
    (void)state;
    struct factors factors;
    struct fold_rating ratings[3] = {{4, 1}, {9, 5}, {30, 2}};
    const struct kernel_setup kernel = {.rank = RANK, .l2 = {9, 0.5f}, .bias_l2 = 0.25f, .has_biases = true};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_COLUMNS};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    assert_int_equal(fold_in(&setup, &factors, ratings, 3, values, &bias), HYSGD_OK);
    double slopes[RANK + 1] = {0};
    for (int n = 0; n < 3; n++) {
        const float *row = factors_row(&factors, ratings[n].other);
        double error = (double)(ratings[n].value - 3.125f - bias);
        for (int d = 0; d < RANK; d++)
            error -= (double)(values[d] * row[d]);
        for (int d = 0; d < RANK; d++)
            slopes[d] += error * (double)row[d] - 0.5 * (double)values[d];
        slopes[RANK] += error - 0.25 * (double)bias;
    }
    for (int d = 0; d <= RANK; d++)
        assert_true(fabs(slopes[d]) < 1e-4);
    factors_fini(&factors);
}

static void fewer_ratings_than_factors_need_no_penalty(void **state) {
    (void)state;
    struct factors factors;
    const struct fold_rating rating = {4, 2};
    const struct kernel_setup kernel = {.rank = RANK};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    assert_int_equal(fold_in(&setup, &factors, &rating, 1, values, &bias), HYSGD_OK);
    double s = 3;
    for (int d = 0; d < RANK; d++)
        s += (double)(values[d] * factors_column(&factors, 4)[d]);
    assert_true(fabs(s - 2) < 1e-3 && bias == 0);
    factors_fini(&factors);
}

static double mean_loss(const struct kernel_setup *kernel, const struct fold_setup *setup,
                        const struct factors *factors, const struct fold_rating *ratings, uint32_t epochs) {
    struct fold_setup with = *setup;
    float values[FACTORS_LANES], bias;
    double sum = 0;
    with.epochs = epochs;
    assert_int_equal(fold_in(&with, factors, ratings, OTHERS, values, &bias), HYSGD_OK);
    for (uint32_t i = 0; i < OTHERS; i++) {
        double s = (double)(factors->mean + (kernel->has_biases ? bias - 0.25f : 0));
        for (int d = 0; d < RANK; d++)
            s += (double)(values[d] * factors_column(factors, i)[d]);
        sum += kernel->loss == FIT_LOGISTIC ? log1p(exp(ratings[i].value > 0 ? -s : s))
                                            : fabs((double)ratings[i].value - s);
    }
    return sum / OTHERS;
}

static void other_losses_are_brought_down_by_passes(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct factors factors;
        struct fold_rating ratings[OTHERS];
        const struct kernel_setup kernel = {
            .loss = i ? FIT_LOGISTIC : FIT_ABSOLUTE, .rank = RANK, .has_biases = true};
        const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS, .rate = 0.1f, .seed = 1};
        factors_fill(&factors);
        factors.mean = 0;
        rate(&factors, 7, ratings);
        double one = mean_loss(&kernel, &setup, &factors, ratings, 1);
        double many = mean_loss(&kernel, &setup, &factors, ratings, 60);
        assert_true(many < 0.6 * one);
        factors_fini(&factors);
    }
}

static void the_model_is_not_changed(void **state) {
    (void)state;
    struct factors factors, copy;
    struct fold_rating ratings[OTHERS];
    const struct kernel_setup kernel = {.loss = FIT_BPR_ROWS, .rank = RANK, .has_biases = true};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS, .rate = 0.1f, .epochs = 3};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    factors_fill(&copy);
    rate(&factors, 7, ratings);
    assert_int_equal(fold_in(&setup, &factors, ratings, 10, values, &bias), HYSGD_OK);
    for (int s = 0; s < SIDE_COUNT; s++) {
        assert_memory_equal(factors.sides[s].values, copy.sides[s].values, OTHERS * FACTORS_LANES * sizeof(float));
        assert_memory_equal(factors.sides[s].extra, copy.sides[s].extra, OTHERS * sizeof(struct factor_extra));
    }
    assert_true(values[0] != 0);
    factors_fini(&factors);
    factors_fini(&copy);
}

static void no_ratings_give_zeros(void **state) {
    (void)state;
    struct factors factors;
    const struct kernel_setup kernel = {.rank = RANK, .has_biases = true};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS};
    float values[FACTORS_LANES] = {1}, bias = 1;
    factors_fill(&factors);
    assert_int_equal(fold_in(&setup, &factors, NULL, 0, values, &bias), HYSGD_OK);
    assert_true(values[0] == 0 && bias == 0);
    factors_fini(&factors);
}

static void what_cannot_be_folded_in_is_refused(void **state) {
    (void)state;
    struct factors factors;
    const struct fold_rating far = {OTHERS, 1};
    struct kernel_setup kernel = {.rank = RANK};
    const struct fold_setup setup = {.kernel = &kernel, .side = SIDE_ROWS, .rate = 0.1f, .epochs = 1};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    assert_int_equal(fold_in(&setup, &factors, &far, 1, values, &bias), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "column 40 of rating 0: expected less than 40");
    kernel.loss = FIT_BPR_COLUMNS;
    assert_int_equal(fold_in(&setup, &factors, &far, 1, values, &bias), HYSGD_USAGE);
    const struct fold_rating infinite = {1, INFINITY};
    kernel.loss = FIT_SQUARED;
    assert_int_equal(fold_in(&setup, &factors, &infinite, 1, values, &bias), HYSGD_DIVERGED);
    factors_fini(&factors);
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct factors factors;
    const struct fold_rating rating = {1, 1};
    const struct kernel_setup squares = {.rank = RANK}, steps = {.rank = RANK, .loss = FIT_ABSOLUTE};
    float values[FACTORS_LANES], bias;
    factors_fill(&factors);
    const size_t before = memory_used();
    for (uint64_t n = 1; n <= 4; n++) {
        const struct fold_setup setup = {
            .kernel = n <= 2 ? &squares : &steps, .side = SIDE_ROWS, .rate = 0.1f, .epochs = 1};
        memory_fail_at((n - 1) % 2 + 1);
        assert_int_equal(fold_in(&setup, &factors, &rating, 1, values, &bias), HYSGD_MEMORY);
        assert_int_equal(memory_used(), before);
    }
    memory_fail_at(0);
    factors_fini(&factors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ratings_of_a_known_row_give_back_its_factors),
        cmocka_unit_test(the_minimum_has_no_slope),
        cmocka_unit_test(fewer_ratings_than_factors_need_no_penalty),
        cmocka_unit_test(other_losses_are_brought_down_by_passes),
        cmocka_unit_test(the_model_is_not_changed),
        cmocka_unit_test(no_ratings_give_zeros),
        cmocka_unit_test(what_cannot_be_folded_in_is_refused),
        cmocka_unit_test(exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
