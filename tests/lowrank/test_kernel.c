/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of lowrank/kernel.h against their equations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "lowrank/kernel.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_step_follows_its_equations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
