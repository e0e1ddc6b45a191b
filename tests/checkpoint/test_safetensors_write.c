/* SPDX-License-Identifier: Apache-2.0 */
/* Writing replaces the target as a whole or leaves the old one: full disks, killed writers, failing memory, odd
 * targets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "checkpoint/folder.h"
#include "checkpoint/safetensors.h"
#include "long.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

static void assert_message(const char *part) {
    if (strstr(hysgd_error_message(), part) == NULL)
        fail_msg("'%s' does not say '%s'", hysgd_error_message(), part);
}

/* Writes a file all of whose elements are `version`. */
static enum hysgd_status write_version(const char *path, uint8_t version, size_t elements) {
    char text[8];
    uint8_t *data = malloc(elements + 1);
    memset(data, version, elements + 1);
    snprintf(text, sizeof(text), "%d", version);
    const char *const metadata[1][2] = {{"version", text}};
    struct safetensors_tensor tensors[] = {{"body", SAFETENSORS_U8, 1, {elements}, data},
                                           {"tail", SAFETENSORS_U8, 0, {0}, data + elements}};
    enum hysgd_status status = safetensors_write(path, tensors, 2, metadata, 1);
    free(data);
    return status;
}

/* The version of the file at `path`, of which every part is asserted to be the same. */
static int whole_version(const char *path, size_t elements) {
    struct safetensors_file *file;
    if (safetensors_open(path, &file) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    int version = atoi(safetensors_metadata(file, "version"));
    const struct safetensors_tensor *body = safetensors_find(file, "body"), *tail = safetensors_find(file, "tail");
    assert_int_equal(body->dims[0], elements);
    for (size_t i = 0; i < elements; i++)
        assert_int_equal(((const uint8_t *)body->data)[i], version);
    assert_int_equal(*(const uint8_t *)tail->data, version);
    safetensors_close(file);
    return version;
}

static void a_second_write_replaces_the_first(void **state) {
    const struct folder *folder = *state;
    assert_int_equal(write_version(folder->file, 1, 100), HYSGD_OK);
    assert_int_equal(write_version(folder->file, 2, 10), HYSGD_OK);
    assert_int_equal(whole_version(folder->file, 10), 2);
    assert_int_equal(folder_count(folder, false), 1);
}

static void large_files_are_written_in_pieces(void **state) {
    const struct folder *folder = *state;
    assert_int_equal(write_version(folder->file, 3, 9000001), HYSGD_OK);
    assert_int_equal(whole_version(folder->file, 9000001), 3);
}

static void permissions_follow_the_umask(void **state) {
    const struct folder *folder = *state;
    struct stat written;
    mode_t before = umask(027);
    assert_int_equal(write_version(folder->file, 1, 1), HYSGD_OK);
    umask(before);
    assert_int_equal(stat(folder->file, &written), 0);
    assert_int_equal(written.st_mode & 07777, 0640);
}

static void a_link_is_followed_and_stays(void **state) {
    const struct folder *folder = *state;
    char link[128];
    struct stat found;
    snprintf(link, sizeof(link), "%s/link", folder->path);
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(write_version(link, 1, 1), HYSGD_OUTPUT);
    assert_message("/link: cannot be written: is a link to a file that does not exist");
    assert_int_equal(write_version(folder->file, 1, 1), HYSGD_OK);
    assert_int_equal(write_version(link, 2, 1), HYSGD_OK);
    assert_int_equal(whole_version(folder->file, 1), 2);
    assert_int_equal(lstat(link, &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    assert_int_equal(folder_count(folder, false), 2);
}

static void what_is_not_a_regular_file_is_not_replaced(void **state) {
    const struct folder *folder = *state;
    struct stat found;
    assert_int_equal(mkfifo(folder->file, 0600), 0);
    assert_int_equal(write_version(folder->file, 1, 1), HYSGD_OUTPUT);
    assert_message("/target: cannot be replaced: is not a regular file");
    assert_int_equal(stat(folder->file, &found), 0);
    assert_true(S_ISFIFO(found.st_mode));
    assert_int_equal(write_version(folder->path, 1, 1), HYSGD_OUTPUT);
    assert_message("cannot be replaced: is not a regular file");
    assert_int_equal(folder_count(folder, false), 1);
}

static void impossible_paths_are_named(void **state) {
    const struct folder *folder = *state;
    char path[512];
    assert_int_equal(write_version("/nowhere/at/all", 1, 1), HYSGD_OUTPUT);
    assert_message("/nowhere/at/all: its directory cannot be opened: No such file or directory");
    assert_int_equal(write_version("", 1, 1), HYSGD_OUTPUT);
    assert_message("expected the name of a file");
    snprintf(path, sizeof(path), "%s/new/", folder->path);
    assert_int_equal(write_version(path, 1, 1), HYSGD_OUTPUT);
    snprintf(path, sizeof(path), "%s/%0300d", folder->path, 0);
    assert_int_equal(write_version(path, 1, 1), HYSGD_OUTPUT);
    assert_message("File name too long");
    snprintf(path, sizeof(path), "%s/%0255d", folder->path, 0);
    assert_int_equal(write_version(path, 1, 1), HYSGD_OK);
    assert_int_equal(whole_version(path, 1), 1);
    assert_int_equal(folder_count(folder, false), 1);
}

/* The first folder is missing, which the system says before it says that the path is too long. */
static void a_path_beyond_the_system_limit_is_refused(void **state) {
    const size_t length = 3 * PATH_MAX;
    char *path = malloc(length + 1);
    (void)state;
    for (size_t i = 0; i < length; i++)
        path[i] = i % 9 == 0 ? '/' : 'x';
    path[length] = '\0';
    assert_int_equal(write_version(path, 1, 1), HYSGD_OUTPUT);
    path[PATH_MAX] = '\0';
    assert_int_equal(write_version(path, 1, 1), HYSGD_OUTPUT);
    path[PATH_MAX - 1] = '\0';
    assert_int_equal(write_version(path, 1, 1), HYSGD_OUTPUT);
    free(path);
}

static void a_temporary_file_left_by_another_is_no_obstacle(void **state) {
    const struct folder *folder = *state;
    char left[160];
    snprintf(left, sizeof(left), "%s.%ld-0.tmp", folder->file, (long)getpid());
    file_write(left, "left", 4);
    assert_int_equal(write_version(folder->file, 1, 1), HYSGD_OK);
    assert_int_equal(whole_version(folder->file, 1), 1);
    assert_int_equal(file_read(left, (char[8]){0}, 8), 4);
}

static void assert_unwritable(const struct folder *folder, struct safetensors_tensor first,
                              struct safetensors_tensor second, const char *message) {
    struct safetensors_tensor tensors[2] = {first, second};
    assert_int_equal(safetensors_write(folder->file, tensors, 2, NULL, 0), HYSGD_OUTPUT);
    assert_message(message);
    assert_int_equal(folder_count(folder, false), 0);
}

static void what_the_format_cannot_hold_is_refused(void **state) {
    const struct folder *folder = *state;
    struct safetensors_tensor good = {"good", SAFETENSORS_U8, 1, {4}, "abcd"};
    const uint64_t huge = UINT64_C(1) << 62;
    assert_unwritable(folder, good, good, "/target: two tensors have the name 'good'");
    assert_unwritable(folder, good, (struct safetensors_tensor){"__metadata__", SAFETENSORS_U8, 1, {4}, "abcd"},
                      "the format reserves");
    assert_unwritable(folder, good, (struct safetensors_tensor){"\xff", SAFETENSORS_U8, 1, {4}, "abcd"},
                      "is not UTF-8");
    assert_unwritable(folder, good, (struct safetensors_tensor){"r", SAFETENSORS_U8, 9, {1}, "a"}, "has rank 9");
    assert_unwritable(folder, good, (struct safetensors_tensor){"r", SAFETENSORS_U8, -1, {1}, "a"}, "has rank -1");
    assert_unwritable(folder, good, (struct safetensors_tensor){"d", SAFETENSORS_U8, 2, {0, 2 * huge}, ""}, "2^63");
    assert_unwritable(folder, good, (struct safetensors_tensor){"d", SAFETENSORS_F32, 1, {huge}, ""},
                      "'d' has a shape");
    assert_unwritable(folder, good, (struct safetensors_tensor){"d", SAFETENSORS_U8, 1, {2 * huge - 1}, ""},
                      "together");
}

static void metadata_that_would_be_lost_are_refused(void **state) {
    const struct folder *folder = *state;
    const char *const twice[2][2] = {{"k", "1"}, {"k", "2"}}, *const key[1][2] = {{"\xfe", "1"}};
    const char *const value[1][2] = {{"k", "\xc3"}};
    assert_int_equal(safetensors_write(folder->file, NULL, 0, twice, 2), HYSGD_OUTPUT);
    assert_message("two values of 'k'");
    assert_int_equal(safetensors_write(folder->file, NULL, 0, key, 1), HYSGD_OUTPUT);
    assert_message("a key of the metadata is not UTF-8");
    assert_int_equal(safetensors_write(folder->file, NULL, 0, value, 1), HYSGD_OUTPUT);
    assert_message("a value of the metadata is not UTF-8");
    assert_int_equal(folder_count(folder, false), 0);
}

/* In a child, because a lowered limit cannot always be raised again. */
static void a_full_disk_leaves_the_old_file_and_nothing_else(void **state) {
    const struct folder *folder = *state;
    assert_int_equal(write_version(folder->file, 1, 1000), HYSGD_OK);
    for (rlim_t most = 0; most < 1100; most += 83) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, most});
            bool is_told = write_version(folder->file, 2, 1000) == HYSGD_OUTPUT &&
                           strstr(hysgd_error_message(), "/target: cannot be written: File too large") != NULL;
            _exit(is_told ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(whole_version(folder->file, 1000), 1);
        assert_int_equal(folder_count(folder, false), 1);
    }
}

/* The kernel kills the writer at an exact byte. */
static void a_writer_killed_at_any_byte_leaves_the_old_file(void **state) {
    const struct folder *folder = *state;
    assert_int_equal(write_version(folder->file, 1, 1000), HYSGD_OK);
    for (rlim_t most = 0; most < 1100; most += 83) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGXFSZ, SIG_DFL);
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, most});
            _exit(write_version(folder->file, 2, 1000) == HYSGD_OK ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
        assert_int_equal(whole_version(folder->file, 1000), 1);
    }
    assert_int_equal(write_version(folder->file, 3, 1000), HYSGD_OK);
    assert_int_equal(whole_version(folder->file, 1000), 3);
}

