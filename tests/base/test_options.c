/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables: reading, refusing, printing back and explaining. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"

struct example {
    int64_t step, seed;
    double rate, shift;
    bool may_wait;
    int combine;
    char *path;
};

static const struct hysgd_option table[] = {{.key = "step",
                                             .type = HYSGD_OPTION_INT,
                                             .offset = offsetof(struct example, step),
                                             .initial = "300",
                                             .least = 1,
                                             .most = 1e9,
                                             .help = "gradients between two rises of the threshold"},
                                            {.key = "seed",
                                             .type = HYSGD_OPTION_INT,
                                             .offset = offsetof(struct example, seed),
                                             .initial = "-1",
                                             .help = "any number"},
                                            {.key = "rate",
                                             .type = HYSGD_OPTION_REAL,
                                             .offset = offsetof(struct example, rate),
                                             .initial = "0.1",
                                             .least = 0,
                                             .most = 1,
                                             .help = "learning rate"},
                                            {.key = "shift",
                                             .type = HYSGD_OPTION_REAL,
                                             .offset = offsetof(struct example, shift),
                                             .initial = "0",
                                             .least = -INFINITY,
                                             .most = 1e300,
                                             .help = "of the loss"},
                                            {.key = "wait",
                                             .type = HYSGD_OPTION_BOOL,
                                             .offset = offsetof(struct example, may_wait),
                                             .initial = "yes",
                                             .help = "wait for the update"},
                                            {.key = "combine",
                                             .type = HYSGD_OPTION_CHOICE,
                                             .offset = offsetof(struct example, combine),
                                             .initial = "sum",
                                             .words = "mean|sum|median",
                                             .help = "how gradients become one"},
                                            {.key = "path",
                                             .type = HYSGD_OPTION_TEXT,
                                             .offset = offsetof(struct example, path),
                                             .initial = "here",
                                             .help = "a folder"},
                                            {0}};

static int set_up(void **state) {
    static struct example example;
    *state = &example;
    memset(&example, 0, sizeof example);
    return options_init(table, &example) == HYSGD_OK ? 0 : -1;
}

static int tear_down(void **state) {
    options_fini(table, *state);
    return 0;
}

static char *print_all(const struct example *example) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    options_print(table, example, out);
    fclose(out);
    return text;
}

static void expect_printed(const struct example *example, const char *expected) {
    char *text = print_all(example);
    assert_string_equal(text, expected);
    free(text);
}

static void expect_refused(struct example *example, const char *text, const char *message) {
    assert_int_equal(options_parse(table, example, "policy threshold", text), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), message);
}

static void defaults_are_set(void **state) {
    const struct example *example = *state;
    assert_int_equal(example->step, 300);
    assert_int_equal(example->seed, -1);
    assert_true(example->rate == 0.1);
    assert_true(example->may_wait);
    assert_int_equal(example->combine, 1);
    assert_string_equal(example->path, "here");
    assert_int_equal(options_count(table), 7);
}

static void options_are_parsed(void **state) {
    struct example *example = *state;
    assert_int_equal(options_parse(table, example, "x", "step=2k,rate=1e-3,wait=no,combine=median,path=a=b,seed=5"),
                     HYSGD_OK);
    expect_printed(example, "step=2000,seed=5,rate=0.001,shift=0,wait=no,combine=median,path=a=b");
    assert_int_equal(options_parse(table, example, "x", ""), HYSGD_OK);
    assert_int_equal(options_parse(table, example, "x", "path="), HYSGD_OK);
    assert_string_equal(example->path, "");
}

static void quotes_and_parentheses_hold_commas(void **state) {
    struct example *example = *state;
    static const char *const cases[][2] = {
        {"path=\"a,b\",step=7", "a,b"},
        {"path=(a,b),step=7", "a,b"},
        {"path=(a(b,c),\"d)\"),step=7", "a(b,c),\"d)\""},
        {"path=\"\\\"\\\\\\n\",step=7", "\"\\\\n"},
        {"path=\"\",step=7", ""},
        {"path=a\"b(,step=7", "a\"b("},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        example->step = 1;
        assert_int_equal(options_parse(table, example, "x", cases[i][0]), HYSGD_OK);
        assert_string_equal(example->path, cases[i][1]);
        assert_int_equal(example->step, 7);
    }
}

