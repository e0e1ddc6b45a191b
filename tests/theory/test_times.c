/* SPDX-License-Identifier: Apache-2.0 */
/* How long an update takes when the server takes no time: measured in virtual time against the renewal theory of
 * S. Dutta et al., "Slow and Stale Gradients Can Win the Race", AISTATS 2018. Compute times have the mean 1. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/measure.h"

#define BURN_IN_UPDATES 1000
#define BATCH_UPDATES   1500

struct scene {
    struct measure interval; /* seconds from one update to the next */
    double last;
};

static void note_interval(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    (void)training;
    if (event->kind != EVENT_UPDATE)
        return;
    if (event->version > BURN_IN_UPDATES)
        measure_add(&scene->interval, event->seconds - scene->last);
    scene->last = event->seconds;
}

/* Events come in lots, the last of which may stay behind in the ring: a run is a little longer than its measure. */
#define SPARE_UPDATES 300

/* Expects the mean time of an update, known to 0.6 % or better. */
static void expect_interval(const char *policy, int workers, const char *compute, double expected) {
    struct scene scene = {.interval.length = BATCH_UPDATES};
    char what[128];
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .workers = workers,
                              .timing.compute = compute,
                              .without_gradients = true,
                              .limits.updates = BURN_IN_UPDATES + MEASURE_BATCHES * BATCH_UPDATES + SPARE_UPDATES,
                              .ring = 4096,
                              .watch = note_interval,
                              .watch_self = &scene};
    run_expect(&run, &setup, HYSGD_OK);
    run_close(&run);
    snprintf(what, sizeof what, "%s of %d with %s, seconds per update", policy, workers, compute);
    measure_expect(&scene.interval, expected, 0.006, what);
}

#define EXPONENTIAL "exponential,mean=1"
#define LOGNORMAL   "lognormal,mean=1,sigma=1"

/* 1 + 1/2 + ... + 1/n */
static double harmonic(int n) {
    return n == 0 ? 0 : harmonic(n - 1) + 1.0 / n;
}

/* The n workers together deliver n gradients a second, whatever their distribution: n renewal processes. */
static void any_k_arrivals_take_k_nths_of_a_compute_time(void **state) {
    (void)state;
    static const char *const distributions[] = {EXPONENTIAL, LOGNORMAL, "uniform,least=0.5,most=1.5"};
    for (int d = 0; d < 3; d++) {
        expect_interval("async", 7, distributions[d], 1.0 / 7);
        expect_interval("batch-async,size=3", 5, distributions[d], 3.0 / 5);
        expect_interval("threshold,start=9,cap=9", 4, distributions[d], 9.0 / 4);
    }
}

static double seconds_of(const char *policy, int workers, uint64_t updates) {
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .workers = workers,
                              .timing.compute = "constant,mean=1",
                              .without_gradients = true,
                              .limits.updates = updates};
    run_expect(&run, &setup, HYSGD_OK);
    double seconds = run.seconds;
    run_close(&run);
    return seconds;
}

static void with_constant_times_it_is_exactly_so(void **state) {
    (void)state;
    assert_true(seconds_of("async", 7, 7000) == 1000);
    assert_true(seconds_of("batch-async,size=3", 5, 5000) == 3000);
    assert_true(seconds_of("threshold,start=9,cap=9", 4, 400) == 900);
    assert_true(seconds_of("sync", 9, 500) == 500);
    assert_true(seconds_of("backup,count=5", 9, 500) == 500);
    assert_true(seconds_of("bounded,staleness=2", 9, 900) == 100);
}

static void sync_takes_the_expected_largest_of_n_exponential_times(void **state) {
    (void)state;
    for (int workers = 1; workers <= 9; workers *= 3)
        expect_interval("sync", workers, EXPONENTIAL, harmonic(workers));
}

static void sync_takes_the_expected_largest_of_n_uniform_times(void **state) {
    (void)state;
    for (int workers = 2; workers <= 18; workers *= 3)
        expect_interval("sync", workers, "uniform,least=0,most=1", workers / (workers + 1.0));
}

/* E max = integral of 1 - F(t)^n, here over z = (ln t + 1/2) / sigma, with F the normal distribution of z. */
static double largest_lognormal(int n) {
    double sum = 0, step = 1e-3;
    for (double z = -12; z < 12; z += step) {
        double t = exp(z - 0.5), below = erfc(-z / sqrt(2)) / 2;
        sum += (1 - pow(below, n)) * t * step;
    }
    return sum;
}

static void sync_takes_the_expected_largest_of_n_lognormal_times(void **state) {
    (void)state;
    assert_true(fabs(largest_lognormal(1) - 1) < 1e-3);
    for (int workers = 2; workers <= 8; workers *= 2)
        expect_interval("sync", workers, LOGNORMAL, largest_lognormal(workers));
}

