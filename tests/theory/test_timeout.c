/* SPDX-License-Identifier: Apache-2.0 */
/* Trials with a time limit, in virtual time. A worker that gives up after t makes trials of min(X, t) seconds of
 * which the share p = P(X <= t) succeeds, so that by renewal theory a success takes it E[min(X, t)] / p seconds. A.
 * Maranjyan et al. (arXiv 2410.04285) charge a trial its whole limit, t / p, which is an upper bound. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/measure.h"

#define TRIALS 300000

/* Seconds of a worker's time for each gradient that it delivers. */
static double seconds_per_success(const char *policy, int workers, const char *compute, struct run *run) {
    struct run_setup setup = {.policy = policy,
                              .workers = workers,
                              .timing.compute = compute,
                              .without_gradients = true,
                              .limits.gradients = TRIALS};
    run_expect(run, &setup, HYSGD_OK);
    double seconds = run->seconds * workers / TRIALS;
    assert_int_equal(run->summary.forced_updates, 0);
    run_close(run);
    return seconds;
}

static void expect_seconds(const char *compute, double limit, double chance, double spent) {
    char policy[64];
    struct run run;
    snprintf(policy, sizeof policy, "timeout,patience=%.17g", limit);
    double seconds = seconds_per_success(policy, 1, compute, &run);
    if (fabs(seconds / (spent / chance) - 1) > 0.01)
        fail_msg("%s with %s: %g seconds per success, expected %g", policy, compute, seconds, spent / chance);
    assert_true(seconds <= 1.01 * limit / chance);
}

/* Without memory nothing is won or lost by beginning anew: 1 second, whatever the limit. */
static void exponential_times_take_the_same_with_any_limit(void **state) {
    (void)state;
    static const double limits[] = {0.1, 0.7, 3};
    for (int i = 0; i < 3; i++)
        expect_seconds("exponential,mean=1", limits[i], 1 - exp(-limits[i]), 1 - exp(-limits[i]));
}

/* E[min(X, t)] = 1 + integral from 1 to t of x^-alpha, finite also where the mean of X is not. */
static void pareto_times_without_a_mean_take_a_finite_time(void **state) {
    (void)state;
    static const double alphas[] = {0.5, 0.8, 1.5};
    static const double limits[] = {1.2, 2, 10};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            char compute[64];
            double alpha = alphas[i], limit = limits[j];
            snprintf(compute, sizeof compute, "pareto,least=1,alpha=%g", alpha);
            expect_seconds(compute, limit, 1 - pow(limit, -alpha), 1 + (pow(limit, 1 - alpha) - 1) / (1 - alpha));
        }
}

/* Each of three workers, the second half as fast as the first, learns the median of its own times. */
static void half_of_the_trials_succeed_at_the_learned_median(void **state) {
    (void)state;
    static const char *const distributions[] = {"exponential,mean=1", "lognormal,mean=1,sigma=2",
                                                "pareto,least=1,alpha=0.7"};
    for (int i = 0; i < 3; i++) {
        struct run run;
        struct run_setup setup = {.policy = "timeout",
                                  .workers = 3,
                                  .timing = {.compute = distributions[i], .speeds = "1,0.5,0.01"},
                                  .without_gradients = true,
                                  .limits.gradients = 60000};
        run_expect(&run, &setup, HYSGD_OK);
        for (int w = 0; w < 3; w++) {
            const struct event_account *account = &run.summary.accounts[w];
            double share = (double)account->received / (double)(account->received + account->abandoned);
            assert_float_equal(share, 0.5, 0.02);
        }
        run_close(&run);
    }
}

/* A modelled server that takes time must not have workers give up either: it delays verdicts, not deliveries. */
static void times_that_do_not_vary_are_never_given_up(void **state) {
    (void)state;
    struct run run;
    struct run_setup setup = {.policy = "timeout",
                              .workers = 4,
                              .timing = {.compute = "constant,mean=0.1",
                                         .delay = "half,constant,mean=0.07",
                                         .receive = "exponential,mean=0.01",
                                         .apply = "exponential,mean=0.03"},
                              .without_gradients = true,
                              .limits.gradients = 20000};
    run_expect(&run, &setup, HYSGD_OK);
    /* But for those that the first update came before. */
    assert_true(run.training.engine.abandoned <= 2);
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_times_take_the_same_with_any_limit),
        cmocka_unit_test(pareto_times_without_a_mean_take_a_finite_time),
        cmocka_unit_test(half_of_the_trials_succeed_at_the_learned_median),
        cmocka_unit_test(times_that_do_not_vary_are_never_given_up),
    };
    return cmocka_run_group_tests_name("trials with a time limit", tests, NULL, NULL);
}
