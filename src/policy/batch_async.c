/* SPDX-License-Identifier: Apache-2.0 */
/* Buffered asynchronous SGD: an update takes any K gradients, however stale. K-batch-async in S. Dutta et al.,
 * "Slow and Stale Gradients Can Win the Race", AISTATS 2018; FedBuff in J. Nguyen et al., "Federated Learning with
 * Buffered Asynchronous Aggregation", AISTATS 2022, algorithm 1, whose K is 10 by default:
 *     w(v+1) = w(v) - rate * combine over the next K arrivals of g_i(w(v - tau_i))
 * Nobody waits. FedBuff's weights (1 + tau)^-0.5 are those of the run's staleness weight `polynomial`, which every
 * policy can have. K = 1 is `async`. */
#include "base/status.h"

struct batch_async {
    int64_t size; /* gradients */
};

static const struct hysgd_option options[] = {
    {"size", HYSGD_OPTION_INT, offsetof(struct batch_async, size), "10", 1, 1e9, NULL,
     "K, the gradients of an update"},
    {.key = NULL},
};

static uint64_t batch_async_threshold(void *self, const struct hysgd_progress *now) {
    const struct batch_async *state = self;
    (void)now;
    return (uint64_t)state->size;
}

static enum hysgd_release batch_async_release(void *self, const struct hysgd_progress *now, int worker,
                                              bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

static uint64_t batch_async_staleness_bound(const void *self, int workers) {
    (void)self;
    return workers > 1 ? UINT64_MAX : 0;
}

const struct hysgd_policy_ops policy_batch_async = {
    .about =
        {
            .name = "batch-async",
            .alias = "fedbuff, k-batch-async",
            .summary = "an update takes the next K gradients, however stale; nobody waits",
            .source = "Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022",
            .size = sizeof(struct batch_async),
            .options = options,
        },
    .threshold = batch_async_threshold,
    .release = batch_async_release,
    .staleness_bound = batch_async_staleness_bound,
};
