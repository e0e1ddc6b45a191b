/* SPDX-License-Identifier: Apache-2.0 */
/* Trials with a time limit, event by event: when a round is over, what follows one without success, and how the
 * limit moves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "policy/opened.h"

/* A policy with the progress that it is shown. */
struct play {
    struct plugin policy;
    struct hysgd_progress now;
};

static const struct hysgd_policy_ops *ops_of(const struct play *play) {
    return policy_ops(&play->policy);
}

/* Everyone has begun, at second 0. */
static void begin(struct play *play, const char *text, int workers) {
    *play = (struct play){.now = {.workers = workers, .computing = workers}};
    open_policy(text, workers, &play->policy);
    for (int w = 0; w < workers; w++)
        ops_of(play)->worker_ops->patience(play->policy.self, &play->now, w);
}

static double patience_of(struct play *play, int worker) {
    return ops_of(play)->worker_ops->patience(play->policy.self, &play->now, worker);
}

/* The worker delivers at `seconds`; the threshold that it finds. */
static uint64_t deliver(struct play *play, int worker, double seconds) {
    play->now.seconds = seconds;
    play->now.computing--;
    play->now.held++;
    assert_true(ops_of(play)->admit(play->policy.self, &play->now, worker, 0) == 1);
    return ops_of(play)->threshold(play->policy.self, &play->now);
}

static void give_up(struct play *play, int worker, double seconds) {
    play->now.seconds = seconds;
    play->now.computing--;
    ops_of(play)->worker_ops->abandoned(play->policy.self, &play->now, worker);
}

/* Asks for the release; who goes on has begun then, and the limit is returned; who waits has NaN. */
static double release(struct play *play, int worker) {
    if (ops_of(play)->release(play->policy.self, &play->now, worker, play->now.held > 0) != HYSGD_GO)
        return NAN;
    double patience = patience_of(play, worker);
    play->now.computing++;
    return patience;
}

static void update(struct play *play) {
    play->now.held = 0;
    play->now.version++;
    ops_of(play)->updated(play->policy.self, &play->now);
}

static void a_round_ends_with_its_last_trial(void **state) {
    (void)state;
    struct play play;
    begin(&play, "mindflayer,patience=5,trials=2", 2);
    assert_int_equal(deliver(&play, 0, 1), 4); /* all trials, for now */
    assert_true(release(&play, 0) == 5);
    assert_int_equal(deliver(&play, 0, 2), 4);
    assert_true(isnan(release(&play, 0))); /* has made its two */
    give_up(&play, 1, 5);
    assert_true(release(&play, 1) == 5);
    give_up(&play, 1, 10);
    assert_int_equal(ops_of(&play)->threshold(play.policy.self, &play.now), 2); /* what succeeded */
    update(&play);
    assert_true(release(&play, 0) == 5 && release(&play, 1) == 5);
    close_policy(&play.policy);
}

static void a_round_without_success_is_followed_by_another(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout,patience=1", 2);
    give_up(&play, 1, 1);
    assert_true(isnan(release(&play, 1)));
    give_up(&play, 0, 1);
    assert_true(isnan(release(&play, 0)));                         /* waits too, so that */
    assert_true(release(&play, 1) == 1 && release(&play, 0) == 1); /* all are asked */
    assert_int_equal(deliver(&play, 1, 2), 2);                     /* and the other's trial is awaited */
    give_up(&play, 0, 2);
    assert_int_equal(ops_of(&play)->threshold(play.policy.self, &play.now), 1);
    close_policy(&play.policy);
}

static void a_lost_worker_is_not_waited_for(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout,patience=1", 2);
    assert_int_equal(deliver(&play, 0, 0.5), 2);
    assert_true(isnan(release(&play, 0)));
    play.now.workers = 1;
    play.now.computing = 0;
    assert_int_equal(ops_of(&play)->threshold(play.policy.self, &play.now), 1);
    close_policy(&play.policy);
}

static void the_first_update_takes_half_of_the_workers(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout", 4);
    assert_int_equal(deliver(&play, 2, 3), 4);
    assert_true(isnan(release(&play, 2)));
    assert_int_equal(deliver(&play, 0, 4), 2);
    update(&play);
    assert_true(ops_of(&play)->worker_ops->abandons(play.policy.self, &play.now, 1, 1));
    assert_false(ops_of(&play)->worker_ops->abandons(play.policy.self, &play.now, 1, 0));
    assert_float_equal(release(&play, 2), 3, 0.01); /* its own time */
    assert_float_equal(release(&play, 0), 4, 0.01);
    give_up(&play, 1, 4.5);
    assert_float_equal(release(&play, 1), 4.5, 0.01); /* what it has spent */
    close_policy(&play.policy);
}

static void the_limit_moves_towards_the_median(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout", 1);
    deliver(&play, 0, 2);
    update(&play);
    double first = release(&play, 0);
    give_up(&play, 0, 2 + first);
    play.now.held = 1; /* the engine asks again; here the round ends by an update */
    update(&play);
    double second = release(&play, 0);
    assert_float_equal(second, first * exp(1.5), 1e-9);
    double begun = play.now.seconds;
    deliver(&play, 0, begun + 0.9 * second);
    update(&play);
    double third = release(&play, 0);
    assert_float_equal(third, 1.001 * 0.9 * second, 1e-9); /* no less than the time that it took */
    deliver(&play, 0, play.now.seconds + 1e-3);
    update(&play);
    assert_float_equal(release(&play, 0), third * exp(-0.5), 1e-9);
    close_policy(&play.policy);
}

static void a_given_limit_stays(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout,patience=2.5", 1);
    for (int i = 1; i < 20; i++) {
        deliver(&play, 0, i);
        update(&play);
        assert_true(release(&play, 0) == 2.5);
    }
    close_policy(&play.policy);
}

static double gain(struct play *play) {
    return ops_of(play)->gain(play->policy.self, &play->now);
}

static void an_update_is_divided_by_the_successes_to_be_expected(void **state) {
    (void)state;
    struct play play;
    begin(&play, "timeout,patience=1", 2);
    deliver(&play, 0, 0.5);
    deliver(&play, 1, 0.6);
    assert_true(gain(&play) == 1); /* 2 of 2, as always so far */
    update(&play);
    release(&play, 0);
    release(&play, 1);
    deliver(&play, 1, 1);
    give_up(&play, 0, 1.6);
    assert_float_equal(gain(&play), 1 / 1.5, 1e-12); /* 3 of 4 trials have succeeded: 1.5 were expected */
    close_policy(&play.policy);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"timeout,patience=-1", "timeout,trials=0", "timeout,patience=nan",
                                      "timeout,patience=inf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct plugin policy;
        assert_int_equal(plugin_open(&policy_list, bad[i], &policy), HYSGD_USAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_ends_with_its_last_trial),
        cmocka_unit_test(a_round_without_success_is_followed_by_another),
        cmocka_unit_test(a_lost_worker_is_not_waited_for),
        cmocka_unit_test(the_first_update_takes_half_of_the_workers),
        cmocka_unit_test(the_limit_moves_towards_the_median),
        cmocka_unit_test(a_given_limit_stays),
        cmocka_unit_test(an_update_is_divided_by_the_successes_to_be_expected),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("the policy timeout", tests, NULL, NULL);
}
