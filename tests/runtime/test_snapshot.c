/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of whole runs: an interrupted and resumed run is the one that was never stopped, to the last bit;
 * files of other runs and damaged ones are refused; a full disk leaves the old file whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/fixture.h"

#include "checkpoint/folder.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* What can hide state: unequal speeds, delays, a busy server, statistics, dropout, momentum, losses of workers. */
static const struct run_setup subjects[] = {
    {.policy = "sync", .optimizer = "momentum,rate=0.02", .model = "dense 7, norm, relu, dropout 0.3, dense"},
    {.policy = "async", .optimizer = "adam,rate=0.01", .model = "dense 7, norm, tanh, dense"},
    {.policy = "threshold,step=40,wait=no", .optimizer = "momentum,rate=0.02,clip=0.3", .model = "softmax"},
    {.policy = "threshold,step=40,wait=yes", .optimizer = "adam,rate=0.01", .model = "dense 7, dropout 0.5, dense"},
    {.policy = "threshold,start=7,cap=9",
     .optimizer = "nesterov,rate=0.01",
     .combine = ENGINE_SUM,
     .model = "softmax"},
    {.policy = "cyclic,sync=3,async=5", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "switch,at=15,unit=updates", .optimizer = "adamw,rate=0.01", .model = "softmax"},
    {.policy = "async", .optimizer = "delayed-nesterov,rate=0.05,period=7", .model = "softmax"},
    {.policy = "adaptive", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "adaptive", .optimizer = "momentum,rate=0.02,clip=0.3", .model = "softmax"},
    {.policy = "async", .correction = "delay-compensation", .model = "dense 7, norm, relu, dense"},
    {.policy = "batch-async,size=3", .correction = "delay-compensation,adaptive=yes", .model = "softmax"},
    {.policy = "threshold,step=40,wait=yes", .correction = "distance,scale=1e-6", .model = "softmax"},
    {.policy = "batch-async,size=3", .correction = "dana", .model = "dense 7, norm, relu, dense"},
    {.policy = "table", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "table", .correction = "delay-compensation", .model = "softmax"},
    {.policy = "bounded,staleness=1", .correction = "dana,momentum=0.5", .model = "softmax"},
    {.policy = "async", .wire = "int8", .model = "dense 7, norm, relu, dense"},
    {.policy = "backup,count=2,cancel=yes", .wire = "bf16,feedback=yes", .micro_batch = 2, .model = "softmax"},
    {.policy = "batch-async,size=3",
     .wire = "int8,sparse=yes",
     .local = "fixed,steps=3",
     .local_optimizer = "momentum,rate=0.05",
     .optimizer = "sgd,rate=1",
     .model = "dense 7, norm, relu, dense"},
    {.policy = "switch,at=0.5", .optimizer = "momentum,rate=0.02,schedule=cosine", .model = "softmax"},
};

static struct run_setup subject_at(size_t i) {
    struct run_setup from = subjects[i];
    from.data = "random,samples=400,dimensions=9,classes=4";
    from.timing = (struct timing_texts){.speeds = "1,0.6,1,0.3",
                                        .compute = "lognormal,mean=0.01,sigma=0.4",
                                        .delay = "half,normal,std=0.01",
                                        .receive = "exponential,mean=0.001",
                                        .apply = "uniform,least=0.0005,most=0.002",
                                        .lose = i % 2 ? "1@0.25" : NULL};
    from.limits = (struct training_limits){.gradients = 120};
    from.evaluate_every = (struct training_cadence){TRAINING_GRADIENTS, 25};
    from.batch = 6;
    return from;
}

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

/* Saves a run of subject 2 into the file. */
static struct run_setup save_subject(const char *path, size_t subject) {
    struct run_setup from = subject_at(subject);
    from.limits.gradients = 61;
    from.save_path = path;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    run_close(&run);
    from.save_path = NULL;
    from.resume_path = path;
    return from;
}

static struct run_setup save_one(const char *path) {
    return save_subject(path, 2);
}

