/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny sequential server, written from the engine's rules and independent of the product's engine: it asks a
 * policy the same questions in the same order, and keeps its own account. What goes wrong is noted in `fault`
 * instead of ending the test, so that a test can also see a bad policy being caught. */
#ifndef HYSGD_TESTS_CONFORMANCE_POLICY_MODEL_H
#define HYSGD_TESTS_CONFORMANCE_POLICY_MODEL_H

#include <math.h>
#include <string.h>

#include "policy/policy.h"

#define MODEL_MOST_WORKERS 1000

enum model_activity { MODEL_COMPUTING, MODEL_WAITING, MODEL_LOST };

struct model_worker {
    enum model_activity activity;
    enum hysgd_release wait; /* while waiting */
    bool latest_is_held;
    uint64_t read;     /* version */
    double patience;   /* seconds; INFINITY: any number */
    bool is_cancelled; /* what it computes is of no more use */
    uint64_t received, applied, dropped, held;
    bool has_row, has_next_row; /* of a table */
    uint64_t later;             /* held gradients that wait for the next round of a table */
};

struct policy_model {
    const struct hysgd_policy_ops *ops;
    void *self;
    int known; /* workers at the beginning */
    struct hysgd_progress now;
    uint64_t applied, dropped, forced, most_staleness, limit; /* limit: gradients of the run */
    uint64_t bound;                                           /* of the staleness, while nobody was lost */
    uint64_t abandoned, in_vain;                              /* gradients given up; since the latest arrival */
    uint64_t trace;                                           /* hash of all events and answers so far */
    uint64_t round_first;                                     /* version at which the round of a table began */
    const char *fault;                                        /* the first broken promise; NULL: none */
    struct model_worker workers[MODEL_MOST_WORKERS];
    uint64_t clocks[MODEL_MOST_WORKERS];
    struct hysgd_estimates estimates; /* made up, for a policy that wants them */
};

static inline void model_note(struct policy_model *model, uint64_t value) {
    for (int i = 0; i < 8; i++) /* FNV-1a over its bytes */
        model->trace = (model->trace ^ (value >> 8 * i & 255)) * UINT64_C(1099511628211);
}

static inline void model_expect(struct policy_model *model, bool holds, const char *promise) {
    if (!holds && model->fault == NULL)
        model->fault = promise;
}

/* A worker begins a gradient at the present version. */
static inline void model_start(struct policy_model *model, int w) {
    struct model_worker *worker = &model->workers[w];
    const struct hysgd_policy_worker_ops *ops = model->ops->worker_ops;
    worker->activity = MODEL_COMPUTING;
    worker->read = model->now.version;
    worker->is_cancelled = false;
    worker->patience = ops != NULL && ops->patience != NULL ? ops->patience(model->self, &model->now, w) : INFINITY;
    if (!(worker->patience > 0))
        worker->patience = INFINITY;
}

/* Estimates of every kind in turn: none yet, ordinary ones, and such as chance brings. */
static inline void model_estimate(struct policy_model *model) {
    uint64_t turn = model->now.version % 97;
    double signal = turn % 5 == 0 ? -1e-3 : 1 / (1 + (double)turn);
    if (model->now.version >= 3)
        model->estimates =
            (struct hysgd_estimates){.noise = turn % 7 == 0 ? 0 : (double)turn,
                                     .signal = signal,
                                     .agreement = turn % 11 == 0 ? NAN : signal * (3 - (double)(turn % 6)),
                                     .receive_seconds = turn % 3 == 0 ? NAN : 1e-3,
                                     .apply_seconds = 1e-3 * (double)turn,
                                     .arrivals_per_second = turn % 13 == 0 ? NAN : 1 + (double)turn,
                                     .blocks = (double)(model->now.version / 4)};
}

static inline void model_begin(struct policy_model *model, const struct hysgd_policy_ops *ops, void *self,
                               int workers, uint64_t limit) {
    memset(model, 0, offsetof(struct policy_model, workers));
    memset(model->workers, 0, (size_t)workers * sizeof *model->workers);
    memset(model->clocks, 0, (size_t)workers * sizeof *model->clocks);
    model->ops = ops;
    model->self = self;
    model->known = workers;
    model->limit = limit;
    model->trace = UINT64_C(14695981039346656037);
    model->now.workers = workers;
    model->now.empty_rows = ops->aggregate == HYSGD_TABLE ? workers : 0;
    model->now.is_extra = true;
    model->estimates = (struct hysgd_estimates){NAN, NAN, NAN, NAN, NAN, NAN, 0};
    if (ops->wants_estimates)
        model->now.estimates = &model->estimates;
    model->bound = ops->staleness_bound == NULL ? UINT64_MAX : ops->staleness_bound(self, workers);
    model->now.clocks = model->clocks;
    model->now.computing = workers;
    for (int w = 0; w < workers; w++)
        model_start(model, w);
}

