/* SPDX-License-Identifier: Apache-2.0 */
/* linalg/elements.h in both element types, at lengths around the widths of vector registers, and in place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "linalg/elements.h"

#define MOST 131

static const size_t lengths[] = {0, 1, 15, 16, 31, 33, 64, 131};
#define LENGTH_COUNT (sizeof lengths / sizeof *lengths)

static float a[MOST], b[MOST], value[MOST], out[MOST];
static uint16_t short_a[MOST], short_b[MOST], short_value[MOST], short_out[MOST];

static float wide(uint16_t bits) {
    uint32_t whole = (uint32_t)bits << 16;
    float result;
    memcpy(&result, &whole, sizeof result);
    return result;
}

/* Round to nearest even by searching: the nearer of the two neighbours, the even one when both are as near. */
static uint16_t narrow(float exact) {
    uint32_t bits;
    memcpy(&bits, &exact, sizeof bits);
    uint16_t low = (uint16_t)(bits >> 16), high = (uint16_t)(low + 1);
    double below = fabs((double)exact - (double)wide(low)), above = fabs((double)wide(high) - (double)exact);
    return below < above || (below == above && low % 2 == 0) ? low : high;
}

static int fill(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 9, 0, RANDOM_TEST, 0);
    random_fill_normal(&random, a, MOST);
    random_fill_normal(&random, b, MOST);
    random_fill_normal(&random, value, MOST);
    value[3] = 0;
    value[4] = -0.0f;
    for (size_t i = 0; i < MOST; i++) {
        short_a[i] = narrow(a[i]);
        short_b[i] = narrow(b[i]);
        short_value[i] = narrow(value[i]);
    }
    memset(out, 1, sizeof out);
    memset(short_out, 1, sizeof short_out);
    return 0;
}

static void relu_keeps_what_is_positive(void **state) {
    (void)state;
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        elements_relu(ELEMENT_FLOAT, value, out, lengths[l]);
        elements_relu(ELEMENT_BFLOAT16, short_value, short_out, lengths[l]);
        for (size_t i = 0; i < lengths[l]; i++) {
            assert_true(out[i] == (value[i] > 0 ? value[i] : 0));
            assert_true(wide(short_out[i]) == (wide(short_value[i]) > 0 ? wide(short_value[i]) : 0));
        }
    }
}

static void sums_are_rounded_once(void **state) {
    (void)state;
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        elements_add(ELEMENT_FLOAT, a, b, false, out, lengths[l]);
        elements_add(ELEMENT_BFLOAT16, short_a, short_b, false, short_out, lengths[l]);
        for (size_t i = 0; i < lengths[l]; i++) {
            assert_true(out[i] == a[i] + b[i]);
            assert_int_equal(short_out[i], narrow(wide(short_a[i]) + wide(short_b[i])));
        }
    }
}

static void sums_may_end_in_a_relu(void **state) {
    (void)state;
    elements_add(ELEMENT_FLOAT, a, b, true, out, MOST);
    elements_add(ELEMENT_BFLOAT16, short_a, short_b, true, short_out, MOST);
    for (size_t i = 0; i < MOST; i++) {
        const float sum = a[i] + b[i], short_sum = wide(short_a[i]) + wide(short_b[i]);
        assert_true(out[i] == (sum > 0 ? sum : 0));
        assert_int_equal(short_out[i], narrow(short_sum > 0 ? short_sum : 0));
    }
}

static void a_gate_is_open_where_the_value_is_positive(void **state) {
    (void)state;
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        elements_gate(ELEMENT_FLOAT, a, NULL, value, out, lengths[l]);
        elements_gate(ELEMENT_BFLOAT16, short_a, NULL, short_value, short_out, lengths[l]);
        for (size_t i = 0; i < lengths[l]; i++) {
            assert_true(out[i] == (value[i] > 0 ? a[i] : 0));
            assert_int_equal(short_out[i], wide(short_value[i]) > 0 ? short_a[i] : 0);
        }
    }
}

