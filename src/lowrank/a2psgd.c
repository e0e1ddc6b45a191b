/* SPDX-License-Identifier: Apache-2.0 */
/* A lock-free scheduler: every row group and every column group has one atomic flag; a thread sets the flag of a
 * row group, then that of a column group whose block is left, and lets the row group go when it finds none. Threads
 * are answered at the same time, and who holds both flags shares its factors with nobody. The scheduler of A2PSGD
 * (arXiv 2408.16592, as far as its abstract tells), which has threads + 1 groups a side: `blocks`. Flags are bits
 * of words, so that a look finds a free one among 64. Ours is the choice of the row group, which keeps the end of
 * an epoch from waiting for one row: a thread stays with its own while that has no fewer blocks left than the mean,
 * as its factors are in the thread's cache, and else begins at the one of two random ones that has more left. */
#include <stdatomic.h>

#include "base/memory.h"
#include "lowrank/grid.h"

struct a2psgd_flags {
    _Alignas(64) _Atomic uint64_t taken; /* a bit a group */
};

struct a2psgd_row {
    _Alignas(64) _Atomic int left; /* blocks of the row group not yet handed out; changed by its holder */
};

struct a2psgd_thread {
    _Alignas(64) uint64_t stream;
    int row; /* held last */
};

struct a2psgd {
    int64_t blocks;
    struct scheduler_grid grid;
    int row_words, column_words;
    struct a2psgd_flags *rows, *columns;  /* [row_words], [column_words] */
    struct a2psgd_row *each;              /* [rows] */
    uint64_t *left;                       /* [rows][column_words]: blocks not yet handed out; the row's holder's */
    struct a2psgd_thread *threads;        /* [threads] */
    _Alignas(64) _Atomic int64_t untaken; /* blocks */
};

static const struct hysgd_option options[] = {
    GRID_OPTION(struct a2psgd, blocks),
    {.key = NULL},
};

static int a2psgd_groups(const void *self, int threads, uint64_t count) {
    const struct a2psgd *state = self;
    return state->blocks > 0 ? (int)state->blocks : grid_groups(threads, count, threads + 1);
}

static enum hysgd_status a2psgd_init(void *self, const struct scheduler_grid *grid) {
    struct a2psgd *state = self;
    state->grid = *grid;
    state->row_words = grid_words(grid->rows);
    state->column_words = grid_words(grid->columns);
    size_t rows = (size_t)grid->rows, words = (size_t)state->column_words;
    HYSGD_TRY(memory_alloc((size_t)state->row_words, sizeof *state->rows, &state->rows));
    HYSGD_TRY(memory_alloc(words, sizeof *state->columns, &state->columns));
    HYSGD_TRY(memory_alloc(rows, sizeof *state->each, &state->each));
    HYSGD_TRY(memory_alloc(rows * words, sizeof *state->left, &state->left));
    return memory_alloc((size_t)grid->threads, sizeof *state->threads, &state->threads);
}

static void a2psgd_fini(void *self) {
    struct a2psgd *state = self;
    memory_free(state->rows);
    memory_free(state->columns);
    memory_free(state->each);
    memory_free(state->left);
    memory_free(state->threads);
    state->rows = state->columns = NULL;
    state->each = NULL;
    state->left = NULL;
    state->threads = NULL;
}

static void a2psgd_begin(void *self, uint64_t epoch) {
    struct a2psgd *state = self;
    int rows = state->grid.rows, columns = state->grid.columns;
    for (int i = 0; i < state->row_words; i++)
        atomic_store_explicit(&state->rows[i].taken, 0, memory_order_relaxed);
    for (int i = 0; i < state->column_words; i++)
        atomic_store_explicit(&state->columns[i].taken, 0, memory_order_relaxed);
    for (int row = 0; row < rows; row++) {
        grid_fill(state->left + (size_t)row * (size_t)state->column_words, columns);
        atomic_store_explicit(&state->each[row].left, columns, memory_order_relaxed);
    }
    for (int i = 0; i < state->grid.threads; i++)
        state->threads[i] = (struct a2psgd_thread){grid_stream(state->grid.seed, epoch, i), -1};
    atomic_store_explicit(&state->untaken, (int64_t)rows * columns, memory_order_relaxed);
}

