/* SPDX-License-Identifier: Apache-2.0 */
/* Ranking metrics: against numbers worked out by hand, and against a brute-force reference that looks at every pair
 * and sorts everything. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/random.h"
#include "lowrank/ranking.h"

#define MOST 40

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof *(array))

static void check_near(double value, double expected, double tolerance) {
    assert_true(fabs(value - expected) <= tolerance);
}

static struct ranking judge(struct ranking_row row, uint32_t k) {
    struct ranking ranking = {0};
    float scratch[MOST];
    ranking_add(&ranking, &row, k, scratch);
    return ranking;
}

static void a_row_is_judged_as_by_hand(void **state) {
    (void)state;
    static const float scores[] = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f};
    static const uint32_t seen[] = {0}, relevant[] = {2, 5};
    struct ranking ranking = judge((struct ranking_row){scores, COUNT(scores), seen, 1, relevant, 2}, 3);
    /* The order is 1, 2, 3, 4, 5; of the pairs (2 or 5) x (1, 3, 4) two are right. */
    assert_int_equal(ranking.rows, 1);
    check_near(ranking.auc, 2.0 / 6, 1e-12);
    check_near(ranking.precision, 1.0 / 3, 1e-12);
    check_near(ranking.recall, 0.5, 1e-12);
    check_near(ranking.ndcg, (1 / log2(3)) / (1 + 1 / log2(3)), 1e-12);
    check_near(ranking.hits, 1, 0);
}

static void a_row_without_anything_to_tell_apart_does_not_count(void **state) {
    (void)state;
    static const float scores[] = {1, 2};
    static const uint32_t both[] = {0, 1};
    assert_int_equal(judge((struct ranking_row){scores, 2, NULL, 0, NULL, 0}, 1).rows, 0);
    assert_int_equal(judge((struct ranking_row){scores, 2, NULL, 0, both, 2}, 1).rows, 0);
    assert_int_equal(judge((struct ranking_row){scores, 2, both, 2, both, 2}, 1).rows, 0);
    assert_int_equal(judge((struct ranking_row){scores, 2, both, 1, both + 1, 1}, 1).rows, 0);
}

static void equal_scores_are_half_a_pair_and_come_by_number(void **state) {
    (void)state;
    static const float scores[] = {1, 1, 1, 1};
    static const uint32_t relevant[] = {1};
    struct ranking_entry top[2];
    const struct ranking_row row = {scores, 4, NULL, 0, relevant, 1};
    check_near(judge(row, 1).auc, 0.5, 1e-12);
    assert_int_equal(ranking_top(&row, 2, top), 2);
    assert_int_equal(top[0].column, 0);
    assert_int_equal(top[1].column, 1);
}

static void scores_that_are_no_numbers_come_last(void **state) {
    (void)state;
    const float scores[] = {NAN, -1e30f, NAN, 3};
    struct ranking_entry top[4];
    const struct ranking_row row = {scores, 4, NULL, 0, NULL, 0};
    assert_int_equal(ranking_top(&row, 4, top), 4);
    assert_int_equal(top[0].column, 3);
    assert_int_equal(top[1].column, 1);
    assert_int_equal(top[2].column, 0);
    assert_int_equal(top[3].column, 2);
}

static void fewer_candidates_than_k_are_all_given(void **state) {
    (void)state;
    static const float scores[] = {1, 3, 2};
    static const uint32_t seen[] = {1};
    struct ranking_entry top[5];
    const struct ranking_row row = {scores, 3, seen, 1, NULL, 0};
    assert_int_equal(ranking_top(&row, 5, top), 2);
    assert_int_equal(top[0].column, 2);
    assert_int_equal(top[1].column, 0);
    assert_int_equal(ranking_top(&row, 0, top), 0);
}

static void means_are_over_the_rows_and_merge(void **state) {
    (void)state;
    static const float scores[] = {2, 1};
    static const uint32_t first[] = {0}, second[] = {1};
    struct ranking good = judge((struct ranking_row){scores, 2, NULL, 0, first, 1}, 1);
    struct ranking bad = judge((struct ranking_row){scores, 2, NULL, 0, second, 1}, 1);
    struct ranking none = {0};
    ranking_merge(&good, &bad);
    check_near(ranking_mean(&good).auc, 0.5, 0);
    check_near(ranking_mean(&good).precision, 0.5, 0);
    check_near(ranking_mean(&good).ndcg, 0.5, 0);
    check_near(ranking_mean(&good).recall, 0.5, 0);
    check_near(ranking_mean(&good).hits, 0.5, 0);
    assert_true(isnan(ranking_mean(&none).auc));
}

