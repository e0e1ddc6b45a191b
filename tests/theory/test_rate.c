/* SPDX-License-Identifier: Apache-2.0 */
/* How fast SGD without noise approaches the optimum of f(w) = (w - 1)^2 / 2, and at which rates it no longer does:
 * runs against the recursion of their delays, its roots and its limit of stability. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/linear.h"
#include "theory/measure.h"

#define MOST_UPDATES 4000

/* The distance 1 - w after each update; distances[0] = 1 before the first. */
struct path {
    double distances[MOST_UPDATES + 1];
    uint64_t updates;
};

static void note_distance(void *self, const struct training *training, const struct event *event) {
    struct path *path = self;
    if (event->kind == EVENT_UPDATE && event->version <= MOST_UPDATES)
        path->distances[event->version] = 1 - (double)server_vector(&training->server)[0];
}

/* Constant times: equal workers deliver in turn. */
static void follow(struct path *path, const char *policy, enum engine_combine combine, int workers, double rate,
                   uint64_t updates) {
    char optimizer[64];
    struct run run;
    snprintf(optimizer, sizeof optimizer, "sgd,rate=%.9g", rate);
    struct run_setup setup = {.policy = policy,
                              .model = "quadratic,dimension=1,noise=0",
                              .optimizer = optimizer,
                              .combine = combine,
                              .workers = workers,
                              .limits.updates = updates,
                              .ring = 256,
                              .watch = note_distance,
                              .watch_self = path};
    *path = (struct path){.distances = {1}, .updates = updates};
    run_expect(&run, &setup, HYSGD_OK);
    assert_int_equal(run.training.engine.progress.version, updates);
    run_close(&run);
}

/* Each distance is that of the recursion from the same start, up to the rounding of floats near 1: a rounding error
 * of 2^-24 an update, which a stable recursion adds up to a few hundred of them at most. */
static void expect_path(const struct path *path, const struct linear *linear) {
    double past[LINEAR_MOST_DELAY + 1];
    for (int d = 0; d <= LINEAR_MOST_DELAY; d++)
        past[d] = 1; /* before the first update everyone computes at version 0 */
    for (uint64_t t = 1; t <= path->updates; t++) {
        linear_shift(past, linear_next(linear, past));
        if (fabs(path->distances[t] - past[0]) > 300 * 0x1p-24)
            fail_msg("after update %llu the distance is %g, theory says %g", (unsigned long long)t,
                     path->distances[t], past[0]);
    }
}

static void sync_shrinks_the_distance_by_one_factor(void **state) {
    (void)state;
    struct path path;
    struct linear mean = linear_in_turn(0.1, 1, 1), sum = linear_in_turn(0.4, 1, 1);
    follow(&path, "sync", ENGINE_MEAN, 4, 0.1, 200);
    expect_path(&path, &mean);
    assert_true(fabs(path.distances[20] - pow(0.9, 20)) < 1e-6);
    follow(&path, "sync", ENGINE_SUM, 4, 0.1, 200);
    expect_path(&path, &sum);
    assert_true(fabs(path.distances[20] - pow(0.6, 20)) < 1e-6);
}

static void async_follows_the_recursion_of_its_delay(void **state) {
    (void)state;
    struct path path;
    for (int workers = 1; workers <= 16; workers += 3) {
        struct linear linear = linear_in_turn(0.08, workers, 1);
        follow(&path, "async", ENGINE_MEAN, workers, 0.08, 1000);
        expect_path(&path, &linear);
    }
}

static void batch_async_follows_the_recursion_of_its_two_delays(void **state) {
    (void)state;
    static const int workers[] = {2, 6, 8, 16}, sizes[] = {2, 3, 2, 4};
    struct path path;
    for (int c = 0; c < 4; c++) {
        char policy[32];
        snprintf(policy, sizeof policy, "batch-async,size=%d", sizes[c]);
        struct linear linear = linear_in_turn(0.3, workers[c], sizes[c]);
        follow(&path, policy, ENGINE_MEAN, workers[c], 0.3, 1000);
        expect_path(&path, &linear);
    }
}

static void a_cutoff_below_the_workers_follows_the_recursion_of_fewer_workers(void **state) {
    (void)state;
    struct path path;
    for (int limit = 1; limit <= 7; limit += 3) {
        char policy[32];
        snprintf(policy, sizeof policy, "cutoff,limit=%d", limit);
        struct linear linear = linear_in_turn(0.15, limit, 1);
        follow(&path, policy, ENGINE_MEAN, 8, 0.15, 1000);
        expect_path(&path, &linear);
    }
}

