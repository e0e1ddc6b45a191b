/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of the model factors under schedulers, as jobs: what they train, when they stop, what they keep and tell. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/data.h"
#include "lowrank/scheduler.h"
#include "model/model.h"
#include "record/history.h"
#include "train/factorization.h"
#include "train/job.h"
#include "train/job_words.h"

#define DATA    "planted,users=150,items=60,ratings=4000,signal=1.5,noise=0.3,rank=3,validation=0.1"
#define MODEL   "factors,rank=3,step=constant,rate=0.03"
#define WORKERS 3

/* A job with these options and more, "key", "value", ..., NULL. */
static struct hysgd_job *open_job(const char *const *more) {
    static const char *const common[] = {"data", DATA, "model", MODEL, "runtime", "virtual", "workers", "3", NULL};
    return job_of_words(common, more);
}

#define JOB(...) open_job((const char *const[]){__VA_ARGS__, NULL})

/* Runs the job and frees it. */
static struct factorization_result finish(struct hysgd_job *job) {
    struct hysgd_result result;
    if (hysgd_job_run(job, &result) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    struct factorization_result fit = job_factorization(job)->result;
    hysgd_job_free(job);
    return fit;
}

static void every_scheduler_learns_what_was_planted(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
            struct factorization_result fit = finish(JOB("scheduler", scheduler_list.entries[i]->name, "runtime",
                                                         is_virtual ? "virtual" : "threads", "epochs", "40"));
            assert_int_equal(fit.epochs, 40);
            assert_true(fit.test.rmse < 0.6); /* 1.5 for the mean of all */
            assert_true(fit.imbalance >= 1);
        }
}

static void every_step_and_loss_learns(void **state) {
    (void)state;
    static const char *const models[] = {"factors,rank=3,step=decay,decay=0.01,rate=0.03",
                                         "factors,rank=3,step=nesterov,rate=0.005,momentum=0.8",
                                         "factors,rank=3,step=adagrad,rate=0.1",
                                         "factors,rank=3,rate=0.1",
                                         "factors,rank=3,biases=no,rate=0.1",
                                         "factors,rank=3,loss=absolute,rate=0.1",
                                         "factors,rank=3,nonnegative=yes,rate=0.1"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct factorization_result fit = finish(JOB("model", models[i], "epochs", "40"));
        if (!(fit.test.rmse < 1.2)) /* 1.5 for the mean of all */
            fail_msg("%s: RMSE %g", models[i], fit.test.rmse);
    }
}

static void one_class_models_are_judged_by_ranking(void **state) {
    (void)state;
    static const char *const models[] = {"factors,rank=8,loss=bpr",
                                         "factors,rank=8,negatives=3,negative-weight=0.3"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct factorization_result fit =
            finish(JOB("model", models[i], "data",
                       "planted,users=150,items=60,ratings=3000,item-skew=1,validation=0.1", "epochs", "20"));
        assert_true(isnan(fit.test.loss));
        assert_true(fit.test.ranking.rows > 50);
        assert_true(fit.test.accuracy == fit.test.ranking.auc);
        if (!(fit.test.ranking.auc > 0.6)) /* popularity is learnt */
            fail_msg("%s: AUC %g", models[i], fit.test.ranking.auc);
    }
}

static void stopping_early_keeps_the_best_model(void **state) {
    (void)state;
    struct factorization_result fit = finish(JOB("stop-early", "3"));
    char best[16];
    assert_true(fit.best_epoch > 5);
    assert_int_equal(fit.epochs, fit.best_epoch + 3);
    snprintf(best, sizeof best, "%d", fit.best_epoch);
    struct factorization_result again = finish(JOB("epochs", best));
    assert_true(fit.validation.loss == again.validation.loss);
    assert_true(fit.test.rmse == again.test.rmse);
}

static void the_seed_decides_and_threads_do_not(void **state) {
    (void)state;
    struct factorization_result one = finish(
        JOB("runtime", "threads", "workers", "1", "deterministic", "yes", "epochs", "3", "scheduler", "fpsgd"));
    struct factorization_result three = finish(
        JOB("runtime", "threads", "workers", "3", "deterministic", "yes", "epochs", "3", "scheduler", "fpsgd"));
    struct factorization_result other =
        finish(JOB("runtime", "threads", "deterministic", "yes", "epochs", "3", "scheduler", "fpsgd", "seed", "2"));
    assert_true(one.test.loss == three.test.loss && one.train_loss == three.train_loss);
    assert_true(one.test.loss != other.test.loss);
}

static void a_target_ends_the_run(void **state) {
    (void)state;
    struct hysgd_result result;
    struct hysgd_job *job = JOB("target", "loss=1", "epochs", "50");
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_true(isfinite(result.target_seconds) && result.test_loss <= 1);
    assert_true(result.updates < 50);
    hysgd_job_free(job);
    job = JOB("target", "loss=0.01", "epochs", "2");
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_TARGET);
    hysgd_job_free(job);
}

