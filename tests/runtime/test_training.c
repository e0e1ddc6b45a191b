/* SPDX-License-Identifier: Apache-2.0 */
/* Runs as a whole: the laws between policies, what runtimes have in common, limits, milestones, targets, faults,
 * and the closed forms of modelled time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/fixture.h"

#define UNEQUAL                                                                                                    \
    { .speeds = "1,0.7,0.4,0.9", .compute = "lognormal,mean=0.01,sigma=0.5", .delay = "half,normal" }

/* A job with unequal workers, delays and enough steps for any difference to show. */
static struct run_setup unequal(const char *policy) {
    return (struct run_setup){.policy = policy, .timing = UNEQUAL, .limits = {.gradients = 403}};
}

static const char *const models[] = {
    "quadratic,dimension=300",
    "dense 12, norm, relu, dropout 0.2, dense, kernels=reference",
    "softmax,kernels=reference",
};

static const char *const optimizers[] = {
    "sgd,rate=0.05",
    "momentum,rate=0.01,clip=0.5",
    "adam,rate=0.01",
    "nesterov,rate=0.01,schedule=cosine,warmup=0.1",
};

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static struct run_setup with_model(struct run_setup from, size_t i) {
    from.model = models[i % COUNT(models)];
    from.optimizer = optimizers[i % COUNT(optimizers)];
    from.data = i % COUNT(models) == 0 ? "none,samples=1000" : "random,samples=500,dimensions=9,classes=4";
    return from;
}

static void expect_equal_results(const struct run_setup *left, const struct run_setup *right) {
    for (size_t i = 0; i < COUNT(models) * COUNT(optimizers); i++) {
        struct run_setup a = with_model(*left, i), b = with_model(*right, i);
        if (run_result(&a) != run_result(&b))
            fail_msg("%s and %s differ with %s, %s", left->policy, right->policy, a.model, a.optimizer);
    }
}

static void threshold_of_one_is_async(void **state) {
    (void)state;
    struct run_setup async = unequal("async");
    struct run_setup threshold = unequal("threshold,start=1,cap=1"),
                     waiting = unequal("threshold,start=1,cap=1,wait=yes");
    expect_equal_results(&async, &threshold);
    expect_equal_results(&async, &waiting);
}

static void threshold_of_all_workers_that_wait_is_sync(void **state) {
    (void)state;
    struct run_setup sync = unequal("sync"), threshold = unequal("threshold,start=4,cap=4,wait=yes");
    expect_equal_results(&sync, &threshold);
}

static void the_mean_of_one_gradient_is_its_sum(void **state) {
    (void)state;
    struct run_setup mean = unequal("async"), sum = unequal("async");
    sum.combine = ENGINE_SUM;
    expect_equal_results(&mean, &sum);
}

static void the_mean_and_the_sum_of_several_differ_by_their_number(void **state) {
    (void)state;
    struct run_setup mean = unequal("sync"), sum = unequal("sync");
    mean.optimizer = "sgd,rate=0.04";
    sum.optimizer = "sgd,rate=0.01";
    sum.combine = ENGINE_SUM;
    mean.limits.gradients = sum.limits.gradients = 40;
    struct run a, b;
    run_expect(&a, &mean, HYSGD_OK);
    run_expect(&b, &sum, HYSGD_OK);
    for (size_t i = 0; i < 10; i++)
        assert_true(fabsf(server_vector(&a.training.server)[i] - server_vector(&b.training.server)[i]) < 1e-5f);
    run_close(&a);
    run_close(&b);
}

static void the_same_seed_gives_the_same_run_and_another_does_not(void **state) {
    (void)state;
    struct run runs[3];
    for (int i = 0; i < 3; i++) {
        struct run_setup from = with_model(unequal("threshold,step=50"), 1);
        from.seed = i < 2 ? 7 : 8;
        from.ring = 64;
        run_expect(&runs[i], &from, HYSGD_OK);
        assert_int_equal(recorder_end(runs[i].recorder, &runs[i].summary), HYSGD_OK);
    }
    assert_true(run_hash(&runs[0]) == run_hash(&runs[1]) && run_account(&runs[0]) == run_account(&runs[1]));
    assert_true(runs[0].trace == runs[1].trace);
    assert_true(run_hash(&runs[0]) != run_hash(&runs[2]) && runs[0].trace != runs[2].trace);
    for (int i = 0; i < 3; i++)
        run_close(&runs[i]);
}

