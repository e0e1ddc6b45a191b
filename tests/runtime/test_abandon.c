/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up gradients: what the engine decides, when exactly it happens in modelled time, and that it happens in
 * real time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/fixture.h"

#include "runtime/uniform.h"

/* ---- Policies of this test: asynchronous, with one wish each ---- */

static uint64_t one(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 1;
}

static enum hysgd_release at_once(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

/* Worker 0 has patience for 0.25 seconds, the others for any time. */
static double quarter_of_worker_0(void *self, const struct hysgd_progress *now, int worker) {
    (void)self, (void)now;
    return worker == 0 ? 0.25 : (double)INFINITY;
}

static double none(void *self, const struct hysgd_progress *now, int worker) {
    (void)self, (void)now, (void)worker;
    return 1e-9;
}

static bool worker_0_is_late(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)self, (void)now;
    return worker == 0 && staleness > 0;
}

static const struct hysgd_policy_worker_ops patient = {.patience = quarter_of_worker_0},
                                            impatient = {.patience = none},
                                            cancelling = {.abandons = worker_0_is_late};

#define POLICY(wish)                                                                                               \
    { .about = {.name = #wish}, .threshold = one, .release = at_once, .worker_ops = &(wish) }

static const struct hysgd_policy_ops patient_policy = POLICY(patient), impatient_policy = POLICY(impatient),
                                     cancelling_policy = POLICY(cancelling);

/* ---- What was given up in a run ---- */

struct diary {
    struct event abandoned[64];
    int count;
};

static void keep(void *self, const struct training *training, const struct event *event) {
    struct diary *diary = self;
    (void)training;
    if (event->kind == EVENT_ABANDONED && diary->count < 64)
        diary->abandoned[diary->count++] = *event;
}

/* Two workers, of which worker 0 takes 1 second and worker 1 `other` times that. */
static struct run_setup two_workers(const struct hysgd_policy_ops *policy, const char *speeds,
                                    struct diary *diary) {
    return (struct run_setup){.own_policy = policy,
                              .workers = 2,
                              .batch = 12,
                              .timing = {.compute = "constant,mean=1", .speeds = speeds},
                              .ring = 1024,
                              .watch = keep,
                              .watch_self = diary};
}

static void patience_ends_at_its_moment(void **state) {
    (void)state;
    struct diary diary = {0};
    struct run_setup from = two_workers(&patient_policy, "1,0.5", &diary);
    from.limits.gradients = 1;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(diary.count, 7); /* at 0.25 to 1.75; at 2 the other one is first */
    for (int i = 0; i < diary.count; i++) {
        assert_true(diary.abandoned[i].seconds == 0.25 * (i + 1));
        assert_true(diary.abandoned[i].abandoned.spent_seconds == 0.25);
        assert_false(diary.abandoned[i].abandoned.is_cancelled);
    }
    assert_int_equal(run.summary.accounts[0].received, 0);
    assert_int_equal(run.summary.accounts[0].abandoned, 7);
    assert_true(run.summary.accounts[0].abandoned_seconds == 1.75);
    assert_true(run.summary.accounts[0].waiting_seconds == 0);
    run_close(&run);
}

static void patience_that_lasts_long_enough_delivers(void **state) {
    (void)state;
    struct diary diary = {0};
    struct run_setup from = two_workers(&patient_policy, "4,4", &diary); /* 0.25 seconds, to the last bit */
    from.limits.gradients = 8;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(diary.count, 0);
    run_close(&run);
}

/* Worker 1 delivers after 0.4 seconds, when worker 0 is in the middle of a piece. */
static void expect_cancelled(size_t micro_batch, double moment) {
    struct diary diary = {0};
    struct run_setup from = two_workers(&cancelling_policy, "1,2.5", &diary);
    from.micro_batch = micro_batch;
    from.limits.updates = 2;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(diary.count, moment < 0.8);
    if (diary.count > 0) {
        assert_true(diary.abandoned[0].seconds == moment);
        assert_true(diary.abandoned[0].abandoned.is_cancelled);
    }
    run_close(&run);
}

static void late_work_is_cancelled_at_the_end_of_its_piece(void **state) {
    (void)state;
    expect_cancelled(3, 0.5);
    expect_cancelled(6, 0.5);
    expect_cancelled(4, 1. / 3 * 2);
    expect_cancelled(0, 1); /* the whole batch is one piece */
}

static void what_is_on_its_way_is_delivered(void **state) {
    (void)state;
    struct diary diary = {0};
    struct run_setup from = two_workers(&cancelling_policy, "10,1", &diary); /* 0 has computed after 0.1 seconds */
    from.micro_batch = 1;
    from.timing.delay = "0,constant,mean=5";
    from.limits.seconds = 5.05; /* it is still on its way when worker 1 delivers, five times */
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(diary.count, 0);
    run_close(&run);
}

static void a_run_in_which_nothing_can_arrive_fails_with_one_line(void **state) {
    (void)state;
    struct diary diary = {0};
    struct run_setup from = two_workers(&impatient_policy, "1,1", &diary);
    from.limits.gradients = 10;
    struct run run;
    run_expect(&run, &from, HYSGD_FAILED);
    assert_non_null(strstr(hysgd_error_message(), "policy impatient: 100000 gradients in a row were given up"));
    assert_null(strchr(hysgd_error_message(), '\n'));
    run_close(&run);
}

static void what_is_given_up_changes_nothing(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 40);
    from.own_policy = &patient_policy;
    from.workers = 2;
    from.timing = (struct timing_texts){.compute = "exponential,mean=0.3"};
    from.limits.gradients = 200;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.summary.accounts[0].abandoned > 20 && run.summary.accounts[1].abandoned == 0);
    run_expect_balance(&run);
    run_close(&run);
}

