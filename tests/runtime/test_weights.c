/* SPDX-License-Identifier: Apache-2.0 */
/* The weights that the engine gives to stale gradients, written out by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "policy/policy.h"
#include "runtime/engine.h"

#define WORKERS 4

struct scene {
    struct plugin policy;
    struct engine engine;
    struct engine_verdict verdict; /* the latest */
};

static void set_scene(struct scene *scene, const char *policy, enum engine_combine combine,
                      struct engine_weighting weighting) {
    assert_int_equal(plugin_open(&policy_list, policy, &scene->policy), HYSGD_OK);
    const struct hysgd_policy_ops *ops = policy_ops(&scene->policy);
    if (ops->init != NULL)
        assert_int_equal(ops->init(scene->policy.self, WORKERS), HYSGD_OK);
    assert_int_equal(engine_init(&scene->engine, &scene->policy, combine, WORKERS), HYSGD_OK);
    scene->engine.weighting = weighting;
    engine_begin(&scene->engine);
}

static void clear_scene(struct scene *scene) {
    engine_fini(&scene->engine);
    plugin_close(&scene->policy);
}

/* The gradient of `worker` arrives; an update that is due stays so. */
static void arrive(struct scene *scene, int worker) {
    assert_int_equal(engine_arrive(&scene->engine, worker, 0, 0, &scene->verdict), HYSGD_OK);
}

/* The weights of the first four gradients under `async`, whose staleness is 0, 1, 2, 3. */
static void expect_weights(struct engine_weighting weighting, const double weights[WORKERS]) {
    struct scene scene;
    set_scene(&scene, "async", ENGINE_MEAN, weighting);
    for (int w = 0; w < WORKERS; w++) {
        arrive(&scene, w);
        assert_int_equal(scene.verdict.action, ENGINE_UPDATE);
        assert_int_equal(scene.verdict.staleness, w);
        assert_true(fabs(scene.verdict.weight - weights[w]) < 1e-15);
        assert_true(scene.engine.parts[0].weight == (float)scene.verdict.weight);
        assert_true(engine_scale(&scene.engine) == 1); /* the mean of one does not undo its weight */
        assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
    }
    clear_scene(&scene);
}

static void weights_follow_the_staleness(void **state) {
    (void)state;
    expect_weights((struct engine_weighting){0}, (double[]){1, 1, 1, 1});
    expect_weights((struct engine_weighting){ENGINE_WEIGHT_INVERSE, 0}, (double[]){1, 1, 0.5, 1.0 / 3});
    expect_weights((struct engine_weighting){ENGINE_WEIGHT_POLYNOMIAL, 0.5},
                   (double[]){1, 0.70710678118654752, 0.57735026918962576, 0.5});
    expect_weights((struct engine_weighting){ENGINE_WEIGHT_POLYNOMIAL, 2}, (double[]){1, 0.25, 1.0 / 9, 0.0625});
    expect_weights((struct engine_weighting){ENGINE_WEIGHT_POLYNOMIAL, 0}, (double[]){1, 1, 1, 1});
}

static void the_mean_divides_by_the_number_and_the_sum_by_nothing(void **state) {
    (void)state;
    for (int combine = ENGINE_MEAN; combine <= ENGINE_SUM; combine++) {
        struct scene scene;
        set_scene(&scene, "batch-async,size=2", (enum engine_combine)combine,
                  (struct engine_weighting){ENGINE_WEIGHT_INVERSE, 0});
        for (int w = 0; w < 2 * WORKERS; w++) { /* the staleness is 0 0 1 1, then 1 1 1 1 */
            arrive(&scene, w % WORKERS);
            if (scene.verdict.action == ENGINE_UPDATE)
                assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
        }
        arrive(&scene, 3); /* of version 4 */
        arrive(&scene, 0); /* of version 2 */
        assert_int_equal(scene.verdict.staleness, 2);
        assert_true(scene.engine.held_weight == 1.5);
        assert_true(engine_scale(&scene.engine) == (combine == ENGINE_MEAN ? 0.5 : 1));
        clear_scene(&scene);
    }
}

static void the_weight_of_a_worker_multiplies_the_others(void **state) {
    (void)state;
    const double weights[WORKERS] = {0.5, 1, 2, 0.5};
    struct scene scene;
    set_scene(&scene, "batch-async,size=2", ENGINE_MEAN, (struct engine_weighting){ENGINE_WEIGHT_INVERSE, 0});
    scene.engine.worker_weights = weights;
    for (int w = 0; w < WORKERS; w++) { /* the staleness is 0 0 1 1 */
        arrive(&scene, w);
        assert_true(scene.verdict.weight == weights[w]);
        if (scene.verdict.action == ENGINE_UPDATE)
            assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
    }
    arrive(&scene, 2); /* of version 1: factor 1 */
    arrive(&scene, 0); /* of version 0: factor 1 / 2 */
    assert_true(scene.verdict.weight == 0.25);
    assert_true(scene.engine.held_weight == 2.25);
    assert_true(engine_scale(&scene.engine) == 0.5); /* the mean divides by the number of gradients */
    clear_scene(&scene);
}

static void a_weight_that_no_float_holds_drops_the_gradient(void **state) {
    (void)state;
    struct scene scene;
    set_scene(&scene, "async", ENGINE_MEAN, (struct engine_weighting){ENGINE_WEIGHT_POLYNOMIAL, 100});
    arrive(&scene, 0);
    assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
    arrive(&scene, 1); /* 2^-100 is a float */
    assert_true(scene.verdict.weight == 0x1p-100);
    assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
    arrive(&scene, 2); /* 3^-100 is not */
    assert_int_equal(scene.verdict.action, ENGINE_NOTHING);
    assert_true(scene.verdict.weight == 0);
    assert_int_equal(scene.engine.dropped, 1);
    clear_scene(&scene);
}

static void dropped_by_the_policy_is_dropped_with_any_weight(void **state) {
    (void)state;
    struct scene scene;
    set_scene(&scene, "cutoff,limit=1", ENGINE_MEAN, (struct engine_weighting){ENGINE_WEIGHT_INVERSE, 0});
    arrive(&scene, 0);
    assert_int_equal(engine_updated(&scene.engine, 0, 0), HYSGD_OK);
    arrive(&scene, 1);
    assert_true(scene.verdict.weight == 0);
    assert_int_equal(scene.engine.workers[1].dropped, 1);
    clear_scene(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_follow_the_staleness),
        cmocka_unit_test(the_mean_divides_by_the_number_and_the_sum_by_nothing),
        cmocka_unit_test(the_weight_of_a_worker_multiplies_the_others),
        cmocka_unit_test(a_weight_that_no_float_holds_drops_the_gradient),
        cmocka_unit_test(dropped_by_the_policy_is_dropped_with_any_weight),
    };
    return cmocka_run_group_tests_name("staleness weights", tests, NULL, NULL);
}
