/* SPDX-License-Identifier: Apache-2.0 */
/* Training over blocks: see factorize.h. The threads' side, the epochs, and their account. */
#include "lowrank/factorize.h"

#include <math.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/machine.h"
#include "base/memory.h"
#include "lowrank/ordered.h"
#include "lowrank/simulate.h"

/* What the work on a block has changed in this epoch. */
enum { CHANGED_ROWS = 1, CHANGED_COLUMNS = 2, CHANGED_BOTH = 3 };

/* A thread's part in an epoch. */
struct part {
    _Alignas(64) double busy, scheduling, waiting; /* seconds */
    struct cell *buffer;                           /* for a streamed tile; kept from epoch to epoch */
    double ended;                                  /* on the machine's clock */
    uint64_t visits, tasks, requests;
};

#define MESSAGE_BYTES 512

struct drive {
    const struct factorize_setup *setup;
    const struct scheduler_ops *ops; /* of the scheduler, or of `ordered` around it */
    void *self;
    struct ordered ordered;
    struct scheduler_grid grid;
    struct simulation *simulation; /* in virtual time */
    struct part *parts;            /* [threads of the team] */
    struct factorize_lane *lanes;  /* [threads of the grid] */
    double *losses;                /* [blocks]: the sum over a block */
    _Atomic uint8_t *changed;      /* [blocks] */
    int epoch;
    double total_seconds;
    _Atomic bool has_diverged, is_broken, has_failed;
    struct scheduler_task broken; /* the first task handed out twice */
    enum hysgd_status failure;    /* of the first tile that could not be loaded, with its message */
    char message[MESSAGE_BYTES];
};

int factorize_groups(const struct plugin *scheduler, int threads, bool is_deterministic, uint64_t count,
                     uint32_t least_side) {
    int groups =
        scheduler_ops(scheduler)->groups(scheduler->self, is_deterministic ? ORDERED_THREADS : threads, count);
    uint32_t most = least_side > 0 ? least_side : 1;
    return (uint32_t)groups < most ? groups : (int)most;
}

/* ---- A block ---- */

static uint8_t changes(enum scheduler_sides sides) {
    return sides == SCHEDULER_BOTH ? CHANGED_BOTH : sides == SCHEDULER_ROWS ? CHANGED_ROWS : CHANGED_COLUMNS;
}

/* Notes that a block is worked on; false when it was before. */
static bool note_block(struct drive *drive, const struct scheduler_task *task, size_t block) {
    uint8_t change = changes(task->sides);
    uint8_t before = atomic_fetch_or_explicit(&drive->changed[block], change, memory_order_relaxed);
    if ((before & change) == 0)
        return true;
    if (!atomic_exchange(&drive->is_broken, true))
        drive->broken = *task;
    return false;
}

/* Keeps the first failure, with the message of the thread that calls. */
static void note_failure(struct drive *drive, enum hysgd_status status) {
    if (atomic_exchange(&drive->has_failed, true))
        return;
    drive->failure = status;
    strncpy(drive->message, hysgd_error_message(), sizeof drive->message - 1);
}

/* Visits the tiles of a block; false when one cannot be loaded. */
static bool visit_tiles(struct drive *drive, const struct scheduler_task *task, size_t block, int thread,
                        double *loss_out) {
    const struct factorize_work *work = &drive->setup->work;
    const struct blocks *blocks = drive->setup->blocks;
    size_t first = block * (size_t)blocks->tiles_per_block;
    double loss = 0;
    blocks_expect(blocks, block);
    for (size_t i = first; i < first + (size_t)blocks->tiles_per_block; i++) {
        struct tile tile;
        if (blocks->tiles[i].count == 0)
            continue;
        enum hysgd_status status = blocks_load_tile(blocks, i, drive->parts[thread].buffer, &tile);
        if (status != HYSGD_OK) {
            note_failure(drive, status);
            return false;
        }
        loss += work->visit(work->context, &tile, task, thread);
    }
    blocks_dismiss(blocks, block);
    *loss_out = loss;
    return true;
}

/* Visits all ratings of a block; false when the epoch is to end at once. */
static bool visit_block(struct drive *drive, const struct scheduler_task *task, int thread) {
    const struct blocks *blocks = drive->setup->blocks;
    size_t block = (size_t)task->row * (size_t)blocks->column_groups + (size_t)task->column;
    double loss;
    if (!note_block(drive, task, block) || !visit_tiles(drive, task, block, thread, &loss))
        return false;
    if (task->sides != SCHEDULER_COLUMNS)
        drive->losses[block] = loss;
    drive->parts[thread].visits += blocks->block_counts[block];
    if (!isfinite(loss))
        atomic_store_explicit(&drive->has_diverged, true, memory_order_relaxed);
    return isfinite(loss);
}

/* ---- Real threads ---- */

