/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's account of a table (HYSGD_TABLE in hysgd.h): which gradients each worker's row has in this round and
 * which wait for the next one. The rows' vectors are the server's. Every call is O(1), apart from the beginning of
 * a round. */
#ifndef HYSGD_RUNTIME_ENGINE_TABLE_H
#define HYSGD_RUNTIME_ENGINE_TABLE_H

#include "base/status.h"

/* Of one worker. A row of this round and one of the next, at the parity of the round, so that nothing moves when a
 * round ends. */
struct engine_row {
    double divisor[2]; /* total weight that the policy gave the row's gradients; 0: there are none */
    double weight[2];  /* total weight of those that no update has taken yet */
    uint64_t held[2];  /* how many these are */
};

struct engine_table {
    struct engine_row *rows; /* [workers]; NULL: the policy has no table */
    uint64_t round;          /* rounds that are over */
    uint64_t first;          /* version at which the present round began */
    int unserved;            /* workers that take part and have read no version of the round yet */
    int filled;              /* rows with a gradient */
    uint64_t later;          /* gradients held for the next round */
    double later_weight;     /* their total weight */
    uint64_t later_batches;  /* behind them */
};

struct engine;

/* HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status table_init(struct engine_table *table, int workers);
void table_fini(struct engine_table *table);

/* The parity of the row of this round; and of the row that a gradient joins which was computed at version `read`.
 */
static inline int table_present(const struct engine_table *table) {
    return (int)(table->round & 1);
}

static inline int table_row(const struct engine_table *table, uint64_t read) {
    return (int)((table->round + (read > table->first)) & 1);
}

/* Computes the counts from the rows and the workers: at the beginning, after a restart and from a checkpoint. */
void table_count(struct engine *engine);

/* The gradient of a worker joins a row; `share` is the policy's part of its weight. True: it is the row's first. */
bool table_hold(struct engine *engine, int worker, double share, double weight);

/* An update has taken what the row of this round holds of the worker; returns how many gradients these were. */
uint64_t table_apply(struct engine *engine, int worker);

/* A worker that had read version `before` reads the present one; a worker leaves. */
void table_serve(struct engine *engine, uint64_t before);
void table_leave(struct engine *engine, int worker);

/* Begins the next round when all workers have been served. */
void table_turn(struct engine *engine);

#endif
