/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs over blocks with real and with modelled threads: what is visited, in which order, and the account. The
 * work is a hash of every row and column that a rating passes through, so that no change of order goes unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sched.h>
#include <string.h>

#include "data/folder.h"
#include "long.h"
#include "lowrank/factorize.h"
#include "lowrank/spread.h"

#define ROWS    100
#define COLUMNS 60
#define RATINGS 3000

struct probe {
    const struct blocks *blocks;
    _Atomic int visits[RATINGS]; /* of this epoch, as their two sides: 3 */
    _Atomic int row_users[64], column_users[64];
    _Atomic int conflicts;
    uint64_t rows[ROWS], columns[COLUMNS]; /* hashes */
    bool may_conflict;
    int epochs;
    int stop_after;           /* epochs; 0: never */
    enum hysgd_status status; /* of the end of an epoch */
    double value_of_loss;     /* each rating's */
    struct factorize_epoch latest;
    double seconds;
    int passes;
};

static void begin_epoch(void *context, int epoch) {
    struct probe *probe = context;
    (void)epoch;
    for (int i = 0; i < RATINGS; i++)
        atomic_store(&probe->visits[i], 0);
}

static uint64_t hash(uint64_t left, uint64_t right) {
    return (left ^ (right + UINT64_C(0x9e3779b97f4a7c15) + (left << 6) + (left >> 2))) *
           UINT64_C(0xbf58476d1ce4e5b9);
}

/* Takes part in the use of a group; what changes it must be alone. */
static void enter(struct probe *probe, _Atomic int *users, bool changes) {
    int before = atomic_fetch_add(users, changes ? 1000 : 1);
    if (changes ? before != 0 : before >= 1000)
        atomic_fetch_add(&probe->conflicts, 1);
}

static void leave(_Atomic int *users, bool changes) {
    atomic_fetch_sub(users, changes ? 1000 : 1);
}

static void mix_in(struct probe *probe, const struct tile *tile, const struct cell *cell,
                   enum scheduler_sides sides) {
    uint32_t row = tile->first_row + cell->row, column = tile->first_column + cell->column;
    uint64_t mixed = hash(hash(probe->rows[row], probe->columns[column]), (uint64_t)cell->value);
    if (sides != SCHEDULER_COLUMNS)
        probe->rows[row] = mixed;
    if (sides != SCHEDULER_ROWS)
        probe->columns[column] = mixed + 1;
}

static double visit(void *context, const struct tile *tile, const struct scheduler_task *task, int thread) {
    struct probe *probe = context;
    bool changes_row = task->sides != SCHEDULER_COLUMNS, changes_column = task->sides != SCHEDULER_ROWS;
    (void)thread;
    enter(probe, &probe->row_users[task->row], changes_row);
    enter(probe, &probe->column_users[task->column], changes_column);
    for (uint32_t i = 0; i < tile->count; i++) {
        atomic_fetch_add(&probe->visits[(int)tile->cells[i].value], changes_row + 2 * changes_column);
        if (!probe->may_conflict)
            mix_in(probe, tile, &tile->cells[i], task->sides);
    }
    sched_yield(); /* lets others run into a conflict */
    leave(&probe->row_users[task->row], changes_row);
    leave(&probe->column_users[task->column], changes_column);
    return tile->count * probe->value_of_loss;
}

static enum hysgd_status end_epoch(void *context, const struct factorize_epoch *epoch, bool *stops_out) {
    struct probe *probe = context;
    for (int i = 0; i < RATINGS; i++)
        assert_int_equal(atomic_load(&probe->visits[i]), 3);
    probe->epochs++;
    probe->latest = *epoch;
    probe->seconds += epoch->seconds;
    assert_int_equal(epoch->epoch, probe->epochs);
    assert_int_equal(epoch->visits, RATINGS * probe->passes);
    *stops_out = probe->epochs == probe->stop_after;
    if (probe->status != HYSGD_OK)
        return hysgd_fail(probe->status, "the end was told to fail");
    return HYSGD_OK;
}

