/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of whole runs: an interrupted and resumed run is the one that was never stopped, to the last bit; a
 * full disk leaves the old file whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "checkpoint/folder.h"
#include "runtime/snapshot_subjects.h"

static void expect_equal_runs(const struct run *left, const struct run *right, const char *when) {
    if (run_hash(left) != run_hash(right) || run_account(left) != run_account(right) ||
        run_shares(left) != run_shares(right))
        fail_msg("%s: a resumed run differs, stopped %s", left->from.policy, when);
    assert_memory_equal(&left->summary.train_loss, &right->summary.train_loss, sizeof(double));
    assert_memory_equal(&left->summary.test_loss, &right->summary.test_loss, sizeof(double));
}

/* Runs to `stop`, resumes to the end and compares with `whole`. */
static void expect_resumable(struct run_setup from, const struct run *whole, const char *path,
                             enum hysgd_status stopped, const char *when) {
    struct run_setup rest = from;
    rest.stop_at = 0;
    rest.limits = whole->from.limits;
    rest.save_path = NULL;
    rest.resume_path = path;
    from.save_path = path;
    struct run run;
    run_expect(&run, &from, stopped);
    run_expect_balance(&run);
    run_close(&run);
    run_expect(&run, &rest, HYSGD_OK);
    run_expect_balance(&run);
    expect_equal_runs(whole, &run, when);
    run_close(&run);
}

static void a_run_interrupted_anywhere_goes_on_as_if_never_stopped(void **state) {
    const struct folder *folder = *state;
    for (size_t i = 0; i < COUNT(subjects); i++) {
        struct run_setup from = subject_at(i);
        struct run whole;
        run_expect(&whole, &from, HYSGD_OK);
        from.ring = 256;
        for (from.stop_at = 1; from.stop_at < 120; from.stop_at += 17)
            expect_resumable(from, &whole, folder->file, HYSGD_INTERRUPTED, "from a sink");
        run_close(&whole);
    }
}

static void a_run_in_which_workers_join_goes_on_as_if_never_stopped(void **state) {
    const struct folder *folder = *state;
    for (size_t i = 0; i < COUNT(subjects); i++) {
        struct run_setup from = subject_at(i);
        struct run whole;
        from.spare = 1;
        from.timing.lose = "1@0.1";
        from.timing.join = "1@0.3,3@0.2";
        if (strstr(from.policy, "at=0.5")) /* of the run, which is shorter with another limit */
            continue;
        run_expect(&whole, &from, HYSGD_OK);
        for (from.limits.gradients = 20; from.limits.gradients < 120; from.limits.gradients += 35)
            expect_resumable(from, &whole, folder->file, HYSGD_OK, "at a limit");
        from.limits = whole.from.limits;
        from.ring = 256;
        for (from.stop_at = 1; from.stop_at < 120; from.stop_at += 35)
            expect_resumable(from, &whole, folder->file, HYSGD_INTERRUPTED, "from a sink");
        run_close(&whole);
    }
}

static void a_run_that_met_an_earlier_limit_goes_on_as_if_it_had_not(void **state) {
    const struct folder *folder = *state;
    static const struct training_limits limits[] = {{.gradients = 1},    {.gradients = 50}, {.updates = 9},
                                                    {.updates = 1},      {.epochs = 0.5},   {.seconds = 0.1},
                                                    {.seconds = 0.2345}, {.seconds = 0.001}};
    for (size_t i = 0; i + 1 < COUNT(subjects); i++) { /* the last depends on the limit: it counts fractions */
        struct run_setup from = subject_at(i);
        struct run whole;
        run_expect(&whole, &from, HYSGD_OK);
        for (size_t k = 0; k < COUNT(limits); k++) {
            from.limits = limits[k];
            expect_resumable(from, &whole, folder->file, HYSGD_OK, "by a limit");
        }
        run_close(&whole);
    }
}

struct copying {
    const char *from, *to;
    int left; /* checkpoints until the copy */
};

