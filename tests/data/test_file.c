/* SPDX-License-Identifier: Apache-2.0 */
/* Reading whole files, plain and gzip, good and damaged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "base/memory.h"
#include "data/file.h"
#include "data/folder.h"

#define LIMIT 1000000

/* Text of which gzip saves little and much by turns. */
static void fill(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i % 1000 < 300 ? i * i * 7919 >> 8 : 'a');
}

/* Reads a gzip file back whose raw bytes have been written by the caller, and returns the raw bytes. */
static struct file raw_gzip(struct folder *folder, const uint8_t *bytes, size_t size) {
    struct file raw;
    folder_write_gzip(folder, "whole.gz", bytes, size);
    FILE *file = fopen(folder_path(folder, "whole.gz"), "rb");
    assert_non_null(file);
    assert_int_equal(memory_alloc(size + 1000, 1, &raw.bytes), HYSGD_OK);
    raw.size = fread(raw.bytes, 1, size + 1000, file);
    fclose(file);
    return raw;
}

static void a_plain_file_is_read_whole(void **state) {
    uint8_t bytes[5000];
    struct file file;
    fill(bytes, sizeof bytes);
    folder_write(*state, "a", bytes, sizeof bytes);
    assert_int_equal(file_read(folder_path(*state, "a"), sizeof bytes, &file), HYSGD_OK);
    assert_int_equal(file.size, sizeof bytes);
    assert_memory_equal(file.bytes, bytes, sizeof bytes);
    file_fini(&file);
}

static void an_empty_file_has_no_bytes(void **state) {
    struct file file;
    folder_write(*state, "a", "", 0);
    assert_int_equal(file_read(folder_path(*state, "a"), LIMIT, &file), HYSGD_OK);
    assert_int_equal(file.size, 0);
    file_fini(&file);
}

static void a_gzip_file_is_decompressed(void **state) {
    uint8_t bytes[50000];
    struct file file;
    fill(bytes, sizeof bytes);
    folder_write_gzip(*state, "a.gz", bytes, sizeof bytes);
    assert_int_equal(file_read(folder_path(*state, "a.gz"), sizeof bytes, &file), HYSGD_OK);
    assert_int_equal(file.size, sizeof bytes);
    assert_memory_equal(file.bytes, bytes, sizeof bytes);
    file_fini(&file);
}

static void all_members_of_a_gzip_file_are_read(void **state) {
    uint8_t bytes[3000];
    struct file file;
    fill(bytes, sizeof bytes);
    struct file raw = raw_gzip(*state, bytes, sizeof bytes);
    FILE *twice = fopen(folder_path(*state, "b.gz"), "wb");
    assert_non_null(twice);
    fwrite(raw.bytes, 1, raw.size, twice);
    fwrite(raw.bytes, 1, raw.size, twice);
    fclose(twice);
    assert_int_equal(file_read(folder_path(*state, "b.gz"), LIMIT, &file), HYSGD_OK);
    assert_int_equal(file.size, 2 * sizeof bytes);
    assert_memory_equal(file.bytes + sizeof bytes, bytes, sizeof bytes);
    file_fini(&file);
    file_fini(&raw);
}

static void a_gzip_file_cut_anywhere_is_refused(void **state) {
    uint8_t bytes[400];
    struct file file;
    fill(bytes, sizeof bytes);
    struct file raw = raw_gzip(*state, bytes, sizeof bytes);
    for (size_t size = 2; size < raw.size; size++) {
        folder_write(*state, "cut.gz", raw.bytes, size);
        assert_int_equal(file_read(folder_path(*state, "cut.gz"), LIMIT, &file), HYSGD_INPUT);
        assert_message("cut.gz: the gzip data are truncated at byte ");
    }
    file_fini(&raw);
}

static void a_gzip_file_with_a_wrong_byte_is_refused_or_read_right(void **state) {
    uint8_t bytes[400];
    struct file file;
    fill(bytes, sizeof bytes);
    struct file raw = raw_gzip(*state, bytes, sizeof bytes);
    for (size_t i = 2; i < raw.size; i++) {
        raw.bytes[i] ^= 0x10;
        folder_write(*state, "bad.gz", raw.bytes, raw.size);
        enum hysgd_status status = file_read(folder_path(*state, "bad.gz"), LIMIT, &file);
        raw.bytes[i] ^= 0x10;
        if (status == HYSGD_OK) { /* time stamp and such: they say nothing about the data */
            assert_in_range(i, 2, 9);
            assert_memory_equal(file.bytes, bytes, sizeof bytes);
            file_fini(&file);
        } else {
            assert_int_equal(status, HYSGD_INPUT);
            assert_message("bad.gz: the gzip data are ");
        }
    }
    file_fini(&raw);
}

static void bytes_after_the_gzip_data_are_refused(void **state) {
    struct file file;
    folder_write_gzip(*state, "a.gz", "abc", 3);
    FILE *more = fopen(folder_path(*state, "a.gz"), "ab");
    assert_non_null(more);
    fputs("hello", more);
    fclose(more);
    assert_int_equal(file_read(folder_path(*state, "a.gz"), LIMIT, &file), HYSGD_INPUT);
    assert_message("a.gz: 5 bytes follow the end of the gzip data at byte ");
}