/* Everything that a run needs. */
struct rig {
    struct spread spread;
    struct plugin scheduler;
    struct probe probe;
    struct factorize_setup setup;
};

static void rig_open(struct rig *rig, const char *scheduler, int threads, int groups) {
    *rig = (struct rig){0};
    assert_int_equal(plugin_open(&scheduler_list, scheduler, &rig->scheduler), HYSGD_OK);
    spread_open(
        &rig->spread, ROWS, COLUMNS, RATINGS,
        (struct blocks_setup){.row_groups = groups, .column_groups = groups, .balance = BLOCKS_HEAVIEST, .seed = 3},
        threads);
    rig->probe.blocks = &rig->spread.blocks;
    rig->probe.passes = scheduler_ops(&rig->scheduler)->passes;
    rig->setup = (struct factorize_setup){.blocks = &rig->spread.blocks,
                                          .scheduler = &rig->scheduler,
                                          .team = rig->spread.team,
                                          .first_epoch = 1,
                                          .last_epoch = 3,
                                          .seed = 5,
                                          .work = {begin_epoch, visit, end_epoch, &rig->probe}};
}

static void rig_close(struct rig *rig) {
    spread_close(&rig->spread);
    plugin_close(&rig->scheduler);
}

static const char *name_of(size_t scheduler) {
    return scheduler_list.entries[scheduler]->name;
}

static void every_rating_is_visited_once_an_epoch_without_conflicts(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int threads = 1; threads <= 5; threads++) {
            struct rig rig;
            rig_open(&rig, name_of(i), threads, threads + 1);
            bool may_conflict = scheduler_ops(&rig.scheduler)->may_conflict;
            rig.probe.may_conflict = may_conflict;
            rig.setup.last_epoch = long_count(3, 100);
            assert_int_equal(factorize(&rig.setup), HYSGD_OK);
            assert_int_equal(rig.probe.epochs, rig.setup.last_epoch);
            if (!may_conflict)
                assert_int_equal(rig.probe.conflicts, 0);
            rig_close(&rig);
        }
}

/* A hash of all that rows and columns went through. */
static uint64_t trace(const struct probe *probe) {
    uint64_t sum = 0;
    for (int i = 0; i < ROWS; i++)
        sum = hash(sum, probe->rows[i]);
    for (int i = 0; i < COLUMNS; i++)
        sum = hash(sum, probe->columns[i]);
    return sum;
}

static void determinism_gives_the_same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        uint64_t first = 0;
        for (int threads = 1; threads <= 5; threads++) {
            struct rig rig;
            rig_open(&rig, name_of(i), threads, 17);
            rig.setup.is_deterministic = true;
            rig.setup.last_epoch = long_count(3, 100);
            assert_int_equal(factorize(&rig.setup), HYSGD_OK);
            assert_int_equal(rig.probe.conflicts, 0);
            if (threads == 1)
                first = trace(&rig.probe);
            assert_int_equal(trace(&rig.probe), first);
            rig_close(&rig);
        }
    }
}

static void another_seed_gives_another_order(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        uint64_t traces[2];
        for (int seed = 0; seed < 2; seed++) {
            struct rig rig;
            rig_open(&rig, name_of(i), 1, 17);
            rig.setup.is_deterministic = true;
            rig.setup.seed = (uint64_t)seed;
            assert_int_equal(factorize(&rig.setup), HYSGD_OK);
            traces[seed] = trace(&rig.probe);
            rig_close(&rig);
        }
        assert_int_not_equal(traces[0], traces[1]);
    }
}

/* Four modelled threads, of which one is slow. */
static const double unequal[] = {1000, 1000, 1000, 250};

static void run_modelled(struct rig *rig, const char *scheduler, int groups, double request_seconds) {
    const struct factorize_virtual virtual_time = {4, unequal, request_seconds};
    rig_open(rig, scheduler, 1, groups);
    rig->setup.virtual_time = &virtual_time;
    assert_int_equal(factorize(&rig->setup), HYSGD_OK);
    rig->setup.virtual_time = NULL;
}

