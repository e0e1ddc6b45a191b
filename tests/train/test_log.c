/* SPDX-License-Identifier: Apache-2.0 */
/* The event log of whole runs, in both runtimes: that its events alone give the account of the run, and that what
 * identifies a run is in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"
#include "hysgd.h"
#include "record/log_reader.h"
#include "record/tally.h"

/* A run with these options, its parameters' checksum at the end, and its log in `path`. */
static uint64_t run_logged(const char *const (*options)[2], size_t count, char path[64]) {
    static const char *const common[][2] = {{"model", "softmax,kernels=reference"},
                                            {"data", "digits,train=200,test=50"},
                                            {"workers", "4"},
                                            {"batch", "8"},
                                            {"epochs", "2"},
                                            {"eval-every", "updates=7"}};
    struct hysgd_job *job;
    struct hysgd_result result;
    strcpy(path, "/tmp/hysgd-log-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        assert_int_equal(hysgd_job_set(job, common[i][0], common[i][1]), HYSGD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(hysgd_job_set(job, options[i][0], options[i][1]), HYSGD_OK);
    assert_int_equal(hysgd_job_set(job, "log", path), HYSGD_OK);
    enum hysgd_status status = hysgd_job_run(job, &result);
    assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
    size_t length;
    const float *parameters = hysgd_job_parameters(job, &length);
    uint64_t checksum = crc32_z(0, (const Bytef *)parameters, length * sizeof *parameters);
    hysgd_job_free(job);
    return checksum;
}

static struct log_reader *open_log(const char *path) {
    struct log_reader *reader;
    assert_int_equal(log_reader_open(path, &reader), HYSGD_OK);
    unlink(path);
    return reader;
}

static void assert_same_account(const struct event_account *one, const struct event_account *other) {
    assert_int_equal(one->received, other->received);
    assert_int_equal(one->applied, other->applied);
    assert_int_equal(one->dropped, other->dropped);
    assert_int_equal(one->held, other->held);
    assert_int_equal(one->most_staleness, other->most_staleness);
    assert_true(one->staleness_sum == other->staleness_sum);
    assert_true(fabs(one->compute_seconds - other->compute_seconds) < 1e-9);
    assert_true(fabs(one->transit_seconds - other->transit_seconds) < 1e-9);
    assert_true(fabs(one->caused_seconds - other->caused_seconds) < 1e-9);
    assert_int_equal(one->delays, other->delays);
}

/* The account so far of a run at its last event has waited as long as that of its end, and drops nothing. */
static void check_moment(struct tally *tally) {
    struct event_account accounts[16];
    struct event_summary now, end;
    assert_true(tally->workers <= 16);
    tally_now(tally, accounts, &now);
    uint64_t held = 0, dropped = 0;
    for (int i = 0; i < now.workers; i++) {
        assert_int_equal(accounts[i].received, accounts[i].applied + accounts[i].dropped + accounts[i].held);
        held += accounts[i].held;
        dropped += accounts[i].dropped;
    }
    tally_summarize(tally, "", &end);
    for (int i = 0; i < end.workers; i++) {
        assert_true(accounts[i].waiting_seconds == end.accounts[i].waiting_seconds);
        dropped -= end.accounts[i].dropped;
    }
    assert_int_equal(held + dropped, 0);
    assert_true(now.open_waiting_seconds == end.open_waiting_seconds);
    assert_int_equal(now.unfinished, end.unfinished);
}

/* The events of the run add up to what its end says. */
static void check_tally(const char *runtime, const char *policy) {
    const char *const options[][2] = {{"runtime", runtime}, {"policy", policy}};
    char path[64];
    run_logged(options, 2, path);
    struct log_reader *reader = open_log(path);
    struct tally tally;
    struct event event;
    struct event_summary counted;
    bool has_event = true;
    assert_int_equal(tally_init(&tally, log_reader_run(reader)), HYSGD_OK);
    while (has_event) {
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
        if (has_event)
            tally_add(&tally, &event);
    }
    const struct event_summary *told = log_reader_summary(reader);
    assert_non_null(told);
    check_moment(&tally);
    tally_summarize(&tally, told->reason, &counted);
    assert_int_equal(counted.updates, told->updates);
    assert_int_equal(counted.forced_updates, told->forced_updates);
    assert_int_equal(counted.checksum, told->checksum);
    assert_true(counted.test_loss == told->test_loss);
    for (int i = 0; i < told->workers; i++)
        assert_same_account(&counted.accounts[i], &told->accounts[i]);
    tally_fini(&tally);
    log_reader_close(reader);
}

static void the_events_add_up_to_the_account(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "async", "threshold,step=20", "cutoff,limit=2",
                                           "backup,count=3"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        check_tally("virtual", policies[i]);
        check_tally("threads", policies[i]);
    }
}

static void the_end_has_the_checksum_of_the_parameters(void **state) {
    (void)state;
    static const char *const options[][2] = {{"runtime", "threads"}, {"policy", "async"}};
    char path[64];
    struct event event;
    bool has_event = true;
    uint64_t checksum = run_logged(options, 2, path);
    struct log_reader *reader = open_log(path);
    while (has_event)
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
    assert_int_equal(log_reader_summary(reader)->checksum, checksum);
    log_reader_close(reader);
}

static void a_log_identifies_data_parameters_and_program(void **state) {
    (void)state;
    static const char *const variants[][2] = {
        {"csv", ""}, {"seed", "2"}, {"data", "digits,train=200,test=51"}, {"data", "digits,train=201,test=50"}};
    struct event_run runs[4];
    for (size_t i = 0; i < 4; i++) {
        char path[64];
        const char *const options[][2] = {{"runtime", "virtual"}, {variants[i][0], variants[i][1]}};
        run_logged(options, 2, path);
        struct log_reader *reader = open_log(path);
        runs[i] = *log_reader_run(reader);
        assert_non_null(strstr(runs[i].program, "hysgd " HYSGD_VERSION ", "));
        log_reader_close(reader);
    }
    assert_int_not_equal(runs[0].start_checksum, 0);
    assert_int_not_equal(runs[0].train_checksum, 0);
    assert_int_not_equal(runs[1].start_checksum, runs[0].start_checksum);
    assert_int_equal(runs[2].train_checksum, runs[0].train_checksum);
    assert_int_not_equal(runs[2].test_checksum, runs[0].test_checksum);
    assert_int_not_equal(runs[3].train_checksum, runs[0].train_checksum);
    assert_int_equal(runs[3].start_checksum, runs[0].start_checksum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_events_add_up_to_the_account),
        cmocka_unit_test(the_end_has_the_checksum_of_the_parameters),
        cmocka_unit_test(a_log_identifies_data_parameters_and_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
