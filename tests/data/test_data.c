/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance suite of data plug-ins: it runs on every entry of data_list. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "data/opened.h"
#include "data/tiny_files.h"

/* How each plug-in is opened small. One that is not here is opened by its name. %s: a folder with the tiny files.
 */
static const struct {
    const char *name, *text;
} small[] = {
    {"digits", "digits,train=40,test=10"},
    {"random", "random,samples=60"},
    {"none", "none,samples=50,test=5"},
    {"mnist", "mnist:%s"},
    {"fashion", "fashion:%s"},
    {"cifar10", "cifar10:%s"},
    {"ratings", "ratings:%s/ratings"},
    {"planted", "planted,users=9,items=7,ratings=50"},
};

static const char *text_of(const char *name, const struct folder *folder, char *text, size_t size) {
    snprintf(text, size, "%s", name);
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        if (strcmp(small[i].name, name) == 0)
            snprintf(text, size, small[i].text, folder->path);
    }
    return text;
}

static int open_folder(void **state) {
    static struct folder folder;
    *state = &folder;
    folder_open(&folder);
    idx_write_all(&folder);
    cifar10_write_all(&folder);
    ratings_write(&folder);
    return 0;
}

/* Calls the check with every listed plug-in, opened small with seed 5. */
static void for_each(struct folder *folder, void (*check)(struct opened *opened)) {
    assert_true(data_list.count > 0);
    for (size_t i = 0; i < data_list.count; i++) {
        char text[400];
        struct opened opened;
        text_of(data_list.entries[i]->name, folder, text, sizeof text);
        if (opened_init(&opened, text, 5) != HYSGD_OK)
            fail_msg("%s: %s", text, hysgd_error_message());
        check(&opened);
        opened_fini(&opened);
    }
}

static void check_table(struct opened *opened) {
    const struct hysgd_data_ops *ops = opened->ops;
    assert_true(ops->about.name && ops->about.summary && ops->about.size > 0);
    assert_true(ops->init && ops->describe && ops->gather);
}

static void every_table_is_complete(void **state) {
    for_each(*state, check_table);
}

static void check_shape(struct opened *opened) {
    const struct hysgd_data_shape *shape = &opened->shape;
    assert_true(shape->train_count > 0);
    assert_true(shape->channels >= 0 && shape->height >= 0 && shape->width >= 0);
    assert_true(shape->classes == 0 || shape->classes >= 2);
    assert_true(shape->targets >= 0);
}

static void every_shape_makes_sense(void **state) {
    for_each(*state, check_shape);
}

/* The copies have exactly the described size, so a sanitizer sees what is written beyond it; NaN before
 * shows what is not. */
static void check_samples(struct opened *opened) {
    for (int split = HYSGD_TRAIN; split <= HYSGD_TEST; split++) {
        struct samples samples;
        size_t count = (size_t)opened_count(opened, split);
        samples_gather(&samples, opened, split, 0, count);
        for (size_t i = 0; i < samples.input_bytes / sizeof(float); i++)
            assert_true(isfinite(samples.inputs[i]) && fabsf(samples.inputs[i]) < 100);
        for (size_t i = 0; opened->shape.classes > 0 && i < count; i++)
            assert_in_range(samples.labels[i], 0, opened->shape.classes - 1);
        for (size_t i = 0; i < count * (size_t)opened->shape.targets; i++)
            assert_true(isfinite(samples.targets[i]));
        samples_free(&samples);
    }
}

static void inputs_are_finite_and_labels_in_range(void **state) {
    for_each(*state, check_samples);
}

static void check_order(struct opened *opened) {
    struct samples all, one;
    size_t count = (size_t)opened->shape.train_count, inputs = opened_inputs(opened);
    samples_gather(&all, opened, HYSGD_TRAIN, 0, count);
    for (size_t i = count; i-- > 0;) {
        samples_gather(&one, opened, HYSGD_TRAIN, i, 1);
        assert_memory_equal(one.inputs, all.inputs + i * inputs, inputs * sizeof(float));
        if (opened->shape.classes > 0)
            assert_int_equal(one.labels[0], all.labels[i]);
        samples_free(&one);
    }
    samples_free(&all);
}

static void a_sample_is_the_same_in_every_batch(void **state) {
    for_each(*state, check_order);
}

static void the_same_seed_gives_the_same_samples(void **state) {
    for (size_t i = 0; i < data_list.count; i++) {
        char text[400];
        struct opened opened[2];
        struct samples samples[2];
        text_of(data_list.entries[i]->name, *state, text, sizeof text);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(opened_init(&opened[k], text, 11), HYSGD_OK);
            samples_gather(&samples[k], &opened[k], HYSGD_TRAIN, 0, 6);
        }
        assert_memory_equal(samples[0].inputs, samples[1].inputs, samples[0].input_bytes);
        if (opened[0].shape.classes > 0)
            assert_memory_equal(samples[0].labels, samples[1].labels, 6 * sizeof(int32_t));
        for (int k = 0; k < 2; k++) {
            samples_free(&samples[k]);
            opened_fini(&opened[k]);
        }
    }
}

