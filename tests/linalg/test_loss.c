/* SPDX-License-Identifier: Apache-2.0 */
/* linalg/loss.h against plain formulas in double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/random.h"
#include "linalg/loss.h"

#define ROWS         9
#define MOST_CLASSES 700

static const size_t widths[] = {1, 2, 10, 16, 17, 255, 256, 257, 700};
#define WIDTH_COUNT (sizeof widths / sizeof *widths)

static float logits[ROWS * MOST_CLASSES], gradient[ROWS * MOST_CLASSES];
static int32_t labels[ROWS];

static void fill(size_t classes, float scale) {
    struct random random;
    random_init(&random, 5, 0, RANDOM_TEST, classes);
    random_fill_normal(&random, logits, ROWS * classes);
    for (size_t i = 0; i < ROWS * classes; i++)
        logits[i] *= scale;
    for (size_t n = 0; n < ROWS; n++)
        labels[n] = (int32_t)random_below(&random, classes);
}

/* softmax of a row, element i, in double */
static double probability(const float *row, size_t classes, size_t i) {
    double largest = row[0], sum = 0;
    for (size_t c = 1; c < classes; c++)
        largest = fmax(largest, row[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp(row[c] - largest);
    return exp(row[i] - largest) / sum;
}

static void softmax_loss_is_minus_the_log_probability(void **state) {
    (void)state;
    for (size_t w = 0; w < WIDTH_COUNT; w++) {
        double expected = 0;
        fill(widths[w], 3);
        for (size_t n = 0; n < ROWS; n++)
            expected -= log(probability(logits + n * widths[w], widths[w], (size_t)labels[n]));
        const double with = loss_softmax(logits, labels, ROWS, widths[w], 1, gradient);
        const double without = loss_softmax(logits, labels, ROWS, widths[w], 1, NULL);
        assert_true(fabs(with - expected) <= 1e-6 * (expected + 1));
        assert_true(fabs(without - expected) <= 1e-6 * (expected + 1));
    }
}

static void softmax_gradient_is_probability_minus_one_hot(void **state) {
    (void)state;
    for (size_t w = 0; w < WIDTH_COUNT; w++) {
        fill(widths[w], 5);
        loss_softmax(logits, labels, ROWS, widths[w], 0.125f, gradient);
        for (size_t n = 0; n < ROWS; n++)
            for (size_t c = 0; c < widths[w]; c++) {
                const double p = probability(logits + n * widths[w], widths[w], c);
                const double expected = 0.125 * (p - (c == (size_t)labels[n]));
                assert_true(fabs(gradient[n * widths[w] + c] - expected) <= 1e-6 * p + 1e-8);
            }
    }
}

static void softmax_gradient_may_replace_the_logits(void **state) {
    (void)state;
    fill(17, 2);
    loss_softmax(logits, labels, ROWS, 17, 1, gradient);
    loss_softmax(logits, labels, ROWS, 17, 1, logits);
    assert_memory_equal(logits, gradient, ROWS * 17 * sizeof(float));
}

static void softmax_survives_large_logits(void **state) {
    (void)state;
    const float row[3] = {1e4f, -1e4f, 9.999e3f};
    const int32_t label = 1;
    float slopes[3];
    assert_true(fabs(loss_softmax(row, &label, 1, 3, 1, slopes) - 20000.313261688) < 1e-3);
    assert_true(slopes[1] == -1 && slopes[0] > 0.73f && slopes[0] < 0.7311f);
}

static void a_nan_in_the_logits_is_a_nan_in_the_loss(void **state) {
    (void)state;
    for (size_t c = 0; c < 20; c++) {
        fill(20, 1);
        for (size_t n = 0; n < ROWS; n++)
            labels[n] = 3;
        logits[20 * 4 + c] = NAN;
        assert_true(isnan(loss_softmax(logits, labels, ROWS, 20, 1, gradient)));
        assert_true(isnan(gradient[20 * 4 + 7]));
        assert_true(isnan(loss_softmax(logits, labels, ROWS, 20, 1, NULL)));
    }
}

static void probabilities_are_accurate_relative_to_themselves(void **state) {
    (void)state;
    for (size_t i = 0; i < 600; i++) {
        float row[2] = {0, -0.144f * (float)i};
        const double expected = probability(row, 2, 1);
        loss_probabilities(row, 1, 2);
        if (expected > 1e-37)
            assert_true(fabs(row[1] - expected) <= 1e-6 * expected);
    }
    float row[2] = {0, -200};
    loss_probabilities(row, 1, 2);
    assert_true(row[0] == 1 && row[1] == 0);
}

static void squared_loss_is_half_the_squared_distance(void **state) {
    (void)state;
    const float outputs[4] = {1, 2, 3, 4}, targets[4] = {0, 4, 3, 1};
    float slopes[4];
    assert_true(loss_squared(outputs, targets, 2, 2, 0.5f, slopes) == 7);
    assert_true(slopes[0] == 0.5f && slopes[1] == -1 && slopes[2] == 0 && slopes[3] == 1.5f);
    assert_true(loss_squared(outputs, targets, 2, 2, 0.5f, NULL) == 7);
}

static void a_row_counts_when_its_first_largest_value_is_at_the_label(void **state) {
    (void)state;
    const float rows[6][3] = {{1, 3, 2}, {5, 3, 2}, {1, 3, 3}, {3, 3, 1}, {NAN, 3, 2}, {1, NAN, 0}};
    const int32_t ones[6] = {1, 1, 1, 1, 1, 1};
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(loss_count_correct(rows[n], ones, 1, 3), n == 0 || n == 2);
    assert_int_equal(loss_count_correct(rows[0], ones, 6, 3), 2);
}

static void the_first_bad_label_is_found(void **state) {
    (void)state;
    const int32_t some[5] = {0, 9, 4, 10, -1};
    assert_int_equal(loss_find_bad_label(some, 3, 10), 3);
    assert_int_equal(loss_find_bad_label(some, 5, 10), 3);
    assert_int_equal(loss_find_bad_label(some, 5, 11), 4);
    assert_int_equal(loss_find_bad_label(some, 0, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_loss_is_minus_the_log_probability),
        cmocka_unit_test(softmax_gradient_is_probability_minus_one_hot),
        cmocka_unit_test(softmax_gradient_may_replace_the_logits),
        cmocka_unit_test(softmax_survives_large_logits),
        cmocka_unit_test(a_nan_in_the_logits_is_a_nan_in_the_loss),
        cmocka_unit_test(probabilities_are_accurate_relative_to_themselves),
        cmocka_unit_test(squared_loss_is_half_the_squared_distance),
        cmocka_unit_test(a_row_counts_when_its_first_largest_value_is_at_the_label),
        cmocka_unit_test(the_first_bad_label_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
