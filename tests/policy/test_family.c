/* SPDX-License-Identifier: Apache-2.0 */
/* The family of hybrids (bounded, backup, batch-sync, batch-async, cutoff) against answers written out by hand:
 * what is dropped, how many make an update, who waits, and which options are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "policy/opened.h"

#define MOST_WORKERS 8

static double weight_of(const char *text, int workers, uint64_t staleness) {
    struct plugin policy;
    open_policy(text, workers, &policy);
    uint64_t clocks[MOST_WORKERS] = {0};
    struct hysgd_progress now = {.workers = workers, .clocks = clocks};
    const struct hysgd_policy_ops *ops = policy_ops(&policy);
    double weight = ops->admit != NULL ? ops->admit(policy.self, &now, 0, staleness) : 1;
    close_policy(&policy);
    return weight;
}

static void only_fresh_gradients_count(void **state) {
    (void)state;
    static const char *const fresh[] = {"backup", "batch-sync", "cutoff,limit=1"};
    for (size_t i = 0; i < sizeof fresh / sizeof fresh[0]; i++) {
        assert_true(weight_of(fresh[i], 4, 0) == 1);
        assert_true(weight_of(fresh[i], 4, 1) == 0);
        assert_true(weight_of(fresh[i], 4, UINT64_MAX) == 0);
    }
}

static void stale_gradients_count_where_allowed(void **state) {
    (void)state;
    assert_true(weight_of("cutoff,limit=5", 4, 4) == 1);
    assert_true(weight_of("cutoff,limit=5", 4, 5) == 0);
    assert_true(weight_of("cutoff", 4, 7) == 1); /* twice the workers */
    assert_true(weight_of("cutoff", 4, 8) == 0);
    assert_true(weight_of("batch-async", 4, 1000) == 1);
}

static uint64_t threshold_of(const char *text, int workers_at_first, int workers) {
    struct plugin policy;
    open_policy(text, workers_at_first, &policy);
    struct hysgd_progress now = {.workers = workers};
    uint64_t threshold = policy_ops(&policy)->threshold(policy.self, &now);
    close_policy(&policy);
    return threshold;
}

static void backup_needs_all_but_the_spare_ones(void **state) {
    (void)state;
    static const int defaults[][2] = {{1, 1}, {2, 1}, {8, 7}, {10, 9}, {11, 9}, {25, 22}, {1000, 900}};
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        assert_int_equal(threshold_of("backup", defaults[i][0], defaults[i][0]), defaults[i][1]);
    assert_int_equal(threshold_of("k-sync,count=3", 8, 8), 3);
    assert_int_equal(threshold_of("m-sync,count=8", 8, 8), 8);
    assert_int_equal(threshold_of("backup,spare=3", 8, 8), 5);
}

static bool is_abandoned(const char *text, uint64_t staleness) {
    struct plugin policy;
    open_policy(text, 4, &policy);
    struct hysgd_progress now = {.workers = 4};
    bool abandons = policy_ops(&policy)->worker_ops->abandons(policy.self, &now, 1, staleness);
    close_policy(&policy);
    return abandons;
}

static void backup_cancels_late_work_where_asked_to(void **state) {
    (void)state;
    assert_false(is_abandoned("backup", 1));
    assert_false(is_abandoned("backup,cancel=yes", 0));
    assert_true(is_abandoned("backup,cancel=yes", 1));
}

static void lost_workers_use_up_the_spare_ones_first(void **state) {
    (void)state;
    assert_int_equal(threshold_of("backup,spare=2", 8, 7), 6);
    assert_int_equal(threshold_of("backup,spare=2", 8, 6), 6);
    assert_int_equal(threshold_of("backup,spare=2", 8, 5), 5);
    assert_int_equal(threshold_of("backup,count=3", 8, 2), 2);
    assert_int_equal(threshold_of("backup,count=3", 8, 0), 1);
}

static void batches_do_not_depend_on_who_is_left(void **state) {
    (void)state;
    assert_int_equal(threshold_of("batch-sync", 8, 8), 8);
    assert_int_equal(threshold_of("batch-sync", 8, 1), 8);
    assert_int_equal(threshold_of("rennala,size=100", 8, 1), 100);
    assert_int_equal(threshold_of("batch-async", 8, 1), 10);
    assert_int_equal(threshold_of("fedbuff,size=3", 8, 8), 3);
    assert_int_equal(threshold_of("ringmaster", 8, 8), 1);
}

