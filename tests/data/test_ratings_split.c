/* SPDX-License-Identifier: Apache-2.0 */
/* Duplicates and parts of ratings: which ratings go where, and that none is lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "data/folder.h"
#include "data/ratings_duplicates.h"
#include "data/ratings_split.h"

#define MOST 400

/* Ratings whose values are 1, 2, 3, ... so that each is known again; row r has r % 7 + 1 of them, times repeat. */
static void fill(struct ratings *ratings, uint32_t rows, bool is_scattered) {
    char text[16 * MOST];
    size_t used = 0, count = 0;
    for (uint32_t round = 0; round < (is_scattered ? 7 : 1); round++)
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t column = 0; column <= row % 7; column++)
                if (!is_scattered || column == round)
                    used += (size_t)snprintf(text + used, sizeof text - used, "%u %u %zu %zu\n", row, column,
                                             count + 1, count * 37 % 50),
                        count++;
    *ratings = (struct ratings){0};
    assert_int_equal(ratings_read_text(text, used, "input",
                                       &(struct ratings_format){.wants_times = true, .threads = 1}, ratings),
                     HYSGD_OK);
}

static struct ratings_split make(uint32_t rows, const char *text, double validation, uint64_t seed) {
    struct ratings_split split = {0};
    struct ratings_split_plan plan;
    fill(&split.all, rows, true);
    assert_int_equal(ratings_split_parse("data x", text, &plan), HYSGD_OK);
    assert_int_equal(ratings_split_make(&split, &plan, split.all.count, validation, seed, "input"), HYSGD_OK);
    return split;
}

/* Whether the part has the rating with this value. */
static bool has(const struct ratings_part *part, uint64_t value) {
    for (uint64_t i = 0; i < part->count; i++)
        if (part->entries[i].value == (float)value)
            return true;
    return false;
}

static void every_rating_is_in_one_part(void **state) {
    (void)state;
    static const char *const texts[] = {"none",          "fraction:0.3",         "time:0.3",
                                        "leave-one-out", "leave-one-out:latest", "kfold:3/1"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        struct ratings_split split = make(70, texts[t], 0.2, 3);
        assert_int_equal(split.train.count + split.validation.count + split.test.count, 280);
        for (uint64_t value = 1; value <= 280; value++)
            assert_int_equal(has(&split.train, value) + has(&split.validation, value) + has(&split.test, value), 1);
        assert_ptr_equal(split.train.entries, split.all.entries);
        assert_ptr_equal(split.test.entries, split.all.entries + split.train.count + split.validation.count);
        assert_null(split.all.times);
        ratings_fini(&split.all);
    }
}

static void a_drawn_part_has_about_its_share(void **state) {
    (void)state;
    struct ratings_split split = make(70, "fraction:0.25", 0.5, 1);
    assert_in_range(split.test.count, 50, 90);        /* of 280; the deviation is 7 */
    assert_in_range(split.validation.count, 85, 125); /* half of the rest */
    ratings_fini(&split.all);
}

static void the_seed_names_the_parts(void **state) {
    (void)state;
    static const char *const texts[] = {"fraction:0.3", "leave-one-out", "kfold:3/1"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        struct ratings_split a = make(70, texts[t], 0.2, 3), b = make(70, texts[t], 0.2, 3),
                             c = make(70, texts[t], 0.2, 4);
        assert_memory_equal(a.all.entries, b.all.entries, 280 * sizeof *a.all.entries);
        assert_memory_not_equal(a.all.entries, c.all.entries, 280 * sizeof *a.all.entries);
        ratings_fini(&a.all);
        ratings_fini(&b.all);
        ratings_fini(&c.all);
    }
}

static void the_folds_are_the_whole(void **state) {
    (void)state;
    int met[281] = {0};
    for (int fold = 0; fold < 4; fold++) {
        char text[32];
        snprintf(text, sizeof text, "kfold:4/%d", fold);
        struct ratings_split split = make(70, text, 0, 9);
        assert_in_range(split.test.count, 45, 95);
        for (uint64_t i = 0; i < split.test.count; i++)
            met[(int)split.test.entries[i].value]++;
        ratings_fini(&split.all);
    }
    for (int value = 1; value <= 280; value++)
        assert_int_equal(met[value], 1);
}

