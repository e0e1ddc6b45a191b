/* SPDX-License-Identifier: Apache-2.0 */
/* Wrong and hostile files: each is refused with one line that says what is wrong, and nothing leaks or is read out
 * of bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "checkpoint/folder.h"
#include "checkpoint/safetensors.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

/* Opens an exact heap copy, so that a sanitizer sees a read past its end. */
static enum hysgd_status open_copy(const void *bytes, size_t length, struct safetensors_file **file_out,
                                   void **copy_out) {
    *copy_out = malloc(length == 0 ? 1 : length);
    memcpy(*copy_out, bytes, length);
    return safetensors_open_bytes("F", *copy_out, length, file_out);
}

static void assert_refused(const void *bytes, size_t length, const char *message) {
    struct safetensors_file *file;
    void *copy;
    size_t used = memory_used();
    enum hysgd_status status = open_copy(bytes, length, &file, &copy);
    free(copy);
    if (status != HYSGD_INPUT || strncmp(hysgd_error_message(), "F: ", 3) != 0 ||
        strstr(hysgd_error_message(), message) == NULL || strpbrk(hysgd_error_message(), "\n\r\x1b") != NULL)
        fail_msg("status %d and '%s' instead of '%s'", status, hysgd_error_message(), message);
    assert_int_equal(memory_used(), used);
}

/* A file of the given header and `data` bytes of data; returns its length. */
static size_t make(const char *header, size_t data, char bytes[static 8192]) {
    size_t length = strlen(header);
    memset(bytes, 0, 8 + length + data);
    bytes[0] = (char)(length & 0xff);
    bytes[1] = (char)(length >> 8);
    memcpy(bytes + 8, header, length);
    return 8 + length + data;
}

#define TENSOR(dtype, shape, offsets) "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets)    "{\"t\":" TENSOR(dtype, shape, offsets) "}"
#define TWO(first, second)            "{\"a\":" TENSOR("\"U8\"", "[2]", first) ",\"b\":" TENSOR("\"U8\"", "[2]", second) "}"

