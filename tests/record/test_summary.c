/* SPDX-License-Identifier: Apache-2.0 */
/* The summary: its exact text, that it fits, and that it cries when the accounts do not add up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/sinks.h"
#include "samples.h"

/* The caller frees the text. */
static char *print(const struct event_summary *summary, int columns) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    summary_print(summary, columns, out);
    fclose(out);
    return text;
}

static void assert_fits(const char *text, size_t columns) {
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= columns);
}

static void the_table_shows_every_worker_and_the_totals(void **state) {
    (void)state;
    char *text = print(&sample_summary, 200);
    assert_string_equal(
        text,
        "ended after 10.00 s  (epochs)  45 updates  server busy 25.0 %  train loss 0.25  test loss 0.5  "
        "accuracy 87.50 %\n"
        "samples applied: bias by worker 10.0 %  worker 0 has 50.0 % of them  and 60.0 % of the data  "
        "bias by class 25.0 %  class 0 has 25.0 % of them  and 50.0 % of the data\n"
        "worker received applied dropped held waiting % staleness most compute s transit s waiting s compute % "
        "transit %\n"
        "     0       60      50      10    0      30.0       0.0    0      6.00      1.00      3.00      60.0 "
        "     10.0\n"
        "     1       40      40       0    0      20.0       0.5    4      8.00         0      2.00      80.0 "
        "      0.0\n"
        "   all      100      90      10    0      25.0       0.2    4     14.00      1.00      5.00      70.0 "
        "      5.0\n");
    free(text);
}

static void without_bias_of_workers_the_summary_says_so_briefly(void **state) {
    (void)state;
    struct event_account accounts[2] = {sample_accounts[0], sample_accounts[1]};
    accounts[0].share.applied = 0.6;
    accounts[1].share.applied = 0.4;
    struct event_summary summary = sample_summary;
    summary.accounts = accounts;
    char *text = print(&summary, 200);
    assert_non_null(strstr(text, "\nsamples applied: bias by worker 0.0 %  bias by class 25.0 %\n"));
    free(text);
    summary.class_count = 0; /* no labels */
    text = print(&summary, 200);
    assert_non_null(strstr(text, "\nsamples applied: bias by worker 0.0 %\n"));
    free(text);
    accounts[1].share.applied = (double)NAN; /* a log that was cut off does not tell */
    text = print(&summary, 200);
    assert_null(strstr(text, "bias"));
    free(text);
}

static void what_was_given_up_is_shown_where_there_is_any(void **state) {
    (void)state;
    struct event_account accounts[2] = {sample_accounts[0], sample_accounts[1]};
    accounts[1].abandoned = 12;
    accounts[1].abandoned_seconds = 10;
    struct event_summary summary = sample_summary;
    summary.accounts = accounts;
    char *text = print(&summary, 200);
    assert_non_null(strstr(text, " most given up compute s transit s waiting s given up s compute %"));
    assert_non_null(
        strstr(text, "    4       12      8.00         0      2.00      10.00      40.0 ")); /* of 20 s */
    free(text);
    text = print(&summary, 60);
    assert_fits(text, 60);
    free(text);
}

static void it_fits_every_width(void **state) {
    (void)state;
    struct event_account accounts[2] = {sample_accounts[0], sample_accounts[1]};
    accounts[0].received = accounts[0].applied = 1000000000000;
    accounts[0].dropped = 0;
    struct event_summary summary = sample_summary;
    summary.accounts = accounts;
    for (int columns = 40; columns <= 140; columns += 5) {
        char *text = print(&summary, columns);
        assert_fits(text, (size_t)columns);
        assert_null(strstr(text, "ERROR"));
        free(text);
    }
}

static void a_width_below_the_least_is_taken_as_the_least(void **state) {
    (void)state;
    char *text = print(&sample_summary, -3);
    assert_fits(text, 40);
    assert_non_null(strstr(text, "worker received applied dropped held\n"));
    free(text);
}

static void accounts_that_do_not_add_up_are_loud(void **state) {
    (void)state;
    struct event_account accounts[2] = {sample_accounts[0], sample_accounts[1]};
    accounts[1].held = 1;
    struct event_summary summary = sample_summary;
    summary.accounts = accounts;
    char *text = print(&summary, 80);
    assert_non_null(
        strstr(text, "\nACCOUNTING ERROR: worker 1: received 40 is not applied 40 + dropped 0 + held 1\n"));
    assert_null(strstr(text, "ERROR: worker 0"));
    free(text);
}

static void many_workers_are_reduced_to_the_extreme_ones(void **state) {
    (void)state;
    struct event_account accounts[100];
    for (int i = 0; i < 100; i++)
        accounts[i] =
            (struct event_account){.received = 100, .applied = 100, .compute_seconds = 5, .waiting_seconds = 5};
    accounts[37].waiting_seconds = 50;
    accounts[58] = (struct event_account){.received = 300, .applied = 100, .dropped = 200, .compute_seconds = 10};
    struct event_summary summary = sample_summary;
    summary.accounts = accounts;
    summary.workers = 100;
    char *text = print(&summary, 100);
    assert_non_null(strstr(text, "\n    37      100     100       0    0      90.9"));
    assert_non_null(strstr(text, "\n    58      300     100     200    0       0.0"));
    assert_non_null(strstr(text, "\n   all    10200   10000     200    0"));
    assert_non_null(strstr(text, " workers not shown\n"));
    int lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    assert_true(lines < 14);
    free(text);
}

static void a_run_that_did_nothing_can_be_printed(void **state) {
    (void)state;
    const struct event_account accounts[1] = {{0}};
    const struct event_summary summary = {.reason = "interrupted",
                                          .train_loss = (double)NAN,
                                          .test_loss = (double)NAN,
                                          .test_accuracy = (double)NAN,
                                          .target_seconds = (double)NAN,
                                          .accounts = accounts,
                                          .workers = 1};
    char *text = print(&summary, 80);
    assert_non_null(strstr(text, "ended after 0 s  (interrupted)  0 updates\n"));
    assert_null(strstr(text, "nan"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_shows_every_worker_and_the_totals),
        cmocka_unit_test(without_bias_of_workers_the_summary_says_so_briefly),
        cmocka_unit_test(what_was_given_up_is_shown_where_there_is_any),
        cmocka_unit_test(it_fits_every_width),
        cmocka_unit_test(a_width_below_the_least_is_taken_as_the_least),
        cmocka_unit_test(accounts_that_do_not_add_up_are_loud),
        cmocka_unit_test(many_workers_are_reduced_to_the_extreme_ones),
        cmocka_unit_test(a_run_that_did_nothing_can_be_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