static inline int model_computing(const struct policy_model *model) {
    int computing = 0;
    for (int w = 0; w < model->known; w++)
        computing += model->workers[w].activity == MODEL_COMPUTING;
    return computing;
}

/* Makes the count of those who compute right for the policy. */
static inline const struct hysgd_progress *model_now(struct policy_model *model) {
    model->now.computing = model_computing(model);
    return &model->now;
}

/* Sets the slowest clock; true when it has advanced. */
static inline bool model_set_slowest(struct policy_model *model) {
    uint64_t slowest = UINT64_MAX, before = model->now.slowest;
    for (int w = 0; w < model->known; w++)
        if (model->workers[w].activity != MODEL_LOST && model->clocks[w] < slowest)
            slowest = model->clocks[w];
    if (slowest != UINT64_MAX)
        model->now.slowest = slowest;
    return model->now.slowest > before;
}

static inline bool model_has_table(const struct policy_model *model) {
    return model->ops->aggregate == HYSGD_TABLE;
}

static inline void model_count_rows(struct policy_model *model) {
    model->now.empty_rows = 0;
    for (int w = 0; w < model->known && model_has_table(model); w++)
        model->now.empty_rows += model->workers[w].activity != MODEL_LOST && !model->workers[w].has_row;
}

/* A round is over when everyone who takes part has read a version of it. */
static inline void model_end_round(struct policy_model *model) {
    for (int w = 0; w < model->known; w++)
        if (model->workers[w].activity != MODEL_LOST && model->workers[w].read <= model->round_first)
            return;
    for (int w = 0; w < model->known; w++) {
        model->workers[w].has_row = model->workers[w].has_next_row;
        model->workers[w].has_next_row = false;
        model->workers[w].later = 0;
    }
    model->round_first = model->now.version;
}

static inline void model_release(struct policy_model *model, int w) {
    struct model_worker *worker = &model->workers[w];
    enum hysgd_release answer = model->ops->release(model->self, model_now(model), w, worker->latest_is_held);
    model_note(model, (uint64_t)w << 8 | answer);
    worker->activity = MODEL_WAITING;
    model_expect(model, model_has_table(model) == (answer == HYSGD_AGAIN) || answer == HYSGD_GO,
                 "the answers are those that the aggregate allows");
    worker->wait = answer;
    if (answer == HYSGD_GO || answer == HYSGD_AGAIN) {
        uint64_t read = worker->read;
        model->now.computing++;
        model_start(model, w);
        if (answer == HYSGD_AGAIN)
            worker->read = read;
    }
}

/* Notes whose gradients an update has made useless. */
static inline void model_cancel(struct policy_model *model) {
    const struct hysgd_policy_worker_ops *ops = model->ops->worker_ops;
    for (int w = 0; ops != NULL && ops->abandons != NULL && w < model->known; w++) {
        struct model_worker *worker = &model->workers[w];
        if (worker->activity == MODEL_COMPUTING && !worker->is_cancelled)
            worker->is_cancelled =
                ops->abandons(model->self, model_now(model), w, model->now.version - worker->read);
    }
}

static inline void model_apply(struct policy_model *model) {
    double gain = model->ops->gain != NULL ? model->ops->gain(model->self, &model->now) : 1;
    model_expect(model, gain >= 0 && gain <= 1e12, "a gain is finite and not negative");
    model_estimate(model);
    for (int w = 0; w < model->known; w++) {
        struct model_worker *worker = &model->workers[w];
        uint64_t taken = worker->held - worker->later, staleness = model->now.version - worker->read;
        if (model_has_table(model) && taken > 0 && staleness > model->most_staleness)
            model->most_staleness = staleness;
        worker->applied += taken;
        worker->held = worker->later;
        worker->latest_is_held = worker->later > 0;
        model->applied += taken;
        model->now.held -= taken;
    }
    model->now.version++;
    if (model->ops->updated != NULL)
        model->ops->updated(model->self, model_now(model));
    model_cancel(model);
}

/* Asks the threshold; true when an update followed. */
static inline bool model_ask_threshold(struct policy_model *model) {
    uint64_t threshold = model->ops->threshold(model->self, model_now(model));
    model_note(model, threshold);
    model_expect(model, threshold >= 1, "a threshold is at least 1");
    if (model->now.held == 0 || model->now.held < threshold)
        return false;
    model_apply(model);
    return true;
}