static void modelled_threads_give_the_same_run_again(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct rig one, again;
        run_modelled(&one, name_of(i), 8, 1e-3);
        run_modelled(&again, name_of(i), 8, 1e-3);
        assert_int_equal(trace(&one.probe), trace(&again.probe));
        assert_true(one.probe.latest.total_seconds == again.probe.latest.total_seconds);
        assert_true(one.probe.latest.waiting_seconds == again.probe.latest.waiting_seconds);
        assert_int_equal(one.probe.latest.requests, again.probe.latest.requests);
        rig_close(&one);
        rig_close(&again);
    }
}

static void a_run_taken_up_after_an_epoch_is_the_whole_run(void **state) {
    (void)state;
    const struct factorize_virtual virtual_time = {4, unequal, 0};
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct rig whole, halves;
        run_modelled(&whole, name_of(i), 8, 0);
        rig_open(&halves, name_of(i), 1, 8);
        halves.setup.virtual_time = &virtual_time;
        halves.setup.last_epoch = 1;
        assert_int_equal(factorize(&halves.setup), HYSGD_OK);
        halves.setup.first_epoch = 2;
        halves.setup.last_epoch = 3;
        assert_int_equal(factorize(&halves.setup), HYSGD_OK);
        assert_int_equal(trace(&whole.probe), trace(&halves.probe));
        rig_close(&whole);
        rig_close(&halves);
    }
}

static void all_seconds_of_modelled_threads_are_accounted_for(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct rig rig;
        run_modelled(&rig, name_of(i), 8, 1e-3);
        const struct factorize_epoch *epoch = &rig.probe.latest;
        double sum = epoch->busy_seconds + epoch->scheduling_seconds + epoch->waiting_seconds;
        assert_true(fabs(4 * epoch->seconds - sum) < 1e-9 * sum);
        assert_true(epoch->waiting_seconds >= 0);
        assert_true(epoch->scheduling_seconds >= 1e-3 * (double)epoch->requests * (1 - 1e-9));
        assert_int_equal(epoch->tasks, 64 * rig.probe.passes);
        assert_true(fabs(epoch->total_seconds - rig.probe.seconds) < 1e-9);
        rig_close(&rig);
    }
}

static void barriers_wait_for_a_slow_thread_and_free_blocks_do_not(void **state) {
    (void)state;
    struct rig strata, free_blocks;
    run_modelled(&strata, "dsgd", 4, 0);
    run_modelled(&free_blocks, "a2psgd", 16, 0);
    double waiting = strata.probe.latest.waiting_seconds / strata.probe.latest.seconds / 4;
    assert_true(waiting > 0.4); /* three of four wait three quarters of the time */
    assert_true(free_blocks.probe.latest.waiting_seconds / free_blocks.probe.latest.seconds / 4 < 0.1);
    assert_true(free_blocks.probe.latest.seconds < strata.probe.latest.seconds / 1.5);
    rig_close(&strata);
    rig_close(&free_blocks);
}

static void a_lock_makes_requests_wait_for_each_other(void **state) {
    (void)state;
    struct rig locked, lock_free;
    run_modelled(&locked, "fpsgd", 16, 0.01);
    run_modelled(&lock_free, "a2psgd", 16, 0.01);
    const struct factorize_epoch *one = &locked.probe.latest, *other = &lock_free.probe.latest;
    assert_true(one->scheduling_seconds / (double)one->requests > 0.011);
    assert_true(fabs(other->scheduling_seconds / (double)other->requests - 0.01) < 1e-6);
    rig_close(&locked);
    rig_close(&lock_free);
}

static void the_loss_is_the_sum_over_the_ratings(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct rig rig;
        rig_open(&rig, name_of(i), 2, 5);
        rig.probe.may_conflict = true;
        rig.probe.value_of_loss = 0.25;
        assert_int_equal(factorize(&rig.setup), HYSGD_OK);
        assert_true(rig.probe.latest.loss == 0.25 * RATINGS);
        rig_close(&rig);
    }
}

