/* SPDX-License-Identifier: Apache-2.0 */
/* Random streams: the published answers of Philox, distributions at fixed seeds, independence, and bulk fills. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/random.h"

#define DRAWS 100000

/* From the kat_vectors file of Random123, philox4x32 with 10 rounds. */
static void philox_gives_the_published_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct random random;
        random_init(&random, 0, 0, RANDOM_START, 0);
        memcpy(random.counter, known[i].counter, sizeof random.counter);
        memcpy(random.key, known[i].key, sizeof random.key);
        for (int word = 0; word < 4; word++)
            assert_int_equal(random_bits(&random), known[i].answer[word]);
    }
}

static void a_stream_is_named_by_its_four_numbers(void **state) {
    (void)state;
    struct random first, same;
    random_init(&first, 7, 3, RANDOM_DELAY, 1);
    random_init(&same, 7, 3, RANDOM_DELAY, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(random_bits(&first), random_bits(&same));
}

/* A change of one bit in any of the numbers must change about half of the bits of the stream. */
static void expect_unrelated(const struct random *a, const struct random *b) {
    struct random first = *a, second = *b;
    int different = 0;
    for (int i = 0; i < 1000; i++)
        different += __builtin_popcount(random_bits(&first) ^ random_bits(&second));
    assert_in_range(different, 16000 - 500, 16000 + 500); /* standard deviation 89 */
}

static void streams_with_different_names_are_unrelated(void **state) {
    (void)state;
    struct random base, other;
    random_init(&base, 7, 3, RANDOM_DELAY, 1);
    for (int bit = 0; bit < 64; bit++) {
        random_init(&other, 7 ^ UINT64_C(1) << bit, 3, RANDOM_DELAY, 1);
        expect_unrelated(&base, &other);
        random_init(&other, 7, 3, RANDOM_DELAY, 1 ^ UINT64_C(1) << bit);
        expect_unrelated(&base, &other);
    }
    for (int bit = 0; bit < 24; bit++) {
        random_init(&other, 7, 3 ^ UINT32_C(1) << bit, RANDOM_DELAY, 1);
        expect_unrelated(&base, &other);
    }
    for (int purpose = RANDOM_START; purpose <= RANDOM_TEST; purpose++)
        if (purpose != RANDOM_DELAY) {
            random_init(&other, 7, 3, (enum random_purpose)purpose, 1);
            expect_unrelated(&base, &other);
        }
    random_init(&other, 7, RANDOM_NO_WORKER, RANDOM_DELAY, 1);
    expect_unrelated(&base, &other);
}

/* Chi-squared of 100 cells: mean 99, standard deviation 14. */
static void expect_even(const unsigned counts[100], double expected) {
    double sum = 0;
    for (int i = 0; i < 100; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    assert_true(sum > 50 && sum < 160);
}

static void uniform_values_are_even_and_inside(void **state) {
    (void)state;
    struct random random;
    unsigned counts[100] = {0};
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    for (int i = 0; i < DRAWS; i++) {
        double value = random_uniform(&random);
        assert_true(value > 0 && value < 1);
        counts[(int)(100 * value)]++;
    }
    expect_even(counts, DRAWS / 100.0);
}

static void the_ends_of_the_uniform_range_are_never_reached(void **state) {
    (void)state;
    struct random random = {.used = 0};
    assert_true(random_uniform(&random) == 0x1p-53);
    random = (struct random){.block = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, .used = 0};
    assert_true(random_uniform(&random) == 1 - 0x1p-53);
}

struct moments {
    double mean, variance, kurtosis;
    double beyond_two; /* share of values with magnitude over 2 */
};

static struct moments measure(const double *values, size_t count) {
    struct moments moments = {0};
    for (size_t i = 0; i < count; i++) {
        double value = values[i];
        moments.mean += value / (double)count;
        moments.variance += value * value / (double)count;
        moments.kurtosis += value * value * value * value / (double)count;
        moments.beyond_two += (fabs(value) > 2) / (double)count;
    }
    return moments;
}

/* Five standard errors of each at DRAWS values. */
static void expect_normal(const double *values, size_t count) {
    struct moments moments = measure(values, count);
    assert_true(fabs(moments.mean) < 0.016);
    assert_true(fabs(moments.variance - 1) < 0.023);
    assert_true(fabs(moments.kurtosis - 3) < 0.16);
    assert_true(fabs(moments.beyond_two - 0.0455) < 0.0033);
}

static void normal_values_have_the_moments_of_the_normal_distribution(void **state) {
    (void)state;
    static double values[DRAWS];
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 1);
    for (size_t i = 0; i < DRAWS; i++)
        values[i] = random_normal(&random);
    expect_normal(values, DRAWS);
}

static void filled_normal_values_have_them_too(void **state) {
    (void)state;
    static float filled[DRAWS];
    static double values[DRAWS];
    struct random random;
    double product = 0;
    random_init(&random, 1, 0, RANDOM_TEST, 2);
    random_fill_normal(&random, filled, DRAWS);
    for (size_t i = 0; i < DRAWS; i++)
        values[i] = filled[i];
    expect_normal(values, DRAWS);
    for (size_t i = 0; i < DRAWS; i += 2) /* the two values of a pair are independent */
        product += values[i] * values[i + 1] / (DRAWS / 2);
    assert_true(fabs(product) < 5 / sqrt(DRAWS / 2));
}

static void extreme_bits_fill_finite_normal_values(void **state) {
    (void)state;
    const uint32_t extremes[] = {0, 1, UINT32_MAX - 1, UINT32_MAX};
    for (int i = 0; i < 16; i++) {
        struct random random = {.block = {extremes[i / 4], extremes[i % 4]}, .used = 0};
        float values[2];
        random_fill_normal(&random, values, 2);
        assert_true(isfinite(values[0]) && fabsf(values[0]) < 6.8f);
        assert_true(isfinite(values[1]) && fabsf(values[1]) < 6.8f);
    }
}

static void filled_uniform_values_are_the_words_of_the_stream(void **state) {
    (void)state;
    float values[1001];
    struct random filled, drawn;
    random_init(&filled, 5, 1, RANDOM_TEST, 0);
    random_init(&drawn, 5, 1, RANDOM_TEST, 0);
    assert_int_equal(random_bits(&filled), random_bits(&drawn)); /* not at the beginning of a block */
    random_fill_uniform(&filled, values, 1001);
    for (int i = 0; i < 1001; i++) {
        assert_true(values[i] == (float)(random_bits(&drawn) >> 8) / 16777216.0f);
        assert_true(values[i] >= 0 && values[i] < 1);
    }
    assert_int_equal(random_bits(&filled), random_bits(&drawn));
}

typedef void fill_function(struct random *random, float *values, size_t count);

static void expect_same_in_pieces(fill_function *fill, size_t piece) {
    float whole[1024], pieces[1024];
    struct random one, many;
    random_init(&one, 5, 1, RANDOM_TEST, 3);
    random_init(&many, 5, 1, RANDOM_TEST, 3);
    fill(&one, whole, 1024);
    for (size_t first = 0; first < 1024; first += piece)
        fill(&many, pieces + first, 1024 - first < piece ? 1024 - first : piece);
    assert_memory_equal(whole, pieces, sizeof whole);
    assert_int_equal(random_bits(&one), random_bits(&many));
}

static void filling_in_pieces_gives_the_same_values(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 600; piece += 37)
        expect_same_in_pieces(random_fill_uniform, piece);
    for (size_t piece = 2; piece < 600; piece += 38)
        expect_same_in_pieces(random_fill_normal, piece);
}

