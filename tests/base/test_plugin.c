/* SPDX-License-Identifier: Apache-2.0 */
/* Plug-ins: finding by name, making the state from text, adopting a given one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/plugin.h"

struct reader {
    char *path;
    int64_t limit;
    int untouched; /* no option */
};

static const struct hysgd_option reader_options[] = {{.key = "path",
                                                      .type = HYSGD_OPTION_TEXT,
                                                      .offset = offsetof(struct reader, path),
                                                      .initial = "",
                                                      .help = "folder"},
                                                     {.key = "limit",
                                                      .type = HYSGD_OPTION_INT,
                                                      .offset = offsetof(struct reader, limit),
                                                      .initial = "0",
                                                      .least = 0,
                                                      .most = 1e9,
                                                      .help = "samples; 0: all"},
                                                     {0}};

static const struct hysgd_plugin reader = {.name = "mnist",
                                           .alias = "digits, hand-written",
                                           .summary = "images",
                                           .size = sizeof(struct reader),
                                           .options = reader_options};
static const struct hysgd_plugin bare = {.name = "blobs", .summary = "points", .size = 0};
static const struct hysgd_plugin *const entries[] = {&reader, &bare};
static const struct plugin_list list = {.kind = "data", .entries = entries, .count = 2};

static void expect_printed(const struct plugin *plugin, const char *expected) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    plugin_print(plugin, out);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

/* Opens `text`, and again what is printed of it. */
static void expect_opened(const char *text, const char *printed) {
    struct plugin plugin;
    for (int round = 0; round < 2; round++, text = printed) {
        assert_int_equal(plugin_open(&list, text, &plugin), HYSGD_OK);
        expect_printed(&plugin, printed);
        plugin_close(&plugin);
    }
}

static void expect_refused(const char *text, const char *message) {
    struct plugin plugin;
    memset(&plugin, 0xFF, sizeof plugin);
    assert_int_equal(plugin_open(&list, text, &plugin), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), message);
    assert_null(plugin.ops);
    assert_null(plugin.self);
    plugin_close(&plugin);
}

static void entries_are_found_by_name_and_alias(void **state) {
    (void)state;
    const struct hysgd_plugin *ops = NULL;
    assert_int_equal(plugin_find(&list, "mnist", &ops), HYSGD_OK);
    assert_ptr_equal(ops, &reader);
    assert_int_equal(plugin_find(&list, "blobs", &ops), HYSGD_OK);
    assert_ptr_equal(ops, &bare);
    assert_int_equal(plugin_find(&list, "digits", &ops), HYSGD_OK);
    assert_ptr_equal(ops, &reader);
    assert_int_equal(plugin_find(&list, "hand-written", &ops), HYSGD_OK);
    assert_ptr_equal(ops, &reader);
    assert_int_equal(plugin_find(&list, "digits, hand-written", &ops), HYSGD_USAGE);
    assert_int_equal(plugin_find(&list, "mnis", &ops), HYSGD_USAGE);
    assert_ptr_equal(ops, &reader); /* written only on success */
}

static void unknown_names_are_refused_with_the_nearest(void **state) {
    (void)state;
    expect_refused("mnits", "unknown data 'mnits': did you mean 'mnist'?");
    expect_refused("digit", "unknown data 'digit': did you mean 'digits'?");
    expect_refused("hand-writen", "unknown data 'hand-writen': did you mean 'hand-written'?");
    expect_refused("cifar,limit=3", "unknown data 'cifar': expected one of mnist, blobs");
    expect_refused("", "unknown data '': expected one of mnist, blobs");
    expect_refused(":x", "unknown data '': expected one of mnist, blobs");
    const struct plugin_list none = {.kind = "data"};
    struct plugin plugin;
    assert_int_equal(plugin_open(&none, "mnist", &plugin), HYSGD_USAGE);
}

static void a_name_opens_with_options_and_path(void **state) {
    (void)state;
    expect_opened("mnist", "mnist,path=,limit=0");
    expect_opened("digits,limit=1k", "mnist,path=,limit=1000");
    expect_opened("mnist:/data/a:b,limit=5", "mnist,path=/data/a:b,limit=5");
    expect_opened("mnist:\"a,b\",limit=5", "mnist,path=\"a,b\",limit=5");
    expect_opened("mnist:", "mnist,path=,limit=0");
    expect_opened("mnist:a=b", "mnist,path=a=b,limit=0");
    expect_opened("blobs", "blobs");
}

