/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of lost workers, under every policy in every runtime: a model that sees which worker computes with
 * which sample tells who has them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "runtime/fixture.h"

#include "runtime/list.h"

enum { SAMPLES = 48, WORKERS = 4, BATCH = 4 };

/* ---- Data whose samples tell their number, and a model that notes it ---- */

static void numbered_describe(const void *self, struct hysgd_data_shape *shape_out) {
    (void)self;
    *shape_out =
        (struct hysgd_data_shape){.train_count = SAMPLES, .test_count = 1, .channels = 1, .height = 1, .width = 1};
}

static void numbered_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                            float *inputs, int32_t *labels, float *targets) {
    (void)self, (void)split, (void)labels, (void)targets;
    for (size_t i = 0; inputs && i < count; i++)
        inputs[i] = (float)indices[i];
}

static const struct hysgd_data_ops numbered = {
    .about = {.name = "numbered"}, .describe = numbered_describe, .gather = numbered_gather};

struct seen {
    _Atomic int times[WORKERS][SAMPLES];
    int losses, deliveries[WORKERS]; /* since the last loss */
};

static void seen_describe(const void *self, struct hysgd_model_layout *layout_out) {
    static const struct hysgd_tensor tensor = {.name = "w", .rank = 1, .dims = {1}};
    (void)self;
    *layout_out = (struct hysgd_model_layout){.parameter_count = 1, .tensors = &tensor, .tensor_count = 1};
}

static enum hysgd_status seen_gradient(const void *self, void *workspace, const float *vector,
                                       const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    struct seen *seen = workspace;
    (void)self, (void)vector;
    for (size_t i = 0; i < batch->count; i++)
        atomic_fetch_add(&seen->times[batch->worker][(int)batch->inputs[i]], 1);
    gradient_out[0] = batch->inputs[0];
    *loss_out = 1;
    return HYSGD_OK;
}

static enum hysgd_status seen_evaluate(const void *self, void *workspace, const float *vector,
                                       const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    (void)self, (void)workspace, (void)vector;
    metrics->count += batch->count;
    return HYSGD_OK;
}

static const struct hysgd_model_ops seen_ops = {
    .about = {.name = "seen"}, .describe = seen_describe, .gradient = seen_gradient, .evaluate = seen_evaluate};

static struct run_setup scene(struct seen *seen) {
    memset(seen, 0, sizeof *seen);
    return (struct run_setup){.own_data = &numbered,
                              .own_model = &seen_ops,
                              .own_model_self = seen,
                              .partition = "contiguous",
                              .workers = WORKERS,
                              .batch = BATCH,
                              .optimizer = "sgd,rate=1e-6"};
}

/* ---- Whole runs ---- */

/* Deliveries: what was under way at the loss, and passes over half of the samples, for some batches are given up.
 */
#define ENOUGH (2 + 10 * SAMPLES / 2 / BATCH)

/* Stops when both who are left have gone through all that they have. */
static void watch(void *self, const struct training *training, const struct event *event) {
    struct seen *seen = self;
    if (event->kind == EVENT_LOST) {
        seen->losses++;
        memset(seen->deliveries, 0, sizeof seen->deliveries);
    } else if (event->kind == EVENT_ARRIVAL) {
        seen->deliveries[event->worker]++;
    }
    if (seen->losses == 2 && seen->deliveries[1] > ENOUGH && seen->deliveries[3] > ENOUGH)
        training_stop((struct training *)(uintptr_t)training);
}

/* Every policy in every runtime, by number. */
static size_t pair_count(void) {
    return policy_list.count * runtime_list.count;
}

/* Two of the four leave early. */
static struct run_setup run_with_losses(struct seen *seen, size_t pair) {
    struct run_setup from = scene(seen);
    from.policy = policy_list.entries[pair / runtime_list.count]->name;
    from.runtime = runtime_list.entries[pair % runtime_list.count]->name;
    from.timing = (struct timing_texts){
        .compute = "exponential,mean=0.001", .delay = "all,exponential,mean=0.0002", .lose = "0@0.003,2@0.006"};
    from.limits.gradients = 1000000; /* it is stopped */
    from.ring = 64;
    from.watch = watch;
    from.watch_self = seen;
    return from;
}

/* Samples that a worker has computed with. */
static int count_seen(const struct seen *seen, int worker) {
    int count = 0;
    for (int i = 0; i < SAMPLES; i++)
        count += seen->times[worker][i] > 0;
    return count;
}