static enum hysgd_release release_of(const char *text, bool is_held) {
    struct plugin policy;
    open_policy(text, 4, &policy);
    uint64_t clocks[MOST_WORKERS] = {0};
    struct hysgd_progress now = {.workers = 4, .clocks = clocks};
    enum hysgd_release release = policy_ops(&policy)->release(policy.self, &now, 1, is_held);
    close_policy(&policy);
    return release;
}

static void a_worker_waits_only_for_its_place_among_the_first(void **state) {
    (void)state;
    assert_int_equal(release_of("backup", true), HYSGD_UNTIL_UPDATE);
    assert_int_equal(release_of("backup", false), HYSGD_GO); /* dropped, or applied */
    assert_int_equal(release_of("batch-sync", true), HYSGD_GO);
    assert_int_equal(release_of("batch-async", true), HYSGD_GO);
    assert_int_equal(release_of("cutoff", false), HYSGD_GO);
}

/* Worker 1 of `clocks` [4] has just delivered. */
static enum hysgd_release release_at(const char *text, const uint64_t clocks[4]) {
    struct plugin policy;
    open_policy(text, 4, &policy);
    struct hysgd_progress now = {.workers = 4, .clocks = clocks, .slowest = clocks[0]};
    enum hysgd_release release = policy_ops(&policy)->release(policy.self, &now, 1, true);
    close_policy(&policy);
    return release;
}

static void who_is_too_far_ahead_waits_for_the_slowest_clock(void **state) {
    (void)state;
    assert_int_equal(release_at("bounded", (uint64_t[]){0, 3, 9, 9}), HYSGD_GO);
    assert_int_equal(release_at("bounded", (uint64_t[]){0, 4, 9, 9}), HYSGD_UNTIL_CLOCK);
    assert_int_equal(release_at("bounded", (uint64_t[]){6, 9, 9, 9}), HYSGD_GO);
    assert_int_equal(release_at("ssp,staleness=0", (uint64_t[]){6, 6, 7, 7}), HYSGD_GO);
    assert_int_equal(release_at("ssp,staleness=0", (uint64_t[]){6, 7, 7, 7}), HYSGD_UNTIL_CLOCK);
    assert_int_equal(threshold_of("bounded", 4, 4), 1);
    assert_true(weight_of("bounded", 4, 1000) == 1);
}

/* Two workers under one policy, driven by hand. */
struct pair {
    struct plugin policy;
    uint64_t clocks[2];
    struct hysgd_progress now;
};

static void open_pair(struct pair *pair, const char *text) {
    *pair = (struct pair){.now = {.workers = 2}};
    pair->now.clocks = pair->clocks;
    open_policy(text, 2, &pair->policy);
}

/* The gradient of `worker` arrives and is applied; may it go on? */
static enum hysgd_release deliver(struct pair *pair, int worker, double seconds) {
    const struct hysgd_policy_ops *ops = policy_ops(&pair->policy);
    pair->clocks[worker]++;
    pair->now.slowest = pair->clocks[pair->clocks[1] < pair->clocks[0]];
    pair->now.seconds = seconds;
    pair->now.version = ++pair->now.received;
    assert_true(ops->admit(pair->policy.self, &pair->now, worker, 0) == 1);
    return ops->release(pair->policy.self, &pair->now, worker, false);
}

static enum hysgd_release ask_again(struct pair *pair, int worker) {
    return policy_ops(&pair->policy)->release(pair->policy.self, &pair->now, worker, false);
}

/* Worker 0 takes 10 seconds, worker 1 takes 3: both have delivered at 10 and at 3, 6, 9, 12, 15. */
static void play_beginning(struct pair *pair) {
    assert_int_equal(deliver(pair, 1, 3), HYSGD_GO);
    assert_int_equal(deliver(pair, 1, 6), HYSGD_GO);
    assert_int_equal(deliver(pair, 1, 9), HYSGD_GO);
    assert_int_equal(deliver(pair, 0, 10), HYSGD_GO);
    assert_int_equal(deliver(pair, 1, 12), HYSGD_GO);
}