static void a_loss_that_is_no_number_ends_the_run(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int is_deterministic = 0; is_deterministic < 2; is_deterministic++) {
            struct rig rig;
            rig_open(&rig, name_of(i), 3, 5);
            rig.probe.may_conflict = true;
            rig.probe.value_of_loss = NAN;
            rig.setup.is_deterministic = is_deterministic;
            assert_int_equal(factorize(&rig.setup), HYSGD_DIVERGED);
            assert_string_equal(hysgd_error_message(), "the loss is not a finite number in epoch 1");
            assert_int_equal(rig.probe.epochs, 0);
            rig_close(&rig);
        }
}

static void the_end_of_an_epoch_can_end_the_run(void **state) {
    (void)state;
    struct rig rig;
    atomic_bool is_stopping = false;
    rig_open(&rig, "a2psgd", 2, 5);
    rig.probe.stop_after = 2;
    assert_int_equal(factorize(&rig.setup), HYSGD_OK);
    assert_int_equal(rig.probe.epochs, 2);
    rig.setup.first_epoch = 3;
    rig.setup.last_epoch = 9;
    rig.probe.status = HYSGD_TARGET;
    assert_int_equal(factorize(&rig.setup), HYSGD_TARGET);
    assert_int_equal(rig.probe.epochs, 3);
    atomic_store(&is_stopping, true);
    rig.setup.first_epoch = 4;
    rig.setup.is_stopping = &is_stopping;
    rig.probe.status = HYSGD_OK;
    assert_int_equal(factorize(&rig.setup), HYSGD_INTERRUPTED);
    assert_string_equal(hysgd_error_message(), "interrupted after epoch 4 of 9");
    rig_close(&rig);
}

/* A scheduler with a fault: it hands out the blocks of a row of the grid, the first `more` times again. */
struct faulty {
    int next, columns, all;
};

static enum hysgd_status faulty_init(void *self, const struct scheduler_grid *grid) {
    struct faulty *state = self;
    state->columns = grid->columns;
    return HYSGD_OK;
}

static void faulty_fini(void *self) {
    (void)self;
}

static void faulty_begin(void *self, uint64_t epoch) {
    (void)epoch;
    ((struct faulty *)self)->next = 0;
}

static enum scheduler_answer faulty_next(void *self, int thread, struct scheduler_task *task_out) {
    struct faulty *state = self;
    (void)thread;
    if (state->next == state->all)
        return SCHEDULER_OVER;
    int block = state->next++ % (state->columns * state->columns);
    *task_out = (struct scheduler_task){block / state->columns, block % state->columns, SCHEDULER_BOTH};
    return SCHEDULER_TASK;
}

static void faulty_done(void *self, int thread, const struct scheduler_task *task) {
    (void)self, (void)thread, (void)task;
}

static const struct scheduler_ops scheduler_faulty = {
    .about = {.name = "faulty", .summary = "for tests", .size = sizeof(struct faulty)},
    .passes = 1,
    .init = faulty_init,
    .fini = faulty_fini,
    .begin = faulty_begin,
    .next = faulty_next,
    .done = faulty_done,
};

static void a_scheduler_that_repeats_or_forgets_is_found_out(void **state) {
    (void)state;
    struct rig rig;
    struct faulty faulty = {.all = 10};
    struct plugin scheduler = {.ops = &scheduler_faulty.about, .self = &faulty};
    rig_open(&rig, "a2psgd", 1, 3);
    rig.setup.scheduler = &scheduler;
    assert_int_equal(factorize(&rig.setup), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "scheduler faulty: block 0, 0 was handed out twice in epoch 1");
    faulty.all = 8;
    assert_int_equal(factorize(&rig.setup), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "scheduler faulty: block 2, 2 was left out in epoch 1");
    rig.setup.is_deterministic = true;
    assert_int_equal(factorize(&rig.setup), HYSGD_FAILED);
    rig_close(&rig);
}

