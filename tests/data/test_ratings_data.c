/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in `ratings` and what other layers see of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/folder.h"
#include "data/opened.h"
#include "data/ratings.h"

/* Writes the text as the file `a` and opens ratings:a with the options. */
static enum hysgd_status open_text(struct opened *opened, struct folder *folder, const char *text,
                                   const char *options) {
    char specification[1024];
    folder_write(folder, "a", text, strlen(text));
    snprintf(specification, sizeof specification, "ratings:%s%s", folder_path(folder, "a"), options);
    return opened_init(opened, specification, 1);
}

static const struct ratings_split *must_open(struct opened *opened, struct folder *folder, const char *text,
                                             const char *options) {
    if (open_text(opened, folder, text, options) != HYSGD_OK)
        fail_msg("%s: %s", options, hysgd_error_message());
    return data_ratings(&opened->plugin);
}

static void only_ratings_are_seen_as_ratings(void **state) {
    struct opened opened;
    assert_non_null(must_open(&opened, *state, "1 2 3\n", ""));
    opened_fini(&opened);
    assert_int_equal(opened_init(&opened, "random,samples=10", 1), HYSGD_OK);
    assert_null(data_ratings(&opened.plugin));
    opened_fini(&opened);
}

static void a_sample_is_row_column_and_value(void **state) {
    struct opened opened;
    struct samples samples;
    must_open(&opened, *state, "u i 1\nu j 2\nv j 3\n", ",split=none");
    assert_int_equal(opened.shape.train_count, 3);
    assert_int_equal(opened.shape.row_count, 2);
    assert_int_equal(opened.shape.column_count, 2);
    samples_gather(&samples, &opened, HYSGD_TRAIN, 0, 3);
    assert_memory_equal(samples.inputs, ((const uint32_t[]){0, 0, 0, 1, 1, 1}), samples.input_bytes);
    assert_memory_equal(samples.targets, ((const float[]){1, 2, 3}), sizeof(float[3]));
    samples_free(&samples);
    opened_fini(&opened);
}

static void a_test_file_is_the_test_part(void **state) {
    struct folder *folder = *state;
    struct opened opened;
    char options[1024];
    folder_write(folder, "b", "7 1 5\n8 9 4\n", 12);
    snprintf(options, sizeof options, ",test=%s,validation=0.4", folder_path(folder, "b"));
    const struct ratings_split *split =
        must_open(&opened, folder, "1 1 1\n2 1 2\n3 1 3\n4 1 4\n5 1 5\n6 1 1\n7 2 2\n", options);
    assert_int_equal(split->test.count, 2);
    assert_int_equal(split->train.count + split->validation.count, 7);
    assert_true(split->test.entries[0].value == 5 && split->test.entries[1].value == 4);
    assert_int_equal(split->test.entries[0].row, ids_find(&split->all.rows, "7", 1));
    /* A user and an item that nobody trains on have their numbers all the same. */
    assert_int_equal(ids_find(&split->all.rows, "8", 1), 7);
    assert_int_equal(ids_find(&split->all.columns, "9", 1), 2);
    opened_fini(&opened);
}

static void ratings_whose_ids_are_not_looked_for_take_less(void **state) {
    struct opened opened;
    const struct ratings_split *split = must_open(&opened, *state, "1 x 3\n2 y 4\n", ",split=none");
    size_t before = memory_used();
    data_ratings_stop_finding(&opened.plugin);
    assert_true(memory_used() < before);
    assert_int_equal(split->all.rows.direct_count + split->all.columns.slot_count, 0);
    assert_int_equal(ids_find(&split->all.columns, "y", 1), 1);
    opened_fini(&opened);
}

