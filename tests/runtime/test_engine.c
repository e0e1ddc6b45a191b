/* SPDX-License-Identifier: Apache-2.0 */
/* The engine under scripted policies: which gradient counts, when an update is due and of what, who goes on, and
 * that at every moment each gradient is accounted for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "policy/policy.h"
#include "runtime/engine.h"

/* A policy that answers what the test says. */
struct script {
    double weight;
    uint64_t threshold;
    enum hysgd_release held, free; /* the answer for a worker whose gradient is held, and for others */
    int stubborn;                  /* workers below this number never go on */
    uint64_t asked;                /* releases */
};

static double script_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)now, (void)worker, (void)staleness;
    return ((const struct script *)self)->weight;
}

static uint64_t script_threshold(void *self, const struct hysgd_progress *now) {
    (void)now;
    return ((const struct script *)self)->threshold;
}

static enum hysgd_release script_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    struct script *script = self;
    (void)now;
    script->asked++;
    if (worker < script->stubborn)
        return HYSGD_UNTIL_UPDATE;
    return is_held ? script->held : script->free;
}

static const struct hysgd_policy_ops script_ops = {
    .about = {.name = "script"}, .admit = script_admit, .threshold = script_threshold, .release = script_release};

/* An engine with a scripted policy; `script` may be changed at any time. */
static void begin(struct engine *engine, struct script *script, enum engine_combine combine, int workers) {
    struct plugin policy = {.ops = &script_ops.about, .self = script};
    assert_int_equal(engine_init(engine, &policy, combine, workers), HYSGD_OK);
    engine_begin(engine);
}

static struct engine_verdict arrive(struct engine *engine, int worker) {
    struct engine_verdict verdict;
    if (engine_arrive(engine, worker, 1, 0, &verdict) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    return verdict;
}

static void expect_parts(const struct engine *engine, int count, const int *workers) {
    assert_int_equal(engine->part_count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(engine->parts[i].worker, workers[i]);
}

static void expect_released(const struct engine *engine, int count, const int *workers) {
    assert_int_equal(engine->released_count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(engine->released[i], workers[i]);
}

static void all_workers_begin_at_version_0(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 1};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 3);
    expect_released(&engine, 3, (int[]){0, 1, 2});
    assert_int_equal(engine.progress.computing, 3);
    assert_int_equal(engine.progress.workers, 3);
    engine_fini(&engine);
}

static void a_reached_threshold_makes_an_update_of_parts_ordered_by_worker(void **state) {
    (void)state;
    struct script script = {.weight = 2, .threshold = 3, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 4);
    assert_int_equal(arrive(&engine, 3).action, ENGINE_NOTHING);
    assert_int_equal(arrive(&engine, 0).action, ENGINE_NOTHING);
    struct engine_verdict verdict = arrive(&engine, 2);
    assert_int_equal(verdict.action, ENGINE_UPDATE);
    assert_int_equal(verdict.held, 3);
    assert_int_equal(verdict.threshold, 3);
    assert_false(verdict.is_forced);
    expect_parts(&engine, 3, (int[]){0, 2, 3});
    assert_int_equal(engine.released_count, 0);
    assert_true(engine_scale(&engine) == 1.0 / 6);
    assert_int_equal(engine_updated(&engine, 2, 0), HYSGD_OK);
    expect_released(&engine, 3, (int[]){3, 0, 2}); /* in the order of their arrival */
    assert_int_equal(engine.applied, 3);
    assert_int_equal(engine.progress.version, 1);
    engine_fini(&engine);
}

static struct engine_verdict abandon(struct engine *engine, int worker) {
    struct engine_verdict verdict;
    if (engine_abandon(engine, worker, 1, 0, &verdict) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    return verdict;
}

static void who_gives_up_begins_anew_and_nothing_is_received(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 1, .held = HYSGD_GO, .free = HYSGD_GO};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 3);
    arrive(&engine, 0);
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    assert_int_equal(abandon(&engine, 1).action, ENGINE_NOTHING);
    expect_released(&engine, 1, (int[]){1});
    assert_int_equal(engine.workers[1].read, 1);
    assert_int_equal(engine.workers[1].abandoned, 1);
    assert_int_equal(engine.clocks[1], 0);
    assert_int_equal(engine.progress.received, 1);
    engine_fini(&engine);
}