static void copy_checkpoint(void *self, const struct training *training, const struct event *event) {
    struct copying *copying = self;
    (void)training;
    if (event->kind != EVENT_CHECKPOINT || --copying->left != 0)
        return;
    static char bytes[1 << 20];
    long length = file_read(copying->from, bytes, sizeof bytes);
    assert_true(length > 0);
    file_write(copying->to, bytes, (size_t)length);
}

static void a_crash_after_a_periodic_checkpoint_loses_nothing_before_it(void **state) {
    const struct folder *folder = *state;
    char copy[110];
    snprintf(copy, sizeof copy, "%s-copy", folder->file);
    static const struct training_cadence cadences[] = {
        {TRAINING_GRADIENTS, 31}, {TRAINING_SECONDS, 0.07}, {TRAINING_UPDATES, 4}};
    for (size_t i = 0; i < COUNT(subjects) * COUNT(cadences); i++) {
        struct run_setup from = subject_at(i % COUNT(subjects));
        struct copying copying = {folder->file, copy, 2};
        from.save_every = cadences[i / COUNT(subjects)];
        from.save_path = folder->file;
        from.ring = 64;
        from.watch = copy_checkpoint;
        from.watch_self = &copying;
        struct run whole, run;
        run_expect(&whole, &from, HYSGD_OK);
        assert_true(copying.left <= 0);
        from.watch = NULL;
        from.save_path = NULL;
        from.resume_path = copy;
        run_expect(&run, &from, HYSGD_OK);
        expect_equal_runs(&whole, &run, "by a crash");
        run_close(&run);
        run_close(&whole);
    }
}

static void a_resumed_sync_run_in_threads_is_one_never_stopped(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = {.runtime = "threads",
                             .policy = "sync",
                             .model = "dense 7, norm, relu, dropout 0.3, dense, kernels=reference",
                             .data = "random,samples=400,dimensions=9,classes=4",
                             .optimizer = "momentum,rate=0.02",
                             .limits = {.updates = 30}};
    uint64_t whole = run_result(&from);
    for (uint64_t stop = 1; stop < 30; stop += 9) {
        struct run_setup first = from, rest = from;
        first.limits.updates = stop;
        first.save_path = folder->file;
        rest.resume_path = folder->file;
        run_result(&first);
        assert_true(run_result(&rest) == whole);
        rest.runtime = "virtual"; /* and a run may change its runtime */
        assert_true(run_result(&rest) == whole);
    }
}

static void a_run_resumes_in_the_other_runtime(void **state) {
    const struct folder *folder = *state;
    for (size_t i = 0; i < COUNT(subjects); i++) {
        struct run_setup first = subject_at(i), rest = first;
        first.limits.gradients = 61;
        first.save_path = folder->file;
        rest.resume_path = folder->file;
        rest.runtime = "threads";
        rest.timing.lose = NULL;
        struct run run;
        run_expect(&run, &first, HYSGD_OK);
        run_close(&run);
        run_expect(&run, &rest, HYSGD_OK);
        assert_int_equal(run.training.engine.progress.received, 120);
        run_expect_balance(&run);
        run_close(&run);
    }
}

/* Four equal workers that never wait; what they were computing when it was saved does not count as waiting. */
static void a_gradient_begun_again_was_not_waited_for(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = {.timing = {.compute = "constant,mean=0.25"}, .limits = {.gradients = 8}, .ring = 16};
    struct run run;
    assert_int_equal(run_open(&run, &from), HYSGD_OK);
    run.setup.save_path = folder->file;
    run.training.drainer = pthread_self();
    run.training.workers[0].delivered_seconds = 1; /* since then it computes */
    struct snapshot_image *image;
    assert_int_equal(drive_begin_save(&run.training, 3, NULL, &image), HYSGD_OK);
    assert_int_equal(drive_write_save(&run.training, image), HYSGD_OK);
    drive_end_save(&run.training, image, HYSGD_OK, 3);
    run_close(&run);
    from.resume_path = folder->file;
    run_expect(&run, &from, HYSGD_OK);
    for (int i = 0; i < run.summary.workers; i++)
        assert_true(run.summary.accounts[i].waiting_seconds == 0);
    run_close(&run);
}

