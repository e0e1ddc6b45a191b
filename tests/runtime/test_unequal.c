/* SPDX-License-Identifier: Apache-2.0 */
/* Workers with unequal data: their weights make of unequal parts the gradient of the whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "fixture.h"
#include "runtime/worker_list.h"

/* Seven samples: three workers have 3, 2 and 2 of them, and a batch of 6 is the whole of each part. */
#define SEVEN .data = "random,samples=8", .model = "dense 10", .optimizer = "sgd,rate=0.5", .limits = {.updates = 10}

/* The largest difference of the parameters from those of one worker that always sees all seven samples. */
static double distance_from_whole(const struct run_setup *setup) {
    const struct run_setup pooled = {SEVEN, .policy = "sync", .workers = 1, .batch = 7};
    struct run whole, parts;
    double largest = 0;
    run_expect(&whole, &pooled, HYSGD_OK);
    assert_int_equal(whole.training.shape.train_count, 7);
    run_expect(&parts, setup, HYSGD_OK);
    for (size_t i = 0; i < whole.training.server.count; i++)
        largest = fmax(largest, fabs((double)(server_vector(&whole.training.server)[i] -
                                              server_vector(&parts.training.server)[i])));
    run_close(&whole);
    run_close(&parts);
    return largest;
}

static void weighted_by_samples_unequal_parts_give_the_gradient_of_the_whole(void **state) {
    (void)state;
    struct run_setup setup = {SEVEN, .policy = "sync", .workers = 3, .batch = 6};
    assert_true(distance_from_whole(&setup) > 1e-3);
    setup.worker_weights = "samples";
    assert_true(distance_from_whole(&setup) < 1e-6);
    setup.worker_weights = "3,2x2";
    assert_true(distance_from_whole(&setup) < 1e-6);
    setup.worker_weights = "2,2,3";
    assert_true(distance_from_whole(&setup) > 1e-3);
}

static void equal_weights_change_nothing(void **state) {
    (void)state;
    struct run_setup setup = {.policy = "batch-async,size=3", .workers = 4, .limits = {.updates = 100}};
    uint64_t plain = run_result(&setup);
    setup.worker_weights = "samples"; /* of 1000 samples each has 250 */
    assert_int_equal(run_result(&setup), plain);
    setup.worker_weights = "4x0.3";
    assert_int_equal(run_result(&setup), plain);
    setup.worker_weights = "2,1,1,1";
    assert_int_not_equal(run_result(&setup), plain);
}

static void weights_have_the_mean_1(void **state) {
    (void)state;
    double *weights;
    assert_int_equal(worker_weights_read("6,2x1", 3, NULL, &weights), HYSGD_OK);
    assert_true(weights[0] == 2.25 && weights[1] == 0.375 && weights[2] == 0.375);
    memory_free(weights);
    assert_int_equal(worker_weights_read("none", 3, NULL, &weights), HYSGD_OK);
    assert_null(weights);
}

static void bad_weights_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"1,2", "worker-weights: 2 weights are given for 3 workers"},
        {"1,2,3,4", "worker-weights: more weights are given than the 3 workers"},
        {"sample",
         "worker-weights: \"sample\": expected a relative weight from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"1,0,1", "worker-weights: \"0\": expected a relative weight from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"1,nan,1",
         "worker-weights: \"nan\": expected a relative weight from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double *weights;
        assert_int_equal(worker_weights_read(cases[i][0], 3, NULL, &weights), HYSGD_USAGE);
        assert_string_equal(hysgd_error_message(), cases[i][1]);
        assert_null(weights);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted_by_samples_unequal_parts_give_the_gradient_of_the_whole),
        cmocka_unit_test(equal_weights_change_nothing),
        cmocka_unit_test(weights_have_the_mean_1),
        cmocka_unit_test(bad_weights_are_refused),
    };
    return cmocka_run_group_tests_name("unequal data", tests, NULL, NULL);
}
