/* SPDX-License-Identifier: Apache-2.0 */
/* Files of factors: what is written is read again, and what no training can have written is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/memory.h"
#include "data/folder.h"
#include "train/factors_file.h"

#define ROWS    3
#define COLUMNS 2
#define RANK    2

/* A model that is written whole, or with what a case has changed. */
struct model {
    struct folder folder;
    struct factors factors;
    struct ids ids[SIDE_COUNT];
    uint32_t counts[SIDE_COUNT][ROWS];
    struct factors_progress progress;
};

static void add_id(struct ids *ids, const char *text, size_t length) {
    uint32_t index;
    assert_int_equal(ids_add(ids, text, length, &index), HYSGD_OK);
}

static int open_model(void **state) {
    static struct model model;
    model = (struct model){.counts = {{2, 0, 1}, {1, 2}}, .progress = {7, 1.5}};
    folder_open(&model.folder);
    assert_int_equal(factors_init(&model.factors, &(struct factors_shape){ROWS, COLUMNS, RANK, FACTORS_SUMS}),
                     HYSGD_OK);
    factors_start(&model.factors, FACTORS_NORMAL, 1, 1, 1);
    for (const char *id = "abc"; *id != '\0'; id++)
        add_id(&model.ids[SIDE_ROWS], id, 1);
    add_id(&model.ids[SIDE_COLUMNS], "4", 1);
    add_id(&model.ids[SIDE_COLUMNS], "-17", 3);
    *state = &model;
    return 0;
}

static int close_model(void **state) {
    struct model *model = *state;
    factors_fini(&model->factors);
    ids_fini(&model->ids[SIDE_ROWS]);
    ids_fini(&model->ids[SIDE_COLUMNS]);
    folder_close(&model->folder);
    assert_int_equal(memory_used(), 0);
    return 0;
}

static enum hysgd_status write_and_open(struct model *model, struct factors_file *file) {
    static const char *const metadata[][2] = {{"model", "factors,rank=2"}};
    const struct factors_content content = {.factors = &model->factors,
                                            .ids = {&model->ids[SIDE_ROWS], &model->ids[SIDE_COLUMNS]},
                                            .counts = {model->counts[SIDE_ROWS], model->counts[SIDE_COLUMNS]},
                                            .has_biases = true,
                                            .progress = model->progress,
                                            .train_checksum = 99,
                                            .metadata = metadata,
                                            .metadata_count = 1};
    assert_int_equal(factors_file_write(folder_path(&model->folder, "model"), &content), HYSGD_OK);
    return factors_file_open(model->folder.file, file);
}

static void expect_refused(struct model *model, const char *message) {
    struct factors_file file;
    assert_int_equal(write_and_open(model, &file), HYSGD_INPUT);
    assert_message(message);
    factors_file_close(&file);
}

static void what_is_written_is_read_again(void **state) {
    struct model *model = *state;
    struct factors_file file;
    assert_int_equal(write_and_open(model, &file), HYSGD_OK);
    assert_int_equal(file.factors.rank, RANK);
    assert_memory_equal(file.factors.sides[SIDE_ROWS].values, model->factors.sides[SIDE_ROWS].values,
                        ROWS * file.factors.stride * sizeof(float));
    assert_int_equal(ids_find(&file.ids[SIDE_ROWS], "b", 1), 1);
    assert_int_equal(ids_find(&file.ids[SIDE_COLUMNS], "-17", 3), 1);
    assert_memory_equal(file.counts[SIDE_COLUMNS], model->counts[SIDE_COLUMNS], COLUMNS * sizeof(uint32_t));
    assert_true(file.progress.epochs == 7 && file.progress.seconds == 1.5 && file.train_checksum == 99);
    assert_true(file.has_ids && file.has_biases);
    factors_file_close(&file);
}

static void factors_that_are_no_numbers_are_refused(void **state) {
    struct model *model = *state;
    model->factors.sides[SIDE_COLUMNS].values[1] = (float)NAN;
    expect_refused(model, "tensor columns: element 1 is not a finite number");
}

static void counts_of_other_ratings_are_refused(void **state) {
    struct model *model = *state;
    model->counts[SIDE_ROWS][0] = UINT32_MAX;
    expect_refused(model, "row_counts are of 4294967296 training ratings and column_counts of 3");
    memset(model->counts, 0, sizeof model->counts);
    expect_refused(model, "more than none");
}

static void more_epochs_than_there_can_be_are_refused(void **state) {
    struct model *model = *state;
    model->progress.epochs = (uint64_t)FACTORS_MOST_EPOCHS + 1;
    expect_refused(model, "do not tell how far the training came");
    model->progress.epochs = UINT64_C(4294967300);
    expect_refused(model, "do not tell how far the training came");
}

/* They would be printed as two lines, or as none. */
static void ids_that_no_file_can_have_are_refused(void **state) {
    struct model *model = *state;
    struct ids *rows = &model->ids[SIDE_ROWS];
    rows->texts[1] = '\n';
    expect_refused(model, "tensor row_id_text: element 1 is empty or has a NUL byte or a line end in it");
    rows->texts[1] = '\0';
    expect_refused(model, "element 1 is empty");
    rows->texts[1] = 'b';
    rows->ends[0] = 0;
    expect_refused(model, "element 0 is empty");
    rows->ends[0] = 4;
    expect_refused(model, "element 0 lies outside of the texts");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_model, close_model)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_is_read_again),         CASE(factors_that_are_no_numbers_are_refused),
        CASE(counts_of_other_ratings_are_refused),   CASE(more_epochs_than_there_can_be_are_refused),
        CASE(ids_that_no_file_can_have_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
