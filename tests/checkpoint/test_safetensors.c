/* SPDX-License-Identifier: Apache-2.0 */
/* Sound files: what is written comes back, the bytes are those of the specification, and the reader finds what is
 * in them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "checkpoint/folder.h"
#include "checkpoint/safetensors.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

/* As the official serializer writes one F32 tensor "attn.0" of shape [1,2,3] with the elements 0 to 5. */
static const char official[] = "\x40\0\0\0\0\0\0\0"
                               "{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}"
                               "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40";
static const float elements[6] = {0, 1, 2, 3, 4, 5};

static void assert_message(const char *part) {
    if (strstr(hysgd_error_message(), part) == NULL)
        fail_msg("'%s' does not say '%s'", hysgd_error_message(), part);
}

static void assert_file(const char *path, const char *expected, size_t length) {
    char bytes[4096];
    assert_int_equal(file_read(path, bytes, sizeof(bytes)), length);
    assert_memory_equal(bytes, expected, length);
}

static void a_tensor_has_the_bytes_of_the_official_writer(void **state) {
    const struct folder *folder = *state;
    struct safetensors_tensor tensor = {"attn.0", SAFETENSORS_F32, 3, {1, 2, 3}, elements};
    assert_int_equal(safetensors_write(folder->file, &tensor, 1, NULL, 0), HYSGD_OK);
    assert_file(folder->file, official, sizeof(official) - 1);
}

static void the_header_is_padded_with_spaces_to_eight_bytes(void **state) {
    const struct folder *folder = *state;
    const char *const metadata[1][2] = {{"framework", "pt"}};
    assert_int_equal(safetensors_write(folder->file, NULL, 0, NULL, 0), HYSGD_OK);
    assert_file(folder->file, "\x08\0\0\0\0\0\0\0{}      ", 16);
    assert_int_equal(safetensors_write(folder->file, NULL, 0, metadata, 1), HYSGD_OK);
    assert_file(folder->file, "\x28\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ", 48);
}

static void tensors_follow_each_other_in_the_given_order(void **state) {
    const struct folder *folder = *state;
    const uint8_t bytes[3] = {7, 8, 9};
    const double value = 1.0;
    struct safetensors_tensor tensors[] = {{"z", SAFETENSORS_U8, 1, {3}, bytes},
                                           {"empty", SAFETENSORS_I64, 2, {4, 0}, bytes},
                                           {"a\n\xc3\xa9", SAFETENSORS_F64, 0, {0}, &value}};
    static const char expected[] =
        "\xb0\0\0\0\0\0\0\0"
        "{\"z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
        "\"empty\":{\"dtype\":\"I64\",\"shape\":[4,0],\"data_offsets\":[3,3]},"
        "\"a\\n\xc3\xa9\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[3,11]}}       "
        "\x07\x08\x09\0\0\0\0\0\0\xf0\x3f";
    assert_int_equal(safetensors_write(folder->file, tensors, 3, NULL, 0), HYSGD_OK);
    assert_file(folder->file, expected, sizeof(expected) - 1);
}

static void assert_same(const struct safetensors_tensor *read, const struct safetensors_tensor *written) {
    uint64_t bytes;
    assert_string_equal(read->name, written->name);
    assert_int_equal(read->type, written->type);
    assert_int_equal(read->rank, written->rank);
    assert_memory_equal(read->dims, written->dims, (size_t)read->rank * sizeof(read->dims[0]));
    assert_true(safetensors_tensor_bytes(written, &bytes));
    assert_memory_equal(read->data, written->data, bytes);
}

static void every_type_and_rank_comes_back(void **state) {
    const struct folder *folder = *state;
    uint8_t data[8 * 36 + SAFETENSORS_TYPES * (SAFETENSORS_MOST_RANK + 1)]; /* each tensor begins a byte later */
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37 + 11);
    struct safetensors_tensor tensors[SAFETENSORS_TYPES * (SAFETENSORS_MOST_RANK + 1)];
    char names[SAFETENSORS_TYPES * (SAFETENSORS_MOST_RANK + 1)][24];
    size_t count = 0;
    for (int type = 0; type < SAFETENSORS_TYPES; type++) {
        for (int rank = 0; rank <= SAFETENSORS_MOST_RANK; rank++, count++) {
            snprintf(names[count], sizeof(names[count]), "%s/%d", safetensors_type_name(type), rank);
            tensors[count] =
                (struct safetensors_tensor){names[count], type, rank, {3, 2, 1, 1, 3, 1, 2, 1}, data + count};
        }
    }
    struct safetensors_file *file;
    assert_int_equal(safetensors_write(folder->file, tensors, count, NULL, 0), HYSGD_OK);
    assert_int_equal(safetensors_open(folder->file, &file), HYSGD_OK);
    assert_int_equal(safetensors_count(file), count);
    for (size_t i = 0; i < count; i++)
        assert_same(safetensors_at(file, i), &tensors[i]);
    safetensors_close(file);
}