static void a_file_above_the_limit_is_refused(void **state) {
    struct file file;
    folder_write(*state, "a", "0123456789", 10);
    assert_int_equal(file_read(folder_path(*state, "a"), 9, &file), HYSGD_INPUT);
    assert_message("a: holds more than 9 bytes");
}

static void a_gzip_file_that_grows_above_the_limit_is_refused_in_little_memory(void **state) {
    static const uint8_t zeros[1000000];
    struct file file;
    folder_write_gzip(*state, "bomb.gz", zeros, sizeof zeros);
    assert_int_equal(file_read(folder_path(*state, "bomb.gz"), 50000, &file), HYSGD_INPUT);
    assert_message("bomb.gz: holds more than 50000 bytes");
    assert_in_range(memory_peak(), 50000, 500000);
}

static void a_gzip_file_that_understates_its_length_is_read_whole(void **state) {
    uint8_t bytes[5000];
    struct file file;
    fill(bytes, sizeof bytes);
    struct file raw = raw_gzip(*state, bytes, 10);
    struct file more = raw_gzip(*state, bytes, sizeof bytes);
    /* The last member states 10 bytes; it follows one of 5000. */
    FILE *both = fopen(folder_path(*state, "both.gz"), "wb");
    assert_non_null(both);
    fwrite(more.bytes, 1, more.size, both);
    fwrite(raw.bytes, 1, raw.size, both);
    fclose(both);
    assert_int_equal(file_read(folder_path(*state, "both.gz"), LIMIT, &file), HYSGD_OK);
    assert_int_equal(file.size, sizeof bytes + 10);
    assert_memory_equal(file.bytes, bytes, sizeof bytes);
    file_fini(&file);
    file_fini(&raw);
    file_fini(&more);
}

static void what_is_no_regular_file_is_refused(void **state) {
    struct folder *folder = *state;
    struct file file;
    assert_int_equal(file_read(folder->path, LIMIT, &file), HYSGD_INPUT);
    assert_message(": is not a regular file");
    assert_int_equal(mkfifo(folder_path(folder, "pipe"), 0600), 0);
    assert_int_equal(file_read(folder_path(folder, "pipe"), LIMIT, &file), HYSGD_INPUT);
    assert_message("pipe: is not a regular file");
    assert_int_equal(file_read(folder_path(folder, "absent"), LIMIT, &file), HYSGD_INPUT);
    assert_message("absent: cannot be opened: No such file or directory");
}

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    uint8_t bytes[20000];
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    fill(bytes, sizeof bytes);
    folder_write_gzip(*state, "a.gz", bytes, sizeof bytes);
    while (status != HYSGD_OK) {
        struct file file = {0};
        memory_fail_at(++n);
        status = file_read(folder_path(*state, "a.gz"), LIMIT, &file);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
        file_fini(&file);
        assert_int_equal(memory_used(), used);
    }
    assert_true(n > 3);
}

static void the_first_name_that_exists_is_found(void **state) {
    static const char *const names[] = {"one", "two", NULL};
    struct folder *folder = *state;
    const char *const order[] = {"two.gz", "two", "one.gz", "one"};
    for (int i = 0; i < 4; i++) {
        char *path;
        folder_write(folder, order[i], "x", 1);
        assert_int_equal(file_find(folder->path, names, &path), HYSGD_OK);
        assert_string_equal(path, folder_path(folder, order[i]));
        memory_free(path);
    }
}

static void the_names_tried_are_told(void **state) {
    static const char *const names[] = {"one", "two", NULL};
    struct folder *folder = *state;
    char *path;
    assert_int_equal(file_find(folder->path, names, &path), HYSGD_INPUT);
    assert_message(": no such file in it; expected one of one, one.gz, two, two.gz");
    assert_int_equal(file_find(folder_path(folder, "absent"), names, &path), HYSGD_INPUT);
    assert_message("absent: No such file or directory; expected a directory that holds one or one.gz");
    folder_write(folder, "plain", "x", 1);
    assert_int_equal(file_find(folder_path(folder, "plain"), names, &path), HYSGD_INPUT);
    assert_message("plain: is not a directory; expected one that holds one or one.gz");
}

/* What xz makes of 20 times the lines of `repeated`. */
static const uint8_t packed[] = {
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01,
    0x0c, 0x00, 0x00, 0x00, 0x8f, 0x98, 0x41, 0x9c, 0xe0, 0x01, 0xb7, 0x00, 0x1d, 0x5d, 0x00, 0x18,
    0x8e, 0x43, 0x13, 0x9f, 0x47, 0x81, 0xac, 0x3b, 0x7f, 0x8e, 0xb3, 0xff, 0xdf, 0xd2, 0x40, 0xb4,
    0x38, 0x71, 0xdc, 0x8d, 0x52, 0x8c, 0xea, 0x06, 0x6f, 0x89, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x45, 0x18, 0xce, 0xae, 0xef, 0x95, 0xc4, 0x10, 0x00, 0x01, 0x39, 0xb8, 0x03, 0x00, 0x00, 0x00,
    0x83, 0x6e, 0x22, 0xd2, 0xb1, 0xc4, 0x67, 0xfb, 0x02, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
};
static const char repeated[] = "196 242 3\n186 302 3.5\n";
#define REPEATED_BYTES (20 * (sizeof repeated - 1))