static void malformed_texts_are_refused(void **state) {
    struct example *example = *state;
    expect_refused(example, "step", "policy threshold: 'step' is not of the form key=value");
    expect_refused(example, "step=1,", "policy threshold: '' is not of the form key=value");
    expect_refused(example, ",step=1", "policy threshold: '' is not of the form key=value");
    expect_refused(example, "=1", "policy threshold: '=1' is not of the form key=value");
    expect_refused(example, "step=1,,rate=1", "policy threshold: '' is not of the form key=value");
    expect_refused(example, "step=1,rate=1,step=2", "policy threshold: the option step is given twice");
    static const char *const unclosed[] = {"path=\"",    "path=\"a\\\"", "path=(",
                                           "path=(a\")", "path=\"a\"b",  "path=(a)b"};
    for (size_t i = 0; i < sizeof unclosed / sizeof *unclosed; i++) {
        assert_int_equal(options_parse(table, example, "x", unclosed[i]), HYSGD_USAGE);
        assert_non_null(strstr(hysgd_error_message(), "closing"));
        assert_string_equal(example->path, "here");
    }
}

static void unknown_keys_name_the_nearest(void **state) {
    struct example *example = *state;
    expect_refused(example, "stepp=1", "policy threshold: unknown option 'stepp': did you mean 'step'?");
    expect_refused(example, "STEP=1", "policy threshold: unknown option 'STEP': did you mean 'step'?");
    expect_refused(example, "comb=1", "policy threshold: unknown option 'comb': did you mean 'combine'?");
    expect_refused(
        example, "foo=1",
        "policy threshold: unknown option 'foo': expected one of step, seed, rate, shift, wait, combine, "
        "path");
    assert_int_equal(options_parse(NULL, example, "policy sync", "step=1"), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "policy sync: unknown option 'step': it has no options");
}

static void bad_values_name_the_range_or_the_words(void **state) {
    struct example *example = *state;
    expect_refused(example, "step=-3",
                   "policy threshold: step=-3 is out of range: expected an integer from 1 to 1e+09");
    expect_refused(example, "step=1000000001",
                   "policy threshold: step=1000000001 is out of range: expected an integer from 1 to 1e+09");
    expect_refused(example, "step=many",
                   "policy threshold: step=many is not valid: expected an integer from 1 to 1e+09");
    expect_refused(example, "seed=9223372036854775808",
                   "policy threshold: seed=9223372036854775808 is not valid: expected an integer");
    expect_refused(example, "rate=1.5",
                   "policy threshold: rate=1.5 is out of range: expected a number from 0 to 1");
    expect_refused(example, "shift=2e300",
                   "policy threshold: shift=2e300 is out of range: expected a number, at most 1e+300");
    expect_refused(example, "wait=maybe", "policy threshold: wait=maybe is not valid: expected yes or no");
    expect_refused(
        example, "combine=men",
        "policy threshold: combine=men is not valid: expected one of mean|sum|median; did you mean 'mean'?");
    expect_refused(example, "combine=product",
                   "policy threshold: combine=product is not valid: expected one of mean|sum|median");
}

static void a_refused_value_leaves_the_state_unchanged(void **state) {
    struct example *example = *state;
    static const char *const values[][2] = {{"step", "0"},   {"rate", "x"},           {"wait", "1"},
                                            {"combine", ""}, {"combine", "mean|sum"}, {"nothing", "1"}};
    char *before = print_all(example);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(options_set(table, example, "x", values[i][0], values[i][1]), HYSGD_USAGE);
    memory_fail_at(1);
    assert_int_equal(options_set(table, example, "x", "path", "there"), HYSGD_MEMORY);
    expect_printed(example, before);
    free(before);
}