static void generated_samples_change_with_the_seed(void **state) {
    (void)state;
    static const char *const texts[] = {"digits,train=5,test=0", "random,samples=10", "planted,users=9,ratings=50"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct opened opened;
        struct samples a, b;
        assert_int_equal(opened_init(&opened, texts[i], 1), HYSGD_OK);
        samples_gather(&a, &opened, HYSGD_TRAIN, 0, 5);
        opened_fini(&opened);
        assert_int_equal(opened_init(&opened, texts[i], 2), HYSGD_OK);
        samples_gather(&b, &opened, HYSGD_TRAIN, 0, 5);
        opened_fini(&opened);
        assert_memory_not_equal(a.inputs, b.inputs, a.input_bytes);
        samples_free(&a);
        samples_free(&b);
    }
}

static void samples_with_a_seed_of_their_own_are_those_of_a_run_with_that_seed(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"digits,train=5,test=0,seed=7", "digits,train=5,test=0"},
                                           {"random,samples=10,seed=7", "random,samples=10"},
                                           {"planted,users=9,ratings=50,seed=7", "planted,users=9,ratings=50"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct opened opened;
        struct samples a, b;
        assert_int_equal(opened_init(&opened, texts[i][0], 1), HYSGD_OK);
        samples_gather(&a, &opened, HYSGD_TRAIN, 0, 5);
        opened_fini(&opened);
        assert_int_equal(opened_init(&opened, texts[i][1], 7), HYSGD_OK);
        samples_gather(&b, &opened, HYSGD_TRAIN, 0, 5);
        opened_fini(&opened);
        assert_memory_equal(a.inputs, b.inputs, a.input_bytes);
        samples_free(&a);
        samples_free(&b);
    }
}

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    for (size_t i = 0; i < data_list.count; i++) {
        char text[400];
        text_of(data_list.entries[i]->name, *state, text, sizeof text);
        enum hysgd_status status = HYSGD_MEMORY;
        size_t used = memory_used();
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            struct opened opened;
            memory_fail_at(n);
            status = opened_init(&opened, text, 1);
            memory_fail_at(0);
            if (status != HYSGD_OK && status != HYSGD_MEMORY)
                fail_msg("%s, request %d: %s", text, (int)n, hysgd_error_message());
            opened_fini(&opened);
            assert_int_equal(memory_used(), used);
        }
    }
}

static void random_is_split_80_to_20(void **state) {
    (void)state;
    struct opened opened;
    assert_int_equal(opened_init(&opened, "random", 1), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 8000);
    assert_int_equal(opened.shape.test_count, 2000);
    assert_int_equal(opened_inputs(&opened), 20);
    assert_int_equal(opened.shape.classes, 10);
    opened_fini(&opened);
}

/* Spread 0 puts every sample on a centre, so equal inputs mean equal labels and there are classes * centres of
 * them. */
static void random_samples_lie_around_the_centres_of_their_class(void **state) {
    (void)state;
    struct opened opened;
    struct samples samples;
    int distinct = 0;
    assert_int_equal(opened_init(&opened, "random,spread=0,classes=3,centres=2,samples=500", 1), HYSGD_OK);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 400);
    for (int i = 0; i < 400; i++) {
        int j = 0;
        while (memcmp(samples.inputs + j * 20, samples.inputs + i * 20, 20 * sizeof(float)) != 0)
            j++;
        assert_int_equal(samples.labels[j], samples.labels[i]);
        distinct += i == j;
    }
    assert_int_equal(distinct, 6);
    samples_free(&samples);
    opened_fini(&opened);
}

static void random_training_and_test_samples_differ(void **state) {
    (void)state;
    struct opened opened;
    struct samples train, test;
    assert_int_equal(opened_init(&opened, "random,samples=100", 1), HYSGD_OK);
    samples_gather(&train, &opened, HYSGD_TRAIN, 0, 80);
    samples_gather(&test, &opened, HYSGD_TEST, 0, 20);
    for (int i = 0; i < 80; i++) {
        for (int j = 0; j < 20; j++)
            assert_memory_not_equal(train.inputs + i * 20, test.inputs + j * 20, 20 * sizeof(float));
    }
    samples_free(&train);
    samples_free(&test);
    opened_fini(&opened);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_folder, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(every_table_is_complete),
        CASE(every_shape_makes_sense),
        CASE(inputs_are_finite_and_labels_in_range),
        CASE(a_sample_is_the_same_in_every_batch),
        CASE(the_same_seed_gives_the_same_samples),
        cmocka_unit_test(generated_samples_change_with_the_seed),
        cmocka_unit_test(samples_with_a_seed_of_their_own_are_those_of_a_run_with_that_seed),
        CASE(exhausted_memory_is_a_status_and_leaks_nothing),
        cmocka_unit_test(random_is_split_80_to_20),
        cmocka_unit_test(random_samples_lie_around_the_centres_of_their_class),
        cmocka_unit_test(random_training_and_test_samples_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