static void extra_iterations_end_where_the_slowest_is_expected(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, "bounded,staleness=3,dynamic=5");
    play_beginning(&pair);
    /* Clocks 1 and 5; worker 0 is expected at 20, 30, ..., worker 1 at 15 + 3 r: 3, 4 and 5 extra iterations wait
     * 6, 3 and 0 seconds for 30, none and 1 wait 5 and 2 for 20. */
    assert_int_equal(deliver(&pair, 1, 15), HYSGD_GO);
    assert_int_equal(deliver(&pair, 1, 18), HYSGD_GO);
    assert_int_equal(deliver(&pair, 0, 20), HYSGD_GO);
    assert_int_equal(deliver(&pair, 1, 21), HYSGD_GO);
    close_policy(&pair.policy);
    open_pair(&pair, "bounded,staleness=3,dynamic=2");
    play_beginning(&pair);
    assert_int_equal(deliver(&pair, 1, 15), HYSGD_GO); /* r = 1 waits 2 seconds, less than 0 (5) and 2 (9) */
    assert_int_equal(deliver(&pair, 1, 18), HYSGD_UNTIL_CLOCK); /* again: 0 waits 2 seconds, 1 waits 9 */
    assert_int_equal(deliver(&pair, 0, 20), HYSGD_GO);
    assert_int_equal(ask_again(&pair, 1), HYSGD_GO); /* 2 and 6: 1 extra waits 7 seconds, 2 wait 4, 0 wait 10 */
    close_policy(&pair.policy);
}

static void extra_iterations_end_at_their_number(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, "bounded,staleness=1,dynamic=3");
    assert_int_equal(deliver(&pair, 0, 100), HYSGD_GO);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(deliver(&pair, 1, 100 + i), HYSGD_GO); /* clocks 1 and 5: 4 ahead = 1 + 3 */
    assert_int_equal(deliver(&pair, 1, 106), HYSGD_UNTIL_CLOCK);
    assert_int_equal(ask_again(&pair, 1), HYSGD_UNTIL_CLOCK);
    close_policy(&pair.policy);
}

static void nothing_is_granted_while_the_slowest_is_unknown(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, "bounded,staleness=1,dynamic=3");
    assert_int_equal(deliver(&pair, 1, 1), HYSGD_GO);
    assert_int_equal(deliver(&pair, 1, 2), HYSGD_UNTIL_CLOCK);
    close_policy(&pair.policy);
}

static void print_saved(struct pair *pair, char *text_out, size_t size) {
    FILE *out = fmemopen(text_out, size, "w");
    assert_non_null(out);
    policy_print_saved(policy_ops(&pair->policy), pair->policy.self, 2, out);
    fclose(out);
}

static void what_is_saved_per_worker_is_read_back(void **state) {
    (void)state;
    char text[256], again[256];
    struct pair pair, fresh;
    open_pair(&pair, "bounded,staleness=3,dynamic=5");
    play_beginning(&pair);
    assert_int_equal(deliver(&pair, 1, 15.5), HYSGD_GO);
    print_saved(&pair, text, sizeof text);
    assert_string_equal(
        text, "slowest=0,slowest_clock=1\nreleased=10,interval=10,extra=0\nreleased=15.5,interval=3.5,extra=3");
    open_pair(&fresh, "bounded,staleness=3,dynamic=5");
    assert_int_equal(policy_parse_saved(policy_ops(&fresh.policy), fresh.policy.self, 2, text), HYSGD_OK);
    print_saved(&fresh, again, sizeof again);
    assert_string_equal(again, text);
    close_policy(&pair.policy);
    close_policy(&fresh.policy);
}

static void a_damaged_saved_state_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "\n",
                                      "\nextra=1",
                                      "\nextra=1\nextra=2\nextra=3",
                                      "\nextra=-1\n",
                                      "x",
                                      "x\n\n",
                                      "\nreleased=nan\n",
                                      "\n\nlost=1"};
    struct pair pair;
    open_pair(&pair, "bounded,dynamic=5");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (policy_parse_saved(policy_ops(&pair.policy), pair.policy.self, 2, bad[i]) != HYSGD_USAGE)
            fail_msg("'%s' was not refused", bad[i]);
        assert_non_null(strstr(hysgd_error_message(), "saved state of policy bounded"));
    }
    close_policy(&pair.policy);
    open_pair(&pair, "bounded"); /* nothing to save */
    assert_int_equal(policy_parse_saved(policy_ops(&pair.policy), pair.policy.self, 2, ""), HYSGD_OK);
    assert_int_equal(policy_parse_saved(policy_ops(&pair.policy), pair.policy.self, 2, "\n\n"), HYSGD_USAGE);
    close_policy(&pair.policy);
}

