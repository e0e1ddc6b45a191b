/* SPDX-License-Identifier: Apache-2.0 */
/* Generated ratings: their number, their truth, and who has how many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "data/folder.h"
#include "data/opened.h"
#include "data/popularity.h"
#include "data/ratings.h"

static const struct ratings_split *open_planted(struct opened *opened, const char *text) {
    if (opened_init(opened, text, 1) != HYSGD_OK)
        fail_msg("%s: %s", text, hysgd_error_message());
    const struct ratings_split *split = data_ratings(&opened->plugin);
    assert_non_null(split);
    return split;
}

static void no_pair_is_generated_twice(void **state) {
    (void)state;
    struct opened opened;
    const struct ratings_split *split = open_planted(&opened, "planted,users=40,items=30,ratings=1100,split=none");
    char met[40][30] = {{0}};
    assert_int_equal(split->train.count, 1100);
    for (uint64_t i = 0; i < 1100; i++)
        assert_int_equal(met[split->train.entries[i].row][split->train.entries[i].column]++, 0);
    opened_fini(&opened);
}

static void the_oracle_is_the_noise(void **state) {
    (void)state;
    struct opened opened;
    const struct ratings_split *split = open_planted(&opened, "planted,noise=0.5");
    assert_float_equal(split->oracle, 0.5, 0.005);
    opened_fini(&opened);
    split = open_planted(&opened, "planted,noise=0.5,step=1");
    assert_float_equal(split->oracle, sqrt(0.25 + 1 / 12.), 0.005);
    opened_fini(&opened);
}

static void the_values_have_the_stated_mean_and_deviation(void **state) {
    (void)state;
    struct opened opened;
    const struct ratings_split *split = open_planted(&opened, "planted,mean=2,signal=3,noise=1,split=none");
    double squares = 0;
    for (uint64_t i = 0; i < split->train.count; i++)
        squares += pow((double)split->train.entries[i].value - 2, 2);
    assert_float_equal(split->train.mean, 2, 0.1);
    assert_float_equal(squares / (double)split->train.count, 10, 1);
    opened_fini(&opened);
}

/* Without noise every pair of users has proportional ratings at rank 1. */
static void the_truth_has_the_planted_rank(void **state) {
    (void)state;
    struct opened opened;
    double value[6][5];
    const struct ratings_split *split =
        open_planted(&opened, "planted,users=6,items=5,ratings=30,rank=1,noise=0,mean=0,split=none");
    for (uint64_t i = 0; i < 30; i++)
        value[split->train.entries[i].row][split->train.entries[i].column] = (double)split->train.entries[i].value;
    for (int r = 1; r < 6; r++)
        for (int c = 1; c < 5; c++)
            assert_float_equal(value[0][0] * value[r][c], value[0][c] * value[r][0], 1e-6);
    assert_true(split->oracle < 1e-7);
    opened_fini(&opened);
}

static void the_shapes_have_the_numbers_of_their_data_sets(void **state) {
    (void)state;
    struct opened opened;
    const struct ratings_split *split = open_planted(&opened, "planted:ml-1m");
    assert_int_equal(split->all.count, 1000209);
    assert_int_equal(split->all.rows.count, 6040);
    assert_int_equal(split->all.columns.count, 3706);
    assert_int_equal(ids_find(&split->all.rows, "6040", 4), 6039);
    opened_fini(&opened);
}

static void skew_zero_makes_all_users_alike(void **state) {
    (void)state;
    struct opened opened;
    const struct ratings_split *split =
        open_planted(&opened, "planted,users=50,items=100,ratings=1000,user-skew=0,split=none");
    int counts[50] = {0};
    for (uint64_t i = 0; i < 1000; i++)
        counts[split->train.entries[i].row]++;
    for (int row = 0; row < 50; row++)
        assert_int_equal(counts[row], 20);
    opened_fini(&opened);
}