/* A stop at any gradient, also between a cancellation and the end of its piece. */
static void expect_bit_identical_resumes(struct run_setup from) {
    char path[] = "/tmp/hysgd-abandon-XXXXXX";
    close(mkstemp(path));
    struct run whole, first, second;
    run_expect(&whole, &from, HYSGD_OK);
    assert_true(whole.training.engine.abandoned > 5);
    for (uint64_t stop = 1; stop < from.limits.gradients; stop += 3) {
        struct run_setup begun = from, rest = from;
        begun.stop_at = stop;
        begun.ring = 64;
        begun.save_path = path;
        rest.resume_path = path;
        run_expect(&first, &begun, HYSGD_INTERRUPTED);
        run_close(&first);
        run_expect(&second, &rest, HYSGD_OK);
        assert_true(run_hash(&second) == run_hash(&whole) && run_account(&second) == run_account(&whole));
        run_close(&second);
    }
    run_close(&whole);
    unlink(path);
}

static void a_resumed_run_gives_up_the_same_gradients(void **state) {
    (void)state;
    static const char *const policies[] = {"backup,count=2,cancel=yes", "timeout", "timeout,trials=3",
                                           "timeout,patience=0.012,trials=2"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct run_setup from = {.policy = policies[i], .workers = 5, .batch = 12, .micro_batch = 3};
        from.timing = (struct timing_texts){.compute = "pareto,least=0.005,alpha=1.2",
                                            .delay = "half,exponential,mean=0.004",
                                            .receive = "constant,mean=0.0005",
                                            .apply = "constant,mean=0.001"};
        from.limits.gradients = 60;
        expect_bit_identical_resumes(from);
    }
}

/* ---- Threads ---- */

static void threads_give_up_while_they_sleep_out_a_delay(void **state) {
    (void)state;
    struct diary diary = {0};
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 40);
    from.own_policy = &patient_policy;
    from.runtime = "threads";
    from.workers = 2;
    from.timing = (struct timing_texts){.delay = "0,constant,mean=1000000;1,constant,mean=0.3"};
    from.limits.gradients = 2;
    from.ring = 1024;
    from.watch = keep;
    from.watch_self = &diary;
    struct run run;
    run_expect(&run, &from, HYSGD_OK); /* does not wait for 11 days */
    assert_true(run.summary.accounts[0].abandoned > 0);
    assert_int_equal(run.summary.accounts[1].received, 2);
    uniform_check(&model, &run);
    run_close(&run);
}

static void threads_cancel_what_injected_slowness_holds_up(void **state) {
    (void)state;
    struct uniform_model model;
    struct run_setup from = uniform_setup(&model, 40);
    from.own_policy = &cancelling_policy;
    from.runtime = "threads";
    from.workers = 2;
    from.timing = (struct timing_texts){.speeds = "0.000001,1", .delay = "1,constant,mean=0.005"};
    from.limits.gradients = 40;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.summary.accounts[0].abandoned > 0);
    run_expect_balance(&run);
    run_close(&run);
}

/* What was being computed is begun again, so that a round has its trials. */
static void threads_go_on_after_an_interruption(void **state) {
    (void)state;
    static const char *const policies[] = {"backup,count=2,cancel=yes", "timeout",
                                           "timeout,patience=0.002,trials=2"};
    char path[] = "/tmp/hysgd-abandon-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct uniform_model model;
        struct run_setup from = uniform_setup(&model, 40), rest;
        struct run run;
        from.policy = policies[i];
        from.runtime = "threads";
        from.workers = 3;
        from.timing.delay = "all,exponential,mean=0.001";
        from.limits.gradients = 90;
        rest = from;
        from.ring = 64;
        from.stop_at = 40;
        from.save_path = path;
        rest.resume_path = path;
        run_expect(&run, &from, HYSGD_INTERRUPTED);
        run_close(&run);
        run_expect(&run, &rest, HYSGD_OK);
        assert_int_equal(run.summary.forced_updates, 0);
        run_expect_balance(&run);
        run_close(&run);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patience_ends_at_its_moment),
        cmocka_unit_test(patience_that_lasts_long_enough_delivers),
        cmocka_unit_test(late_work_is_cancelled_at_the_end_of_its_piece),
        cmocka_unit_test(what_is_on_its_way_is_delivered),
        cmocka_unit_test(a_run_in_which_nothing_can_arrive_fails_with_one_line),
        cmocka_unit_test(what_is_given_up_changes_nothing),
        cmocka_unit_test(a_resumed_run_gives_up_the_same_gradients),
        cmocka_unit_test(threads_give_up_while_they_sleep_out_a_delay),
        cmocka_unit_test(threads_cancel_what_injected_slowness_holds_up),
        cmocka_unit_test(threads_go_on_after_an_interruption),
    };
    return cmocka_run_group_tests_name("giving up gradients", tests, NULL, NULL);
}
