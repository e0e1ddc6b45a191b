/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary folder for one test, and whole files in it. */
#ifndef HYSGD_TESTS_CHECKPOINT_FOLDER_H
#define HYSGD_TESTS_CHECKPOINT_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char path[64];
    char file[96]; /* the file that the test writes in it */
};

/* cmocka's setup: makes the folder and hands it to the test as *state. */
static inline int folder_make(void **state) {
    struct folder *folder = calloc(1, sizeof(*folder));
    strcpy(folder->path, "/tmp/hysgd-test-XXXXXX");
    if (mkdtemp(folder->path) == NULL)
        return -1;
    snprintf(folder->file, sizeof(folder->file), "%s/target", folder->path);
    *state = folder;
    return 0;
}

/* Entries in the folder. With `is_removed` they are unlinked too. */
static inline int folder_count(const struct folder *folder, bool is_removed) {
    int count = 0;
    DIR *directory = opendir(folder->path);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (is_removed)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    return count;
}

static inline int folder_remove(void **state) {
    struct folder *folder = *state;
    folder_count(folder, true);
    int result = rmdir(folder->path);
    free(folder);
    return result;
}

/* Reads a whole file of at most `most` bytes and returns its length; -1 when there is none. */
static inline long file_read(const char *path, char *bytes, size_t most) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    size_t length = fread(bytes, 1, most, file);
    fclose(file);
    return (long)length;
}

static inline void file_write(const char *path, const void *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
}

#endif
