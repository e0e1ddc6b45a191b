/* SPDX-License-Identifier: Apache-2.0 */
/* The listed policies against tables written out by hand: thresholds, phases, releases, and refused options. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "policy/opened.h"

enum counter { GRADIENTS, UPDATES, SECONDS, FRACTION };

static struct hysgd_progress at(enum counter counter, double value, int workers) {
    struct hysgd_progress now = {.workers = workers};
    switch (counter) {
    case GRADIENTS:
        now.received = (uint64_t)value;
        break;
    case UPDATES:
        now.version = (uint64_t)value;
        break;
    case SECONDS:
        now.seconds = value;
        break;
    case FRACTION:
        now.fraction = value;
    }
    return now;
}

/* A row of a table: progress and the threshold there. A threshold of 0 ends it. */
struct row {
    double progress;
    uint64_t threshold;
};

static void expect_thresholds(const char *text, int workers, enum counter counter, const struct row *rows) {
    struct plugin policy;
    open_policy(text, workers, &policy);
    for (; rows->threshold != 0; rows++) {
        struct hysgd_progress now = at(counter, rows->progress, workers);
        uint64_t threshold = policy_ops(&policy)->threshold(policy.self, &now);
        if (threshold != rows->threshold)
            fail_msg("%s at %g: threshold %d, expected %d", text, rows->progress, (int)threshold,
                     (int)rows->threshold);
    }
    close_policy(&policy);
}

static uint64_t threshold_with(const char *text, int workers_at_first, int workers, enum counter counter,
                               double progress) {
    struct plugin policy;
    open_policy(text, workers_at_first, &policy);
    struct hysgd_progress now = at(counter, progress, workers);
    uint64_t threshold = policy_ops(&policy)->threshold(policy.self, &now);
    close_policy(&policy);
    return threshold;
}

static void the_paper_raises_the_threshold_every_300_gradients(void **state) {
    (void)state;
    static const struct row rows[] = {{1, 1},     {299, 1},   {300, 2},   {599, 2},   {600, 3},
                                      {7199, 24}, {7200, 25}, {7500, 25}, {1e15, 25}, {.threshold = 0}};
    expect_thresholds("smooth-switch", 25, GRADIENTS, rows);
    expect_thresholds("threshold,start=1,step=300,increment=1,cap=25", 25, GRADIENTS, rows);
}

static void start_increment_and_cap_shape_the_steps(void **state) {
    (void)state;
    static const struct row rows[] = {{1, 2}, {9, 2}, {10, 5}, {20, 8}, {30, 10}, {40, 10}, {.threshold = 0}};
    expect_thresholds("threshold,start=2,step=10,increment=3,cap=10", 4, GRADIENTS, rows);
}

static void each_counter_counts_its_own_unit(void **state) {
    (void)state;
    static const struct row whole[] = {{0, 1}, {3, 1}, {4, 2}, {8, 3}, {.threshold = 0}};
    static const struct row parts[] = {{0, 1}, {0.09, 1}, {0.1, 2}, {0.29, 3}, {0.3, 4}, {1, 11}, {.threshold = 0}};
    expect_thresholds("threshold,step=4,counter=updates", 16, UPDATES, whole);
    expect_thresholds("threshold,step=4,counter=seconds", 16, SECONDS, whole);
    expect_thresholds("threshold,step=0.1,counter=seconds", 16, SECONDS, parts);
    expect_thresholds("threshold,step=0.1,counter=fraction", 16, FRACTION, parts);
    assert_int_equal(threshold_with("threshold,step=4,counter=updates", 16, 16, GRADIENTS, 100), 1);
}

static void linear_rises_evenly(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 1},  {24, 1},  {25, 2},   {50, 3},
                                      {99, 4}, {100, 5}, {400, 16}, {.threshold = 0}};
    expect_thresholds("threshold,shape=linear,step=100,increment=4", 16, GRADIENTS, rows);
}

static void exponential_multiplies_every_step(void **state) {
    (void)state;
    static const struct row doubles[] = {{0, 1},   {99, 1},  {100, 2},  {158, 2},  {159, 3},
                                         {200, 4}, {300, 8}, {399, 15}, {400, 16}, {.threshold = 0}};
    static const struct row triples[] = {{0, 2}, {10, 6}, {20, 18}, {30, 54}, {1e15, 1000}, {.threshold = 0}};
    expect_thresholds("threshold,shape=exponential,step=100", 16, GRADIENTS, doubles);
    expect_thresholds("threshold,shape=exponential,start=2,step=10,increment=2,cap=1000", 16, GRADIENTS, triples);
}

static void cosine_is_half_a_wave_over_one_step(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 1},  {23, 1},  {24, 2},   {50, 5},         {75, 7},
                                      {99, 8}, {100, 9}, {1000, 9}, {.threshold = 0}};
    expect_thresholds("threshold,shape=cosine,step=100,cap=9", 9, GRADIENTS, rows);
}

