/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: what is printed reads back, and what is malformed is named with its line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "train/config.h"

/* The options read, as "key=value|". */
struct seen {
    char text[256];
};

static enum hysgd_status note(void *self, const char *key, const char *value) {
    struct seen *seen = self;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s=%s|", key, value);
    return strcmp(key, "bad") == 0 ? hysgd_fail(HYSGD_USAGE, "bad is refused") : HYSGD_OK;
}

static enum hysgd_status read_text(const char *text, struct seen *seen) {
    *seen = (struct seen){0};
    return config_read_text("f", text, strlen(text), note, seen);
}

static void blanks_and_comments_do_not_count(void **state) {
    (void)state;
    struct seen seen;
    assert_int_equal(read_text("# c = 1\n\n  a =  b c \r\n\tempty=\nlast = #1", &seen), HYSGD_OK);
    assert_string_equal(seen.text, "a=b c|empty=|last=#1|");
}

static void only_the_first_equals_sign_ends_the_key(void **state) {
    (void)state;
    struct seen seen;
    assert_int_equal(read_text("target = accuracy=0.9", &seen), HYSGD_OK);
    assert_string_equal(seen.text, "target=accuracy=0.9|");
}

static void every_value_reads_back_as_it_was_printed(void **state) {
    (void)state;
    static const char *const values[] = {"",     "a",  " a ", "\"",    "\"a\"", "a\"b",
                                         "a\nb", "\\", "\t",  "a\\nb", "# a",   "a = b"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char *text = NULL, expected[64];
        size_t length = 0;
        struct seen seen = {0};
        FILE *out = open_memstream(&text, &length);
        config_print("key", values[i], out);
        fclose(out);
        snprintf(expected, sizeof expected, "key=%s|", values[i]);
        assert_int_equal(config_read_text("f", text, length, note, &seen), HYSGD_OK);
        assert_string_equal(seen.text, expected);
        free(text);
    }
}

static void a_fault_is_named_with_its_line(void **state) {
    (void)state;
    static const char *const faults[][2] = {
        {"a = 1\nb", "f:2: \"b\" is not of the form key = value"},
        {"a = 1\n\na = 2", "f:3: a was given before, at line 1"},
        {"a = 1\nbad = 2", "f:2: bad is refused"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct seen seen;
        assert_int_equal(read_text(faults[i][0], &seen), HYSGD_USAGE);
        assert_string_equal(hysgd_error_message(), faults[i][1]);
    }
}

static void quotes_must_close_at_the_end(void **state) {
    (void)state;
    static const char *const faults[] = {"a = \"",   "a = \"b",     "a = \"b\" c",
                                         "a = \"\\", "a = \"\\q\"", "a = \"b\\\""};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct seen seen;
        assert_int_equal(read_text(faults[i], &seen), HYSGD_USAGE);
        assert_string_equal(seen.text, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_and_comments_do_not_count),
        cmocka_unit_test(only_the_first_equals_sign_ends_the_key),
        cmocka_unit_test(every_value_reads_back_as_it_was_printed),
        cmocka_unit_test(a_fault_is_named_with_its_line),
        cmocka_unit_test(quotes_must_close_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
