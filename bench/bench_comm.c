/* SPDX-License-Identifier: Apache-2.0 */
/* What messages between processes cost: half a round trip by length, an exchange of slices among all ranks (each
 * sends everyone its slice of a vector, then its own slice to all, as a synchronous update does), and the part of a
 * core that waiting takes. To be started with mpirun, 2 ranks or more; rank 0 prints medians. Argument: floats of
 * the vector, by default 25 million. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/machine.h"
#include "runtime/comm.h"

enum { RUNS = 11, MOST_BYTES = 4 << 20 };

static void count(void *self, const struct comm_completion *completion, size_t bytes) {
    int *left = self;
    (void)completion;
    (void)bytes;
    --*left;
}

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_comm: %s\n", hysgd_error_message());
    exit(1);
}

static void await(struct comm *comm, const int *left) {
    while (*left > 0) {
        int completed;
        check(comm_progress(comm, &completed));
        if (completed == 0)
            comm_rest(comm);
    }
}

static int compare_reals(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, RUNS, sizeof *values, compare_reals);
    return values[RUNS / 2];
}

/* Sends every other rank its piece and takes one from each; positions and lengths by rank. */
static void trade(struct comm *comm, uint32_t tag, const char *send, const size_t *send_at, const size_t *sent,
                  char *receive, const size_t *at, const size_t *received) {
    int left = 0, size = comm_size(comm), rank = comm_rank(comm);
    for (int i = 1; i < size; i++) {
        int from = (rank + size - i) % size, to = (rank + i) % size;
        left += 2;
        check(comm_receive(comm, from, tag, receive + at[from], received[from], count, &left));
        check(comm_send(comm, to, tag, send + send_at[to], sent[to], count, &left));
    }
    await(comm, &left);
}

static void meet(struct comm *comm) {
    static const size_t nowhere[64];
    char nothing = 0;
    trade(comm, 1, &nothing, nowhere, nowhere, &nothing, nowhere, nowhere);
}

/* Ranks 0 and 1; the others wait meanwhile, as the comm_rest of everyone is part of what is measured. */
static double half_round_trip(struct comm *comm, char *data, size_t bytes, int times) {
    int rank = comm_rank(comm), peer = 1 - rank;
    meet(comm);
    double begin = machine_seconds();
    for (int i = 0; rank < 2 && i < times; i++)
        for (int phase = 0; phase < 2; phase++) {
            int left = 1;
            if (phase == rank)
                check(comm_send(comm, peer, 2, data, bytes, count, &left));
            else
                check(comm_receive(comm, peer, 2, data, bytes, count, &left));
            await(comm, &left);
        }
    return (machine_seconds() - begin) / times / 2;
}

static double exchange(struct comm *comm, char *vector, char *parts, size_t floats) {
    static const size_t nowhere[64];
    int size = comm_size(comm), rank = comm_rank(comm);
    size_t first[64], bytes[64], at[64], own[64];
    for (int i = 0; i < size; i++) {
        first[i] = floats * (size_t)i / (size_t)size * sizeof(float);
        bytes[i] = floats * ((size_t)i + 1) / (size_t)size * sizeof(float) - first[i];
    }
    for (int i = 0; i < size; i++) {
        at[i] = (size_t)i * bytes[rank];
        own[i] = bytes[rank];
    }
    meet(comm);
    double begin = machine_seconds();
    trade(comm, 3, vector, first, bytes, parts, at, own);
    trade(comm, 4, parts, nowhere, own, vector, first, bytes);
    meet(comm);
    return machine_seconds() - begin;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* With receives from everybody under way, as a waiting rank has them. */
static double idle_part(struct comm *comm, double seconds) {
    static char bytes[64 * 16];
    meet(comm);
    for (int i = 0; i < comm_size(comm); i++)
        for (uint32_t tag = 0; tag < 16; tag++)
            check(comm_receive(comm, i, 100 + tag, &bytes[i * 16 + (int)tag], 1, NULL, NULL));
    double begin = machine_seconds(), cpu = cpu_seconds(), now;
    while ((now = machine_seconds()) - begin < seconds) {
        check(comm_progress(comm, NULL));
        comm_rest(comm);
    }
    return (cpu_seconds() - cpu) / (now - begin);
}

int main(int count_of_words, char **words) {
    static const struct {
        size_t bytes;
        int times;
    } messages[] = {{64, 2000}, {65536, 500}, {MOST_BYTES, 20}};
    size_t floats = count_of_words > 1 ? (size_t)strtoull(words[1], NULL, 10) : 25000000;
    struct comm *comm;
    check(comm_open(false, &comm));
    if (comm_size(comm) < 2 || comm_size(comm) > 64) {
        fprintf(stderr, "bench_comm: start it with mpirun and 2 to 64 ranks\n");
        return 2;
    }
    bool prints = comm_rank(comm) == 0;
    double seconds[RUNS];
    char *data = calloc(1, MOST_BYTES);
    char *vector = calloc(floats, sizeof(float)), *parts = calloc(floats + 64, sizeof(float));
    if (data == NULL || vector == NULL || parts == NULL)
        return 1;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        for (int run = 0; run < RUNS; run++)
            seconds[run] = half_round_trip(comm, data, messages[i].bytes, messages[i].times);
        if (prints)
            printf("%9zu bytes: %10.2f us\n", messages[i].bytes, 1e6 * median(seconds));
    }
    for (int run = 0; run < RUNS; run++)
        seconds[run] = exchange(comm, vector, parts, floats);
    if (prints)
        printf("exchange of %zu floats by %d ranks: %.2f ms\n", floats, comm_size(comm), 1e3 * median(seconds));
    double part = idle_part(comm, 3);
    if (prints)
        printf("waiting: %.1f %% of a core\n", 100 * part);
    free(data);
    free(vector);
    free(parts);
    comm_close(comm, true);
    return 0;
}