static const struct {
    const char *header;
    size_t data;
    const char *message;
} hostile[] = {
    {"", 0, "does not begin with '{' at byte 8"},
    {" {}", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {"\xef\xbb\xbf{}", 0, "does not begin with '{'"},
    {"{", 0, "not the JSON expected at byte 9"},
    {"{} x", 0, "not the JSON expected at byte 12"},
    {"{}{}", 0, "end of file expected"},
    {"{\"a\":\n\x1b[31m}", 0, "not the JSON"},
    {"{'t':0}", 0, "not the JSON"},
    {"{\"a\\u0000b\":{}}", 0, "not the JSON"},
    {"{\"a\xff\":{}}", 0, "decode byte 0xff"},
    {"{\"a\xc0\xaf\":{}}", 0, "decode byte 0xc0"},
    {"{\"\xed\xa0\x80\":{}}", 0, "decode byte"},
    {"{\"t\":1e999}", 0, "not the JSON"},
    /* names and metadata */
    {"{\"t\":{},\"t\":{}}", 0, "duplicate object key"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate object key"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate object key"},
    {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "duplicate object key"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "the value of 'k' is not text"},
    {"{\"__metadata__\":{\"k\\u001b\":{}}}", 0, "the value of 'k?' is not text"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":null}", 0, "__metadata__ is no object"},
    {"{\"t\":[]}", 0, "tensor 't': its entry is no object"},
    {"{\"t\\n\":null}", 0, "tensor 't?': its entry is no object"},
    {"{\"t\":{}}", 0, "tensor 't': 'dtype' is missing"},
    /* types */
    {ONE("5", "[]", "[0,1]"), 1, "tensor 't': 'dtype' is not text"},
    {ONE("\"u8\"", "[]", "[0,1]"), 1, "'dtype' is 'u8', expected one of F64"},
    {ONE("\"F8_E4M3\"", "[]", "[0,1]"), 1, "'dtype' is 'F8_E4M3'"},
    {ONE("\"\"", "[]", "[0,1]"), 1, "'dtype' is ''"},
    /* shapes */
    {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "'shape' is missing"},
    {ONE("\"U8\"", "1", "[0,1]"), 1, "'shape' is not a list"},
    {ONE("\"U8\"", "[1,-1]", "[0,1]"), 1, "'shape' has at place 1 no whole number"},
    {ONE("\"U8\"", "[1.0]", "[0,1]"), 1, "'shape' has at place 0 no whole number"},
    {ONE("\"U8\"", "[\"1\"]", "[0,1]"), 1, "'shape' has at place 0 no whole number"},
    {ONE("\"U8\"", "[true]", "[0,1]"), 1, "'shape' has at place 0 no whole number"},
    {ONE("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "'shape' has 9 dimensions, expected at most 8"},
    {ONE("\"U8\"", "[9223372036854775808]", "[0,1]"), 1, "too big integer"},
    {ONE("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "product beyond 2^63"},
    {ONE("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "product beyond 2^63"},
    {ONE("\"U8\"", "[4294967296,4294967296,0]", "[0,0]"), 0, "product beyond 2^63"},
    {ONE("\"U16\"", "[9223372036854775807]", "[0,0]"), 0, "product beyond 2^63"},
    {ONE("\"F32\"", "[2]", "[0,4]"), 4, "span 4 bytes, expected 8 for its type and shape"},
    {ONE("\"F32\"", "[0]", "[0,4]"), 4, "span 4 bytes, expected 0"},
    /* offsets */
    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "'data_offsets' is missing"},
    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"offsets\":[0,1]}}", 1, "'data_offsets' is missing"},
    {ONE("\"U8\"", "[1]", "1"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[0]"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[0,1,1]"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[0.0,1]"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[0,\"1\"]"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[-1,0]"), 1, "'data_offsets' is something else"},
    {ONE("\"U8\"", "[1]", "[1,0]"), 1, "'data_offsets' is [1,0], expected begin <= end <= 1"},
    {ONE("\"U8\"", "[1]", "[1,2]"), 1, "'data_offsets' is [1,2], expected begin <= end <= 1"},
    {ONE("\"U8\"", "[1]", "[9223372036854775806,9223372036854775807]"), 1, "expected begin <= end <= 1"},
    /* holes, overlaps, and what nobody indexes */
    {TWO("[0,2]", "[1,3]"), 4, "tensor 'b': data begin at 1, expected 2"},
    {TWO("[0,2]", "[0,2]"), 4, "tensor 'b': data begin at 0, expected 2"},
    {TWO("[3,5]", "[0,2]"), 5, "tensor 'a': data begin at 3, expected 2"},
    {TWO("[2,4]", "[4,6]"), 6, "tensor 'a': data begin at 2, expected 0"},
    {TWO("[0,2]", "[2,4]"), 5, "cover 4 bytes after the header, expected all 5"},
    {ONE("\"U8\"", "[0]", "[1,1]"), 1, "tensor 't': data begin at 1, expected 0"},
    {"{}", 1, "cover 0 bytes after the header, expected all 1"},
};

static void every_hostile_header_is_refused(void **state) {
    (void)state;
    char bytes[8192];
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        size_t length = make(hostile[i].header, hostile[i].data, bytes);
        assert_refused(bytes, length, hostile[i].message);
    }
}

static void a_file_cut_at_any_byte_is_refused(void **state) {
    const struct folder *folder = *state;
    char bytes[8192];
    struct safetensors_file *file;
    size_t length = make("{\"__metadata__\":{\"k\":\"v\"},\"a\":" TENSOR("\"I16\"", "[2]", "[0,4]") "}", 4, bytes);
    for (size_t cut = 0; cut < length; cut++) {
        assert_refused(bytes, cut, "");
        file_write(folder->file, bytes, cut);
        assert_int_equal(safetensors_open(folder->file, &file), HYSGD_INPUT);
        assert_ptr_equal(strstr(hysgd_error_message(), folder->file), hysgd_error_message());
    }
    file_write(folder->file, bytes, length);
    assert_int_equal(safetensors_open(folder->file, &file), HYSGD_OK);
    safetensors_close(file);
}

/* Whatever is changed, the result is a refusal or a file whose every byte can be read. */
static void a_file_with_any_byte_changed_does_no_harm(void **state) {
    (void)state;
    char bytes[8192], sum = 0;
    size_t length = make(TWO("[0,2]", "[2,4]"), 4, bytes), accepted = 0;
    for (size_t i = 0; i < length * 256; i++) {
        struct safetensors_file *file;
        void *copy;
        char kept = bytes[i / 256];
        bytes[i / 256] = (char)(i % 256);
        enum hysgd_status status = open_copy(bytes, length, &file, &copy);
        bytes[i / 256] = kept;
        assert_true(status == HYSGD_OK || status == HYSGD_INPUT);
        if (status == HYSGD_OK) {
            for (size_t k = 0; k < safetensors_count(file); k++)
                sum ^= ((const char *)safetensors_at(file, k)->data)[1];
            accepted++;
            safetensors_close(file);
        }
        free(copy);
    }
    /* The names may be any of 252 or so printable or ASCII characters, the data anything. */
    assert_in_range(accepted, 4 * 256 + 100, length * 256 / 8);
    (void)sum;
}

static void a_header_length_beyond_the_file_or_the_limit_is_refused(void **state) {
    (void)state;
    assert_refused("", 0, "the file has 0 bytes, expected at least 8");
    assert_refused("\x03\0\0\0\0\0\0\0{}", 10, "the header has 3 bytes, but the file ends after 10");
    assert_refused("\0\xe1\xf5\x05\0\0\0\0{}", 10, "the header has 100000000 bytes, but the file ends");
    assert_refused("\x01\xe1\xf5\x05\0\0\0\0{}", 10, "100000001 bytes, expected at most 100000000");
    assert_refused("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "18446744073709551615 bytes, expected at most");
    assert_refused("\xf8\xff\xff\xff\xff\xff\xff\xff{}", 10, "expected at most");
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    char header[8001], bytes[8192];
    memset(header, '[', sizeof(header) - 1);
    memcpy(header, "{\"t\":", 5);
    header[sizeof(header) - 1] = '\0';
    assert_refused(bytes, make(header, 0, bytes), "maximum parsing depth");
}

static void a_long_name_is_shown_cut(void **state) {
    (void)state;
    char header[4096], bytes[8192];
    int length = snprintf(header, sizeof(header), "{\"%02000d\":0}", 7);
    assert_in_range(length, 2000, 2100);
    assert_refused(bytes, make(header, 0, bytes), "0000...': its entry is no object");
}

static void what_is_not_a_regular_file_is_refused(void **state) {
    const struct folder *folder = *state;
    struct safetensors_file *file;
    assert_int_equal(safetensors_open(folder->path, &file), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "is not a regular file"));
    assert_int_equal(mkfifo(folder->file, 0600), 0);
    assert_int_equal(safetensors_open(folder->file, &file), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "is not a regular file"));
    assert_int_equal(safetensors_open("/dev/zero", &file), HYSGD_INPUT);
    assert_int_equal(safetensors_open("/nowhere/to/be/found", &file), HYSGD_INPUT);
    assert_string_equal(hysgd_error_message(), "/nowhere/to/be/found: cannot be opened: No such file or directory");
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_hostile_header_is_refused),
        CASE(a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_file_with_any_byte_changed_does_no_harm),
        cmocka_unit_test(a_header_length_beyond_the_file_or_the_limit_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_long_name_is_shown_cut),
        CASE(what_is_not_a_regular_file_is_refused),
    };
    return cmocka_run_group_tests_name("safetensors, hostile files", cases, NULL, NULL);
}