static void downwards_the_run_begins_synchronous(void **state) {
    (void)state;
    static const struct row steps[] = {{0, 8}, {9, 8}, {10, 7}, {69, 2}, {70, 1}, {1e15, 1}, {.threshold = 0}};
    static const struct row line[] = {{0, 8}, {4, 8}, {5, 7}, {10, 6}, {35, 1}, {.threshold = 0}};
    static const struct row halves[] = {{0, 8},  {1, 8},  {10, 4},   {20, 2},
                                        {29, 2}, {30, 1}, {1e15, 1}, {.threshold = 0}};
    static const struct row wave[] = {{0, 9}, {23, 9}, {24, 8}, {50, 5}, {99, 2}, {100, 1}, {.threshold = 0}};
    expect_thresholds("threshold,direction=down,step=10", 8, GRADIENTS, steps);
    expect_thresholds("threshold,direction=down,step=10,shape=linear,increment=2", 8, GRADIENTS, line);
    expect_thresholds("threshold,direction=down,step=10,shape=exponential", 8, GRADIENTS, halves);
    expect_thresholds("threshold,direction=down,step=100,shape=cosine", 9, GRADIENTS, wave);
}

static void an_increment_of_0_keeps_the_threshold(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 3}, {1e6, 3}, {1e15, 3}, {.threshold = 0}};
    expect_thresholds("threshold,start=3,increment=0", 8, GRADIENTS, rows);
    expect_thresholds("threshold,start=3,increment=0,shape=linear", 8, GRADIENTS, rows);
    expect_thresholds("threshold,start=3,increment=0,shape=exponential", 8, GRADIENTS, rows);
}

static void the_threshold_follows_the_workers_that_are_left(void **state) {
    (void)state;
    assert_int_equal(threshold_with("sync", 8, 5, GRADIENTS, 1), 5);
    assert_int_equal(threshold_with("async", 8, 5, GRADIENTS, 1), 1);
    assert_int_equal(threshold_with("cyclic", 8, 5, GRADIENTS, 1), 5);
    assert_int_equal(threshold_with("switch", 8, 5, GRADIENTS, 1), 5);
    assert_int_equal(threshold_with("threshold", 8, 5, GRADIENTS, 1e6), 5);
    assert_int_equal(threshold_with("threshold,cap=8,wait=yes", 8, 5, GRADIENTS, 1e6), 5);
    assert_int_equal(threshold_with("threshold,start=8,wait=yes", 8, 5, GRADIENTS, 0), 5);
    assert_int_equal(threshold_with("threshold,direction=down", 8, 5, GRADIENTS, 0), 5);
    /* Who does not wait can deliver twice, so a cap that was asked for stays. */
    assert_int_equal(threshold_with("threshold,cap=8", 8, 5, GRADIENTS, 1e6), 8);
    assert_int_equal(threshold_with("sync", 8, 0, GRADIENTS, 1), 1);
}

static void cyclic_alternates_by_version(void **state) {
    (void)state;
    static const struct row sync_first[] = {{0, 4}, {1, 4}, {2, 1}, {4, 1},
                                            {5, 4}, {6, 4}, {7, 1}, {.threshold = 0}};
    static const struct row async_first[] = {{0, 1}, {2, 1}, {3, 4}, {4, 4}, {5, 1}, {.threshold = 0}};
    expect_thresholds("cyclic,sync=2,async=3", 4, UPDATES, sync_first);
    expect_thresholds("cyclic,sync=2,async=3,first=async", 4, UPDATES, async_first);
}

static void switch_changes_once(void **state) {
    (void)state;
    static const struct row quarter[] = {{0, 4}, {0.249, 4}, {0.25, 1}, {1, 1}, {.threshold = 0}};
    static const struct row to_sync[] = {{0, 1}, {9, 1}, {10, 4}, {1e15, 4}, {.threshold = 0}};
    expect_thresholds("sync-switch", 4, FRACTION, quarter);
    expect_thresholds("switch,at=10,unit=seconds,to=sync", 4, SECONDS, to_sync);
    expect_thresholds("switch,at=10,unit=updates,to=sync", 4, UPDATES, to_sync);
}

static void expect_release(const char *text, enum counter counter, double progress, enum hysgd_release while_held) {
    struct plugin policy;
    open_policy(text, 4, &policy);
    struct hysgd_progress now = at(counter, progress, 4);
    assert_int_equal(policy_ops(&policy)->release(policy.self, &now, 1, true), while_held);
    assert_int_equal(policy_ops(&policy)->release(policy.self, &now, 1, false), HYSGD_GO);
    close_policy(&policy);
}

