/* SPDX-License-Identifier: Apache-2.0 */
/* The policy adaptive: its choice of K against brute force, and how its step, K and cut-off follow the estimates.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/random.h"
#include "policy/adaptive_choice.h"
#include "policy/opened.h"

static const struct hysgd_estimates nothing = {NAN, NAN, NAN, NAN, NAN, NAN, 0};

/* Estimates over many orders of magnitude; now and then a time is 0 or unknown. */
static struct hysgd_estimates some_estimates(struct random *random) {
    double seconds[3];
    for (int i = 0; i < 3; i++)
        seconds[i] = pow(10, -5 * random_uniform(random)) * (random_uniform(random) < 0.9);
    return (struct hysgd_estimates){.noise = pow(10, 6 * random_uniform(random) - 3),
                                    .signal = pow(10, 6 * random_uniform(random) - 4) - 1e-3,
                                    .agreement = random_uniform(random) - 0.5,
                                    .receive_seconds = random_uniform(random) < 0.1 ? NAN : seconds[0],
                                    .apply_seconds = seconds[1],
                                    .arrivals_per_second = seconds[2] > 0 ? 1 / seconds[2] : NAN,
                                    .blocks = 1};
}

static uint64_t best_by_trying(const struct hysgd_estimates *estimates, int workers) {
    uint64_t best = 1;
    for (uint64_t k = 2; k <= (uint64_t)workers; k++)
        if (adaptive_progress(estimates, workers, k) > adaptive_progress(estimates, workers, best))
            best = k;
    return best;
}

/* Where P is flat to the last digits, rounding may make another K the best by as much. */
static void the_threshold_is_the_best_of_all(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 7, 0, RANDOM_TEST, 0);
    for (int i = 0; i < 3000; i++) {
        int workers = 1 + i % 200;
        struct hysgd_estimates estimates = some_estimates(&random);
        uint64_t chosen = adaptive_best_threshold(&estimates, workers), best = best_by_trying(&estimates, workers);
        double most = adaptive_progress(&estimates, workers, best);
        assert_in_range(chosen, 1, workers);
        assert_true(adaptive_progress(&estimates, workers, chosen) >= most * (1 - 1e-12));
    }
}

static void a_fast_server_makes_the_threshold_one(void **state) {
    (void)state;
    struct hysgd_estimates estimates = {.noise = 50, .signal = 1, .arrivals_per_second = 1000};
    assert_int_equal(adaptive_best_threshold(&estimates, 64), 1);
    assert_int_equal(adaptive_best_threshold(&nothing, 64), 1);
}

/* 16 workers of 20 ms each; an update takes the server 10 ms, so 100 single gradients a second of 800. */
static void noise_raises_the_threshold_of_a_slow_server(void **state) {
    (void)state;
    uint64_t last = 1;
    for (double noise = 1; noise < 1e4; noise *= 10) {
        struct hysgd_estimates estimates = {
            .noise = noise, .signal = 1, .apply_seconds = 0.01, .arrivals_per_second = 800};
        uint64_t threshold = adaptive_best_threshold(&estimates, 16);
        assert_true(threshold >= last && threshold > 1);
        last = threshold;
    }
    assert_int_equal(last, 16);
}

/* The two ends of what a queue can do: no service, and nothing but service. */
static void the_throughput_is_that_of_the_workers_or_of_the_server(void **state) {
    (void)state;
    struct hysgd_estimates estimates = {.arrivals_per_second = 500};
    assert_float_equal(adaptive_throughput(&estimates, 10, 1), 500, 1e-9);
    estimates.receive_seconds = 1;
    estimates.apply_seconds = 4;
    assert_float_equal(adaptive_throughput(&estimates, 1000, 4), 0.5, 0.001);
}

/* The gain of a single gradient after `rounds` updates, each with a new block and a round of gradients later. */
static double step_after(const struct plugin *policy, double agreement, int rounds) {
    struct hysgd_estimates estimates = nothing;
    struct hysgd_progress now = {.workers = 16, .held = 1, .estimates = &estimates};
    estimates.noise = estimates.signal = 1;
    estimates.agreement = agreement;
    for (int i = 0; i < rounds; i++) {
        now.received += 16;
        now.version++;
        estimates.blocks++;
        policy_ops(policy)->updated(policy->self, &now);
    }
    return policy_ops(policy)->gain(policy->self, &now);
}

