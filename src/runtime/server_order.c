/* SPDX-License-Identifier: Apache-2.0 */
/* What a server is told of the engine's decisions: see server_order.h. */
#include "runtime/server_order.h"

#include <string.h>

#include "base/memory.h"

enum hysgd_status server_order_init(struct server_order *order, int workers) {
    *order = (struct server_order){0};
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *order->parts, &order->parts));
    return memory_alloc((size_t)workers, sizeof *order->rows, &order->rows);
}

void server_order_fini(struct server_order *order) {
    memory_free(order->parts);
    memory_free(order->rows);
    *order = (struct server_order){0};
}

static void take_parts(struct server_order *order, const struct engine *engine) {
    order->has_table = engine->table.rows != NULL;
    order->part_count = engine->part_count;
    order->row_count = 0;
    if (engine->part_count > 0)
        memcpy(order->parts, engine->parts, (size_t)engine->part_count * sizeof *order->parts);
}

/* The rows of this round, so weighted that each gives its mean, and all of them theirs. */
static void take_rows(struct server_order *order, const struct engine *engine) {
    const struct engine_table *table = &engine->table;
    double rows = engine->combine == ENGINE_MEAN ? table->filled : 1;
    order->parity = table_present(table);
    for (int i = 0; i < engine->worker_count; i++) {
        double divisor = table->rows[i].divisor[order->parity];
        if (divisor > 0)
            order->rows[order->row_count++] = (struct server_row){i, (float)(1 / (rows * divisor))};
    }
    order->scale = 1;
    order->statistic_scale = rows / table->filled;
}

void server_order_fold(struct server_order *order, const struct engine *engine, double rate) {
    take_parts(order, engine);
    order->is_update = false;
    order->scale = 1;
    order->step = (struct optimizer_step){.rate = rate};
}

void server_order_update(struct server_order *order, const struct engine *engine,
                         const struct optimizer_step *step) {
    take_parts(order, engine);
    order->is_update = true;
    order->step = *step;
    order->batch_count = engine_due_batches(engine);
    if (order->has_table) {
        take_rows(order, engine);
        return;
    }
    order->scale = (float)engine_scale(engine);
    order->statistic_scale = 1 / (engine->held_weight * (double)order->scale);
}
