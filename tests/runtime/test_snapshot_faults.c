/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of other runs and damaged ones: refused in one line, without a leak, and never the end of the
 * process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "checkpoint/folder.h"
#include "runtime/snapshot_subjects.h"

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
        CASE(checkpoints_of_other_runs_are_refused),       CASE(a_missing_tensor_is_refused),
        CASE(files_without_our_metadata_are_refused),      CASE(damaged_numbers_never_crash),
        CASE(orphans_that_nobody_can_have_are_refused),    CASE(workers_that_wait_in_the_same_place_are_refused),
        CASE(a_state_in_which_nobody_computes_is_refused), CASE(a_run_without_gradients_cannot_be_resumed),
        CASE(parameters_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
