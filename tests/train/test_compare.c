/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons: equal terms, several seeds, what the table says, and memory that runs out anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "train/compare.h"
#include "train/outcome.h"

static const char *const small[][2] = {
    {"runtime", "virtual"},
    {"model", "softmax,kernels=reference"},
    {"data", "digits,train=100,test=20"},
    {"workers", "3"},
    {"batch", "4"},
    {"updates", "6"},
    {"speeds", "1,1,0.5"},
};

static enum hysgd_status set_all(struct compare *compare) {
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        enum hysgd_status status = compare_set(compare, small[i][0], small[i][1]);
        if (status != HYSGD_OK)
            return status;
    }
    return HYSGD_OK;
}

static struct compare *make_compare(const char *policies, const char *repeat) {
    struct compare *compare;
    assert_int_equal(compare_alloc(&compare), HYSGD_OK);
    assert_int_equal(set_all(compare), HYSGD_OK);
    assert_int_equal(compare_set(compare, "policy", policies), HYSGD_OK);
    assert_int_equal(compare_set(compare, "repeat", repeat), HYSGD_OK);
    return compare;
}

/* The comparison's JSON, parsed. */
static json_t *table_of(const struct compare *compare) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(compare_print_json(compare, out), HYSGD_OK);
    fclose(out);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static double mean_of(const json_t *table, size_t row, const char *quantity) {
    return json_number_value(json_object_get(json_object_get(json_array_get(table, row), quantity), "mean"));
}

static void equal_policies_have_equal_results(void **state) {
    (void)state;
    struct compare *compare = make_compare("threshold,start=3,cap=3,wait=yes; sync; async", "1");
    assert_int_equal(compare_run(compare), HYSGD_OK);
    json_t *table = table_of(compare);
    assert_true(mean_of(table, 0, "test_loss") == mean_of(table, 1, "test_loss"));
    assert_true(mean_of(table, 1, "test_loss") != mean_of(table, 2, "test_loss"));
    assert_true(mean_of(table, 2, "mean_staleness") > 0);
    json_decref(table);
    compare_free(compare);
}

static void every_seed_is_run(void **state) {
    (void)state;
    struct compare *compare = make_compare("async", "3");
    assert_int_equal(compare_run(compare), HYSGD_OK);
    assert_int_equal(compare_finished(compare), 3);
    json_t *table = table_of(compare);
    json_t *loss = json_object_get(json_array_get(table, 0), "test_loss");
    assert_true(json_number_value(json_object_get(loss, "std")) > 0);
    json_decref(table);
    compare_free(compare);
}

static void a_wrong_policy_is_found_before_the_first_run(void **state) {
    (void)state;
    struct compare *compare = make_compare("sync; threshold,start=9,cap=2", "1");
    assert_int_equal(compare_run(compare), HYSGD_USAGE);
    assert_int_equal(compare_finished(compare), 0);
    compare_free(compare);
}

static void options_of_a_single_run_are_refused(void **state) {
    (void)state;
    struct compare *compare = make_compare("sync", "1");
    assert_int_equal(compare_set(compare, "save", "x"), HYSGD_USAGE);
    assert_int_equal(compare_set(compare, "resume", "x"), HYSGD_USAGE);
    assert_int_equal(compare_set(compare, "wrkers", "2"), HYSGD_USAGE);
    compare_free(compare);
}

static void a_stopped_comparison_says_what_is_finished(void **state) {
    (void)state;
    struct compare *compare = make_compare("sync", "2");
    compare_stop(compare);
    assert_int_equal(compare_run(compare), HYSGD_INTERRUPTED);
    assert_string_equal(hysgd_error_message(), "interrupted: 0 of 2 runs are finished");
    compare_free(compare);
}

static enum hysgd_status run_whole(void) {
    struct compare *compare = NULL;
    enum hysgd_status status = compare_alloc(&compare);
    if (status == HYSGD_OK)
        status = set_all(compare);
    if (status == HYSGD_OK)
        status = compare_set(compare, "policy", "sync; async");
    if (status == HYSGD_OK)
        status = compare_set(compare, "report", "/dev/null");
    if (status == HYSGD_OK)
        status = compare_run(compare);
    compare_free(compare);
    return status;
}

static void memory_that_runs_out_anywhere_is_a_status(void **state) {
    (void)state;
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    while (status == HYSGD_MEMORY && n < 100000) {
        memory_fail_at(++n);
        status = run_whole();
        memory_fail_at(0);
        assert_int_equal(memory_used(), before);
    }
    assert_true(status == HYSGD_OK || status == HYSGD_OUTPUT); /* a report may refuse to replace a device */
    assert_true(n > 100);
}

