/* SPDX-License-Identifier: Apache-2.0 */
/* What blocks and schedulers cost, on made-up ratings with unequally popular rows and columns (by default of the
 * shape of MovieLens 10M): the balance of each way of dealing, the speed of laying out, an epoch under each
 * scheduler with and without determinism, and modelled threads of equal and unequal speeds.
 *   build/release/bench/bench_lowrank_scheduler [ROWS COLUMNS RATINGS RANK] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/ratings.h"
#include "lowrank/factorize.h"
#include "lowrank/kernel.h"

enum { EPOCHS = 12, MODELLED_EPOCHS = 2 };

struct bench {
    uint32_t rows, columns, rank;
    uint64_t count;
    struct rating *given, *ratings; /* [count]: as made, and as laid out */
    struct kernel kernel;
    struct kernel_step step;
    struct factors factors;
    bool works; /* in the kernels */
    struct factorize_epoch best;
};

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_lowrank_scheduler: %s\n", hysgd_error_message());
    exit(hysgd_status_exit_code(status));
}

static void make_ratings(struct bench *bench) {
    struct random random;
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_DATA, 0);
    check(memory_alloc_vector(bench->count, sizeof *bench->given, &bench->given));
    check(memory_alloc_vector(bench->count, sizeof *bench->ratings, &bench->ratings));
    for (uint64_t i = 0; i < bench->count; i++) {
        double row = random_uniform(&random), column = random_uniform(&random);
        bench->given[i] =
            (struct rating){(uint32_t)(bench->rows * row * row), (uint32_t)(bench->columns * column * column),
                            (float)(1 + random_below(&random, 5))};
    }
}

static void open_model(struct bench *bench) {
    const struct kernel_setup setup = {
        .loss = FIT_SQUARED, .rule = RULE_CONSTANT, .isa = KERNEL_BEST, .rank = bench->rank, .l2 = {0.02f, 0.02f}};
    const struct factors_shape shape = {bench->rows, bench->columns, bench->rank, kernel_state(RULE_CONSTANT)};
    check(kernel_init(&bench->kernel, &setup));
    check(factors_init(&bench->factors, &shape));
    factors_start(&bench->factors, FACTORS_POSITIVE, 1, 1, 1);
    bench->step.rate = 0.005f;
}

/* Lays the ratings out anew; seconds. */
static double lay_out(struct bench *bench, int groups, int balance, struct team *team, struct blocks *blocks_out) {
    const struct blocks_setup setup = {.row_groups = groups,
                                       .column_groups = groups,
                                       .balance = balance,
                                       .vector_bytes =
                                           factors_bytes_each(bench->factors.rank, bench->factors.state),
                                       .seed = 1,
                                       .team = team};
    memcpy(bench->ratings, bench->given, bench->count * sizeof *bench->ratings);
    double begun = machine_seconds();
    check(blocks_make(bench->ratings, bench->count, bench->rows, bench->columns, &setup, blocks_out));
    return machine_seconds() - begun;
}

static void print_balance(struct bench *bench) {
    static const char *const words[] = {"natural", "permuted", "greedy", "heaviest"};
    struct team *team;
    check(team_start(machine_cores(), &team));
    printf("largest over mean block, 33 x 33:");
    for (int balance = BLOCKS_NATURAL; balance <= BLOCKS_HEAVIEST; balance++) {
        struct blocks blocks;
        lay_out(bench, 33, balance, team, &blocks);
        printf("  %s %.2f", words[balance], blocks_imbalance(&blocks));
        blocks_fini(&blocks);
    }
    printf("\n");
    team_stop(team);
}

static double visit(void *context, const struct tile *tile, const struct scheduler_task *task, int thread) {
    struct bench *bench = context;
    struct kernel_step step = bench->step;
    (void)thread;
    if (!bench->works)
        return 0;
    step.is_fixed[SIDE_ROWS] = task->sides == SCHEDULER_COLUMNS;
    step.is_fixed[SIDE_COLUMNS] = task->sides == SCHEDULER_ROWS;
    return kernel_run(&bench->kernel, &bench->factors, tile, &step);
}

static enum hysgd_status keep_best(void *context, const struct factorize_epoch *epoch, bool *stops_out) {
    struct bench *bench = context;
    (void)stops_out;
    if (epoch->epoch == 1 || epoch->seconds < bench->best.seconds)
        bench->best = *epoch;
    return HYSGD_OK;
}

