/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a policy's answers into decisions: which gradient counts, when an update is due, who goes on. Keeps the
 * account of every gradient. Holds no vectors, no clock and no lock: the same code decides for every runtime, also
 * for a coordinator without parameters. */
#ifndef HYSGD_RUNTIME_ENGINE_H
#define HYSGD_RUNTIME_ENGINE_H

#include "base/plugin.h"
#include "runtime/engine_table.h"

/* How the admitted gradients of an update become one: divided by the total weight that the policy gave them, or
 * not.
 */
enum engine_combine { ENGINE_MEAN, ENGINE_SUM };

/* What the staleness tau of an admitted gradient multiplies its weight with, under every policy: 1; 1 / max(1, tau)
 * (W. Zhang et al., "Staleness-Aware Async-SGD for Distributed Deep Learning", IJCAI 2016); (1 + tau)^-exponent
 * (FedBuff's with 0.5, see policy/batch_async.c). Combining does not divide by these factors, or a stale gradient
 * that is an update of its own would count in full. The same holds for the weights of workers: with n_i N / n,
 * worker i of N having n_i of the n samples, the mean over all N is the gradient of the mean loss over all n, and
 * that over any K of them drawn at random is so on average. */
enum engine_weight { ENGINE_WEIGHT_NONE, ENGINE_WEIGHT_INVERSE, ENGINE_WEIGHT_POLYNOMIAL };

struct engine_weighting {
    enum engine_weight kind;
    double exponent; /* of ENGINE_WEIGHT_POLYNOMIAL; at least 0 */
};

enum engine_activity {
    ENGINE_COMPUTING, /* between its release and its arrival */
    ENGINE_WAITING,   /* delivered and not yet released */
    ENGINE_LOST       /* takes no part any more */
};

struct engine_worker {
    enum engine_activity activity;
    enum hysgd_release wait; /* what a waiting worker waits for */
    uint64_t read;           /* version that its present or latest gradient was computed at */
    bool is_first_in_row;    /* HYSGD_TABLE: of its latest gradient */
    bool is_in_buffer; /* its latest gradient is held and still lies in the worker's own buffer, not in the server's
                          sum */
    float weight;      /* of that gradient */
    uint64_t held, applied, dropped; /* gradients; they sum to the worker's clock */
    uint64_t batches;                /* behind its present or latest gradient: 1, unless the caller sets it */
    uint64_t received_batches, abandoned_batches; /* behind those delivered, and those given up */
    uint64_t abandoned;                           /* gradients begun and given up */
    double patience;              /* seconds that its present gradient may take; INFINITY: any number */
    uint64_t most_staleness;      /* of its applied gradients */
    uint64_t most_held_staleness; /* of its held gradients */
    double staleness_sum;         /* over its applied gradients */
    double held_staleness;        /* over its held gradients */
};

/* A worker's gradient buffer and its weight. */
struct engine_part {
    int worker;
    float weight;
    int row;       /* HYSGD_TABLE: the parity of the row that it joins, */
    bool is_first; /* and whether it is the row's first */
};

struct engine {
    const struct hysgd_policy_ops *policy;
    void *policy_self;
    enum engine_combine combine;
    struct engine_weighting weighting; /* none after engine_init; set it before engine_begin */
    const double *worker_weights;  /* [worker_count] above 0, borrowed: multiply the gradients too; NULL: all 1 */
    int worker_count;              /* ever known; progress counts those that take part, and compute */
    struct engine_worker *workers; /* [worker_count] */
    uint64_t *clocks;              /* [worker_count] gradients delivered */
    int at_slowest;                /* workers that take part whose clock is the smallest */
    struct hysgd_progress progress;
    struct engine_table table; /* HYSGD_TABLE; its rows are NULL otherwise */
    double held_weight;        /* total weight of the gradients held */
    double held_divisor;  /* the same without the factors of staleness and worker: what ENGINE_MEAN divides by */
    uint64_t held_folded; /* of them, in the server's sum */
    uint64_t threshold;   /* the policy's latest answer */
    uint64_t applied, dropped; /* gradients of all workers; received = applied + dropped + progress.held */
    uint64_t received_batches, applied_batches, held_batches; /* behind those gradients */
    uint64_t forced;                                          /* updates that no threshold asked for */
    uint64_t lost;      /* gradients that were being computed when their worker was lost */
    uint64_t abandoned; /* gradients that were given up; they are not received */
    uint64_t in_vain;   /* of them, those since the latest arrival */
    int misled;         /* a worker that the policy has answered what its aggregate does not allow; -1: none */
    int *waiting, waiting_count; /* waiting workers, in the order of their arrival */
    int clock_waiting;           /* the first so many of them all wait for the slowest clock */
    bool clock_is_due; /* the slowest clock has advanced, and an update comes before who waits for it is asked */
    int *contributors, contributor_count; /* workers with gradients held */
    bool has_loose_parts; /* the caller looks at no parts: they may come in any order; false after engine_init */
    /* Set by each call below for its caller, valid until the next call: */
    struct engine_part *parts;
    int part_count; /* gradients in their workers' buffers, ordered by worker: of the update, or to be folded */
    int *released, released_count;   /* workers that go on now, in this order */
    int *cancelled, cancelled_count; /* by engine_updated: workers that are to give up what they compute */
};

