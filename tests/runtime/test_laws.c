/* SPDX-License-Identifier: Apache-2.0 */
/* Degenerate cases of the policies as laws of whole runs on the quadratic, in virtual time with unequal workers:
 * bit for bit, or up to the order of addition where a law says so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "hysgd.h"

#define DIMENSION 20

/* What a run leaves. */
struct outcome {
    float parameters[DIMENSION];
    struct hysgd_result result;
};

/* Options as on the command line, "key=value;key=value", on top of those that all runs here have. */
static void set_options(struct hysgd_job *job, const char *options) {
    char *text, *rest = NULL;
    assert_int_equal(memory_copy_text(options, &text), HYSGD_OK);
    for (char *word = strtok_r(text, ";", &rest); word != NULL; word = strtok_r(NULL, ";", &rest)) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        if (hysgd_job_set(job, word, value) != HYSGD_OK)
            fail_msg("%s", hysgd_error_message());
    }
    memory_free(text);
}

static void train(const char *options, struct outcome *outcome_out) {
    struct hysgd_job *job;
    size_t count;
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    set_options(job, "data=none;runtime=virtual;optimizer=sgd,rate=0.02;batch=4;seed=3;eval-every=never");
    set_options(job, options);
    if (hysgd_job_run(job, &outcome_out->result) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    const float *parameters = hysgd_job_parameters(job, &count);
    assert_int_equal(count, DIMENSION);
    memcpy(outcome_out->parameters, parameters, sizeof outcome_out->parameters);
    hysgd_job_free(job);
}

#define NOISY   "model=quadratic,dimension=20;"
#define SILENT  "model=quadratic,dimension=20,noise=0;"
#define UNEQUAL "workers=5;speeds=1,1,0.6,0.5,0.2;compute=lognormal;"

/* The largest difference of two runs in a parameter. */
static double difference(const char *one, const char *other) {
    struct outcome outcomes[2];
    double largest = 0;
    train(one, &outcomes[0]);
    train(other, &outcomes[1]);
    for (int i = 0; i < DIMENSION; i++)
        largest = fmax(largest, fabs((double)(outcomes[0].parameters[i] - outcomes[1].parameters[i])));
    return largest;
}

static void bounded_by_0_is_sync_that_adds_up(void **state) {
    (void)state;
    const char *sync = NOISY UNEQUAL "combine=sum;policy=sync;updates=40";
    assert_true(difference(NOISY UNEQUAL "policy=bounded,staleness=0;updates=200", sync) < 1e-5);
    assert_true(difference(NOISY UNEQUAL "policy=bounded,staleness=1;updates=200", sync) > 1e-3);
}

static void cutoff_at_1_is_serial(void **state) {
    (void)state;
    /* Without noise the gradient depends on the parameters alone, so it does not matter whose it is. */
    const char *serial = SILENT "workers=1;policy=sync;updates=100";
    assert_true(difference(SILENT UNEQUAL "policy=cutoff,limit=1;updates=100", serial) == 0);
    assert_true(difference(SILENT UNEQUAL "policy=cutoff,limit=2;updates=100", serial) > 0);
}

static void all_of_the_first_is_sync(void **state) {
    (void)state;
    const char *sync = NOISY UNEQUAL "policy=sync;updates=50";
    assert_true(difference(NOISY UNEQUAL "policy=backup,count=5;updates=50", sync) == 0);
    assert_true(difference(NOISY UNEQUAL "policy=backup,count=4;updates=50", sync) > 0);
}

static void a_batch_of_one_is_async(void **state) {
    (void)state;
    const char *async = NOISY UNEQUAL "policy=async;updates=200";
    assert_true(difference(NOISY UNEQUAL "policy=batch-async,size=1;updates=200", async) == 0);
    assert_true(difference(NOISY UNEQUAL "policy=cutoff,limit=1G;updates=200", async) == 0);
    assert_true(difference(NOISY UNEQUAL "policy=bounded,staleness=1G;updates=200", async) == 0);
    assert_true(difference(NOISY UNEQUAL "policy=batch-async,size=2;updates=200", async) > 0);
}

static void weights_without_effect_change_nothing(void **state) {
    (void)state;
    const char *plain = NOISY UNEQUAL "policy=async;updates=200";
    const char *flat = NOISY UNEQUAL "policy=async;updates=200;staleness-weight=polynomial;staleness-exponent=0";
    assert_true(difference(flat, plain) == 0);
    assert_true(difference(NOISY UNEQUAL "policy=async;updates=200;staleness-weight=inverse", plain) > 0);
    /* Nothing is stale under sync. */
    assert_true(difference(NOISY UNEQUAL "policy=sync;updates=20;staleness-weight=inverse",
                           NOISY UNEQUAL "policy=sync;updates=20") == 0);
}

static void promised_staleness_holds_in_a_run(void **state) {
    (void)state;
    struct outcome outcome;
    train(NOISY UNEQUAL "policy=bounded,staleness=2;gradients=2000", &outcome);
    assert_in_range(outcome.result.most_staleness, 5, 20); /* (2 * 2 + 1) * 4 */
    train(NOISY UNEQUAL "policy=cutoff,limit=7;gradients=2000", &outcome);
    assert_int_equal(outcome.result.most_staleness, 6);
    train(NOISY UNEQUAL "policy=batch-sync;gradients=2000", &outcome);
    assert_int_equal(outcome.result.most_staleness, 0);
    assert_true(outcome.result.dropped > 0 && outcome.result.waiting_share == 0);
}

/* Stops after 333 gradients, goes on to 1000 from the checkpoint, and is compared with one that never stopped. */
static void expect_resumable(const char *options, const char *path) {
    char first[512], second[512], whole[512];
    snprintf(first, sizeof first, "%s;gradients=333;save=%s", options, path);
    snprintf(second, sizeof second, "%s;gradients=1000;resume=%s", options, path);
    snprintf(whole, sizeof whole, "%s;gradients=1000", options);
    struct outcome stopped;
    train(first, &stopped);
    if (difference(second, whole) != 0)
        fail_msg("%s: goes on differently from a checkpoint", options);
}

static void a_run_that_was_stopped_ends_as_if_it_had_not_been(void **state) {
    (void)state;
    static const char *const policies[] = {"bounded,staleness=1", "bounded,staleness=1,dynamic=4",
                                           "backup,count=3",      "batch-sync,size=7",
                                           "batch-async,size=7",  "cutoff,limit=4"};
    char path[] = "/tmp/hysgd-laws-XXXXXX", options[256];
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        snprintf(options, sizeof options, NOISY UNEQUAL "staleness-weight=polynomial;policy=%s", policies[i]);
        expect_resumable(options, path);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded_by_0_is_sync_that_adds_up),
        cmocka_unit_test(cutoff_at_1_is_serial),
        cmocka_unit_test(all_of_the_first_is_sync),
        cmocka_unit_test(a_batch_of_one_is_async),
        cmocka_unit_test(weights_without_effect_change_nothing),
        cmocka_unit_test(promised_staleness_holds_in_a_run),
        cmocka_unit_test(a_run_that_was_stopped_ends_as_if_it_had_not_been),
    };
    return cmocka_run_group_tests_name("laws of the policies", tests, NULL, NULL);
}