/* Runs some epochs; the fastest is kept. Returns the seconds that laying out took. */
static double run(struct bench *bench, const char *name, int threads, bool is_deterministic,
                  const struct factorize_virtual *virtual_time, int *groups_out) {
    struct plugin scheduler;
    struct team *team;
    struct blocks blocks;
    check(plugin_open(&scheduler_list, name, &scheduler));
    check(team_start(virtual_time != NULL ? machine_cores() : threads, &team));
    int groups = factorize_groups(&scheduler, threads, is_deterministic, bench->count,
                                  bench->rows < bench->columns ? bench->rows : bench->columns);
    double seconds = lay_out(bench, groups, BLOCKS_HEAVIEST, team, &blocks);
    bench->works = virtual_time == NULL;
    const struct factorize_setup setup = {.blocks = &blocks,
                                          .scheduler = &scheduler,
                                          .team = team,
                                          .first_epoch = 1,
                                          .last_epoch = virtual_time != NULL ? MODELLED_EPOCHS : EPOCHS,
                                          .seed = 1,
                                          .is_deterministic = is_deterministic,
                                          .virtual_time = virtual_time,
                                          .work = {NULL, visit, keep_best, bench}};
    check(factorize(&setup));
    blocks_fini(&blocks);
    team_stop(team);
    plugin_close(&scheduler);
    *groups_out = groups;
    return seconds;
}

static void print_epoch(const struct bench *bench, const char *name, const char *how, int threads, int groups) {
    const struct factorize_epoch *epoch = &bench->best;
    double all = epoch->busy_seconds + epoch->scheduling_seconds + epoch->waiting_seconds;
    printf("%-8s %-14s %5d threads %5d groups  %8.1f M visits/s  scheduler %6.3f %%  waiting %6.2f %%\n", name, how,
           threads, groups, (double)epoch->visits / epoch->seconds / 1e6, 100 * epoch->scheduling_seconds / all,
           100 * epoch->waiting_seconds / all);
}

static void print_threads(struct bench *bench) {
    int cores = machine_cores();
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int threads = 1; threads <= cores;
             threads = threads < cores && 2 * threads > cores ? cores : 2 * threads)
            for (int is_deterministic = 0; is_deterministic < 2; is_deterministic++) {
                int groups;
                const char *name = scheduler_list.entries[i]->name;
                double seconds = run(bench, name, threads, is_deterministic, NULL, &groups);
                if (i == 0 && !is_deterministic)
                    printf("laid out by %d threads: %.1f M ratings/s\n", threads,
                           (double)bench->count / seconds / 1e6);
                print_epoch(bench, name, is_deterministic ? "deterministic" : "", threads, groups);
            }
}

/* Modelled threads that take 12.5 ns for a rating, or up to `slowest` times that, and 100 ns for a question. */
static void print_modelled(struct bench *bench, int threads, double slowest) {
    struct factorize_virtual virtual_time = {.threads = threads, .request_seconds = 100e-9};
    double *speeds;
    check(memory_alloc((size_t)threads, sizeof *speeds, &speeds));
    for (int i = 0; i < threads; i++)
        speeds[i] = 80e6 / (1 + (slowest - 1) * i / (threads - 1));
    virtual_time.speeds = speeds;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        int groups;
        char how[32];
        const char *name = scheduler_list.entries[i]->name;
        snprintf(how, sizeof how, slowest > 1 ? "slowest 1/%g" : "modelled", slowest);
        run(bench, name, threads, false, &virtual_time, &groups);
        print_epoch(bench, name, how, threads, groups);
    }
    memory_free(speeds);
}

int main(int argc, char **argv) {
    struct bench bench = {.rows = 69878, .columns = 10677, .count = 8000000, .rank = 16};
    if (argc == 5) {
        bench.rows = (uint32_t)strtoul(argv[1], NULL, 10);
        bench.columns = (uint32_t)strtoul(argv[2], NULL, 10);
        bench.count = (uint64_t)strtod(argv[3], NULL);
        bench.rank = (uint32_t)strtoul(argv[4], NULL, 10);
    } else if (argc != 1) {
        fprintf(stderr, "usage: bench_lowrank_scheduler [ROWS COLUMNS RATINGS RANK]\n");
        return 2;
    }
    printf("%u x %u, %llu ratings, rank %u\n", bench.rows, bench.columns, (unsigned long long)bench.count,
           bench.rank);
    make_ratings(&bench);
    open_model(&bench);
    print_balance(&bench);
    print_modelled(&bench, 64, 1);
    print_modelled(&bench, 64, 3);
    print_modelled(&bench, 1024, 1);
    print_threads(&bench);
    factors_fini(&bench.factors);
    memory_free(bench.given);
    memory_free(bench.ratings);
    return 0;
}