static void a_gate_may_add_and_write_over_its_input(void **state) {
    (void)state;
    memcpy(out, a, sizeof out);
    memcpy(short_out, short_a, sizeof short_out);
    elements_gate(ELEMENT_FLOAT, out, b, value, out, MOST);
    elements_gate(ELEMENT_BFLOAT16, short_out, short_b, short_value, short_out, MOST);
    for (size_t i = 0; i < MOST; i++) {
        assert_true(out[i] == (value[i] > 0 ? a[i] + b[i] : 0));
        assert_int_equal(short_out[i], wide(short_value[i]) > 0 ? narrow(wide(short_a[i]) + wide(short_b[i])) : 0);
    }
}

static void each_row_gets_the_bias(void **state) {
    (void)state;
    const float bias[3] = {1, -1, 0.5f};
    for (int is_relu = 0; is_relu < 2; is_relu++) {
        memcpy(out, a, sizeof out);
        elements_bias(bias, is_relu, out, 40, 3);
        for (size_t i = 0; i < 120; i++) {
            const float sum = a[i] + bias[i % 3];
            assert_true(out[i] == (is_relu && !(sum > 0) ? 0 : sum));
        }
        assert_true(out[120] == a[120]);
    }
    memcpy(out, a, sizeof out);
    elements_bias(NULL, true, out, 40, 3);
    for (size_t i = 0; i < 120; i++)
        assert_true(out[i] == (a[i] > 0 ? a[i] : 0));
}

static void factors_stay_in_float(void **state) {
    (void)state;
    elements_multiply(ELEMENT_FLOAT, a, b, out, MOST);
    elements_multiply(ELEMENT_BFLOAT16, short_a, b, short_out, MOST);
    for (size_t i = 0; i < MOST; i++) {
        assert_true(out[i] == a[i] * b[i]);
        assert_int_equal(short_out[i], narrow(wide(short_a[i]) * b[i]));
    }
}

static void a_nan_stays_a_nan_in_bfloat16(void **state) {
    (void)state;
    const uint16_t nans[2] = {0x7f81, 0xffff}, one[2] = {0x3f80, 0x3f80};
    uint16_t sums[2];
    elements_add(ELEMENT_BFLOAT16, nans, one, false, sums, 2);
    assert_true(isnan(wide(sums[0])) && isnan(wide(sums[1])));
    const uint16_t large[1] = {0x7f7f};
    elements_add(ELEMENT_BFLOAT16, large, large, false, sums, 1);
    assert_true(isinf(wide(sums[0])));
}

static void relu_hides_no_nan(void **state) {
    (void)state;
    const float nans[] = {NAN, -NAN, -1, -INFINITY};
    float kept[4];
    elements_relu(ELEMENT_FLOAT, nans, kept, 4);
    assert_true(isnan(kept[0]) && isnan(kept[1]) && kept[2] == 0 && kept[3] == 0);
    const uint16_t short_nans[] = {0x7f81, 0xff81, 0xffff, 0xff80, 0x8000};
    uint16_t short_kept[5];
    elements_relu(ELEMENT_BFLOAT16, short_nans, short_kept, 5);
    assert_true(isnan(wide(short_kept[0])) && isnan(wide(short_kept[1])) && isnan(wide(short_kept[2])));
    assert_true(wide(short_kept[3]) == 0 && wide(short_kept[4]) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(relu_keeps_what_is_positive, fill),
        cmocka_unit_test_setup(sums_are_rounded_once, fill),
        cmocka_unit_test_setup(sums_may_end_in_a_relu, fill),
        cmocka_unit_test_setup(a_gate_is_open_where_the_value_is_positive, fill),
        cmocka_unit_test_setup(a_gate_may_add_and_write_over_its_input, fill),
        cmocka_unit_test_setup(each_row_gets_the_bias, fill),
        cmocka_unit_test_setup(factors_stay_in_float, fill),
        cmocka_unit_test(a_nan_stays_a_nan_in_bfloat16),
        cmocka_unit_test(relu_hides_no_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