/* Opening must fail with this status and a message of one line. */
static void expect_refused(const struct run_setup *from, const char *part) {
    struct run run;
    size_t used = memory_used();
    assert_int_equal(run_open(&run, from), HYSGD_INPUT);
    assert_null(strchr(hysgd_error_message(), '\n'));
    assert_non_null(strstr(hysgd_error_message(), from->resume_path));
    if (!strstr(hysgd_error_message(), part))
        fail_msg("\"%s\" does not say \"%s\"", hysgd_error_message(), part);
    run_close(&run);
    assert_int_equal(memory_used(), used);
}

static void checkpoints_of_other_runs_are_refused(void **state) {
    const struct folder *folder = *state;
    const struct run_setup from = save_one(folder->file);
    struct run_setup other = from;
    other.policy = "sync";
    expect_refused(&other, "was saved with policy = threshold,step=40,wait=no: this run has sync");
    other = from, other.model = "dense 3, dense";
    expect_refused(&other, "was saved with model = softmax: this run has dense 3, dense");
    other = from, other.seed = 9;
    expect_refused(&other, "was saved with seed = 1: this run has 9");
    other = from, other.workers = 5, other.timing = (struct timing_texts){0};
    expect_refused(&other, "was saved with workers = 4: this run has 5");
    other = from, other.batch = 7;
    expect_refused(&other, "was saved with batch = 6: this run has 7");
    other = from, other.optimizer = "sgd,rate=0.1";
    expect_refused(&other, "was saved with optimizer = momentum,rate=0.02,clip=0.3: this run has sgd,rate=0.1");
    other = from, other.data = "random,samples=400,dimensions=9,classes=5";
    expect_refused(&other, "was saved with data = random,samples=400,dimensions=9,classes=4: this run has");
    other = from, other.combine = ENGINE_SUM;
    expect_refused(&other, "was saved with combine = mean: this run has sum");
    other = from, other.orphans = TRAINING_SKIP_ORPHANS;
    expect_refused(&other, "was saved with orphans = share: this run has skip");
}

/* A copy of a checkpoint's tensors and metadata that can be changed and written again. */
struct editing {
    struct safetensors_file *file;
    struct safetensors_tensor tensors[64];
    size_t count;
    const char *metadata[32][2];
    size_t metadata_count;
    double tables[8][400];
};

static const char *const table_names[] = {"state/workers", "state/run",     "state/flights",
                                          "state/samples", "state/classes", "state/batches",
                                          "state/table",   "state/orphans", "state/changes"};

static void edit_open(struct editing *editing, const char *path) {
    *editing = (struct editing){0};
    assert_int_equal(safetensors_open(path, &editing->file), HYSGD_OK);
    editing->count = safetensors_count(editing->file);
    editing->metadata_count = safetensors_metadata_count(editing->file);
    assert_true(editing->count <= COUNT(editing->tensors) && editing->metadata_count <= COUNT(editing->metadata));
    for (size_t i = 0; i < editing->count; i++) {
        struct safetensors_tensor *tensor = &editing->tensors[i];
        *tensor = *safetensors_at(editing->file, i);
        for (size_t k = 0; k < COUNT(table_names); k++)
            if (strcmp(tensor->name, table_names[k]) == 0) {
                memcpy(editing->tables[k], tensor->data, tensor->dims[0] * tensor->dims[1] * sizeof(double));
                tensor->data = editing->tables[k];
            }
    }
    for (size_t i = 0; i < editing->metadata_count; i++)
        safetensors_metadata_at(editing->file, i, &editing->metadata[i][0], &editing->metadata[i][1]);
}

static void edit_write(const struct editing *editing, const char *path, size_t left_out) {
    struct safetensors_tensor tensors[64];
    size_t count = 0;
    for (size_t i = 0; i < editing->count; i++)
        if (i != left_out)
            tensors[count++] = editing->tensors[i];
    assert_int_equal(safetensors_write(path, tensors, count, (const char *const(*)[2])editing->metadata,
                                       editing->metadata_count),
                     HYSGD_OK);
}

