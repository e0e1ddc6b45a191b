/* SPDX-License-Identifier: Apache-2.0 */
/* The parameter server's vectors: published versions of the parameters, the workers' gradient buffers, the sum of
 * folded gradients and the optimizer's states; and the work of an update, split over shards that any number of
 * threads can take. Decides nothing. */
#ifndef HYSGD_RUNTIME_SERVER_H
#define HYSGD_RUNTIME_SERVER_H

#include <stdatomic.h>

#include "correction/correction.h"
#include "optimizer/optimizer.h"
#include "runtime/probe.h"
#include "runtime/server_order.h"

/* Elements of a shard: 64 KiB, so that a shard's slices of all vectors stay in a core's cache. The division is the
 * same whatever the number of threads, and with it every result. */
#define SERVER_SHARD 16384

/* At most so many groups of shards, each begun by a worker of its own. */
#define SERVER_MOST_REGIONS 16

/* What is done to every shard before the next pass begins. */
enum server_pass {
    SERVER_MEASURE,     /* the squared distances from what the gradients were computed at */
    SERVER_FOLD,        /* the folds, and nothing else */
    SERVER_STEP,        /* combining and the optimizer's step in one */
    SERVER_COMBINE,     /* the combined gradient goes to the place of the sum, its squared norm to the shard's */
    SERVER_CLIPPED_STEP /* the step with it, once the norm is known */
};

#define SERVER_MOST_PASSES 3

/* Shards next to each other. A worker begins with its own region, so that its core keeps the optimizer's states of
 * it from update to update, and then helps with the others. */
struct server_region {
    _Alignas(64) atomic_int taken[SERVER_MOST_PASSES]; /* shards taken, in each pass of the work */
    int first, count;
};

/* A vector to be added up. */
struct server_part {
    const float *vector; /* [count] */
    float weight;
    int corrected; /* the worker whose gradient it is, to be corrected on the way; -1: it is taken as it is */
};

/* A part that is added to a vector of the server. */
struct server_fold {
    struct server_part part;
    float *target;
    bool is_first; /* it takes the place of what is there */
};

struct server {
    const struct optimizer_ops *optimizer;
    const void *optimizer_self;    /* begins with a struct optimizer */
    size_t parameter_count, count; /* count: with the statistics */
    double statistic_momentum;
    int workers, shard_count;
    bool is_shared; /* set by the runtime: several cores compute, so what is written for others goes past the caches
                     */
    float **gradients; /* [workers] each [count]; written by its worker only, while it computes */
    float **versions;  /* [version_count] each [count]; allocated when first needed */
    int *readers;      /* [version_count] how many read it */
    int *reading;      /* [workers] the version that the worker reads; -1: none */
    int version_count, current;
    int given; /* the version that workers are given to read: the current one, unless they compute ahead of it */
    bool is_split; /* set by the runtime: other servers have the other slices, so that what follows from all shards
                      of a pass together waits for server_continue; one thread at a time works */
    bool keeps_reads; /* a worker's version is kept until it reads again, not only while it computes */
    float *sum;       /* [count] weighted sum of folded gradients; allocated when first needed */
    bool sum_is_empty;
    float **rows[2]; /* [workers] each [count], NULL until first needed: of a table, by the parity of its round */
    float *states[OPTIMIZER_MOST_STATES]; /* each [parameter_count] */

    /* What corrects gradients as they leave their buffers; NULL: nothing. Its states are NULL where it has none. */
    const struct correction_ops *correction;
    const void *correction_self;
    float *shared_state;                 /* [parameter_count] */
    float **worker_states, *state_total; /* [workers] each [parameter_count], and their sum */
    float *factors;                      /* [workers] of the gradients to be corrected */

    /* The work under way: constant while threads take shards, apart from what they are to find out. */
    enum server_pass passes[SERVER_MOST_PASSES]; /* [pass_count], in this order */
    int pass_count;
    struct server_fold *folds; /* [fold_count] before anything else is done to a shard; at most workers */
    int fold_count;
    struct server_part *parts; /* [part_count] to be added up; at most workers + 1 */
    int part_count;
    float scale;            /* of their sum; already in the weights */
    double statistic_scale; /* turns the combined gradient into the weighted mean, whatever the combine mode */
    uint64_t batch_count;   /* of the gradients that the update applies */
    struct optimizer_step step;
    int next;                      /* version being written; the current one itself when nobody reads it */
    int next_given;                /* the same for the workers, where they compute ahead */
    struct probe *probe;           /* looks at the gradients while they are combined; NULL: nobody asked for it */
    int *measured, measured_count; /* [workers] whose gradients SERVER_MEASURE looks at */
    double *values;  /* [shard_count][columns of the pass] squared distances by `measured`, or squared norms */
    double *totals;  /* [columns] of the values, over all shards */
    double clipping; /* factor of the combined gradient, after SERVER_COMBINE */
    struct server_region *regions; /* [region_count] */
    int region_count;
    atomic_bool is_bad;           /* an element of the combined gradient is infinite or not a number */
    _Alignas(64) atomic_int done; /* shards finished, over all passes */
    atomic_int opened;            /* passes that are over: the next one may be begun */
};