/* Writes versions without end and says so before each. */
_Noreturn static void write_until_killed(const char *path, int told, size_t elements) {
    for (uint8_t version = 1;; version ^= 3) {
        if (write(told, "w", 1) != 1 || write_version(path, version, elements) != HYSGD_OK)
            _exit(1);
    }
}

static void a_writer_killed_at_any_moment_leaves_a_whole_file(void **state) {
    const struct folder *folder = *state;
    const size_t elements = 300000;
    assert_int_equal(write_version(folder->file, 1, elements), HYSGD_OK);
    for (int round = 0; round < long_count(20, 1000); round++) {
        int told[2], status;
        char word;
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0)
            write_until_killed(folder->file, told[1], elements);
        close(told[1]);
        for (int i = 0; i <= round % 3; i++)
            assert_int_equal(read(told[0], &word, 1), 1);
        for (int i = 0; i < round % 20 * 40; i++)
            sched_yield();
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(told[0]);
        assert_in_range(whole_version(folder->file, elements), 1, 2);
    }
}

/* jansson's memory fails too: the n-th request from now on, once. */
static uint64_t json_fails_at;

static void *failing_malloc(size_t size) {
    return json_fails_at != 0 && --json_fails_at == 0 ? NULL : malloc(size);
}

static void set_failure(uint64_t ours, uint64_t theirs) {
    memory_fail_at(ours);
    json_fails_at = theirs;
}

