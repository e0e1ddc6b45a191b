/* SPDX-License-Identifier: Apache-2.0 */
/* A server cut into slices does what a whole one does, to the last bit: under every policy, optimizer and
 * correction, whatever the number of slices. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "correction/correction.h"
#include "optimizer/optimizer.h"
#include "spread.h"

enum { STEPS = 30 };

static uint64_t hash_of(const struct spread *spread) {
    static float vector[SPREAD_COUNT];
    spread_gather(spread, vector);
    uint64_t hash = hash_bytes(UINT64_C(14695981039346656037), vector, sizeof vector);
    uint64_t counts[] = {spread->run.training.engine.progress.version, spread->run.training.engine.applied};
    return hash_bytes(hash, counts, sizeof counts);
}

static uint64_t result_of(const struct run_setup *setup, int slices) {
    struct spread spread;
    spread_open(&spread, setup, slices);
    spread_steps(&spread, STEPS);
    uint64_t hash = hash_of(&spread);
    spread_close(&spread);
    return hash;
}

static void expect_the_same_bits(const struct run_setup *setup, const char *what) {
    uint64_t whole = result_of(setup, 0);
    static const int slices[] = {1, 3, 5}; /* of the five one is empty */
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        if (result_of(setup, slices[i]) != whole)
            fail_msg("%s in %d slices differs", what, slices[i]);
}

static void slices_cover_the_vector_in_whole_shards(void **state) {
    (void)state;
    for (int servers = 1; servers < 9; servers++) {
        assert_int_equal(server_slice_first(SPREAD_COUNT, servers, 0), 0);
        assert_int_equal(server_slice_first(SPREAD_COUNT, servers, servers), SPREAD_COUNT);
        for (int i = 0; i < servers; i++) {
            size_t first = server_slice_first(SPREAD_COUNT, servers, i);
            size_t end = server_slice_first(SPREAD_COUNT, servers, i + 1);
            assert_true(first <= end && (first % SERVER_SHARD == 0 || first == SPREAD_COUNT));
            assert_true(end - first <= (SPREAD_COUNT / SERVER_SHARD / (size_t)servers + 1) * SERVER_SHARD);
        }
    }
}

static void every_policy_ends_with_the_same_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < policy_list.count; i++) {
        const char *name = policy_list.entries[i]->name;
        struct run_setup setup = {.policy = name, .optimizer = "momentum,rate=0.05", .workers = 4};
        expect_the_same_bits(&setup, name);
        setup.optimizer = "sgd,rate=0.1,clip=2";
        expect_the_same_bits(&setup, name);
    }
}

static void every_optimizer_ends_with_the_same_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        const char *name = optimizer_list.entries[i]->name;
        struct run_setup setup = {.policy = "batch-async,size=3", .optimizer = name, .combine = ENGINE_MEAN};
        expect_the_same_bits(&setup, name);
    }
}

static void clipping_takes_the_norm_over_all_slices(void **state) {
    (void)state;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s,clip=0.5", optimizer_list.entries[i]->name);
        struct run_setup setup = {.policy = "batch-async,size=3", .optimizer = text};
        expect_the_same_bits(&setup, text);
    }
}

static void every_correction_ends_with_the_same_bits(void **state) {
    (void)state;
    static const char *const texts[] = {"delay-compensation,lambda=0.3", "delay-compensation,adaptive=yes",
                                        "distance,scale=1", "dana,momentum=0.5"};
    static const char *const policies[] = {"async", "batch-async,size=3", "table"};
    for (size_t i = 0; i < 4 * sizeof policies / sizeof *policies; i++)
        for (int clips = 0; clips < 2; clips++) {
            struct run_setup setup = {.policy = policies[i / 4],
                                      .correction = texts[i % 4],
                                      .optimizer = clips ? "sgd,rate=0.05,clip=1" : "sgd,rate=0.05"};
            expect_the_same_bits(&setup, texts[i % 4]);
        }
}

static void every_wire_ends_with_the_same_bits(void **state) {
    (void)state;
    static const char *const texts[] = {"fp32,sparse=yes", "bf16,feedback=yes", "int8", "int8,sparse=yes",
                                        "int8,feedback=no"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct run_setup setup = {.policy = "batch-async,size=3", .wire = texts[i]};
        expect_the_same_bits(&setup, texts[i]);
        setup.local = "fixed,steps=2";
        setup.local_optimizer = "momentum,rate=0.05";
        expect_the_same_bits(&setup, texts[i]);
    }
}

/* Keeps what adaptive was told. */
static void note_estimates(void *self, const struct training *training, const struct event *event) {
    double *sum = self;
    if (event->kind == EVENT_ESTIMATE && isfinite(event->estimate.noise))
        *sum = 0.5 * *sum + event->estimate.noise + event->estimate.signal + (double)training->rate;
}

static void adaptive_is_told_the_same_whatever_the_slices(void **state) {
    (void)state;
    double sums[4] = {0};
    for (int slices = 0; slices < 4; slices++) {
        struct run_setup setup = {
            .policy = "adaptive", .ring = 1 << 12, .watch = note_estimates, .watch_self = &sums[slices]};
        struct spread spread;
        spread_open(&spread, &setup, slices);
        spread_steps(&spread, 3 * STEPS);
        drive_drain(spread_training(&spread), spread.seconds);
        spread_close(&spread);
        assert_true(sums[slices] > 0);
        assert_true(sums[slices] == sums[0]);
    }
}

static void a_gradient_that_is_not_finite_names_its_worker(void **state) {
    (void)state;
    for (int slices = 0; slices < 4; slices++) {
        struct run_setup setup = {.policy = "sync", .workers = 3};
        struct spread spread;
        spread_open(&spread, &setup, slices);
        float *gradient =
            slices > 0 ? spread.servers[slices - 1].gradients[1] : spread.run.training.server.gradients[1];
        gradient[3] = NAN;
        enum hysgd_status status = HYSGD_OK;
        for (int i = 0; i < 3 && status == HYSGD_OK; i++)
            status = spread_step(&spread);
        assert_int_equal(status, HYSGD_DIVERGED);
        assert_string_equal(hysgd_error_message(),
                            "the gradient of worker 1 for update 1 is not finite: no checkpoint was saved before");
        spread_close(&spread);
    }
}

static void only_the_workers_of_this_process_have_samplers(void **state) {
    (void)state;
    for (int only = -1; only < 2; only++) {
        struct run run;
        assert_int_equal(run_open(&run, &(struct run_setup){.workers = 2}), HYSGD_OK);
        training_fini(&run.training);
        run.setup.has_one_worker = true;
        run.setup.only_worker = only;
        assert_int_equal(training_init(&run.training, &run.setup), HYSGD_OK);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(run.training.workers[i].sampler.order != NULL, i == only);
            worker_seek(&run.training, i, 7);
            assert_int_equal(run.training.workers[i].draws, 7);
        }
        run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_cover_the_vector_in_whole_shards),
        cmocka_unit_test(every_policy_ends_with_the_same_bits),
        cmocka_unit_test(every_optimizer_ends_with_the_same_bits),
        cmocka_unit_test(clipping_takes_the_norm_over_all_slices),
        cmocka_unit_test(every_correction_ends_with_the_same_bits),
        cmocka_unit_test(every_wire_ends_with_the_same_bits),
        cmocka_unit_test(adaptive_is_told_the_same_whatever_the_slices),
        cmocka_unit_test(a_gradient_that_is_not_finite_names_its_worker),
        cmocka_unit_test(only_the_workers_of_this_process_have_samplers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
