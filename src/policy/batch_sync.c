/* SPDX-License-Identifier: Apache-2.0 */
/* Synchronous SGD by gradients instead of workers: an update takes the first B gradients of the present version,
 * whoever computed them. K-batch-sync in S. Dutta et al., "Slow and Stale Gradients Can Win the Race", AISTATS
 * 2018; Rennala SGD in A. Tyurin and P. Richtarik, "Optimal Time Complexities of Parallel Stochastic Optimization
 * Methods Under a Fixed Computation Model", NeurIPS 2023, algorithm 2, whose B is max(1, ceil(sigma^2 / epsilon)):
 *     w(v+1) = w(v) - rate * combine over the first B gradients g(w(v))
 * Nobody waits: a worker that has delivered computes another gradient of the same version, and fast workers
 * contribute more of them than slow ones. A gradient of an older version is dropped; as nobody is interrupted at an
 * update, up to workers - 1 gradients come too late each time, so B should be well above the number of workers or
 * their speeds unequal. */
#include "base/status.h"

struct batch_sync {
    int64_t size;    /* gradients; 0: as many as there are workers */
    uint64_t needed; /* B */
};

static const struct hysgd_option options[] = {
    {"size", HYSGD_OPTION_INT, offsetof(struct batch_sync, size), "0", 0, 1e9, NULL,
     "B, the gradients of an update; 0: as many as there are workers at first; larger wastes fewer gradients"},
    {.key = NULL},
};

/* Any B is reached, by one worker alone if need be. */
static enum hysgd_status batch_sync_init(void *self, int workers) {
    struct batch_sync *state = self;
    state->needed = (uint64_t)(state->size != 0 ? state->size : workers);
    return HYSGD_OK;
}

static double batch_sync_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)self, (void)now, (void)worker;
    return staleness == 0 ? 1 : 0;
}

static uint64_t batch_sync_threshold(void *self, const struct hysgd_progress *now) {
    const struct batch_sync *state = self;
    (void)now;
    return state->needed;
}

static enum hysgd_release batch_sync_release(void *self, const struct hysgd_progress *now, int worker,
                                             bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

static uint64_t batch_sync_staleness_bound(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

const struct hysgd_policy_ops policy_batch_sync = {
    .about =
        {
            .name = "batch-sync",
            .alias = "rennala, k-batch-sync",
            .summary =
                "an update takes B gradients of the present version from anyone; nobody waits, stale ones are "
                "dropped",
            .source = "Tyurin and Richtarik, Optimal Time Complexities, NeurIPS 2023, arXiv 2305.12387",
            .size = sizeof(struct batch_sync),
            .options = options,
        },
    .init = batch_sync_init,
    .admit = batch_sync_admit,
    .threshold = batch_sync_threshold,
    .release = batch_sync_release,
    .staleness_bound = batch_sync_staleness_bound,
};
