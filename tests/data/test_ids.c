/* SPDX-License-Identifier: Apache-2.0 */
/* Numbering ids: numbers, texts, and the change from one to the other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "data/ids.h"

static uint32_t add(struct ids *ids, const char *text) {
    uint32_t index = IDS_NONE;
    assert_int_equal(ids_add(ids, text, strlen(text), &index), HYSGD_OK);
    return index;
}

static uint32_t find(const struct ids *ids, const char *text) {
    return ids_find(ids, text, strlen(text));
}

static void expect_text(const struct ids *ids, uint32_t index, const char *expected) {
    char buffer[IDS_NUMBER_BYTES];
    size_t length;
    const char *text = ids_text(ids, index, buffer, &length);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text, expected, length);
}

static void ids_are_numbered_as_they_first_occur(void **state) {
    (void)state;
    struct ids ids = {0};
    assert_int_equal(add(&ids, "17"), 0);
    assert_int_equal(add(&ids, "4"), 1);
    assert_int_equal(add(&ids, "17"), 0);
    assert_int_equal(ids.count, 2);
    assert_false(ids.are_texts);
    ids_fini(&ids);
}

static void an_id_that_was_not_added_is_not_found(void **state) {
    (void)state;
    struct ids ids = {0};
    assert_int_equal(find(&ids, "1"), IDS_NONE);
    add(&ids, "17");
    assert_int_equal(find(&ids, "1"), IDS_NONE);
    assert_int_equal(find(&ids, "x"), IDS_NONE);
    assert_int_equal(find(&ids, "9000000000000000000"), IDS_NONE);
    assert_int_equal(find(&ids, "17"), 0);
    ids_fini(&ids);
}

/* Dense and sparse, small and huge, negative: whichever way they are kept. */
static void all_kinds_of_numbers_are_found_and_given_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0",   "1",  "4095",       "70000",      "9223372036854775807", "-9223372036854775807",
        "-1",  "99", "2147483648", "4294967295", "4294967296",          "12345678901234567",
        "100", "101"};
    struct ids ids = {0};
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(add(&ids, texts[i]), i);
    assert_false(ids.are_texts);
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(find(&ids, texts[i]), i);
        expect_text(&ids, i, texts[i]);
    }
    ids_fini(&ids);
}

/* Numbers that were hashed while ids were few stay found when the array has grown over them. */
static void many_numbers_are_all_found(void **state) {
    (void)state;
    struct ids ids = {0};
    char text[32];
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "%u", i % 2 ? i : 2654435761u * i % 300000);
        uint32_t before = ids.count, index = add(&ids, text);
        assert_true(index <= before);
        assert_int_equal(find(&ids, text), index);
    }
    for (uint32_t i = 0; i < ids.count; i++) {
        snprintf(text, sizeof text, "%lld", (long long)ids.numbers[i]);
        assert_int_equal(find(&ids, text), i);
    }
    ids_fini(&ids);
}

static void numbers_in_another_spelling_are_other_ids(void **state) {
    (void)state;
    static const char *const texts[] = {"7", "07", "+7", "7.0", "-0", "0", "9223372036854775808", " 7", "7a"};
    struct ids ids = {0};
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(add(&ids, texts[i]), i);
    assert_true(ids.are_texts);
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(find(&ids, texts[i]), i);
        expect_text(&ids, i, texts[i]);
    }
    ids_fini(&ids);
}

static void numbers_keep_their_indices_when_a_text_comes(void **state) {
    (void)state;
    struct ids ids = {0};
    add(&ids, "100");
    add(&ids, "-5");
    assert_int_equal(add(&ids, "alice"), 2);
    assert_int_equal(add(&ids, "-5"), 1);
    expect_text(&ids, 0, "100");
    ids_fini(&ids);
}

static void many_texts_are_all_found(void **state) {
    (void)state;
    struct ids ids = {0};
    char text[64];
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "user %.*s%u", (int)(i % 20), "xxxxxxxxxxxxxxxxxxxx", i);
        assert_int_equal(add(&ids, text), i);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "user %.*s%u", (int)(i % 20), "xxxxxxxxxxxxxxxxxxxx", i);
        assert_int_equal(find(&ids, text), i);
        expect_text(&ids, i, text);
    }
    ids_fini(&ids);
}

static void texts_may_hold_any_bytes(void **state) {
    (void)state;
    struct ids ids = {0};
    uint32_t index;
    assert_int_equal(ids_add(&ids, "a\0b", 3, &index), HYSGD_OK);
    assert_int_equal(ids_add(&ids, "a\0c", 3, &index), HYSGD_OK);
    assert_int_equal(ids_add(&ids, "a", 1, &index), HYSGD_OK);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids_find(&ids, "a\0c", 3), 1);
    ids_fini(&ids);
}