static size_t table_length(const struct editing *editing, size_t table) {
    for (size_t i = 0; i < editing->count; i++)
        if (strcmp(editing->tensors[i].name, table_names[table]) == 0)
            return editing->tensors[i].dims[0] * editing->tensors[i].dims[1];
    return 0;
}

static void a_missing_tensor_is_refused(void **state) {
    const struct folder *folder = *state;
    for (size_t subject = 0; subject < COUNT(subjects); subject++) {
        const struct run_setup from = save_subject(folder->file, subject);
        struct editing editing;
        edit_open(&editing, folder->file);
        for (size_t i = 0; i < editing.count; i++) {
            edit_write(&editing, folder->file, i);
            expect_refused(&from, editing.tensors[i].name);
        }
        safetensors_close(editing.file);
    }
}

static void files_without_our_metadata_are_refused(void **state) {
    const struct folder *folder = *state;
    const struct run_setup from = save_one(folder->file);
    struct editing editing;
    edit_open(&editing, folder->file);
    size_t count = editing.metadata_count;
    editing.metadata_count = 0;
    edit_write(&editing, folder->file, SIZE_MAX);
    expect_refused(&from, "is no checkpoint of hysgd: metadata \"hysgd_checkpoint\" is missing");
    editing.metadata_count = count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(editing.metadata[i][0], "hysgd_checkpoint") == 0)
            editing.metadata[i][1] = "1";
    edit_write(&editing, folder->file, SIZE_MAX);
    expect_refused(&from, "has checkpoint format 1: expected 4");
    safetensors_close(editing.file);
}

/* Every number of every table, replaced by values that no run writes there: refused, or harmless enough to run. */
static void damage_subject(const struct folder *folder, size_t subject) {
    static const double values[] = {NAN, -1, INFINITY, 1e300, 9007199254740993.0, 0.5, 1e-320, 3};
    const struct run_setup from = save_subject(folder->file, subject);
    struct editing editing;
    int refused = 0, tried = 0;
    edit_open(&editing, folder->file);
    for (size_t table = 0; table < COUNT(table_names); table++)
        for (size_t i = 0; i < table_length(&editing, table); i++)
            for (size_t k = 0; k < COUNT(values); k++) {
                double whole = editing.tables[table][i];
                editing.tables[table][i] = values[k];
                edit_write(&editing, folder->file, SIZE_MAX);
                editing.tables[table][i] = whole;
                struct run run;
                struct run_setup rest = from;
                rest.limits = (struct training_limits){.gradients = 90, .updates = 60};
                enum hysgd_status status = run_open(&run, &rest);
                tried++;
                refused += status != HYSGD_OK;
                assert_true(status == HYSGD_OK || status == HYSGD_INPUT);
                if (status == HYSGD_OK)
                    (void)!run_go(&run); /* any status, but it ends */
                run_close(&run);
            }
    assert_true(refused * 2 > tried);
    safetensors_close(editing.file);
}

static void damaged_numbers_never_crash(void **state) {
    damage_subject(*state, 2);
    for (size_t i = 0; i < COUNT(subjects); i++)
        if (strcmp(subjects[i].policy, "table") == 0)
            damage_subject(*state, i);
}

/* Worker 1 is the only one lost. */
static void orphans_that_nobody_can_have_are_refused(void **state) {
    static const struct {
        size_t at;
        double value;
        const char *says;
    } faults[] = {{0, 1, "loss 1 of 2 is that of no worker"},
                  {3, 2, "loss 1 of 1 is that of no worker"},
                  {3, 0, "worker 0 goes by 1 of 0 changes of who takes part"},
                  {1, 2, "worker 0 goes by 2 of 1 changes of who takes part"},
                  {2, 1e6, "worker 0 goes by 1 of 1 changes of who takes part from batch 1e+06 of"},
                  {2, -1, "worker 0 goes by 1 of 1 changes of who takes part from batch -1 of"}};
    const struct folder *folder = *state;
    const struct run_setup from = save_subject(folder->file, 3);
    struct editing editing;
    edit_open(&editing, folder->file);
    assert_int_equal(table_length(&editing, 7), 12);
    for (size_t i = 0; i < COUNT(faults); i++) {
        double whole = editing.tables[7][faults[i].at];
        editing.tables[7][faults[i].at] = faults[i].value;
        edit_write(&editing, folder->file, SIZE_MAX);
        editing.tables[7][faults[i].at] = whole;
        expect_refused(&from, faults[i].says);
    }
    safetensors_close(editing.file);
}