/* The table of a comparison of factors, with these words and more, "key", "value", ..., NULL. */
static json_t *compare_factors(const char *const *more) {
    static const char *const common[] = {
        "data",    "planted,users=60,items=40,ratings=1500,signal=1.5,noise=0.3,rank=2",
        "model",   "factors,rank=2",
        "runtime", "virtual",
        "workers", "2",
        NULL};
    const char *const *const lists[] = {common, more};
    struct compare *compare;
    assert_int_equal(compare_alloc(&compare), HYSGD_OK);
    for (size_t i = 0; i < 2; i++)
        for (const char *const *word = lists[i]; *word != NULL; word += 2)
            assert_int_equal(compare_set(compare, word[0], word[1]), HYSGD_OK);
    assert_int_equal(compare_run(compare), HYSGD_OK);
    json_t *table = table_of(compare);
    compare_free(compare);
    return table;
}

/* The limits are the same, and the losses of both roots. */
static void policies_and_schedulers_are_compared_on_equal_terms(void **state) {
    (void)state;
    static const char *const both[] = {"scheduler", "dsgd", "policy", "async", "batch", "8", NULL};
    static const char *const policy[] = {"policy", "async", "batch", "8", "epochs", "20", NULL};
    static const char *const scheduler[] = {"scheduler", "dsgd", NULL};
    json_t *table = compare_factors(both), *policies = compare_factors(policy),
           *schedulers = compare_factors(scheduler);
    assert_true(mean_of(table, 0, "epochs") == 20 && fabs(mean_of(table, 1, "epochs") - 20) < 0.1);
    assert_true(mean_of(table, 0, "test_loss") == mean_of(schedulers, 0, "test_loss"));
    assert_true(fabs(pow(mean_of(table, 1, "test_loss"), 2) - mean_of(policies, 0, "test_loss")) < 1e-12);
    json_decref(table);
    json_decref(policies);
    json_decref(schedulers);
}

/* ---- Outcomes ---- */

static void fill(struct outcome *outcome, const char *policy, const double *losses, size_t count) {
    assert_int_equal(outcome_init(outcome, policy, count), HYSGD_OK);
    for (size_t i = 0; i < count; i++) {
        outcome->ends[i] = OUTCOME_FINISHED;
        outcome->results[i] = (struct hysgd_result){
            .seconds = 1, .test_loss = losses[i], .test_accuracy = (double)NAN, .target_seconds = (double)NAN};
    }
}

/* What `print` writes, to be freed. */
static char *text_of_csv(const struct outcome *outcomes, size_t count) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    outcomes_print_csv(outcomes, count, out);
    fclose(out);
    return text;
}

static void means_and_deviations_are_those_of_the_formula(void **state) {
    (void)state;
    struct outcome outcome;
    fill(&outcome, "a \"b\"", (const double[]){1, 2, 6}, 3);
    char *text = text_of_csv(&outcome, 1);
    assert_non_null(strstr(text, "\n\"a \"\"b\"\"\",3,3,0,0,1,0,"));
    assert_non_null(strstr(text, ",3,2.6457513110645907,")); /* mean of 1, 2, 6; sqrt(7) */
    free(text);
    outcome_fini(&outcome);
}

static void diverged_runs_are_counted_and_not_averaged(void **state) {
    (void)state;
    struct outcome outcome;
    fill(&outcome, "p", (const double[]){1, 1e9}, 2);
    outcome.ends[1] = OUTCOME_DIVERGED;
    char *text = text_of_csv(&outcome, 1);
    assert_non_null(strstr(text, "\n\"p\",2,1,1,0,1,,"));
    assert_null(strstr(text, "000000"));
    free(text);
    outcome_fini(&outcome);
}

static void no_line_of_the_table_is_wider_than_the_terminal(void **state) {
    (void)state;
    struct outcome outcomes[2];
    fill(&outcomes[0], "threshold,start=1,step=300,increment=1,cap=8", (const double[]){1, 2}, 2);
    fill(&outcomes[1], "sync", (const double[]){1e30, 2}, 2);
    for (int columns = 40; columns <= 120; columns++) {
        char *text = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&text, &length);
        assert_int_equal(outcomes_print_text(outcomes, 2, columns, out), HYSGD_OK);
        fclose(out);
        for (char *rest = text, *line; (line = strtok_r(rest, "\n", &rest)) != NULL;)
            assert_true(strlen(line) <= (size_t)columns);
        free(text);
    }
    outcome_fini(&outcomes[0]);
    outcome_fini(&outcomes[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_policies_have_equal_results),
        cmocka_unit_test(every_seed_is_run),
        cmocka_unit_test(a_wrong_policy_is_found_before_the_first_run),
        cmocka_unit_test(options_of_a_single_run_are_refused),
        cmocka_unit_test(a_stopped_comparison_says_what_is_finished),
        cmocka_unit_test(policies_and_schedulers_are_compared_on_equal_terms),
        cmocka_unit_test(memory_that_runs_out_anywhere_is_a_status),
        cmocka_unit_test(means_and_deviations_are_those_of_the_formula),
        cmocka_unit_test(diverged_runs_are_counted_and_not_averaged),
        cmocka_unit_test(no_line_of_the_table_is_wider_than_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