/* Each request of memory fails in turn; what was there before stays whole. */
static void ids_that_were_shrunk_are_found_and_others_may_come(void **state) {
    (void)state;
    static const char *const first[] = {"1", "4000", "123456789012", "-3"}, *const later[] = {"3999", "70000", "x"};
    for (int are_texts = 0; are_texts < 2; are_texts++) {
        struct ids ids = {0};
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(add(&ids, first[i]), i);
        if (are_texts)
            assert_int_equal(ids_become_texts(&ids), HYSGD_OK);
        size_t before = memory_used();
        assert_int_equal(ids_shrink(&ids), HYSGD_OK);
        assert_true(memory_used() < before);
        assert_int_equal(ids_shrink(&ids), HYSGD_OK);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(add(&ids, later[i]), 4 + i);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(find(&ids, first[i]), i);
        ids_fini(&ids);
    }
    struct ids none = {0};
    assert_int_equal(ids_shrink(&none), HYSGD_OK);
}

/* Numbers in the array and in the table, or texts; with more of them than a table begins with. */
static void fill(struct ids *ids, bool are_texts, uint32_t count) {
    char text[32];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s%u", are_texts ? "user " : "", i % 3 ? i : 1000000007u * i);
        assert_int_equal(add(ids, text), i);
    }
}

static void ids_that_are_not_to_be_found_take_less_and_are_found_all_the_same(void **state) {
    (void)state;
    for (int are_texts = 0; are_texts < 2; are_texts++) {
        struct ids ids = {0};
        fill(&ids, are_texts, 200);
        size_t before = memory_used();
        ids_stop_finding(&ids);
        ids_stop_finding(&ids);
        assert_true(memory_used() < before);
        assert_int_equal(find(&ids, are_texts ? "user 100" : "100"), 100);
        assert_int_equal(find(&ids, are_texts ? "user 3000000021" : "3000000021"), 3);
        assert_int_equal(find(&ids, "nobody"), IDS_NONE);
        assert_int_equal(find(&ids, "4"), are_texts ? IDS_NONE : 4);
        assert_int_equal(ids_shrink(&ids), HYSGD_OK);
        expect_text(&ids, 199, are_texts ? "user 199" : "199");
        ids_fini(&ids);
    }
}

static void ids_that_were_not_to_be_found_go_on_when_another_comes(void **state) {
    (void)state;
    for (int are_texts = 0; are_texts < 2; are_texts++) {
        struct ids ids = {0}, all = {0};
        fill(&all, are_texts, 200);
        fill(&ids, are_texts, 100);
        ids_stop_finding(&ids);
        fill(&ids, are_texts, 200);
        assert_int_equal(ids.hashed, all.hashed);
        assert_int_equal(ids.direct_count, all.direct_count);
        ids_stop_finding(&ids);
        assert_int_equal(add(&ids, "alice"), 200);
        assert_int_equal(find(&ids, are_texts ? "user 100" : "100"), 100);
        ids_fini(&all);
        ids_fini(&ids);
    }
}

static void ids_stay_as_they_were_when_memory_ends_before_they_can_be_found_again(void **state) {
    (void)state;
    for (int are_texts = 0; are_texts < 2; are_texts++) {
        struct ids ids = {0};
        enum hysgd_status status = HYSGD_MEMORY;
        const char *text = are_texts ? "user x" : "12345678901";
        uint32_t index;
        fill(&ids, are_texts, 200);
        ids_stop_finding(&ids);
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            memory_fail_at(n);
            status = ids_add(&ids, text, strlen(text), &index);
            memory_fail_at(0);
            assert_int_equal(ids.count, 200 + (status == HYSGD_OK));
            assert_int_equal(find(&ids, are_texts ? "user 101" : "101"), 101);
        }
        assert_int_equal(index, 200);
        ids_fini(&ids);
    }
}

static void exhausted_memory_leaves_the_ids_as_they_were(void **state) {
    (void)state;
    static const char *const texts[] = {"1", "-2", "1000000000", "60000", "alice", "bob"};
    size_t used = memory_used();
    struct ids ids = {0};
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            uint32_t index;
            memory_fail_at(n);
            status = ids_add(&ids, texts[i], strlen(texts[i]), &index);
            memory_fail_at(0);
            assert_int_equal(ids.count, i + (status == HYSGD_OK));
            for (uint32_t j = 0; j < i; j++)
                assert_int_equal(find(&ids, texts[j]), j);
        }
    }
    ids_fini(&ids);
    assert_int_equal(memory_used(), used);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_numbered_as_they_first_occur),
        cmocka_unit_test(an_id_that_was_not_added_is_not_found),
        cmocka_unit_test(all_kinds_of_numbers_are_found_and_given_back),
        cmocka_unit_test(many_numbers_are_all_found),
        cmocka_unit_test(numbers_in_another_spelling_are_other_ids),
        cmocka_unit_test(numbers_keep_their_indices_when_a_text_comes),
        cmocka_unit_test(many_texts_are_all_found),
        cmocka_unit_test(texts_may_hold_any_bytes),
        cmocka_unit_test(ids_that_were_shrunk_are_found_and_others_may_come),
        cmocka_unit_test(ids_that_are_not_to_be_found_take_less_and_are_found_all_the_same),
        cmocka_unit_test(ids_that_were_not_to_be_found_go_on_when_another_comes),
        cmocka_unit_test(ids_stay_as_they_were_when_memory_ends_before_they_can_be_found_again),
        cmocka_unit_test(exhausted_memory_leaves_the_ids_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
