/* SPDX-License-Identifier: Apache-2.0 */
/* Workers with unequal data: their weights make of unequal parts the gradient of the whole, and what a policy drops
 * or leaves behind shows in the samples that were applied. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "fixture.h"
#include "record/bias.h"
#include "runtime/worker_list.h"

/* Seven samples: three workers have 3, 2 and 2 of them, and a batch of 6 is the whole of each part. */
#define SEVEN                                                                                                      \
    .data = "random,samples=8", .model = "dense 10", .optimizer = "sgd,rate=0.5", .limits = {.updates = 10}

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

/* Sorted by label, so that each worker has classes of its own: ten classes, five workers, the last very slow. */
#define BY_LABEL .own_data = &by_label, .model = "dense 10", .optimizer = "sgd,rate=0.1", .workers = 5, .batch = 4

static void by_label_describe(const void *self, struct hysgd_data_shape *shape_out) {
    (void)self;
    *shape_out = (struct hysgd_data_shape){
        .train_count = 100, .test_count = 1, .channels = 1, .height = 1, .width = 2, .classes = 10};
}

static void by_label_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                            float *inputs, int32_t *labels, float *targets) {
    (void)self, (void)split, (void)targets;
    for (size_t i = 0; i < count; i++) {
        labels[i] = (int32_t)(indices[i] / 10);
        for (size_t k = 0; inputs && k < 2; k++)
            inputs[2 * i + k] = (float)(indices[i] % 7) - (float)k;
    }
}

static void nine_classes_describe(const void *self, struct hysgd_data_shape *shape_out) {
    by_label_describe(self, shape_out);
    shape_out->classes = 9;
}

static const struct hysgd_data_ops by_label = {
    .about = {.name = "by-label"}, .describe = by_label_describe, .gather = by_label_gather};

#define SLOW_LAST                                                                                                  \
    { .speeds = "4x1,0.05", .compute = "lognormal,mean=0.01,sigma=0.3" }

static struct run_setup by_label_under(const char *policy) {
    return (struct run_setup){BY_LABEL, .partition = "contiguous", .policy = policy, .timing = SLOW_LAST,
                              .limits = {.updates = 200}};
}

static void dropping_leaves_the_slow_workers_classes_short(void **state) {
    (void)state;
    static const char *const policies[] = {"batch-sync,size=4", "backup,count=4", "cutoff,limit=5"};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        struct run_setup setup = by_label_under(policies[i]);
        struct run run;
        run_expect(&run, &setup, HYSGD_OK);
        const struct event_summary *summary = &run.summary;
        assert_true(summary->accounts[4].dropped > 0);
        assert_true(summary->accounts[4].share.applied < 0.02 && summary->accounts[4].share.data == 0.2);
        for (int c = 8; c < 10; c++)
            assert_true(summary->classes[c].applied < 0.01 && summary->classes[c].data == 0.1);
        assert_true(bias_of_workers(summary).distance > 0.18);
        assert_true(bias_of_classes(summary).distance > 0.18);
        assert_int_equal(bias_of_workers(summary).most, 4);
        assert_in_range(bias_of_classes(summary).most, 8, 9);
        run_close(&run);
    }
}

static void who_waits_for_all_has_no_bias(void **state) {
    (void)state;
    struct run_setup setup = by_label_under("sync");
    struct run run;
    run_expect(&run, &setup, HYSGD_OK);
    assert_true(bias_of_workers(&run.summary).distance < 1e-15);
    assert_true(bias_of_classes(&run.summary).distance < 1e-15); /* 200 batches of 4 are 40 passes of 20 samples */
    run_close(&run);
}

static void a_sample_counts_with_the_weight_of_its_gradient(void **state) {
    (void)state;
    struct run_setup setup = by_label_under("sync");
    setup.worker_weights = "4x1,2";
    struct run run;
    run_expect(&run, &setup, HYSGD_OK);
    assert_true(fabs(run.summary.accounts[4].share.applied - 2.0 / 6) < 1e-6);
    assert_true(fabs(run.summary.classes[9].applied - 1.0 / 6) < 1e-6);
    run_close(&run);
}

/* The samples applied are those of the gradients applied, whatever was folded, held or dropped on the way. */
static void samples_follow_their_gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < policy_list.count; i++) {
        struct run_setup setup = by_label_under(policy_list.entries[i]->name);
        setup.limits = (struct training_limits){.gradients = 333};
        setup.runtime = i % 2 ? "threads" : "virtual";
        struct run run;
        run_expect(&run, &setup, HYSGD_OK);
        double classes = 0;
        for (int w = 0; w < 5; w++) {
            double samples = run_is_elastic(&run) ? 8 : 4; /* two local steps */
            assert_true(run.training.shares.by_worker[w].applied ==
                        samples * (double)run.summary.accounts[w].applied);
            classes += run.training.shares.by_worker[w].applied;
        }
        for (int c = 0; c < 10; c++)
            classes -= run.training.shares.by_class[10 + c];
        assert_true(classes == 0);
        run_close(&run);
    }
}

static void labels_out_of_range_are_refused(void **state) {
    (void)state;
    struct hysgd_data_ops wrong = by_label;
    wrong.describe = nine_classes_describe;
    struct run_setup setup = by_label_under("sync");
    setup.own_data = &wrong;
    setup.model = "dense 9";
    struct run run;
    assert_int_equal(run_open(&run, &setup), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(),
                        "data by-label: training sample 90 has the label 9: expected 0 to 8");
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted_by_samples_unequal_parts_give_the_gradient_of_the_whole),
        cmocka_unit_test(equal_weights_change_nothing),
        cmocka_unit_test(weights_have_the_mean_1),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(dropping_leaves_the_slow_workers_classes_short),
        cmocka_unit_test(who_waits_for_all_has_no_bias),
        cmocka_unit_test(a_sample_counts_with_the_weight_of_its_gradient),
        cmocka_unit_test(samples_follow_their_gradients),
        cmocka_unit_test(labels_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("unequal data", tests, NULL, NULL);
}
