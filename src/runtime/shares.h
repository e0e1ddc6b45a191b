/* SPDX-License-Identifier: Apache-2.0 */
/* What the applied gradients were computed from: samples per worker and per class, so that the bias which dropping
 * and waiting for nobody bring can be seen against the training data. Each sample counts with the weight of its
 * gradient. */
#ifndef HYSGD_RUNTIME_SHARES_H
#define HYSGD_RUNTIME_SHARES_H

#include "data/partition.h"
#include "record/event.h"

/* Of one worker. */
struct shares_worker {
    double held, applied, later; /* weighted samples; later: held for the next round of a table */
};

struct shares {
    int workers, classes; /* classes 0: the data have no labels */
    double *deliveries;   /* [workers][1 + classes] samples of the worker's present or latest delivery, and
                             of them those of each class; a row is written by the worker's thread */
    struct shares_worker *by_worker; /* [workers] */
    double *by_class;                /* [3][classes] weighted samples: held, applied, later */
    uint64_t round;                  /* of a table: what is for later belongs to the next one */
    int *holders, holder_count;      /* workers of which something is held */
    double *parts;                   /* [workers] their shares of the training set */
    struct event_share *of_class;    /* [classes] `data` known from the beginning, `applied` by shares_summarize */
    double applied;                  /* all weighted samples, by shares_summarize */
};

/* Learns how the training set is shared out. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status shares_init(struct shares *shares, const struct partition *partition,
                                               const struct plugin *data, const struct hysgd_data_shape *shape);
void shares_fini(struct shares *shares);

/* Learns how it is shared out after a loss. */
void shares_deal(struct shares *shares, const struct partition *partition);

/* A worker begins what it will deliver; then adds a batch to it, once or several times; `labels` NULL: none. By the
 * worker's thread, or for it before it runs. */
void shares_begin(struct shares *shares, int worker);
void shares_add(struct shares *shares, int worker, const int32_t *labels, size_t count);

/* The worker's delivery is held with this weight, or held for later; all that is held has become part of an update;
 * what was for later is held as soon as the round is another one. */
void shares_hold(struct shares *shares, int worker, double weight, bool is_later);
void shares_apply(struct shares *shares);
void shares_turn(struct shares *shares, uint64_t round);

/* After by_worker and by_class have been read from a checkpoint: whether they can be true; then computes what
 * follows from them. */
bool shares_restore(struct shares *shares);

/* Computes the shares of what has been applied so far; then those of a worker can be had. Not known where shares
 * are empty or nothing was applied. */
void shares_summarize(struct shares *shares);
struct event_share shares_of_worker(const struct shares *shares, int worker);

#endif
