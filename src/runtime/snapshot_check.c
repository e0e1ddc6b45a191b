/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the account of gradients that was read from a checkpoint can be that of a run: see snapshot_check.h. */
#include "runtime/snapshot_check.h"

#include <float.h>

static bool is_sum_of_weights(double sum, uint64_t held) {
    return held > 0 ? sum >= (double)FLT_MIN : sum == 0;
}

static bool row_is_valid(const struct engine_row *row, uint64_t held) {
    for (int parity = 0; parity < 2; parity++)
        if (!is_sum_of_weights(row->weight[parity], row->held[parity]) ||
            (row->held[parity] > 0 && row->divisor[parity] <= 0))
            return false;
    return row->held[0] + row->held[1] == held;
}

/* Whether so many batches can be behind so many gradients. */
static bool can_be_behind(uint64_t batches, uint64_t gradients) {
    return gradients > 0 ? batches >= gradients : batches == 0;
}

static bool batches_are_valid(const struct engine *engine) {
    uint64_t received = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        if (!can_be_behind(worker->received_batches, worker->held + worker->applied + worker->dropped) ||
            !can_be_behind(worker->abandoned_batches, worker->abandoned))
            return false;
        received += worker->received_batches;
    }
    return received == engine->received_batches && can_be_behind(engine->applied_batches, engine->applied) &&
           can_be_behind(engine->held_batches, engine->progress.held) &&
           can_be_behind(engine->table.later_batches, engine->table.later) &&
           engine->applied_batches + engine->held_batches <= received &&
           engine->table.later_batches <= engine->held_batches;
}

static bool table_is_valid(const struct engine *engine) {
    const struct engine_table *table = &engine->table;
    for (int i = 0; table->rows && i < engine->worker_count; i++)
        if (!row_is_valid(&table->rows[i], engine->workers[i].held))
            return false;
    return table->first <= engine->progress.version;
}

bool snapshot_engine_is_valid(const struct engine *engine) {
    uint64_t applied = 0, dropped = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        bool may_hold = worker->held > 0 && worker->activity != ENGINE_COMPUTING && worker->weight >= FLT_MIN;
        if (worker->read > engine->progress.version || (worker->is_in_buffer && !may_hold) ||
            worker->held + worker->applied + worker->dropped > engine->clocks[i])
            return false;
        applied += worker->applied;
        dropped += worker->dropped;
    }
    uint64_t held = engine->progress.held;
    return applied == engine->applied && dropped == engine->dropped &&
           applied + dropped + held == engine->progress.received && is_sum_of_weights(engine->held_weight, held) &&
           batches_are_valid(engine) && is_sum_of_weights(engine->held_divisor, held) &&
           (engine->progress.computing > 0 || engine->progress.workers == 0) && table_is_valid(engine);
}
