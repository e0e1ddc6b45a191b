/* SPDX-License-Identifier: Apache-2.0 */
/* A locked scheduler of free blocks: whoever asks gets, under one lock, a random block among those least updated
 * whose row group and column group nobody holds. Y. Zhuang, W.-S. Chin, Y.-C. Juan and C.-J. Lin, "A Fast Parallel
 * SGD for Matrix Factorization in Shared Memory Systems", RecSys 2013 (FPSGD). There an epoch is a number of
 * updates, and a block may be one ahead of another; here no block comes again before all have come, so the least
 * updated are those left in the epoch. Needs more groups than threads, that there be a choice. */
#include <pthread.h>

#include "base/memory.h"
#include "lowrank/grid.h"

struct fpsgd {
    int64_t blocks;
    struct scheduler_grid grid;
    pthread_mutex_t lock; /* of what follows */
    bool has_lock;
    int words;          /* of a set of column groups */
    uint64_t *left;     /* [rows][words]: blocks that have not been handed out in this epoch */
    uint64_t *columns;  /* [words]: that nobody holds */
    bool *is_row_taken; /* [rows] */
    uint64_t untaken;   /* blocks in `left` */
    uint64_t stream;
};

static const struct hysgd_option options[] = {
    GRID_OPTION(struct fpsgd, blocks),
    {.key = NULL},
};

static int fpsgd_groups(const void *self, int threads, uint64_t count) {
    const struct fpsgd *state = self;
    return state->blocks > 0 ? (int)state->blocks : grid_groups(threads, count, threads + 1);
}

static enum hysgd_status fpsgd_init(void *self, const struct scheduler_grid *grid) {
    struct fpsgd *state = self;
    state->grid = *grid;
    state->words = grid_words(grid->columns);
    state->has_lock = pthread_mutex_init(&state->lock, NULL) == 0;
    size_t words = (size_t)state->words, rows = (size_t)grid->rows;
    HYSGD_TRY(memory_alloc(rows * words, sizeof *state->left, &state->left));
    HYSGD_TRY(memory_alloc(words, sizeof *state->columns, &state->columns));
    return memory_alloc(rows, sizeof *state->is_row_taken, &state->is_row_taken);
}

static void fpsgd_fini(void *self) {
    struct fpsgd *state = self;
    memory_free(state->left);
    memory_free(state->columns);
    memory_free(state->is_row_taken);
    state->left = state->columns = NULL;
    state->is_row_taken = NULL;
    if (state->has_lock)
        pthread_mutex_destroy(&state->lock);
    state->has_lock = false;
}

static void fpsgd_begin(void *self, uint64_t epoch) {
    struct fpsgd *state = self;
    state->stream = grid_stream(state->grid.seed, epoch, 0);
    state->untaken = (uint64_t)state->grid.rows * (uint64_t)state->grid.columns;
    grid_fill(state->columns, state->grid.columns);
    for (int row = 0; row < state->grid.rows; row++) {
        grid_fill(state->left + (size_t)row * (size_t)state->words, state->grid.columns);
        state->is_row_taken[row] = false;
    }
}

/* A column group from `from` on, cyclically, whose block of this row is left and free; -1: none. */
static int find_column(const struct fpsgd *state, int row, int from) {
    const uint64_t *left = state->left + (size_t)row * (size_t)state->words;
    for (int i = 0; i <= state->words; i++) {
        int word = (from / 64 + i) % state->words;
        uint64_t free = left[word] & state->columns[word];
        if (free != 0)
            return 64 * word + grid_member(free, i == 0 ? from % 64 : 0);
    }
    return -1;
}

static bool take_free(struct fpsgd *state, struct scheduler_task *task_out) {
    int rows = state->grid.rows, first = (int)grid_draw(&state->stream, (uint32_t)rows);
    int from = (int)grid_draw(&state->stream, (uint32_t)state->grid.columns);
    for (int i = 0; i < rows; i++) {
        int row = (first + i) % rows, column = state->is_row_taken[row] ? -1 : find_column(state, row, from);
        if (column < 0)
            continue;
        uint64_t bit = UINT64_C(1) << column % 64;
        state->left[(size_t)row * (size_t)state->words + (size_t)column / 64] &= ~bit;
        state->columns[column / 64] &= ~bit;
        state->is_row_taken[row] = true;
        state->untaken--;
        *task_out = (struct scheduler_task){row, column, SCHEDULER_BOTH};
        return true;
    }
    return false;
}

static enum scheduler_answer fpsgd_next(void *self, int thread, struct scheduler_task *task_out) {
    struct fpsgd *state = self;
    (void)thread;
    pthread_mutex_lock(&state->lock);
    bool is_over = state->untaken == 0, has_task = !is_over && take_free(state, task_out);
    pthread_mutex_unlock(&state->lock);
    return is_over ? SCHEDULER_OVER : has_task ? SCHEDULER_TASK : SCHEDULER_WAIT;
}

static void fpsgd_done(void *self, int thread, const struct scheduler_task *task) {
    struct fpsgd *state = self;
    (void)thread;
    pthread_mutex_lock(&state->lock);
    state->columns[task->column / 64] |= UINT64_C(1) << task->column % 64;
    state->is_row_taken[task->row] = false;
    pthread_mutex_unlock(&state->lock);
}

const struct scheduler_ops scheduler_fpsgd = {
    .about =
        {
            .name = "fpsgd",
            .summary = "a random free block among the least updated, chosen under one lock",
            .source = "Zhuang et al., RecSys 2013",
            .size = sizeof(struct fpsgd),
            .options = options,
        },
    .is_serial = true,
    .passes = 1,
    .groups = fpsgd_groups,
    .init = fpsgd_init,
    .fini = fpsgd_fini,
    .begin = fpsgd_begin,
    .next = fpsgd_next,
    .done = fpsgd_done,
};
