/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded staleness. A worker's clock is the number of gradients it has delivered; each of them is an update of its
 * own. Q. Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", NeurIPS
 * 2013 (SSP): worker p goes on only if
 *     clock(p) - min over all workers i of clock(i) <= staleness
 * and else waits for the slowest. With staleness = 0 all gradients of a round are computed at the same version:
 * with plain SGD this is `sync` with combine=sum, up to the order of addition.
 *
 * dynamic = r_max > 0: X. Zhao et al., "Dynamic Stale Synchronous Parallel Distributed Training for Deep Learning",
 * ICDCS 2019, arXiv 1908.11848 (DSSP), whose s_L is `staleness` and whose s_U is staleness + r_max. When worker p
 * would have to wait, its next arrivals P and those of the slowest worker q, Q, are predicted from the last
 * intervals I of both,
 *     P(r) = now + r I_p,                r = 0 .. r_max
 *     Q(k) = start(q) + (k + 1) I_q,     k = 0, 1, ...
 * and p is granted the number of extra iterations after which it waits least for an arrival of q:
 *     r* = argmin over r of min { Q(k) - P(r) : Q(k) >= P(r) }, the smallest such r
 * Other than in the paper, an interval is the time from a worker's release to its arrival, since the time between
 * two arrivals would take waiting for computing. Anyone who would have to wait is granted extra iterations, not the
 * fastest alone, or the others would wait while they are less far ahead than it is. And r ends where p would start
 * an iteration more than s_U ahead, so that s_U holds also for repeated grants. Nothing is granted before q has
 * delivered its first gradient. */
#include <math.h>

#include "base/memory.h"

struct bounded_worker {
    double released; /* seconds on the run's clock */
    double interval; /* seconds that its latest gradient took, from release to arrival; 0: not yet known */
    int64_t extra;   /* iterations granted and not yet begun */
};

struct bounded {
    int64_t staleness; /* s_L, in clocks */
    int64_t dynamic;   /* r_max, in clocks */
    int workers;
    int64_t slowest;       /* the worker whose arrivals were predicted last, and its clock then: of use while */
    int64_t slowest_clock; /* both it and the slowest clock stay there */
    struct bounded_worker *each; /* [workers]; NULL when dynamic is 0 */
};

static const struct hysgd_option options[] = {
    {"staleness", HYSGD_OPTION_INT, offsetof(struct bounded, staleness), "3", 0, 1e9, NULL,
     "how many gradients a worker may be ahead of the slowest when it goes on"},
    {"dynamic", HYSGD_OPTION_INT, offsetof(struct bounded, dynamic), "0", 0, 1000, NULL,
     "r_max of DSSP: at most so many gradients more, where this is predicted to shorten the waiting; 0: none"},
    {.key = NULL},
};

static const struct hysgd_option saved[] = {
    {"slowest", HYSGD_OPTION_INT, offsetof(struct bounded, slowest), "0", 0, 1e9, NULL, "worker"},
    {"slowest_clock", HYSGD_OPTION_INT, offsetof(struct bounded, slowest_clock), "0", 0, 1e15, NULL, "gradients"},
    {.key = NULL},
};

static const struct hysgd_option saved_fields[] = {
    {"released", HYSGD_OPTION_REAL, offsetof(struct bounded_worker, released), "0", 0, 1e15, NULL, "seconds"},
    {"interval", HYSGD_OPTION_REAL, offsetof(struct bounded_worker, interval), "0", 0, 1e15, NULL, "seconds"},
    {"extra", HYSGD_OPTION_INT, offsetof(struct bounded_worker, extra), "0", 0, 1000, NULL, "iterations granted"},
    {.key = NULL},
};

static const struct hysgd_saved_workers saved_workers = {
    .array = offsetof(struct bounded, each),
    .size = sizeof(struct bounded_worker),
    .fields = saved_fields,
};

static enum hysgd_status bounded_init(void *self, int workers) {
    struct bounded *state = self;
    state->workers = workers;
    return state->dynamic > 0 ? memory_alloc((size_t)workers, sizeof *state->each, &state->each) : HYSGD_OK;
}

static void bounded_fini(void *self) {
    struct bounded *state = self;
    memory_free(state->each);
    state->each = NULL;
}

/* Every gradient counts; the look at it serves the prediction. Until the worker is asked, it is taken to go on at
 * once, so that the order in which workers are asked does not matter. */
