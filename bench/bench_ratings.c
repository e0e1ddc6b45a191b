/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a file of ratings is read, beside what limits it (reading the bytes and looking for the ends of the
 * lines, one thread) and the loop that a loader is usually made of (fscanf), all over the same file, which the
 * system has in memory, and how much memory that takes. Best of several runs, as the machine may be shared. The
 * file, 10 million ratings of the shape of MovieLens 10M, is written to the working directory; an argument names
 * another one, of user::item::value::time. Ends with 1 when a bar is missed. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/data.h"
#include "data/ratings_duplicates.h"
#include "data/ratings_split.h"

/* Processor time of fscanf over that of one thread, and the bytes of memory a rating as a run has it. */
#define SPEED_BAR  3.0
#define MEMORY_BAR 12.6

enum { RUNS = 5, BUFFER_BYTES = 256 << 10 };

static const char own_path[] = "bench_ratings.tmp";

struct reading {
    const char *path;
    double bytes;
    uint64_t count;
};

/* What is timed. Returns the number of ratings or lines, 0 where they are not counted. */
typedef uint64_t (*task)(struct reading *reading);

static void stop(const char *what) {
    fprintf(stderr, "bench_ratings: %s\n", what);
    exit(1);
}

static void must(enum hysgd_status status) {
    if (status != HYSGD_OK)
        stop(hysgd_error_message());
}

/* ---- The limit and the peer ---- */

static uint64_t pass_over(struct reading *reading, bool counts_lines) {
    static char buffer[BUFFER_BYTES];
    uint64_t lines = 0;
    ssize_t size;
    int descriptor = open(reading->path, O_RDONLY);
    if (descriptor < 0)
        stop("the file cannot be opened");
    while ((size = read(descriptor, buffer, sizeof buffer)) > 0)
        for (const char *at = buffer, *end = buffer + size;
             counts_lines && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
            lines++;
    close(descriptor);
    return lines;
}

static uint64_t read_bytes(struct reading *reading) {
    return pass_over(reading, false);
}

static uint64_t count_lines(struct reading *reading) {
    return pass_over(reading, true);
}

static uint64_t scan(struct reading *reading) {
    FILE *file = fopen(reading->path, "r");
    uint64_t count = 0;
    double sum = 0;
    unsigned user, item;
    float value;
    if (file == NULL)
        stop("the file cannot be opened");
    for (; fscanf(file, "%u::%u::%f%*[^\n]", &user, &item, &value) == 3; count++)
        sum += (double)value;
    fclose(file);
    return sum != 0 ? count : 0;
}

/* ---- The reader ---- */

static uint64_t read_with(struct reading *reading, int threads) {
    struct ratings ratings = {0};
    const struct ratings_format format = {.threads = threads};
    must(ratings_read(reading->path, &format, &ratings));
    uint64_t count = ratings.count;
    ratings_fini(&ratings);
    return count;
}

static uint64_t read_with_one(struct reading *reading) {
    return read_with(reading, 1);
}

static uint64_t read_with_all(struct reading *reading) {
    return read_with(reading, 0);
}

/* As a run does it: without duplicates, and with a tenth for the test. */
static uint64_t open_data(struct reading *reading) {
    char text[512];
    struct plugin data;
    snprintf(text, sizeof text, "ratings:\"%s\"", reading->path);
    must(plugin_open(&data_list, text, &data));
    must(data_ops(&data)->init(data.self, 1));
    uint64_t count = data_ratings(&data)->all.count;
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
    return count;
}

/* Of all threads together: other work on the machine counts little. */
static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Prints a line and returns the seconds of processor time. */
static double print_task(struct reading *reading, const char *name, task run) {
    double best = INFINITY, best_used = INFINITY;
    for (int i = 0; i < RUNS; i++) {
        double begun = machine_seconds(), begun_used = processor_seconds();
        uint64_t count = run(reading);
        double seconds = machine_seconds() - begun, used = processor_seconds() - begun_used;
        best = seconds < best ? seconds : best;
        best_used = used < best_used ? used : best_used;
        reading->count = count > 0 ? count : reading->count;
    }
    printf("%-42s %9.1f %9.1f %9.1f %9.2f\n", name, 1e3 * best_used, 1e3 * best,
           (double)reading->count / best * 1e-6, reading->bytes / best * 1e-9);
    fflush(stdout);
    return best_used;
}

/* ---- Scattered duplicates ---- */

/* Processor time to look for duplicates in ratings whose rows are in any order. */
static double time_scattered(struct reading *reading) {
    struct ratings ratings = {0};
    struct random random;
    must(ratings_read(reading->path, &(struct ratings_format){0}, &ratings));
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    for (uint64_t i = ratings.count; i > 1; i--) {
        uint64_t j = random_below(&random, i);
        struct rating rating = ratings.entries[i - 1];
        ratings.entries[i - 1] = ratings.entries[j];
        ratings.entries[j] = rating;
    }
    double begun = processor_seconds();
    must(ratings_drop_duplicates(&ratings, 0, RATINGS_DUPLICATES_LAST, "bench"));
    double seconds = processor_seconds() - begun;
    ratings_fini(&ratings);
    return seconds;
}

/* ---- The file ---- */

static void write_file(void) {
    struct plugin data;
    FILE *out = fopen(own_path, "w");
    if (out == NULL)
        stop("the working directory cannot be written to");
    must(plugin_open(&data_list, "planted:ml-10m,step=0.5,split=none", &data));
    must(data_ops(&data)->init(data.self, 1));
    const struct ratings_split *split = data_ratings(&data);
    for (uint64_t i = 0; i < split->train.count; i++) {
        const struct rating *rating = &split->train.entries[i];
        fprintf(out, "%u::%u::%g::%" PRIu64 "\n", rating->row + 1, rating->column + 1, (double)rating->value,
                UINT64_C(978300760) + i);
    }
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
    if (fclose(out) != 0)
        stop("the working directory is full");
}

/* In another process, whose memory does not count. */
static void write_apart(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        write_file();
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        stop("the file cannot be made");
}

static int print_all(struct reading *reading) {
    printf("%" PRIu64 " lines, %.1f MB, %d cores\n\n%-42s %9s %9s %9s %9s\n", reading->count, reading->bytes * 1e-6,
           machine_cores(), "", "CPU ms", "ms", "M/s", "GB/s");
    print_task(reading, "bytes read, one thread", read_bytes);
    print_task(reading, "and newlines found", count_lines);
    double peer = print_task(reading, "fscanf", scan);
    double one = print_task(reading, "ratings, one thread", read_with_one);
    print_task(reading, "ratings, a thread for each core", read_with_all);
    print_task(reading, "and duplicates looked for, test part cut", open_data);
    double memory = (double)memory_peak() / (double)reading->count;
    printf("%-42s %9.1f\n", "duplicates in shuffled ratings alone", 1e3 * time_scattered(reading));
    printf("\none thread against fscanf: %.1f times as fast (bar: %g)\nmemory: %.2f bytes a rating (bar: %g)\n",
           peer / one, SPEED_BAR, memory, MEMORY_BAR);
    return peer / one < SPEED_BAR || memory > MEMORY_BAR;
}

int main(int count, char **words) {
    struct stat status;
    struct reading reading = {.path = count > 1 ? words[1] : own_path};
    if (count < 2)
        write_apart();
    if (stat(reading.path, &status) != 0)
        stop("there is no such file");
    reading.bytes = (double)status.st_size;
    reading.count = count_lines(&reading);
    int missed = print_all(&reading);
    if (count < 2)
        unlink(own_path);
    return missed;
}