static void the_limits_themselves_are_allowed(void **state) {
    struct example *example = *state;
    assert_int_equal(options_parse(table, example, "x", "step=1,rate=0"), HYSGD_OK);
    assert_int_equal(options_parse(table, example, "x", "step=1G,rate=1"), HYSGD_OK);
    assert_int_equal(example->step, 1000000000);
    assert_true(example->rate == 1);
}

static void printed_options_are_read_back_exactly(void **state) {
    struct example *example = *state;
    static const char *const paths[] = {"",          "plain", "a,b",   "\"",     "(",
                                        "a\\,\"b\"", "\\",    "(a),b", "a b=c)", "\"(,\\\\"};
    static const double reals[] = {
        0, -0.0, 0.1, 1.0 / 3, 5e-324, 2.2250738585072014e-308, 1e300, -1.7976931348623157e308};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct example copy = {0};
        assert_int_equal(options_set(table, example, "x", "path", paths[i]), HYSGD_OK);
        example->shift = reals[i % (sizeof reals / sizeof *reals)];
        example->seed = i % 2 == 0 ? INT64_MIN : INT64_MAX;
        char *text = print_all(example);
        assert_int_equal(options_init(table, &copy), HYSGD_OK);
        assert_int_equal(options_parse(table, &copy, "x", text), HYSGD_OK);
        assert_memory_equal(&copy.shift, &example->shift, sizeof copy.shift);
        assert_int_equal(copy.seed, example->seed);
        assert_string_equal(copy.path, paths[i]);
        free(text);
        options_fini(table, &copy);
    }
}

static void integers_are_read_with_suffix_and_exponent(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"+7", 7},
                {"007", 7},
                {"12k", 12000},
                {"-3M", -3000000},
                {"9G", 9000000000},
                {"1.5k", 1500},
                {"1e6", 1000000},
                {"2.50e1", 25},
                {"100e-2", 1},
                {"0e999999999", 0},
                {".5k", 500},
                {"1e-3k", 1},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      ".",
                                      "k",
                                      " 1",
                                      "1 ",
                                      "1kk",
                                      "1K",
                                      "1m",
                                      "0.5",
                                      "1.2345k",
                                      "1e",
                                      "1e+",
                                      "0x10",
                                      "inf",
                                      "nan",
                                      "1,000",
                                      "--1",
                                      "9223372036854775808",
                                      "1e19",
                                      "1e99999999999",
                                      "9999999999999999999999",
                                      "-9223372036854775809",
                                      "10000000000G",
                                      "1e-1"};
    int64_t value;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(options_read_int(good[i].text, &value));
        assert_int_equal(value, good[i].value);
    }
    value = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(options_read_int(bad[i], &value));
    assert_int_equal(value, 42);
}

static void reals_are_read_whole(void **state) {
    (void)state;
    static const char *const good[] = {
        "0", "-1", "+1.5", ".5", "5.", "1e10", "1E-400", "4.9e-324", "1.7976931348623157e308"};
    static const char *const bad[] = {"",    ".",   "-",     "e5", "1e", "1e400", "-1e400",
                                      "inf", "nan", "0x1p3", " 1", "1 ", "1k",    "1,5"};
    double value = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(options_read_real(bad[i], &value));
    assert_true(value == 42);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(options_read_real(good[i], &value));
        assert_true(value == strtod(good[i], NULL));
    }
}

static void a_locale_with_decimal_commas_changes_nothing(void **state) {
    struct example *example = *state;
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    const char *chosen = NULL;
    for (size_t i = 0; i < sizeof locales / sizeof *locales && chosen == NULL; i++)
        chosen = setlocale(LC_ALL, locales[i]);
    if (chosen == NULL) {
        print_message("a_locale_with_decimal_commas_changes_nothing skipped because no such locale is installed\n");
        skip();
    }
    enum hysgd_status status = options_parse(table, example, "x", "rate=0.25");
    char *text = print_all(example);
    setlocale(LC_ALL, "C");
    assert_int_equal(status, HYSGD_OK);
    assert_string_equal(text, "step=300,seed=-1,rate=0.25,shift=0,wait=yes,combine=sum,path=here");
    free(text);
}