/* Sets a flag; false when another thread has set it. */
static bool take(struct a2psgd_flags *flags, int group) {
    uint64_t bit = UINT64_C(1) << group % 64;
    _Atomic uint64_t *word = &flags[group / 64].taken;
    if (atomic_load_explicit(word, memory_order_relaxed) & bit)
        return false;
    return (atomic_fetch_or_explicit(word, bit, memory_order_acquire) & bit) == 0;
}

static void release(struct a2psgd_flags *flags, int group) {
    atomic_fetch_and_explicit(&flags[group / 64].taken, ~(UINT64_C(1) << group % 64), memory_order_release);
}

/* Takes a column group, from `from` on, whose block of the row group, which the thread holds, is left; -1: none. */
static int take_column(struct a2psgd *state, int row, int from) {
    uint64_t *left = state->left + (size_t)row * (size_t)state->column_words;
    for (int i = 0; i < state->column_words; i++) {
        int word = (from / 64 + i) % state->column_words;
        uint64_t free;
        while ((free = left[word] & ~atomic_load_explicit(&state->columns[word].taken, memory_order_relaxed)) !=
               0) {
            int column = 64 * word + grid_member(free, i == 0 ? from % 64 : 0);
            if (!take(state->columns, column))
                continue;
            left[word] &= ~(UINT64_C(1) << column % 64);
            return column;
        }
    }
    return -1;
}

static bool take_block(struct a2psgd *state, int thread, int row, struct scheduler_task *task_out) {
    struct a2psgd_thread *own = &state->threads[thread];
    _Atomic int *left = &state->each[row].left;
    if (atomic_load_explicit(left, memory_order_relaxed) == 0 || !take(state->rows, row))
        return false;
    int column = take_column(state, row, (int)grid_draw(&own->stream, (uint32_t)state->grid.columns));
    if (column < 0) {
        release(state->rows, row);
        return false;
    }
    atomic_store_explicit(left, atomic_load_explicit(left, memory_order_relaxed) - 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&state->untaken, 1, memory_order_relaxed);
    own->row = row;
    *task_out = (struct scheduler_task){row, column, SCHEDULER_BOTH};
    return true;
}

/* Whether the row group that the thread held last has no fewer blocks left than the mean of all. */
static bool may_stay(struct a2psgd *state, int row, int64_t untaken) {
    return row >= 0 &&
           (int64_t)atomic_load_explicit(&state->each[row].left, memory_order_relaxed) * state->grid.rows >=
               untaken;
}

static enum scheduler_answer a2psgd_next(void *self, int thread, struct scheduler_task *task_out) {
    struct a2psgd *state = self;
    struct a2psgd_thread *own = &state->threads[thread];
    int rows = state->grid.rows;
    int64_t untaken = atomic_load_explicit(&state->untaken, memory_order_relaxed);
    if (untaken == 0)
        return SCHEDULER_OVER;
    if (may_stay(state, own->row, untaken) && take_block(state, thread, own->row, task_out))
        return SCHEDULER_TASK;
    int first = (int)grid_draw(&own->stream, (uint32_t)rows), other = (int)grid_draw(&own->stream, (uint32_t)rows);
    if (atomic_load_explicit(&state->each[other].left, memory_order_relaxed) >
        atomic_load_explicit(&state->each[first].left, memory_order_relaxed))
        first = other;
    for (int i = 0; i < rows; i++)
        if (take_block(state, thread, (first + i) % rows, task_out))
            return SCHEDULER_TASK;
    return atomic_load_explicit(&state->untaken, memory_order_relaxed) == 0 ? SCHEDULER_OVER : SCHEDULER_WAIT;
}

static void a2psgd_done(void *self, int thread, const struct scheduler_task *task) {
    struct a2psgd *state = self;
    (void)thread;
    release(state->columns, task->column);
    release(state->rows, task->row);
}

const struct scheduler_ops scheduler_a2psgd = {
    .about =
        {
            .name = "a2psgd",
            .summary = "threads take a free row group and a free column group by atomic flags, without a lock",
            .source = "arXiv 2408.16592",
            .size = sizeof(struct a2psgd),
            .options = options,
        },
    .passes = 1,
    .groups = a2psgd_groups,
    .init = a2psgd_init,
    .fini = a2psgd_fini,
    .begin = a2psgd_begin,
    .next = a2psgd_next,
    .done = a2psgd_done,
};
