/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in which something breaks: losses and parameters that are no numbers, a model that fails, workers that
 * leave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/fixture.h"

static void one_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    static const struct hysgd_tensor tensor = {.name = "w", .rank = 1, .dims = {1}};
    *layout_out = (struct hysgd_model_layout){.parameter_count = 1, .tensors = &tensor, .tensor_count = 1};
}

/* A model whose loss (or parameters) break after so many gradients. */
struct breaking {
    _Atomic uint64_t gradients;
    uint64_t loss_at, gradient_at, parameters_at, failure_at; /* 0: never */
};

static enum hysgd_status breaking_gradient(const void *self, void *workspace, const float *vector,
                                           const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    struct breaking *breaking = workspace;
    (void)self, (void)vector, (void)batch;
    uint64_t number = ++breaking->gradients;
    gradient_out[0] = 1;
    if (breaking->parameters_at > 0 && number >= breaking->parameters_at)
        gradient_out[0] = 3e38F;
    if (number == breaking->gradient_at)
        gradient_out[0] = INFINITY;
    *loss_out = breaking->loss_at > 0 && number >= breaking->loss_at ? (double)NAN : 1;
    if (number == breaking->failure_at)
        return hysgd_fail(HYSGD_FAILED, "the model broke at gradient %d", (int)number);
    return HYSGD_OK;
}

static const struct hysgd_model_ops breaking_model = {
    .about = {.name = "breaking"}, .describe = one_describe, .gradient = breaking_gradient};

static struct run_setup break_at(struct breaking *breaking, const char *path, const char *runtime) {
    return (struct run_setup){.runtime = runtime,
                              .workers = 1,
                              .own_model = &breaking_model,
                              .own_model_self = breaking,
                              .limits = {.gradients = 100000},
                              .save_every = {TRAINING_UPDATES, 10},
                              .save_path = path};
}

/* The version in a checkpoint: the first number of its table state/run. */
static uint64_t saved_version(const char *path) {
    struct safetensors_file *file;
    assert_int_equal(safetensors_open(path, &file), HYSGD_OK);
    double version;
    memcpy(&version, safetensors_find(file, "state/run")->data, sizeof version);
    safetensors_close(file);
    return (uint64_t)version;
}

static void a_loss_that_is_no_number_ends_the_run_and_names_the_last_checkpoint(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-save-XXXXXX", expected[200];
    close(mkstemp(path));
    struct breaking breaking = {.loss_at = 36};
    struct run_setup from = break_at(&breaking, path, "virtual");
    struct run run;
    run_expect(&run, &from, HYSGD_DIVERGED);
    snprintf(
        expected, sizeof expected,
        "the loss of worker 0 is not a number after update 35 (gradient 36): the last good checkpoint is %s of "
        "update 30",
        path);
    assert_string_equal(hysgd_error_message(), expected);
    assert_string_equal(run.summary.reason, "diverged");
    assert_int_equal(saved_version(path), 30);
    run_close(&run);
    unlink(path);
}

static void parameters_that_are_no_numbers_do_not_replace_a_checkpoint(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-save-XXXXXX", expected[200];
    close(mkstemp(path));
    struct breaking breaking = {.parameters_at = 36};
    struct run_setup from = break_at(&breaking, path, "virtual");
    struct run run;
    run_expect(&run, &from, HYSGD_DIVERGED);
    snprintf(expected, sizeof expected,
             "a parameter is not a finite number after update 150: the last good checkpoint is %s of update 140",
             path);
    assert_string_equal(hysgd_error_message(), expected);
    assert_int_equal(saved_version(path), 140);
    run_close(&run);
    unlink(path);
}

static void parameters_that_are_no_numbers_are_seen_by_an_evaluation(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct breaking breaking = {.parameters_at = 36};
        struct run_setup from = break_at(&breaking, NULL, runtimes[i]);
        from.save_every.unit = TRAINING_NEVER;
        from.limits.gradients = 400;
        from.evaluate_every = (struct training_cadence){TRAINING_UPDATES, 20};
        struct run run;
        run_expect(&run, &from, HYSGD_DIVERGED);
        assert_non_null(strstr(hysgd_error_message(), "a parameter is not a finite number after update "));
        assert_string_equal(run.summary.reason, "diverged");
        if (i == 0)
            assert_int_equal(run.summary.updates, 160);
        run_close(&run);
    }
}

static void a_gradient_that_is_not_finite_ends_the_run_and_names_its_worker(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct breaking breaking = {.gradient_at = 36};
        struct run_setup from = break_at(&breaking, NULL, runtimes[i]);
        struct run run;
        run_expect(&run, &from, HYSGD_DIVERGED);
        assert_string_equal(hysgd_error_message(), "the gradient of worker 0 for update 36 is not finite: no "
                                                   "checkpoint was saved before");
        run_close(&run);
    }
}

static void a_divergence_before_any_checkpoint_says_so(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct breaking breaking = {.loss_at = 5};
        struct run_setup from = break_at(&breaking, NULL, runtimes[i]);
        struct run run;
        run_expect(&run, &from, HYSGD_DIVERGED);
        assert_string_equal(hysgd_error_message(), "the loss of worker 0 is not a number after update 4 (gradient "
                                                   "5): no checkpoint was saved before");
        run_close(&run);
    }
}

static void a_failing_model_fails_the_run_with_its_message(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct breaking breaking = {.failure_at = 9};
        struct run_setup from = break_at(&breaking, NULL, runtimes[i]);
        struct run run;
        from.workers = 3;
        run_expect(&run, &from, HYSGD_FAILED);
        assert_string_equal(hysgd_error_message(), "the model broke at gradient 9");
        assert_string_equal(run.summary.reason, "failed");
        run_expect_balance(&run);
        run_close(&run);
    }
}

static void lost_workers_leave_and_the_others_go_on(void **state) {
    (void)state;
    struct run_setup from = {.policy = "sync",
                             .timing = {.compute = "constant,mean=1", .lose = "1@2.5,3@5"},
                             .limits = {.seconds = 10},
                             .ring = 16};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
    static const uint64_t received[] = {10, 2, 10, 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(run.summary.accounts[i].received, received[i]);
    assert_int_equal(run.summary.updates, 10);
    assert_int_equal(run.summary.unfinished, 4); /* two workers compute at the end, two were lost while they did */
    assert_int_equal(run.losses, 2);
    run_expect_balance(&run);
    run_close(&run);
}

static void a_run_that_loses_all_workers_fails(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct run_setup from = {.runtime = runtimes[i],
                                 .policy = "sync",
                                 .timing = {.lose = "0@0.02,1@0.03"},
                                 .workers = 2,
                                 .limits = {.seconds = 100}};
        struct run run;
        run_expect(&run, &from, HYSGD_FAILED);
        assert_non_null(strstr(hysgd_error_message(), "all workers are lost after update "));
        run_expect_balance(&run);
        run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_is_no_number_ends_the_run_and_names_the_last_checkpoint),
        cmocka_unit_test(parameters_that_are_no_numbers_do_not_replace_a_checkpoint),
        cmocka_unit_test(parameters_that_are_no_numbers_are_seen_by_an_evaluation),
        cmocka_unit_test(a_gradient_that_is_not_finite_ends_the_run_and_names_its_worker),
        cmocka_unit_test(a_divergence_before_any_checkpoint_says_so),
        cmocka_unit_test(a_failing_model_fails_the_run_with_its_message),
        cmocka_unit_test(lost_workers_leave_and_the_others_go_on),
        cmocka_unit_test(a_run_that_loses_all_workers_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