/* ---- The reference ---- */

static bool has(const uint32_t *list, uint32_t count, uint32_t column) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == column)
            return true;
    return false;
}

/* The place of a candidate: how many others come before it. */
static uint32_t place_of(const struct ranking_row *row, uint32_t column) {
    uint32_t place = 0;
    for (uint32_t i = 0; i < row->count; i++)
        place += !has(row->seen, row->seen_count, i) &&
                 (row->scores[i] > row->scores[column] || (row->scores[i] == row->scores[column] && i < column));
    return place;
}

static struct ranking judge_slowly(const struct ranking_row *row, uint32_t k) {
    struct ranking sums = {0};
    double right = 0, pairs = 0, gain = 0, best = 0, hits = 0, relevant = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        if (has(row->seen, row->seen_count, i) || !has(row->relevant, row->relevant_count, i))
            continue;
        uint32_t place = place_of(row, i);
        best += relevant < k ? 1 / log2(2 + relevant) : 0;
        relevant++;
        hits += place < k;
        gain += place < k ? 1 / log2(2 + (double)place) : 0;
        for (uint32_t j = 0; j < row->count; j++) {
            if (has(row->seen, row->seen_count, j) || has(row->relevant, row->relevant_count, j))
                continue;
            pairs++;
            right += row->scores[i] > row->scores[j] ? 1 : row->scores[i] == row->scores[j] ? 0.5 : 0;
        }
    }
    if (relevant > 0 && pairs > 0)
        sums = (struct ranking){1, right / pairs, hits / k, hits / relevant, gain / best, hits > 0};
    return sums;
}

/* A random ascending list of columns below `count`, each with probability 1/`one_in`. */
static uint32_t draw_list(struct random *random, uint32_t count, uint64_t one_in, uint32_t *list_out) {
    uint32_t length = 0;
    for (uint32_t i = 0; i < count; i++)
        if (random_below(random, one_in) == 0)
            list_out[length++] = i;
    return length;
}

static void random_rows_are_judged_as_by_the_reference(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    for (int round = 0; round < 2000; round++) {
        float scores[MOST];
        uint32_t seen[MOST], relevant[MOST], count = 1 + (uint32_t)random_below(&random, MOST);
        uint32_t k = 1 + (uint32_t)random_below(&random, 12);
        for (uint32_t i = 0; i < count; i++)
            scores[i] = (float)random_below(&random, 15); /* with many ties */
        uint32_t seen_count = draw_list(&random, count, 4, seen);
        uint32_t relevant_count = draw_list(&random, count, 3, relevant);
        const struct ranking_row row = {scores, count, seen, seen_count, relevant, relevant_count};
        struct ranking fast = judge(row, k), slow = judge_slowly(&row, k);
        assert_int_equal(fast.rows, slow.rows);
        check_near(fast.auc, slow.auc, 1e-12);
        check_near(fast.precision, slow.precision, 1e-12);
        check_near(fast.recall, slow.recall, 1e-12);
        check_near(fast.ndcg, slow.ndcg, 1e-12);
        check_near(fast.hits, slow.hits, 0);
    }
}

static void the_first_k_are_those_of_a_full_sort(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 2, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    for (int round = 0; round < 1000; round++) {
        float scores[MOST];
        uint32_t seen[MOST], count = 1 + (uint32_t)random_below(&random, MOST);
        struct ranking_entry top[MOST];
        for (uint32_t i = 0; i < count; i++)
            scores[i] = (float)random_below(&random, 20);
        uint32_t seen_count = draw_list(&random, count, 5, seen);
        const struct ranking_row row = {scores, count, seen, seen_count, NULL, 0};
        uint32_t k = 1 + (uint32_t)random_below(&random, MOST), candidates = count - seen_count;
        assert_int_equal(ranking_top(&row, k, top), k < candidates ? k : candidates);
        for (uint32_t i = 0; i < k && i < candidates; i++) {
            assert_false(has(seen, seen_count, top[i].column));
            assert_int_equal(place_of(&row, top[i].column), i);
            assert_true(top[i].score == scores[top[i].column]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_judged_as_by_hand),
        cmocka_unit_test(a_row_without_anything_to_tell_apart_does_not_count),
        cmocka_unit_test(equal_scores_are_half_a_pair_and_come_by_number),
        cmocka_unit_test(scores_that_are_no_numbers_come_last),
        cmocka_unit_test(fewer_candidates_than_k_are_all_given),
        cmocka_unit_test(means_are_over_the_rows_and_merge),
        cmocka_unit_test(random_rows_are_judged_as_by_the_reference),
        cmocka_unit_test(the_first_k_are_those_of_a_full_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