static void a_name_finds_its_tensor_only(void **state) {
    (void)state;
    struct safetensors_file *file;
    assert_int_equal(safetensors_open_bytes("memory", official, sizeof(official) - 1, &file), HYSGD_OK);
    assert_ptr_equal(safetensors_find(file, "attn.0"), safetensors_at(file, 0));
    assert_null(safetensors_find(file, "attn"));
    assert_null(safetensors_find(file, "__metadata__"));
    safetensors_close(file);
}

static void reading_checks_name_type_and_count(void **state) {
    (void)state;
    struct safetensors_file *file;
    float out[6] = {9};
    assert_int_equal(safetensors_open_bytes("memory", official, sizeof(official) - 1, &file), HYSGD_OK);
    assert_int_equal(safetensors_read(file, "attn.1", SAFETENSORS_F32, 6, out), HYSGD_INPUT);
    assert_message("memory: has no tensor 'attn.1'");
    assert_int_equal(safetensors_read(file, "attn.0", SAFETENSORS_I32, 6, out), HYSGD_INPUT);
    assert_message("memory: tensor 'attn.0' has type F32, expected I32");
    assert_int_equal(safetensors_read(file, "attn.0", SAFETENSORS_F32, 5, out), HYSGD_INPUT);
    assert_message("memory: tensor 'attn.0' has 6 elements, expected 5");
    assert_true(out[0] == 9);
    assert_int_equal(safetensors_read(file, "attn.0", SAFETENSORS_F32, 6, out), HYSGD_OK);
    assert_memory_equal(out, elements, sizeof(out));
    safetensors_close(file);
}

static void metadata_come_back_as_they_were(void **state) {
    const struct folder *folder = *state;
    const char *const metadata[3][2] = {{"version", "12"}, {"", ""}, {"f\xc3\xbcr\t\"x\"", "line\nline\x7f"}};
    struct safetensors_file *file;
    const char *key, *value;
    assert_int_equal(safetensors_write(folder->file, NULL, 0, metadata, 3), HYSGD_OK);
    assert_int_equal(safetensors_open(folder->file, &file), HYSGD_OK);
    assert_int_equal(safetensors_metadata_count(file), 3);
    for (size_t i = 0; i < 3; i++) {
        safetensors_metadata_at(file, i, &key, &value);
        assert_string_equal(key, metadata[i][0]);
        assert_string_equal(value, metadata[i][1]);
        assert_string_equal(safetensors_metadata(file, key), value);
    }
    assert_null(safetensors_metadata(file, "Version"));
    safetensors_close(file);
}

static void a_file_without_metadata_has_none(void **state) {
    (void)state;
    struct safetensors_file *file;
    assert_int_equal(safetensors_open_bytes("memory", official, sizeof(official) - 1, &file), HYSGD_OK);
    assert_int_equal(safetensors_metadata_count(file), 0);
    assert_null(safetensors_metadata(file, "version"));
    safetensors_close(file);
}

static void tensors_come_in_the_order_of_their_data(void **state) {
    (void)state;
    static const char bytes[] = "\xb1\0\0\0\0\0\0\0"
                                "{\"late\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
                                "\"none\":{\"shape\":[0],\"dtype\":\"I8\",\"data_offsets\":[1,1],\"more\":0},"
                                "\"early\":{\"data_offsets\":[0,1],\"shape\":[],\"dtype\":\"BOOL\"}}xyz";
    struct safetensors_file *file;
    assert_int_equal(safetensors_open_bytes("memory", bytes, sizeof(bytes) - 1, &file), HYSGD_OK);
    assert_string_equal(safetensors_at(file, 0)->name, "early");
    assert_string_equal(safetensors_at(file, 1)->name, "none");
    assert_string_equal(safetensors_at(file, 2)->name, "late");
    assert_memory_equal(safetensors_at(file, 2)->data, "yz", 2);
    safetensors_close(file);
}

static void the_type_names_are_those_of_the_format(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } expected[SAFETENSORS_TYPES] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                                     {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U64", 8},  {"U32", 4},
                                     {"U16", 2}, {"U8", 1},  {"BOOL", 1}};
    enum safetensors_type found;
    for (int type = 0; type < SAFETENSORS_TYPES; type++) {
        assert_string_equal(safetensors_type_name(type), expected[type].name);
        assert_int_equal(safetensors_type_size(type), expected[type].size);
        assert_true(safetensors_type_find(expected[type].name, &found));
        assert_int_equal(found, type);
    }
    assert_false(safetensors_type_find("f32", &found));
}

int main(void) {
    const struct CMUnitTest cases[] = {
        CASE(a_tensor_has_the_bytes_of_the_official_writer),
        CASE(the_header_is_padded_with_spaces_to_eight_bytes),
        CASE(tensors_follow_each_other_in_the_given_order),
        CASE(every_type_and_rank_comes_back),
        cmocka_unit_test(a_name_finds_its_tensor_only),
        cmocka_unit_test(reading_checks_name_type_and_count),
        CASE(metadata_come_back_as_they_were),
        cmocka_unit_test(a_file_without_metadata_has_none),
        cmocka_unit_test(tensors_come_in_the_order_of_their_data),
        cmocka_unit_test(the_type_names_are_those_of_the_format),
    };
    return cmocka_run_group_tests_name("safetensors", cases, NULL, NULL);
}
