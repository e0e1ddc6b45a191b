/* SPDX-License-Identifier: Apache-2.0 */
/* A fold or an update as numbers: all that a server must be told to do its part of it. Whoever has the engine makes
 * it; servers in the same process and, as a message, servers elsewhere carry it out. */
#ifndef HYSGD_RUNTIME_SERVER_ORDER_H
#define HYSGD_RUNTIME_SERVER_ORDER_H

#include "optimizer/optimizer.h"
#include "runtime/engine.h"

/* A row of a table that an update adds up. */
struct server_row {
    int worker;
    float weight;
};

struct server_order {
    bool is_update;   /* else a fold */
    bool turns_probe; /* the probe's present block is over: see probe_turn */
    bool has_table;   /* the parts join rows of the table; else they go to the sum or, in an update, to the step */
    int parity;       /* of the rows that an update adds up */
    float scale;      /* of an update's combined gradient */
    double statistic_scale;     /* turns that into the weighted mean, whatever the combine mode */
    uint64_t batch_count;       /* of the gradients that an update applies */
    struct optimizer_step step; /* of a fold only the rate, for a correction */
    int part_count, row_count;  /* at most the number of workers */
    struct engine_part *parts;  /* [part_count] gradients in their workers' buffers */
    struct server_row *rows;    /* [row_count] */
};

/* Room for the orders of so many workers. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status server_order_init(struct server_order *order, int workers);
void server_order_fini(struct server_order *order);

/* Folding the engine's parts; `rate`: the learning rate at present, for a correction. */
void server_order_fold(struct server_order *order, const struct engine *engine, double rate);

/* The update that the engine says is due. */
void server_order_update(struct server_order *order, const struct engine *engine,
                         const struct optimizer_step *step);

#endif
