/* SPDX-License-Identifier: Apache-2.0 */
/* linalg/wire.h against plain arithmetic in double, at sizes around blocks and frames, at the edges of the numbers,
 * and with bytes that no encoder wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "linalg/wire.h"

#define MOST (3 * WIRE_FRAME + 100)

static const size_t lengths[] = {0, 1, 7, 1023, 1024, 1025, 5000, WIRE_FRAME, WIRE_FRAME + 1, MOST};
#define LENGTH_COUNT (sizeof lengths / sizeof *lengths)

/* What travels exactly begins nowhere, at a block, within one, and at once. */
static const size_t exacts[] = {SIZE_MAX, 2 * WIRE_BLOCK, 4500, 0};
#define EXACT_COUNT (sizeof exacts / sizeof *exacts)

static float gradient[MOST], rounded[MOST], decoded[MOST], kept[MOST], left[MOST];
static uint8_t bytes[5 * MOST];

static void fill(float *values, size_t count, uint64_t index) {
    struct random random;
    random_init(&random, 5, 0, RANDOM_TEST, index);
    random_fill_normal(&random, values, count);
}

/* Rows of 16 that are touched: one of `every`. */
static void fill_rows(float *values, size_t count, size_t every) {
    fill(values, count, 7);
    for (size_t i = 0; i < count; i++)
        if (i / 16 % every != every / 2)
            values[i] = 0;
}

/* Calls `check` for every format and size, with the gradient in `gradient`. */
static void for_all(void (*check)(const struct wire_format *format, size_t count)) {
    for (int element = WIRE_FP32; element <= WIRE_INT8; element++)
        for (int sparse = 0; sparse < 2; sparse++)
            for (size_t e = 0; e < EXACT_COUNT; e++)
                for (size_t l = 0; l < LENGTH_COUNT; l++)
                    check(&(struct wire_format){(enum wire_element)element, sparse > 0, exacts[e]}, lengths[l]);
}

/* ---- Rounding, against an oracle ---- */

/* The nearest of the multiples of 2^(e-7), where 2^e <= |value| < 2^(e+1): eight significant bits. */
static double to_bf16(double value) {
    int exponent;
    frexp(value, &exponent);
    double step = ldexp(1, exponent - 8);
    return nearbyint(value / step) * step;
}

/* The least number of 17 significant bits that is no less than most / 127 as a float. */
static double scale_of(double most) {
    int exponent;
    double quotient = (double)((float)most / 127.0f);
    frexp(quotient, &exponent);
    double step = ldexp(1, exponent - 17);
    return ceil(quotient / step) * step;
}

static double most_of(const float *values, size_t first, size_t end) {
    double most = 0;
    for (size_t i = first; i < end; i++)
        most = fmax(most, fabs((double)values[i]));
    return most;
}

static void check_rounding(const struct wire_format *format, size_t count) {
    memcpy(rounded, gradient, sizeof rounded);
    wire_round(format, 0, count, rounded, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        size_t block = i / WIRE_BLOCK * WIRE_BLOCK, end = block + WIRE_BLOCK;
        end = end < count ? end : count;
        end = end < format->exact_from ? end : format->exact_from;
        double value = (double)gradient[i];
        double scale = i < end ? scale_of(most_of(gradient, block, end)) : 0;
        if (i >= format->exact_from || format->element == WIRE_FP32)
            assert_true(rounded[i] == gradient[i]);
        else if (format->element == WIRE_BF16)
            assert_true((double)rounded[i] == to_bf16(value));
        else
            assert_true(fabs((double)rounded[i] - value) <= scale * 0.500001 &&
                        fmod((double)rounded[i], scale) == 0);
    }
    assert_memory_equal(rounded + count, gradient + count, (MOST - count) * sizeof *rounded);
}

static void rounding_is_that_of_the_oracle(void **state) {
    (void)state;
    fill(gradient, MOST, 0);
    for_all(check_rounding);
}

/* Nothing is lost: what was due is what goes out and what stays behind. */
static void check_feedback(const struct wire_format *format, size_t count) {
    size_t lossy = format->element == WIRE_FP32 ? 0 : count < format->exact_from ? count : format->exact_from;
    memcpy(rounded, gradient, sizeof rounded);
    memset(left, 0, sizeof left);
    wire_round(format, 0, count, rounded, kept, left);
    for (size_t i = 0; i < lossy; i++) {
        bool waits = format->leaves_out_zeros && gradient[i] == 0;
        float total = gradient[i] + kept[i];
        assert_true(left[i] == (waits ? kept[i] : total - rounded[i]));
        assert_true(!waits || rounded[i] == 0);
        assert_true(fabsf(rounded[i] - (waits ? 0 : total)) <= 0.04f);
    }
    for (size_t i = lossy; i < count; i++)
        assert_true(rounded[i] == gradient[i] && left[i] == 0);
}

