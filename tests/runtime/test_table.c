/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with a table: which row a gradient joins, when a round ends, and what a loss leaves behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/fixture.h"

static void begin(struct engine *engine, struct plugin *policy, int workers) {
    assert_int_equal(plugin_open(&policy_list, "table", policy), HYSGD_OK);
    assert_int_equal(engine_init(engine, policy, ENGINE_MEAN, workers), HYSGD_OK);
    engine_begin(engine);
}

static void end(struct engine *engine, struct plugin *policy) {
    engine_fini(engine);
    plugin_close(policy);
}

/* A worker delivers; what follows has to be this, and the worker goes on at this version. */
static void deliver(struct engine *engine, int worker, enum engine_action action, uint64_t version) {
    struct engine_verdict verdict;
    assert_int_equal(engine_arrive(engine, worker, 1, 0, &verdict), HYSGD_OK);
    assert_int_equal(verdict.action, action);
    assert_int_equal(engine->part_count, 1);
    assert_int_equal(engine->parts[0].worker, worker);
    if (action == ENGINE_UPDATE)
        assert_int_equal(engine_updated(engine, 1, 0), HYSGD_OK);
    assert_int_equal(engine->released_count, 1);
    assert_int_equal(engine->released[0], worker);
    assert_int_equal(engine->workers[worker].read, version);
}

static void lose(struct engine *engine, int worker) {
    struct engine_verdict verdict;
    assert_int_equal(engine_lose(engine, worker, 1, 0, &verdict), HYSGD_OK);
    assert_int_equal(verdict.action, ENGINE_NOTHING);
}

static double divisor(const struct engine *engine, int worker) {
    return engine->table.rows[worker].divisor[table_present(&engine->table)];
}

static void a_round_waits_for_all_and_then_serves_each_once(void **state) {
    (void)state;
    struct plugin policy;
    struct engine engine;
    begin(&engine, &policy, 3);
    deliver(&engine, 0, ENGINE_FOLD, 0); /* again at the version that it has */
    deliver(&engine, 0, ENGINE_FOLD, 0);
    deliver(&engine, 1, ENGINE_FOLD, 0);
    deliver(&engine, 2, ENGINE_UPDATE, 1); /* the last row is filled */
    assert_true(divisor(&engine, 0) == 2 && divisor(&engine, 1) == 1);
    assert_int_equal(engine.applied, 4);
    deliver(&engine, 2, ENGINE_FOLD, 1); /* it has had its turn */
    assert_int_equal(engine.progress.held, 1);
    deliver(&engine, 1, ENGINE_UPDATE, 2);
    assert_int_equal(engine.progress.held, 1);
    deliver(&engine, 0, ENGINE_UPDATE, 3);
    assert_int_equal(engine.table.round, 1); /* and the row of worker 2 begins with what waited */
    assert_true(divisor(&engine, 0) == 0 && divisor(&engine, 1) == 0 && divisor(&engine, 2) == 1);
    assert_int_equal(engine.progress.held, 1);
    end(&engine, &policy);
}

static void a_lost_worker_is_not_waited_for(void **state) {
    (void)state;
    struct plugin policy;
    struct engine engine;
    begin(&engine, &policy, 3);
    deliver(&engine, 0, ENGINE_FOLD, 0);
    lose(&engine, 2);
    deliver(&engine, 1, ENGINE_UPDATE, 1);
    lose(&engine, 0); /* nobody is left to be served: the round is over */
    assert_int_equal(engine.table.round, 1);
    deliver(&engine, 1, ENGINE_UPDATE, 2);
    assert_int_equal(engine.progress.held, 0);
    assert_int_equal(engine.applied, engine.progress.received);
    end(&engine, &policy);
}

static void the_row_of_a_lost_worker_counts_to_the_end_of_the_round(void **state) {
    (void)state;
    struct plugin policy;
    struct engine engine;
    begin(&engine, &policy, 3);
    deliver(&engine, 0, ENGINE_FOLD, 0);
    lose(&engine, 0);
    deliver(&engine, 1, ENGINE_FOLD, 0);
    deliver(&engine, 2, ENGINE_UPDATE, 1);
    assert_int_equal(engine.workers[0].applied, 1);
    assert_int_equal(engine.table.filled, 3);
    deliver(&engine, 1, ENGINE_UPDATE, 2);
    assert_int_equal(engine.table.filled, 0);
    end(&engine, &policy);
}

static enum hysgd_release wait_always(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_UNTIL_UPDATE;
}

static enum hysgd_release again_always(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_AGAIN;
}

static uint64_t two(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 2;
}

static void answers_that_the_aggregate_does_not_know_are_refused(void **state) {
    (void)state;
    const struct hysgd_policy_ops bad[] = {
        {.about.name = "bad", .aggregate = HYSGD_TABLE, .threshold = two, .release = wait_always},
        {.about.name = "bad", .aggregate = HYSGD_HELD, .threshold = two, .release = again_always}};
    for (int i = 0; i < 2; i++) {
        struct run run;
        struct run_setup from = {.own_policy = &bad[i], .limits.gradients = 10};
        run_expect(&run, &from, HYSGD_FAILED);
        assert_non_null(strstr(hysgd_error_message(), "policy bad: has "));
        run_close(&run);
    }
}

static void very_unequal_workers_are_served_alike(void **state) {
    (void)state;
    struct run run;
    struct run_setup from = {
        .policy = "table", .timing = {.speeds = "1,0.01,0.3,1", .compute = "lognormal"}, .limits.gradients = 4000};
    run_expect(&run, &from, HYSGD_OK);
    run_expect_balance(&run);
    assert_true(run.summary.updates > 40 && run.summary.updates < 400); /* by the slowest one's pace */
    for (int i = 0; i < run.summary.workers; i++)
        assert_in_range(run.summary.accounts[i].most_staleness, 0, 2 * 4 - 2);
    run_close(&run);
}

static void a_sum_is_the_mean_at_a_rate_times_the_workers(void **state) {
    (void)state;
    struct run mean, sum;
    struct run_setup from = {.policy = "table", .optimizer = "sgd,rate=0.08", .limits.gradients = 300};
    run_expect(&mean, &from, HYSGD_OK);
    from.combine = ENGINE_SUM;
    from.optimizer = "sgd,rate=0.02";
    run_expect(&sum, &from, HYSGD_OK);
    for (size_t i = 0; i < mean.training.server.count; i++)
        assert_true(fabs((double)(server_vector(&mean.training.server)[i] -
                                  server_vector(&sum.training.server)[i])) < 1e-5);
    run_close(&mean);
    run_close(&sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_waits_for_all_and_then_serves_each_once),
        cmocka_unit_test(a_lost_worker_is_not_waited_for),
        cmocka_unit_test(the_row_of_a_lost_worker_counts_to_the_end_of_the_round),
        cmocka_unit_test(answers_that_the_aggregate_does_not_know_are_refused),
        cmocka_unit_test(very_unequal_workers_are_served_alike),
        cmocka_unit_test(a_sum_is_the_mean_at_a_rate_times_the_workers),
    };
    return cmocka_run_group_tests_name("a table of gradients", tests, NULL, NULL);
}