static void a_split_by_time_takes_exactly_the_latest(void **state) {
    (void)state;
    struct ratings_split split = make(70, "time:0.3", 0.25, 1);
    assert_int_equal(split.test.count, 84);
    assert_int_equal(split.validation.count, 49);
    for (uint64_t i = 0; i < split.test.count; i++)
        for (uint64_t j = 0; j < split.train.count; j++) {
            int64_t test = (int64_t)split.test.entries[i].value - 1,
                    train = (int64_t)split.train.entries[j].value - 1;
            assert_true(test * 37 % 50 > train * 37 % 50 || (test * 37 % 50 == train * 37 % 50 && test > train));
        }
    ratings_fini(&split.all);
}

static void times_of_any_size_are_ordered(void **state) {
    (void)state;
    static const char text[] = "1 1 1 -9000000000000000000\n1 2 2 9000000000000000000\n1 3 3 -1\n1 4 4 0\n";
    struct ratings_split split = {0};
    const struct ratings_split_plan plan = {.kind = RATINGS_SPLIT_TIME, .share = 0.5};
    assert_int_equal(ratings_read_text(text, strlen(text), "input",
                                       &(struct ratings_format){.wants_times = true, .threads = 1}, &split.all),
                     HYSGD_OK);
    assert_int_equal(ratings_split_make(&split, &plan, 4, 0, 1, "input"), HYSGD_OK);
    assert_true(split.test.count == 2 && has(&split.test, 2) && has(&split.test, 4));
    ratings_fini(&split.all);
}

static void one_of_each_user_with_two_or_more_is_left_out(void **state) {
    (void)state;
    for (int is_latest = 0; is_latest < 2; is_latest++) {
        struct ratings_split split = make(70, is_latest ? "leave-one-out:latest" : "leave-one-out", 0, 2);
        int left[70] = {0};
        assert_int_equal(split.test.count, 60);
        for (uint64_t i = 0; i < split.test.count; i++)
            left[split.test.entries[i].row]++;
        for (int row = 0; row < 70; row++)
            assert_int_equal(left[row], row % 7 > 0);
        for (uint64_t i = 0; is_latest && i < split.test.count; i++) {
            int64_t test = (int64_t)split.test.entries[i].value - 1;
            for (uint64_t j = 0; j < split.train.count; j++)
                if (split.train.entries[j].row == split.test.entries[i].row)
                    assert_true(test * 37 % 50 >= ((int64_t)split.train.entries[j].value - 1) * 37 % 50);
        }
        ratings_fini(&split.all);
    }
}

static void the_mean_and_the_range_are_those_of_a_part(void **state) {
    (void)state;
    struct ratings_split split = make(2, "none", 0, 1);
    assert_float_equal(split.train.mean, 2, 0);
    assert_true(split.train.least == 1 && split.train.most == 3);
    assert_true(split.test.count == 0 && split.test.mean == 0);
    ratings_fini(&split.all);
}

static void splits_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",         "fraction",     "fraction:0",  "fraction:1",   "fraction:x",
        "time:-1",  "kfold:1/0",    "kfold:5/5",   "kfold:5",      "kfold:5/-1",
        "kfold:/1", "random",       "fraction:0.", "leave-one-in", "leave-one-out:x",
        "none:1",   "kfold:20000/1"};
    struct ratings_split_plan plan;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(ratings_split_parse("data x", texts[i], &plan), HYSGD_USAGE);
        assert_message("data x: split=");
    }
}