static void who_waits_waits_for_the_update(void **state) {
    (void)state;
    expect_release("sync", UPDATES, 0, HYSGD_UNTIL_UPDATE);
    expect_release("async", UPDATES, 0, HYSGD_GO);
    expect_release("threshold", UPDATES, 0, HYSGD_GO);
    expect_release("threshold,wait=yes", UPDATES, 0, HYSGD_UNTIL_UPDATE);
    expect_release("cyclic,sync=2,async=3", UPDATES, 1, HYSGD_UNTIL_UPDATE);
    expect_release("cyclic,sync=2,async=3", UPDATES, 2, HYSGD_GO);
    expect_release("switch,at=2,unit=updates", UPDATES, 1, HYSGD_UNTIL_UPDATE);
    expect_release("switch,at=2,unit=updates", UPDATES, 2, HYSGD_GO);
}

static void staleness_bounds_are_stated(void **state) {
    (void)state;
    static const char *const all[] = {"sync", "async", "threshold", "cyclic", "switch"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(bound_of(all[i], 1), 0);
    assert_int_equal(bound_of("sync", 4), 0);
    assert_true(bound_of("async", 4) == UINT64_MAX);
    assert_true(bound_of("threshold", 4) == UINT64_MAX);
    assert_true(bound_of("threshold,start=4,cap=4", 4) == UINT64_MAX);
    assert_true(bound_of("threshold,start=3,wait=yes", 4) == UINT64_MAX);
    assert_int_equal(bound_of("threshold,start=4,wait=yes", 4), 0);
    assert_int_equal(bound_of("cyclic,sync=2,async=3", 4), 3);
    assert_true(bound_of("switch", 4) == UINT64_MAX);
    assert_true(bound_of("switch,at=2,unit=seconds,to=sync", 4) == UINT64_MAX);
    assert_int_equal(bound_of("switch,at=2,unit=updates,to=sync", 4), 2);
    assert_int_equal(bound_of("switch,at=0,to=sync", 4), 0);
}

static void contradictory_options_are_refused(void **state) {
    (void)state;
    expect_refused("threshold,cap=5,wait=yes", 4, "cap=5", "4 workers");
    expect_refused("threshold,start=5", 4, "start=5", "number of workers");
    expect_refused("threshold,start=5,cap=3", 8, "start=5", "expected 1 to 3");
    expect_refused("threshold,counter=fraction", 4, "step=300", "counter=fraction");
    expect_refused("threshold,counter=fraction,step=1.5", 4, "step=1.5", "at most 1");
    expect_refused("switch,at=1.5", 4, "at=1.5", "0 to 1");
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"threshold,start=0",    "threshold,step=0",       "threshold,step=-1",
                                      "threshold,cap=-1",     "threshold,increment=-1", "threshold,shape=squared",
                                      "threshold,wait=maybe", "threshold,step=nan",     "cyclic,sync=0",
                                      "cyclic,async=0",       "switch,at=-0.1",         "switch,to=bounded",
                                      "sync,step=1",          "threshold,step=1,step=2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct plugin policy;
        if (plugin_open(&policy_list, bad[i], &policy) != HYSGD_USAGE)
            fail_msg("%s was not refused", bad[i]);
        assert_null(policy.ops);
    }
}

static void every_policy_says_what_it_is(void **state) {
    (void)state;
    for (size_t i = 0; i < policy_list.count; i++) {
        const struct hysgd_plugin *about = policy_list.entries[i];
        const struct hysgd_policy_ops *ops = (const struct hysgd_policy_ops *)about;
        assert_true(about->name != NULL && about->summary != NULL && about->source != NULL);
        assert_true(ops->threshold != NULL && ops->release != NULL);
        const struct hysgd_plugin *found;
        assert_int_equal(plugin_find(&policy_list, about->name, &found), HYSGD_OK);
        assert_ptr_equal(found, about);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_paper_raises_the_threshold_every_300_gradients),
        cmocka_unit_test(start_increment_and_cap_shape_the_steps),
        cmocka_unit_test(each_counter_counts_its_own_unit),
        cmocka_unit_test(linear_rises_evenly),
        cmocka_unit_test(exponential_multiplies_every_step),
        cmocka_unit_test(cosine_is_half_a_wave_over_one_step),
        cmocka_unit_test(downwards_the_run_begins_synchronous),
        cmocka_unit_test(an_increment_of_0_keeps_the_threshold),
        cmocka_unit_test(the_threshold_follows_the_workers_that_are_left),
        cmocka_unit_test(cyclic_alternates_by_version),
        cmocka_unit_test(switch_changes_once),
        cmocka_unit_test(who_waits_waits_for_the_update),
        cmocka_unit_test(staleness_bounds_are_stated),
        cmocka_unit_test(contradictory_options_are_refused),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(every_policy_says_what_it_is),
    };
    return cmocka_run_group_tests_name("policies", tests, NULL, NULL);
}
