/* SPDX-License-Identifier: Apache-2.0 */
/* Columns by row: that every rating is there once, in order, under whatever numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/ratings.h"
#include "lowrank/lists.h"

static const struct rating entries[] = {{2, 5, 1}, {0, 3, 1}, {2, 1, 1}, {2, 5, 2}, {0, 0, 1}, {2, 3, 1}};

#define COUNT (sizeof entries / sizeof *entries)

static void check_row(const struct lists *lists, uint32_t row, const uint32_t *expected, uint32_t expected_count) {
    uint32_t count;
    const uint32_t *columns = lists_row(lists, row, &count);
    assert_int_equal(count, expected_count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(columns[i], expected[i]);
}

static void lists_are_ascending_without_repetition(void **state) {
    (void)state;
    struct lists lists;
    assert_int_equal(lists_init(&lists, entries, COUNT, 4), HYSGD_OK);
    check_row(&lists, 0, (const uint32_t[]){0, 3}, 2);
    check_row(&lists, 1, NULL, 0);
    check_row(&lists, 2, (const uint32_t[]){1, 3, 5}, 3);
    check_row(&lists, 3, NULL, 0);
    check_row(&lists, 4, NULL, 0); /* none of its rows */
    lists_fini(&lists);
}

static void no_ratings_are_empty_lists(void **state) {
    (void)state;
    struct lists lists, none = {0};
    assert_int_equal(lists_init(&lists, NULL, 0, 2), HYSGD_OK);
    check_row(&lists, 0, NULL, 0);
    check_row(&lists, 1, NULL, 0);
    check_row(&none, 0, NULL, 0);
    lists_fini(&lists);
    lists_fini(&none);
}

static void rows_and_columns_get_other_numbers(void **state) {
    (void)state;
    static const uint32_t rows[] = {3, 0, 1, 2}, columns[] = {5, 4, 3, 2, 1, 0};
    struct lists lists;
    assert_int_equal(lists_init(&lists, entries, COUNT, 4), HYSGD_OK);
    assert_int_equal(lists_renumber(&lists, rows, columns), HYSGD_OK);
    check_row(&lists, 3, (const uint32_t[]){2, 5}, 2);
    check_row(&lists, 1, (const uint32_t[]){0, 2, 4}, 3);
    check_row(&lists, 0, NULL, 0);
    check_row(&lists, 2, NULL, 0);
    lists_fini(&lists);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    static const uint32_t places[] = {0, 1, 2, 3, 4, 5};
    size_t before = memory_used();
    uint64_t failures = 0;
    for (enum hysgd_status status = HYSGD_MEMORY; status != HYSGD_OK; failures++) {
        struct lists lists;
        memory_fail_at(failures + 1);
        status = lists_init(&lists, entries, COUNT, 4);
        if (status == HYSGD_OK)
            status = lists_renumber(&lists, places, places);
        memory_fail_at(0);
        lists_fini(&lists);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(failures, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_ascending_without_repetition),
        cmocka_unit_test(no_ratings_are_empty_lists),
        cmocka_unit_test(rows_and_columns_get_other_numbers),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