static void decisions_without_gradients_are_those_with_gradients(void **state) {
    (void)state;
    struct run_setup with = unequal("threshold,step=50"), without = with;
    without.without_gradients = true;
    struct run a, b;
    run_expect(&a, &with, HYSGD_OK);
    run_expect(&b, &without, HYSGD_OK);
    assert_true(run_account(&a) == run_account(&b));
    run_close(&a);
    run_close(&b);
}

static void sync_in_threads_is_sync_in_virtual_time(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(models) * COUNT(optimizers); i++) {
        struct run_setup here = with_model(unequal("sync"), i), there = here;
        here.limits = there.limits = (struct training_limits){.updates = 30};
        there.runtime = "threads";
        there.timing = (struct timing_texts){0};
        if (run_result(&here) != run_result(&there))
            fail_msg("threads and virtual differ with %s, %s", here.model, here.optimizer);
    }
}

/* A model that keeps hashes of the first batches of each worker; 0 where there was none. */
struct batch_watch {
    uint64_t hashes[4][20]; /* [worker][draw]; each written by its worker's thread */
};

static void watch_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    static const struct hysgd_tensor tensor = {.name = "w", .rank = 1, .dims = {1}};
    *layout_out = (struct hysgd_model_layout){.parameter_count = 1, .tensors = &tensor, .tensor_count = 1};
}

static enum hysgd_status watch_gradient(const void *self, void *workspace, const float *vector,
                                        const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    struct batch_watch *watch = workspace;
    (void)self, (void)vector;
    if (batch->worker < 4 && batch->draw < 20) {
        uint64_t hash = hash_bytes(1, batch->inputs, batch->count * 9 * sizeof *batch->inputs);
        watch->hashes[batch->worker][batch->draw] = hash_bytes(hash, batch->labels, batch->count * sizeof(int32_t));
    }
    gradient_out[0] = 1;
    *loss_out = 0;
    return HYSGD_OK;
}

static const struct hysgd_model_ops watch_model = {
    .about = {.name = "watch"}, .describe = watch_describe, .gradient = watch_gradient};

static void the_batches_of_a_worker_depend_on_neither_runtime_nor_policy(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"virtual", "sync"}, {"virtual", "async"}, {"threads", "sync"}, {"threads", "threshold,start=2"}};
    struct batch_watch watches[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        struct run_setup from = {.runtime = rows[i][0],
                                 .policy = rows[i][1],
                                 .data = "random,samples=100,dimensions=9",
                                 .own_model = &watch_model,
                                 .own_model_self = &watches[i],
                                 .limits = {.gradients = 2000}};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        run_close(&run);
        for (int k = 0; k < 80; k++) { /* a thread may have come late and drawn less often */
            uint64_t here = watches[i].hashes[k / 20][k % 20];
            assert_true(here == watches[0].hashes[k / 20][k % 20] || (here == 0 && i == 3));
        }
    }
}

static void limits_end_a_run_where_they_should(void **state) {
    (void)state;
    static const struct {
        struct training_limits limits;
        const char *reason;
        uint64_t received, updates;
        double seconds;
    } rows[] = {
        {{.gradients = 57}, "gradients", 57, 57, 15.0 / 64},
        {{.updates = 31}, "updates", 31, 31, 8.0 / 64},
        {{.epochs = 0.5}, "epochs", 50, 50, 13.0 / 64},
        {{.seconds = 0.105}, "deadline", 24, 24, 0.105},
        {{.seconds = 0.25}, "deadline", 64, 64, 0.25},
        {{.gradients = 9, .updates = 5, .epochs = 1, .seconds = 1}, "updates", 5, 5, 2.0 / 64},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run_setup from = {.timing = {.compute = "constant,mean=0.015625"}, .limits = rows[i].limits};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_string_equal(run.summary.reason, rows[i].reason);
        assert_int_equal(run.training.engine.progress.received, rows[i].received);
        assert_int_equal(run.summary.updates, rows[i].updates);
        assert_true(run.seconds == rows[i].seconds);
        run_expect_balance(&run);
        run_close(&run);
    }
}

