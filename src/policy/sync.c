/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk synchronous parallel SGD: an update takes one gradient of every worker, all computed on the same version,
 * and everyone waits for it. L. G. Valiant, "A bridging model for parallel computation", CACM 33(8), 1990:
 *     w(v+1) = w(v) - rate * combine over all workers i of g_i(w(v)) */
#include "base/status.h"

/* Workers that are lost no longer count, so those that remain do not wait for them. */
static uint64_t sync_threshold(void *self, const struct hysgd_progress *now) {
    (void)self;
    return now->workers > 1 ? (uint64_t)now->workers : 1;
}

static enum hysgd_release sync_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static uint64_t sync_staleness_bound(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

const struct hysgd_policy_ops policy_sync = {
    .about =
        {
            .name = "sync",
            .summary = "every update takes one gradient of each worker; all wait for the slowest",
            .source = "Valiant, A bridging model for parallel computation, CACM 33(8), 1990",
        },
    .threshold = sync_threshold,
    .release = sync_release,
    .staleness_bound = sync_staleness_bound,
};