static void go(struct run *run, const struct run_setup *from) {
    run_expect(run, from, HYSGD_INTERRUPTED);
    run_expect_balance(run);
    assert_int_equal(run->training.engine.progress.workers, 2);
}

static void those_who_are_left_train_on_every_sample(void **state) {
    (void)state;
    for (size_t i = 0; i < pair_count(); i++) {
        struct seen seen;
        struct run run;
        struct run_setup from = run_with_losses(&seen, i);
        go(&run, &from);
        for (int k = 0; k < SAMPLES; k++)
            if (seen.times[1][k] + seen.times[3][k] == 0)
                fail_msg("%s on %s: nobody has sample %d any more", from.policy, from.runtime, k);
        for (int k = 0; k < SAMPLES; k++)
            if (seen.times[1][k] > 0 && seen.times[3][k] > 0)
                fail_msg("%s on %s: two workers have sample %d", from.policy, from.runtime, k);
        assert_true(run.summary.accounts[0].share.data == 0 && run.summary.accounts[2].share.data == 0);
        assert_true(run.summary.accounts[1].share.data == 0.5 && run.summary.accounts[3].share.data == 0.5);
        run_close(&run);
    }
}

static void skipped_samples_are_nobodys(void **state) {
    (void)state;
    for (size_t i = 0; i < pair_count(); i++) {
        struct seen seen;
        struct run run;
        struct run_setup from = run_with_losses(&seen, i);
        from.orphans = TRAINING_SKIP_ORPHANS;
        go(&run, &from);
        for (int w = 0; w < WORKERS; w++) {
            for (int k = 0; k < SAMPLES; k++)
                assert_true(seen.times[w][k] == 0 || k / (SAMPLES / WORKERS) == w);
            assert_true(run.summary.accounts[w].share.data == 0.25);
        }
        assert_int_equal(count_seen(&seen, 1) + count_seen(&seen, 3), SAMPLES / 2);
        run_close(&run);
    }
}

static void micro_batches_and_local_steps_take_over_too(void **state) {
    (void)state;
    for (size_t i = 0; i < pair_count(); i++) {
        struct seen seen;
        struct run run;
        struct run_setup from = run_with_losses(&seen, i);
        from.micro_batch = 2;
        from.local = "fixed,steps=2";
        from.local_optimizer = "sgd,rate=1e-6";
        if (run_open(&run, &from) == HYSGD_OK) {
            assert_int_equal(run_go(&run), HYSGD_INTERRUPTED);
            assert_int_equal(count_seen(&seen, 1), SAMPLES / 2);
            assert_int_equal(count_seen(&seen, 3), SAMPLES / 2);
        } else if (strncmp(hysgd_error_message(), "policy ", 7) != 0) {
            fail_msg("%s: %s", from.policy, hysgd_error_message());
        }
        run_close(&run);
    }
}

/* ---- Workers that join ---- */

/* Worker 0 leaves and comes back, worker 3 is new. Stops when all have gone through what they have since then. */
static void watch_joins(void *self, const struct training *training, const struct event *event) {
    struct seen *seen = self;
    bool are_done = true;
    if (event->kind == EVENT_JOINED) {
        seen->losses++;
        memset(seen->deliveries, 0, sizeof seen->deliveries);
    } else if (event->kind == EVENT_ARRIVAL && seen->deliveries[event->worker]++ == 1) {
        for (int k = 0; seen->losses == 2 && k < SAMPLES; k++) /* what it had before was under way */
            atomic_store(&seen->times[event->worker][k], 0);
    }
    for (int w = 0; w < WORKERS; w++)
        are_done = are_done && seen->deliveries[w] > ENOUGH;
    if (seen->losses == 2 && are_done)
        training_stop((struct training *)(uintptr_t)training);
}

