/* SPDX-License-Identifier: Apache-2.0 */
/* No exclusion at all: threads take blocks in random order and change the same factors at the same time. F. Niu et
 * al., "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent", NIPS 2011. A block is only a
 * piece of work here; the races on the factors are meant, and lose a change now and then. */
#include <stdatomic.h>

#include "base/memory.h"
#include "lowrank/grid.h"

struct hogwild {
    int64_t blocks;
    struct scheduler_grid grid;
    uint32_t *order; /* [blocks of the grid] */
    uint32_t count;
    _Alignas(64) _Atomic uint32_t taken;
};

static const struct hysgd_option options[] = {
    GRID_OPTION(struct hogwild, blocks),
    {.key = NULL},
};

static int hogwild_groups(const void *self, int threads, uint64_t count) {
    const struct hogwild *state = self;
    return state->blocks > 0 ? (int)state->blocks : grid_groups(threads, count, threads);
}

static enum hysgd_status hogwild_init(void *self, const struct scheduler_grid *grid) {
    struct hogwild *state = self;
    state->grid = *grid;
    state->count = (uint32_t)grid->rows * (uint32_t)grid->columns;
    return memory_alloc(state->count, sizeof *state->order, &state->order);
}

static void hogwild_fini(void *self) {
    struct hogwild *state = self;
    memory_free(state->order);
    state->order = NULL;
}

static void hogwild_begin(void *self, uint64_t epoch) {
    struct hogwild *state = self;
    uint64_t stream = grid_stream(state->grid.seed, epoch, 0);
    for (uint32_t i = 0; i < state->count; i++) {
        uint32_t other = grid_draw(&stream, i + 1);
        state->order[i] = state->order[other];
        state->order[other] = i;
    }
    atomic_store_explicit(&state->taken, 0, memory_order_relaxed);
}

static enum scheduler_answer hogwild_next(void *self, int thread, struct scheduler_task *task_out) {
    struct hogwild *state = self;
    (void)thread;
    if (atomic_load_explicit(&state->taken, memory_order_relaxed) >= state->count)
        return SCHEDULER_OVER;
    uint32_t turn = atomic_fetch_add_explicit(&state->taken, 1, memory_order_relaxed);
    if (turn >= state->count)
        return SCHEDULER_OVER;
    uint32_t block = state->order[turn], columns = (uint32_t)state->grid.columns;
    *task_out = (struct scheduler_task){(int)(block / columns), (int)(block % columns), SCHEDULER_BOTH};
    return SCHEDULER_TASK;
}

static void hogwild_done(void *self, int thread, const struct scheduler_task *task) {
    (void)self, (void)thread, (void)task;
}

const struct scheduler_ops scheduler_hogwild = {
    .about =
        {
            .name = "hogwild",
            .summary = "threads change the same factors at the same time, without locks",
            .source = "Niu et al., NIPS 2011",
            .size = sizeof(struct hogwild),
            .options = options,
        },
    .may_conflict = true,
    .passes = 1,
    .groups = hogwild_groups,
    .init = hogwild_init,
    .fini = hogwild_fini,
    .begin = hogwild_begin,
    .next = hogwild_next,
    .done = hogwild_done,
};