static void an_update_may_become_due_when_a_worker_gives_up(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 2, .held = HYSGD_UNTIL_UPDATE, .free = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    arrive(&engine, 0);
    script.threshold = 1;
    assert_int_equal(abandon(&engine, 1).action, ENGINE_UPDATE);
    expect_parts(&engine, 1, (int[]){0});
    script.held = script.free = HYSGD_GO;
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    expect_released(&engine, 2, (int[]){0, 1});
    assert_int_equal(engine.forced, 0);
    engine_fini(&engine);
}

static void when_the_last_worker_gives_up_the_held_ones_are_applied(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 2, .held = HYSGD_UNTIL_UPDATE, .free = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    arrive(&engine, 0);
    struct engine_verdict verdict = abandon(&engine, 1);
    assert_true(verdict.action == ENGINE_UPDATE && verdict.is_forced);
    engine_fini(&engine);
}

static void the_sum_is_not_divided(void **state) {
    (void)state;
    struct script script = {.weight = 2, .threshold = 1};
    struct engine engine;
    begin(&engine, &script, ENGINE_SUM, 2);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_UPDATE);
    assert_true(engine.parts[0].weight == 2);
    assert_true(engine_scale(&engine) == 1);
    engine_fini(&engine);
}

static void a_worker_that_goes_on_has_its_gradient_folded(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 3, .held = HYSGD_GO};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_FOLD);
    expect_parts(&engine, 1, (int[]){1});
    expect_released(&engine, 1, (int[]){1});
    assert_int_equal(arrive(&engine, 1).action, ENGINE_FOLD); /* its second gradient for the same update */
    assert_int_equal(engine.held_folded, 2);
    assert_int_equal(arrive(&engine, 0).action, ENGINE_UPDATE);
    expect_parts(&engine, 1, (int[]){0}); /* the others lie in the sum */
    assert_int_equal(engine_updated(&engine, 2, 0), HYSGD_OK);
    assert_int_equal(engine.workers[1].applied, 2);
    assert_int_equal(engine.held_folded, 0);
    engine_fini(&engine);
}

static void staleness_counts_the_versions_since_the_release(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 1};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(arrive(&engine, 0).staleness, 0);
        assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    }
    assert_int_equal(arrive(&engine, 1).staleness, 5);
    assert_int_equal(engine.workers[1].most_staleness, 0); /* not applied yet */
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    assert_int_equal(engine.workers[1].most_staleness, 5);
    assert_true(engine.workers[1].staleness_sum == 5 && engine.workers[0].staleness_sum == 0);
    engine_fini(&engine);
}

static void a_weight_of_0_drops_and_asks_no_threshold(void **state) {
    (void)state;
    struct script script = {.weight = 0, .threshold = 1};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_NOTHING);
    assert_int_equal(engine.dropped, 1);
    assert_int_equal(engine.workers[1].dropped, 1);
    assert_int_equal(engine.progress.held, 0);
    script.weight = 1e-300; /* nothing that a float can divide by */
    struct engine_verdict verdict = arrive(&engine, 0);
    assert_true(verdict.weight == 0);
    assert_int_equal(engine.dropped, 2);
    engine_fini(&engine);
}

static void impossible_weights_fail_with_the_policys_name(void **state) {
    (void)state;
    static const double weights[] = {-1, NAN, INFINITY, 1e39};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        struct script script = {.weight = weights[i], .threshold = 1};
        struct engine engine;
        struct engine_verdict verdict;
        begin(&engine, &script, ENGINE_MEAN, 2);
        assert_int_equal(engine_arrive(&engine, 1, 0, 0, &verdict), HYSGD_FAILED);
        assert_memory_equal(hysgd_error_message(), "policy script: gives worker 1's gradient the weight", 51);
        engine_fini(&engine);
    }
}