/* Without slack n updates are a round, as long as an update of sync. */
static void bounded_without_slack_takes_the_time_of_sync_for_a_round(void **state) {
    (void)state;
    expect_interval("bounded,staleness=0", 8, EXPONENTIAL, harmonic(8) / 8);
}

/* The first update of backup is the K-th of n times that begin together; over many seeds. */
static void the_first_update_of_backup_takes_the_kth_of_n_times(void **state) {
    (void)state;
    struct measure first = {.length = 100};
    struct run run;
    for (uint64_t seed = 1; seed <= 100 * MEASURE_BATCHES; seed++) {
        struct run_setup setup = {.policy = "backup,count=6",
                                  .workers = 8,
                                  .seed = seed,
                                  .timing.compute = EXPONENTIAL,
                                  .without_gradients = true,
                                  .limits.updates = 1};
        run_expect(&run, &setup, HYSGD_OK);
        measure_add(&first, run.seconds);
        run_close(&run);
    }
    measure_expect(&first, harmonic(8) - harmonic(2), 0.01, "the first update of backup");
}

/* Later updates take longer, as nobody is interrupted: at an update n - K workers are still at a gradient of the
 * version before, which will be dropped. With exponential times the expected time from a state of `late` workers at
 * old gradients and `fresh` ones at present ones to the next update is that to the next arrival, and onwards. */
static double backup_seconds(int late, int fresh, int missing) {
    if (missing == 0)
        return 0;
    double computing = late + fresh, seconds = 1 / computing;
    if (late > 0)
        seconds += late / computing * backup_seconds(late - 1, fresh + 1, missing);
    if (fresh > 0)
        seconds += fresh / computing * backup_seconds(late, fresh - 1, missing - 1);
    return seconds;
}

static void backup_takes_the_kth_of_n_times_and_what_late_gradients_cost(void **state) {
    (void)state;
    static const int workers[] = {4, 8, 8, 10}, counts[] = {3, 4, 7, 10};
    for (int c = 0; c < 4; c++) {
        char policy[32];
        double expected = backup_seconds(workers[c] - counts[c], counts[c], counts[c]);
        snprintf(policy, sizeof policy, "backup,count=%d", counts[c]);
        expect_interval(policy, workers[c], EXPONENTIAL, expected);
        double order_statistic = harmonic(workers[c]) - harmonic(workers[c] - counts[c]);
        assert_true(expected >= order_statistic - 1e-12 && expected < 2 * order_statistic);
    }
}

/* The expected arrivals until `missing` gradients of the present version, when `late` of n workers are at older
 * ones: any of the n is next with the same probability. */
static double batch_sync_arrivals(int workers, int late, int missing) {
    if (missing == 0)
        return 0;
    double share = (double)late / workers, arrivals = 1;
    if (late > 0)
        arrivals += share * batch_sync_arrivals(workers, late - 1, missing);
    return arrivals + (1 - share) * batch_sync_arrivals(workers, late, missing - 1);
}

/* Whoever made the update is at a present gradient, the other n - 1 are not. */
static void batch_sync_takes_its_gradients_and_one_late_one_of_each_who_comes(void **state) {
    (void)state;
    static const int workers[] = {2, 6, 5}, sizes[] = {1, 6, 12};
    for (int c = 0; c < 3; c++) {
        char policy[32];
        snprintf(policy, sizeof policy, "batch-sync,size=%d", sizes[c]);
        expect_interval(policy, workers[c], EXPONENTIAL,
                        batch_sync_arrivals(workers[c], workers[c] - 1, sizes[c]) / workers[c]);
    }
    expect_interval("cutoff,limit=1", 6, EXPONENTIAL, batch_sync_arrivals(6, 5, 1) / 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_k_arrivals_take_k_nths_of_a_compute_time),
        cmocka_unit_test(with_constant_times_it_is_exactly_so),
        cmocka_unit_test(sync_takes_the_expected_largest_of_n_exponential_times),
        cmocka_unit_test(sync_takes_the_expected_largest_of_n_uniform_times),
        cmocka_unit_test(sync_takes_the_expected_largest_of_n_lognormal_times),
        cmocka_unit_test(bounded_without_slack_takes_the_time_of_sync_for_a_round),
        cmocka_unit_test(the_first_update_of_backup_takes_the_kth_of_n_times),
        cmocka_unit_test(backup_takes_the_kth_of_n_times_and_what_late_gradients_cost),
        cmocka_unit_test(batch_sync_takes_its_gradients_and_one_late_one_of_each_who_comes),
    };
    return cmocka_run_group_tests_name("time of an update", tests, NULL, NULL);
}
