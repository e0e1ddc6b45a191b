/* SPDX-License-Identifier: Apache-2.0 */
/* Advice: rates in closed form from constant times, one policy's log telling another's run, the statistics, and
 * memory that runs out anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "hysgd.h"
#include "train/advise.h"

/* Two workers that take 10 and 40 ms. */
static void write_table(char path[64]) {
    strcpy(path, "/tmp/hysgd-advise-XXXXXX");
    FILE *file = fdopen(mkstemp(path), "w");
    fputs("worker,compute,transit\n0,0.01,0\n1,0.03,0.01\n", file);
    fclose(file);
}

static struct advise *make_advise(const char *const (*options)[2], size_t count) {
    struct advise *advise;
    assert_int_equal(advise_alloc(&advise), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(advise_set(advise, options[i][0], options[i][1]), HYSGD_OK);
    return advise;
}

#define MAKE(options) make_advise(options, sizeof options / sizeof *options)

static double value_of(const struct advice *advice, size_t policy, enum advice_quantity quantity) {
    return advice_estimate(advice, policy, quantity).value;
}

static void constant_times_give_the_closed_forms(void **state) {
    (void)state;
    char path[64];
    const struct advice *advice;
    static const char *const options[][2] = {
        {"policy", "sync; async"}, {"deadline", "40"}, {"replicates", "2"}, {"discount", "0.5"}};
    write_table(path);
    struct advise *advise = MAKE(options);
    assert_int_equal(advise_run(advise, path, &advice), HYSGD_OK);
    unlink(path);
    /* sync: an update of two gradients each 40 ms, of which one worker waits 30. */
    assert_true(fabs(value_of(advice, 0, ADVICE_UPDATES) - 25) < 0.05);
    assert_true(fabs(value_of(advice, 0, ADVICE_WAITING) - 30.0 / 80) < 1e-3);
    assert_true(fabs(value_of(advice, 0, ADVICE_USEFUL) - 50 / sqrt(2)) < 0.1);
    /* async: 125 gradients/s; per 40 ms the slow one's has missed four, and one of the fast one's has missed one.
     */
    assert_true(fabs(value_of(advice, 1, ADVICE_UPDATES) - 125) < 0.1);
    assert_true(value_of(advice, 1, ADVICE_WAITING) < 1e-3);
    assert_true(fabs(value_of(advice, 1, ADVICE_STALENESS) - 1) < 0.01);
    assert_true(fabs(value_of(advice, 1, ADVICE_USEFUL) - (100 / sqrt(1.25) + 25 / sqrt(5))) < 0.1);
    /* What does not vary has an interval without width. */
    struct advice_estimate estimate = advice_estimate(advice, 1, ADVICE_UPDATES);
    assert_true(estimate.low == estimate.value && estimate.high == estimate.value);
    assert_true(advice_best_share(advice, 1) == 1);
    advise_free(advise);
}

/* A modelled run that is logged, and its rate of updates. */
static double run_logged(const char *policy, char path[64]) {
    const char *const options[][2] = {{"runtime", "virtual"},
                                      {"model", "quadratic,noise=0"},
                                      {"data", "none"},
                                      {"workers", "4"},
                                      {"speeds", "3x1,1x0.3"},
                                      {"compute", "lognormal,mean=0.02,sigma=0.4"},
                                      {"delay", "half,exponential,mean=0.01"},
                                      {"receive", "constant,mean=0.0005"},
                                      {"apply", "constant,mean=0.001"},
                                      {"policy", policy},
                                      {"gradients", "4000"},
                                      {"log", path}};
    struct hysgd_job *job;
    struct hysgd_result result;
    strcpy(path, "/tmp/hysgd-advise-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_int_equal(hysgd_job_set(job, options[i][0], options[i][1]), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    hysgd_job_free(job);
    return (double)result.updates / result.seconds;
}

static void the_log_of_one_policy_tells_the_rates_of_others(void **state) {
    (void)state;
    static const char *const policies[] = {"async", "sync", "backup", "bounded,staleness=2", "batch-async,size=4"};
    char path[64], other[64];
    const struct advice *advice;
    static const char *const options[][2] = {
        {"policy", "async; sync; backup; bounded,staleness=2; batch-async,size=4"}, {"replicates", "0"}};
    struct advise *advise = MAKE(options);
    double rate = run_logged("async", path);
    assert_int_equal(advise_run(advise, path, &advice), HYSGD_OK);
    unlink(path);
    assert_true(fabs(value_of(advice, 0, ADVICE_UPDATES) / rate - 1) < 1e-9); /* its own run exactly */
    for (size_t i = 1; i < 5; i++) {
        double truth = run_logged(policies[i], other);
        unlink(other);
        assert_true(fabs(value_of(advice, i, ADVICE_UPDATES) / truth - 1) < 0.03);
    }
    advise_free(advise);
}

static void given_times_of_the_server_stand(void **state) {
    (void)state;
    char path[64];
    const struct advice *advice;
    static const char *const options[][2] = {
        {"policy", "async"}, {"replicates", "0"}, {"apply", "constant,mean=0.1"}};
    struct advise *advise = MAKE(options);
    run_logged("async", path);
    assert_int_equal(advise_run(advise, path, &advice), HYSGD_OK);
    unlink(path);
    assert_true(fabs(value_of(advice, 0, ADVICE_UPDATES) * (0.1 + 0.0005) - 1) <
                0.01); /* the server is the limit */
    advise_free(advise);
}

static void true_gradients_tell_the_time_to_the_target(void **state) {
    (void)state;
    char path[64];
    const struct advice *advice;
    static const char *const options[][2] = {{"policy", "sync; async"}, {"true-gradients", "yes"},
                                             {"target", "loss=0.5"},    {"eval-every", "updates=10"},
                                             {"replicates", "2"},       {"gradients", "20000"}};
    double rate = run_logged("async", path);
    assert_true(rate > 0);
    struct advise *advise = MAKE(options);
    enum hysgd_status status = advise_run(advise, path, &advice);
    unlink(path);
    assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
    assert_true(value_of(advice, 1, ADVICE_TARGET) > 0 && value_of(advice, 1, ADVICE_LOSS) <= 0.5);
    size_t order[2];
    assert_int_equal(advice_rank(advice, order), 2);
    assert_int_equal(order[0], 1); /* a step for each gradient, where they have no noise */
    advise_free(advise);
}

static void statistics_are_those_of_the_samples(void **state) {
    (void)state;
    struct advice_sample one[5] = {0}, other[5] = {0};
    char names[3][8] = {"one", "left", "other"}, fault[] = "out";
    struct advice_policy policies[3] = {{.name = names[0], .samples = one},
                                        {.name = names[1], .fault = fault, .samples = one},
                                        {.name = names[2], .samples = other}};
    double scratch[5];
    const struct advice advice = {.policies = policies, .count = 3, .replicates = 4, .scratch = scratch};
    for (int i = 0; i < 5; i++) {
        one[i].values[ADVICE_USEFUL] = 10 + i;
        other[i].values[ADVICE_USEFUL] = i == 4 ? 28 : 5;
    }
    size_t order[3];
    assert_int_equal(advice_rank(&advice, order), 2);
    assert_true(order[0] == 0 && order[1] == 2);
    assert_true(advice_best_share(&advice, 0) == 0.75 && advice_best_share(&advice, 2) == 0.25);
    struct advice_estimate margin = advice_margin(&advice, 0, 2),
                           estimate = advice_estimate(&advice, 0, ADVICE_USEFUL);
    assert_true(margin.value == 1 && margin.low < 0 && fabs(margin.high - 1.57) < 1e-12);
    assert_true(estimate.value == 10 && fabs(estimate.low - 11.15) < 1e-12 && fabs(estimate.high - 13.85) < 1e-12);
}

static void what_does_not_go_with_times_is_refused(void **state) {
    (void)state;
    struct advise *advise = make_advise(NULL, 0);
    assert_int_equal(advise_set(advise, "speeds", "1,2"), HYSGD_USAGE);
    assert_int_equal(advise_set(advise, "policy", "sync;;async"), HYSGD_USAGE);
    assert_int_equal(advise_set(advise, "polcy", "sync"), HYSGD_USAGE);
    assert_int_equal(advise_set(advise, "replicates", "-2"), HYSGD_USAGE);
    advise_free(advise);
}

static void a_policy_that_cannot_be_simulated_is_left_out(void **state) {
    (void)state;
    char path[64];
    const struct advice *advice;
    static const char *const options[][2] = {
        {"policy", "backup,count=9; adaptive; async"}, {"gradients", "100"}, {"replicates", "0"}};
    write_table(path);
    struct advise *advise = MAKE(options);
    assert_int_equal(advise_run(advise, path, &advice), HYSGD_OK);
    unlink(path);
    size_t order[3];
    assert_int_equal(advice_rank(advice, order), 1);
    assert_int_equal(order[0], 2);
    assert_non_null(strstr(advice->policies[0].fault, "policy backup: "));
    assert_non_null(strstr(advice->policies[1].fault, "true-gradients"));
    advise_free(advise);
}

static enum hysgd_status advise_once(const char *path) {
    static const char *const options[][2] = {{"policy", "sync"}, {"gradients", "20"}, {"replicates", "2"}};
    struct advise *advise;
    const struct advice *advice;
    enum hysgd_status status = advise_alloc(&advise);
    if (status != HYSGD_OK)
        return status;
    for (size_t i = 0; status == HYSGD_OK && i < 3; i++)
        status = advise_set(advise, options[i][0], options[i][1]);
    if (status == HYSGD_OK)
        status = advise_run(advise, path, &advice);
    if (status == HYSGD_OK) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        status = advice_print_text(advice, 80, out);
        fclose(out);
        free(text);
    }
    advise_free(advise);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    char path[64];
    write_table(path);
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n;
    for (n = 1; status != HYSGD_OK && n < 10000; n++) {
        memory_fail_at(n);
        status = advise_once(path);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
        assert_int_equal(memory_used(), before);
    }
    assert_true(n > 50 && status == HYSGD_OK);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_times_give_the_closed_forms),
        cmocka_unit_test(the_log_of_one_policy_tells_the_rates_of_others),
        cmocka_unit_test(given_times_of_the_server_stand),
        cmocka_unit_test(true_gradients_tell_the_time_to_the_target),
        cmocka_unit_test(statistics_are_those_of_the_samples),
        cmocka_unit_test(what_does_not_go_with_times_is_refused),
        cmocka_unit_test(a_policy_that_cannot_be_simulated_is_left_out),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
