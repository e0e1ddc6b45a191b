/* SPDX-License-Identifier: Apache-2.0 */
/* Alternates for the whole run between `sync` synchronous updates and `async` asynchronous ones: the cycle of n
 * synchronous and m asynchronous iterations under which the hybrid approach of arXiv 2407.00101 is also described.
 * The phase is a function of the version alone, by p = version mod (sync + async); with first=sync
 *     K = workers where p < sync, else 1
 * and with first=async the other way round. In a synchronous phase a worker waits while its gradient is held, so
 * that an update has one gradient of each. */
#include "base/status.h"

enum cyclic_phase { PHASE_SYNC, PHASE_ASYNC };

struct cyclic {
    int64_t sync;  /* updates in a synchronous phase */
    int64_t async; /* updates in an asynchronous phase */
    int first;     /* enum cyclic_phase of version 0 */
};

static const struct hysgd_option options[] = {
    {"sync", HYSGD_OPTION_INT, offsetof(struct cyclic, sync), "10", 1, 1e15, NULL,
     "updates in a synchronous phase"},
    {"async", HYSGD_OPTION_INT, offsetof(struct cyclic, async), "100", 1, 1e15, NULL,
     "updates in an asynchronous phase; also the largest staleness"},
    {"first", HYSGD_OPTION_CHOICE, offsetof(struct cyclic, first), "sync", 0, 0, "sync|async",
     "the phase that the run begins with"},
    {.key = NULL},
};

static bool is_sync(const struct cyclic *cyclic, const struct hysgd_progress *now) {
    uint64_t position = now->version % (uint64_t)(cyclic->sync + cyclic->async);
    if (cyclic->first == PHASE_SYNC)
        return position < (uint64_t)cyclic->sync;
    return position >= (uint64_t)cyclic->async;
}

static uint64_t cyclic_threshold(void *self, const struct hysgd_progress *now) {
    return is_sync(self, now) && now->workers > 1 ? (uint64_t)now->workers : 1;
}

static enum hysgd_release cyclic_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)worker;
    return is_held && is_sync(self, now) ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

/* A synchronous update needs every worker, so a gradient outlives at most the asynchronous updates of one phase. */
static uint64_t cyclic_staleness_bound(const void *self, int workers) {
    const struct cyclic *cyclic = self;
    return workers > 1 ? (uint64_t)cyclic->async : 0;
}

const struct hysgd_policy_ops policy_cyclic = {
    .about =
        {
            .name = "cyclic",
            .summary = "so many synchronous updates, then so many asynchronous ones, and again",
            .source = "Hybrid approach to parallel SGD, arXiv 2407.00101",
            .size = sizeof(struct cyclic),
            .options = options,
        },
    .threshold = cyclic_threshold,
    .release = cyclic_release,
    .staleness_bound = cyclic_staleness_bound,
};
