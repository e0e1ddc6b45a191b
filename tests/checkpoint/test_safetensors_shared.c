/* SPDX-License-Identifier: Apache-2.0 */
/* A file that several processes write is the one that a single process would have written, or the old one; and of a
 * file its readers fetch only what they ask for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "checkpoint/folder.h"
#include "checkpoint/safetensors.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

enum { ELEMENTS = 1000 };

static float values[ELEMENTS];
static const double table[2] = {0.5, 0.25};
static const char *const metadata[1][2] = {{"key", "value"}};
static const struct safetensors_tensor tensors[] = {{"table", SAFETENSORS_F64, 1, {2}, table},
                                                    {"vector", SAFETENSORS_F32, 1, {ELEMENTS}, values},
                                                    {"empty", SAFETENSORS_F32, 1, {0}, NULL}};

static void assert_message(const char *part) {
    if (strstr(hysgd_error_message(), part) == NULL)
        fail_msg("'%s' does not say '%s'", hysgd_error_message(), part);
}

static enum hysgd_status write_alone(const char *path) {
    for (int i = 0; i < ELEMENTS; i++)
        values[i] = (float)i;
    return safetensors_write(path, tensors, 3, metadata, 1);
}

static enum hysgd_status begin(const char *path, struct safetensors_writer **writer_out) {
    struct safetensors_tensor without[3] = {tensors[0], tensors[1], tensors[2]};
    without[1].data = NULL;
    return safetensors_begin(path, without, 3, metadata, 1, writer_out);
}

/* Elements [first, end) of the vector. */
static struct safetensors_piece piece(const struct safetensors_writer *writer, size_t first, size_t end) {
    return (struct safetensors_piece){safetensors_offset(writer, 1) + first * sizeof *values,
                                      (end - first) * sizeof *values, values + first};
}

static void expect_same_file(const char *left, const char *right) {
    static char bytes[2][2 * ELEMENTS * sizeof(float)];
    size_t length = file_read(left, bytes[0], sizeof bytes[0]);
    assert_int_equal(file_read(right, bytes[1], sizeof bytes[1]), length);
    assert_memory_equal(bytes[0], bytes[1], length);
}

static void pieces_in_any_order_make_the_file_of_one_writer(void **state) {
    const struct folder *folder = *state;
    struct safetensors_writer *writer;
    char alone[200];
    snprintf(alone, sizeof alone, "%s/alone", folder->path);
    assert_int_equal(write_alone(alone), HYSGD_OK);
    assert_int_equal(begin(folder->file, &writer), HYSGD_OK);
    const char *temporary = safetensors_temporary(writer);
    struct safetensors_piece later[] = {piece(writer, 700, ELEMENTS), piece(writer, 300, 301)};
    struct safetensors_piece sooner[] = {piece(writer, 301, 700), piece(writer, 0, 300), piece(writer, 5, 5)};
    assert_int_equal(temporary[0], '/');
    assert_int_equal(safetensors_write_pieces(temporary, later, 2), HYSGD_OK);
    assert_int_equal(safetensors_write_pieces(temporary, sooner, 3), HYSGD_OK);
    assert_int_equal(folder_count(folder, false), 2); /* not yet in its place */
    assert_int_equal(safetensors_commit(writer), HYSGD_OK);
    expect_same_file(folder->file, alone);
    assert_int_equal(folder_count(folder, false), 2);
}

static void an_aborted_file_leaves_the_old_one(void **state) {
    const struct folder *folder = *state;
    struct safetensors_writer *writer;
    char before[200];
    snprintf(before, sizeof before, "%s/before", folder->path);
    assert_int_equal(write_alone(before), HYSGD_OK);
    assert_int_equal(write_alone(folder->file), HYSGD_OK);
    assert_int_equal(begin(folder->file, &writer), HYSGD_OK);
    safetensors_abort(writer);
    expect_same_file(folder->file, before);
    assert_int_equal(folder_count(folder, false), 2);
}

static void what_one_process_does_not_see_is_named(void **state) {
    const struct folder *folder = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/elsewhere", folder->path);
    assert_int_equal(safetensors_write_pieces(path, NULL, 0), HYSGD_OUTPUT);
    assert_message(
        "/elsewhere: cannot be opened: No such file or directory: expected a directory that every process");
    assert_int_equal(folder_count(folder, false), 0); /* and it is not made */
}

