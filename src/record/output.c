/* SPDX-License-Identifier: Apache-2.0 */
/* Opens, checks and closes the record's files. */
#include "record/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

#define SECONDS_BETWEEN_FLUSHES 0.25

static enum hysgd_status fail(const struct output *output, const char *what, int error) {
    const char *name = strcmp(output->path, "-") == 0 ? "standard output" : output->path;
    return hysgd_fail(HYSGD_OUTPUT, "%s: %s: %s", name, what, strerror(error));
}

/* The file is this process's alone, and empty. Two runs that write one file leave nothing that can be read. Where
 * files cannot be locked nobody is kept out. */
static enum hysgd_status claim(const struct output *output, int descriptor) {
    struct stat found;
    if (fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode))
        return HYSGD_OK;
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return hysgd_fail(HYSGD_OUTPUT,
                          "%s: another process is writing to it: expected a file that only this run writes",
                          output->path);
    return ftruncate(descriptor, 0) == 0 ? HYSGD_OK : fail(output, "cannot be opened for writing", errno);
}

/* Opens `path`, or the temporary file where there is one. */
static enum hysgd_status open_stream(struct output *output, int flags) {
    if (strcmp(output->path, "-") == 0) {
        output->stream = stdout;
        return HYSGD_OK;
    }
    const char *path = output->temporary != NULL ? output->temporary : output->path;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    if (descriptor < 0)
        return fail(output, "cannot be opened for writing", errno);
    enum hysgd_status status = claim(output, descriptor);
    if (status == HYSGD_OK && (output->stream = fdopen(descriptor, "w")) == NULL)
        status = fail(output, "cannot be opened for writing", errno);
    if (status != HYSGD_OK) {
        close(descriptor);
        return status;
    }
    setvbuf(output->stream, output->buffer, _IOFBF, sizeof output->buffer);
    return HYSGD_OK;
}

enum hysgd_status output_open(struct output *output, const char *path) {
    HYSGD_TRY(memory_copy_text(path, &output->path));
    return open_stream(output, 0);
}

/* A rename would replace a link rather than what it points to. */
static enum hysgd_status follow_link(struct output *output) {
    char target[PATH_MAX];
    if (realpath(output->path, target) == NULL)
        return HYSGD_OK; /* not there yet: nothing to follow */
    memory_free(output->path);
    output->path = NULL;
    return memory_copy_text(target, &output->path);
}

static enum hysgd_status open_temporary(struct output *output) {
    size_t size = strlen(output->path) + 32;
    HYSGD_TRY(memory_alloc(size, 1, &output->temporary));
    snprintf(output->temporary, size, "%s.%ld.tmp", output->path, (long)getpid());
    unlink(output->temporary); /* left behind by a killed process that had the same id */
    return open_stream(output, O_EXCL);
}

enum hysgd_status output_open_whole(struct output *output, const char *path) {
    HYSGD_TRY(memory_copy_text(path, &output->path));
    struct stat present;
    bool exists = stat(path, &present) == 0;
    if (strcmp(path, "-") == 0 || (exists && !S_ISREG(present.st_mode)))
        return open_stream(output, 0);
    if (exists)
        HYSGD_TRY(follow_link(output));
    return open_temporary(output);
}

/* Takes the temporary file out of the way of its name. */
static enum hysgd_status put_in_place(struct output *output) {
    if (rename(output->temporary, output->path) != 0)
        return fail(output, "cannot be put in place", errno);
    memory_free(output->temporary);
    output->temporary = NULL;
    return HYSGD_OK;
}

static enum hysgd_status copy_bytes(struct output *output, FILE *from, uint64_t bytes) {
    char piece[4096];
    while (bytes > 0) {
        size_t wanted = bytes < sizeof piece ? (size_t)bytes : sizeof piece, there = fread(piece, 1, wanted, from);
        if (there == 0)
            return fail(output, "cannot be read", ferror(from) ? errno : ENODATA);
        fwrite(piece, 1, there, output->stream); /* see output_check */
        bytes -= there;
    }
    HYSGD_TRY(output_check(output));
    return output_flush(output);
}

enum hysgd_status output_continue(struct output *output, const char *path, uint64_t bytes) {
    struct stat present;
    HYSGD_TRY(memory_copy_text(path, &output->path));
    if (stat(path, &present) != 0)
        return fail(output, "cannot be read", errno);
    if (!S_ISREG(present.st_mode))
        return fail(output, "cannot be gone on with", ESPIPE);
    HYSGD_TRY(follow_link(output));
    FILE *from = fopen(output->path, "re");
    if (from == NULL)
        return fail(output, "cannot be read", errno);
    enum hysgd_status status = open_temporary(output);
    if (status == HYSGD_OK)
        status = copy_bytes(output, from, bytes);
    fclose(from);
    return status == HYSGD_OK ? put_in_place(output) : status;
}

enum hysgd_status output_check(struct output *output) {
    if (!ferror(output->stream))
        return HYSGD_OK;
    return fail(output, "cannot be written", errno != 0 ? errno : EIO);
}

bool output_is_due(struct output *output) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (seconds - output->flushed_seconds < SECONDS_BETWEEN_FLUSHES)
        return false;
    output->flushed_seconds = seconds;
    return true;
}

enum hysgd_status output_flush(struct output *output) {
    if (fflush(output->stream) != 0)
        return fail(output, "cannot be written", errno);
    return HYSGD_OK;
}

enum hysgd_status output_pulse(struct output *output) {
    return output_is_due(output) ? output_flush(output) : HYSGD_OK;
}

/* Flushes and closes; the errno of the first thing that failed, or 0. */
static int close_stream(struct output *output) {
    FILE *stream = output->stream;
    output->stream = NULL;
    int error = ferror(stream) ? EIO : 0;
    if (fflush(stream) != 0 && error == 0)
        error = errno;
    if (stream == stdout)
        return error;
    /* Without the sync a crash after the rename could leave an empty file in the place of a good one. */
    if (error == 0 && output->temporary != NULL && fsync(fileno(stream)) != 0)
        error = errno;
    if (fclose(stream) != 0 && error == 0)
        error = errno;
    return error;
}

enum hysgd_status output_close(struct output *output) {
    int error = close_stream(output);
    if (error != 0)
        return fail(output, "cannot be written", error);
    return output->temporary != NULL ? put_in_place(output) : HYSGD_OK;
}

void output_fini(struct output *output) {
    if (output->stream != NULL)
        (void)close_stream(output);
    if (output->temporary != NULL)
        unlink(output->temporary);
    memory_free(output->temporary);
    memory_free(output->path);
    output->temporary = NULL;
    output->path = NULL;
}