/* The same pair in the file with the test part is not a duplicate, twice in that file is. */
static void duplicates_are_those_of_one_file(void **state) {
    struct folder *folder = *state;
    struct opened opened;
    char options[1024];
    folder_write(folder, "b", "1 1 7\n1 1 8\n", 12);
    snprintf(options, sizeof options, ",test=%s", folder_path(folder, "b"));
    const struct ratings_split *split = must_open(&opened, folder, "1 1 1\n2 1 2\n1 1 3\n", options);
    assert_int_equal(split->train.count, 2);
    assert_int_equal(split->test.count, 1);
    assert_true(split->test.entries[0].value == 8);
    assert_int_equal(split->all.duplicates, 2);
    opened_fini(&opened);
}

static void pairs_are_read_when_asked_for(void **state) {
    struct opened opened;
    const struct ratings_split *split = must_open(&opened, *state, "a b\nb c\n", ",pairs=yes,split=none");
    assert_true(split->train.count == 2 && split->train.mean == 1);
    opened_fini(&opened);
}

static void a_seed_of_its_own_names_the_parts(void **state) {
    struct folder *folder = *state;
    struct opened a, b;
    char text[4000], name[900];
    size_t used = 0;
    for (int i = 0; i < 200; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%d %d %d\n", i % 20, i / 20, i);
    folder_write(folder, "a", text, used);
    snprintf(name, sizeof name, "ratings:%s,split=fraction:0.5,seed=7", folder_path(folder, "a"));
    assert_int_equal(opened_init(&a, name, 1), HYSGD_OK);
    assert_int_equal(opened_init(&b, name, 2), HYSGD_OK);
    assert_memory_equal(data_ratings(&a.plugin)->all.entries, data_ratings(&b.plugin)->all.entries,
                        200 * sizeof(struct rating));
    opened_fini(&a);
    opened_fini(&b);
}

static void what_cannot_be_opened_is_refused(void **state) {
    static const struct {
        const char *text, *options;
        enum hysgd_status status;
        const char *message;
    } cases[] = {
        {"", "", HYSGD_INPUT, "/a: no rating in its 0 bytes"},
        {"1 2\n", "", HYSGD_INPUT, "/a:1: 2 columns separated by spaces; expected user, item, value"},
        {"1 2 nan\n", "", HYSGD_INPUT, "/a:1: the value 'nan' is not a finite number"},
        {"1 2 3\n1 2 4\n", ",duplicates=refuse", HYSGD_INPUT, "/a: user '1' and item '2' occur twice"},
        {"1 2 3\n1 3 4\n", ",split=time:0.5", HYSGD_INPUT,
         "/a:1: 3 columns separated by spaces; expected user, item, "
         "value, time"},
        {"1 2 3\n", ",split=half", HYSGD_USAGE, "data ratings: split=half is not valid"},
        {"1 2 3\n", ",split=fraction:0.5,test=b", HYSGD_USAGE, "data ratings: split=fraction:0.5 and a test file"},
        {"1 2 3\n", ",test=/absent/file", HYSGD_INPUT, "/absent/file: cannot be opened"},
        {"1 2 3 4\n", ",split=time:0.9", HYSGD_INPUT, "/a: of 1 ratings none is left to train on"},
        {"1 2 3\n", ",validation=1", HYSGD_USAGE, "data ratings: validation=1 is out of range"},
        {"1 2 3\n", ",duplicates=first", HYSGD_USAGE, "data ratings: duplicates=first is not valid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened opened;
        assert_int_equal(open_text(&opened, *state, cases[i].text, cases[i].options), cases[i].status);
        assert_message(cases[i].message);
    }
    struct opened opened;
    assert_int_equal(opened_init(&opened, "ratings", 1), HYSGD_USAGE);
    assert_message("data ratings: no file is given; expected ratings:FILE");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(only_ratings_are_seen_as_ratings),
        CASE(a_sample_is_row_column_and_value),
        CASE(a_test_file_is_the_test_part),
        CASE(duplicates_are_those_of_one_file),
        CASE(ratings_whose_ids_are_not_looked_for_take_less),
        CASE(pairs_are_read_when_asked_for),
        CASE(a_seed_of_its_own_names_the_parts),
        CASE(what_cannot_be_opened_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