static void nothing_left_to_train_on_is_refused(void **state) {
    (void)state;
    struct ratings_split split = {0};
    const struct ratings_split_plan plan = {.kind = RATINGS_SPLIT_TIME, .share = 0.9};
    fill(&split.all, 1, false);
    assert_int_equal(ratings_split_make(&split, &plan, 1, 0, 1, "input"), HYSGD_INPUT);
    assert_message("input: of 1 ratings none is left to train on");
    ratings_fini(&split.all);
}

/* ---- Duplicates ---- */

static void expect_values(const char *text, enum ratings_duplicates rule, const char *expected) {
    struct ratings ratings = {0};
    char values[64] = "";
    size_t used = 0;
    assert_int_equal(ratings_read_text(text, strlen(text), "input",
                                       &(struct ratings_format){.wants_times = true, .threads = 1}, &ratings),
                     HYSGD_OK);
    uint64_t before = ratings.count;
    assert_int_equal(ratings_drop_duplicates(&ratings, 0, rule, "input"), HYSGD_OK);
    assert_int_equal(ratings.count + ratings.duplicates, before);
    for (uint64_t i = 0; i < ratings.count; i++)
        used += (size_t)snprintf(values + used, sizeof values - used, "%g@%d ", (double)ratings.entries[i].value,
                                 (int)ratings.times[i]);
    assert_string_equal(values, expected);
    ratings_fini(&ratings);
}

static const char grouped[] = "1 1 1 0\n1 2 2 1\n1 1 3 2\n1 1 4 3\n2 1 5 4\n2 2 6 5\n2 2 7 6\n";
static const char scattered[] = "1 1 1 0\n2 1 5 1\n1 2 2 2\n2 2 6 3\n1 1 3 4\n2 2 7 5\n1 1 4 6\n";

static void the_last_of_a_pair_counts(void **state) {
    (void)state;
    expect_values(grouped, RATINGS_DUPLICATES_LAST, "2@1 4@3 5@4 7@6 ");
    expect_values(scattered, RATINGS_DUPLICATES_LAST, "5@1 2@2 7@5 4@6 ");
}

static void the_values_of_a_pair_are_added(void **state) {
    (void)state;
    expect_values(grouped, RATINGS_DUPLICATES_SUM, "2@1 8@3 5@4 13@6 ");
    expect_values(scattered, RATINGS_DUPLICATES_SUM, "5@1 2@2 13@5 8@6 ");
}

static void duplicates_may_be_kept(void **state) {
    (void)state;
    expect_values(scattered, RATINGS_DUPLICATES_KEEP, "1@0 5@1 2@2 6@3 3@4 7@5 4@6 ");
}

static void duplicates_may_be_refused(void **state) {
    (void)state;
    struct ratings ratings = {0};
    static const char text[] = "7 a 1\n8 b 2\n7 b 2\n7 a 3\n", huge[] = "7 a 3e38\n7 a 3e38\n";
    const struct ratings_format format = {.threads = 1};
    assert_int_equal(ratings_read_text(text, strlen(text), "input", &format, &ratings), HYSGD_OK);
    assert_int_equal(ratings_drop_duplicates(&ratings, 0, RATINGS_DUPLICATES_REFUSE, "input"), HYSGD_INPUT);
    assert_message("input: user '7' and item 'a' occur twice; expected each pair once");
    ratings_fini(&ratings);
    assert_int_equal(ratings_read_text(huge, strlen(huge), "input", &format, &ratings), HYSGD_OK);
    assert_int_equal(ratings_drop_duplicates(&ratings, 0, RATINGS_DUPLICATES_SUM, "input"), HYSGD_INPUT);
    assert_message("input: user '7' and item 'a' occur twice; the sum of their values is too large");
    ratings_fini(&ratings);
}

static void ratings_before_the_first_are_left_alone(void **state) {
    (void)state;
    struct ratings ratings = {0};
    static const char text[] = "1 1 1\n1 1 2\n1 1 3\n1 1 4\n";
    assert_int_equal(ratings_read_text(text, strlen(text), "input", &(struct ratings_format){0}, &ratings),
                     HYSGD_OK);
    assert_int_equal(ratings_drop_duplicates(&ratings, 2, RATINGS_DUPLICATES_LAST, "input"), HYSGD_OK);
    assert_int_equal(ratings.count, 3);
    assert_true(ratings.entries[0].value == 1 && ratings.entries[1].value == 2 && ratings.entries[2].value == 4);
    ratings_fini(&ratings);
}