/* Gradients that are given up one after the other before a run fails: nothing would ever arrive. */
#define ENGINE_MOST_IN_VAIN 100000

/* What the caller must do before it calls again. */
enum engine_action {
    ENGINE_NOTHING, /* start the released workers */
    ENGINE_FOLD,    /* add the parts to the server's sum, then start the released workers */
    ENGINE_UPDATE   /* apply the sum (if anything was folded) and the parts, then call engine_updated; nobody is
                       released yet */
};

struct engine_verdict {
    enum engine_action action;
    double weight; /* of the gradient that arrived; 0: dropped */
    uint64_t staleness;
    uint64_t threshold; /* the policy's latest */
    uint64_t held;      /* gradients held after the verdict and before an update */
    bool is_forced;     /* of ENGINE_UPDATE: no threshold was reached, but nobody could have gone on otherwise */
};

/* `policy` has been opened and its init called with `workers`. A caller that has estimates for it sets
 * progress.estimates afterwards. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status engine_init(struct engine *engine, const struct plugin *policy,
                                               enum engine_combine combine, int workers);
void engine_fini(struct engine *engine);

/* All workers take part and compute their first gradient at version 0. */
void engine_begin(struct engine *engine);

/* After engine_begin: the workers from `first` on are not there yet. They count as lost, with nothing, until they
 * join.
 */
void engine_leave_out(struct engine *engine, int first);

/* The gradient of a computing worker has arrived whole. HYSGD_FAILED when the policy lets nobody go on, or gives a
 * weight that is negative or not finite. A weight below the smallest normal float counts as 0. */
HYSGD_MUST_CHECK enum hysgd_status engine_arrive(struct engine *engine, int worker, double seconds, double fraction,
                                                 struct engine_verdict *verdict_out);

/* The update is applied: the version advances, the held gradients count as applied, waiting workers are asked
 * again. HYSGD_FAILED when the policy lets nobody go on. */
HYSGD_MUST_CHECK enum hysgd_status engine_updated(struct engine *engine, double seconds, double fraction);

/* A worker leaves: what it was computing is lost, what it had delivered stays. An update may become due. */
HYSGD_MUST_CHECK enum hysgd_status engine_lose(struct engine *engine, int worker, double seconds, double fraction,
                                               struct engine_verdict *verdict_out);

/* A computing worker has given up its gradient; its release is asked, and an update may become due. HYSGD_FAILED
 * when the policy lets nobody go on, or ENGINE_MOST_IN_VAIN gradients have been given up in a row. */
HYSGD_MUST_CHECK enum hysgd_status engine_abandon(struct engine *engine, int worker, double seconds,
                                                  double fraction, struct engine_verdict *verdict_out);

/* A lost worker takes part again and is released at once; its clock is raised to the slowest one's, its account
 * goes on. When a gradient of its past is still held in its buffer, part_count is 1 and it must be folded before
 * the worker starts. */
void engine_join(struct engine *engine, int worker);

/* Another policy decides from here on, whose init has been called with as many workers; neither has a table. What
 * is held stays held, whoever waits is asked, and an update may become due. A caller that has estimates sets them
 * before the next call. HYSGD_FAILED when it lets nobody go on. */
HYSGD_MUST_CHECK enum hysgd_status engine_change_policy(struct engine *engine, const struct plugin *policy,
                                                        enum engine_combine combine,
                                                        struct engine_verdict *verdict_out);

/* After the workers' fields, their clocks, the waiting list, the version and the totals have been read from a
 * checkpoint: computes what follows from them. */
void engine_restore(struct engine *engine);

/* Every computing worker begins again, at the present version: at the start of a process, or where what it was
 * computing is gone. */
void engine_restart(struct engine *engine);

/* What the combined gradient of the update that is due is multiplied with: 1 / held_divisor, or 1. */
double engine_scale(const struct engine *engine);

/* The gradients that the update which is due takes first, the batches behind them and their weight: all that are
 * held, unless some wait for the next round of a table. */
uint64_t engine_due(const struct engine *engine);
uint64_t engine_due_batches(const struct engine *engine);
double engine_due_weight(const struct engine *engine);

#endif
