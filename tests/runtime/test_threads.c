/* SPDX-License-Identifier: Apache-2.0 */
/* The threads runtime under stress: no update is lost or doubled, no version is mixed, a stop never hangs, and
 * every failure of memory or of a model is a status. The virtual runtime is held to the same where that makes
 * sense. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "long.h"
#include "runtime/fixture.h"

#include "runtime/uniform.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const char *const policies[] = {"sync",
                                       "async",
                                       "threshold,start=3,cap=3",
                                       "threshold,step=20,wait=yes",
                                       "threshold,start=20,cap=20",
                                       "cyclic,sync=2,async=5",
                                       "switch,at=9,unit=updates",
                                       "switch,at=0.5,to=sync"};

/* Runs a setup with every policy and number of workers, and checks the sum. */
static void expect_no_lost_updates(struct uniform_model *model, struct run_setup from) {
    static const int workers[] = {1, 2, 3, 9};
    for (size_t i = 0; i < COUNT(policies) * COUNT(workers); i++) {
        from.policy = policies[i / COUNT(workers)];
        from.workers = workers[i % COUNT(workers)];
        struct run run;
        enum hysgd_status status = run_open(&run, &from);
        if (status == HYSGD_OK) {
            status = run_go(&run);
            if (status != HYSGD_OK)
                fail_msg("%s: %s", from.policy, hysgd_error_message());
            run_expect_balance(&run);
            uniform_check(model, &run);
            assert_int_equal(run.summary.forced_updates, 0);
        }
        assert_true(status == HYSGD_OK || status == HYSGD_USAGE); /* a start above the number of workers */
        run_close(&run);
    }
}

static void no_update_is_lost_and_no_version_is_mixed(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 40000); /* three shards */
    from.runtime = "threads";
    from.limits.gradients = 150;
    from.evaluate_every = (struct training_cadence){TRAINING_GRADIENTS, 10};
    expect_no_lost_updates(&model, from);
}

static void no_update_is_lost_with_tiny_gradients(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 3);
    from.runtime = "threads,spin=0,pin=no";
    from.limits.gradients = 2000;
    from.ring = 8;
    expect_no_lost_updates(&model, from);
}

static void no_update_is_lost_in_virtual_time(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 20000);
    from.timing = (struct timing_texts){.compute = "exponential", .delay = "one,exponential"};
    from.limits.gradients = 150;
    expect_no_lost_updates(&model, from);
}

static void clipping_and_states_see_whole_versions_too(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 60000);
        from.runtime = "threads";
        from.policy = policies[i];
        from.workers = 4 - i % 2;
        from.optimizer = i % 2 ? "adam,rate=0.01,clip=1" : "momentum,rate=0.01,clip=0.1";
        from.limits.gradients = 100;
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(model.mixed, 0);
        run_close(&run);
    }
}

static void checkpoints_in_between_disturb_nothing(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < COUNT(policies); i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 20000);
        from.runtime = "threads";
        from.policy = policies[i];
        from.timing.delay = "exponential,mean=0.0005";
        from.limits.gradients = 150;
        from.save_every = (struct training_cadence){TRAINING_GRADIENTS, 5};
        from.evaluate_every = (struct training_cadence){TRAINING_GRADIENTS, 7};
        from.save_path = path;
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        uniform_check(&model, &run);
        run_close(&run);
        from.resume_path = path; /* and the file holds what the account says */
        from.limits.gradients = 151;
        from.save_path = NULL;
        run_expect(&run, &from, HYSGD_OK);
        uniform_check(&model, &run);
        run_close(&run);
    }
    unlink(path);
}

struct stopper {
    struct run *run;
    uint64_t patience; /* turns before it stops the run */
};

static void *stop_soon(void *argument) {
    struct stopper *stopper = argument;
    for (uint64_t i = 0; i < stopper->patience; i++)
        sched_yield();
    training_stop(&stopper->run->training);
    return NULL;
}

static void a_stop_at_any_moment_never_hangs(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    for (int i = 0; i < long_count(48, 1000); i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, i % 3 == 0 ? 40000 : 10);
        from.runtime = i % 2 ? "threads" : "threads,spin=0";
        from.policy = policies[(size_t)i % COUNT(policies)];
        from.workers = 3 + i % 4;
        from.ring = i % 5 == 0 ? 2 : 1024;
        from.timing.delay = i % 4 == 0 ? "half,constant,mean=1000" : NULL;
        if (i % 8 == 7)
            from.limits.gradients = 100000000; /* so that a fraction exists */
        struct run run;
        pthread_t thread;
        assert_int_equal(run_open(&run, &from), HYSGD_OK);
        struct stopper stopper = {&run, random_below(&random, i % 2 ? 3000 : 30)};
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, &stopper), 0);
        assert_int_equal(run_go(&run), HYSGD_INTERRUPTED);
        pthread_join(thread, NULL);
        run_expect_balance(&run);
        uniform_check(&model, &run);
        run_close(&run);
    }
}