static void a_full_disk_is_named_with_the_path(void **state) {
    (void)state;
    const struct safetensors_piece full = {0, sizeof values, values};
    assert_int_equal(safetensors_write_pieces("/dev/full", &full, 1), HYSGD_OUTPUT);
    assert_message("/dev/full: cannot be written: No space left on device");
}

/* In a child, because a lowered limit cannot always be raised again. */
static void a_file_that_has_no_room_fails_at_the_beginning(void **state) {
    const struct folder *folder = *state;
    pid_t child = fork();
    if (child == 0) {
        struct safetensors_writer *writer;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        bool is_told = begin(folder->file, &writer) == HYSGD_OUTPUT &&
                       strstr(hysgd_error_message(), "/target: cannot be written: File too large") != NULL;
        _exit(is_told ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(folder_count(folder, false), 0);
}

static void a_missing_directory_is_named(void **state) {
    (void)state;
    struct safetensors_writer *writer;
    assert_int_equal(begin("/nowhere/at/all", &writer), HYSGD_OUTPUT);
    assert_message("/nowhere/at/all: its directory cannot be opened: No such file or directory");
}

static void exhausted_memory_leaves_nothing(void **state) {
    const struct folder *folder = *state;
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY; n++) {
        struct safetensors_writer *writer;
        memory_fail_at(n);
        status = begin(folder->file, &writer);
        memory_fail_at(0);
        if (status == HYSGD_OK)
            safetensors_abort(writer);
        assert_int_equal(folder_count(folder, false), 0);
        assert_int_equal(memory_used(), used);
    }
    assert_int_equal(status, HYSGD_OK);
}

static void ranges_are_fetched_from_the_file(void **state) {
    const struct folder *folder = *state;
    struct safetensors_file *file;
    float found[ELEMENTS];
    double row[2];
    assert_int_equal(write_alone(folder->file), HYSGD_OK);
    assert_int_equal(safetensors_open_header(folder->file, &file), HYSGD_OK);
    assert_null(safetensors_find(file, "vector")->data);
    assert_int_equal(safetensors_read(file, "table", SAFETENSORS_F64, 2, row), HYSGD_OK);
    assert_memory_equal(row, table, sizeof row);
    for (size_t first = 0; first < ELEMENTS; first += 333) {
        size_t count = ELEMENTS - first < 400 ? ELEMENTS - first : 400;
        assert_int_equal(safetensors_read_range(file, "vector", SAFETENSORS_F32, ELEMENTS, first, count, found),
                         HYSGD_OK);
        assert_memory_equal(found, values + first, count * sizeof *found);
    }
    assert_int_equal(safetensors_read_range(file, "vector", SAFETENSORS_F32, 999, 0, 1, found), HYSGD_INPUT);
    assert_message("/target: tensor 'vector' has 1000 elements, expected 999");
    safetensors_close(file);
}

static void a_file_that_shrinks_meanwhile_is_named(void **state) {
    const struct folder *folder = *state;
    struct safetensors_file *file;
    float found[ELEMENTS];
    assert_int_equal(write_alone(folder->file), HYSGD_OK);
    assert_int_equal(safetensors_open_header(folder->file, &file), HYSGD_OK);
    assert_int_equal(truncate(folder->file, 1000), 0);
    assert_int_equal(safetensors_read(file, "vector", SAFETENSORS_F32, ELEMENTS, found), HYSGD_INPUT);
    assert_message("/target: became shorter while it was read");
    safetensors_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(pieces_in_any_order_make_the_file_of_one_writer),
        CASE(an_aborted_file_leaves_the_old_one),
        CASE(what_one_process_does_not_see_is_named),
        cmocka_unit_test(a_full_disk_is_named_with_the_path),
        CASE(a_file_that_has_no_room_fails_at_the_beginning),
        cmocka_unit_test(a_missing_directory_is_named),
        CASE(exhausted_memory_leaves_nothing),
        CASE(ranges_are_fetched_from_the_file),
        CASE(a_file_that_shrinks_meanwhile_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
