/* SPDX-License-Identifier: Apache-2.0 */
/* Estimates for policies that ask for them (struct hysgd_estimates): the noise and the signal of the gradients, and
 * how fast workers and server are.
 *
 * A block is a run of consecutive updates none of whose gradients has seen another one of the block: all were read
 * before the block's first update. Given the parameters that they were read at, the noise of such gradients is
 * independent, so with g_i the gradients of a block and w_i their weights,
 *     ||sum w_i g_i||^2 - sum w_i^2 ||g_i||^2 = sum over i != j of w_i w_j <g_i, g_j>
 * has the expectation (W^2 - Q) M2, W = sum w_i, Q = sum w_i^2: M2, the signal ||E g||^2, is without bias however
 * many gradients an update averages; of gradients read at different versions it is the inner product of their
 * expectations. The mean of the squared norms is M2 + S2, S2 the noise. Under sync a block is an update; under
 * async it is about one gradient of each worker.
 *
 * A gradient of the next block has seen a share f of the one before: all that was applied until it was read. Its
 * inner product with that block's mean goes from M2, f = 0, to the agreement A, f = 1, and A is fitted to that line
 * by least squares. A = M2 where the steps in between changed nothing; A = 0 where they went as far as pays in
 * their own direction; and where noise takes away as much as the signal brings, A = -M2. */
#ifndef HYSGD_RUNTIME_ESTIMATE_H
#define HYSGD_RUNTIME_ESTIMATE_H

#include "runtime/engine.h"
#include "runtime/probe.h"

/* A mean that forgets: the weighted sum and the weight of what it has seen, both fading. */
struct estimate_mean {
    double sum, weight;
};

/* All that a checkpoint keeps besides vectors and `cycles`: doubles only, counts too. */
struct estimate_state {
    /* Gradients held for the next update. */
    double newest;                   /* version that the latest-read of them was read at */
    double reads;                    /* sum of these versions */
    double held_squares, held_norms; /* of those folded: sums of w^2 and of w^2 ||g||^2 */

    /* The present block; the weight of the one before. */
    double first, first_before;            /* versions at which they began */
    double count;                          /* gradients */
    double weight, squares, norms, square; /* W, Q, sum of w^2 ||g||^2, ||sum of w g||^2 */
    double weight_before;

    /* Fading sums. */
    struct estimate_mean norm, signal, receive, apply;
    double seen_products, seen_unseen, seen_squares; /* of the fit of A: of f y, f (1 - f), f^2 */

    double rate, rate_workers, lost_workers; /* sum of 1 / cycle, workers whose cycle is known, workers lost */

    struct hysgd_estimates values; /* what the policy sees */
};

struct estimator {
    bool is_wanted;            /* by the policy; nothing is done or kept otherwise */
    bool has_probe;            /* gradients are computed: the server's probe looks at them */
    bool is_new;               /* a block was completed */
    bool is_empty, has_before; /* the present block has no update yet; there is one before it. Of the probe, too */
    int workers;
    double *cycles; /* [workers] mean seconds of a gradient from its release to its arrival; 0: unknown */
    struct estimate_state state;
};

/* For `workers` workers, whose gradients are computed or not. Nothing is allocated unless the policy wants
 * estimates. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status estimate_init(struct estimator *estimator, const struct hysgd_policy_ops *policy,
                                                 int workers, bool has_probe);
void estimate_fini(struct estimator *estimator);

/* A gradient that took `cycle_seconds` from its release to its arrival, and the server `receive_seconds` to take in
 * (NaN: not known), is about to get its verdict. */
void estimate_arrival(struct estimator *estimator, int worker, double cycle_seconds, double receive_seconds);

/* A gradient computed at version `read` is held now. */
void estimate_held(struct estimator *estimator, uint64_t read);

/* A worker takes no part any more; takes part again, or for the first time. */
void estimate_lost(struct estimator *estimator, int worker);
void estimate_joined(struct estimator *estimator, int worker);

/* The server is about to fold or to apply the engine's parts. True: a block is over, so its probe turns before. */
bool estimate_begin(struct estimator *estimator, const struct engine *engine, bool is_update);

/* It has done so, in `seconds`, with the probe's `values` over all shards, and the engine has not been told yet. */
void estimate_end_fold(struct estimator *estimator, const struct engine *engine, double seconds,
                       const struct probe_values *values);
void estimate_end_update(struct estimator *estimator, const struct engine *engine, double seconds,
                         const struct probe_values *values);

/* Whether a block was completed since the last call. */
bool estimate_is_new(struct estimator *estimator);

/* For checkpoints: the state as a row of so many numbers; at least 1. Restoring is false where the numbers cannot
 * be those of a run. */
size_t estimate_fields(const struct estimator *estimator);
void estimate_store(const struct estimator *estimator, double *row_out);
bool estimate_restore(struct estimator *estimator, const double *row);

#endif