/* Writes `size` bytes of `bytes` as a file and reads it. */
static enum hysgd_status read_xz(struct folder *folder, const uint8_t *bytes, size_t size, size_t limit,
                                 struct file *file_out) {
    folder_write(folder, "a.xz", bytes, size);
    enum hysgd_status status = file_read(folder_path(folder, "a.xz"), limit, file_out);
    if (status != HYSGD_OK && strstr(hysgd_error_message(), "built without liblzma")) {
        print_message("a case of xz skipped because liblzma is not there\n");
        skip();
    }
    return status;
}

static void an_xz_file_is_decompressed(void **state) {
    struct file file;
    assert_int_equal(read_xz(*state, packed, sizeof packed, REPEATED_BYTES, &file), HYSGD_OK);
    assert_int_equal(file.size, REPEATED_BYTES);
    for (size_t i = 0; i < file.size; i++)
        assert_int_equal(file.bytes[i], repeated[i % (sizeof repeated - 1)]);
    file_fini(&file);
}

static void all_streams_of_an_xz_file_are_read(void **state) {
    uint8_t twice[2 * sizeof packed];
    struct file file;
    memcpy(twice, packed, sizeof packed);
    memcpy(twice + sizeof packed, packed, sizeof packed);
    assert_int_equal(read_xz(*state, twice, sizeof twice, LIMIT, &file), HYSGD_OK);
    assert_int_equal(file.size, 2 * REPEATED_BYTES);
    file_fini(&file);
}

static void a_damaged_or_truncated_xz_file_is_refused(void **state) {
    uint8_t bytes[sizeof packed];
    struct file file;
    for (size_t size = 6; size < sizeof packed; size++) {
        assert_int_equal(read_xz(*state, packed, size, LIMIT, &file), HYSGD_INPUT);
        assert_message("a.xz: the xz data are truncated at byte");
    }
    for (size_t i = 6; i < sizeof packed; i++) {
        memcpy(bytes, packed, sizeof packed);
        bytes[i] ^= 0x10;
        assert_int_equal(read_xz(*state, bytes, sizeof packed, LIMIT, &file), HYSGD_INPUT);
        assert_message("a.xz: the xz data ");
    }
}

static void the_limit_holds_while_xz_is_decompressed(void **state) {
    struct file file;
    for (size_t limit = sizeof packed; limit < REPEATED_BYTES; limit += 7) {
        assert_int_equal(read_xz(*state, packed, sizeof packed, limit, &file), HYSGD_INPUT);
        assert_message("a.xz: holds more than");
    }
}

static void exhausted_memory_while_xz_is_decompressed_is_a_status(void **state) {
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status != HYSGD_OK; n++) {
        struct file file = {0};
        memory_fail_at(n);
        status = read_xz(*state, packed, sizeof packed, LIMIT, &file);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
        file_fini(&file);
        assert_int_equal(memory_used(), used);
    }
}

static void a_file_is_opened_with_its_size_and_kind(void **state) {
    int descriptor;
    size_t size;
    bool is_compressed;
    folder_write(*state, "plain", "123", 3);
    assert_int_equal(file_open(folder_path(*state, "plain"), &descriptor, &size, &is_compressed), HYSGD_OK);
    assert_true(size == 3 && !is_compressed);
    close(descriptor);
    folder_write(*state, "packed", packed, sizeof packed);
    assert_int_equal(file_open(folder_path(*state, "packed"), &descriptor, &size, &is_compressed), HYSGD_OK);
    assert_true(size == sizeof packed && is_compressed);
    close(descriptor);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_plain_file_is_read_whole),
        CASE(an_empty_file_has_no_bytes),
        CASE(a_gzip_file_is_decompressed),
        CASE(all_members_of_a_gzip_file_are_read),
        CASE(a_gzip_file_cut_anywhere_is_refused),
        CASE(a_gzip_file_with_a_wrong_byte_is_refused_or_read_right),
        CASE(bytes_after_the_gzip_data_are_refused),
        CASE(a_file_above_the_limit_is_refused),
        CASE(a_gzip_file_that_grows_above_the_limit_is_refused_in_little_memory),
        CASE(a_gzip_file_that_understates_its_length_is_read_whole),
        CASE(what_is_no_regular_file_is_refused),
        CASE(exhausted_memory_is_a_status_and_leaks_nothing),
        CASE(the_first_name_that_exists_is_found),
        CASE(the_names_tried_are_told),
        CASE(an_xz_file_is_decompressed),
        CASE(all_streams_of_an_xz_file_are_read),
        CASE(a_damaged_or_truncated_xz_file_is_refused),
        CASE(the_limit_holds_while_xz_is_decompressed),
        CASE(exhausted_memory_while_xz_is_decompressed_is_a_status),
        CASE(a_file_is_opened_with_its_size_and_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
