/* SPDX-License-Identifier: Apache-2.0 */
/* Trials with a time limit, for compute times with heavy tails. A. Maranjyan, O. S. Omar, P. Richtarik, "MindFlayer
 * SGD: Efficient Parallel SGD in the Presence of Heterogeneous and Random Worker Compute Times", UAI 2025, arXiv
 * 2410.04285. In a round every worker i makes B_i = `trials` trials at the round's version w; a trial that takes
 * longer than t_i is interrupted, its gradient is given up, and the next trial takes a new batch. With S the trials
 * that succeeded and p_i = P(time of worker i <= t_i),
 *     w+ = w - rate / B * sum over s in S of g_s(w),     B = sum over i of p_i B_i
 * whatever the run combines gradients to: a round moves w by what its trials yield on average, so one with few
 * successes makes a small step. B is |trials of the round| p, with p the share of all trials so far that succeeded.
 * A round without success changes nothing and is followed by another.
 *
 * t_i is `patience`, or the median of the worker's own times, which the paper found to work well. A trial that was
 * given up tells only that its time would have been longer, so the median is found by stochastic approximation (H.
 * Robbins, S. Monro, 1951) on the logarithm of t_i: with a = max(3/k, 0.1) / 2 at the k-th trial that has a limit,
 *     t_i <- t_i e^a                               after a trial that was given up
 *     t_i <- max(t_i e^-a, the time of the trial)  after one that was not
 * where the maximum has times that do not vary delivered always. The first trial of all has no limit, and measures;
 * the first update takes the gradients of half of the workers, so that nobody waits for the tail then. The others
 * give up, and begin with the time that they have spent. */
#include <math.h>

#include "base/memory.h"

#define LEAST_STEP 0.1   /* what t_i goes on to move by, at most, when the times change */
#define SLACK      1.001 /* more than a rounding error of the clock */
#define LONGEST    1e12  /* seconds */

struct timeout_worker {
    double begun;    /* its latest trial, in seconds on the run's clock */
    double patience; /* t_i, in seconds; 0: not yet known */
    int64_t round;   /* of its latest trial */
    int64_t trials;  /* ended in that round */
    int64_t limited; /* ended with a t_i, in all rounds */
    bool is_active;  /* its latest trial has not ended */
};

struct timeout {
    double patience;        /* t_i, in seconds; 0: by the median */
    int64_t trials;         /* B_i */
    int64_t round;          /* from 1 */
    int64_t active;         /* trials of the round that have not ended */
    int64_t ended;          /* trials of the round that have */
    int64_t all, successes; /* trials that have ended in their rounds; those of them that delivered */
    int workers;
    int asked;                   /* whose trial has ended, and who is asked for its release next; -1: nobody */
    struct timeout_worker *each; /* [workers] */
};

static const struct hysgd_option options[] = {
    {"patience", HYSGD_OPTION_REAL, offsetof(struct timeout, patience), "0", 0, 1e9, NULL,
     "seconds after which a worker gives up a gradient; 0: the median of its own times, as it learns it"},
    {"trials", HYSGD_OPTION_INT, offsetof(struct timeout, trials), "1", 1, 1e6, NULL,
     "gradients that each worker tries to deliver for an update"},
    {.key = NULL},
};

static const struct hysgd_option saved[] = {
    {"round", HYSGD_OPTION_INT, offsetof(struct timeout, round), "1", 1, 1e15, NULL, "rounds"},
    {"active", HYSGD_OPTION_INT, offsetof(struct timeout, active), "0", 0, 1e9, NULL, "trials"},
    {"ended", HYSGD_OPTION_INT, offsetof(struct timeout, ended), "0", 0, 1e15, NULL, "trials"},
    {"all", HYSGD_OPTION_INT, offsetof(struct timeout, all), "0", 0, 1e15, NULL, "trials"},
    {"successes", HYSGD_OPTION_INT, offsetof(struct timeout, successes), "0", 0, 1e15, NULL, "trials"},
    {.key = NULL},
};

static const struct hysgd_option saved_fields[] = {
    {"begun", HYSGD_OPTION_REAL, offsetof(struct timeout_worker, begun), "0", 0, 1e15, NULL, "seconds"},
    {"patience", HYSGD_OPTION_REAL, offsetof(struct timeout_worker, patience), "0", 0, 1e15, NULL, "seconds"},
    {"round", HYSGD_OPTION_INT, offsetof(struct timeout_worker, round), "0", 0, 1e15, NULL, "round"},
    {"trials", HYSGD_OPTION_INT, offsetof(struct timeout_worker, trials), "0", 0, 1e15, NULL, "ended in the round"},
    {"limited", HYSGD_OPTION_INT, offsetof(struct timeout_worker, limited), "0", 0, 1e15, NULL,
     "ended with a limit"},
    {"is_active", HYSGD_OPTION_BOOL, offsetof(struct timeout_worker, is_active), "no", 0, 0, NULL, "in a trial"},
    {.key = NULL},
};

static const struct hysgd_saved_workers saved_workers = {
    .array = offsetof(struct timeout, each),
    .size = sizeof(struct timeout_worker),
    .fields = saved_fields,
};

static enum hysgd_status timeout_init(void *self, int workers) {
    struct timeout *state = self;
    state->workers = workers;
    state->round = 1;
    state->asked = -1;
    return memory_alloc((size_t)workers, sizeof *state->each, &state->each);
}