static void a_threshold_of_0_counts_as_1(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 0};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 1);
    struct engine_verdict verdict = arrive(&engine, 0);
    assert_int_equal(verdict.action, ENGINE_UPDATE);
    assert_int_equal(verdict.threshold, 1);
    engine_fini(&engine);
}

static void an_update_is_forced_when_nobody_would_go_on(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 99, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 2);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_NOTHING);
    struct engine_verdict verdict = arrive(&engine, 0);
    assert_int_equal(verdict.action, ENGINE_UPDATE);
    assert_true(verdict.is_forced);
    assert_int_equal(engine.forced, 1);
    expect_parts(&engine, 2, (int[]){0, 1});
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    assert_int_equal(engine.progress.computing, 2);
    engine_fini(&engine);
}

static void a_policy_that_lets_nobody_go_on_fails(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 1, .stubborn = 9};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 1);
    assert_int_equal(arrive(&engine, 0).action, ENGINE_UPDATE);
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "policy script: none of the 1 workers may go on after update 1");
    engine_fini(&engine);
    script.weight = 0;
    begin(&engine, &script, ENGINE_MEAN, 1);
    assert_int_equal(engine_arrive(&engine, 0, 0, 0, &verdict), HYSGD_FAILED);
    engine_fini(&engine);
}

/* Workers that wait for the slowest clock: all are asked when it advances, and their held gradients are folded in
 * the order of the workers. */
static void the_slowest_clock_releases_those_who_wait_for_it(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 99, .held = HYSGD_UNTIL_CLOCK};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 4);
    assert_int_equal(arrive(&engine, 3).action, ENGINE_NOTHING);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_NOTHING);
    assert_int_equal(arrive(&engine, 2).action, ENGINE_NOTHING);
    assert_int_equal(engine.progress.slowest, 0);
    script.held = HYSGD_GO;
    assert_int_equal(arrive(&engine, 0).action, ENGINE_FOLD);
    assert_int_equal(engine.progress.slowest, 1);
    expect_parts(&engine, 4, (int[]){0, 1, 2, 3});
    expect_released(&engine, 4, (int[]){0, 3, 1, 2});
    engine_fini(&engine);
}

static void those_who_wait_for_an_update_are_not_asked_by_the_clock(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 99, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    begin(&engine, &script, ENGINE_MEAN, 3);
    arrive(&engine, 0);
    script.held = HYSGD_UNTIL_CLOCK;
    arrive(&engine, 1);
    script.held = HYSGD_GO, script.asked = 0;
    arrive(&engine, 2);
    assert_int_equal(script.asked, 2);
    assert_int_equal(engine.waiting_count, 1);
    assert_int_equal(engine.waiting[0], 0);
    engine_fini(&engine);
}

static void a_lost_workers_delivered_gradient_still_counts(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 3, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 3);
    arrive(&engine, 0);
    arrive(&engine, 2);
    assert_int_equal(engine_lose(&engine, 2, 1, 0, &verdict), HYSGD_OK);
    assert_int_equal(verdict.action, ENGINE_NOTHING);
    assert_int_equal(engine.lost, 0);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_UPDATE);
    expect_parts(&engine, 3, (int[]){0, 1, 2});
    assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    assert_int_equal(engine.workers[2].applied, 1);
    expect_released(&engine, 2, (int[]){0, 1});
    engine_fini(&engine);
}

