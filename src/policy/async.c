/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous SGD: every gradient is an update of its own and nobody waits. J. Dean et al., "Large Scale
 * Distributed Deep Networks", NeurIPS 2012 (Downpour SGD); tau is the number of updates while worker i computed:
 *     w(v+1) = w(v) - rate * g_i(w(v - tau)) */
#include "base/status.h"

static uint64_t async_threshold(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 1;
}

static enum hysgd_release async_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

/* Others may update any number of times while a slow worker computes; alone, there are no others. */
static uint64_t async_staleness_bound(const void *self, int workers) {
    (void)self;
    return workers > 1 ? UINT64_MAX : 0;
}

const struct hysgd_policy_ops policy_async = {
    .about =
        {
            .name = "async",
            .summary = "every gradient is applied when it arrives; nobody waits",
            .source = "Dean et al., Large Scale Distributed Deep Networks, NeurIPS 2012",
        },
    .threshold = async_threshold,
    .release = async_release,
    .staleness_bound = async_staleness_bound,
};
