/* SPDX-License-Identifier: Apache-2.0 */
/* What every scheduler promises, asked of each that is listed and of the order that determinism makes of it.
 * Threads are played here, in random order; tests/lowrank has them for real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "long.h"
#include "lowrank/ordered.h"

#define MOST_PLAYERS 70

/* A scheduler, plain or made deterministic. */
struct subject {
    struct plugin plugin;
    struct ordered ordered;
    const struct scheduler_ops *ops;
    void *self;
};

struct player {
    bool has_task;
    struct scheduler_task task;
};

/* An epoch that is played. */
struct play {
    const struct subject *subject;
    struct scheduler_grid grid;
    struct player players[MOST_PLAYERS];
    int *row_users, *column_users; /* tasks that use a group; a task that changes it counts CHANGES */
    unsigned char *visits;         /* [rows][columns]: 1 rows, 2 columns */
    int holding;
    uint64_t trace;
};

#define CHANGES 1000

static void subject_open(struct subject *subject, size_t entry, bool is_ordered) {
    const struct hysgd_plugin *about = scheduler_list.entries[entry];
    *subject = (struct subject){0};
    assert_int_equal(plugin_open(&scheduler_list, about->name, &subject->plugin), HYSGD_OK);
    subject->ops = scheduler_ops(&subject->plugin);
    subject->self = subject->plugin.self;
    if (is_ordered) {
        subject->ordered = (struct ordered){.played = subject->ops, .played_self = subject->self};
        subject->ops = &scheduler_ordered;
        subject->self = &subject->ordered;
    }
}

static void subject_close(struct subject *subject) {
    subject->ops->fini(subject->self);
    plugin_close(&subject->plugin);
}

static void play_open(struct play *play, const struct subject *subject, int threads, int rows, int columns) {
    static const uint64_t no_counts[1];
    *play = (struct play){.subject = subject, .grid = {threads, rows, columns, no_counts, 11}};
    uint64_t *counts;
    assert_int_equal(memory_alloc((size_t)rows * (size_t)columns, sizeof *counts, &counts), HYSGD_OK);
    for (int i = 0; i < rows * columns; i++)
        counts[i] = 1 + (uint64_t)(i * 7919 % 100);
    play->grid.counts = counts;
    assert_int_equal(memory_alloc((size_t)rows, sizeof(int), &play->row_users), HYSGD_OK);
    assert_int_equal(memory_alloc((size_t)columns, sizeof(int), &play->column_users), HYSGD_OK);
    assert_int_equal(memory_alloc((size_t)rows * (size_t)columns, 1, &play->visits), HYSGD_OK);
    assert_int_equal(subject->ops->init(subject->self, &play->grid), HYSGD_OK);
}

static void play_close(struct play *play) {
    uint64_t *counts;
    memcpy(&counts, &play->grid.counts, sizeof counts);
    memory_free(counts);
    memory_free(play->row_users);
    memory_free(play->column_users);
    memory_free(play->visits);
}

static void use(struct play *play, const struct scheduler_task *task, int sign) {
    play->row_users[task->row] += sign * (task->sides == SCHEDULER_COLUMNS ? 1 : CHANGES);
    play->column_users[task->column] += sign * (task->sides == SCHEDULER_ROWS ? 1 : CHANGES);
}

static void expect_alone(const struct play *play, const struct scheduler_task *task) {
    int row = play->row_users[task->row], column = play->column_users[task->column];
    assert_true(task->sides == SCHEDULER_COLUMNS ? row < CHANGES : row == CHANGES);
    assert_true(task->sides == SCHEDULER_ROWS ? column < CHANGES : column == CHANGES);
}

static void take(struct play *play, struct player *player) {
    const struct scheduler_task *task = &player->task;
    assert_in_range(task->row, 0, play->grid.rows - 1);
    assert_in_range(task->column, 0, play->grid.columns - 1);
    int block = task->row * play->grid.columns + task->column;
    int change = task->sides == SCHEDULER_BOTH ? 3 : task->sides == SCHEDULER_ROWS ? 1 : 2;
    assert_int_equal(play->visits[block] & change, 0);
    play->visits[block] |= (unsigned char)change;
    play->trace = (play->trace ^ (uint64_t)(4 * block + change)) * UINT64_C(1099511628211);
    use(play, task, 1);
    if (!play->subject->ops->may_conflict)
        expect_alone(play, task);
    player->has_task = true;
    play->holding++;
}

static void finish(struct play *play, int thread) {
    struct player *player = &play->players[thread];
    use(play, &player->task, -1);
    player->has_task = false;
    play->holding--;
    play->subject->ops->done(play->subject->self, thread, &player->task);
}

/* Plays an epoch: whoever is drawn asks, or finishes with its task. Returns how often somebody had to wait. */
static uint64_t play_epoch(struct play *play, uint64_t epoch, uint64_t draws) {
    const struct scheduler_ops *ops = play->subject->ops;
    struct random random;
    uint64_t waits = 0, in_vain = 0; /* answers in a row, while nobody holds a task */
    int over = 0;
    bool is_over[MOST_PLAYERS] = {false};
    random_init(&random, draws, RANDOM_NO_WORKER, RANDOM_TEST, epoch);
    memset(play->visits, 0, (size_t)play->grid.rows * (size_t)play->grid.columns);
    ops->begin(play->subject->self, epoch);
    while (over < play->grid.threads || play->holding > 0) {
        int thread = (int)random_below(&random, (uint64_t)play->grid.threads);
        struct player *player = &play->players[thread];
        if (player->has_task) {
            finish(play, thread);
            continue;
        }
        enum scheduler_answer answer = ops->next(play->subject->self, thread, &player->task);
        if (answer == SCHEDULER_TASK)
            take(play, player);
        over += answer == SCHEDULER_OVER && !is_over[thread];
        is_over[thread] |= answer == SCHEDULER_OVER;
        assert_false(answer == SCHEDULER_TASK && is_over[thread]);
        waits += answer == SCHEDULER_WAIT;
        in_vain = play->holding > 0 ? 0 : in_vain + 1;
        assert_true(in_vain < 100 * MOST_PLAYERS); /* else everyone waits for ever */
    }
    for (int i = 0; i < play->grid.rows * play->grid.columns; i++)
        assert_int_equal(play->visits[i], 3);
    return waits;
}

