/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint that slices and workers write together is the one that a single process writes, and is taken up by
 * any number of slices, with the same bits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "checkpoint/folder.h"
#include "spread.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

enum { STEPS = 23 }; /* leaves gradients held, some of them folded */

/* Together they have every kind of vector. */
static const struct run_setup setups[] = {
    {.policy = "async", .optimizer = "adam"},
    {.policy = "batch-async,size=5", .optimizer = "momentum,clip=0.5"},
    {.policy = "sync", .optimizer = "sgd"},
    {.policy = "table", .optimizer = "nesterov"},
    {.policy = "adaptive", .optimizer = "sgd"},
    {.policy = "batch-async,size=5", .optimizer = "sgd", .correction = "dana"},
    {.policy = "batch-async,size=5", .optimizer = "sgd", .correction = "delay-compensation,adaptive=yes"},
    {.policy = "threshold,start=3,cap=3,wait=yes",
     .optimizer = "sgd",
     .correction = "delay-compensation,lambda=0.3"},
    {.policy = "elastic"},
    {.policy = "async", .optimizer = "sgd", .local = "fixed,steps=2", .local_optimizer = "adam"},
    {.policy = "async", .optimizer = "sgd", .wire = "int8"},
};

enum { SETUPS = sizeof setups / sizeof *setups };

static uint64_t hash_of(const struct spread *spread) {
    static float vector[SPREAD_COUNT];
    spread_gather(spread, vector);
    return hash_bytes(UINT64_C(14695981039346656037), vector, sizeof vector);
}

static void open_and_go(struct spread *spread, const struct run_setup *from, const char *path, int slices) {
    struct run_setup setup = *from;
    setup.save_path = path;
    spread_open(spread, &setup, slices);
    spread_steps(spread, STEPS);
}

/* The hash of a file. */
static uint64_t save_with(const struct run_setup *from, const struct folder *folder, int slices) {
    static char bytes[8 << 20];
    struct spread spread;
    open_and_go(&spread, from, folder->file, slices);
    if (spread_save(&spread) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    spread_close(&spread);
    long length = file_read(folder->file, bytes, sizeof bytes);
    assert_in_range(length, SPREAD_COUNT * sizeof(float), sizeof bytes - 1);
    assert_int_equal(folder_count(folder, false), 1);
    return hash_bytes(UINT64_C(14695981039346656037), bytes, (size_t)length);
}

static void slices_write_the_file_of_one_process(void **state) {
    for (size_t i = 0; i < SETUPS; i++) {
        uint64_t whole = save_with(&setups[i], *state, 0);
        for (int slices = 1; slices <= 5; slices += 2)
            if (save_with(&setups[i], *state, slices) != whole)
                fail_msg("%s, %s, %s: another file with %d slices", setups[i].policy,
                         run_text(setups[i].optimizer, "sgd"), run_text(setups[i].correction, "none"), slices);
    }
}

static uint64_t resume_with(const struct run_setup *from, const struct folder *folder, int slices) {
    struct run_setup setup = *from;
    struct spread spread;
    setup.resume_path = folder->file;
    spread_open(&spread, &setup, slices);
    spread.seconds = 100;
    spread_steps(&spread, STEPS);
    uint64_t hash = hash_of(&spread);
    spread_close(&spread);
    return hash;
}

static void any_number_of_slices_takes_a_file_up(void **state) {
    for (size_t i = 0; i < SETUPS; i++) {
        save_with(&setups[i], *state, 3);
        uint64_t whole = resume_with(&setups[i], *state, 0);
        for (int slices = 1; slices <= 5; slices += 2)
            if (resume_with(&setups[i], *state, slices) != whole)
                fail_msg("%s, %s: %d slices go on otherwise", setups[i].policy,
                         run_text(setups[i].correction, "none"), slices);
    }
}

static void a_run_in_virtual_time_is_taken_up_by_slices(void **state) {
    const struct folder *folder = *state;
    for (size_t i = 0; i < SETUPS; i++) {
        struct run_setup setup = setups[i];
        struct run run;
        setup.own_model = &spread_model;
        setup.limits.gradients = STEPS;
        setup.save_path = folder->file;
        run_expect(&run, &setup, HYSGD_OK);
        run_close(&run);
        assert_true(resume_with(&setups[i], folder, 0) == resume_with(&setups[i], folder, 3));
    }
}

/* Replaces each server by a new one that is given what the old one packs. What has not arrived is no part of that.
 */
static void move(struct spread *spread) {
    const struct training *training = spread_training(spread);
    struct snapshot_place *places;
    size_t count;
    assert_int_equal(snapshot_plan(training, &places, &count), HYSGD_OK);
    for (int i = 0; i < spread->slices; i++) {
        struct server old = spread->servers[i];
        struct snapshot_slice slice = {&old, spread->first[i]};
        size_t elements = snapshot_packed_count(places, count, spread->first[i], spread->first[i + 1]);
        float *packed;
        assert_int_equal(memory_alloc(elements + 1, sizeof *packed, &packed), HYSGD_OK);
        snapshot_pack(&slice, places, count, packed);
        spread_open_slice(spread, i);
        slice.server = &spread->servers[i];
        assert_int_equal(snapshot_unpack(&slice, training, places, count, packed), HYSGD_OK);
        for (int w = 0; w < old.workers; w++)
            if (training->engine.workers[w].activity == ENGINE_COMPUTING)
                memcpy(slice.server->gradients[w], old.gradients[w], old.count * sizeof(float));
        server_fini(&old);
        memory_free(packed);
    }
    memory_free(places);
}

static void servers_that_are_moved_go_on_with_the_same_bits(void **state) {
    (void)state;
    static const size_t chosen[] = {0, 1, 2, 4, 8, 10}; /* of the others what workers have read lives on, too */
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++) {
        struct spread still, moved;
        open_and_go(&still, &setups[chosen[i]], NULL, 3);
        open_and_go(&moved, &setups[chosen[i]], NULL, 3);
        move(&moved);
        spread_steps(&still, STEPS);
        spread_steps(&moved, STEPS);
        assert_true(hash_of(&still) == hash_of(&moved));
        spread_close(&still);
        spread_close(&moved);
    }
}

