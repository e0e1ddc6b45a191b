/* SPDX-License-Identifier: Apache-2.0 */
/* The public job: words, plug-ins of one's own, results, stopping, and memory that runs out anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "hysgd.h"

static struct hysgd_job *make_job(const char *const (*options)[2], size_t count) {
    struct hysgd_job *job;
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(hysgd_job_set(job, options[i][0], options[i][1]), HYSGD_OK);
    return job;
}

static const char *const small[][2] = {
    {"runtime", "virtual"},
    {"model", "softmax,kernels=reference"},
    {"data", "digits,train=200,test=50"},
    {"workers", "3"},
    {"batch", "8"},
    {"updates", "20"},
};

#define SMALL_COUNT (sizeof small / sizeof small[0])

static struct hysgd_job *make_small(void) {
    return make_job(small, SMALL_COUNT);
}

static void every_gradient_is_in_the_result(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_set(job, "policy", "async"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(result.received, result.applied + result.dropped);
    assert_int_equal(result.updates, 20);
    assert_true(result.mean_staleness > 0 && result.mean_staleness <= (double)result.most_staleness);
    assert_true(result.test_accuracy > 0.2);
    assert_true(isnan(result.target_seconds));
    hysgd_job_free(job);
}

static void the_parameters_are_there_after_the_run(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    size_t count = 1;
    assert_null(hysgd_job_parameters(job, &count));
    assert_int_equal(count, 0);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    const float *parameters = hysgd_job_parameters(job, &count);
    assert_int_equal(count, 784 * 10 + 10);
    assert_true(isfinite(parameters[0]));
    hysgd_job_free(job);
}

static void one_seed_gives_one_result(void **state) {
    (void)state;
    struct hysgd_job *jobs[3];
    struct hysgd_result result;
    const float *parameters[3];
    size_t count;
    for (int i = 0; i < 3; i++) {
        jobs[i] = make_small();
        assert_int_equal(hysgd_job_set(jobs[i], "seed", i < 2 ? "5" : "6"), HYSGD_OK);
        assert_int_equal(hysgd_job_run(jobs[i], &result), HYSGD_OK);
        parameters[i] = hysgd_job_parameters(jobs[i], &count);
    }
    assert_memory_equal(parameters[0], parameters[1], count * sizeof(float));
    assert_memory_not_equal(parameters[0], parameters[2], count * sizeof(float));
    for (int i = 0; i < 3; i++)
        hysgd_job_free(jobs[i]);
}

static void a_wrong_word_is_refused_with_the_nearest(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_set(job, "polcy", "sync"), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "'policy'"));
    assert_int_equal(hysgd_job_set(job, "policy", "treshold"),
                     HYSGD_OK); /* words are checked together, at the run */
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "'threshold'"));
    hysgd_job_free(job);
}

static void a_job_runs_once(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_USAGE);
    assert_int_equal(hysgd_job_set(job, "workers", "2"), HYSGD_USAGE);
    hysgd_job_free(job);
}