static void those_who_join_train_on_their_share(void **state) {
    (void)state;
    for (size_t i = 0; i < pair_count(); i++) {
        struct seen seen;
        struct run run;
        struct run_setup from = run_with_losses(&seen, i);
        if (strcmp(from.runtime, "mpi") == 0)
            continue; /* who joins there is asked for from outside */
        from.spare = 1;
        from.timing.lose = "0@0.003";
        from.timing.join = "0@0.01,3@0.006";
        from.watch = watch_joins;
        run_expect(&run, &from, HYSGD_INTERRUPTED);
        run_expect_balance(&run);
        assert_int_equal(run.training.engine.progress.workers, WORKERS);
        for (int k = 0; k < SAMPLES; k++) {
            int owners = 0;
            for (int w = 0; w < WORKERS; w++)
                owners += seen.times[w][k] > 0;
            if (owners != 1)
                fail_msg("%s on %s: %d workers have sample %d", from.policy, from.runtime, owners, k);
        }
        for (int w = 0; w < WORKERS; w++)
            assert_true(run.summary.accounts[w].share.data > 0.2 && run.summary.accounts[w].received > 0);
        run_close(&run);
    }
}

/* ---- One worker, step by step ---- */

static void open_one(struct run *run, struct seen *seen, const char *worker_weights) {
    struct run_setup from = scene(seen);
    from.worker_weights = worker_weights;
    if (run_open(run, &from) != HYSGD_OK || worker_open(&run->training, 1) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
}

static void lose(struct run *run, int worker) {
    struct engine_verdict verdict;
    assert_int_equal(drive_lose(&run->training, worker, 0, &verdict), HYSGD_OK);
}

static void start(struct run *run) {
    drive_started(&run->training, 1, 0, 0);
}

static void compute(struct run *run, int batches) {
    for (int i = 0; i < batches; i++)
        assert_int_equal(worker_compute(&run->training, 1, server_vector(&run->training.server), NULL), HYSGD_OK);
}

static void a_batch_begun_before_the_loss_is_of_the_old_samples(void **state) {
    (void)state;
    struct seen seen;
    struct run run;
    open_one(&run, &seen, NULL);
    start(&run);
    lose(&run, 0);
    compute(&run, 3); /* as if local steps of one round: a pass */
    assert_int_equal(count_seen(&seen, 1), SAMPLES / WORKERS);
    start(&run);
    compute(&run, 4); /* a pass over 12 + 4 samples */
    assert_int_equal(count_seen(&seen, 1), 16);
    for (int i = 0; i < SAMPLES / WORKERS; i++)
        assert_int_equal(seen.times[1][i], i % 3 == 0);
    run_close(&run);
}

static void samples_gathered_before_the_loss_are_forgotten(void **state) {
    (void)state;
    struct seen seen;
    struct run run;
    open_one(&run, &seen, NULL);
    start(&run);
    compute(&run, 1);
    worker_prepare(&run.training, 1);
    lose(&run, 0);
    lose(&run, 3);
    start(&run);
    worker_prepare(&run.training, 1); /* changes nothing any more */
    memset(&seen, 0, sizeof seen);
    compute(&run, 6);
    assert_int_equal(count_seen(&seen, 1), 24); /* each of them once */
    run_close(&run);
}

static void weights_by_samples_follow_the_losses(void **state) {
    (void)state;
    struct seen seen;
    struct run run;
    open_one(&run, &seen, "samples");
    const double *weights = run.training.worker_weights;
    assert_true(weights[0] == 1 && weights[1] == 1 && weights[2] == 1 && weights[3] == 1);
    lose(&run, 0); /* 16 each */
    assert_true(weights[1] == 1 && weights[2] == 1 && weights[3] == 1);
    run_close(&run);
    struct run_setup from = scene(&seen);
    from.worker_weights = "samples";
    from.workers = 5; /* 10, 10, 10, 9, 9 */
    assert_int_equal(run_open(&run, &from), HYSGD_OK);
    weights = run.training.worker_weights;
    lose(&run, 4); /* 9: 12, 12, 12, 12 */
    lose(&run, 0); /* 12: 16, 16, 16 */
    lose(&run, 1);
    assert_true(weights[2] == 1 && weights[3] == 1);
    assert_true(weights[0] == 1 && weights[4] == 9.0 * 5 / 48); /* as they were at last */
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_are_left_train_on_every_sample),
        cmocka_unit_test(skipped_samples_are_nobodys),
        cmocka_unit_test(those_who_join_train_on_their_share),
        cmocka_unit_test(micro_batches_and_local_steps_take_over_too),
        cmocka_unit_test(a_batch_begun_before_the_loss_is_of_the_old_samples),
        cmocka_unit_test(samples_gathered_before_the_loss_are_forgotten),
        cmocka_unit_test(weights_by_samples_follow_the_losses),
    };
    return cmocka_run_group_tests_name("orphaned samples", tests, NULL, NULL);
}