static void the_last_computing_workers_loss_makes_an_update(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 2, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 2);
    arrive(&engine, 0);
    script.threshold = 1; /* as with sync: one worker is left */
    assert_int_equal(engine_lose(&engine, 1, 1, 0, &verdict), HYSGD_OK);
    assert_int_equal(verdict.action, ENGINE_UPDATE);
    assert_false(verdict.is_forced);
    assert_int_equal(engine.lost, 1);
    assert_int_equal(engine_lose(&engine, 1, 1, 0, &verdict), HYSGD_OK); /* twice is once */
    assert_int_equal(engine.lost, 1);
    engine_fini(&engine);
    script.threshold = 99;
    begin(&engine, &script, ENGINE_MEAN, 2);
    arrive(&engine, 0);
    assert_int_equal(engine_lose(&engine, 1, 1, 0, &verdict), HYSGD_OK);
    assert_true(verdict.action == ENGINE_UPDATE && verdict.is_forced);
    engine_fini(&engine);
}

static void the_loss_of_all_leaves_an_engine_without_workers(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 99, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(engine_lose(&engine, i, 1, 0, &verdict), HYSGD_OK);
    assert_int_equal(engine.progress.workers, 0);
    assert_int_equal(verdict.action, ENGINE_NOTHING);
    engine_fini(&engine);
}

static void a_worker_that_joins_again_begins_at_the_slowest_clock(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 1};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 2);
    assert_int_equal(engine_lose(&engine, 1, 1, 0, &verdict), HYSGD_OK);
    for (int i = 0; i < 4; i++) {
        arrive(&engine, 0);
        assert_int_equal(engine_updated(&engine, 1, 0), HYSGD_OK);
    }
    engine_join(&engine, 1);
    expect_released(&engine, 1, (int[]){1});
    assert_int_equal(engine.clocks[1], 4);
    assert_int_equal(engine.workers[1].read, 4);
    assert_int_equal(engine.progress.workers, 2);
    assert_int_equal(engine.part_count, 0);
    engine_join(&engine, 1);
    assert_int_equal(engine.progress.workers, 2);
    engine_fini(&engine);
}

static void a_worker_that_joins_while_its_gradient_is_held_has_it_folded(void **state) {
    (void)state;
    struct script script = {.weight = 1, .threshold = 3, .held = HYSGD_UNTIL_UPDATE};
    struct engine engine;
    struct engine_verdict verdict;
    begin(&engine, &script, ENGINE_MEAN, 3);
    arrive(&engine, 1);
    assert_int_equal(engine_lose(&engine, 1, 1, 0, &verdict), HYSGD_OK);
    engine_join(&engine, 1);
    expect_parts(&engine, 1, (int[]){1});
    arrive(&engine, 0);
    assert_int_equal(arrive(&engine, 1).action, ENGINE_UPDATE);
    expect_parts(&engine, 2, (int[]){0, 1});
    assert_int_equal(engine.progress.held, 3);
    engine_fini(&engine);
}

/* The engine's promise, written out. */
static void expect_account(const struct engine *engine) {
    uint64_t received = 0, applied = 0, dropped = 0, held = 0, slowest = UINT64_MAX;
    int computing = 0, present = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        received += worker->applied + worker->dropped + worker->held;
        applied += worker->applied, dropped += worker->dropped, held += worker->held;
        computing += worker->activity == ENGINE_COMPUTING;
        present += worker->activity != ENGINE_LOST;
        if (worker->activity != ENGINE_LOST && engine->clocks[i] < slowest)
            slowest = engine->clocks[i];
    }
    assert_int_equal(received, engine->progress.received);
    assert_int_equal(applied, engine->applied);
    assert_int_equal(dropped, engine->dropped);
    assert_int_equal(held, engine->progress.held);
    assert_int_equal(computing, engine->progress.computing);
    assert_int_equal(present, engine->progress.workers);
    assert_true(present == 0 || slowest == engine->progress.slowest);
}

