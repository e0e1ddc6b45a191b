/* SPDX-License-Identifier: Apache-2.0 */
/* Strata with barriers: a stratum is a set of blocks no two of which share a row or a column group, here a diagonal
 * of the grid; its blocks are worked on in parallel, and the next stratum begins when all of them are done. R.
 * Gemulla et al., "Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent", KDD 2011. The
 * diagonals come in random order. As in the paper there is a block for each thread in a stratum, unless `blocks`
 * says more. */
#include <stdatomic.h>

#include "base/memory.h"
#include "lowrank/grid.h"

struct dsgd {
    int64_t blocks;
    struct scheduler_grid grid;
    uint32_t *shifts;      /* [strata]: in the order of this epoch */
    uint32_t strata, each; /* the longer side of the grid, and the shorter: the blocks of a stratum */
    _Alignas(64) _Atomic uint64_t taken, finished;
};

static const struct hysgd_option options[] = {
    GRID_OPTION(struct dsgd, blocks),
    {.key = NULL},
};

static int dsgd_groups(const void *self, int threads, uint64_t count) {
    const struct dsgd *state = self;
    (void)count;
    return state->blocks > 0 ? (int)state->blocks : threads;
}

static enum hysgd_status dsgd_init(void *self, const struct scheduler_grid *grid) {
    struct dsgd *state = self;
    state->grid = *grid;
    state->strata = (uint32_t)(grid->rows > grid->columns ? grid->rows : grid->columns);
    state->each = (uint32_t)(grid->rows > grid->columns ? grid->columns : grid->rows);
    return memory_alloc(state->strata, sizeof *state->shifts, &state->shifts);
}

static void dsgd_fini(void *self) {
    struct dsgd *state = self;
    memory_free(state->shifts);
    state->shifts = NULL;
}

static void dsgd_begin(void *self, uint64_t epoch) {
    struct dsgd *state = self;
    uint64_t stream = grid_stream(state->grid.seed, epoch, 0);
    for (uint32_t i = 0; i < state->strata; i++) {
        uint32_t other = grid_draw(&stream, i + 1);
        state->shifts[i] = state->shifts[other];
        state->shifts[other] = i;
    }
    atomic_store_explicit(&state->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&state->finished, 0, memory_order_relaxed);
}

static enum scheduler_answer dsgd_next(void *self, int thread, struct scheduler_task *task_out) {
    struct dsgd *state = self;
    uint64_t all = (uint64_t)state->strata * state->each;
    uint64_t turn = atomic_load_explicit(&state->taken, memory_order_relaxed);
    (void)thread;
    do {
        if (turn >= all)
            return SCHEDULER_OVER;
        uint64_t before = turn / state->each * state->each;
        if (atomic_load_explicit(&state->finished, memory_order_acquire) < before)
            return SCHEDULER_WAIT;
    } while (!atomic_compare_exchange_weak_explicit(&state->taken, &turn, turn + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    int along = (int)(turn % state->each), shift = (int)state->shifts[turn / state->each];
    int across = (along + shift) % (int)state->strata;
    bool is_wide = state->grid.columns >= state->grid.rows;
    *task_out = (struct scheduler_task){is_wide ? along : across, is_wide ? across : along, SCHEDULER_BOTH};
    return SCHEDULER_TASK;
}

static void dsgd_done(void *self, int thread, const struct scheduler_task *task) {
    struct dsgd *state = self;
    (void)thread, (void)task;
    atomic_fetch_add_explicit(&state->finished, 1, memory_order_acq_rel);
}

const struct scheduler_ops scheduler_dsgd = {
    .about =
        {
            .name = "dsgd",
            .summary = "strata of blocks that share nothing, with a barrier after each",
            .source = "Gemulla et al., KDD 2011",
            .size = sizeof(struct dsgd),
            .options = options,
        },
    .passes = 1,
    .groups = dsgd_groups,
    .init = dsgd_init,
    .fini = dsgd_fini,
    .begin = dsgd_begin,
    .next = dsgd_next,
    .done = dsgd_done,
};
