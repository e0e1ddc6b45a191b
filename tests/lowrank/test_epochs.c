/* SPDX-License-Identifier: Apache-2.0 */
/* Schedulers with the true kernels: factors learn under each, and under tsan only hogwild's races, which are meant,
 * are let pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "lowrank/factorize.h"
#include "lowrank/kernel.h"
#include "lowrank/spread.h"

#define ROWS    300
#define COLUMNS 200
#define RATINGS 20000
#define RANK    16

#ifdef HYSGD_SANITIZE
/* Threads change the same factors without locks: hogwild's reads and writes lie in learn_with_races, and nobody
 * else's.
 */
HYSGD_API const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:learn_with_races\n";
}
#endif

struct learner {
    struct kernel kernel;
    struct kernel_step step;
    struct factors factors;
    double loss;
};

static double learn(void *context, const struct tile *tile, const struct scheduler_task *task, int thread) {
    struct learner *learner = context;
    struct kernel_step step = learner->step;
    (void)thread;
    step.is_fixed[SIDE_ROWS] = task->sides == SCHEDULER_COLUMNS;
    step.is_fixed[SIDE_COLUMNS] = task->sides == SCHEDULER_ROWS;
    return kernel_run(&learner->kernel, &learner->factors, tile, &step);
}

__attribute__((noinline)) static double learn_with_races(void *context, const struct tile *tile,
                                                         const struct scheduler_task *task, int thread) {
    double loss = learn(context, tile, task, thread);
    return loss; /* no tail call, which would hide this function from the sanitizer */
}

static enum hysgd_status note_loss(void *context, const struct factorize_epoch *epoch, bool *stops_out) {
    (void)stops_out;
    ((struct learner *)context)->loss = epoch->loss / RATINGS;
    return HYSGD_OK;
}

static void learner_open(struct learner *learner, enum kernel_isa isa) {
    const struct kernel_setup setup = {
        .loss = FIT_SQUARED, .rule = RULE_CONSTANT, .isa = isa, .rank = RANK, .l2 = {0.01f, 0.01f}};
    *learner = (struct learner){.step = {.rate = 0.01f}};
    assert_int_equal(kernel_init(&learner->kernel, &setup), HYSGD_OK);
    const struct factors_shape shape = {ROWS, COLUMNS, RANK, kernel_state(RULE_CONSTANT)};
    assert_int_equal(factors_init(&learner->factors, &shape), HYSGD_OK);
    factors_start(&learner->factors, FACTORS_POSITIVE, 1, 1, 9);
}

/* Values that two factors explain. */
static void plant(struct spread *spread) {
    size_t tiles = blocks_tile_count(&spread->blocks);
    for (size_t i = 0; i < tiles; i++) {
        const struct tile *tile = &spread->blocks.tiles[i];
        struct cell *cells;
        memcpy(&cells, &tile->cells, sizeof cells);
        for (uint32_t k = 0; k < tile->count; k++) {
            uint32_t row = tile->first_row + cells[k].row, column = tile->first_column + cells[k].column;
            cells[k].value = 2 + (float)(sin(row) * cos(column));
        }
    }
}

/* Trains some epochs; the mean loss of the last. */
static double train(const char *name, int threads, enum kernel_isa isa, bool is_deterministic,
                    const struct factorize_virtual *virtual_time, uint64_t *hash_out) {
    struct plugin scheduler;
    struct spread spread;
    struct learner learner;
    assert_int_equal(plugin_open(&scheduler_list, name, &scheduler), HYSGD_OK);
    spread_open(&spread, ROWS, COLUMNS, RATINGS,
                (struct blocks_setup){.row_groups = 9, .column_groups = 9, .balance = BLOCKS_HEAVIEST, .seed = 3},
                threads);
    plant(&spread);
    learner_open(&learner, isa);
    bool has_races = scheduler_ops(&scheduler)->may_conflict && !is_deterministic;
    const struct factorize_setup setup = {
        .blocks = &spread.blocks,
        .scheduler = &scheduler,
        .team = spread.team,
        .first_epoch = 1,
        .last_epoch = 15,
        .seed = 5,
        .is_deterministic = is_deterministic,
        .virtual_time = virtual_time,
        .work = {NULL, has_races ? learn_with_races : learn, note_loss, &learner}};
    assert_int_equal(factorize(&setup), HYSGD_OK);
    *hash_out = 0;
    for (size_t i = 0; i < (size_t)ROWS * learner.factors.stride; i++) {
        uint32_t bits;
        memcpy(&bits, &learner.factors.sides[SIDE_ROWS].values[i], sizeof bits);
        *hash_out = (*hash_out ^ bits) * UINT64_C(1099511628211);
    }
    factors_fini(&learner.factors);
    spread_close(&spread);
    plugin_close(&scheduler);
    return learner.loss;
}

static void factors_learn_under_every_scheduler(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int threads = 1; threads <= 4; threads++) {
            uint64_t hash;
            double loss = train(scheduler_list.entries[i]->name, threads, KERNEL_BEST, false, NULL, &hash);
            assert_true(loss < 0.35); /* from about 4.5, with a variance of 0.25 */
        }
}

static void deterministic_factors_do_not_depend_on_threads_or_instructions(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        uint64_t first, other;
        double loss = train(scheduler_list.entries[i]->name, 1, KERNEL_PLAIN, true, NULL, &first);
        for (int threads = 2; threads <= 4; threads++) {
            assert_true(loss == train(scheduler_list.entries[i]->name, threads, KERNEL_BEST, true, NULL, &other));
            assert_int_equal(first, other);
        }
    }
}

static void a_thousand_modelled_threads_learn(void **state) {
    (void)state;
    double speeds[1024];
    for (int i = 0; i < 1024; i++)
        speeds[i] = 1e6 / (1 + i % 3);
    const struct factorize_virtual virtual_time = {1024, speeds, 1e-7};
    for (size_t i = 0; i < scheduler_list.count; i++) {
        uint64_t first, again;
        const char *name = scheduler_list.entries[i]->name;
        assert_true(train(name, 1, KERNEL_BEST, false, &virtual_time, &first) < 0.35);
        assert_true(train(name, 1, KERNEL_BEST, false, &virtual_time, &again) < 0.35);
        assert_int_equal(first, again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_learn_under_every_scheduler),
        cmocka_unit_test(deterministic_factors_do_not_depend_on_threads_or_instructions),
        cmocka_unit_test(a_thousand_modelled_threads_learn),
    };
    return cmocka_run_group_tests_name("epochs", tests, NULL, NULL);
}
