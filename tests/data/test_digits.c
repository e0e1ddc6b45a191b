/* SPDX-License-Identifier: Apache-2.0 */
/* The generator of digits: streams, labels, brightness, and that the classes can be told apart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/digits_strokes.h"
#include "data/opened.h"

#define PIXELS 784

static void open_digits(struct opened *opened, const char *text, uint64_t seed) {
    assert_int_equal(opened_init(opened, text, seed), HYSGD_OK);
    assert_int_equal(opened_inputs(opened), PIXELS);
}

static void the_defaults_are_20000_and_4000_samples_of_ten_classes(void **state) {
    (void)state;
    struct opened opened;
    open_digits(&opened, "digits", 1);
    assert_int_equal(opened.shape.train_count, 20000);
    assert_int_equal(opened.shape.test_count, 4000);
    assert_int_equal(opened.shape.classes, 10);
    opened_fini(&opened);
}

static void a_sample_does_not_depend_on_the_others(void **state) {
    (void)state;
    struct opened few, many;
    struct samples a, b;
    open_digits(&few, "digits,train=5,test=3", 9);
    open_digits(&many, "digits,train=50,test=30", 9);
    for (int split = HYSGD_TRAIN; split <= HYSGD_TEST; split++) {
        samples_gather(&a, &few, split, 0, 3);
        samples_gather(&b, &many, split, 0, 3);
        assert_memory_equal(a.inputs, b.inputs, a.input_bytes);
        assert_memory_equal(a.labels, b.labels, 3 * sizeof *a.labels);
        samples_free(&a);
        samples_free(&b);
    }
    opened_fini(&few);
    opened_fini(&many);
}

static void all_samples_of_both_splits_differ(void **state) {
    (void)state;
    struct opened opened;
    struct samples train, test;
    open_digits(&opened, "digits,train=100,test=100,noise=0", 3);
    samples_gather(&train, &opened, HYSGD_TRAIN, 0, 100);
    samples_gather(&test, &opened, HYSGD_TEST, 0, 100);
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 100; j++) {
            assert_memory_not_equal(train.inputs + i * PIXELS, test.inputs + j * PIXELS, PIXELS * sizeof(float));
            if (i != j)
                assert_memory_not_equal(train.inputs + i * PIXELS, train.inputs + j * PIXELS,
                                        PIXELS * sizeof(float));
        }
    }
    samples_free(&train);
    samples_free(&test);
    opened_fini(&opened);
}

static void the_classes_are_equally_frequent(void **state) {
    (void)state;
    struct opened opened;
    struct samples samples;
    int counts[10] = {0};
    open_digits(&opened, "digits,train=10k,test=0", 1);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 10000);
    for (int i = 0; i < 10000; i++)
        counts[samples.labels[i]]++;
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 880, 1120); /* 1000 and four standard deviations of 30 */
    samples_free(&samples);
    opened_fini(&opened);
}

static void the_inputs_are_standardised(void **state) {
    (void)state;
    struct opened opened;
    struct samples samples;
    double sum = 0, squares = 0, count = 10000.0 * PIXELS;
    open_digits(&opened, "digits,train=10k,test=0", 5);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 10000);
    for (size_t i = 0; i < 10000 * (size_t)PIXELS; i++) {
        sum += samples.inputs[i];
        squares += (double)samples.inputs[i] * samples.inputs[i];
    }
    assert_true(fabs(sum / count) < 0.01);
    assert_true(fabs(squares / count - 1) < 0.02);
    samples_free(&samples);
    opened_fini(&opened);
}

/* Without noise the paper is black in most places and each digit has ink that reaches at least half of white. */
static void every_image_shows_a_stroke_on_empty_paper(void **state) {
    (void)state;
    struct opened opened;
    struct samples samples;
    open_digits(&opened, "digits,train=2k,test=0,noise=0", 2);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 2000);
    for (int i = 0; i < 2000; i++) {
        int empty = 0, bright = 0;
        for (int p = 0; p < PIXELS; p++) {
            double ink = samples.inputs[i * PIXELS + p] * 0.2578 + 0.1297;
            empty += ink < 0.01;
            bright += ink > 0.5;
        }
        assert_in_range(empty, 400, 770);
        assert_in_range(bright, 12, 300);
    }
    samples_free(&samples);
    opened_fini(&opened);
}