/* Whatever its key; only a text or a word, so that a number is not mistaken for one. */
static void the_part_after_a_colon_is_the_first_option(void **state) {
    (void)state;
    static const struct hysgd_option shape_options[] = {
        {.key = "shape", .type = HYSGD_OPTION_CHOICE, .initial = "round", .words = "round|square", .help = "shape"},
        {0}};
    static const struct hysgd_plugin shaped = {
        .name = "shaped", .summary = "choice", .size = sizeof(int), .options = shape_options};
    static const struct hysgd_plugin limited = {
        .name = "limited", .summary = "number", .size = sizeof(struct reader), .options = reader_options + 1};
    static const struct hysgd_plugin *const both[] = {&shaped, &limited};
    static const struct plugin_list others = {.kind = "data", .entries = both, .count = 2};
    struct plugin plugin;
    assert_int_equal(plugin_open(&others, "shaped:square", &plugin), HYSGD_OK);
    expect_printed(&plugin, "shaped,shape=square");
    plugin_close(&plugin);
    assert_int_equal(plugin_open(&others, "shaped:sqare", &plugin), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(),
                        "data shaped: shape=sqare is not valid: expected one of round|square; "
                        "did you mean 'square'?");
    assert_int_equal(plugin_open(&others, "limited:5", &plugin), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "data limited takes no path: expected a comma instead of ':5'");
}

static void faults_in_options_are_reported_with_the_owner(void **state) {
    (void)state;
    expect_refused("mnist,limit=-1", "data mnist: limit=-1 is out of range: expected an integer from 0 to 1e+09");
    expect_refused("mnist:a,path=b", "data mnist: the option path is given twice");
    expect_refused("mnist,", "data mnist: 'mnist,' ends with a comma: expected key=value");
    expect_refused("mnist:a,", "data mnist: '' is not of the form key=value");
    expect_refused("blobs:a", "data blobs takes no path: expected a comma instead of ':a'");
    expect_refused("blobs,n=1", "data blobs: unknown option 'n': it has no options");
    char endless[5000];
    memset(endless, 'm', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    struct plugin plugin;
    assert_int_equal(plugin_open(&list, endless, &plugin), HYSGD_USAGE);
}

static void a_given_state_is_used_and_not_freed(void **state) {
    (void)state;
    struct reader own = {.limit = 9};
    struct plugin plugin;
    assert_int_equal(plugin_adopt("data", &reader, &own, NULL, &plugin), HYSGD_OK);
    assert_ptr_equal(plugin.self, &own);
    assert_false(plugin.is_owned);
    expect_printed(&plugin, "mnist,path=,limit=9");
    plugin_close(&plugin);
    assert_null(plugin.ops);
    assert_int_equal(own.limit, 9);
    assert_int_equal(plugin_adopt("data", &reader, &own, "limit=3", &plugin), HYSGD_USAGE);
    assert_null(plugin.ops);
}

static void a_given_table_gets_a_state_from_text(void **state) {
    (void)state;
    struct plugin plugin;
    size_t before = memory_used();
    assert_int_equal(plugin_adopt("data", &reader, NULL, "limit=3", &plugin), HYSGD_OK);
    const struct reader *self = plugin.self;
    assert_true(plugin.is_owned);
    assert_int_equal(self->limit, 3);
    assert_int_equal(self->untouched, 0);
    plugin_close(&plugin);
    plugin_close(&plugin);
    assert_int_equal(memory_used(), before);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    enum hysgd_status status = HYSGD_MEMORY;
    size_t before = memory_used();
    uint64_t n;
    for (n = 1; status == HYSGD_MEMORY; n++) {
        struct plugin plugin;
        memory_fail_at(n);
        status = plugin_open(&list, "mnist:here,limit=3", &plugin);
        assert_true((status == HYSGD_OK) == (plugin.ops != NULL));
        plugin_close(&plugin);
        assert_int_equal(memory_used(), before);
    }
    memory_fail_at(0);
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_name_and_alias),
        cmocka_unit_test(unknown_names_are_refused_with_the_nearest),
        cmocka_unit_test(a_name_opens_with_options_and_path),
        cmocka_unit_test(the_part_after_a_colon_is_the_first_option),
        cmocka_unit_test(faults_in_options_are_reported_with_the_owner),
        cmocka_unit_test(a_given_state_is_used_and_not_freed),
        cmocka_unit_test(a_given_table_gets_a_state_from_text),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
