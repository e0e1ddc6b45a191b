/* SPDX-License-Identifier: Apache-2.0 */
/* Ratings a second that one core visits in a tile whose factors fit its second-level cache. Peers, timed in turns
 * with the kernels: the bare plain step, written out for one rank at a time with nothing around it, and the roof,
 * which is how often that cache can deliver and take back the factors of a rating. The best of several passes, in
 * the thread's own time. A word on the command line chooses one instruction set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/vector.h"
#include "lowrank/kernel.h"

enum { RATINGS = 100000, PASSES = 15, TILE_BYTES = 512 << 10 };

static const uint32_t ranks[] = {16, 32, 64, 128};
enum { RANK_COUNT = sizeof ranks / sizeof *ranks };

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_lowrank_kernel: %s\n", hysgd_error_message());
    exit(hysgd_status_exit_code(status));
}

/* Of this thread: other work on the machine does not count. */
static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- Peers ---- */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define BARE_CODE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BARE_CODE
#endif

typedef float vector __attribute__((vector_size(64)));
typedef int places __attribute__((vector_size(64)));

/* Every lane becomes the sum of all. */
#define FOLD(sum)                                                                                                  \
    sum += __builtin_shuffle(sum, (places){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});                 \
    sum += __builtin_shuffle(sum, (places){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});                 \
    sum += __builtin_shuffle(sum, (places){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});                 \
    sum += __builtin_shuffle(sum, (places){1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14})

/* The plain step on shuffled cells, with vectors of 16 floats. */
#define BARE(rank)                                                                                                 \
    BARE_CODE static void bare_##rank(float *rows, float *columns, const struct cell *cells, float rate,           \
                                      float l2) {                                                                  \
        for (int i = 0; i < RATINGS; i++) {                                                                        \
            vector *p = (vector *)(void *)(rows + (size_t)cells[i].row * rank);                                    \
            vector *q = (vector *)(void *)(columns + (size_t)cells[i].column * rank);                              \
            vector sum = p[0] * q[0];                                                                              \
            for (int c = 1; c < rank / 16; c++)                                                                    \
                sum += p[c] * q[c];                                                                                \
            FOLD(sum);                                                                                             \
            const vector push = rate * (cells[i].value - sum);                                                     \
            const float keep = 1 - rate * l2;                                                                      \
            for (int c = 0; c < rank / 16; c++) {                                                                  \
                const vector old = p[c];                                                                           \
                p[c] = keep * old + push * q[c];                                                                   \
                q[c] = keep * q[c] + push * old;                                                                   \
            }                                                                                                      \
        }                                                                                                          \
    }
BARE(16)
BARE(32)
BARE(64)
BARE(128)

static double time_bare(uint32_t rank, struct factors *factors, const struct cell *cells) {
    float *rows = factors->sides[SIDE_ROWS].values, *columns = factors->sides[SIDE_COLUMNS].values;
    double begun = now_seconds();
    (rank == 16   ? bare_16
     : rank == 32 ? bare_32
     : rank == 64 ? bare_64
                  : bare_128)(rows, columns, cells, 0.001f, 0.05f);
    return now_seconds() - begun;
}

/* Bytes a second of reading and writing back a buffer of a tile's size, a line at a time. */
VECTOR_CODE static void change_all(float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        values[i] = values[i] * 0.5f + 1;
}

static double time_cache(float *buffer) {
    double begun = now_seconds();
    for (int i = 0; i < 20; i++)
        change_all(buffer, TILE_BYTES / sizeof *buffer);
    return (now_seconds() - begun) / (20.0 * 2 * TILE_BYTES);
}

/* ---- Kernels ---- */

struct measured {
    double kernel, bare; /* seconds a rating */
    double byte;         /* seconds a byte of the cache */
};

struct subject {
    struct kernel kernel;
    struct factors factors;
    struct cell *cells; /* [RATINGS] */
    struct kernel_step step;
    uint32_t rank;
};

static void subject_init(struct subject *subject, const struct kernel_setup *setup, bool is_frozen) {
    struct random random;
    struct factors one = {.stride = setup->rank, .state = kernel_state(setup->rule)};
    uint32_t side = (uint32_t)(TILE_BYTES / factors_bytes_each(one.rank, one.state) / 2);
    const struct factors_shape shape = {side, side, setup->rank, one.state};
    check(kernel_init(&subject->kernel, setup));
    check(factors_init(&subject->factors, &shape));
    check(memory_alloc(RATINGS, sizeof *subject->cells, &subject->cells));
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    for (int i = 0; i < RATINGS; i++)
        subject->cells[i] =
            (struct cell){(uint16_t)random_below(&random, side), (uint16_t)random_below(&random, side),
                          (float)(1 + random_below(&random, 5))};
    subject->rank = setup->rank;
    subject->step = (struct kernel_step){
        .rate = setup->rule >= RULE_ADAGRAD ? 0.1f : 0.001f, .momentum = 0.5f, .is_frozen = is_frozen};
}