/* A delay of 1: z^2 - z + a = 0. For a = 4/25 the larger root is 4/5. For a > 1/4 the roots are complex with |z|^2
 * = a, and x(t)^2 - x(t) x(t-1) + a x(t-1)^2 shrinks by a in each update. */
static void async_of_two_shrinks_the_distance_like_the_root_of_its_recursion(void **state) {
    (void)state;
    struct path path;
    follow(&path, "async", ENGINE_MEAN, 2, 0.16, 31);
    assert_true(fabs(path.distances[31] / path.distances[30] - 0.8) < 1e-3);
    follow(&path, "async", ENGINE_MEAN, 2, 0.64, 40);
    double *x = path.distances;
    double first = x[10] * x[10] - x[10] * x[9] + 0.64 * x[9] * x[9];
    double last = x[30] * x[30] - x[30] * x[29] + 0.64 * x[29] * x[29];
    assert_true(fabs(last / first / pow(0.64, 20) - 1) < 0.01);
}

static double largest(const struct path *path, uint64_t first, uint64_t end) {
    double most = 0;
    for (uint64_t t = first; t < end; t++)
        most = fmax(most, fabs(path->distances[t]));
    return most;
}

/* x(t+1) = x(t) - a x(t - tau) is stable up to a = 2 sin(pi / (2 (2 tau + 1))): W. S. Levin and R. M. May, "A note
 * on difference-delay equations", 1976. Here tau = n - 1. */
static void async_is_stable_up_to_the_rate_that_its_delay_allows(void **state) {
    (void)state;
    struct path path;
    for (int workers = 1; workers <= 16; workers *= 2) {
        double limit = 2 * sin(acos(-1) / (2 * (2 * workers - 1)));
        follow(&path, "async", ENGINE_MEAN, workers, 0.98 * limit, 2000);
        assert_true(largest(&path, 1900, 2000) < 0.5 * largest(&path, 100, 200));
        follow(&path, "async", ENGINE_MEAN, workers, 1.02 * limit, 2000);
        assert_true(largest(&path, 1900, 2000) > 2 * largest(&path, 100, 200));
    }
}

/* How much distances[t] / root^t grows from the update before. */
static double slope(const struct path *path, double root, uint64_t t) {
    return path->distances[t] / pow(root, (double)t) - path->distances[t - 1] / pow(root, (double)t - 1);
}

/* The rate that is best for a delay tau, a = tau^tau / (tau + 1)^(tau + 1), has the double root z = tau / (tau +
 * 1), so that the distance becomes (b + c t) z^t; lower and higher rates do worse. */
static void the_best_rate_of_async_has_the_double_root_of_its_recursion(void **state) {
    (void)state;
    struct path best, low, high;
    for (int tau = 2; tau <= 8; tau += 3) {
        double rate = pow(tau, tau) / pow(tau + 1, tau + 1), root = tau / (tau + 1.0);
        uint64_t t = (uint64_t)(11 * tau);
        follow(&best, "async", ENGINE_MEAN, tau + 1, rate, t);
        assert_true(fabs(slope(&best, root, t) / slope(&best, root, t - 1) - 1) < 0.03);
        follow(&low, "async", ENGINE_MEAN, tau + 1, 0.5 * rate, t);
        assert_true(largest(&best, t - 10, t) < largest(&low, t - 10, t));
        follow(&high, "async", ENGINE_MEAN, tau + 1, 3 * rate, t);
        assert_true(largest(&best, t - 10, t) < largest(&high, t - 10, t));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_shrinks_the_distance_by_one_factor),
        cmocka_unit_test(async_follows_the_recursion_of_its_delay),
        cmocka_unit_test(batch_async_follows_the_recursion_of_its_two_delays),
        cmocka_unit_test(a_cutoff_below_the_workers_follows_the_recursion_of_fewer_workers),
        cmocka_unit_test(async_of_two_shrinks_the_distance_like_the_root_of_its_recursion),
        cmocka_unit_test(async_is_stable_up_to_the_rate_that_its_delay_allows),
        cmocka_unit_test(the_best_rate_of_async_has_the_double_root_of_its_recursion),
    };
    return cmocka_run_group_tests_name("linear rate", tests, NULL, NULL);
}
