/* SPDX-License-Identifier: Apache-2.0 */
/* Alternating: first the row factors learn while the column factors stand still, then the other way round; so
 * threads never meet, whatever they work on. X. Luo, H. Liu, G. Gou, Y. Xia and Q. Zhu, "A parallel matrix
 * factorization based recommender by alternating stochastic gradient decent", Engineering Applications of
 * Artificial Intelligence 25, 2012. A thread takes a whole row group (then column group) at a time, block by block.
 * All threads get the same number of groups, unless `blocks` says otherwise. Every rating is visited twice in an
 * epoch, once for each side. */
#include <stdatomic.h>

#include "base/memory.h"
#include "lowrank/grid.h"

/* Where a thread is in its group. */
struct asgd_thread {
    _Alignas(64) int group; /* among rows, then columns */
    int next, end;          /* blocks of the group */
    int shift;              /* the block that comes first */
};

struct asgd {
    int64_t blocks;
    struct scheduler_grid grid;
    struct asgd_thread *threads; /* [threads] */
    uint32_t *order;             /* [rows + columns]: row groups, then column groups, in random order */
    uint64_t epoch;
    _Alignas(64) _Atomic int taken;
    _Alignas(64) _Atomic uint64_t finished; /* blocks */
};

static const struct hysgd_option options[] = {
    GRID_OPTION(struct asgd, blocks),
    {.key = NULL},
};

static int asgd_groups(const void *self, int threads, uint64_t count) {
    const struct asgd *state = self;
    int groups = grid_groups(threads, count, threads);
    return state->blocks > 0 ? (int)state->blocks : groups / threads * threads;
}

static enum hysgd_status asgd_init(void *self, const struct scheduler_grid *grid) {
    struct asgd *state = self;
    state->grid = *grid;
    HYSGD_TRY(memory_alloc((size_t)grid->rows + (size_t)grid->columns, sizeof *state->order, &state->order));
    return memory_alloc((size_t)grid->threads, sizeof *state->threads, &state->threads);
}

static void asgd_fini(void *self) {
    struct asgd *state = self;
    memory_free(state->order);
    memory_free(state->threads);
    state->order = NULL;
    state->threads = NULL;
}

static void draw_order(uint32_t *order, int count, uint64_t *stream) {
    for (uint32_t i = 0; i < (uint32_t)count; i++) {
        uint32_t other = grid_draw(stream, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

static void asgd_begin(void *self, uint64_t epoch) {
    struct asgd *state = self;
    uint64_t stream = grid_stream(state->grid.seed, epoch, 0);
    state->epoch = epoch;
    draw_order(state->order, state->grid.rows, &stream);
    draw_order(state->order + state->grid.rows, state->grid.columns, &stream);
    for (int i = 0; i < state->grid.threads; i++)
        state->threads[i] = (struct asgd_thread){0};
    atomic_store_explicit(&state->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&state->finished, 0, memory_order_relaxed);
}

/* Gives the thread its next group, if there is one and its phase has begun. */
static enum scheduler_answer take_group(struct asgd *state, struct asgd_thread *own) {
    int rows = state->grid.rows, columns = state->grid.columns;
    int turn = atomic_load_explicit(&state->taken, memory_order_relaxed);
    do {
        if (turn >= rows + columns)
            return SCHEDULER_OVER;
        uint64_t before = turn < rows ? 0 : (uint64_t)rows * (uint64_t)columns;
        if (atomic_load_explicit(&state->finished, memory_order_acquire) < before)
            return SCHEDULER_WAIT;
    } while (!atomic_compare_exchange_weak_explicit(&state->taken, &turn, turn + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    own->group = turn < rows ? (int)state->order[turn] : rows + (int)state->order[turn];
    own->next = 0;
    own->end = turn < rows ? columns : rows;
    uint64_t stream = grid_stream(state->grid.seed, state->epoch, 1 + own->group);
    own->shift = (int)grid_draw(&stream, (uint32_t)own->end);
    return SCHEDULER_TASK;
}

static enum scheduler_answer asgd_next(void *self, int thread, struct scheduler_task *task_out) {
    struct asgd *state = self;
    struct asgd_thread *own = &state->threads[thread];
    if (own->next == own->end) {
        enum scheduler_answer answer = take_group(state, own);
        if (answer != SCHEDULER_TASK)
            return answer;
    }
    int other = (own->shift + own->next++) % own->end, rows = state->grid.rows;
    *task_out = own->group < rows ? (struct scheduler_task){own->group, other, SCHEDULER_ROWS}
                                  : (struct scheduler_task){other, own->group - rows, SCHEDULER_COLUMNS};
    return SCHEDULER_TASK;
}

static void asgd_done(void *self, int thread, const struct scheduler_task *task) {
    struct asgd *state = self;
    (void)thread, (void)task;
    atomic_fetch_add_explicit(&state->finished, 1, memory_order_acq_rel);
}

const struct scheduler_ops scheduler_asgd = {
    .about =
        {
            .name = "asgd",
            .summary = "the row factors learn while the column factors stand still, then the other way round",
            .source = "Luo et al., Engineering Applications of Artificial Intelligence 25, 2012",
            .size = sizeof(struct asgd),
            .options = options,
        },
    .passes = 2,
    .groups = asgd_groups,
    .init = asgd_init,
    .fini = asgd_fini,
    .begin = asgd_begin,
    .next = asgd_next,
    .done = asgd_done,
};