static void a_lost_worker_stays_lost_in_threads(void **state) {
    const struct folder *folder = *state;
    struct run_setup first = subject_at(0), rest;
    first.timing.lose = "2@0.05";
    first.save_path = folder->file;
    rest = first;
    rest.save_path = NULL;
    rest.resume_path = folder->file;
    rest.runtime = "threads";
    rest.timing.lose = NULL;
    rest.limits.gradients = 180;
    struct run run;
    run_expect(&run, &first, HYSGD_OK);
    uint64_t received = run.summary.accounts[2].received;
    run_close(&run);
    run_expect(&run, &rest, HYSGD_OK);
    assert_int_equal(run.summary.accounts[2].received, received);
    run_close(&run);
}

/* With the process's files limited to so many bytes every write beyond fails. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void fill_the_disk(void *self, const struct training *training, const struct event *event) {
    (void)self, (void)training;
    if (event->kind == EVENT_CHECKPOINT)
        limit_files(100);
}

static void a_full_disk_stops_the_run_and_leaves_the_old_checkpoint_whole(void **state) {
    const struct folder *folder = *state;
    static const char *const runtimes[] = {"virtual", "threads"};
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        struct run_setup from = subject_at(2);
        from.runtime = runtimes[i];
        from.timing = (struct timing_texts){.compute = "constant,mean=0.01"};
        from.limits = (struct training_limits){.gradients = 1000000};
        from.save_every = (struct training_cadence){TRAINING_SECONDS, 0.05};
        from.save_path = folder->file;
        from.ring = 16;
        from.watch = fill_the_disk;
        struct run run;
        enum hysgd_status status = run_open(&run, &from);
        assert_int_equal(status, HYSGD_OK);
        status = run_go(&run);
        limit_files(RLIM_INFINITY);
        assert_int_equal(status, HYSGD_OUTPUT);
        assert_non_null(strstr(hysgd_error_message(), folder->file));
        assert_string_equal(run.summary.reason, "failed");
        run_expect_balance(&run);
        run_close(&run);
        assert_int_equal(folder_count(folder, false), 1);
        from.save_path = NULL, from.resume_path = folder->file, from.watch = NULL;
        from.limits.gradients = 2;
        run_expect(&run, &from, HYSGD_OK);
        run_close(&run);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void parameters_can_be_read_alone(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = save_one(folder->file);
    struct run run;
    struct safetensors_file *file;
    assert_int_equal(run_open(&run, &from), HYSGD_OK);
    size_t count = run.training.server.count;
    float *vector = malloc(count * sizeof *vector);
    assert_int_equal(safetensors_open(folder->file, &file), HYSGD_OK);
    assert_int_equal(training_read_parameters(file, folder->file, &run.training.layout, vector), HYSGD_OK);
    assert_memory_equal(vector, server_vector(&run.training.server), count * sizeof *vector);
    safetensors_close(file);
    free(vector);
    run_close(&run);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        CASE(a_run_interrupted_anywhere_goes_on_as_if_never_stopped),
        CASE(a_run_in_which_workers_join_goes_on_as_if_never_stopped),
        CASE(a_run_that_met_an_earlier_limit_goes_on_as_if_it_had_not),
        CASE(a_crash_after_a_periodic_checkpoint_loses_nothing_before_it),
        CASE(a_resumed_sync_run_in_threads_is_one_never_stopped),
        CASE(a_run_resumes_in_the_other_runtime),
        CASE(a_gradient_begun_again_was_not_waited_for),
        CASE(a_lost_worker_stays_lost_in_threads),
        CASE(a_full_disk_stops_the_run_and_leaves_the_old_checkpoint_whole),
        CASE(parameters_can_be_read_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