/* Enough scattered ratings that the buffer takes several turns, against the definition. */
static void many_scattered_duplicates_are_all_found(void **state) {
    (void)state;
    enum { COUNT = 700000, ROWS = 1000, COLUMNS = 2000 };
    static float last[ROWS][COLUMNS];
    struct ratings ratings = {.count = COUNT};
    uint64_t distinct = 0;
    char name[8];
    uint32_t index;
    assert_int_equal(memory_alloc(COUNT, sizeof *ratings.entries, &ratings.entries), HYSGD_OK);
    for (int i = 0; i < COLUMNS; i++) {
        size_t length = (size_t)snprintf(name, sizeof name, "%d", i);
        assert_int_equal(ids_add(&ratings.columns, name, length, &index), HYSGD_OK);
        if (i < ROWS)
            assert_int_equal(ids_add(&ratings.rows, name, length, &index), HYSGD_OK);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t key = i * 2654435761u >> 3, row = key % 97 < 30 ? 5 : key / 64 % ROWS,
                 column = key % 9973 % COLUMNS;
        ratings.entries[i] = (struct rating){row, column, (float)(i + 1)};
        distinct += last[row][column] == 0;
        last[row][column] = (float)(i + 1);
    }
    assert_int_equal(ratings_drop_duplicates(&ratings, 0, RATINGS_DUPLICATES_LAST, "input"), HYSGD_OK);
    assert_int_equal(ratings.count, distinct);
    assert_true(ratings.duplicates > 1000);
    for (uint64_t i = 0; i < ratings.count; i++)
        assert_true(ratings.entries[i].value == last[ratings.entries[i].row][ratings.entries[i].column]);
    ratings_fini(&ratings);
}

/* ---- Memory ---- */

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {"time:0.3", "leave-one-out", "leave-one-out:latest", "fraction:0.3"};
    size_t used = memory_used();
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            struct ratings_split split = {0};
            struct ratings_split_plan plan;
            fill(&split.all, 30, t % 2 == 0);
            assert_int_equal(ratings_split_parse("data x", texts[t], &plan), HYSGD_OK);
            memory_fail_at(n);
            status = ratings_drop_duplicates(&split.all, 0, RATINGS_DUPLICATES_LAST, "input");
            if (status == HYSGD_OK)
                status = ratings_split_make(&split, &plan, split.all.count, 0.2, 1, "input");
            memory_fail_at(0);
            assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
            ratings_fini(&split.all);
            assert_int_equal(memory_used(), used);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rating_is_in_one_part),
        cmocka_unit_test(a_drawn_part_has_about_its_share),
        cmocka_unit_test(the_seed_names_the_parts),
        cmocka_unit_test(the_folds_are_the_whole),
        cmocka_unit_test(a_split_by_time_takes_exactly_the_latest),
        cmocka_unit_test(times_of_any_size_are_ordered),
        cmocka_unit_test(one_of_each_user_with_two_or_more_is_left_out),
        cmocka_unit_test(the_mean_and_the_range_are_those_of_a_part),
        cmocka_unit_test(splits_that_make_no_sense_are_refused),
        cmocka_unit_test(nothing_left_to_train_on_is_refused),
        cmocka_unit_test(the_last_of_a_pair_counts),
        cmocka_unit_test(the_values_of_a_pair_are_added),
        cmocka_unit_test(duplicates_may_be_kept),
        cmocka_unit_test(duplicates_may_be_refused),
        cmocka_unit_test(ratings_before_the_first_are_left_alone),
        cmocka_unit_test(many_scattered_duplicates_are_all_found),
        cmocka_unit_test(exhausted_memory_is_a_status_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
