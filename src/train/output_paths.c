/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the system about paths that are going to be written. */
#include "train/output_paths.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* "." where the path has no directory. */
static enum hysgd_status copy_directory(const char *path, char **directory_out) {
    size_t length = (size_t)(base_name(path) - path);
    char *directory;
    HYSGD_TRY(memory_alloc(length + 2, 1, &directory));
    memcpy(directory, length > 0 ? path : ".", length > 0 ? length : 1);
    length = strlen(directory);
    if (length > 1 && directory[length - 1] == '/')
        directory[length - 1] = '\0';
    *directory_out = directory;
    return HYSGD_OK;
}

static enum hysgd_status check_directory(const struct output_path *output) {
    const char *key = output->key, *path = output->path;
    struct stat status;
    char *directory;
    HYSGD_TRY(copy_directory(path, &directory));
    enum hysgd_status result = HYSGD_OK;
    if (stat(directory, &status) != 0)
        result = hysgd_fail(HYSGD_USAGE, "%s=%s: the directory %s: %s", key, path, directory, strerror(errno));
    else if (!S_ISDIR(status.st_mode))
        result = hysgd_fail(HYSGD_USAGE, "%s=%s: %s is not a directory", key, path, directory);
    else if (access(directory, W_OK | X_OK) != 0)
        result = hysgd_fail(HYSGD_USAGE, "%s=%s: the directory %s cannot be written to: %s", key, path, directory,
                            strerror(errno));
    memory_free(directory);
    return result;
}

static enum hysgd_status check_present(const struct output_path *output, mode_t mode) {
    if (output->manner == OUTPUT_DIRECTORY && !S_ISDIR(mode))
        return hysgd_fail(HYSGD_USAGE, "%s=%s is not a directory", output->key, output->path);
    if (output->manner != OUTPUT_DIRECTORY && S_ISDIR(mode))
        return hysgd_fail(HYSGD_USAGE, "%s=%s is a directory: expected the path of a file", output->key,
                          output->path);
    if (!S_ISREG(mode) && output->manner == OUTPUT_ONLY_REPLACED)
        return hysgd_fail(HYSGD_USAGE, "%s=%s is not a regular file, which is what can be replaced as a whole",
                          output->key, output->path);
    if (access(output->path, W_OK) != 0)
        return hysgd_fail(HYSGD_USAGE, "%s=%s cannot be written: %s", output->key, output->path, strerror(errno));
    return HYSGD_OK;
}

static enum hysgd_status check_path(const struct output_path *output) {
    struct stat status, link;
    if (stat(output->path, &status) == 0) {
        HYSGD_TRY(check_present(output, status.st_mode));
        bool is_link = lstat(output->path, &link) == 0 && S_ISLNK(link.st_mode);
        if (output->manner == OUTPUT_WRITTEN || output->manner == OUTPUT_DIRECTORY || !S_ISREG(status.st_mode) ||
            is_link)
            return HYSGD_OK;
    } else if (errno == ENAMETOOLONG || errno == ELOOP) {
        return hysgd_fail(HYSGD_USAGE, "%s=%s cannot be written: %s", output->key, output->path, strerror(errno));
    }
    return check_directory(output);
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whatever they are called; of files that are not there yet, directory and name decide. Devices bear many writers.
 */
static enum hysgd_status compare_files(const char *a, const char *b, bool *are_same_out) {
    struct stat status_a, status_b;
    bool exists_a = stat(a, &status_a) == 0, exists_b = stat(b, &status_b) == 0;
    *are_same_out = exists_a && exists_b && is_same(&status_a, &status_b) && !S_ISCHR(status_a.st_mode);
    if (exists_a || exists_b || strcmp(base_name(a), base_name(b)) != 0)
        return HYSGD_OK;
    char *directory_a = NULL, *directory_b = NULL;
    enum hysgd_status status = copy_directory(a, &directory_a);
    if (status == HYSGD_OK)
        status = copy_directory(b, &directory_b);
    if (status == HYSGD_OK)
        *are_same_out =
            stat(directory_a, &status_a) == 0 && stat(directory_b, &status_b) == 0 && is_same(&status_a, &status_b);
    memory_free(directory_a);
    memory_free(directory_b);
    return status;
}

/* The outputs before this one must be other files, and so must the input unless it is replaced after it was read.
 */
static enum hysgd_status check_apart(const struct output_path *outputs, size_t index, const char *input) {
    const struct output_path *output = &outputs[index];
    bool are_same = false;
    for (size_t i = 0; i < index; i++) {
        if (outputs[i].path[0] == '\0')
            continue;
        HYSGD_TRY(compare_files(outputs[i].path, output->path, &are_same));
        if (are_same)
            return hysgd_fail(HYSGD_USAGE, "%s and %s would both write %s", outputs[i].key, output->key,
                              output->path);
    }
    if (input[0] == '\0' || output->manner == OUTPUT_ONLY_REPLACED)
        return HYSGD_OK;
    HYSGD_TRY(compare_files(input, output->path, &are_same));
    if (are_same)
        return hysgd_fail(HYSGD_USAGE, "%s=%s would overwrite %s, which is read", output->key, output->path, input);
    return HYSGD_OK;
}

enum hysgd_status output_paths_check(const struct output_path *outputs, size_t count, const char *input) {
    for (size_t i = 0; i < count; i++)
        if (outputs[i].path[0] != '\0') {
            HYSGD_TRY(check_path(&outputs[i]));
            HYSGD_TRY(check_apart(outputs, i, input));
        }
    return HYSGD_OK;
}