/* A server may hold a slice of the vectors, which begins and ends at whole shards, so that every sum is made of the
 * same parts as without slices. Where that of server `number` of `servers` begins, or the last one ends; and the
 * elements [first, end) as a layout of their own, without tensors. */
size_t server_slice_first(size_t count, int servers, int number);
struct hysgd_model_layout server_slice(const struct hysgd_model_layout *layout, size_t first, size_t end);

/* Says what the vectors are like, without any. */
void server_describe(struct server *server, const struct plugin *optimizer, const struct hysgd_model_layout *layout,
                     int workers);

/* HYSGD_MEMORY. Safe to fini when it fails. Version 0 is zeros; the caller fills it through server_vector. */
HYSGD_MUST_CHECK enum hysgd_status server_init(struct server *server, const struct plugin *optimizer,
                                               const struct hysgd_model_layout *layout, int workers);
void server_fini(struct server *server);

/* Corrects all gradients from now on; before the first version is read. Without vectors, only says so.
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status server_correct(struct server *server, const struct plugin *correction);

/* Keeps a table: gradients are folded into rows of their workers, which go on at what they have read. Without
 * vectors, only says so. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status server_keep_table(struct server *server);

/* Whether the gradients are looked at (probe.h) from now on, beginning anew. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status server_watch(struct server *server, bool is_wanted);

/* A row of the table, made if it is not there yet. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status server_row(struct server *server, int parity, int worker, float **row_out);

/* The current version's vector. */
float *server_vector(const struct server *server);

/* Allocates the sum's vector if it is not there yet. */
HYSGD_MUST_CHECK enum hysgd_status server_require_sum(struct server *server);

/* A version to read from: versions[returned] stays as it is until it is let go. Call with the engine's lock held
 * and no update under way: it may be changing the current version in place. */
int server_acquire(struct server *server);
void server_let_go(struct server *server, int version);

/* The same for a worker: from here on it reads the current version, which server_read_vector gives, until it has
 * read. Reading again lets go of what it read before. */
void server_read(struct server *server, int worker);
void server_has_read(struct server *server, int worker);

/* For a run that is continued: the worker reads an old version, the one that `other` reads or, where that is -1,
 * one of its own, which is to be filled. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status server_read_old(struct server *server, int worker, int other,
                                                   float **vector_out);

/* The same for what workers are given to read, where they compute ahead of the current version. */
HYSGD_MUST_CHECK enum hysgd_status server_give_other(struct server *server, float **vector_out);

/* What the worker reads. The worker itself may call this without the lock. */
const float *server_read_vector(const struct server *server, int worker);

/* Prepares what is ordered; HYSGD_MEMORY. Call with the engine's lock held; then any threads call server_help. */
HYSGD_MUST_CHECK enum hysgd_status server_begin(struct server *server, const struct server_order *order);

/* Takes shards until none is left, those of the worker's own region first. Several threads at once. */
void server_help(struct server *server, int worker);

/* Whether every shard is finished. */
bool server_is_done(const struct server *server);

/* The same in portions, by one thread: takes at most so many shards of the present pass. */
enum server_stage {
    SERVER_WORKS,  /* there are shards to take */
    SERVER_WAITS,  /* is_split: for server_continue */
    SERVER_IS_DONE /* server_is_done */
};
enum server_stage server_work(struct server *server, int shards);
enum server_stage server_stage(const struct server *server);

/* Of a server that waits: what the pass has found, [shard_count][columns]. All slices have the same columns; an
 * empty one never waits. */
const double *server_values(const struct server *server, int *columns_out);

/* Adds the values of `shards` shards to totals [columns], in their order: so must the slices be taken. */
void server_add_values(double *totals, const double *values, int columns, int shards);

/* Goes on with the totals over all slices. */
void server_continue(struct server *server, const double *totals);

/* The last worker among those of an order, not yet ended, whose gradient is not finite; -1: none. */
int server_find_bad(const struct server *server, const struct server_order *order);

/* After the last shard: publishes the new version, or notes the fold. Call with the engine's lock held. */
void server_end(struct server *server);

#endif