static void timeout_fini(void *self) {
    struct timeout *state = self;
    memory_free(state->each);
    state->each = NULL;
}

static void begin_round(struct timeout *state) {
    state->round++;
    state->active = 0;
    state->ended = 0;
}

/* A trial begins. Also asked about one that is under way, when a process begins: then it begins again. */
static double timeout_patience(void *self, const struct hysgd_progress *now, int worker) {
    struct timeout *state = self;
    struct timeout_worker *own = &state->each[worker];
    bool is_counted = own->is_active && own->round == state->round;
    if (own->round != state->round)
        own->trials = 0;
    if (!is_counted)
        state->active++;
    own->round = state->round;
    own->is_active = true;
    own->begun = now->seconds;
    return state->patience > 0 ? state->patience : own->patience; /* 0: none yet */
}

/* Moves a worker's t_i towards its median. */
static void learn(struct timeout_worker *own, double seconds, bool is_delivered) {
    if (own->patience <= 0) {
        own->patience = seconds * SLACK;
        return;
    }
    own->limited++;
    double step = fmax(3 / (double)own->limited, LEAST_STEP) / 2;
    if (!is_delivered)
        own->patience = fmin(own->patience * exp(step), LONGEST);
    else
        own->patience = fmin(own->patience, fmax(own->patience * exp(-step), seconds * SLACK));
}

static void end_trial(struct timeout *state, const struct hysgd_progress *now, int worker, bool is_delivered) {
    struct timeout_worker *own = &state->each[worker];
    bool is_of_round = own->round == state->round;
    state->asked = worker;
    if (is_of_round && own->is_active)
        state->active--;
    own->is_active = false;
    own->trials++;
    if (is_of_round) {
        state->ended++;
        state->all++;
        state->successes += is_delivered;
    }
    bool tells = is_of_round || is_delivered || own->patience <= 0; /* what was cut off: only of an unknown t_i */
    if (state->patience <= 0 && tells)
        learn(own, fmax(now->seconds - own->begun, 0), is_delivered);
}

static double timeout_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    end_trial(self, now, worker, true);
    return staleness == 0 ? 1 : 0;
}

static void timeout_abandoned(void *self, const struct hysgd_progress *now, int worker) {
    end_trial(self, now, worker, false);
}

/* Those that the first update came before, when nobody had a limit. */
static bool timeout_abandons(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)self, (void)now, (void)worker;
    return staleness > 0;
}

static bool has_trials(const struct timeout *state, int worker) {
    const struct timeout_worker *own = &state->each[worker];
    return own->round != state->round || own->trials < state->trials;
}

/* No trial of the round is under way. One of a lost worker does not end, but does not compute either. */
static bool nobody_tries(const struct timeout *state, const struct hysgd_progress *now) {
    return state->active == 0 || now->computing == 0;
}

/* All trials of the round at first, and what there is once the last has ended. */
static uint64_t timeout_threshold(void *self, const struct hysgd_progress *now) {
    const struct timeout *state = self;
    bool goes_on = state->asked >= 0 && has_trials(state, state->asked);
    bool is_first = state->patience <= 0 && now->version == 0;
    uint64_t held = now->held > 1 ? now->held : 1;
    if ((nobody_tries(state, now) && !goes_on) || (is_first && 2 * held >= (uint64_t)now->workers))
        return held;
    uint64_t most = (uint64_t)now->workers * (uint64_t)state->trials;
    return most > held ? most : held + 1;
}

/* After a round without success nobody is asked by itself, since there is no update: the last worker waits too, and
 * then the engine asks everyone. Where others compute still, from the round before, the last one goes on alone. */
static enum hysgd_release timeout_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    struct timeout *state = self;
    bool is_last = state->asked == worker;
    (void)is_held;
    state->asked = -1;
    if (has_trials(state, worker))
        return HYSGD_GO;
    if (now->held > 0 || !nobody_tries(state, now) || (is_last && now->computing == 0))
        return HYSGD_UNTIL_UPDATE;
    begin_round(state);
    return HYSGD_GO;
}

static void timeout_updated(void *self, const struct hysgd_progress *now) {
    struct timeout *state = self;
    (void)now;
    state->asked = -1;
    begin_round(state);
}

/* |S| / B, for the mean over S. */
static double timeout_gain(void *self, const struct hysgd_progress *now) {
    const struct timeout *state = self;
    double expected = (double)state->successes / (double)state->all * (double)state->ended;
    return expected > 0 ? (double)now->held / expected : 1;
}

static uint64_t timeout_staleness_bound(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

static const struct hysgd_policy_worker_ops worker_ops = {
    .patience = timeout_patience,
    .abandons = timeout_abandons,
    .abandoned = timeout_abandoned,
};

const struct hysgd_policy_ops policy_timeout = {
    .about =
        {
            .name = "timeout",
            .alias = "mindflayer",
            .summary = "synchronous, but a worker gives up a gradient that takes too long and tries another",
            .source = "Maranjyan et al., MindFlayer SGD, UAI 2025, arXiv 2410.04285",
            .size = sizeof(struct timeout),
            .options = options,
        },
    .saved = saved,
    .saved_workers = &saved_workers,
    .init = timeout_init,
    .fini = timeout_fini,
    .admit = timeout_admit,
    .threshold = timeout_threshold,
    .release = timeout_release,
    .updated = timeout_updated,
    .staleness_bound = timeout_staleness_bound,
    .gain = timeout_gain,
    .worker_ops = &worker_ops,
};
