/* SPDX-License-Identifier: Apache-2.0 */
/* How stale the gradients of whole runs are: means that hold for any speeds, the distribution for equal workers,
 * and the bound that each policy states. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/measure.h"

/* Staleness summed over the gradients applied, held and under way. An update makes every gradient under way one
 * version older, except for the worker whose delivery made it: where nobody waits there are n - 1, so after U
 * updates the sum is (n - 1) U exactly, whatever the speeds. */
static double staleness_of_all(const struct run *run) {
    const struct engine *engine = &run->training.engine;
    double sum = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        sum += worker->staleness_sum + worker->held_staleness;
        if (worker->activity == ENGINE_COMPUTING)
            sum += (double)(engine->progress.version - worker->read);
    }
    return sum;
}

static void where_nobody_waits_an_update_ages_all_others_by_one(void **state) {
    (void)state;
    static const char *const policies[] = {"async", "batch-async,size=3", "threshold,step=200",
                                           "bounded,staleness=1G"};
    static const char *const computes[] = {"exponential", "lognormal,sigma=2", "pareto,alpha=1.1", NULL};
    for (int p = 0; p < 4; p++)
        for (int c = 0; c < 4; c++) {
            struct run run;
            struct run_setup setup = {.policy = policies[p],
                                      .workers = 9,
                                      .timing = {.speeds = "1,1,0.5,0.1", .compute = computes[c]},
                                      .without_gradients = true,
                                      .limits.updates = 1000};
            run_expect(&run, &setup, HYSGD_OK);
            assert_true(staleness_of_all(&run) == 8 * 1000);
            run_close(&run);
        }
}

/* The staleness of the arrivals of a run and its square. */
struct scene {
    struct measure staleness, square;
};

static void note_staleness(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    (void)training;
    if (event->kind != EVENT_ARRIVAL || event->version < 1000)
        return;
    double staleness = (double)(event->version - event->arrival.read);
    measure_add(&scene->staleness, staleness);
    measure_add(&scene->square, staleness * staleness);
}

static void measure_staleness(struct scene *scene, const char *policy, int workers, const char *compute) {
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .workers = workers,
                              .timing.compute = compute,
                              .without_gradients = true,
                              .limits.gradients = 20000 + MEASURE_BATCHES * 3000,
                              .ring = 4096,
                              .watch = note_staleness,
                              .watch_self = scene};
    *scene = (struct scene){{.length = 3000}, {.length = 3000}};
    run_expect(&run, &setup, HYSGD_OK);
    run_close(&run);
}

/* With exponential times each arrival is by any of the n workers: the staleness k has the probability
 * (1/n) (1 - 1/n)^k, so the mean n - 1 and the mean square (n - 1) (2 n - 1). */
static void equal_exponential_workers_have_a_geometric_staleness(void **state) {
    (void)state;
    struct scene scene;
    for (int n = 2; n <= 16; n *= 2) {
        measure_staleness(&scene, "async", n, "exponential");
        measure_expect(&scene.staleness, n - 1, 0.01, "the mean staleness of async");
        measure_expect(&scene.square, (n - 1) * (2 * n - 1), 0.02, "the mean square of the staleness of async");
    }
}

static void constant_workers_are_always_all_others_behind(void **state) {
    (void)state;
    struct scene scene;
    measure_staleness(&scene, "async", 6, "constant,mean=1");
    assert_true(measure_mean(&scene.staleness) == 5 && measure_mean(&scene.square) == 25);
    measure_staleness(&scene, "cutoff,limit=4", 6, "constant,mean=1"); /* 4 of them deliver, 2 are always dropped */
    assert_true(fabs(measure_mean(&scene.staleness) - (4 * 3 + 2 * 4) / 6.0) < 1e-4);
}

/* The mean does not need equal times; batches of K divide it. */
static void batches_of_k_have_a_kth_of_the_staleness(void **state) {
    (void)state;
    static const char *const computes[] = {"exponential", "lognormal", "uniform,least=0,most=1"};
    struct scene scene;
    for (int c = 0; c < 3; c++) {
        measure_staleness(&scene, "async", 8, computes[c]);
        measure_expect(&scene.staleness, 7, 0.01, "the mean staleness of async");
        measure_staleness(&scene, "batch-async,size=5", 8, computes[c]);
        measure_expect(&scene.staleness, 7 / 5.0, 0.01, "the mean staleness of batches of 5");
    }
}

static void expect_bound(const char *policy, const struct timing_texts *timing, int workers) {
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .workers = workers,
                              .timing = *timing,
                              .without_gradients = true,
                              .limits.gradients = 3000};
    run_expect(&run, &setup, HYSGD_OK);
    const struct hysgd_policy_ops *ops = policy_ops(&run.policy);
    uint64_t bound = ops->staleness_bound ? ops->staleness_bound(run.policy.self, workers) : UINT64_MAX;
    for (int i = 0; i < workers; i++)
        if (run.summary.accounts[i].most_staleness > bound)
            fail_msg("%s: a gradient of worker %d was %llu versions old, more than %llu", policy, i,
                     (unsigned long long)run.summary.accounts[i].most_staleness, (unsigned long long)bound);
    run_expect_balance(&run);
    run_close(&run);
}

/* The conformance suite asks this of the policies alone; here whole runs with heavy tails, delays and queues. */
static void every_policy_keeps_its_bound_in_whole_runs(void **state) {
    (void)state;
    static const struct timing_texts timings[] = {
        {.compute = "exponential"},
        {.compute = "pareto,alpha=1.1", .delay = "half,normal,std=0.02"},
        {.speeds = "1,0.9,0.2", .compute = "lognormal,sigma=2", .receive = "exponential,mean=0.004"},
        {.speeds = "1,0.01", .receive = "constant,mean=0.001", .apply = "exponential,mean=0.01"}};
    static const char *const more[] = {"bounded,staleness=0", "bounded,staleness=1,dynamic=3", "cutoff,limit=2",
                                       "cyclic,sync=2,async=5", "switch,at=200,unit=updates,to=sync"};
    size_t extra = sizeof more / sizeof more[0];
    for (size_t p = 0; p < policy_list.count + extra; p++)
        for (size_t t = 0; t < sizeof timings / sizeof timings[0]; t++)
            for (int workers = 3; workers <= 13; workers += 5)
                expect_bound(p < extra ? more[p] : policy_list.entries[p - extra]->name, &timings[t], workers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nobody_waits_an_update_ages_all_others_by_one),
        cmocka_unit_test(equal_exponential_workers_have_a_geometric_staleness),
        cmocka_unit_test(constant_workers_are_always_all_others_behind),
        cmocka_unit_test(batches_of_k_have_a_kth_of_the_staleness),
        cmocka_unit_test(every_policy_keeps_its_bound_in_whole_runs),
    };
    return cmocka_run_group_tests_name("staleness", tests, NULL, NULL);
}
