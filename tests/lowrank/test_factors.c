/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, start values and single predictions of lowrank/factors.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "lowrank/factors.h"

static void padding_stays_zero(void **state) {
    (void)state;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){3, 2, 19, FACTORS_NO_STATE}), HYSGD_OK);
    factors_start(&factors, FACTORS_NORMAL, 1, 1, 5);
    assert_int_equal(factors.stride, 32);
    for (uint32_t row = 0; row < 3; row++)
        for (uint32_t d = 0; d < factors.stride; d++)
            assert_true((factors_row(&factors, row)[d] != 0) == (d < 19));
    factors_fini(&factors);
}

static void start_values_have_the_asked_scale(void **state) {
    (void)state;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){500, 500, 16, FACTORS_NO_STATE}), HYSGD_OK);
    double squares = 0, sum = 0;
    factors_start(&factors, FACTORS_NORMAL, 2, 1, 5);
    for (size_t i = 0; i < 8000; i++)
        squares += pow(factors.sides[SIDE_ROWS].values[i], 2);
    assert_true(fabs(sqrt(squares / 8000) - 0.5) < 0.02);
    factors_start(&factors, FACTORS_POSITIVE, 2, 1, 5);
    for (size_t i = 0; i < 8000; i++) {
        float value = factors.sides[SIDE_COLUMNS].values[i];
        assert_true(value >= 0 && value < 0.5f);
        sum += value;
    }
    assert_true(fabs(sum / 8000 - 0.25) < 0.01);
    factors_fini(&factors);
}

static void start_values_do_not_depend_on_who_draws_them(void **state) {
    (void)state;
    struct factors whole, parts;
    const struct factors_shape shape = {7, 5, 20, FACTORS_SUMS};
    assert_int_equal(factors_init(&whole, &shape), HYSGD_OK);
    assert_int_equal(factors_init(&parts, &shape), HYSGD_OK);
    factors_start(&whole, FACTORS_NORMAL, 1, 0.5f, 9);
    factors_start_part(&parts, SIDE_ROWS, 3, 7, NULL, FACTORS_NORMAL, 1, 0.5f, 9);
    factors_start_part(&parts, SIDE_ROWS, 0, 3, NULL, FACTORS_NORMAL, 1, 0.5f, 9);
    assert_memory_equal(whole.sides[SIDE_ROWS].values, parts.sides[SIDE_ROWS].values, 7 * 32 * sizeof(float));
    assert_memory_equal(whole.sides[SIDE_ROWS].state, parts.sides[SIDE_ROWS].state, 7 * 32 * sizeof(float));
    assert_true(whole.sides[SIDE_ROWS].values[0] != whole.sides[SIDE_COLUMNS].values[0]);
    assert_true(whole.sides[SIDE_ROWS].state[31] == 0.5f);
    factors_fini(&whole);
    factors_fini(&parts);
}

static void velocities_start_at_rest(void **state) {
    (void)state;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){1, 1, 4, FACTORS_VELOCITY}), HYSGD_OK);
    factors_start(&factors, FACTORS_POSITIVE, 1, 1, 1);
    assert_true(factors.sides[SIDE_ROWS].state[0] == 0 && factors.sides[SIDE_ROWS].extra[0].bias_state == 0);
    assert_true(factors.sides[SIDE_ROWS].extra[0].sums[1] == 1);
    factors_fini(&factors);
}

static void a_prediction_adds_mean_biases_and_product(void **state) {
    (void)state;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){2, 2, 17, FACTORS_NO_STATE}), HYSGD_OK);
    for (uint32_t d = 0; d < 17; d++) {
        factors_row(&factors, 1)[d] = (float)d;
        factors_column(&factors, 0)[d] = 2;
    }
    factors.mean = 3;
    factors.sides[SIDE_ROWS].extra[1].bias = 0.5f;
    factors.sides[SIDE_COLUMNS].extra[0].bias = -0.25f;
    assert_true(factors_predict(&factors, 1, 0) == 3.25f + 2 * 136);
    assert_true(factors_predict(&factors, 0, 1) == 3);
    factors_fini(&factors);
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    const size_t before = memory_used();
    for (uint64_t n = 1; n <= 6; n++) {
        struct factors factors;
        memory_fail_at(n);
        assert_int_equal(factors_init(&factors, &(struct factors_shape){2, 2, 3, FACTORS_SUMS}), HYSGD_MEMORY);
        factors_fini(&factors);
        assert_int_equal(memory_used(), before);
    }
    memory_fail_at(0);
}

static void a_rank_out_of_range_is_refused(void **state) {
    (void)state;
    struct factors factors;
    assert_int_equal(factors_init(&factors, &(struct factors_shape){2, 2, 0, FACTORS_SUMS}), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "rank 0: expected 1 to 65536");
    factors_fini(&factors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(start_values_have_the_asked_scale),
        cmocka_unit_test(start_values_do_not_depend_on_who_draws_them),
        cmocka_unit_test(velocities_start_at_rest),
        cmocka_unit_test(a_prediction_adds_mean_biases_and_product),
        cmocka_unit_test(exhausted_memory_is_a_status),
        cmocka_unit_test(a_rank_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