static void noise_spreads_the_pixels_by_its_standard_deviation(void **state) {
    (void)state;
    struct opened clean, noisy;
    struct samples a, b;
    double squares = 0;
    int count = 0;
    open_digits(&clean, "digits,train=200,test=0,noise=0", 4);
    open_digits(&noisy, "digits,train=200,test=0,noise=0.05", 4);
    samples_gather(&a, &clean, HYSGD_TRAIN, 0, 200);
    samples_gather(&b, &noisy, HYSGD_TRAIN, 0, 200);
    for (int i = 0; i < 200 * PIXELS; i++) {
        double ink = a.inputs[i] * 0.2578 + 0.1297, difference = (b.inputs[i] - a.inputs[i]) * 0.2578;
        if (ink < 0.3 || ink > 0.7) /* elsewhere black and white cut the noise off */
            continue;
        squares += difference * difference;
        count++;
    }
    assert_true(count > 5000);
    assert_true(fabs(sqrt(squares / count) - 0.05) < 0.002);
    samples_free(&a);
    samples_free(&b);
    opened_fini(&clean);
    opened_fini(&noisy);
}

/* The share of test samples whose nearest training sample has their label. */
static double nearest_neighbour_accuracy(const struct samples *train, const struct samples *test) {
    int correct = 0;
    for (size_t i = 0; i < test->count; i++) {
        float best = INFINITY;
        size_t nearest = 0;
        for (size_t j = 0; j < train->count; j++) {
            float distance = 0;
            for (size_t p = 0; p < PIXELS; p++) {
                float d = test->inputs[i * PIXELS + p] - train->inputs[j * PIXELS + p];
                distance += d * d;
            }
            if (distance < best) {
                best = distance;
                nearest = j;
            }
        }
        correct += train->labels[nearest] == test->labels[i];
    }
    return correct / (double)test->count;
}

static void neighbours_mostly_share_their_class(void **state) {
    (void)state;
    struct opened opened;
    struct samples train, test;
    open_digits(&opened, "digits,train=3k,test=200", 1);
    samples_gather(&train, &opened, HYSGD_TRAIN, 0, 3000);
    samples_gather(&test, &opened, HYSGD_TEST, 0, 200);
    double accuracy = nearest_neighbour_accuracy(&train, &test);
    if (accuracy < 0.85 || accuracy > 0.995)
        fail_msg("the nearest neighbour is right in %g of the cases", accuracy);
    samples_free(&train);
    samples_free(&test);
    opened_fini(&opened);
}

static void a_path_stays_near_its_box_and_begins_with_the_pen_set_down(void **state) {
    (void)state;
    struct digits_point points[DIGITS_MOST_POINTS];
    struct random random;
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    for (int i = 0; i < 5000; i++) {
        int count = digits_trace(i % 10, &random, points);
        assert_in_range(count, 2, DIGITS_MOST_POINTS);
        assert_true(points[0].is_set_down);
        for (int p = 0; p < count; p++) {
            assert_true(points[p].x > -0.25F && points[p].x < 1.25F);
            assert_true(points[p].y > -0.25F && points[p].y < 1.25F);
        }
    }
}

static void counts_out_of_range_are_refused(void **state) {
    (void)state;
    struct opened opened;
    assert_int_equal(opened_init(&opened, "digits,train=0", 1), HYSGD_USAGE);
    assert_int_equal(opened_init(&opened, "digits,test=-1", 1), HYSGD_USAGE);
    assert_int_equal(opened_init(&opened, "digits,noise=2", 1), HYSGD_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_20000_and_4000_samples_of_ten_classes),
        cmocka_unit_test(a_sample_does_not_depend_on_the_others),
        cmocka_unit_test(all_samples_of_both_splits_differ),
        cmocka_unit_test(the_classes_are_equally_frequent),
        cmocka_unit_test(the_inputs_are_standardised),
        cmocka_unit_test(every_image_shows_a_stroke_on_empty_paper),
        cmocka_unit_test(noise_spreads_the_pixels_by_its_standard_deviation),
        cmocka_unit_test(neighbours_mostly_share_their_class),
        cmocka_unit_test(a_path_stays_near_its_box_and_begins_with_the_pen_set_down),
        cmocka_unit_test(counts_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
