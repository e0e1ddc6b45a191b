/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing a file as a whole: see replacement.h. */
#include "checkpoint/replacement.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum hysgd_status fail_system(const char *what) {
    return hysgd_fail(HYSGD_OUTPUT, "%s: %s", what, strerror(errno));
}

/* Follows links to the file that is to be replaced. */
static enum hysgd_status resolve(const char *path, char real[static PATH_MAX]) {
    struct stat stat_of;
    if (strlen(path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return fail_system("cannot be written");
    }
    if (realpath(path, real) != NULL) {
        if (stat(real, &stat_of) != 0)
            return fail_system("cannot be examined");
        if (!S_ISREG(stat_of.st_mode))
            return hysgd_fail(HYSGD_OUTPUT, "cannot be replaced: is not a regular file");
        return HYSGD_OK;
    }
    if (errno != ENOENT)
        return fail_system("cannot be written");
    if (lstat(path, &stat_of) == 0)
        return hysgd_fail(HYSGD_OUTPUT, "cannot be written: is a link to a file that does not exist");
    strcpy(real, path);
    return HYSGD_OK;
}

static enum hysgd_status open_folder(struct replacement *replacement, const char *path) {
    char real[PATH_MAX];
    HYSGD_TRY(resolve(path, real));
    char *slash = strrchr(real, '/');
    const char *name = slash == NULL ? real : slash + 1;
    if (name[0] == '\0')
        return hysgd_fail(HYSGD_OUTPUT, "cannot be written: expected the name of a file");
    if (strlen(name) > NAME_MAX) {
        errno = ENAMETOOLONG;
        return fail_system("cannot be written");
    }
    strcpy(replacement->name, name);
    if (slash != NULL)
        *slash = '\0';
    strcpy(replacement->folder_path, slash == NULL ? "." : slash == real ? "/" : real);
    replacement->folder = open(replacement->folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return replacement->folder < 0 ? fail_system("its directory cannot be opened") : HYSGD_OK;
}

#define MOST_TRIES 1000

/* Not mkstemp: with O_EXCL the kernel applies the umask, which a thread cannot read safely. */
static enum hysgd_status open_temporary(struct replacement *replacement, uint64_t number) {
    for (uint64_t i = number; i < number + MOST_TRIES; i++) {
        /* Cut so that the longest allowed name still gets its suffix. */
        snprintf(replacement->temporary, sizeof replacement->temporary, "%.200s.%ld-%" PRIu64 ".tmp",
                 replacement->name, (long)getpid(), i);
        replacement->file =
            openat(replacement->folder, replacement->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (replacement->file >= 0)
            return HYSGD_OK;
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    return fail_system("no temporary file can be made beside it");
}

enum hysgd_status replacement_open(struct replacement *replacement, const char *path, uint64_t number) {
    HYSGD_TRY(open_folder(replacement, path));
    enum hysgd_status status = open_temporary(replacement, number);
    if (status != HYSGD_OK)
        close(replacement->folder);
    return status;
}

enum hysgd_status replacement_reserve(const struct replacement *replacement, uint64_t bytes) {
    int failed;
    do
        failed = bytes > 0 ? fallocate(replacement->file, 0, 0, (off_t)bytes) : 0;
    while (failed != 0 && errno == EINTR);
    if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        failed = ftruncate(replacement->file, (off_t)bytes);
    return failed != 0 ? fail_system("cannot be written") : HYSGD_OK;
}

enum hysgd_status replacement_write(int file, uint64_t offset, const void *data, uint64_t bytes) {
    const char *next = data;
    while (bytes > 0) {
        size_t chunk = bytes > 1 << 30 ? 1 << 30 : (size_t)bytes; /* the kernel stops short of 2 GiB anyway */
        ssize_t written = pwrite(file, next, chunk, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail_system("cannot be written");
        next += written;
        offset += (uint64_t)written;
        bytes -= (uint64_t)written;
    }
    return HYSGD_OK;
}

enum hysgd_status replacement_sync(int file) {
    while (fsync(file) != 0) {
        if (errno != EINTR)
            return fail_system("cannot be brought to the disk");
    }
    return HYSGD_OK;
}

/* Some file systems cannot sync a directory and say EINVAL; they have nothing better to offer. */
static enum hysgd_status sync_folder(int folder) {
    while (fsync(folder) != 0) {
        if (errno == EINVAL)
            return HYSGD_OK;
        if (errno != EINTR)
            return fail_system("is written, but its directory cannot be brought to the disk");
    }
    return HYSGD_OK;
}

enum hysgd_status replacement_commit(struct replacement *replacement) {
    enum hysgd_status status = replacement_sync(replacement->file);
    if (close(replacement->file) != 0 && status == HYSGD_OK)
        status = fail_system("cannot be written");
    if (status == HYSGD_OK &&
        renameat(replacement->folder, replacement->temporary, replacement->folder, replacement->name) != 0)
        status = fail_system("cannot be replaced");
    if (status != HYSGD_OK)
        unlinkat(replacement->folder, replacement->temporary, 0);
    else
        status = sync_folder(replacement->folder);
    close(replacement->folder);
    return status;
}

void replacement_abort(struct replacement *replacement) {
    close(replacement->file);
    unlinkat(replacement->folder, replacement->temporary, 0);
    close(replacement->folder);
}
