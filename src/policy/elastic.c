/* SPDX-License-Identifier: Apache-2.0 */
/* Elastic averaging. S. Zhang, A. Choromanska and Y. LeCun, "Deep learning with Elastic Averaging SGD", NeurIPS
 * 2015 (EASGD): each worker has parameters x of its own, the server a center c. A worker reads c, takes its local
 * steps (tau of them) and exchanges with the center d = alpha (x - c),   x -= d,   c += d where alpha = beta / N
 * with the paper's beta = 0.9 keeps the center's pull on N workers stable. Asynchronous (algorithm 1): nobody
 * waits. order=sync: the center moves by all d of a round at once, equation 6. A worker moves when it has read the
 * center, the center when the worker's round arrives; under order=sync this is the paper's iteration, otherwise d
 * is on its way for as long as the round takes. */
#include <stddef.h>

#include "base/status.h"

enum elastic_order { ORDER_ASYNC, ORDER_SYNC };

struct elastic {
    double alpha; /* 0: beta / workers */
    double beta;
    int order; /* enum elastic_order */
};

static const struct hysgd_option options[] = {
    {"alpha", HYSGD_OPTION_REAL, offsetof(struct elastic, alpha), "0", 0, 1, NULL,
     "share of its distance from the center that a worker moves, and the center towards it; 0: beta / workers"},
    {"beta", HYSGD_OPTION_REAL, offsetof(struct elastic, beta), "0.9", 1e-6, 1, NULL,
     "the same of all workers together, where alpha is 0"},
    {"order", HYSGD_OPTION_CHOICE, offsetof(struct elastic, order), "async", 0, 0, "async|sync",
     "async: the center moves with each worker; sync: with all of them at once, and everybody waits for the slowest"},
    {.key = NULL},
};

static double elastic_elasticity(const void *self, int workers) {
    const struct elastic *state = self;
    return state->alpha > 0 ? state->alpha : state->beta / workers;
}

static uint64_t elastic_threshold(void *self, const struct hysgd_progress *now) {
    const struct elastic *state = self;
    return state->order == ORDER_SYNC && now->workers > 1 ? (uint64_t)now->workers : 1;
}

static enum hysgd_release elastic_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static uint64_t elastic_staleness_bound(const void *self, int workers) {
    const struct elastic *state = self;
    return state->order == ORDER_SYNC || workers == 1 ? 0 : UINT64_MAX;
}

static const struct hysgd_policy_worker_ops worker_ops = {.elasticity = elastic_elasticity};

const struct hysgd_policy_ops policy_elastic = {
    .about =
        {
            .name = "elastic",
            .alias = "easgd",
            .summary = "workers keep parameters of their own, drawn to the server's and the server's to them",
            .source = "Zhang, Choromanska and LeCun, Deep learning with Elastic Averaging SGD, NeurIPS 2015",
            .size = sizeof(struct elastic),
            .options = options,
        },
    .threshold = elastic_threshold,
    .release = elastic_release,
    .staleness_bound = elastic_staleness_bound,
    .worker_ops = &worker_ops,
};