static void limits_hold_in_threads(void **state) {
    (void)state;
    static const char *const policies[] = {"async", "sync", "threshold,start=3"};
    for (size_t i = 0; i < COUNT(policies); i++) {
        struct run_setup from = {.runtime = "threads", .policy = policies[i], .limits = {.gradients = 60}};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(run.training.engine.progress.received, 60);
        assert_string_equal(run.summary.reason, "gradients");
        run_expect_balance(&run);
        run_close(&run);
        from.limits = (struct training_limits){.updates = 11};
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(run.summary.updates, 11);
        run_close(&run);
        from.limits = (struct training_limits){.seconds = 0.02};
        run_expect(&run, &from, HYSGD_OK);
        assert_true(run.seconds == 0.02);
        assert_string_equal(run.summary.reason, "deadline");
        run_close(&run);
    }
}

static double value_of(const struct event *evaluation, enum training_unit unit) {
    return unit == TRAINING_EPOCHS    ? evaluation->evaluation.epochs
           : unit == TRAINING_SECONDS ? evaluation->seconds
           : unit == TRAINING_UPDATES ? (double)evaluation->version
                                      : (double)evaluation->evaluation.received;
}

/* 4 workers of 1/64 s each, 10 of 1000 samples a gradient, 100 gradients: 1 epoch, 25/64 s. */
static void evaluations_come_at_each_multiple_of_the_cadence(void **state) {
    (void)state;
    static const struct {
        struct training_cadence cadence;
        int count;
    } rows[] = {
        {{TRAINING_EPOCHS, 0.1}, 10}, {{TRAINING_EPOCHS, 0.3}, 4},   {{TRAINING_SECONDS, 0.05}, 8},
        {{TRAINING_UPDATES, 7}, 15},  {{TRAINING_GRADIENTS, 25}, 4}, {{TRAINING_EPOCHS, 2}, 1},
        {{TRAINING_NEVER, 0}, 1},     {{TRAINING_SECONDS, 0.1}, 4},  {{TRAINING_GRADIENTS, 1}, 61},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run_setup from = {.limits = {.gradients = rows[i].count == 61 ? 61 : 100},
                                 .timing = {.compute = "constant,mean=0.015625"},
                                 .evaluate_every = rows[i].cadence,
                                 .ring = 16};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
        assert_int_equal(run.evaluation_count, rows[i].count);
        for (int k = 0; k < rows[i].count - 1; k++)
            assert_true(fabs(value_of(&run.evaluations[k], rows[i].cadence.unit) -
                             (k + 1) * rows[i].cadence.every) < 1e-12);
        run_close(&run);
    }
}

/* In threads gradients arrive while a version is evaluated. */
static void an_evaluation_tells_of_the_moment_it_began(void **state) {
    (void)state;
    struct run_setup from = {.limits = {.gradients = 100}, .ring = 16};
    struct hysgd_metrics metrics = {.count = 1, .loss = 2};
    struct run run;
    assert_int_equal(run_open(&run, &from), HYSGD_OK);
    run.training.drainer = pthread_self();
    run.training.engine.progress.received = run.training.engine.received_batches = 50;
    drive_begin_evaluation(&run.training, 3);
    run.training.engine.progress.received = run.training.engine.received_batches = 60;
    run.training.engine.progress.version = 7;
    drive_end_evaluation(&run.training, &metrics, 3);
    drive_drain(&run.training, 3);
    assert_int_equal(run.evaluation_count, 1);
    assert_int_equal(run.evaluations[0].version, 0);
    assert_int_equal(run.evaluations[0].evaluation.received, 50);
    assert_true(fabs(run.evaluations[0].evaluation.epochs - 0.5) < 1e-12);
    run_close(&run);
}