static void a_fill_stays_inside_its_values(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 5, 1, RANDOM_TEST, 4);
    for (size_t count = 0; count < 6; count++) {
        float values[8] = {9, 9, 9, 9, 9, 9, 9, 9};
        random_fill_normal(&random, values, count);
        random_fill_uniform(&random, values, count);
        for (size_t i = 0; i < 8; i++)
            assert_true(i < count ? values[i] < 1 : values[i] == 9);
    }
}

static void random_below_stays_below_and_is_even(void **state) {
    (void)state;
    const uint64_t bounds[] = {100, UINT64_C(3) << 30, UINT64_C(3) << 62};
    for (int i = 0; i < 3; i++) {
        struct random random;
        unsigned counts[100] = {0};
        random_init(&random, 2, 0, RANDOM_TEST, (uint64_t)i);
        for (int draw = 0; draw < DRAWS; draw++) {
            uint64_t value = random_below(&random, bounds[i]);
            assert_true(value < bounds[i]);
            counts[(int)((double)value / ((double)bounds[i] / 100))]++;
        }
        expect_even(counts, DRAWS / 100.0); /* without rejection the last two would favour a third of the values */
    }
}

static void random_below_accepts_the_extreme_bounds(void **state) {
    (void)state;
    struct random random;
    const uint64_t bounds[] = {1, 2, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_MAX};
    random_init(&random, 3, 0, RANDOM_TEST, 0);
    for (int i = 0; i < 6; i++)
        for (int draw = 0; draw < 1000; draw++)
            assert_true(random_below(&random, bounds[i]) < bounds[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(a_stream_is_named_by_its_four_numbers),
        cmocka_unit_test(streams_with_different_names_are_unrelated),
        cmocka_unit_test(uniform_values_are_even_and_inside),
        cmocka_unit_test(the_ends_of_the_uniform_range_are_never_reached),
        cmocka_unit_test(normal_values_have_the_moments_of_the_normal_distribution),
        cmocka_unit_test(filled_normal_values_have_them_too),
        cmocka_unit_test(extreme_bits_fill_finite_normal_values),
        cmocka_unit_test(filled_uniform_values_are_the_words_of_the_stream),
        cmocka_unit_test(filling_in_pieces_gives_the_same_values),
        cmocka_unit_test(a_fill_stays_inside_its_values),
        cmocka_unit_test(random_below_stays_below_and_is_even),
        cmocka_unit_test(random_below_accepts_the_extreme_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
