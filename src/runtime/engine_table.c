/* SPDX-License-Identifier: Apache-2.0 */
/* Counting rows and rounds: see engine_table.h. */
#include "runtime/engine_table.h"

#include "base/memory.h"
#include "runtime/engine.h"

enum hysgd_status table_init(struct engine_table *table, int workers) {
    return memory_alloc((size_t)workers, sizeof *table->rows, &table->rows);
}

void table_fini(struct engine_table *table) {
    memory_free(table->rows);
    *table = (struct engine_table){0};
}

static bool takes_part(const struct engine *engine, int worker) {
    return engine->workers[worker].activity != ENGINE_LOST;
}

static bool is_unserved(const struct engine *engine, int worker) {
    return takes_part(engine, worker) && engine->workers[worker].read <= engine->table.first;
}

void table_count(struct engine *engine) {
    struct engine_table *table = &engine->table;
    int present = table_present(table);
    table->unserved = table->filled = 0;
    table->later = 0;
    table->later_weight = 0;
    engine->progress.empty_rows = 0;
    engine->contributor_count = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_row *row = &table->rows[i];
        table->unserved += is_unserved(engine, i);
        table->filled += row->divisor[present] > 0;
        table->later += row->held[1 - present];
        table->later_weight += row->weight[1 - present];
        engine->progress.empty_rows += takes_part(engine, i) && row->divisor[present] <= 0;
        if (row->held[present] > 0)
            engine->contributors[engine->contributor_count++] = i;
    }
}

bool table_hold(struct engine *engine, int worker, double share, double weight) {
    struct engine_table *table = &engine->table;
    int parity = table_row(table, engine->workers[worker].read);
    struct engine_row *row = &table->rows[worker];
    bool is_first = row->divisor[parity] <= 0;
    if (parity != table_present(table)) {
        table->later++;
        table->later_weight += weight;
        table->later_batches += engine->workers[worker].batches;
    } else if (row->held[parity] == 0) {
        engine->contributors[engine->contributor_count++] = worker;
    }
    if (is_first && parity == table_present(table)) {
        table->filled++;
        engine->progress.empty_rows--;
    }
    row->held[parity]++;
    row->weight[parity] += weight;
    row->divisor[parity] += share;
    return is_first;
}

uint64_t table_apply(struct engine *engine, int worker) {
    struct engine_row *row = &engine->table.rows[worker];
    int present = table_present(&engine->table);
    uint64_t applied = row->held[present];
    row->held[present] = 0;
    row->weight[present] = 0;
    return applied;
}

void table_serve(struct engine *engine, uint64_t before) {
    struct engine_table *table = &engine->table;
    if (before <= table->first && engine->progress.version > table->first)
        table->unserved--;
}

void table_leave(struct engine *engine, int worker) {
    struct engine_table *table = &engine->table;
    table->unserved -= engine->workers[worker].read <= table->first;
    engine->progress.empty_rows -= table->rows[worker].divisor[table_present(table)] <= 0;
}

void table_turn(struct engine *engine) {
    struct engine_table *table = &engine->table;
    bool is_over = table->unserved == 0 && engine->progress.version > table->first;
    if (!is_over || engine->progress.held > table->later)
        return;
    int over = table_present(table);
    for (int i = 0; i < engine->worker_count; i++)
        table->rows[i].divisor[over] = 0;
    table->round++;
    table->first = engine->progress.version;
    table->later_batches = 0;
    table_count(engine);
}