static void what_rounding_leaves_out_is_kept(void **state) {
    (void)state;
    fill_rows(gradient, MOST, 3);
    fill(kept, MOST, 1);
    for (size_t i = 0; i < MOST; i++)
        kept[i] *= 0.01f;
    for_all(check_feedback);
}

static void the_residual_may_be_replaced_in_place(void **state) {
    (void)state;
    const struct wire_format format = {WIRE_INT8, false, SIZE_MAX};
    static float again[MOST];
    fill(gradient, MOST, 2);
    fill(kept, MOST, 3);
    memcpy(rounded, gradient, sizeof rounded);
    memcpy(again, gradient, sizeof again);
    wire_round(&format, 0, MOST, rounded, kept, left);
    wire_round(&format, 0, MOST, again, kept, kept);
    assert_memory_equal(again, rounded, sizeof again);
    assert_memory_equal(kept, left, sizeof left);
}

/* ---- Encoding ---- */

static void check_round_trip(const struct wire_format *format, size_t count) {
    memcpy(rounded, gradient, sizeof rounded);
    wire_round(format, 0, count, rounded, NULL, NULL);
    size_t size = wire_encode(format, 0, count, rounded, bytes + 1);
    assert_true(size <= wire_bound(format, 0, count) && size == wire_size(format, 0, count, rounded));
    memset(decoded, 77, sizeof decoded);
    assert_int_equal(wire_decode(format, 0, count, bytes + 1, size, decoded), HYSGD_OK);
    assert_memory_equal(decoded, rounded, count * sizeof *decoded);
}

static void what_is_rounded_travels_without_loss(void **state) {
    (void)state;
    fill(gradient, MOST, 4);
    for_all(check_round_trip);
    for (size_t every = 2; every < 3000; every *= 7) {
        fill_rows(gradient, MOST, every);
        for_all(check_round_trip);
    }
    memset(gradient, 0, sizeof gradient);
    for_all(check_round_trip);
}

static void magnitudes_of_all_sizes_travel_without_loss(void **state) {
    (void)state;
    for (int exponent = -148; exponent < 128; exponent++) {
        fill(gradient, 2048, (uint64_t)(exponent + 200));
        for (size_t i = 0; i < 2048; i++)
            gradient[i] = fmaxf(-FLT_MAX, fminf(FLT_MAX, ldexpf(gradient[i], exponent)));
        const struct wire_format format = {WIRE_INT8, false, SIZE_MAX};
        check_round_trip(&format, 2048);
        for (size_t i = 0; i < 2048; i++)
            assert_true(isfinite(rounded[i]));
    }
}

/* In slices that begin at multiples of a frame the bits and the bytes are those of the whole. */
static void check_slices(const struct wire_format *format, size_t count) {
    static uint8_t whole[5 * MOST];
    size_t total = 0;
    memcpy(rounded, gradient, sizeof rounded);
    wire_round(format, 0, count, rounded, NULL, NULL);
    size_t expected = wire_encode(format, 0, count, rounded, whole);
    for (size_t first = 0, next; first < count; first = next) {
        next = first + (first == 0 ? WIRE_FRAME : 2 * WIRE_FRAME);
        size_t length = (next < count ? next : count) - first;
        size_t size = wire_encode(format, first, length, rounded + first, bytes + total);
        assert_int_equal(wire_decode(format, first, length, bytes + total, size, decoded + first), HYSGD_OK);
        total += size;
    }
    assert_memory_equal(decoded, rounded, count * sizeof *decoded);
    assert_true(total == expected);
    assert_memory_equal(bytes, whole, total);
}

static void slices_add_up_to_the_whole(void **state) {
    (void)state;
    fill(gradient, MOST, 5);
    for_all(check_slices);
    fill_rows(gradient, MOST, 500);
    for_all(check_slices);
}

static void what_is_not_finite_arrives_so(void **state) {
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int element = WIRE_FP32; element <= WIRE_INT8; element++)
        for (size_t b = 0; b < 8; b++) {
            const struct wire_format format = {(enum wire_element)element, b >= 4, SIZE_MAX};
            fill(gradient, 3000, b);
            fill(kept, 3000, b + 9);
            gradient[1500] = bad[b % 4];
            check_round_trip(&format, 3000);
            assert_false(isfinite(decoded[1500]));
            assert_true(isfinite(decoded[0]) && isfinite(decoded[2999]));
            wire_round(&format, 0, 3000, gradient, kept, kept);
            for (size_t i = 0; i < 3000; i++)
                assert_true(isfinite(kept[i]));
        }
}