static void workers_that_wait_in_the_same_place_are_refused(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = subject_at(0), rest = from; /* sync: workers wait */
    from.save_path = folder->file;
    from.limits.gradients = 62;
    rest.resume_path = folder->file;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_true(run.training.engine.waiting_count >= 2);
    int fields = 0;
    struct editing editing;
    edit_open(&editing, folder->file);
    fields = (int)table_length(&editing, 0) / 4;
    for (int i = 0; i < run.training.engine.waiting_count; i++) /* the rank is the tenth number */
        editing.tables[0][run.training.engine.waiting[i] * fields + 9] = 0;
    run_close(&run);
    edit_write(&editing, folder->file, SIZE_MAX);
    expect_refused(&rest, "two workers wait in the same place");
    safetensors_close(editing.file);
}

static void a_state_in_which_nobody_computes_is_refused(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = save_one(folder->file);
    struct editing editing;
    edit_open(&editing, folder->file);
    size_t fields = table_length(&editing, 0) / 4;
    for (size_t i = 0; i < 4; i++) {
        editing.tables[0][i * fields] = ENGINE_WAITING;
        editing.tables[0][i * fields + 9] = (double)i;
    }
    edit_write(&editing, folder->file, SIZE_MAX);
    expect_refused(&from, "the saved state is damaged: its accounts contradict each other");
    safetensors_close(editing.file);
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

static void a_run_without_gradients_cannot_be_resumed(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = save_one(folder->file);
    from.without_gradients = true;
    struct run run;
    assert_int_equal(run_open(&run, &from), HYSGD_USAGE);
    run_close(&run);
}

static void parameters_that_are_not_finite_are_refused(void **state) {
    const struct folder *folder = *state;
    static const float bad[] = {NAN, INFINITY};
    const struct hysgd_tensor tensor = {.name = "w", .rank = 1, .dims = {3}};
    const struct hysgd_model_layout layout = {.parameter_count = 3, .tensors = &tensor, .tensor_count = 1};
    for (int i = 0; i < 2; i++) {
        float values[3] = {1, bad[i], 2}, read[3];
        struct safetensors_tensor saved = {"w", SAFETENSORS_F32, 1, {3}, values};
        struct safetensors_file *file;
        assert_int_equal(safetensors_write(folder->file, &saved, 1, NULL, 0), HYSGD_OK);
        assert_int_equal(safetensors_open(folder->file, &file), HYSGD_OK);
        assert_int_equal(training_read_parameters(file, "F", &layout, read), HYSGD_INPUT);
        assert_string_equal(hysgd_error_message(), "F: tensor \"w\" has values that are not finite numbers");
        safetensors_close(file);
    }
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
        CASE(checkpoints_of_other_runs_are_refused),
        CASE(a_missing_tensor_is_refused),
        CASE(files_without_our_metadata_are_refused),
        CASE(damaged_numbers_never_crash),
        CASE(orphans_that_nobody_can_have_are_refused),
        CASE(workers_that_wait_in_the_same_place_are_refused),
        CASE(a_state_in_which_nobody_computes_is_refused),
        CASE(a_full_disk_stops_the_run_and_leaves_the_old_checkpoint_whole),
        CASE(parameters_can_be_read_alone),
        CASE(parameters_that_are_not_finite_are_refused),
        CASE(a_run_without_gradients_cannot_be_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
