/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory that a test fills with small files and that vanishes with them. Included after cmocka.h. */
#ifndef TESTS_DATA_FOLDER_H
#define TESTS_DATA_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

struct folder {
    char path[256];
    char file[768]; /* what folder_path wrote last */
};

static inline void folder_open(struct folder *folder) {
    const char *place = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/hysgd-test-XXXXXX", place ? place : "/tmp");
    assert_non_null(mkdtemp(folder->path));
}

static inline void folder_close(struct folder *folder) {
    DIR *directory = opendir(folder->path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    assert_int_equal(rmdir(folder->path), 0);
}

/* For cmocka: `state` becomes a folder. */
static inline int folder_setup(void **state) {
    static struct folder folder;
    *state = &folder;
    folder_open(&folder);
    return 0;
}

static inline int folder_teardown(void **state) {
    folder_close(*state);
    return 0;
}

static inline const char *folder_path(struct folder *folder, const char *name) {
    snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, name);
    return folder->file;
}

static inline void folder_write(struct folder *folder, const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(folder_path(folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void folder_write_gzip(struct folder *folder, const char *name, const void *bytes, size_t size) {
    gzFile file = gzopen(folder_path(folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
}

/* Where the public data sets are: $HYSGD_DATASETS/NAME, or ../shared/datasets/NAME. */
static inline const char *dataset_path(struct folder *folder, const char *name) {
    const char *place = getenv("HYSGD_DATASETS");
    snprintf(folder->file, sizeof folder->file, "%s/%s", place ? place : "../shared/datasets", name);
    return folder->file;
}

/* Whether the latest failure's message contains the text; prints the message where it does not. */
#define assert_message(text)                                                                                       \
    do {                                                                                                           \
        if (!strstr(hysgd_error_message(), text))                                                                  \
            fail_msg("\"%s\" does not contain \"%s\"", hysgd_error_message(), text);                               \
    } while (0)

#endif