/* Waits a little longer each time, and in the end asleep: `times` counts what was waited so far. */
static void back_off(int times) {
    if (times < 64) {
        for (int i = 0; i < 1 << (times < 6 ? times : 6); i++)
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#else
            atomic_signal_fence(memory_order_seq_cst);
#endif
    } else if (times < 256) {
        sched_yield();
    } else {
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static bool is_to_end(const struct drive *drive) {
    return atomic_load_explicit(&drive->has_diverged, memory_order_relaxed) ||
           atomic_load_explicit(&drive->is_broken, memory_order_relaxed) ||
           atomic_load_explicit(&drive->has_failed, memory_order_relaxed);
}

static void work_in_epoch(void *context, int thread) {
    struct drive *drive = context;
    struct part *part = &drive->parts[thread];
    struct scheduler_task task;
    *part = (struct part){.ended = machine_seconds(), .buffer = part->buffer};
    for (int waits = 0; !is_to_end(drive);) {
        enum scheduler_answer answer = drive->ops->next(drive->self, thread, &task);
        part->requests++;
        if (answer == SCHEDULER_OVER)
            break;
        if (answer == SCHEDULER_WAIT) {
            back_off(waits++);
            double now = machine_seconds();
            part->waiting += now - part->ended;
            part->ended = now;
            continue;
        }
        waits = 0;
        double begun = machine_seconds();
        bool goes_on = visit_block(drive, &task, thread);
        double done = machine_seconds();
        part->scheduling += begun - part->ended;
        part->busy += done - begun;
        part->ended = done;
        part->tasks++;
        if (!goes_on)
            break;
        drive->ops->done(drive->self, thread, &task);
    }
}

static void run_threads(struct drive *drive, struct factorize_epoch *account) {
    int threads = team_threads(drive->setup->team);
    double begun = machine_seconds();
    team_run(drive->setup->team, work_in_epoch, drive);
    double end = machine_seconds();
    account->seconds = end - begun;
    for (int thread = 0; thread < threads; thread++) {
        const struct part *part = &drive->parts[thread];
        account->busy_seconds += part->busy;
        account->scheduling_seconds += part->scheduling;
        account->visits += part->visits;
        account->tasks += part->tasks;
        account->requests += part->requests;
        drive->lanes[thread] = (struct factorize_lane){part->visits, part->busy};
    }
    account->waiting_seconds = threads * account->seconds - account->busy_seconds - account->scheduling_seconds;
}

/* ---- Virtual time ---- */

static bool visit_modelled(void *context, const struct scheduler_task *task) {
    return visit_block(context, task, 0);
}

static enum hysgd_status run_modelled(struct drive *drive, struct factorize_epoch *account) {
    struct simulate_account modelled;
    drive->parts[0] = (struct part){.buffer = drive->parts[0].buffer};
    HYSGD_TRY(simulate_epoch(drive->simulation, visit_modelled, drive, &modelled));
    account->seconds = modelled.seconds;
    account->busy_seconds = modelled.busy;
    account->scheduling_seconds = modelled.scheduling;
    account->waiting_seconds = modelled.waiting;
    account->visits = drive->parts[0].visits;
    account->tasks = modelled.tasks;
    account->requests = modelled.requests;
    for (int thread = 0; thread < drive->grid.threads; thread++) {
        struct simulate_lane lane = simulation_lane(drive->simulation, thread);
        drive->lanes[thread] = (struct factorize_lane){lane.visits, lane.busy};
    }
    return HYSGD_OK;
}

/* ---- Epochs ---- */

/* Every block was worked on once, for both sides. */
static enum hysgd_status check_blocks(const struct drive *drive) {
    const struct blocks *blocks = drive->setup->blocks;
    const char *name = drive->setup->scheduler->ops->name;
    size_t count = (size_t)blocks->row_groups * (size_t)blocks->column_groups;
    if (drive->is_broken)
        return hysgd_fail(HYSGD_FAILED, "scheduler %s: block %d, %d was handed out twice in epoch %d", name,
                          drive->broken.row, drive->broken.column, drive->epoch);
    for (size_t i = 0; i < count; i++)
        if (atomic_load_explicit(&drive->changed[i], memory_order_relaxed) != CHANGED_BOTH)
            return hysgd_fail(HYSGD_FAILED, "scheduler %s: block %zu, %zu was left out in epoch %d", name,
                              i / (size_t)blocks->column_groups, i % (size_t)blocks->column_groups, drive->epoch);
    return HYSGD_OK;
}

/* Adds up by block, so that the sum does not depend on who did what when. */
static double add_losses(const struct drive *drive) {
    const struct blocks *blocks = drive->setup->blocks;
    size_t count = (size_t)blocks->row_groups * (size_t)blocks->column_groups;
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += drive->losses[i];
    return sum;
}

static enum hysgd_status run_epoch(struct drive *drive, struct factorize_epoch *account) {
    const struct factorize_work *work = &drive->setup->work;
    const struct blocks *blocks = drive->setup->blocks;
    size_t count = (size_t)blocks->row_groups * (size_t)blocks->column_groups;
    *account =
        (struct factorize_epoch){.epoch = drive->epoch, .lanes = drive->lanes, .lane_count = drive->grid.threads};
    for (size_t i = 0; i < count; i++)
        atomic_store_explicit(&drive->changed[i], 0, memory_order_relaxed);
    if (work->begin != NULL)
        work->begin(work->context, drive->epoch);
    double begun = machine_seconds();
    drive->ops->begin(drive->self, (uint64_t)drive->epoch);
    double prepared = machine_seconds() - begun;
    if (drive->simulation != NULL)
        HYSGD_TRY(run_modelled(drive, account));
    else
        run_threads(drive, account);
    if (atomic_load(&drive->has_failed)) {
        status_set_message(drive->message);
        return drive->failure;
    }
    if (atomic_load(&drive->has_diverged))
        return hysgd_fail(HYSGD_DIVERGED, "the loss is not a finite number in epoch %d", drive->epoch);
    HYSGD_TRY(check_blocks(drive));
    if (drive->simulation == NULL) { /* what one thread does for the scheduler while the others rest */
        int threads = team_threads(drive->setup->team);
        account->seconds += prepared;
        account->scheduling_seconds += prepared;
        account->waiting_seconds += (threads - 1) * prepared;
    }
    account->loss = add_losses(drive);
    drive->total_seconds += account->seconds;
    account->total_seconds = drive->total_seconds;
    return HYSGD_OK;
}

static enum hysgd_status run_epochs(struct drive *drive) {
    const struct factorize_setup *setup = drive->setup;
    for (drive->epoch = setup->first_epoch; drive->epoch <= setup->last_epoch; drive->epoch++) {
        struct factorize_epoch account;
        bool stops = false;
        HYSGD_TRY(run_epoch(drive, &account));
        if (setup->work.end != NULL)
            HYSGD_TRY(setup->work.end(setup->work.context, &account, &stops));
        if (stops)
            return HYSGD_OK;
        if (setup->is_stopping != NULL && atomic_load(setup->is_stopping))
            return hysgd_fail(HYSGD_INTERRUPTED, "interrupted after epoch %d of %d", drive->epoch,
                              setup->last_epoch);
    }
    return HYSGD_OK;
}

/* ---- Opening ---- */

static enum hysgd_status alloc_buffers(struct drive *drive) {
    uint32_t cells = blocks_buffer_cells(drive->setup->blocks);
    for (int i = 0; i < team_threads(drive->setup->team) && cells > 0; i++)
        HYSGD_TRY(memory_alloc_vector(cells, sizeof(struct cell), &drive->parts[i].buffer));
    return HYSGD_OK;
}

static void free_parts(struct drive *drive) {
    for (int i = 0; i < team_threads(drive->setup->team) && drive->parts != NULL; i++)
        memory_free(drive->parts[i].buffer);
    memory_free(drive->parts);
}

static enum hysgd_status open_simulation(struct drive *drive) {
    const struct factorize_virtual *virtual_time = drive->setup->virtual_time;
    if (virtual_time == NULL)
        return HYSGD_OK;
    struct simulate_setup setup = {drive->ops, drive->self, &drive->grid, virtual_time->speeds,
                                   virtual_time->request_seconds};
    return simulation_alloc(&setup, &drive->simulation);
}

static enum hysgd_status open_drive(struct drive *drive) {
    const struct factorize_setup *setup = drive->setup;
    const struct blocks *blocks = setup->blocks;
    size_t count = (size_t)blocks->row_groups * (size_t)blocks->column_groups;
    drive->grid = (struct scheduler_grid){.threads = setup->virtual_time != NULL ? setup->virtual_time->threads
                                                                                 : team_threads(setup->team),
                                          .rows = blocks->row_groups,
                                          .columns = blocks->column_groups,
                                          .counts = blocks->block_counts,
                                          .seed = setup->seed};
    HYSGD_TRY(memory_alloc((size_t)team_threads(setup->team), sizeof *drive->parts, &drive->parts));
    HYSGD_TRY(memory_alloc((size_t)drive->grid.threads, sizeof *drive->lanes, &drive->lanes));
    HYSGD_TRY(memory_alloc(count, sizeof *drive->losses, &drive->losses));
    HYSGD_TRY(memory_alloc(count, sizeof *drive->changed, &drive->changed));
    HYSGD_TRY(alloc_buffers(drive));
    HYSGD_TRY(drive->ops->init(drive->self, &drive->grid));
    return open_simulation(drive);
}

enum hysgd_status factorize(const struct factorize_setup *setup) {
    struct drive drive = {.setup = setup, .ops = scheduler_ops(setup->scheduler), .self = setup->scheduler->self};
    if (setup->is_deterministic && setup->virtual_time == NULL) {
        drive.ordered = (struct ordered){.played = drive.ops, .played_self = drive.self};
        drive.ops = &scheduler_ordered;
        drive.self = &drive.ordered;
    }
    enum hysgd_status status = open_drive(&drive);
    if (status == HYSGD_OK)
        status = run_epochs(&drive);
    simulation_free(drive.simulation);
    drive.ops->fini(drive.self);
    memory_free(drive.changed);
    memory_free(drive.losses);
    memory_free(drive.lanes);
    free_parts(&drive);
    return status;
}
