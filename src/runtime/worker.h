/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker needs to compute gradients: its samples, the buffers of one piece of a batch and the model's
 * workspace. A batch is computed in pieces of setup->micro_batch samples, whose gradients are averaged: it needs
 * the memory of one piece, and between pieces the worker can give it up. */
#ifndef HYSGD_RUNTIME_WORKER_H
#define HYSGD_RUNTIME_WORKER_H

#include "data/batch.h"
#include "runtime/training.h"

/* What a worker has after lost ones have left samples, and others have joined and got some. */
struct worker_taken {
    int changes;   /* it has what the partition gives it after so many */
    uint64_t draw; /* from this batch on */
};

struct training_worker {
    struct worker_taken taken; /* where the worker computes, by who lets it start; else known from its starts */
    struct sampler sampler;    /* all zero where another process computes */
    uint64_t draws;            /* batches begun */
    double loss;               /* of the latest gradient: the mean over its batches */
    double data_seconds;       /* until it had the samples of its latest gradient */
    bool has_given_up;         /* the latest batch, before its last piece was done: there is no gradient */
    double delivered_seconds; /* when its latest gradient reached the server, or was given up, on the run's clock */
    bool is_under_way;        /* begun and neither delivered nor given up */
    uint64_t has_read;        /* the latest version that it was sent, and 1; 0: none yet */
    float *gradient; /* [parameter_count + statistic_count] where it puts what it delivers: the server's buffer
                        of the worker, or where the vectors are elsewhere the runtime's */
    struct hysgd_batch prepared; /* the first piece of the next batch, where is_prepared */
    bool is_prepared;
    bool is_open;
    void *workspace;              /* of the model; opened by the computing thread */
    struct batch_buffers buffers; /* for the samples of one piece */
    float *piece; /* [parameter_count + statistic_count] gradient of one piece; NULL when a batch is one piece */
};

/* Asked after each piece of a batch, by the thread that computes: is the rest no longer wanted? */
struct worker_watch {
    bool (*gives_up)(void *self);
    void *self;
};

/* The pieces of a batch, and the samples of each. */
static inline size_t worker_pieces(const struct training_setup *setup) {
    return setup->micro_batch > 0 ? setup->batch / setup->micro_batch : 1;
}

static inline size_t worker_piece_size(const struct training_setup *setup) {
    return setup->micro_batch > 0 ? setup->micro_batch : setup->batch;
}

/* One worker, not yet open. HYSGD_MEMORY; worker_fini accepts what there is then. */
HYSGD_MUST_CHECK enum hysgd_status worker_init(struct training *training, int worker);
void worker_fini(struct training *training, int worker);

/* A worker starts: from this batch on it has its part of all samples that lost workers have left so far. Not while
 * it computes; it may be preparing. One that was lost itself goes on with what it had. */
void worker_take_over(struct training *training, int worker);

/* Opens the batch buffers and the workspace; by the thread that will compute. Nothing to do when they are open. */
HYSGD_MUST_CHECK enum hysgd_status worker_open(struct training *training, int worker);

/* The gradient of the worker's next batch at `vector` goes to gradient_out, the loss to `loss`. `watch`: may be
 * NULL; when it answers yes the rest of the batch is left out, `has_given_up` is set and gradient_out is
 * unfinished. */
HYSGD_MUST_CHECK enum hysgd_status worker_gradient(struct training *training, int worker, const float *vector,
                                                   const struct worker_watch *watch, float *gradient_out);

/* Gathers the samples of the next batch's first piece ahead of its gradient, for example while the parameters are
 * on their way. An open worker; by the thread that computes. */
void worker_prepare(struct training *training, int worker);

/* What the worker delivers next, computed from `vector`, goes to its `gradient`: that of
 * its next batch, or the outcome of a round of local steps (local.h), rounded to what can travel (outgoing.h). */
HYSGD_MUST_CHECK enum hysgd_status worker_compute(struct training *training, int worker, const float *vector,
                                                  const struct worker_watch *watch);

/* What the worker has computed is delivered: what that has changed of its own vectors is now settled. By
 * drive_arrive or, where the server's vectors are elsewhere, by the runtime in the process of the worker. */
void worker_settle(struct training *training, int worker);

/* Continues as if `draws` batches had been begun, wherever the worker computes. */
void worker_seek(struct training *training, int worker, uint64_t draws);

#endif