static void workers_can_be_lost_at_any_moment(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(policies); i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 20000);
        from.runtime = "threads";
        from.workers = 5;
        from.policy = policies[i / 2];
        from.timing.delay = "exponential,mean=0.002";
        from.timing.lose = i % 2 ? "0@0.004,1@0.009,3@0.015" : "4@0,2@0.02,1@0.02,0@0.02";
        from.limits.gradients = 60;
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        run_expect_balance(&run);
        uniform_check(&model, &run);
        run_close(&run);
    }
}

static void injected_delays_and_speeds_are_kept(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 1000);
    from.runtime = "threads";
    from.workers = 2;
    from.timing.delay = "one,constant,mean=0.004";
    from.limits.seconds = 0.08;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    const struct event_account *account = &run.summary.accounts[1];
    assert_true(account->received <= 20);
    assert_true(account->transit_seconds >= 0.004 * (double)account->received);
    assert_true(run.summary.accounts[0].transit_seconds < account->transit_seconds + 0.08);
    run_close(&run);
}

static void a_workspace_that_cannot_be_opened_fails_the_run(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 10; i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 10);
        model.fail_open = 1 + i / 2;
        from.runtime = runtimes[i % 2];
        from.workers = 5;
        from.limits.gradients = 1000;
        struct run run;
        size_t used = memory_used();
        run_expect(&run, &from, HYSGD_FAILED);
        assert_string_equal(hysgd_error_message(), "the workspace cannot be opened");
        run_close(&run);
        assert_int_equal(memory_used(), used);
    }
}

/* Fails each request for memory in turn until none is left to fail. */
static void expect_statuses(const struct run_setup *from) {
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY; n++) {
        struct run run;
        memory_fail_at(n);
        status = run_open(&run, from);
        if (status == HYSGD_OK)
            status = run_go(&run);
        memory_fail_at(0);
        if (status == HYSGD_MEMORY)
            assert_non_null(strstr(hysgd_error_message(), "out of memory"));
        run_close(&run);
        assert_int_equal(memory_used(), used);
        assert_true(n < 2000);
    }
    assert_int_equal(status, HYSGD_OK);
}

static void exhausted_memory_is_a_status_everywhere(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct run_setup from = {.runtime = runtimes[i],
                                 .policy = "threshold,start=3",
                                 .workers = 3,
                                 .model = "softmax,kernels=reference",
                                 .data = "random,samples=50,dimensions=4",
                                 .optimizer = "adam,clip=1",
                                 .limits = {.gradients = 12},
                                 .evaluate_every = {TRAINING_GRADIENTS, 5},
                                 .save_path = path,
                                 .ring = 4};
        expect_statuses(&from);
        from.resume_path = path;
        from.limits.gradients = 14;
        from.save_path = NULL;
        expect_statuses(&from);
    }
    unlink(path);
}

static void many_more_workers_than_cores_finish(void **state) {
    (void)state;
    static const char *const rows[] = {"sync", "async", "threshold,step=50,wait=yes"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 100);
        from.runtime = "threads";
        from.policy = rows[i];
        from.workers = 64;
        from.limits.gradients = 640;
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        uniform_check(&model, &run);
        run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_update_is_lost_and_no_version_is_mixed),
        cmocka_unit_test(no_update_is_lost_with_tiny_gradients),
        cmocka_unit_test(no_update_is_lost_in_virtual_time),
        cmocka_unit_test(clipping_and_states_see_whole_versions_too),
        cmocka_unit_test(checkpoints_in_between_disturb_nothing),
        cmocka_unit_test(a_stop_at_any_moment_never_hangs),
        cmocka_unit_test(workers_can_be_lost_at_any_moment),
        cmocka_unit_test(injected_delays_and_speeds_are_kept),
        cmocka_unit_test(a_workspace_that_cannot_be_opened_fails_the_run),
        cmocka_unit_test(exhausted_memory_is_a_status_everywhere),
        cmocka_unit_test(many_more_workers_than_cores_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
