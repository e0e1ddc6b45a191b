/* SPDX-License-Identifier: Apache-2.0 */
/* linalg/vector.h against plain loops, at lengths around the widths of vector registers and blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "linalg/vector.h"

#define MOST 5000

static const size_t lengths[] = {0, 1, 7, 15, 16, 17, 64, 2047, 2048, 2049, 4999};
#define LENGTH_COUNT (sizeof lengths / sizeof *lengths)

static void fill(float *values, size_t count, uint64_t index) {
    struct random random;
    random_init(&random, 11, 0, RANDOM_TEST, index);
    random_fill_normal(&random, values, count);
}

static void accumulate_adds_the_parts_in_their_order(void **state) {
    (void)state;
    static float parts[3][MOST], sum[MOST];
    const float weights[] = {0.25f, -3, 1e-3f};
    for (uint64_t p = 0; p < 3; p++)
        fill(parts[p], MOST, p);
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        sum[lengths[l]] = 77;
        for (size_t p = 0; p < 3; p++)
            vector_accumulate(sum, parts[p], weights[p], p == 0, lengths[l]);
        for (size_t i = 0; i < lengths[l]; i++)
            assert_true(sum[i] == weights[0] * parts[0][i] + weights[1] * parts[1][i] + weights[2] * parts[2][i]);
        assert_true(sum[lengths[l]] == 77);
    }
}

static void a_stream_copies_all_and_nothing_more(void **state) {
    (void)state;
    static float values[MOST];
    static _Alignas(64) float out[MOST + 1];
    fill(values, MOST, 3);
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        memset(out, 0, sizeof out);
        vector_stream(out, values, lengths[l]);
        vector_end_stream();
        assert_memory_equal(out, values, lengths[l] * sizeof *out);
        assert_true(out[lengths[l]] == 0);
    }
}

static void accumulate_starts_anew_when_first(void **state) {
    (void)state;
    float sum[3] = {NAN, INFINITY, 5};
    const float values[3] = {1, -2, 3};
    vector_accumulate(sum, values, 0.5f, 1, 3);
    assert_true(sum[0] == 0.5f && sum[1] == -1 && sum[2] == 1.5f);
    vector_accumulate(sum, values, 2, 0, 3);
    assert_true(sum[0] == 2.5f && sum[1] == -5 && sum[2] == 7.5f);
}

static void norm_is_the_sum_of_squares(void **state) {
    (void)state;
    static float values[MOST];
    fill(values, MOST, 3);
    for (size_t l = 0; l < LENGTH_COUNT; l++) {
        double sum = 0;
        for (size_t i = 0; i < lengths[l]; i++)
            sum += (double)values[i] * (double)values[i];
        assert_true(fabs(vector_norm_squared(values, lengths[l]) - sum) <= 1e-12 * sum);
    }
}

static void norm_does_not_overflow_where_float_would(void **state) {
    (void)state;
    const float values[2] = {3e30f, 4e30f};
    assert_true(fabs(sqrt(vector_norm_squared(values, 2)) / 5e30 - 1) < 1e-6);
}

static void one_bad_value_anywhere_is_found(void **state) {
    (void)state;
    static float values[MOST];
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    fill(values, MOST, 4);
    values[9] = 3.4e38f;
    values[10] = 1e-45f;
    assert_true(vector_is_finite(values, MOST));
    for (size_t i = 0; i < MOST; i += 61) {
        const float kept = values[i];
        values[i] = bad[i % 4];
        assert_false(vector_is_finite(values, MOST));
        assert_true(vector_is_finite(values, i));
        values[i] = kept;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accumulate_adds_the_parts_in_their_order),
        cmocka_unit_test(a_stream_copies_all_and_nothing_more),
        cmocka_unit_test(accumulate_starts_anew_when_first),
        cmocka_unit_test(norm_is_the_sum_of_squares),
        cmocka_unit_test(norm_does_not_overflow_where_float_would),
        cmocka_unit_test(one_bad_value_anywhere_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