static const struct {
    int threads, rows, columns;
} grids[] = {{1, 1, 1}, {1, 3, 3},    {2, 1, 4},   {2, 3, 3},   {3, 2, 5},    {3, 5, 2},
             {4, 4, 4}, {16, 17, 17}, {4, 64, 64}, {8, 9, 130}, {64, 65, 65}, {70, 3, 3}};

static void each_block_is_handed_out_once_an_epoch_and_conflicts_with_none(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * scheduler_list.count; i++)
        for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
            struct subject subject;
            struct play play;
            subject_open(&subject, i / 2, i % 2 == 1);
            play_open(&play, &subject, grids[k].threads, grids[k].rows, grids[k].columns);
            for (uint64_t epoch = 1; epoch <= (uint64_t)long_count(4, 100); epoch++)
                play_epoch(&play, epoch, epoch);
            play_close(&play);
            subject_close(&subject);
        }
}

static void the_order_of_an_epoch_depends_on_its_number_alone(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * scheduler_list.count; i++) {
        uint64_t traces[2];
        for (int run = 0; run < 2; run++) {
            struct subject subject;
            struct play play;
            subject_open(&subject, i / 2, i % 2 == 1);
            play_open(&play, &subject, 3, 7, 7);
            for (uint64_t epoch = 1; run == 1 && epoch < 5; epoch++)
                play_epoch(&play, epoch, epoch);
            play.trace = 0;
            play_epoch(&play, 5, 5);
            traces[run] = play.trace;
            play_close(&play);
            subject_close(&subject);
        }
        assert_int_equal(traces[0], traces[1]);
    }
}

static void epochs_differ_in_their_order(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct subject subject;
        struct play play;
        subject_open(&subject, i, false);
        play_open(&play, &subject, 1, 7, 7);
        play_epoch(&play, 1, 1);
        uint64_t first = play.trace;
        play.trace = 0;
        play_epoch(&play, 2, 1);
        assert_int_not_equal(play.trace, first);
        play_close(&play);
        subject_close(&subject);
    }
}

static void nobody_waits_while_there_are_more_groups_than_threads(void **state) {
    (void)state;
    const char *names[] = {"a2psgd", "fpsgd"};
    for (size_t i = 0; i < scheduler_list.count; i++) {
        struct subject subject;
        struct play play;
        subject_open(&subject, i, false);
        play_open(&play, &subject, 4, 40, 40);
        uint64_t waits = play_epoch(&play, 1, 1);
        for (size_t k = 0; k < 2; k++)
            if (strcmp(subject.ops->about.name, names[k]) == 0)
                assert_true(waits < 40); /* of 1600 tasks: the end of the epoch */
        play_close(&play);
        subject_close(&subject);
    }
}

static void the_chosen_grid_has_room_for_every_thread(void **state) {
    (void)state;
    const uint64_t counts[] = {0, 1, 1000000, UINT64_C(1) << 40};
    for (size_t i = 0; i < scheduler_list.count; i++)
        for (int threads = 1; threads <= 1024; threads *= 2)
            for (size_t k = 0; k < 4; k++) {
                struct subject subject;
                subject_open(&subject, i, false);
                int groups = subject.ops->groups(subject.self, threads, counts[k]);
                assert_in_range(groups, threads, 16384);
                plugin_close(&subject.plugin);
            }
}

static void a_stated_grid_is_taken(void **state) {
    (void)state;
    for (size_t i = 0; i < scheduler_list.count; i++) {
        char text[64];
        struct plugin plugin;
        snprintf(text, sizeof text, "%s,blocks=33", scheduler_list.entries[i]->name);
        assert_int_equal(plugin_open(&scheduler_list, text, &plugin), HYSGD_OK);
        assert_int_equal(scheduler_ops(&plugin)->groups(plugin.self, 2, 1000000), 33);
        plugin_close(&plugin);
    }
}

static void a_scheduler_without_memory_is_refused(void **state) {
    (void)state;
    static const uint64_t counts[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const struct scheduler_grid grid = {3, 3, 3, counts, 1};
    for (size_t i = 0; i < 2 * scheduler_list.count; i++) {
        struct subject subject;
        subject_open(&subject, i / 2, i % 2 == 1);
        size_t before = memory_used();
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            memory_fail_at(n);
            status = subject.ops->init(subject.self, &grid);
            memory_fail_at(0);
            assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
            subject.ops->fini(subject.self);
            assert_int_equal(memory_used(), before);
        }
        subject_close(&subject);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_block_is_handed_out_once_an_epoch_and_conflicts_with_none),
        cmocka_unit_test(the_order_of_an_epoch_depends_on_its_number_alone),
        cmocka_unit_test(epochs_differ_in_their_order),
        cmocka_unit_test(nobody_waits_while_there_are_more_groups_than_threads),
        cmocka_unit_test(the_chosen_grid_has_room_for_every_thread),
        cmocka_unit_test(a_stated_grid_is_taken),
        cmocka_unit_test(a_scheduler_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("schedulers", tests, NULL, NULL);
}
