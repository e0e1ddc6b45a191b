/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against the small model of the server: under every listed policy, with the same deliveries, losses and
 * gradients given up in the same order, both let the same workers go on at the same versions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "conformance/policy_model.h"
#include "runtime/engine.h"

/* One policy twice: one state asked by the engine, one by the model. */
struct duel {
    struct plugin policies[2];
    struct engine engine;
    struct policy_model model;
};

static int set_duel(void **state) {
    return memory_alloc(1, sizeof(struct duel), state) == HYSGD_OK ? 0 : -1;
}

static int clear_duel(void **state) {
    memory_free(*state);
    return 0;
}

static void close_policies(struct duel *duel) {
    for (int i = 0; i < 2; i++) {
        const struct hysgd_policy_ops *ops = policy_ops(&duel->policies[i]);
        if (ops->fini != NULL)
            ops->fini(duel->policies[i].self);
        plugin_close(&duel->policies[i]);
    }
}

static void begin(struct duel *duel, const char *text, int workers, uint64_t gradients) {
    for (int i = 0; i < 2; i++) {
        assert_int_equal(plugin_open(&policy_list, text, &duel->policies[i]), HYSGD_OK);
        const struct hysgd_policy_ops *ops = policy_ops(&duel->policies[i]);
        if (ops->init != NULL)
            assert_int_equal(ops->init(duel->policies[i].self, workers), HYSGD_OK);
    }
    assert_int_equal(engine_init(&duel->engine, &duel->policies[0], ENGINE_MEAN, workers), HYSGD_OK);
    engine_begin(&duel->engine);
    model_begin(&duel->model, policy_ops(&duel->policies[1]), duel->policies[1].self, workers, gradients);
    duel->engine.progress.estimates = duel->model.now.estimates;
}

static void expect_equal(const struct duel *duel, const char *text) {
    const struct engine *engine = &duel->engine;
    const struct policy_model *model = &duel->model;
    bool is_equal = engine->progress.version == model->now.version && engine->progress.held == model->now.held &&
                    engine->dropped == model->dropped && engine->forced == model->forced &&
                    engine->abandoned == model->abandoned;
    for (int w = 0; w < engine->worker_count; w++) {
        bool computes = engine->workers[w].activity == ENGINE_COMPUTING;
        is_equal = is_equal && computes == (model->workers[w].activity == MODEL_COMPUTING) &&
                   (!computes || (engine->workers[w].read == model->workers[w].read &&
                                  engine->workers[w].patience == model->workers[w].patience));
    }
    if (!is_equal)
        fail_msg("%s: the engine and the model differ after %d gradients", text, (int)model->now.received);
}

/* The n-th worker that computes. */
static int find_computing(const struct policy_model *model, uint64_t n) {
    for (int w = 0;; w++)
        if (model->workers[w].activity == MODEL_COMPUTING && n-- == 0)
            return w;
}

static void arrive(struct duel *duel, int worker, double seconds) {
    struct engine_verdict verdict;
    model_arrive(&duel->model, worker, seconds);
    double fraction = duel->model.now.fraction;
    assert_int_equal(engine_arrive(&duel->engine, worker, seconds, fraction, &verdict), HYSGD_OK);
    if (verdict.action == ENGINE_UPDATE)
        assert_int_equal(engine_updated(&duel->engine, seconds, fraction), HYSGD_OK);
}

static void give_up(struct duel *duel, int worker, double seconds) {
    struct engine_verdict verdict;
    model_abandon(&duel->model, worker, seconds);
    double fraction = duel->model.now.fraction;
    assert_int_equal(engine_abandon(&duel->engine, worker, seconds, fraction, &verdict), HYSGD_OK);
    if (verdict.action == ENGINE_UPDATE)
        assert_int_equal(engine_updated(&duel->engine, seconds, fraction), HYSGD_OK);
}

static void lose(struct duel *duel, int worker, double seconds) {
    struct engine_verdict verdict;
    model_lose(&duel->model, worker);
    double fraction = duel->model.now.fraction;
    assert_int_equal(engine_lose(&duel->engine, worker, seconds, fraction, &verdict), HYSGD_OK);
    if (verdict.action == ENGINE_UPDATE)
        assert_int_equal(engine_updated(&duel->engine, seconds, fraction), HYSGD_OK);
}

/* Slow workers seldom deliver: the last of `workers` is chosen only when it is drawn twice in a row. */
static void fight(struct duel *duel, const char *text, int workers, uint64_t lose_every) {
    struct random random;
    random_init(&random, 11, (uint32_t)workers, RANDOM_TEST, lose_every);
    begin(duel, text, workers, 600);
    for (int i = 1; i <= 600 && duel->model.now.workers > 0; i++) {
        uint64_t computing = (uint64_t)model_computing(&duel->model);
        int worker = find_computing(&duel->model, random_below(&random, computing));
        if (worker == workers - 1)
            worker = find_computing(&duel->model, random_below(&random, computing));
        if (i % 7 == 0)
            give_up(duel, worker, i);
        else
            arrive(duel, worker, i);
        if (lose_every != 0 && (uint64_t)i % lose_every == 0 && duel->model.now.workers > 1)
            lose(duel, find_computing(&duel->model, 0), i);
        expect_equal(duel, text);
    }
    assert_null(duel->model.fault);
    engine_fini(&duel->engine);
    close_policies(duel);
}

static void the_engine_decides_as_the_model_does(void **state) {
    static const char *const more[] = {"bounded,staleness=0",
                                       "bounded,staleness=1,dynamic=4",
                                       "backup,count=2",
                                       "backup,count=2,cancel=yes",
                                       "timeout,trials=3",
                                       "cyclic,sync=2,async=5",
                                       "threshold,step=20,wait=yes"};
    size_t more_count = sizeof more / sizeof more[0];
    for (size_t i = 0; i < policy_list.count + more_count; i++) {
        const char *text = i < more_count ? more[i] : policy_list.entries[i - more_count]->name;
        for (int workers = 2; workers <= 12; workers += 5)
            for (uint64_t lose_every = 0; lose_every < 120; lose_every += 59)
                fight(*state, text, workers, lose_every);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_engine_decides_as_the_model_does),
    };
    return cmocka_run_group_tests_name("the engine under every policy", tests, set_duel, clear_duel);
}
