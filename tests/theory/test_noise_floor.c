/* SPDX-License-Identifier: Apache-2.0 */
/* How far from the optimum SGD with a constant rate stays, in the direction of each eigenvector and in the loss, as
 * measured in runs and as theory says: synchronous, asynchronous with constant and with random delays, buffered,
 * and with a cutoff. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/linear.h"
#include "theory/measure.h"

#define DIMENSION 4
#define MODEL     "quadratic,dimension=4,condition=10,noise=1"
#define BATCH     4

/* The square of the slowest direction's distance forgets in 1 / (2 rate lambda) updates, at most 25 here: a batch
 * of a measure is 80 times as long or more. */
#define BATCH_UPDATES   2000
#define BURN_IN_UPDATES 1000

struct scene {
    const char *policy;
    enum engine_combine combine;
    struct measure squares[DIMENSION], loss;
};

static double curvature(int i) {
    return pow(10, (double)i / (DIMENSION - 1) - 1);
}

static void note_distance(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    double loss = 0;
    if (event->kind != EVENT_UPDATE || event->version <= BURN_IN_UPDATES)
        return;
    const float *vector = server_vector(&training->server);
    for (int i = 0; i < DIMENSION; i++) {
        double distance = vector[i] - (i % 2 == 0 ? 1 : -1);
        loss += curvature(i) * distance * distance / 2;
        measure_add(&scene->squares[i], distance * distance);
    }
    measure_add(&scene->loss, loss);
}

static void measure_floor(struct scene *scene, const char *policy, int workers, const char *compute, double rate) {
    char optimizer[64];
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .model = MODEL,
                              .optimizer = optimizer,
                              .combine = scene->combine,
                              .workers = workers,
                              .batch = BATCH,
                              .timing.compute = compute,
                              .limits.updates = BURN_IN_UPDATES + MEASURE_BATCHES * BATCH_UPDATES,
                              .ring = 256,
                              .watch = note_distance,
                              .watch_self = scene};
    snprintf(optimizer, sizeof optimizer, "sgd,rate=%g", rate);
    scene->policy = policy;
    for (int i = 0; i < DIMENSION; i++)
        scene->squares[i] = (struct measure){.length = BATCH_UPDATES};
    scene->loss = (struct measure){.length = BATCH_UPDATES};
    run_expect(&run, &setup, HYSGD_OK);
    run_close(&run);
}

/* The variance of a gradient, in each direction. */
static const double gradient_variance = 1.0 / BATCH;

/* `variances` [DIMENSION] in the directions of the eigenvectors. The loss is known better than the slowest
 * direction, whose effective sample size is the smallest. */
static void expect_floor(const struct scene *scene, const double *variances) {
    char what[128];
    double loss = 0;
    for (int i = 0; i < DIMENSION; i++) {
        snprintf(what, sizeof what, "%s, variance at the eigenvalue %.3f", scene->policy, curvature(i));
        measure_expect(&scene->squares[i], variances[i], 0.04, what);
        loss += curvature(i) * variances[i] / 2;
    }
    snprintf(what, sizeof what, "%s, loss", scene->policy);
    measure_expect(&scene->loss, loss, 0.01, what);
}

/* x(t+1) = (1 - a) x(t) + u(t) has the variance q / (1 - (1 - a)^2); n gradients averaged: q = rate^2 s^2 / n. */
static double serial_variance(double a, double q) {
    return q / (a * (2 - a));
}

static void sync_has_an_nth_of_the_variance_of_one_worker(void **state) {
    (void)state;
    double variances[DIMENSION];
    for (int workers = 1; workers <= 6; workers += 5) {
        struct scene scene = {0};
        measure_floor(&scene, "sync", workers, "exponential", 0.4);
        for (int i = 0; i < DIMENSION; i++)
            variances[i] = 0.4 * gradient_variance / workers / (curvature(i) * (2 - 0.4 * curvature(i)));
        expect_floor(&scene, variances);
    }
}

