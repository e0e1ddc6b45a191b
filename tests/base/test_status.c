/* SPDX-License-Identifier: Apache-2.0 */
/* Status texts, exit codes and the failure message of a thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/status.h"

#define FIRST_STATUS HYSGD_OK
#define LAST_STATUS  HYSGD_INTERRUPTED

static void every_status_has_its_own_text(void **state) {
    (void)state;
    for (int a = FIRST_STATUS; a <= LAST_STATUS; a++) {
        assert_true(strlen(hysgd_status_text((enum hysgd_status)a)) > 0);
        for (int b = FIRST_STATUS; b < a; b++)
            assert_string_not_equal(hysgd_status_text((enum hysgd_status)a),
                                    hysgd_status_text((enum hysgd_status)b));
    }
    assert_string_equal(hysgd_status_text(HYSGD_MEMORY), "out of memory");
    assert_string_equal(hysgd_status_text((enum hysgd_status)99), "unknown status");
}

static void exit_codes_are_those_of_the_manual(void **state) {
    (void)state;
    assert_int_equal(hysgd_status_exit_code(HYSGD_OK), 0);
    assert_int_equal(hysgd_status_exit_code(HYSGD_FAILED), 1);
    assert_int_equal(hysgd_status_exit_code(HYSGD_MEMORY), 1);
    assert_int_equal(hysgd_status_exit_code(HYSGD_USAGE), 2);
    assert_int_equal(hysgd_status_exit_code(HYSGD_INPUT), 3);
    assert_int_equal(hysgd_status_exit_code(HYSGD_TARGET), 4);
    assert_int_equal(hysgd_status_exit_code(HYSGD_INTERRUPTED), 130);
    assert_int_equal(hysgd_status_exit_code((enum hysgd_status)99), 1);
}

static void a_failure_returns_its_status_and_keeps_its_message(void **state) {
    (void)state;
    assert_int_equal(hysgd_fail(HYSGD_INPUT, "%s:%d: expected a number", "a.txt", 7), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(), "a.txt:7: expected a number");
}

static void a_place_is_put_before_the_message(void **state) {
    (void)state;
    assert_int_equal(hysgd_fail(HYSGD_INPUT, "expected a number"), HYSGD_INPUT);
    assert_int_equal(status_locate(HYSGD_INPUT, "job.txt:3"), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(), "job.txt:3: expected a number");
    assert_int_equal(status_locate(HYSGD_OK, "elsewhere"), HYSGD_OK);
    assert_string_equal(hysgd_error_message(), "job.txt:3: expected a number");
}

static void the_message_may_be_its_own_argument(void **state) {
    (void)state;
    status_set_message("inner");
    assert_int_equal(hysgd_fail(HYSGD_FAILED, "outer: %s", hysgd_error_message()), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "outer: inner");
    status_set_message(hysgd_error_message());
    assert_string_equal(hysgd_error_message(), "outer: inner");
}

static void a_long_message_ends_with_dots(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(hysgd_fail(HYSGD_FAILED, "%s", text), HYSGD_FAILED);
    size_t length = strlen(hysgd_error_message());
    assert_true(length >= 1023 && length < sizeof text - 1);
    assert_string_equal(hysgd_error_message() + length - 4, "x...");
}

static void truncation_does_not_split_a_character(void **state) {
    (void)state;
    for (int shift = 0; shift < 2; shift++) {
        char text[5001] = "ab";
        for (size_t i = (size_t)shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xC3\xA4", 3);
        status_set_message(text);
        size_t length = strlen(hysgd_error_message());
        assert_int_equal((unsigned char)hysgd_error_message()[length - 4], 0xA4); /* the whole of the last one */
        assert_string_equal(hysgd_error_message() + length - 3, "...");
    }
}

static void a_message_is_one_line_without_control_characters(void **state) {
    (void)state;
    assert_int_equal(hysgd_fail(HYSGD_INPUT, "%s: no such file", "a\nb\x1B[31mc\x7F"), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(), "a?b?[31mc?: no such file");
}

static void *fail_elsewhere(void *is_empty) {
    *(bool *)is_empty = hysgd_error_message()[0] == '\0';
    *(bool *)is_empty &= hysgd_fail(HYSGD_FAILED, "of the other thread") == HYSGD_FAILED;
    return NULL;
}

static void each_thread_has_its_own_message(void **state) {
    (void)state;
    pthread_t thread;
    bool is_empty = false;
    status_set_message("mine");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &is_empty), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(is_empty);
    assert_string_equal(hysgd_error_message(), "mine");
}

static enum hysgd_status pass_on(enum hysgd_status status, bool *is_reached) {
    HYSGD_TRY(status);
    *is_reached = true;
    return HYSGD_OK;
}

static void a_failure_is_passed_on(void **state) {
    (void)state;
    bool is_reached = false;
    assert_int_equal(pass_on(HYSGD_TARGET, &is_reached), HYSGD_TARGET);
    assert_false(is_reached);
    assert_int_equal(pass_on(HYSGD_OK, &is_reached), HYSGD_OK);
    assert_true(is_reached);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_own_text),
        cmocka_unit_test(exit_codes_are_those_of_the_manual),
        cmocka_unit_test(a_failure_returns_its_status_and_keeps_its_message),
        cmocka_unit_test(a_place_is_put_before_the_message),
        cmocka_unit_test(the_message_may_be_its_own_argument),
        cmocka_unit_test(a_long_message_ends_with_dots),
        cmocka_unit_test(truncation_does_not_split_a_character),
        cmocka_unit_test(a_message_is_one_line_without_control_characters),
        cmocka_unit_test(each_thread_has_its_own_message),
        cmocka_unit_test(a_failure_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
