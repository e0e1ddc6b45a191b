/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a queue: with `receive` seconds r a gradient and `apply` seconds a an update, n workers and compute
 * time c, how many gradients a second a run gets through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/measure.h"

#define RECEIVE 0.002
#define APPLY   0.006

/* Constant times, r and a as above. */
static void run_served(struct run *run, const char *policy, int workers, double compute, uint64_t gradients) {
    char text[48];
    snprintf(text, sizeof text, "constant,mean=%g", compute);
    struct run_setup setup = {
        .policy = policy,
        .workers = workers,
        .timing = {.compute = text, .receive = "constant,mean=0.002", .apply = "constant,mean=0.006"},
        .without_gradients = true,
        .limits.gradients = gradients};
    run_expect(run, &setup, HYSGD_OK);
}

/* The server is busy from the first arrival to the end. */
static void expect_saturated(const char *policy, uint64_t size) {
    struct run run;
    double compute = 0.01;
    run_served(&run, policy, 12, compute, 12000);
    double busy = 12000 * (RECEIVE + APPLY / (double)size);
    assert_true(fabs(run.seconds - (compute + busy)) < 1e-6);
    assert_true(fabs(run.summary.server_seconds - busy) < 1e-6);
    run_close(&run);
}

static void async_saturates_at_one_gradient_per_receive_and_apply(void **state) {
    (void)state;
    expect_saturated("async", 1);
    expect_saturated("cutoff,limit=1G", 1);
    expect_saturated("bounded,staleness=1G", 1);
}

static void a_threshold_of_k_saturates_at_one_gradient_per_receive_and_kth_of_apply(void **state) {
    (void)state;
    expect_saturated("threshold,start=3,cap=3", 3);
    expect_saturated("batch-async,size=6", 6);
    expect_saturated("threshold,start=20,cap=20", 20); /* more than there are workers */
}

/* Below saturation the workers fall into a rhythm in which nobody waits. */
static void async_throughput_is_the_least_of_what_workers_and_server_can_do(void **state) {
    (void)state;
    struct run run;
    for (int workers = 1; workers <= 12; workers++) {
        run_served(&run, "async", workers, 0.04, 24000);
        double by_workers = workers / (0.04 + RECEIVE + APPLY), by_server = 1 / (RECEIVE + APPLY);
        assert_true(fabs(24000 / run.seconds / fmin(by_workers, by_server) - 1) < 1e-3);
        run_close(&run);
    }
}

/* Everyone arrives at once and is received one after the other. */
static void a_round_of_sync_is_compute_n_receives_and_apply(void **state) {
    (void)state;
    struct run run;
    for (int workers = 1; workers <= 16; workers *= 4) {
        run_served(&run, "sync", workers, 0.01, (uint64_t)workers * 500);
        assert_true(fabs(run.seconds - 500 * (0.01 + workers * RECEIVE + APPLY)) < 1e-6);
        run_close(&run);
    }
}

struct scene {
    struct measure interval; /* seconds between updates */
    double last;
};

static void note_interval(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    (void)training;
    if (event->kind != EVENT_UPDATE)
        return;
    if (event->version > 1000)
        measure_add(&scene->interval, event->seconds - scene->last);
    scene->last = event->seconds;
}

/* Machine repairman, M/M/1 with n customers: the server is idle with the probability 1 / sum over k = 0..n of
 * n! / (n - k)! (r / c)^k. */
static double idle_share(int workers, double ratio) {
    double sum = 1, term = 1;
    for (int k = 1; k <= workers; k++) {
        term *= (workers - k + 1) * ratio;
        sum += term;
    }
    return 1 / sum;
}

static void a_server_with_random_times_is_the_machine_repairmans_queue(void **state) {
    (void)state;
    for (int workers = 2; workers <= 8; workers *= 2) {
        struct scene scene = {.interval.length = 2000};
        struct run run;
        struct run_setup setup = {.policy = "async",
                                  .workers = workers,
                                  .timing = {.compute = "exponential,mean=1", .receive = "exponential,mean=0.25"},
                                  .without_gradients = true,
                                  .limits.updates = 1000 + MEASURE_BATCHES * 2000 + 300,
                                  .ring = 4096,
                                  .watch = note_interval,
                                  .watch_self = &scene};
        run_expect(&run, &setup, HYSGD_OK);
        double busy = 1 - idle_share(workers, 0.25);
        measure_expect(&scene.interval, 0.25 / busy, 0.005, "seconds between the updates of a random server");
        assert_true(fabs(run.summary.server_seconds / run.seconds / busy - 1) < 0.02);
        run_close(&run);
    }
}

/* The paper's case for a threshold: a server that async saturates serves more gradients with it, and sync fewer. */
static void a_threshold_serves_more_gradients_than_async_when_the_server_is_slow(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "async", "threshold,start=4,cap=4", "threshold,start=12,cap=12"};
    double seconds[4];
    for (int p = 0; p < 4; p++) {
        struct run run;
        run_served(&run, policies[p], 12, 0.08, 12000);
        seconds[p] = run.seconds;
        run_close(&run);
    }
    assert_true(seconds[0] > seconds[1] && seconds[1] > seconds[2] && seconds[2] >= seconds[3]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async_saturates_at_one_gradient_per_receive_and_apply),
        cmocka_unit_test(a_threshold_of_k_saturates_at_one_gradient_per_receive_and_kth_of_apply),
        cmocka_unit_test(async_throughput_is_the_least_of_what_workers_and_server_can_do),
        cmocka_unit_test(a_round_of_sync_is_compute_n_receives_and_apply),
        cmocka_unit_test(a_server_with_random_times_is_the_machine_repairmans_queue),
        cmocka_unit_test(a_threshold_serves_more_gradients_than_async_when_the_server_is_slow),
    };
    return cmocka_run_group_tests_name("server model", tests, NULL, NULL);
}
