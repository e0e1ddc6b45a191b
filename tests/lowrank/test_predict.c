/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions in bulk and the first columns of many rows against one prediction at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "data/ratings.h"
#include "lowrank/predict.h"
#include "lowrank/recommend.h"

enum { ROWS = 29, COLUMNS = 75 };

static const uint32_t ranks[] = {1, 16, 17, 32, 100};
#define RANK_COUNT (sizeof ranks / sizeof *ranks)

static void factors_fill(struct factors *factors, uint32_t rank) {
    const struct factors_shape shape = {ROWS, COLUMNS, rank, FACTORS_NO_STATE};
    assert_int_equal(factors_init(factors, &shape), HYSGD_OK);
    factors_start(factors, FACTORS_NORMAL, 2, 1, 3);
    factors->mean = 3.5f;
    for (uint32_t row = 0; row < ROWS; row++)
        factors->sides[SIDE_ROWS].extra[row].bias = 0.01f * (float)row;
    for (uint32_t column = 0; column < COLUMNS; column++)
        factors->sides[SIDE_COLUMNS].extra[column].bias = -0.02f * (float)column;
}

static void many_predictions_are_those_of_one_at_a_time(void **state) {
    (void)state;
    for (size_t k = 0; k < RANK_COUNT; k++) {
        struct factors factors;
        struct rating ratings[50];
        float out[50];
        factors_fill(&factors, ranks[k]);
        for (uint32_t i = 0; i < 50; i++)
            ratings[i] = (struct rating){i % ROWS, i * 7 % COLUMNS, 0};
        predict_ratings(&factors, ratings, 50, out);
        for (uint32_t i = 0; i < 50; i++)
            assert_true(out[i] == factors_predict(&factors, ratings[i].row, ratings[i].column));
        factors_fini(&factors);
    }
}

static void score(const struct factors *factors, enum kernel_isa isa, uint32_t count, struct scorer *scorer,
                  float *scores) {
    const float *rows[ROWS];
    float bases[ROWS];
    for (uint32_t row = 0; row < count; row++) {
        rows[row] = factors_row(factors, row);
        bases[row] = factors->mean + factors->sides[SIDE_ROWS].extra[row].bias;
    }
    assert_int_equal(scorer_init(scorer, factors, isa), HYSGD_OK);
    scorer_run(scorer, rows, bases, count, scores);
}

static void scores_are_the_predictions_of_all_columns(void **state) {
    (void)state;
    static _Alignas(MEMORY_ALIGNMENT) float scores[ROWS * 80];
    for (size_t k = 0; k < RANK_COUNT; k++) {
        struct factors factors;
        struct scorer scorer;
        factors_fill(&factors, ranks[k]);
        score(&factors, KERNEL_BEST, ROWS, &scorer, scores);
        for (uint32_t row = 0; row < ROWS; row++)
            for (uint32_t column = 0; column < COLUMNS; column++) {
                float expected = factors_predict(&factors, row, column);
                assert_true(fabsf(scores[row * scorer.width + column] - expected) < 1e-5f);
            }
        scorer_fini(&scorer);
        factors_fini(&factors);
    }
}

static void scores_have_the_same_bits_on_any_processor(void **state) {
    (void)state;
    static _Alignas(MEMORY_ALIGNMENT) float plain[ROWS * 80], vector[ROWS * 80];
    for (size_t k = 0; k < RANK_COUNT; k++)
        for (enum kernel_isa isa = KERNEL_AVX2; isa <= kernel_best_isa(); isa++) {
            struct factors factors;
            struct scorer scorer;
            factors_fill(&factors, ranks[k]);
            score(&factors, KERNEL_PLAIN, ROWS, &scorer, plain);
            scorer_fini(&scorer);
            score(&factors, isa, ROWS, &scorer, vector);
            for (uint32_t row = 0; row < ROWS; row++)
                assert_memory_equal(plain + row * scorer.width, vector + row * scorer.width,
                                    COLUMNS * sizeof *plain);
            scorer_fini(&scorer);
            factors_fini(&factors);
        }
}

static void every_row_gets_its_best_columns_but_the_seen_ones(void **state) {
    (void)state;
    enum { K = 5, FIRST = 3 };
    struct factors factors;
    struct scorer scorer;
    struct team *team;
    struct lists seen;
    struct rating rated[COLUMNS];
    struct ranking_entry entries[(ROWS - FIRST) * K];
    uint32_t counts[ROWS - FIRST];
    factors_fill(&factors, 16);
    for (uint32_t column = 0; column < COLUMNS; column++)
        rated[column] = (struct rating){column < 72 ? 4 : column % 3, column, 1};
    assert_int_equal(lists_init(&seen, rated, COLUMNS, ROWS), HYSGD_OK);
    assert_int_equal(scorer_init(&scorer, &factors, KERNEL_BEST), HYSGD_OK);
    assert_int_equal(team_start(2, &team), HYSGD_OK);
    const struct recommend_setup setup = {team, &factors, &scorer, &seen, K};
    assert_int_equal(recommend_rows(&setup, FIRST, ROWS, entries, counts), HYSGD_OK);
    for (uint32_t row = FIRST; row < ROWS; row++) {
        const struct ranking_entry *top = &entries[(row - FIRST) * K];
        assert_int_equal(counts[row - FIRST], row == 4 ? 3 : K);
        for (uint32_t column = 0; column < COLUMNS; column++) {
            bool is_in = false, is_offered = row != 4 || column >= 72;
            for (uint32_t i = 0; i < counts[row - FIRST]; i++)
                is_in |= top[i].column == column;
            float last = top[counts[row - FIRST] - 1].score, own = factors_predict(&factors, row, column);
            assert_true(is_in ? is_offered && own >= last - 1e-5f : !is_offered || own <= last + 1e-5f);
        }
        for (uint32_t i = 1; i < counts[row - FIRST]; i++)
            assert_true(top[i - 1].score >= top[i].score);
    }
    team_stop(team);
    scorer_fini(&scorer);
    lists_fini(&seen);
    factors_fini(&factors);
}

static void an_exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct factors factors;
    struct scorer scorer;
    factors_fill(&factors, 16);
    const size_t before = memory_used();
    for (uint64_t n = 1; n <= 2; n++) {
        memory_fail_at(n);
        assert_int_equal(scorer_init(&scorer, &factors, KERNEL_BEST), HYSGD_MEMORY);
        scorer_fini(&scorer);
        assert_int_equal(memory_used(), before);
    }
    memory_fail_at(0);
    factors_fini(&factors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_predictions_are_those_of_one_at_a_time),
        cmocka_unit_test(scores_are_the_predictions_of_all_columns),
        cmocka_unit_test(scores_have_the_same_bits_on_any_processor),
        cmocka_unit_test(every_row_gets_its_best_columns_but_the_seen_ones),
        cmocka_unit_test(an_exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