static void the_nearest_word_is_found(void **state) {
    (void)state;
    static const char *const words[] = {"sync", "async", "threshold", "bounded"};
    assert_string_equal(options_nearest("sinc", words, 4), "sync");
    assert_string_equal(options_nearest("asinc", words, 4), "async");
    assert_string_equal(options_nearest("treshhold", words, 4), "threshold");
    assert_string_equal(options_nearest("Bounded", words, 4), "bounded");
    assert_string_equal(options_nearest("bo", words, 4), "bounded");
    assert_null(options_nearest("momentum", words, 4));
    assert_null(options_nearest("", words, 4));
    assert_null(options_nearest("x", words, 4));
    assert_null(options_nearest("sync", words, 0));
    char endless[500];
    memset(endless, 's', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(options_nearest(endless, words, 4));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    enum hysgd_status status = HYSGD_MEMORY;
    size_t before = memory_used();
    uint64_t n;
    for (n = 1; status == HYSGD_MEMORY; n++) {
        struct example example = {0};
        memory_fail_at(n);
        status = options_init(table, &example);
        if (status == HYSGD_OK)
            status = options_parse(table, &example, "x", "path=there,step=3");
        options_fini(table, &example);
        options_fini(table, &example);
        assert_int_equal(memory_used(), before);
    }
    memory_fail_at(0);
    assert_int_equal(status, HYSGD_OK);
    assert_int_equal(n - 1, 5); /* the default text, two pairs and the new text; the fifth attempt succeeds */
}

static char *print_help(int indent, int columns) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    options_help(table, indent, columns, out);
    fclose(out);
    return text;
}

static void help_names_default_and_range_of_each_option(void **state) {
    (void)state;
    char *text = print_help(2, 200);
    assert_string_equal(text,
                        "  step=300     gradients between two rises of the threshold (an integer from 1 to 1e+09)\n"
                        "  seed=-1      any number (an integer)\n"
                        "  rate=0.1     learning rate (a number from 0 to 1)\n"
                        "  shift=0      of the loss (a number, at most 1e+300)\n"
                        "  wait=yes     wait for the update (yes or no)\n"
                        "  combine=sum  how gradients become one (one of mean|sum|median)\n"
                        "  path=here    a folder (text)\n");
    free(text);
}

static void help_is_wrapped_to_the_columns(void **state) {
    (void)state;
    char *text = print_help(2, 40);
    size_t lines = 0;
    for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1, lines++)
        assert_true(strcspn(line, "\n") <= 40 && line[strcspn(line, "\n")] == '\n');
    assert_true(lines > options_count(table));
    free(text);
    text = print_help(0, 1); /* too narrow for anything: a word a line, and an end */
    assert_true(strlen(text) > 0);
    free(text);
}

static void no_table_means_no_options(void **state) {
    struct example *example = *state;
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(options_count(NULL), 0);
    assert_int_equal(options_init(NULL, example), HYSGD_OK);
    assert_int_equal(options_parse(NULL, example, "x", ""), HYSGD_OK);
    options_print(NULL, example, out);
    options_help(NULL, 2, 80, out);
    options_fini(NULL, example);
    fclose(out);
    assert_string_equal(text, "");
    free(text);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(defaults_are_set),
        CASE(options_are_parsed),
        CASE(quotes_and_parentheses_hold_commas),
        CASE(malformed_texts_are_refused),
        CASE(unknown_keys_name_the_nearest),
        CASE(bad_values_name_the_range_or_the_words),
        CASE(a_refused_value_leaves_the_state_unchanged),
        CASE(the_limits_themselves_are_allowed),
        CASE(printed_options_are_read_back_exactly),
        CASE(integers_are_read_with_suffix_and_exponent),
        CASE(reals_are_read_whole),
        CASE(a_locale_with_decimal_commas_changes_nothing),
        CASE(the_nearest_word_is_found),
        CASE(every_allocation_may_fail),
        CASE(help_names_default_and_range_of_each_option),
        CASE(help_is_wrapped_to_the_columns),
        CASE(no_table_means_no_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