/* The sum of n gradients at a rate is their mean at n times the rate. */
static void a_sum_of_n_has_the_variance_of_a_mean_at_n_times_the_rate(void **state) {
    (void)state;
    struct scene scene = {.combine = ENGINE_SUM};
    double variances[DIMENSION];
    measure_floor(&scene, "sync", 4, NULL, 0.1);
    for (int i = 0; i < DIMENSION; i++)
        variances[i] = serial_variance(0.4 * curvature(i), 0.4 * 0.4 * gradient_variance / 4);
    expect_floor(&scene, variances);
}

/* backup and batch-sync average K fresh gradients: which ones arrive depends on times alone, not on their noise. */
static void policies_without_stale_gradients_have_the_variance_of_their_batch(void **state) {
    (void)state;
    static const char *const policies[] = {"backup,count=3", "batch-sync,size=3"};
    double variances[DIMENSION];
    for (int p = 0; p < 2; p++) {
        struct scene scene = {0};
        measure_floor(&scene, policies[p], 5, "lognormal", 0.4);
        for (int i = 0; i < DIMENSION; i++)
            variances[i] = serial_variance(0.4 * curvature(i), 0.4 * 0.4 * gradient_variance / 3);
        expect_floor(&scene, variances);
    }
}

/* The oracles agree with the closed forms of the cases that have one: the variance of an autoregression of order 2
 * for a delay of 1 (x(t+1) = x(t) - a x(t-1) + u(t)), and that of n workers with exponential times, which follows
 * from the moments' fixed point by hand. */
static void the_oracles_agree_with_closed_forms(void **state) {
    (void)state;
    for (double a = 0.05; a < 0.5; a += 0.05) {
        struct linear linear = linear_in_turn(a, 1, 1);
        assert_true(fabs(linear_variance(&linear, 1) - serial_variance(a, 1)) < 1e-9);
        linear = linear_in_turn(a, 2, 1);
        assert_true(fabs(linear_variance(&linear, 1) - (1 + a) / ((1 - a) * a * (2 + a))) < 1e-9);
        assert_true(fabs(linear_random_variance(a, 1, 1, 3) - serial_variance(a, 1)) < 1e-9);
        for (int n = 1; n <= 4; n++)
            assert_true(fabs(linear_random_variance(a, 1, n, 1) - (1 + n * a) / (a * (2 + a - n * a * a))) < 1e-9);
    }
}

/* With constant times n workers deliver in turn, and every gradient is n - 1 versions old. */
static void async_with_constant_times_has_the_variance_of_a_constant_delay(void **state) {
    (void)state;
    double variances[DIMENSION];
    for (int workers = 2; workers <= 6; workers += 2) {
        struct scene scene = {0};
        measure_floor(&scene, "async", workers, "constant,mean=1", 0.2);
        for (int i = 0; i < DIMENSION; i++) {
            struct linear linear = linear_in_turn(0.2 * curvature(i), workers, 1);
            variances[i] = linear_variance(&linear, 0.2 * 0.2 * gradient_variance);
        }
        expect_floor(&scene, variances);
    }
}

static void async_with_exponential_times_has_the_variance_of_random_delays(void **state) {
    (void)state;
    double variances[DIMENSION];
    for (int workers = 3; workers <= 9; workers += 3) {
        struct scene scene = {0};
        measure_floor(&scene, "async", workers, "exponential", 0.2);
        for (int i = 0; i < DIMENSION; i++) {
            double a = 0.2 * curvature(i);
            variances[i] = 0.2 * 0.2 * gradient_variance * (1 + workers * a) / (a * (2 + a - workers * a * a));
        }
        expect_floor(&scene, variances);
    }
}

static void batch_async_with_constant_times_has_the_variance_of_two_delays(void **state) {
    (void)state;
    static const int workers[] = {3, 6, 8}, sizes[] = {3, 2, 4};
    double variances[DIMENSION];
    for (int c = 0; c < 3; c++) {
        struct scene scene = {0};
        char policy[32];
        snprintf(policy, sizeof policy, "batch-async,size=%d", sizes[c]);
        measure_floor(&scene, policy, workers[c], "constant,mean=1", 0.3);
        for (int i = 0; i < DIMENSION; i++) {
            struct linear linear = linear_in_turn(0.3 * curvature(i), workers[c], sizes[c]);
            variances[i] = linear_variance(&linear, 0.3 * 0.3 * gradient_variance / sizes[c]);
        }
        expect_floor(&scene, variances);
    }
}

