/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous SGD that ignores gradients that are too stale. A. Maranjyan, A. Tyurin and P. Richtarik, "Ringmaster
 * ASGD: The First Asynchronous SGD with Optimal Time Complexity", ICML 2025, algorithm 1, whose R is
 * max(1, ceil(sigma^2 / epsilon)). With tau the number of updates while worker i computed
 *     tau < R:  w(v+1) = w(v) - rate * g_i(w(v - tau));   else the gradient is dropped
 * and the worker goes on at once with the present version. R = 1 is serial SGD, each step by whoever is first; with
 * a large R the policy is `async`. The paper's variant that also interrupts workers whose gradient would be dropped
 * (its algorithm 2) is not this one. */
#include "base/status.h"

struct cutoff {
    int64_t limit;  /* R, in versions; 0: chosen by the number of workers */
    uint64_t least; /* the smallest staleness that is dropped */
};

static const struct hysgd_option options[] = {
    {"limit", HYSGD_OPTION_INT, offsetof(struct cutoff, limit), "0", 0, 1e15, NULL,
     "R: gradients of a staleness of R versions or more are dropped; 0: twice the number of workers"},
    {.key = NULL},
};

/* Workers of the same speed have a staleness around their number; twice that leaves room for the usual variation.
 */
static enum hysgd_status cutoff_init(void *self, int workers) {
    struct cutoff *state = self;
    state->least = state->limit != 0 ? (uint64_t)state->limit : 2 * (uint64_t)workers;
    return HYSGD_OK;
}

static double cutoff_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    const struct cutoff *state = self;
    (void)now, (void)worker;
    return staleness < state->least ? 1 : 0;
}

static uint64_t cutoff_threshold(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 1;
}

static enum hysgd_release cutoff_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

static uint64_t cutoff_staleness_bound(const void *self, int workers) {
    const struct cutoff *state = self;
    return workers > 1 ? state->least - 1 : 0;
}

const struct hysgd_policy_ops policy_cutoff = {
    .about =
        {
            .name = "cutoff",
            .alias = "ringmaster",
            .summary = "asynchronous, but a gradient that is R versions old or older is dropped",
            .source = "Maranjyan et al., Ringmaster ASGD, ICML 2025, arXiv 2501.16168",
            .size = sizeof(struct cutoff),
            .options = options,
        },
    .init = cutoff_init,
    .admit = cutoff_admit,
    .threshold = cutoff_threshold,
    .release = cutoff_release,
    .staleness_bound = cutoff_staleness_bound,
};