static void staleness_bounds_are_stated(void **state) {
    (void)state;
    assert_int_equal(bound_of("backup", 8), 0);
    assert_int_equal(bound_of("batch-sync", 8), 0);
    assert_true(bound_of("batch-async", 8) == UINT64_MAX);
    assert_int_equal(bound_of("batch-async", 1), 0);
    assert_int_equal(bound_of("bounded", 8), 49); /* (2 * 3 + 1) * 7 */
    assert_int_equal(bound_of("bounded,staleness=0", 8), 7);
    assert_int_equal(bound_of("bounded,staleness=3,dynamic=2", 8), 77);
    assert_int_equal(bound_of("bounded", 1), 0);
    assert_int_equal(bound_of("cutoff", 8), 15);
    assert_int_equal(bound_of("cutoff,limit=1", 8), 0);
    assert_int_equal(bound_of("cutoff,limit=100", 8), 99);
    assert_int_equal(bound_of("cutoff,limit=100", 1), 0);
}

static void numbers_that_the_workers_cannot_reach_are_refused(void **state) {
    (void)state;
    expect_refused("backup,count=5", 4, "count=5", "4 workers");
    expect_refused("backup,spare=4", 4, "spare=4", "4 workers");
    expect_refused("backup,spare=1", 1, "spare=1", "1 workers");
    expect_refused("backup,count=2,spare=2", 4, "count=2", "spare=2");
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"backup,count=-1",      "backup,spare=1.5",    "batch-sync,size=-1",
                                      "cutoff,limit=-1",      "batch-async,size=0",  "batch_sync",
                                      "bounded,staleness=-1", "bounded,dynamic=1001"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct plugin policy;
        if (plugin_open(&policy_list, bad[i], &policy) != HYSGD_USAGE)
            fail_msg("%s was not refused", bad[i]);
    }
}

static void every_alias_finds_its_policy(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"ssp", "bounded"},
                                           {"k-sync", "backup"},
                                           {"m-sync", "backup"},
                                           {"rennala", "batch-sync"},
                                           {"k-batch-sync", "batch-sync"},
                                           {"fedbuff", "batch-async"},
                                           {"ringmaster", "cutoff"},
                                           {"k-batch-async", "batch-async"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct hysgd_plugin *found = NULL;
        assert_int_equal(plugin_find(&policy_list, pairs[i][0], &found), HYSGD_OK);
        assert_string_equal(found->name, pairs[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_fresh_gradients_count),
        cmocka_unit_test(stale_gradients_count_where_allowed),
        cmocka_unit_test(backup_needs_all_but_the_spare_ones),
        cmocka_unit_test(backup_cancels_late_work_where_asked_to),
        cmocka_unit_test(lost_workers_use_up_the_spare_ones_first),
        cmocka_unit_test(batches_do_not_depend_on_who_is_left),
        cmocka_unit_test(a_worker_waits_only_for_its_place_among_the_first),
        cmocka_unit_test(who_is_too_far_ahead_waits_for_the_slowest_clock),
        cmocka_unit_test(extra_iterations_end_where_the_slowest_is_expected),
        cmocka_unit_test(extra_iterations_end_at_their_number),
        cmocka_unit_test(nothing_is_granted_while_the_slowest_is_unknown),
        cmocka_unit_test(what_is_saved_per_worker_is_read_back),
        cmocka_unit_test(a_damaged_saved_state_is_refused),
        cmocka_unit_test(staleness_bounds_are_stated),
        cmocka_unit_test(numbers_that_the_workers_cannot_reach_are_refused),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(every_alias_finds_its_policy),
    };
    return cmocka_run_group_tests_name("family of policies", tests, NULL, NULL);
}
