/* SPDX-License-Identifier: Apache-2.0 */
/* The IDX parser, and MNIST and Fashion-MNIST read with it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "data/idx.h"
#include "data/opened.h"
#include "data/tiny_files.h"

static enum hysgd_status open_in(struct opened *opened, const struct folder *folder, const char *name,
                                 const char *more) {
    char text[400];
    snprintf(text, sizeof text, "%s:%s%s", name, folder->path, more);
    return opened_init(opened, text, 1);
}

/* Opening must fail with a message that contains the text. */
static void assert_refused(struct folder *folder, const char *text) {
    struct opened opened;
    assert_int_equal(open_in(&opened, folder, "mnist", ""), HYSGD_INPUT);
    assert_message(text);
}

static void dimensions_and_data_are_parsed(void **state) {
    (void)state;
    uint8_t bytes[64];
    struct idx idx;
    size_t header = idx_header(bytes, 3, (const uint32_t[]){2, 3, 4});
    assert_int_equal(idx_parse(bytes, header + 24, 3, "x", &idx), HYSGD_OK);
    assert_int_equal(idx.dims[0], 2);
    assert_int_equal(idx.dims[1], 3);
    assert_int_equal(idx.dims[2], 4);
    assert_ptr_equal(idx.data, bytes + 16);
}

static void malformed_headers_are_refused_with_what_was_expected(void **state) {
    (void)state;
    static const struct {
        uint8_t bytes[12];
        size_t size;
        const char *message;
    } cases[] = {
        {{0}, 0, "x: the file is empty; expected an IDX header of 12 bytes"},
        {{0, 0, 8}, 3, "x: truncated at byte 3; expected an IDX header of 12 bytes"},
        {{0, 0, 8, 2, 0, 0, 0}, 7, "x: truncated at byte 7; expected an IDX header of 12 bytes"},
        {{0, 0, 8, 1}, 12, "x: begins with 0x00000801; expected 0x00000802, IDX of unsigned bytes in 2 dimensions"},
        {{0, 0, 9, 2}, 12, "x: begins with 0x00000902; expected 0x00000802"},
        {{0x89, 'P', 'N', 'G'}, 4, "x: begins with 0x89504e47; expected 0x00000802"},
        {{0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 5}, 12, "x: truncated at byte 12; expected 27 bytes for 3 x 5"},
        {{0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 5}, 13, "x: 1 trailing bytes; expected the end at byte 12 after 0 x 5"},
        {{0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255},
         12,
         "x: truncated at byte 12; expected 18446744065119617037 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct idx idx;
        assert_int_equal(idx_parse(cases[i].bytes, cases[i].size, 2, "x", &idx), HYSGD_INPUT);
        assert_message(cases[i].message);
    }
}

static void dimensions_whose_product_overflows_are_refused(void **state) {
    (void)state;
    uint8_t bytes[32];
    struct idx idx;
    size_t size = idx_header(bytes, 4, (const uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX, 2});
    assert_int_equal(idx_parse(bytes, size, 4, "x", &idx), HYSGD_INPUT);
    assert_message("x: the dimensions 4294967295 x 4294967295 x 4294967295 x 2 are too large");
}

static void four_files_make_a_data_set(void **state) {
    struct opened opened;
    struct samples samples;
    idx_write_all(*state);
    assert_int_equal(open_in(&opened, *state, "mnist", ""), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 6);
    assert_int_equal(opened.shape.test_count, 4);
    assert_int_equal(opened_inputs(&opened), IDX_IMAGE);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 3, 2);
    assert_int_equal(samples.labels[0], 9);
    assert_int_equal(samples.labels[1], 2);
    for (int p = 0; p < IDX_IMAGE; p++)
        assert_float_equal(samples.inputs[p], (((93 + p) % 256) / 255.0 - 0.1307) / 0.3081, 1e-6);
    samples_free(&samples);
    opened_fini(&opened);
}

static void fashion_has_its_own_mean_and_deviation(void **state) {
    struct opened opened;
    struct samples samples;
    idx_write_all(*state);
    assert_int_equal(open_in(&opened, *state, "fashion", ""), HYSGD_OK);
    samples_gather(&samples, &opened, HYSGD_TEST, 0, 4);
    assert_float_equal(samples.inputs[255], (1 - 0.2860) / 0.3530, 1e-6);
    samples_free(&samples);
    opened_fini(&opened);
}