static enum hysgd_status try_to_write(const struct folder *folder) {
    return write_version(folder->file, 2, 100);
}

static enum hysgd_status try_to_read(const struct folder *folder) {
    struct safetensors_file *file;
    HYSGD_TRY(safetensors_open(folder->file, &file));
    safetensors_close(file);
    return HYSGD_OK;
}

/* Runs `attempt` with the n-th request failing, n = 1, 2, ..., until it succeeds. jansson's reader reports some of
 * its lacking memory as wrong syntax, so that HYSGD_INPUT is right there too. */
static void assert_survives(enum hysgd_status (*attempt)(const struct folder *), const struct folder *folder,
                            bool is_theirs) {
    size_t used = memory_used();
    for (uint64_t n = 1;; n++) {
        set_failure(is_theirs ? 0 : n, is_theirs ? n : 0);
        enum hysgd_status status = attempt(folder);
        set_failure(0, 0);
        assert_int_equal(memory_used(), used);
        assert_int_equal(folder_count(folder, false), 1);
        if (status == HYSGD_OK) {
            assert_true(n > (is_theirs ? 20 : 1));
            return;
        }
        assert_true(status == HYSGD_MEMORY || (is_theirs && attempt == try_to_read && status == HYSGD_INPUT));
    }
}

static void failing_memory_is_reported_and_leaks_nothing(void **state) {
    const struct folder *folder = *state;
    assert_int_equal(write_version(folder->file, 1, 100), HYSGD_OK);
    json_set_alloc_funcs(failing_malloc, free);
    assert_survives(try_to_read, folder, false);
    assert_survives(try_to_read, folder, true);
    assert_int_equal(whole_version(folder->file, 100), 1);
    assert_survives(try_to_write, folder, false);
    assert_survives(try_to_write, folder, true);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(whole_version(folder->file, 100), 2);
}

int main(void) {
    const struct CMUnitTest cases[] = {
        CASE(a_second_write_replaces_the_first),
        CASE(large_files_are_written_in_pieces),
        CASE(permissions_follow_the_umask),
        CASE(a_link_is_followed_and_stays),
        CASE(what_is_not_a_regular_file_is_not_replaced),
        CASE(impossible_paths_are_named),
        cmocka_unit_test(a_path_beyond_the_system_limit_is_refused),
        CASE(a_temporary_file_left_by_another_is_no_obstacle),
        CASE(what_the_format_cannot_hold_is_refused),
        CASE(metadata_that_would_be_lost_are_refused),
        CASE(a_full_disk_leaves_the_old_file_and_nothing_else),
        CASE(a_writer_killed_at_any_byte_leaves_the_old_file),
        CASE(a_writer_killed_at_any_moment_leaves_a_whole_file),
        CASE(failing_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests_name("safetensors, writing", cases, NULL, NULL);
}
