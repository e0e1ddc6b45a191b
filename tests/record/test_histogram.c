/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms: that every value is in the bucket whose bounds enclose it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>

#include "record/histogram.h"

static void check_value(enum histogram_scale scale, double value) {
    struct histogram histogram = {0};
    size_t first, end;
    histogram_add(&histogram, scale, value);
    histogram_range(&histogram, &first, &end);
    assert_int_equal(end, first + 1);
    assert_int_equal(histogram.buckets[first], 1);
    assert_true(value < histogram_bound(scale, first));
    assert_true(first == 0 || value >= histogram_bound(scale, first - 1));
}

static void a_value_lies_within_the_bounds_of_its_bucket(void **state) {
    (void)state;
    static const double seconds[] = {0, DBL_TRUE_MIN, 1e-9, 1e-6, 0.01, 1, 3600, 1e6, 1e300};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        check_value(HISTOGRAM_SECONDS, seconds[i]);
    for (double count = 0; count < 1e9; count = count < 200 ? count + 1 : floor(count * 1.7))
        check_value(HISTOGRAM_COUNTS, count);
}

static void bounds_increase(void **state) {
    (void)state;
    for (int scale = HISTOGRAM_COUNTS; scale <= HISTOGRAM_SECONDS; scale++)
        for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++)
            assert_true(histogram_bound((enum histogram_scale)scale, i) >
                        histogram_bound((enum histogram_scale)scale, i - 1));
}

static void moments_are_those_of_the_values(void **state) {
    (void)state;
    struct histogram histogram = {0};
    const double values[] = {3, 1, 2, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        histogram_add(&histogram, HISTOGRAM_COUNTS, values[i]);
    assert_int_equal(histogram.count, 3);
    assert_true(histogram.least == 1 && histogram.most == 3 && histogram.sum == 6 && histogram.squares == 14);
}

static void an_empty_histogram_has_no_range(void **state) {
    (void)state;
    const struct histogram histogram = {0};
    size_t first, end;
    histogram_range(&histogram, &first, &end);
    assert_int_equal(first, end);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_lies_within_the_bounds_of_its_bucket),
        cmocka_unit_test(bounds_increase),
        cmocka_unit_test(moments_are_those_of_the_values),
        cmocka_unit_test(an_empty_histogram_has_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
