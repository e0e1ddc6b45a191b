/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at gradients while a server combines them: norms, and inner products with sums of earlier gradients, shard
 * by shard, so that any number of threads and of servers gets the same values. What they tell is the estimator's
 * concern. */
#ifndef HYSGD_RUNTIME_PROBE_H
#define HYSGD_RUNTIME_PROBE_H

#include "base/plugin.h"

/* What an action of the server shows. x = the weighted sum of the gradients of an update, folded ones included. */
struct probe_values {
    double norms;   /* sum of weight^2 * ||gradient||^2 over the gradients that were not folded before */
    double square;  /* ||x||^2; this and what follows: of updates */
    double present; /* <x, sum of the block so far> */
    double before;  /* <x, sum of the block before> */
};

/* A block is what the estimator makes of consecutive updates; the probe only keeps the sums of two of them. */
struct probe {
    size_t count;
    float *sums[2]; /* [count] the sum of the present block is sums[present] */
    int present;
    bool is_empty;   /* nothing is in the present block */
    bool has_before; /* the other sum is of a block */
    int shard_count;
    double unscale;                 /* turns what the server combines into x */
    struct probe_values *of_shards; /* [shard_count] of the action under way */
};

/* Vectors of `count` parameters. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status probe_init(struct probe *probe, size_t count, int shard_count);
void probe_fini(struct probe *probe);

/* The present block is over, the next one empty. Not while an action is under way. */
void probe_turn(struct probe *probe);

/* An action of the server begins; its combined vector is x / unscale. */
void probe_begin(struct probe *probe, double unscale);

/* A slice of a gradient, and of the combined one, of which `first` is the place; then this belongs to the present
 * block. By the thread that has taken the shard. */
void probe_add_part(struct probe *probe, int shard, const float *gradient, float weight, size_t count);
void probe_add_combined(struct probe *probe, int shard, const float *combined, size_t first, size_t count);

/* All shards are done; an update makes the present block more than empty. The values stay until the next action. */
void probe_end(struct probe *probe, bool is_update);

/* Adds the values of shards to a total, in their order: shards of several servers in the order of their slices. */
void probe_total(struct probe_values *total, const struct probe_values *of_shards, int count);

#endif
