/* SPDX-License-Identifier: Apache-2.0 */
/* The same order of work for any number of threads: see ordered.h. A task waits until its row group and its column
 * group have had as many tasks as came before it in the play; one that changes rows only waits for its row group,
 * and the tasks after a change of sides wait for all before it. So `hogwild` conflicts no more, as there would be
 * no one result. */
#include "lowrank/ordered.h"

#include <stdatomic.h>

#include "base/memory.h"
#include "lowrank/simulate.h"

/* Tasks looked at for one that may begin. */
#define LOOK_AHEAD (4 * ORDERED_THREADS)

struct entry {
    struct scheduler_task task;
    uint32_t row_turn, column_turn; /* tasks of its groups before it, of those that change them */
    uint32_t after;                 /* tasks of all before the sides changed */
    _Atomic bool is_taken;
};

struct ordered_state {
    struct scheduler_grid grid; /* of the play */
    struct simulation *simulation;
    bool is_open;          /* the played scheduler's init has been called */
    struct entry *entries; /* [capacity], in the order of the play */
    uint32_t capacity, count;
    uint32_t *turns;                        /* [rows + columns] while playing */
    _Atomic uint32_t *done_turns;           /* [rows + columns]: tasks ended */
    _Alignas(64) _Atomic uint32_t first;    /* all entries before it are taken */
    _Alignas(64) _Atomic uint32_t finished; /* tasks ended */
};

static bool changes_rows(const struct scheduler_task *task) {
    return task->sides != SCHEDULER_COLUMNS;
}

static bool changes_columns(const struct scheduler_task *task) {
    return task->sides != SCHEDULER_ROWS;
}

static enum hysgd_status ordered_init(void *self, const struct scheduler_grid *grid) {
    struct ordered *ordered = self;
    struct ordered_state *state;
    HYSGD_TRY(memory_alloc(1, sizeof *state, &state));
    ordered->state = state;
    state->grid = *grid;
    state->grid.threads = ORDERED_THREADS;
    state->is_open = true;
    HYSGD_TRY(ordered->played->init(ordered->played_self, &state->grid));
    struct simulate_setup setup = {.ops = ordered->played, .self = ordered->played_self, .grid = &state->grid};
    HYSGD_TRY(simulation_alloc(&setup, &state->simulation));
    size_t groups = (size_t)grid->rows + (size_t)grid->columns;
    state->capacity = (uint32_t)grid->rows * (uint32_t)grid->columns * (uint32_t)ordered->played->passes;
    HYSGD_TRY(memory_alloc(groups, sizeof *state->turns, &state->turns));
    HYSGD_TRY(memory_alloc(groups, sizeof *state->done_turns, &state->done_turns));
    return memory_alloc(state->capacity, sizeof *state->entries, &state->entries);
}

static void ordered_fini(void *self) {
    struct ordered *ordered = self;
    struct ordered_state *state = ordered->state;
    if (state == NULL)
        return;
    if (state->is_open)
        ordered->played->fini(ordered->played_self);
    simulation_free(state->simulation);
    memory_free(state->entries);
    memory_free(state->turns);
    memory_free(state->done_turns);
    memory_free(state);
    ordered->state = NULL;
}

/* Appends a task; its turns are those of its groups so far. */
static bool note_task(void *context, const struct scheduler_task *task) {
    struct ordered_state *state = context;
    if (state->count == state->capacity)
        return false; /* the epoch's account will tell */
    struct entry *entry = &state->entries[state->count];
    uint32_t *row = &state->turns[task->row], *column = &state->turns[state->grid.rows + task->column];
    const struct entry *before = state->count > 0 ? entry - 1 : entry;
    entry->task = *task;
    entry->row_turn = changes_rows(task) ? (*row)++ : 0;
    entry->column_turn = changes_columns(task) ? (*column)++ : 0;
    entry->after = state->count == 0 ? 0 : before->task.sides == task->sides ? before->after : state->count;
    atomic_store_explicit(&entry->is_taken, false, memory_order_relaxed);
    state->count++;
    return true;
}

static void ordered_begin(void *self, uint64_t epoch) {
    struct ordered *ordered = self;
    struct ordered_state *state = ordered->state;
    struct simulate_account account;
    for (int i = 0; i < state->grid.rows + state->grid.columns; i++) {
        state->turns[i] = 0;
        atomic_store_explicit(&state->done_turns[i], 0, memory_order_relaxed);
    }
    state->count = 0;
    atomic_store_explicit(&state->first, 0, memory_order_relaxed);
    atomic_store_explicit(&state->finished, 0, memory_order_relaxed);
    ordered->played->begin(ordered->played_self, epoch);
    if (simulate_epoch(state->simulation, note_task, state, &account) != HYSGD_OK)
        state->count = 0; /* no block is handed out, which the epoch's account will tell */
}

static bool may_begin(const struct ordered_state *state, const struct entry *entry) {
    const _Atomic uint32_t *row = &state->done_turns[entry->task.row];
    const _Atomic uint32_t *column = &state->done_turns[state->grid.rows + entry->task.column];
    return atomic_load_explicit(&state->finished, memory_order_acquire) >= entry->after &&
           (!changes_rows(&entry->task) || atomic_load_explicit(row, memory_order_acquire) == entry->row_turn) &&
           (!changes_columns(&entry->task) ||
            atomic_load_explicit(column, memory_order_acquire) == entry->column_turn);
}

static enum scheduler_answer ordered_next(void *self, int thread, struct scheduler_task *task_out) {
    struct ordered_state *state = ((struct ordered *)self)->state;
    uint32_t first = atomic_load_explicit(&state->first, memory_order_relaxed), looked = 0;
    (void)thread;
    for (uint32_t i = first; i < state->count && looked < LOOK_AHEAD; i++) {
        struct entry *entry = &state->entries[i];
        if (atomic_load_explicit(&entry->is_taken, memory_order_relaxed)) {
            if (i == first) /* another thread may set it back, which only makes the next look longer */
                atomic_store_explicit(&state->first, ++first, memory_order_relaxed);
            continue;
        }
        looked++;
        if (!may_begin(state, entry) || atomic_exchange_explicit(&entry->is_taken, true, memory_order_relaxed))
            continue;
        *task_out = entry->task;
        return SCHEDULER_TASK;
    }
    return looked == 0 ? SCHEDULER_OVER : SCHEDULER_WAIT;
}

static void ordered_done(void *self, int thread, const struct scheduler_task *task) {
    struct ordered_state *state = ((struct ordered *)self)->state;
    (void)thread;
    if (changes_rows(task))
        atomic_fetch_add_explicit(&state->done_turns[task->row], 1, memory_order_release);
    if (changes_columns(task))
        atomic_fetch_add_explicit(&state->done_turns[state->grid.rows + task->column], 1, memory_order_release);
    atomic_fetch_add_explicit(&state->finished, 1, memory_order_release);
}

const struct scheduler_ops scheduler_ordered = {
    .about =
        {
            .name = "ordered",
            .summary = "another scheduler's order, for any number of threads",
            .size = sizeof(struct ordered),
        },
    .passes = 1,
    .init = ordered_init,
    .fini = ordered_fini,
    .begin = ordered_begin,
    .next = ordered_next,
    .done = ordered_done,
};