/* Replaces the rig's blocks by the same ones in a file. */
static void stream_blocks(struct rig *rig, struct folder *folder) {
    const char *path = folder_path(folder, "layout");
    assert_int_equal(blocks_write(&rig->spread.blocks, 1, path), HYSGD_OK);
    blocks_fini(&rig->spread.blocks);
    assert_int_equal(blocks_read(path, 1, true, NULL, rig->spread.team, &rig->spread.blocks), HYSGD_OK);
}

static void streamed_blocks_train_as_those_in_memory(void **state) {
    (void)state;
    uint64_t traces[2];
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        struct rig rig;
        struct folder folder;
        folder_open(&folder);
        rig_open(&rig, "a2psgd", 3, 17);
        if (is_streamed)
            stream_blocks(&rig, &folder);
        rig.setup.is_deterministic = true;
        assert_int_equal(factorize(&rig.setup), HYSGD_OK);
        traces[is_streamed] = trace(&rig.probe);
        rig_close(&rig);
        folder_close(&folder);
    }
    assert_int_equal(traces[0], traces[1]);
}

static void a_file_cut_under_way_ends_the_run(void **state) {
    (void)state;
    struct rig rig;
    struct folder folder;
    folder_open(&folder);
    rig_open(&rig, "a2psgd", 3, 17);
    stream_blocks(&rig, &folder);
    assert_int_equal(truncate(folder_path(&folder, "layout"), 20000), 0);
    assert_int_equal(factorize(&rig.setup), HYSGD_INPUT);
    assert_message("layout: ends too early");
    rig_close(&rig);
    folder_close(&folder);
}

static void the_grid_of_a_deterministic_run_does_not_depend_on_the_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct plugin scheduler;
        assert_int_equal(plugin_open(&scheduler_list, name_of(i), &scheduler), HYSGD_OK);
        int groups = factorize_groups(&scheduler, 1, true, 1000000, 5000);
        for (int threads = 2; threads <= 64; threads *= 2)
            assert_int_equal(factorize_groups(&scheduler, threads, true, 1000000, 5000), groups);
        assert_int_equal(factorize_groups(&scheduler, 64, false, 1000000, 7), 7);
        assert_int_equal(factorize_groups(&scheduler, 64, false, 0, 0), 1);
        plugin_close(&scheduler);
    }
}

static void a_run_without_memory_is_refused(void **state) {
    (void)state;
    const struct factorize_virtual virtual_time = {4, unequal, 0};
    for (int kind = 0; kind < 3; kind++) {
        struct rig rig;
        rig_open(&rig, "a2psgd", 2, 5);
        rig.setup.is_deterministic = kind == 1;
        rig.setup.virtual_time = kind == 2 ? &virtual_time : NULL;
        size_t before = memory_used();
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            rig.probe.epochs = 0;
            memory_fail_at(n);
            status = factorize(&rig.setup);
            memory_fail_at(0);
            assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
            assert_int_equal(memory_used(), before);
        }
        rig_close(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rating_is_visited_once_an_epoch_without_conflicts),
        cmocka_unit_test(determinism_gives_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(another_seed_gives_another_order),
        cmocka_unit_test(modelled_threads_give_the_same_run_again),
        cmocka_unit_test(a_run_taken_up_after_an_epoch_is_the_whole_run),
        cmocka_unit_test(all_seconds_of_modelled_threads_are_accounted_for),
        cmocka_unit_test(barriers_wait_for_a_slow_thread_and_free_blocks_do_not),
        cmocka_unit_test(a_lock_makes_requests_wait_for_each_other),
        cmocka_unit_test(the_loss_is_the_sum_over_the_ratings),
        cmocka_unit_test(a_loss_that_is_no_number_ends_the_run),
        cmocka_unit_test(the_end_of_an_epoch_can_end_the_run),
        cmocka_unit_test(a_scheduler_that_repeats_or_forgets_is_found_out),
        cmocka_unit_test(streamed_blocks_train_as_those_in_memory),
        cmocka_unit_test(a_file_cut_under_way_ends_the_run),
        cmocka_unit_test(the_grid_of_a_deterministic_run_does_not_depend_on_the_threads),
        cmocka_unit_test(a_run_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("factorize", tests, NULL, NULL);
}
