/* SPDX-License-Identifier: Apache-2.0 */
/* Changes once from synchronous to asynchronous training, or the other way round. S. Li et al., "Sync-Switch:
 * Hybrid Parameter Synchronization for Distributed Deep Learning", ICDCS 2021: synchronous for the first share p of
 * the run, then asynchronous, for nearly the accuracy of the one at nearly the speed of the other. With to=async
 *     K = workers where progress < at, else 1
 * and with to=sync the other way round. While synchronous, a worker waits while its gradient is held. A job without
 * any limit has no fraction: its progress stays 0. */
#include "base/status.h"

#include <math.h>

enum switch_unit { UNIT_FRACTION, UNIT_SECONDS, UNIT_UPDATES };
enum switch_target { TO_ASYNC, TO_SYNC };

struct switching {
    double at; /* in `unit` */
    int unit;  /* enum switch_unit */
    int to;    /* enum switch_target */
};

static const struct hysgd_option options[] = {
    {"at", HYSGD_OPTION_REAL, offsetof(struct switching, at), "0.25", 0, 1e15, NULL, "when to switch, in `unit`"},
    {"unit", HYSGD_OPTION_CHOICE, offsetof(struct switching, unit), "fraction", 0, 0, "fraction|seconds|updates",
     "what `at` counts: the fraction of the run (0 to 1), seconds of the run's clock, or updates"},
    {"to", HYSGD_OPTION_CHOICE, offsetof(struct switching, to), "async", 0, 0, "async|sync",
     "what the run changes to; until then it is the other"},
    {.key = NULL},
};

static enum hysgd_status switch_init(void *self, int workers) {
    const struct switching *state = self;
    (void)workers;
    if (state->unit == UNIT_FRACTION && state->at > 1)
        return hysgd_fail(HYSGD_USAGE,
                          "policy switch: at=%g is not a fraction of the run; expected 0 to 1, or unit=seconds or "
                          "unit=updates",
                          state->at);
    return HYSGD_OK;
}

static bool is_sync(const struct switching *state, const struct hysgd_progress *now) {
    double progress = state->unit == UNIT_FRACTION  ? now->fraction
                      : state->unit == UNIT_SECONDS ? now->seconds
                                                    : (double)now->version;
    bool has_switched = progress >= state->at;
    return has_switched == (state->to == TO_SYNC);
}

static uint64_t switch_threshold(void *self, const struct hysgd_progress *now) {
    return is_sync(self, now) && now->workers > 1 ? (uint64_t)now->workers : 1;
}

static enum hysgd_release switch_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)worker;
    return is_held && is_sync(self, now) ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

/* Once synchronous, an update needs every worker: only the asynchronous updates before can make a gradient stale,
 * and their number is known only where `at` counts updates or is 0. */
static uint64_t switch_staleness_bound(const void *self, int workers) {
    const struct switching *state = self;
    if (workers <= 1)
        return 0;
    if (state->to == TO_SYNC && (state->unit == UNIT_UPDATES || state->at <= 0))
        return (uint64_t)ceil(state->at);
    return UINT64_MAX;
}

const struct hysgd_policy_ops policy_switch = {
    .about =
        {
            .name = "switch",
            .alias = "sync-switch",
            .summary = "synchronous until a point of the run, then asynchronous, or the other way round",
            .source = "Li et al., Sync-Switch, ICDCS 2021, arXiv 2104.08364",
            .size = sizeof(struct switching),
            .options = options,
        },
    .init = switch_init,
    .threshold = switch_threshold,
    .release = switch_release,
    .staleness_bound = switch_staleness_bound,
};