static void what_cannot_be_generated_is_refused(void **state) {
    (void)state;
    struct opened opened;
    assert_int_equal(opened_init(&opened, "planted,users=5,items=5,ratings=26", 1), HYSGD_USAGE);
    assert_message("data planted: 26 ratings of 5 items by 5 users: expected at most one for each pair");
    assert_int_equal(opened_init(&opened, "planted,split=time:0.1", 1), HYSGD_USAGE);
    assert_message("data planted: split=time:0.1: generated ratings have no time stamps");
    assert_int_equal(opened_init(&opened, "planted,split=half", 1), HYSGD_USAGE);
    assert_message("data planted: split=half is not valid");
}

static void shares_keep_their_total_and_limits(void **state) {
    (void)state;
    static const struct {
        uint64_t total, most;
        uint32_t count;
    } cases[] = {{1000, 30, 50}, {1500, 30, 50}, {50, 30, 50}, {20, 30, 50}, {1, 1, 1}, {1499, 30, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t firsts[51];
        struct random random;
        random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, i);
        assert_int_equal(popularity_share(&random, 1.5, cases[i].total, cases[i].most, cases[i].count, firsts),
                         HYSGD_OK);
        assert_int_equal(firsts[0], 0);
        assert_int_equal(firsts[cases[i].count], cases[i].total);
        for (uint32_t k = 0; k < cases[i].count; k++) {
            assert_true(firsts[k + 1] - firsts[k] <= cases[i].most);
            assert_true(firsts[k + 1] > firsts[k] || cases[i].total < cases[i].count);
        }
    }
}

/* Without skew all numbers are drawn alike; with much, the most frequent far more than the median. */
static void draws_follow_the_skew(void **state) {
    (void)state;
    for (int skew = 0; skew < 3; skew += 2) {
        struct popularity popularity;
        struct random random;
        int counts[20] = {0}, most = 0, least = 200000;
        random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 1);
        assert_int_equal(popularity_init(&popularity, &random, skew, 20), HYSGD_OK);
        for (int i = 0; i < 200000; i++)
            counts[popularity_draw(&popularity, &random)]++;
        for (int i = 0; i < 20; i++) {
            most = counts[i] > most ? counts[i] : most;
            least = counts[i] < least ? counts[i] : least;
        }
        if (skew == 0)
            assert_true(least > 9600 && most < 10400); /* the deviation is 97 */
        else
            assert_true(most > 30000 && least < 2000);
        popularity_fini(&popularity);
    }
}

/* The probability of each number is what the weights say: the alias table loses nothing. */
static void an_alias_table_holds_the_whole_probability(void **state) {
    (void)state;
    struct popularity popularity;
    struct random random, again;
    double sum = 0, weights[100], chances[100] = {0};
    random_init(&random, 3, RANDOM_NO_WORKER, RANDOM_TEST, 1);
    again = random;
    assert_int_equal(popularity_init(&popularity, &random, 1.5, 100), HYSGD_OK);
    for (int i = 0; i < 100; i++)
        sum += weights[i] = exp(1.5 * random_normal(&again));
    for (int i = 0; i < 100; i++) {
        double own = (double)popularity.limits[i] * 0x1p-32 / 100;
        chances[i] += own;
        chances[popularity.aliases[i]] += 0.01 - own;
    }
    for (int i = 0; i < 100; i++)
        assert_float_equal(chances[i], weights[i] / sum, 1e-9);
    popularity_fini(&popularity);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_pair_is_generated_twice),
        cmocka_unit_test(the_oracle_is_the_noise),
        cmocka_unit_test(the_values_have_the_stated_mean_and_deviation),
        cmocka_unit_test(the_truth_has_the_planted_rank),
        cmocka_unit_test(the_shapes_have_the_numbers_of_their_data_sets),
        cmocka_unit_test(skew_zero_makes_all_users_alike),
        cmocka_unit_test(what_cannot_be_generated_is_refused),
        cmocka_unit_test(shares_keep_their_total_and_limits),
        cmocka_unit_test(draws_follow_the_skew),
        cmocka_unit_test(an_alias_table_holds_the_whole_probability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