static void evaluations_between_events_see_the_state_of_their_moment(void **state) {
    (void)state;
    struct run_setup from = {.workers = 1,
                             .timing = {.compute = "constant,mean=1"},
                             .limits = {.gradients = 4},
                             .evaluate_every = {TRAINING_SECONDS, 0.4},
                             .ring = 16};
    static const uint64_t versions[] = {0, 0, 1, 1, 2, 2, 2, 3, 3, 4};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
    assert_int_equal(run.evaluation_count, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(run.evaluations[i].version, versions[i]);
    run_close(&run);
}

static void checkpoints_come_at_each_multiple_and_at_the_end(void **state) {
    (void)state;
    static const struct training_cadence cadences[] = {
        {TRAINING_EPOCHS, 0.2}, {TRAINING_SECONDS, 0.09}, {TRAINING_UPDATES, 20}, {TRAINING_GRADIENTS, 20}};
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < COUNT(cadences); i++) {
        struct run_setup from = {.timing = {.compute = "constant,mean=0.015625"},
                                 .limits = {.gradients = 99},
                                 .save_every = cadences[i],
                                 .save_path = path,
                                 .ring = 16};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
        assert_int_equal(run.checkpoints, 5);
        run_close(&run);
    }
    unlink(path);
}

static void a_target_stops_or_is_only_noted(void **state) {
    (void)state;
    struct run_setup from = {.model = "quadratic,noise=0,dimension=1,condition=1",
                             .optimizer = "sgd,rate=0.1",
                             .workers = 1,
                             .timing = {.compute = "constant,mean=1"},
                             .limits = {.gradients = 50, .loss = 0.1},
                             .evaluate_every = {TRAINING_UPDATES, 1}};
    struct run run;
    run_expect(&run, &from, HYSGD_OK); /* the loss after n updates is 0.81^n / 2: below 0.1 from n = 8 on */
    assert_string_equal(run.summary.reason, "target");
    assert_int_equal(run.summary.updates, 8);
    assert_true(run.summary.target_seconds == 8);
    run_close(&run);
    from.limits.goes_on_at_target = true;
    run_expect(&run, &from, HYSGD_OK);
    assert_string_equal(run.summary.reason, "gradients");
    assert_int_equal(run.summary.updates, 50);
    assert_true(run.summary.target_seconds == 8);
    run_close(&run);
}

static void a_target_reached_by_the_last_evaluation_does_not_hide_an_interruption(void **state) {
    (void)state;
    struct run_setup from = {.limits = {.gradients = 50, .loss = 1e9}, .ring = 16, .stop_at = 20};
    struct run run;
    run_expect(&run, &from, HYSGD_INTERRUPTED);
    assert_string_equal(run.summary.reason, "interrupted");
    assert_false(isnan(run.summary.target_seconds));
    run_close(&run);
}

static void a_stop_ends_with_a_message(void **state) {
    (void)state;
    struct run_setup from = {.limits = {.gradients = 50}, .ring = 16, .stop_at = 20};
    struct run run;
    run_expect(&run, &from, HYSGD_INTERRUPTED);
    assert_string_equal(hysgd_error_message(), "interrupted after update 20");
    run_expect_balance(&run);
    run_close(&run);
}

/* One worker: a cycle is compute + receive + apply. */
static void service_times_follow_the_closed_form(void **state) {
    (void)state;
    struct run_setup from = {
        .workers = 1,
        .timing = {.compute = "constant,mean=1", .receive = "constant,mean=0.25", .apply = "constant,mean=0.5"},
        .limits = {.updates = 100}};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.seconds == 175 && run.summary.server_seconds == 75);
    assert_true(run.summary.accounts[0].compute_seconds == 100);
    run_close(&run);
    /* sync: four are received one after the other, then applied at once */
    from.workers = 4;
    from.policy = "sync";
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.seconds == 100 * (1 + 4 * 0.25 + 0.5) && run.summary.server_seconds == 150);
    run_close(&run);
}

/* Many fast workers: the server is never idle after the first gradient. */
static void async_is_limited_by_the_server(void **state) {
    (void)state;
    struct run_setup from = {
        .workers = 50,
        .timing = {.compute = "constant,mean=1", .receive = "constant,mean=0.25", .apply = "constant,mean=0.5"},
        .limits = {.updates = 1000}};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.seconds == 1 + 1000 * 0.75 && run.summary.server_seconds == 750);
    double staleness = 0;
    for (int i = 0; i < 50; i++)
        staleness += run.summary.accounts[i].staleness_sum;
    assert_true(staleness / 1000 > 45); /* about one version by each other worker */
    run_close(&run);
}