static void a_run_that_is_stopped_says_so(void **state) {
    (void)state;
    struct hysgd_result result;
    struct hysgd_job *job = JOB("epochs", "50");
    hysgd_job_stop(job);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_INTERRUPTED);
    assert_int_equal(result.updates, 1); /* after the present epoch */
    hysgd_job_free(job);
}

static void divergence_is_an_error_with_advice(void **state) {
    (void)state;
    struct hysgd_result result;
    struct hysgd_job *job = JOB("model", "factors,rank=3,step=constant,rate=50");
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_DIVERGED);
    assert_non_null(strstr(hysgd_error_message(), "rate=12.5"));
    hysgd_job_free(job);
}

static void workers_of_modelled_time_keep_their_accounts(void **state) {
    (void)state;
    struct history *history;
    struct hysgd_result result;
    struct hysgd_job *job = JOB("epochs", "5", "speeds", "1,1,0.5");
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    assert_int_equal(job_add_sink(job, &sink_history, history), HYSGD_OK);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    assert_int_equal(result.received, 5 * WORKERS);
    assert_int_equal(result.applied, 5 * WORKERS);
    assert_int_equal(history->evaluations.count, 5);
    assert_string_equal(history->run.loss_name, "RMSE");
    double total = 0;
    uint64_t visits = 0;
    for (int i = 0; i < WORKERS; i++) {
        const struct event_account *account = &history->accounts[i];
        total += account->compute_seconds;
        visits += account->batches;
        assert_true(fabs(account->compute_seconds + account->waiting_seconds - result.seconds) < 1e-9);
    }
    assert_int_equal(visits, job_factorization(job)->result.visits);
    assert_true(history->accounts[2].batches < history->accounts[0].batches); /* it is slower */
    assert_true(total > 0);
    history_free(history);
    hysgd_job_free(job);
}

/* The root mean square error on the test part of factors as the model has them under a policy. */
static double rmse_of(const float *vector, size_t count) {
    struct plugin model, data;
    struct hysgd_data_shape shape;
    struct hysgd_model_layout layout;
    struct hysgd_metrics metrics = {0};
    assert_int_equal(plugin_open(&data_list, DATA, &data), HYSGD_OK);
    assert_int_equal(data_ops(&data)->init(data.self, 1), HYSGD_OK);
    data_ops(&data)->describe(data.self, &shape);
    assert_int_equal(model_open(MODEL, &model), HYSGD_OK);
    assert_int_equal(model_ops(&model)->init(model.self, &shape), HYSGD_OK);
    model_ops(&model)->describe(model.self, &layout);
    assert_int_equal(count, layout.parameter_count);
    for (uint64_t i = 0; i < shape.test_count; i++) {
        float input[2], target;
        const struct hysgd_batch batch = {.count = 1, .inputs = input, .targets = &target};
        data_ops(&data)->gather(data.self, HYSGD_TEST, &i, 1, input, NULL, &target);
        assert_int_equal(model_ops(&model)->evaluate(model.self, NULL, vector, &batch, &metrics), HYSGD_OK);
    }
    plugin_close(&model);
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
    return sqrt(metrics.loss / (double)metrics.count);
}

static void the_factors_are_there_after_the_run(void **state) {
    (void)state;
    struct hysgd_result result;
    size_t count;
    struct hysgd_job *job = JOB("epochs", "10");
    assert_null(hysgd_job_parameters(job, &count));
    assert_int_equal(count, 0);
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    const float *vector = hysgd_job_parameters(job, &count);
    assert_non_null(vector);
    assert_true(fabs(rmse_of(vector, count) - result.test_loss) < 1e-5);
    assert_true(result.test_loss < 1.4); /* 1.5 for the mean of all */
    hysgd_job_free(job);
}

static void a_validation_part_that_cannot_be_ranked_is_refused(void **state) {
    (void)state;
    struct hysgd_result result;
    struct hysgd_job *job = JOB("model", "factors,rank=1,loss=bpr", "data",
                                "planted,users=4,items=2,ratings=8,validation=0.3", "stop-early", "2");
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "the validation part says nothing"));
    hysgd_job_free(job);
}

/* In the order of requests, whatever is asked for. */
static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    while (status == HYSGD_MEMORY && n < 2000) {
        struct hysgd_result result;
        struct hysgd_job *job = JOB("epochs", "1", "stop-early", "1", "scheduler", "a2psgd,blocks=3");
        memory_fail_at(++n);
        status = hysgd_job_run(job, &result);
        memory_fail_at(0);
        hysgd_job_free(job);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scheduler_learns_what_was_planted),
        cmocka_unit_test(every_step_and_loss_learns),
        cmocka_unit_test(one_class_models_are_judged_by_ranking),
        cmocka_unit_test(stopping_early_keeps_the_best_model),
        cmocka_unit_test(the_seed_decides_and_threads_do_not),
        cmocka_unit_test(a_target_ends_the_run),
        cmocka_unit_test(a_run_that_is_stopped_says_so),
        cmocka_unit_test(divergence_is_an_error_with_advice),
        cmocka_unit_test(workers_of_modelled_time_keep_their_accounts),
        cmocka_unit_test(the_factors_are_there_after_the_run),
        cmocka_unit_test(a_validation_part_that_cannot_be_ranked_is_refused),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