static void subject_fini(struct subject *subject) {
    factors_fini(&subject->factors);
    memory_free(subject->cells);
}

static double time_kernel(struct subject *subject) {
    const struct tile tile = {.cells = subject->cells, .count = RATINGS};
    factors_start(&subject->factors, FACTORS_POSITIVE, 1, 1, 1);
    double begun = now_seconds();
    double loss = kernel_run(&subject->kernel, &subject->factors, &tile, &subject->step);
    double seconds = now_seconds() - begun;
    if (!(loss > 0)) {
        fprintf(stderr, "bench_lowrank_kernel: the loss is %g\n", loss);
        exit(1);
    }
    return seconds;
}

static double least(double one, double other) {
    return one < other ? one : other;
}

static struct measured measure(const struct kernel_setup *setup, bool is_frozen, float *buffer) {
    struct subject subject;
    struct measured best = {1e9, 1e9, 1e9};
    subject_init(&subject, setup, is_frozen);
    for (int pass = 0; pass < PASSES; pass++) {
        best.kernel = least(best.kernel, time_kernel(&subject) / RATINGS);
        factors_start(&subject.factors, FACTORS_POSITIVE, 1, 1, 1);
        best.bare = least(best.bare, time_bare(setup->rank, &subject.factors, subject.cells) / RATINGS);
        best.byte = least(best.byte, time_cache(buffer));
    }
    subject_fini(&subject);
    return best;
}

/* Bytes of a rating that go to the kernel and back. */
static double bytes_of(const struct kernel_setup *setup) {
    double matrices = kernel_state(setup->rule) == FACTORS_NO_STATE ? 1 : 2;
    double extra = setup->rule == RULE_ADAGRAD2 || setup->has_biases ? 16 : 0;
    return 2 * 2 * (matrices * 4 * setup->rank + extra);
}

static void print_rule(const char *name, struct kernel_setup setup, bool is_frozen, float *buffer) {
    printf("%-8s %-22s", kernel_isa_name(setup.isa), name);
    for (int k = 0; k < RANK_COUNT; k++) {
        setup.rank = ranks[k];
        struct measured measured = measure(&setup, is_frozen, buffer);
        printf("  %6.1f %5.2f %5.2f", 1e-6 / measured.kernel, measured.bare / measured.kernel,
               bytes_of(&setup) * measured.byte / measured.kernel);
        fflush(stdout);
    }
    printf("\n");
}

static void print_isa(enum kernel_isa isa, float *buffer) {
    const struct kernel_setup plain = {.isa = isa, .l2 = {0.05f, 0.05f}, .bias_l2 = 0.05f};
    struct kernel_setup setup = plain;
    print_rule("constant", setup, false, buffer);
    setup.rule = RULE_NESTEROV;
    print_rule("nesterov", setup, false, buffer);
    setup.rule = RULE_ADAGRAD;
    print_rule("adagrad", setup, false, buffer);
    setup.rule = RULE_ADAGRAD2;
    print_rule("adagrad2", setup, false, buffer);
    print_rule("adagrad2, first epoch", setup, true, buffer);
    setup.has_biases = true;
    print_rule("adagrad2, biases", setup, false, buffer);
    setup.rule = RULE_CONSTANT;
    print_rule("constant, biases", setup, false, buffer);
    setup = plain;
    setup.loss = FIT_LOGISTIC;
    print_rule("constant, logistic", setup, false, buffer);
}

int main(int argc, char **argv) {
    float *buffer;
    check(memory_alloc_vector(TILE_BYTES, 1, &buffer));
    memset(buffer, 0, TILE_BYTES);
    printf("ratings in millions a second, x the bare plain step, share of the cache's bandwidth\n%-31s", "");
    for (int k = 0; k < RANK_COUNT; k++)
        printf("  rank %-15u", ranks[k]);
    printf("\n");
    for (enum kernel_isa isa = kernel_best_isa(); isa >= KERNEL_PLAIN; isa--)
        if (argc < 2 ? isa != KERNEL_PLAIN : strcmp(argv[1], kernel_isa_name(isa)) == 0)
            print_isa(isa, buffer);
    memory_free(buffer);
    return 0;
}