static void a_parameter_that_is_not_finite_replaces_nothing(void **state) {
    const struct folder *folder = *state;
    struct spread spread;
    uint64_t before = save_with(&setups[0], folder, 3);
    open_and_go(&spread, &setups[0], folder->file, 3);
    server_vector(&spread.servers[2])[5] = INFINITY;
    assert_int_equal(spread_save(&spread), HYSGD_DIVERGED);
    assert_string_equal(hysgd_error_message(), "a parameter is not a finite number");
    assert_int_equal(drive_refuse_parameters(spread_training(&spread), 23), HYSGD_DIVERGED);
    assert_string_equal(hysgd_error_message(),
                        "a parameter is not a finite number after update 23: no checkpoint was saved before");
    spread_close(&spread);
    assert_int_equal(folder_count(folder, false), 1);
    assert_true(save_with(&setups[0], folder, 0) == before);
}

static void a_process_that_cannot_see_the_file_is_told(void **state) {
    const struct folder *folder = *state;
    struct spread spread;
    struct snapshot_image *image;
    struct snapshot_file *file;
    open_and_go(&spread, &setups[0], folder->file, 2);
    assert_int_equal(drive_begin_save(spread_training(&spread), 1, NULL, &image), HYSGD_OK);
    assert_int_equal(snapshot_begin(image, &spread.run.setup, &file), HYSGD_OK);
    assert_int_equal(unlink(snapshot_temporary(file)), 0);
    assert_int_equal(spread_save_parts(&spread, file), HYSGD_OUTPUT);
    assert_non_null(strstr(hysgd_error_message(), ": expected a directory that every process of the run sees"));
    snapshot_abort(file);
    snapshot_discard(image);
    spread_close(&spread);
    assert_int_equal(folder_count(folder, false), 0);
}

static void a_folder_that_is_not_there_fails_before_anything_is_sent(void **state) {
    (void)state;
    struct spread spread;
    open_and_go(&spread, &setups[0], "/nowhere/at/all", 2);
    assert_int_equal(spread_save(&spread), HYSGD_OUTPUT);
    assert_string_equal(hysgd_error_message(),
                        "/nowhere/at/all: its directory cannot be opened: No such file or directory");
    spread_close(&spread);
}

static void exhausted_memory_leaves_nothing(void **state) {
    const struct folder *folder = *state;
    struct spread spread;
    open_and_go(&spread, &setups[5], folder->file, 2);
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY; n++) {
        struct snapshot_image *image;
        memory_fail_at(n);
        status = drive_begin_save(spread_training(&spread), 1, NULL, &image);
        if (status == HYSGD_OK) {
            status = spread_save_slices(&spread, image);
            snapshot_discard(image);
        }
        memory_fail_at(0);
        assert_int_equal(folder_count(folder, false), status == HYSGD_OK);
        assert_int_equal(memory_used(), used);
    }
    assert_int_equal(status, HYSGD_OK);
    spread_close(&spread);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(slices_write_the_file_of_one_process),
        CASE(any_number_of_slices_takes_a_file_up),
        CASE(a_run_in_virtual_time_is_taken_up_by_slices),
        cmocka_unit_test(servers_that_are_moved_go_on_with_the_same_bits),
        CASE(a_parameter_that_is_not_finite_replaces_nothing),
        CASE(a_process_that_cannot_see_the_file_is_told),
        CASE(a_folder_that_is_not_there_fails_before_anything_is_sent),
        CASE(exhausted_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