static void the_limit_shortens_training_only(void **state) {
    struct opened opened;
    idx_write_all(*state);
    assert_int_equal(open_in(&opened, *state, "mnist", ",limit=2"), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 2);
    assert_int_equal(opened.shape.test_count, 4);
    opened_fini(&opened);
    assert_int_equal(open_in(&opened, *state, "mnist", ",limit=7"), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 6);
    opened_fini(&opened);
}

static void a_directory_is_demanded(void **state) {
    (void)state;
    struct opened opened;
    assert_int_equal(opened_init(&opened, "mnist", 1), HYSGD_USAGE);
    assert_message("data mnist: no directory is given; expected mnist:DIR");
}

static void a_missing_file_is_named_with_the_names_tried(void **state) {
    idx_write_all(*state);
    unlink(folder_path(*state, "t10k-labels.idx1-ubyte"));
    assert_refused(*state, "expected one of t10k-labels-idx1-ubyte, t10k-labels-idx1-ubyte.gz, "
                           "t10k-labels.idx1-ubyte, t10k-labels.idx1-ubyte.gz");
}

static void a_label_above_nine_is_refused(void **state) {
    uint8_t bytes[32];
    idx_write_all(*state);
    size_t size = idx_labels(bytes, 6);
    bytes[size - 1] = 17;
    folder_write_gzip(*state, "train-labels-idx1-ubyte.gz", bytes, size);
    assert_refused(*state, "train-labels-idx1-ubyte.gz: label 17 at index 5; expected 0 to 9");
}

static void counts_that_disagree_are_refused(void **state) {
    uint8_t bytes[32];
    idx_write_all(*state);
    folder_write(*state, "t10k-labels.idx1-ubyte", bytes, idx_labels(bytes, 5));
    assert_refused(*state, "t10k-labels.idx1-ubyte: 5 labels; expected 4, one for each image");
}

static void images_of_another_size_are_refused(void **state) {
    uint8_t bytes[1024] = {0};
    idx_write_all(*state);
    size_t size = idx_header(bytes, 3, (const uint32_t[]){1, 28, 27});
    folder_write(*state, "train-images-idx3-ubyte", bytes, size + 28 * 27);
    assert_refused(*state, "train-images-idx3-ubyte: 1 images of 28 x 27; expected at least one, of 28 x 28");
    size = idx_header(bytes, 3, (const uint32_t[]){0, 28, 28});
    folder_write(*state, "train-images-idx3-ubyte", bytes, size);
    assert_refused(*state, "train-images-idx3-ubyte: 0 images of 28 x 28; expected at least one, of 28 x 28");
}

static void the_published_mnist_is_read_and_standardised(void **state) {
    struct opened opened;
    struct samples samples;
    struct folder *folder = *state;
    if (access(dataset_path(folder, "mnist"), R_OK) != 0) {
        print_message("the_published_mnist_is_read_and_standardised skipped because there is no %s\n",
                      folder->file);
        skip();
    }
    char text[800];
    snprintf(text, sizeof text, "mnist:%s", folder->file);
    assert_int_equal(opened_init(&opened, text, 1), HYSGD_OK);
    assert_int_equal(opened.shape.train_count, 60000);
    assert_int_equal(opened.shape.test_count, 10000);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 60000);
    double sum = 0, squares = 0, values = 60000.0 * IDX_IMAGE;
    for (size_t i = 0; i < 60000 * (size_t)IDX_IMAGE; i++) {
        sum += samples.inputs[i];
        squares += (double)samples.inputs[i] * samples.inputs[i];
    }
    assert_true(fabs(sum / values) < 1e-3);
    assert_true(fabs(squares / values - 1) < 1e-3);
    assert_int_equal(samples.labels[0], 5);
    assert_int_equal(samples.labels[59999], 8);
    samples_free(&samples);
    opened_fini(&opened);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(dimensions_and_data_are_parsed),
        CASE(malformed_headers_are_refused_with_what_was_expected),
        CASE(dimensions_whose_product_overflows_are_refused),
        CASE(four_files_make_a_data_set),
        CASE(fashion_has_its_own_mean_and_deviation),
        CASE(the_limit_shortens_training_only),
        CASE(a_directory_is_demanded),
        CASE(a_missing_file_is_named_with_the_names_tried),
        CASE(a_label_above_nine_is_refused),
        CASE(counts_that_disagree_are_refused),
        CASE(images_of_another_size_are_refused),
        CASE(the_published_mnist_is_read_and_standardised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