static void a_run_without_a_limit_has_three_epochs(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_set(job, "updates", "0"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(result.received, 3 * 200 / 8);
    hysgd_job_free(job);
}

static void a_target_that_is_missed_is_told(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result = {0};
    assert_int_equal(hysgd_job_set(job, "target", "loss=0.001"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_TARGET);
    assert_int_equal(result.updates, 20);
    assert_true(isnan(result.target_seconds));
    hysgd_job_free(job);
}

/* ---- Silence ---- */

/* Everything that is written to a stream while `run` runs goes to a file, whose length is returned. */
static long written_to(int stream, void (*run)(void)) {
    char path[] = "/tmp/hysgd-test-XXXXXX";
    int file = mkstemp(path), before = dup(stream);
    assert_true(file >= 0 && before >= 0);
    fflush(NULL);
    assert_true(dup2(file, stream) >= 0);
    run();
    fflush(NULL);
    assert_true(dup2(before, stream) >= 0);
    long length = (long)lseek(file, 0, SEEK_END);
    close(before);
    close(file);
    unlink(path);
    return length;
}

static void run_and_fail(void) {
    struct hysgd_result result;
    struct hysgd_job *job = make_small();
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    hysgd_job_free(job);
    job = make_small();
    assert_int_equal(hysgd_job_set(job, "workers", "5000"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_USAGE);
    hysgd_job_free(job);
}

static void the_library_prints_nothing(void **state) {
    (void)state;
    assert_int_equal(written_to(STDOUT_FILENO, run_and_fail), 0);
    assert_int_equal(written_to(STDERR_FILENO, run_and_fail), 0);
}

/* ---- Stopping ---- */

static void a_job_stopped_before_it_runs_ends_at_once(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    hysgd_job_stop(job);
    assert_int_equal(hysgd_job_set(job, "epochs", "1000000"), HYSGD_OK);
    assert_int_equal(hysgd_job_set(job, "updates", "0"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_INTERRUPTED);
    assert_true(result.updates <= 1);
    hysgd_job_free(job);
}

static void an_interruption_is_described_with_a_log_too(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    hysgd_job_stop(job);
    assert_int_equal(hysgd_job_set(job, "log", "/dev/null"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_INTERRUPTED);
    assert_non_null(strstr(hysgd_error_message(), "interrupted after update"));
    hysgd_job_free(job);
}

static void *stop_it(void *job) {
    hysgd_job_stop(job);
    return NULL;
}

static void another_thread_can_stop_a_job(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    for (int i = 0; i < 2; i++) {
        struct hysgd_job *job = make_small();
        struct hysgd_result result;
        pthread_t thread;
        assert_int_equal(hysgd_job_set(job, "runtime", runtimes[i]), HYSGD_OK);
        assert_int_equal(hysgd_job_set(job, "updates", "1000000000"), HYSGD_OK);
        assert_int_equal(hysgd_job_set(job, "eval-every", "never"), HYSGD_OK);
        assert_int_equal(pthread_create(&thread, NULL, stop_it, job), 0);
        assert_int_equal(hysgd_job_run(job, &result), HYSGD_INTERRUPTED);
        assert_int_equal(result.received, result.applied + result.dropped);
        pthread_join(thread, NULL);
        hysgd_job_free(job);
    }
}

/* ---- Plug-ins of one's own ---- */

/* Synchronous, and counts what it is asked. */
struct counting {
    int64_t size;
    int inits, finis;
    uint64_t updates;
};

static enum hysgd_status counting_init(void *self, int workers) {
    (void)workers;
    ((struct counting *)self)->inits++;
    return HYSGD_OK;
}

static void counting_fini(void *self) {
    ((struct counting *)self)->finis++;
}

static uint64_t counting_threshold(void *self, const struct hysgd_progress *now) {
    (void)now;
    return (uint64_t)((struct counting *)self)->size;
}

static enum hysgd_release counting_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static void counting_updated(void *self, const struct hysgd_progress *now) {
    ((struct counting *)self)->updates = now->version;
}

static const struct hysgd_option counting_options[] = {
    {"size", HYSGD_OPTION_INT, offsetof(struct counting, size), "3", 1, 3, NULL, "gradients per update"},
    {0},
};

static const struct hysgd_policy_ops counting = {
    .about = {.name = "counting",
              .summary = "counts",
              .size = sizeof(struct counting),
              .options = counting_options},
    .init = counting_init,
    .fini = counting_fini,
    .threshold = counting_threshold,
    .release = counting_release,
    .updated = counting_updated,
};

static void a_policy_of_ones_own_decides(void **state) {
    (void)state;
    struct counting mine = {.size = 2};
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_use_policy(job, &counting, &mine, NULL), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(result.applied, 2 * result.updates);
    assert_int_equal(mine.updates, 20);
    hysgd_job_free(job);
    assert_int_equal(mine.inits, 1);
    assert_int_equal(mine.finis, 1);
}

static void its_options_can_be_given_as_text(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    assert_int_equal(hysgd_job_use_policy(job, &counting, NULL, "size=4"), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "1 to 3"));
    assert_int_equal(hysgd_job_use_policy(job, &counting, NULL, "size=1"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(result.applied, result.updates);
    hysgd_job_free(job);
}

/* f(x) = sum of (x_i - i)^2 / 2; the batch does not matter. */
#define BOWL_SIZE 5

static void bowl_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    static const struct hysgd_tensor tensors[] = {{.name = "x", .rank = 1, .dims = {BOWL_SIZE}}};
    *layout_out = (struct hysgd_model_layout){.parameter_count = BOWL_SIZE, .tensors = tensors, .tensor_count = 1};
}

static enum hysgd_status bowl_gradient(const void *self, void *workspace, const float *vector,
                                       const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self, (void)workspace, (void)batch;
    *loss_out = 0;
    for (int i = 0; i < BOWL_SIZE; i++) {
        gradient_out[i] = vector[i] - (float)i;
        *loss_out += 0.5 * (double)gradient_out[i] * (double)gradient_out[i];
    }
    return HYSGD_OK;
}

static const struct hysgd_model_ops bowl = {
    .about = {.name = "bowl", .summary = "a bowl"}, .describe = bowl_describe, .gradient = bowl_gradient};

static void a_model_of_ones_own_is_trained(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_result result;
    size_t count;
    assert_int_equal(hysgd_job_use_model(job, &bowl, NULL, NULL), HYSGD_OK);
    assert_int_equal(hysgd_job_set(job, "optimizer", "sgd,rate=0.5"), HYSGD_OK);
    assert_int_equal(hysgd_job_set(job, "updates", "60"), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    const float *x = hysgd_job_parameters(job, &count);
    assert_int_equal(count, BOWL_SIZE);
    for (int i = 0; i < BOWL_SIZE; i++)
        assert_float_equal(x[i], (float)i, 1e-5);
    hysgd_job_free(job);
}

static void plug_ins_that_lack_a_function_are_refused(void **state) {
    (void)state;
    struct hysgd_job *job = make_small();
    struct hysgd_policy_ops policy = counting;
    struct hysgd_model_ops model = bowl;
    const struct hysgd_data_ops data = {.about = {.name = "mine"}};
    policy.release = NULL;
    model.gradient = NULL;
    assert_int_equal(hysgd_job_use_policy(job, &policy, NULL, NULL), HYSGD_USAGE);
    assert_int_equal(hysgd_job_use_model(job, &model, NULL, NULL), HYSGD_USAGE);
    assert_int_equal(hysgd_job_use_data(job, &data, NULL, NULL), HYSGD_USAGE);
    hysgd_job_free(job);
}

/* ---- Memory ---- */

/* Makes and runs a job with everything that can be asked for; the status of the first failure. */
static enum hysgd_status run_whole(const char *checkpoint) {
    static const char *const more[][2] = {
        {"policy", "threshold,step=5"}, {"optimizer", "adam"}, {"csv", "/dev/null"},
        {"log", "/dev/null"},           {"updates", "3"},      {NULL, NULL}};
    struct hysgd_job *job = NULL;
    struct hysgd_result result;
    enum hysgd_status status = hysgd_job_alloc(&job);
    for (size_t i = 0; status == HYSGD_OK && i < SMALL_COUNT; i++)
        status = hysgd_job_set(job, small[i][0], small[i][1]);
    for (size_t i = 0; status == HYSGD_OK && more[i][0] != NULL; i++)
        status = hysgd_job_set(job, more[i][0], more[i][1]);
    if (status == HYSGD_OK)
        status = hysgd_job_set(job, "save", checkpoint);
    if (status == HYSGD_OK)
        status = hysgd_job_run(job, &result);
    hysgd_job_free(job);
    return status;
}

static void memory_that_runs_out_anywhere_is_a_status(void **state) {
    (void)state;
    char checkpoint[] = "/tmp/hysgd-test-XXXXXX";
    int file = mkstemp(checkpoint);
    assert_true(file >= 0);
    close(file);
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    while (status == HYSGD_MEMORY && n < 100000) {
        memory_fail_at(++n);
        status = run_whole(checkpoint);
        memory_fail_at(0);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 50);
    unlink(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_in_the_result),
        cmocka_unit_test(the_parameters_are_there_after_the_run),
        cmocka_unit_test(one_seed_gives_one_result),
        cmocka_unit_test(a_wrong_word_is_refused_with_the_nearest),
        cmocka_unit_test(a_job_runs_once),
        cmocka_unit_test(a_run_without_a_limit_has_three_epochs),
        cmocka_unit_test(a_target_that_is_missed_is_told),
        cmocka_unit_test(the_library_prints_nothing),
        cmocka_unit_test(a_job_stopped_before_it_runs_ends_at_once),
        cmocka_unit_test(an_interruption_is_described_with_a_log_too),
        cmocka_unit_test(another_thread_can_stop_a_job),
        cmocka_unit_test(a_policy_of_ones_own_decides),
        cmocka_unit_test(its_options_can_be_given_as_text),
        cmocka_unit_test(a_model_of_ones_own_is_trained),
        cmocka_unit_test(plug_ins_that_lack_a_function_are_refused),
        cmocka_unit_test(memory_that_runs_out_anywhere_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