static double bounded_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    const struct bounded *state = self;
    (void)staleness;
    if (state->each != NULL) {
        struct bounded_worker *own = &state->each[worker];
        own->interval = fmax(now->seconds - own->released, 0);
        own->released = now->seconds;
    }
    return 1;
}

static uint64_t bounded_threshold(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 1;
}

static double next_arrival(const struct bounded_worker *worker) {
    return worker->released + worker->interval;
}

/* The slowest worker; of several, the one that is expected last, as the slowest clock waits for all of them. A lost
 * worker's clock stays and may be taken for it: only the prediction suffers. */
static int find_slowest(struct bounded *state, const struct hysgd_progress *now) {
    bool is_known = state->slowest < state->workers && (uint64_t)state->slowest_clock == now->slowest;
    if (is_known && now->clocks[state->slowest] == now->slowest)
        return (int)state->slowest;
    int slowest = -1;
    for (int i = 0; i < state->workers; i++) {
        if (now->clocks[i] != now->slowest)
            continue;
        if (slowest < 0 || next_arrival(&state->each[i]) > next_arrival(&state->each[slowest]))
            slowest = i;
    }
    if (slowest >= 0) {
        state->slowest = slowest;
        state->slowest_clock = (int64_t)now->slowest;
    }
    return slowest;
}

/* r*, of 0 to `most`. */
static int64_t predict_extra(struct bounded *state, const struct hysgd_progress *now, int worker, uint64_t most) {
    int slowest = find_slowest(state, now);
    if (slowest < 0 || state->each[slowest].interval <= 0)
        return 0;
    double own = state->each[worker].interval, interval = state->each[slowest].interval;
    double late = now->seconds - next_arrival(&state->each[slowest]), least = INFINITY;
    int64_t best = 0;
    for (int64_t r = 0; r <= (int64_t)most; r++) {
        double behind = late + (double)r * own; /* P(r) - Q(0) */
        double waiting = behind > 0 ? ceil(behind / interval) * interval - behind : -behind;
        if (waiting < least) {
            least = waiting;
            best = r;
        }
    }
    return best;
}

/* Whether a worker that is more than `staleness` ahead may go on all the same. */
static bool may_exceed(struct bounded *state, const struct hysgd_progress *now, int worker, uint64_t ahead) {
    uint64_t most = (uint64_t)(state->staleness + state->dynamic);
    if (state->each == NULL || ahead > most)
        return false;
    int64_t *extra = &state->each[worker].extra;
    if (*extra == 0)
        *extra = predict_extra(state, now, worker, most - ahead + 1);
    if (*extra == 0)
        return false;
    --*extra;
    return true;
}

static enum hysgd_release bounded_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    struct bounded *state = self;
    uint64_t ahead = now->clocks[worker] - now->slowest;
    (void)is_held;
    if (ahead > (uint64_t)state->staleness) {
        if (!may_exceed(state, now, worker, ahead))
            return HYSGD_UNTIL_CLOCK;
    } else if (state->each != NULL) {
        state->each[worker].extra = 0;
    }
    if (state->each != NULL)
        state->each[worker].released = now->seconds;
    return HYSGD_GO;
}

/* With S = staleness + dynamic: who starts at clock c is at most S ahead, so the others' clocks are at least c - S.
 * Until it delivers, the slowest clock is at most c, so each of the others starts no iteration above c + S and
 * delivers at most 2 S + 1 times. */
static uint64_t bounded_staleness_bound(const void *self, int workers) {
    const struct bounded *state = self;
    return (2 * (uint64_t)(state->staleness + state->dynamic) + 1) * (uint64_t)(workers - 1);
}

const struct hysgd_policy_ops policy_bounded = {
    .about =
        {
            .name = "bounded",
            .alias = "ssp",
            .summary = "asynchronous, but nobody gets more than `staleness` gradients ahead of the slowest",
            .source = "Ho et al., NeurIPS 2013; dynamic: Zhao et al., ICDCS 2019, arXiv 1908.11848",
            .size = sizeof(struct bounded),
            .options = options,
        },
    .saved = saved,
    .saved_workers = &saved_workers,
    .init = bounded_init,
    .fini = bounded_fini,
    .admit = bounded_admit,
    .threshold = bounded_threshold,
    .release = bounded_release,
    .staleness_bound = bounded_staleness_bound,
};
