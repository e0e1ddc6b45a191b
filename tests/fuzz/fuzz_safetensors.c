/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes: the reader refuses them or every byte of every tensor can be read, and what is written again reads
 * back equal. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "checkpoint/safetensors.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static char folder[64], path[80];

static void remove_folder(void) {
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    /* In memory where there is such a place: the writer syncs, and a disk would make the rounds slow. */
    snprintf(folder, sizeof(folder), "%s/hysgd-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(folder) == NULL)
        abort();
    snprintf(path, sizeof(path), "%s/again", folder);
    return atexit(remove_folder);
}

static void check(bool is_true) {
    if (!is_true)
        abort();
}

static void check_equal(const struct safetensors_tensor *a, const struct safetensors_tensor *b) {
    uint64_t bytes;
    check(strcmp(a->name, b->name) == 0 && a->type == b->type && a->rank == b->rank);
    check(memcmp(a->dims, b->dims, (size_t)a->rank * sizeof(a->dims[0])) == 0);
    check(safetensors_tensor_bytes(a, &bytes) && memcmp(a->data, b->data, bytes) == 0);
}

static void write_again(const struct safetensors_file *file) {
    size_t count = safetensors_count(file), metadata_count = safetensors_metadata_count(file);
    struct safetensors_tensor *tensors = calloc(count + 1, sizeof(*tensors));
    const char *(*metadata)[2] = calloc(metadata_count + 1, sizeof(*metadata));
    for (size_t i = 0; i < count; i++)
        tensors[i] = *safetensors_at(file, i);
    for (size_t i = 0; i < metadata_count; i++)
        safetensors_metadata_at(file, i, &metadata[i][0], &metadata[i][1]);
    check(safetensors_write(path, tensors, count, (const char *const(*)[2])metadata, metadata_count) == HYSGD_OK);
    free(tensors);
    free(metadata);
}

static void check_again(const struct safetensors_file *file) {
    struct safetensors_file *again;
    check(safetensors_open(path, &again) == HYSGD_OK);
    check(safetensors_count(again) == safetensors_count(file));
    check(safetensors_metadata_count(again) == safetensors_metadata_count(file));
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        check_equal(tensor, safetensors_find(again, tensor->name));
    }
    for (size_t i = 0; i < safetensors_metadata_count(file); i++) {
        const char *key, *value;
        safetensors_metadata_at(file, i, &key, &value);
        check(strcmp(safetensors_metadata(again, key), value) == 0);
    }
    safetensors_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct safetensors_file *file;
    enum hysgd_status status = safetensors_open_bytes("input", bytes, length, &file);
    if (status == HYSGD_OK) {
        write_again(file);
        check_again(file);
        safetensors_close(file);
    } else {
        check(status == HYSGD_INPUT && strncmp(hysgd_error_message(), "input: ", 7) == 0);
        check(strpbrk(hysgd_error_message(), "\n\r\x1b") == NULL);
    }
    check(memory_used() == 0);
    return 0;
}