static void a_zero_with_a_sign_is_kept(void **state) {
    (void)state;
    const struct wire_format format = {WIRE_FP32, true, SIZE_MAX};
    memset(gradient, 0, sizeof gradient);
    gradient[1200] = -0.0f;
    check_round_trip(&format, 3000);
    assert_true(signbit(decoded[1200]));
}

static void bytes_are_in_proportion_to_what_is_touched(void **state) {
    (void)state;
    const size_t headers = (MOST / WIRE_FRAME + 1) * 2;
    memset(gradient, 0, sizeof gradient);
    const struct wire_format floats = {WIRE_FP32, true, SIZE_MAX}, codes = {WIRE_INT8, true, SIZE_MAX};
    assert_true(wire_size(&floats, 0, MOST, gradient) == headers);
    fill(gradient + 5000, 16, 1);
    assert_in_range(wire_size(&floats, 0, MOST, gradient), 16 * 4 + 4, 16 * 4 + 10 + headers);
    wire_round(&codes, 0, MOST, gradient, NULL, NULL);
    assert_in_range(wire_size(&codes, 0, MOST, gradient), 16 + 4, 16 + 4 + 10 + headers);
    fill(gradient, MOST, 1);
    assert_true(wire_size(&floats, 0, MOST, gradient) == MOST * 4 + (MOST / WIRE_BLOCK + 1) * 2);
}

/* ---- Damaged bytes ---- */

static void other_sizes_are_refused(void **state) {
    (void)state;
    for (int element = WIRE_FP32; element <= WIRE_INT8; element++)
        for (int sparse = 0; sparse < 2; sparse++) {
            const struct wire_format format = {(enum wire_element)element, sparse > 0, 2500};
            fill_rows(gradient, 3000, 2);
            wire_round(&format, 0, 3000, gradient, NULL, NULL);
            size_t size = wire_encode(&format, 0, 3000, gradient, bytes);
            for (size_t other = 0; other < size + 3; other += other + 9 < size ? 7 : 1)
                assert_int_equal(wire_decode(&format, 0, 3000, bytes, other, decoded),
                                 other == size ? HYSGD_OK : HYSGD_INPUT);
        }
}

static void expect_refused(const void *words, size_t size, size_t element) {
    const struct wire_format format = {WIRE_BF16, true, SIZE_MAX};
    char expected[80];
    snprintf(expected, sizeof expected, "a gradient that has arrived is damaged at element %zu", element);
    assert_int_equal(wire_decode(&format, 0, 2 * WIRE_FRAME, words, size, decoded), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(), expected);
}

static void runs_that_cannot_be_are_refused(void **state) {
    (void)state;
    const uint16_t beyond[] = {1, 1020, 5, 1, 2, 3, 4, 5, 0x800f, 0x8010};
    const uint16_t empty[] = {1, 5, 0, 0x800f, 0x8010};
    const uint16_t back[] = {2, 8, 1, 1, 8, 1, 1, 0x800f, 0x8010};
    const uint16_t cut[] = {3, 8, 1, 1};
    const uint16_t many[] = {0x8011, 0x800f};
    const uint16_t none[] = {0x8000, 0x800f, 0x8010};
    const uint16_t good[] = {2, 8, 1, 1, 9, 1, 1, 0x800f, 0x8010};
    const struct wire_format format = {WIRE_BF16, true, SIZE_MAX};
    expect_refused(beyond, sizeof beyond, 0);
    expect_refused(empty, sizeof empty, 0);
    expect_refused(back, sizeof back, 0);
    expect_refused(cut, sizeof cut, 0);
    expect_refused(many, sizeof many, WIRE_FRAME);
    expect_refused(none, sizeof none, 0);
    assert_int_equal(wire_decode(&format, 0, 2 * WIRE_FRAME, good, sizeof good, decoded), HYSGD_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_that_of_the_oracle),
        cmocka_unit_test(what_rounding_leaves_out_is_kept),
        cmocka_unit_test(the_residual_may_be_replaced_in_place),
        cmocka_unit_test(what_is_rounded_travels_without_loss),
        cmocka_unit_test(magnitudes_of_all_sizes_travel_without_loss),
        cmocka_unit_test(slices_add_up_to_the_whole),
        cmocka_unit_test(what_is_not_finite_arrives_so),
        cmocka_unit_test(a_zero_with_a_sign_is_kept),
        cmocka_unit_test(bytes_are_in_proportion_to_what_is_touched),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(runs_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