/* The first round sets the count of gradients from which on the step moves. */
static void expect_step(double agreement, int rounds, double expected) {
    struct plugin policy;
    open_policy("adaptive", 16, &policy);
    assert_float_equal(step_after(&policy, agreement, rounds), expected, 1e-9);
    close_policy(&policy);
}

static void the_step_grows_as_the_root_of_the_gradients_where_none_shows(void **state) {
    (void)state;
    expect_step(1, 0, 1);
    expect_step(1, 1, 1);
    expect_step(1, 100, 10);
    expect_step(0.5, 100, sqrt(10));
}

static void the_step_falls_as_the_root_of_the_gradients_in_the_noise(void **state) {
    (void)state;
    expect_step(-1, 100, 0.1);
    expect_step(-5, 100, 0.1);
    expect_step(-0.5, 100, pow(100, -1.0 / 8));
}

static void the_step_stays_where_nothing_speaks_against_it(void **state) {
    (void)state;
    expect_step(0, 50, 1);
    expect_step(NAN, 50, 1);
}

static void many_workers_begin_with_a_part_of_the_rate(void **state) {
    (void)state;
    struct plugin policy;
    open_policy("adaptive", 64, &policy);
    assert_float_equal(step_after(&policy, NAN, 1), 0.25, 1e-12);
    close_policy(&policy);
}

static void one_worker_keeps_its_rate(void **state) {
    (void)state;
    struct plugin policy;
    open_policy("adaptive", 1, &policy);
    assert_true(step_after(&policy, NAN, 50) == 1);
    close_policy(&policy);
}

static void the_gain_counts_the_gradients_of_the_update(void **state) {
    (void)state;
    struct plugin policy;
    open_policy("adaptive", 4, &policy);
    struct hysgd_progress now = {.workers = 4, .held = 3, .estimates = &nothing};
    assert_float_equal(policy_ops(&policy)->gain(policy.self, &now), 3, 1e-12);
    close_policy(&policy);
}

static void noise_lets_older_gradients_in(void **state) {
    (void)state;
    struct hysgd_estimates estimates = {.signal = 1, .agreement = NAN, .blocks = 0};
    struct hysgd_progress now = {.workers = 8, .estimates = &estimates};
    struct plugin policy;
    open_policy("adaptive", 8, &policy);
    assert_true(policy_ops(&policy)->cutoff(policy.self) == UINT64_MAX);
    for (uint64_t noise = 0; noise < 100; noise += 10) {
        estimates.noise = (double)noise;
        estimates.blocks++;
        now.received += 8;
        policy_ops(&policy)->updated(policy.self, &now);
        assert_true(policy_ops(&policy)->admit(policy.self, &now, 0, 2 * 8 + noise) == 1);
        assert_true(policy_ops(&policy)->admit(policy.self, &now, 0, 2 * 8 + noise + 1) == 0);
    }
    close_policy(&policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_threshold_is_the_best_of_all),
        cmocka_unit_test(a_fast_server_makes_the_threshold_one),
        cmocka_unit_test(noise_raises_the_threshold_of_a_slow_server),
        cmocka_unit_test(the_throughput_is_that_of_the_workers_or_of_the_server),
        cmocka_unit_test(the_step_grows_as_the_root_of_the_gradients_where_none_shows),
        cmocka_unit_test(the_step_falls_as_the_root_of_the_gradients_in_the_noise),
        cmocka_unit_test(the_step_stays_where_nothing_speaks_against_it),
        cmocka_unit_test(many_workers_begin_with_a_part_of_the_rate),
        cmocka_unit_test(one_worker_keeps_its_rate),
        cmocka_unit_test(the_gain_counts_the_gradients_of_the_update),
        cmocka_unit_test(noise_lets_older_gradients_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