static void half_normal_delays_have_their_mean(void **state) {
    (void)state;
    struct run_setup from = {.workers = 4,
                             .timing = {.compute = "constant,mean=1", .delay = "half,normal,std=0.25"},
                             .limits = {.gradients = 40000},
                             .without_gradients = true};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    const struct event_account *accounts = run.summary.accounts;
    assert_true(accounts[0].transit_seconds == 0 && accounts[1].transit_seconds == 0);
    for (int i = 2; i < 4; i++) {
        double mean = accounts[i].transit_seconds / (double)accounts[i].received;
        assert_true(fabs(mean - 0.25 / sqrt(2 * acos(-1))) < 0.005);
    }
    assert_true(accounts[0].received > accounts[2].received);
    run_close(&run);
}

/* 3 equal workers and one that takes twice as long: the three wait half of each round. */
static void waiting_times_are_accounted(void **state) {
    (void)state;
    struct run_setup from = {.policy = "sync",
                             .timing = {.compute = "constant,mean=1", .speeds = "1,1,1,0.5"},
                             .limits = {.updates = 10}};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    for (int i = 0; i < 4; i++) {
        assert_true(run.summary.accounts[i].compute_seconds == (i < 3 ? 10 : 20));
        assert_true(run.summary.accounts[i].waiting_seconds == (i < 3 ? 10 : 0));
    }
    struct event_summary again;
    training_summarize(&run.training, run.seconds, &again);
    assert_true(again.accounts[0].waiting_seconds == 10);
    run_close(&run);
}

static void nothing_can_be_saved_without_gradients(void **state) {
    (void)state;
    struct run run;
    assert_int_equal(run_open(&run, &(struct run_setup){.without_gradients = true, .save_path = "/tmp/x"}),
                     HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "/tmp/x: a run without gradients has no parameters to save");
    run_close(&run);
}

static void more_workers_than_samples_are_refused(void **state) {
    (void)state;
    struct run run;
    assert_int_equal(run_open(&run, &(struct run_setup){.data = "none,samples=3"}), HYSGD_USAGE);
    run_close(&run);
}

/* In threads a lost connection to the recorder must not stop anything: a ring of one event is always full. */
static void a_tiny_ring_loses_no_event(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct run_setup from = {.runtime = runtimes[i],
                                 .policy = "threshold,start=2",
                                 .limits = {.gradients = 300},
                                 .evaluate_every = {TRAINING_GRADIENTS, 50},
                                 .ring = 1};
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
        assert_int_equal(run.arrivals, 300);
        assert_int_equal(run.updates, run.summary.updates);
        run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threshold_of_one_is_async),
        cmocka_unit_test(threshold_of_all_workers_that_wait_is_sync),
        cmocka_unit_test(the_mean_of_one_gradient_is_its_sum),
        cmocka_unit_test(the_mean_and_the_sum_of_several_differ_by_their_number),
        cmocka_unit_test(the_same_seed_gives_the_same_run_and_another_does_not),
        cmocka_unit_test(decisions_without_gradients_are_those_with_gradients),
        cmocka_unit_test(sync_in_threads_is_sync_in_virtual_time),
        cmocka_unit_test(the_batches_of_a_worker_depend_on_neither_runtime_nor_policy),
        cmocka_unit_test(limits_end_a_run_where_they_should),
        cmocka_unit_test(limits_hold_in_threads),
        cmocka_unit_test(evaluations_come_at_each_multiple_of_the_cadence),
        cmocka_unit_test(an_evaluation_tells_of_the_moment_it_began),
        cmocka_unit_test(evaluations_between_events_see_the_state_of_their_moment),
        cmocka_unit_test(checkpoints_come_at_each_multiple_and_at_the_end),
        cmocka_unit_test(a_target_stops_or_is_only_noted),
        cmocka_unit_test(a_target_reached_by_the_last_evaluation_does_not_hide_an_interruption),
        cmocka_unit_test(a_stop_ends_with_a_message),
        cmocka_unit_test(service_times_follow_the_closed_form),
        cmocka_unit_test(async_is_limited_by_the_server),
        cmocka_unit_test(half_normal_delays_have_their_mean),
        cmocka_unit_test(waiting_times_are_accounted),
        cmocka_unit_test(nothing_can_be_saved_without_gradients),
        cmocka_unit_test(more_workers_than_samples_are_refused),
        cmocka_unit_test(a_tiny_ring_loses_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