static inline void model_check(struct policy_model *model) {
    if (model_has_table(model)) {
        model_end_round(model);
        model_count_rows(model);
    }
    uint64_t received = 0, applied = 0, dropped = 0, held = 0;
    for (int w = 0; w < model->known; w++) {
        const struct model_worker *worker = &model->workers[w];
        model_expect(model, worker->received == worker->applied + worker->dropped + worker->held,
                     "each worker's gradients are accounted for");
        received += worker->received, applied += worker->applied;
        dropped += worker->dropped, held += worker->held;
    }
    model_expect(model, received == model->now.received && applied == model->applied, "the accounts agree");
    model_expect(model, dropped == model->dropped && held == model->now.held, "the accounts agree");
    model_expect(model, model->now.workers == 0 || model_computing(model) > 0, "someone is always computing");
    if (model->now.workers == model->known) {
        model_expect(model, model->most_staleness <= model->bound, "the staleness keeps its bound");
        model_expect(model, model->forced == 0, "no update has to be forced");
    }
}

/* Lets the waiting workers go on that may, except one that was asked just now; when nobody computes then, asks them
 * all again, after a forced update where anything is held. */
static inline void model_settle(struct policy_model *model, int asked, bool has_updated, bool has_advanced) {
    for (int attempt = 0; attempt < 2; attempt++) {
        for (int w = 0; w < model->known; w++) {
            const struct model_worker *worker = &model->workers[w];
            bool has_come = worker->wait == HYSGD_UNTIL_CLOCK ? has_advanced : has_updated;
            if (w != asked && worker->activity == MODEL_WAITING && has_come)
                model_release(model, w);
        }
        if (model_computing(model) > 0)
            break;
        if (model->now.held > 0) {
            model->forced++;
            model_apply(model);
        }
        has_updated = has_advanced = true;
        asked = -1;
    }
    model_check(model);
}

/* The gradient of worker `w`, which is computing, arrives. */
static inline void model_arrive(struct policy_model *model, int w, double seconds) {
    struct model_worker *worker = &model->workers[w];
    uint64_t staleness = model->now.version - worker->read;
    bool has_updated = false;
    worker->activity = MODEL_WAITING;
    worker->received++;
    model->in_vain = 0;
    model->clocks[w]++;
    model->now.received++;
    model->now.seconds = seconds;
    model->now.fraction = (double)model->now.received / (double)model->limit;
    bool has_advanced = model_set_slowest(model);
    model->now.is_extra = model_has_table(model) && worker->read > model->round_first;
    double weight = model->ops->admit == NULL ? 1 : model->ops->admit(model->self, model_now(model), w, staleness);
    model_note(model, (uint64_t)w << 32 | staleness);
    model_expect(model, weight >= 0 && weight < 1e6, "a weight is finite and not negative");
    worker->latest_is_held = weight > 0;
    if (weight > 0) {
        worker->held++;
        model->now.held++;
        worker->later += model->now.is_extra;
        *(model->now.is_extra ? &worker->has_next_row : &worker->has_row) = model_has_table(model);
        model_count_rows(model);
        if (!model_has_table(model) && staleness > model->most_staleness)
            model->most_staleness = staleness;
        has_updated = model_ask_threshold(model);
    } else {
        worker->dropped++;
        model->dropped++;
    }
    model_release(model, w);
    model_settle(model, w, has_updated, has_advanced);
}

/* Worker `w`, which is computing, gives up its gradient. */
static inline void model_abandon(struct policy_model *model, int w, double seconds) {
    const struct hysgd_policy_worker_ops *ops = model->ops->worker_ops;
    model->workers[w].activity = MODEL_WAITING;
    model->now.is_extra = true;
    model->abandoned++;
    model_expect(model, ++model->in_vain < 10000, "something is delivered");
    model_note(model, (uint64_t)w << 40);
    model->now.seconds = seconds;
    if (ops != NULL && ops->abandoned != NULL)
        ops->abandoned(model->self, model_now(model), w);
    bool has_updated = model->now.held > 0 && model_ask_threshold(model);
    model_release(model, w);
    model_settle(model, w, has_updated, false);
}

/* A worker leaves; what it was computing never arrives, what it had delivered stays. */
static inline void model_lose(struct policy_model *model, int w) {
    model->workers[w].activity = MODEL_LOST;
    model->now.workers--;
    if (model->now.workers == 0)
        return;
    bool has_advanced = model_set_slowest(model);
    model->now.is_extra = true;
    model_count_rows(model);
    model_settle(model, -1, model_ask_threshold(model), has_advanced);
}

/* The end of the run: what is still held counts as dropped. */
static inline void model_end(struct policy_model *model) {
    for (int w = 0; w < model->known; w++) {
        model->workers[w].dropped += model->workers[w].held;
        model->workers[w].held = 0;
    }
    model->dropped += model->now.held;
    model->now.held = 0;
    model_expect(model, model->now.received == model->applied + model->dropped, "received = applied + dropped");
}

#endif
