/* SPDX-License-Identifier: Apache-2.0 */
/* Synchronous SGD with backup workers: an update takes the first K of the gradients of the present version, the
 * late ones are dropped. J. Chen et al., "Revisiting Distributed Synchronous SGD", arXiv 1604.00981, algorithms 3
 * and 4; K-sync in S. Dutta et al., AISTATS 2018; m-sync in arXiv 2602.03802. With S the first K workers to deliver
 * a gradient of version v
 *     w(v+1) = w(v) - rate * combine over i in S of g_i(w(v))
 * A worker waits while its gradient is held, so S has K different workers. One that comes too late delivers, is
 * dropped, and goes on at once with the present version; with cancel=yes it gives up what it computes as soon as
 * the update is done, at the end of the present piece of its batch, and goes on then. So the data of a worker that
 * is always late are not learned from. K = workers is `sync`. */
#include "base/status.h"

#include <inttypes.h>

struct backup {
    int64_t count, spare; /* workers; 0: not given */
    bool cancel;
    int needed; /* K, while there are so many workers */
};

static const struct hysgd_option options[] = {
    {"count", HYSGD_OPTION_INT, offsetof(struct backup, count), "0", 0, 1e9, NULL,
     "K, the gradients of an update, one a worker; 0: by `spare`"},
    {"spare", HYSGD_OPTION_INT, offsetof(struct backup, spare), "0", 0, 1e9, NULL,
     "how many workers more than K there are; 0, when count is 0 too: a tenth of the workers, rounded up"},
    {"cancel", HYSGD_OPTION_BOOL, offsetof(struct backup, cancel), "no", 0, 0, NULL,
     "whether late workers give up what they compute, between the pieces of a batch (micro-batch), and begin anew"},
    {.key = NULL},
};

static enum hysgd_status backup_init(void *self, int workers) {
    struct backup *state = self;
    if (state->count != 0 && state->spare != 0)
        return hysgd_fail(HYSGD_USAGE,
                          "policy backup: count=%" PRId64 " and spare=%" PRId64
                          " say the same thing twice; expected one of them",
                          state->count, state->spare);
    if (state->count > workers)
        return hysgd_fail(HYSGD_USAGE,
                          "policy backup: count=%" PRId64
                          " is never reached by %d workers with one gradient each; expected 1 to %d",
                          state->count, workers, workers);
    if (state->spare >= workers)
        return hysgd_fail(HYSGD_USAGE,
                          "policy backup: spare=%" PRId64 " of %d workers leaves none; expected less than %d",
                          state->spare, workers, workers);
    int spare = state->spare != 0 ? (int)state->spare : (workers + 9) / 10;
    state->needed = state->count != 0 ? (int)state->count : workers - spare;
    if (state->needed < 1) /* a worker alone */
        state->needed = 1;
    return HYSGD_OK;
}

static double backup_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)self, (void)now, (void)worker;
    return staleness == 0 ? 1 : 0;
}

/* Lost workers are first taken from the spare ones: that is what these are for. */
static uint64_t backup_threshold(void *self, const struct hysgd_progress *now) {
    const struct backup *state = self;
    int needed = state->needed < now->workers ? state->needed : now->workers;
    return needed > 1 ? (uint64_t)needed : 1;
}

static enum hysgd_release backup_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static bool backup_abandons(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    const struct backup *state = self;
    (void)now, (void)worker;
    return state->cancel && staleness > 0;
}

static uint64_t backup_staleness_bound(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

static const struct hysgd_policy_worker_ops worker_ops = {.abandons = backup_abandons};

const struct hysgd_policy_ops policy_backup = {
    .about =
        {
            .name = "backup",
            .alias = "k-sync, m-sync",
            .summary =
                "synchronous without the slowest: an update takes the first K gradients, late ones are dropped",
            .source = "Chen et al., Revisiting Distributed Synchronous SGD, arXiv 1604.00981",
            .size = sizeof(struct backup),
            .options = options,
        },
    .init = backup_init,
    .admit = backup_admit,
    .threshold = backup_threshold,
    .release = backup_release,
    .staleness_bound = backup_staleness_bound,
    .worker_ops = &worker_ops,
};