static void batch_async_with_exponential_times_has_the_variance_of_random_delays(void **state) {
    (void)state;
    static const int workers[] = {4, 8, 5}, sizes[] = {2, 4, 7};
    double variances[DIMENSION];
    for (int c = 0; c < 3; c++) {
        struct scene scene = {0};
        char policy[48];
        snprintf(policy, sizeof policy, "threshold,start=%d,cap=%d", sizes[c], sizes[c]);
        measure_floor(&scene, policy, workers[c], "exponential", 0.4);
        for (int i = 0; i < DIMENSION; i++)
            variances[i] = linear_random_variance(0.4 * curvature(i), 0.4 * 0.4 * gradient_variance / sizes[c],
                                                  workers[c], sizes[c]);
        expect_floor(&scene, variances);
    }
}

/* Of n equal workers in turn, R get ahead of the cutoff for good: each of their gradients is R - 1 versions old,
 * and those of the others are always R. */
static void a_cutoff_below_the_workers_has_the_variance_of_fewer_workers(void **state) {
    (void)state;
    struct scene scene = {0};
    double variances[DIMENSION];
    measure_floor(&scene, "cutoff,limit=3", 5, "constant,mean=1", 0.3);
    for (int i = 0; i < DIMENSION; i++) {
        struct linear linear = {.a = 0.3 * curvature(i), .share = {[2] = 1}};
        variances[i] = linear_variance(&linear, 0.3 * 0.3 * gradient_variance);
    }
    expect_floor(&scene, variances);
}

/* With random times a cutoff lies between serial SGD (R = 1) and async (R = infinity), and lowers the variance. */
static void a_lower_cutoff_has_a_lower_variance(void **state) {
    (void)state;
    static const char *const policies[] = {"cutoff,limit=1", "cutoff,limit=4", "cutoff,limit=12",
                                           "cutoff,limit=1G"};
    struct scene scenes[4] = {0};
    double first[DIMENSION], last[DIMENSION];
    for (int p = 0; p < 4; p++)
        measure_floor(&scenes[p], policies[p], 9, "exponential", 0.2);
    for (int p = 1; p < 4; p++) {
        double error = hypot(measure_error(&scenes[p - 1].loss), measure_error(&scenes[p].loss));
        assert_true(measure_mean(&scenes[p].loss) - measure_mean(&scenes[p - 1].loss) > MEASURE_ERRORS * error);
    }
    for (int i = 0; i < DIMENSION; i++) {
        first[i] = serial_variance(0.2 * curvature(i), 0.2 * 0.2 * gradient_variance);
        last[i] = linear_random_variance(0.2 * curvature(i), 0.2 * 0.2 * gradient_variance, 9, 1);
    }
    expect_floor(&scenes[0], first);
    expect_floor(&scenes[3], last);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_has_an_nth_of_the_variance_of_one_worker),
        cmocka_unit_test(a_sum_of_n_has_the_variance_of_a_mean_at_n_times_the_rate),
        cmocka_unit_test(policies_without_stale_gradients_have_the_variance_of_their_batch),
        cmocka_unit_test(the_oracles_agree_with_closed_forms),
        cmocka_unit_test(async_with_constant_times_has_the_variance_of_a_constant_delay),
        cmocka_unit_test(async_with_exponential_times_has_the_variance_of_random_delays),
        cmocka_unit_test(batch_async_with_constant_times_has_the_variance_of_two_delays),
        cmocka_unit_test(batch_async_with_exponential_times_has_the_variance_of_random_delays),
        cmocka_unit_test(a_cutoff_below_the_workers_has_the_variance_of_fewer_workers),
        cmocka_unit_test(a_lower_cutoff_has_a_lower_variance),
    };
    return cmocka_run_group_tests_name("noise floor", tests, NULL, NULL);
}
