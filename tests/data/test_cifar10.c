/* SPDX-License-Identifier: Apache-2.0 */
/* CIFAR-10 from its six binary files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/opened.h"
#include "data/tiny_files.h"

static int open_folder(void **state) {
    static struct folder folder;
    *state = &folder;
    folder_open(&folder);
    cifar10_write_all(&folder);
    return 0;
}

static enum hysgd_status open_in(struct opened *opened, const struct folder *folder, const char *more) {
    char text[400];
    snprintf(text, sizeof text, "cifar10:%s%s", folder->path, more);
    return opened_init(opened, text, 1);
}

/* Opening must fail with a message that contains the text. */
static void assert_refused(struct folder *folder, const char *text) {
    struct opened opened;
    assert_int_equal(open_in(&opened, folder, ""), HYSGD_INPUT);
    assert_message(text);
}

static void whole_records_are_counted(void **state) {
    (void)state;
    static uint8_t bytes[3 * CIFAR10_RECORD];
    uint64_t count;
    assert_int_equal(cifar10_check(bytes, cifar10_records(bytes, 3, 7), "x", &count), HYSGD_OK);
    assert_int_equal(count, 3);
}

static void malformed_records_are_refused_with_what_was_expected(void **state) {
    (void)state;
    static uint8_t bytes[3 * CIFAR10_RECORD];
    uint64_t count;
    cifar10_records(bytes, 3, 8);
    assert_int_equal(cifar10_check(bytes, 0, "x", &count), HYSGD_INPUT);
    assert_message("x: the file is empty; expected records of 3073 bytes");
    assert_int_equal(cifar10_check(bytes, 2 * CIFAR10_RECORD + 5, "x", &count), HYSGD_INPUT);
    assert_message("x: truncated at byte 6151; expected records of 3073 bytes, of which 2 are whole");
    assert_int_equal(cifar10_check(bytes, sizeof bytes, "x", &count), HYSGD_INPUT);
    assert_message("x: label 10 at index 2; expected 0 to 9");
}

static void six_files_make_a_data_set(void **state) {
    struct opened opened;
    struct samples samples;
    assert_int_equal(open_in(&opened, *state, ""), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 10);
    assert_int_equal(opened.shape.test_count, 3);
    assert_int_equal(opened_inputs(&opened), CIFAR10_PIXELS);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(samples.labels[i], i);
    samples_free(&samples);
    samples_gather(&samples, &opened, HYSGD_TEST, 1, 2);
    assert_int_equal(samples.labels[1], 7);
    samples_free(&samples);
    opened_fini(&opened);
}

static void each_channel_has_its_own_mean_and_deviation(void **state) {
    struct opened opened;
    struct samples samples;
    assert_int_equal(open_in(&opened, *state, ""), HYSGD_OK);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 9, 1);
    for (int p = 0; p < 1024; p++) {
        assert_float_equal(samples.inputs[p], (1 / 255.0 - 0.4914) / 0.2470, 1e-6);
        assert_float_equal(samples.inputs[1024 + p], (61 / 255.0 - 0.4822) / 0.2435, 1e-6);
        assert_float_equal(samples.inputs[2048 + p], (121 / 255.0 - 0.4465) / 0.2616, 1e-6);
    }
    samples_free(&samples);
    opened_fini(&opened);
}

static void no_more_files_are_read_than_the_limit_needs(void **state) {
    struct opened opened;
    struct samples samples;
    unlink(folder_path(*state, "data_batch_3.bin"));
    assert_int_equal(open_in(&opened, *state, ",limit=3"), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 3);
    assert_int_equal(opened.shape.test_count, 3);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 3);
    assert_int_equal(samples.labels[2], 2);
    samples_free(&samples);
    opened_fini(&opened);
    assert_int_equal(open_in(&opened, *state, ",limit=5"), HYSGD_INPUT);
}

static void a_missing_file_is_named_with_the_names_tried(void **state) {
    unlink(folder_path(*state, "data_batch_4.bin.gz"));
    assert_refused(*state, ": no such file in it; expected one of data_batch_4.bin, data_batch_4.bin.gz");
}

static void batches_of_unequal_size_are_refused(void **state) {
    uint8_t bytes[CIFAR10_RECORD];
    folder_write(*state, "data_batch_5.bin", bytes, cifar10_records(bytes, 1, 0));
    assert_refused(*state, "data_batch_5.bin: 1 records; expected 2 as in the first batch");
}

static void a_directory_is_demanded(void **state) {
    (void)state;
    struct opened opened;
    assert_int_equal(opened_init(&opened, "cifar10", 1), HYSGD_USAGE);
    assert_message("data cifar10: no directory is given; expected cifar10:DIR");
}

static void the_published_files_are_read(void **state) {
    struct opened opened;
    struct samples samples;
    struct folder *folder = *state;
    if (access(dataset_path(folder, "cifar-10/test_batch.bin"), R_OK) != 0) {
        print_message("the_published_files_are_read skipped because there is no %s\n", folder->file);
        skip();
    }
    char text[800];
    snprintf(text, sizeof text, "cifar10:%s", dataset_path(folder, "cifar-10"));
    assert_int_equal(opened_init(&opened, text, 1), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 50000);
    assert_int_equal(opened.shape.test_count, 10000);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 50000);
    int counts[10] = {0};
    double sum = 0, squares = 0;
    for (int i = 0; i < 50000; i++)
        counts[samples.labels[i]]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(counts[i], 5000);
    for (size_t i = 0; i < 50000 * (size_t)CIFAR10_PIXELS; i++) {
        sum += samples.inputs[i];
        squares += (double)samples.inputs[i] * samples.inputs[i];
    }
    assert_float_equal(sum / (50000.0 * CIFAR10_PIXELS), 0, 1e-3);
    assert_float_equal(squares / (50000.0 * CIFAR10_PIXELS), 1, 1e-3);
    samples_free(&samples);
    opened_fini(&opened);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_folder, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(whole_records_are_counted),
        CASE(malformed_records_are_refused_with_what_was_expected),
        CASE(six_files_make_a_data_set),
        CASE(each_channel_has_its_own_mean_and_deviation),
        CASE(no_more_files_are_read_than_the_limit_needs),
        CASE(a_missing_file_is_named_with_the_names_tried),
        CASE(batches_of_unequal_size_are_refused),
        CASE(a_directory_is_demanded),
        CASE(the_published_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