/* Random arrivals, losses and joins under a policy whose answers change all the time. */
static void play(int workers, int steps, uint64_t seed) {
    struct random random;
    struct script script = {.weight = 1, .threshold = 1};
    struct engine engine;
    random_init(&random, seed, 0, RANDOM_TEST, 0);
    begin(&engine, &script, ENGINE_MEAN, workers);
    for (int i = 0; i < steps && engine.progress.workers > 0; i++) {
        struct engine_verdict verdict = {0};
        script.weight = random_below(&random, 4) == 0 ? 0 : random_uniform(&random);
        script.threshold = 1 + random_below(&random, (uint64_t)workers + 3);
        script.held = (enum hysgd_release)random_below(&random, 3);
        int worker = (int)random_below(&random, (uint64_t)workers);
        if (random_below(&random, 50) == 0)
            assert_int_equal(engine_lose(&engine, worker, i, 0, &verdict), HYSGD_OK);
        else if (engine.workers[worker].activity == ENGINE_LOST && random_below(&random, 4) == 0)
            engine_join(&engine, worker);
        else if (engine.workers[worker].activity == ENGINE_COMPUTING)
            verdict = arrive(&engine, worker);
        expect_account(&engine);
        if (verdict.action == ENGINE_UPDATE) {
            script.held = HYSGD_GO;
            if (engine_updated(&engine, i, 0) != HYSGD_OK)
                fail_msg("seed %d, step %d: %s", (int)seed, i, hysgd_error_message());
            expect_account(&engine);
        }
        assert_true(engine.progress.computing > 0 || engine.progress.workers == 0);
    }
    engine_fini(&engine);
}

static void every_gradient_is_accounted_for_at_every_moment(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++)
        play(1 + (int)(seed % 9), 2000, seed);
}

static void a_thousand_workers_are_accounted_for(void **state) {
    (void)state;
    play(1000, 4000, 77);
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct script script = {0};
    struct plugin policy = {.ops = &script_ops.about, .self = &script};
    size_t used = memory_used();
    for (uint64_t n = 1; n <= 6; n++) {
        struct engine engine;
        memory_fail_at(n);
        assert_int_equal(engine_init(&engine, &policy, ENGINE_MEAN, 3), HYSGD_MEMORY);
        engine_fini(&engine);
        assert_int_equal(memory_used(), used);
    }
    memory_fail_at(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_workers_begin_at_version_0),
        cmocka_unit_test(a_reached_threshold_makes_an_update_of_parts_ordered_by_worker),
        cmocka_unit_test(who_gives_up_begins_anew_and_nothing_is_received),
        cmocka_unit_test(an_update_may_become_due_when_a_worker_gives_up),
        cmocka_unit_test(when_the_last_worker_gives_up_the_held_ones_are_applied),
        cmocka_unit_test(the_sum_is_not_divided),
        cmocka_unit_test(a_worker_that_goes_on_has_its_gradient_folded),
        cmocka_unit_test(staleness_counts_the_versions_since_the_release),
        cmocka_unit_test(a_weight_of_0_drops_and_asks_no_threshold),
        cmocka_unit_test(impossible_weights_fail_with_the_policys_name),
        cmocka_unit_test(a_threshold_of_0_counts_as_1),
        cmocka_unit_test(an_update_is_forced_when_nobody_would_go_on),
        cmocka_unit_test(a_policy_that_lets_nobody_go_on_fails),
        cmocka_unit_test(the_slowest_clock_releases_those_who_wait_for_it),
        cmocka_unit_test(those_who_wait_for_an_update_are_not_asked_by_the_clock),
        cmocka_unit_test(a_lost_workers_delivered_gradient_still_counts),
        cmocka_unit_test(the_last_computing_workers_loss_makes_an_update),
        cmocka_unit_test(the_loss_of_all_leaves_an_engine_without_workers),
        cmocka_unit_test(a_worker_that_joins_again_begins_at_the_slowest_clock),
        cmocka_unit_test(a_worker_that_joins_while_its_gradient_is_held_has_it_folded),
        cmocka_unit_test(every_gradient_is_accounted_for_at_every_moment),
        cmocka_unit_test(a_thousand_workers_are_accounted_for),
        cmocka_unit_test(exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
