/* SPDX-License-Identifier: Apache-2.0 */
/* The engine: see engine.h. Every call is O(1) amortized over the arrivals, apart from the sorting of an update's
 * parts. */
#include "runtime/engine.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

/* Until the caller points to better ones. */
static const struct hysgd_estimates nothing_known = {NAN, NAN, NAN, NAN, NAN, NAN, 0};

static void set_policy(struct engine *engine, const struct plugin *policy, enum engine_combine combine) {
    engine->policy = (const struct hysgd_policy_ops *)policy->ops;
    engine->policy_self = policy->self;
    engine->combine = engine->policy->gain ? ENGINE_MEAN : combine;
    engine->progress.estimates = engine->policy->wants_estimates ? &nothing_known : NULL;
}

enum hysgd_status engine_init(struct engine *engine, const struct plugin *policy, enum engine_combine combine,
                              int workers) {
    size_t count = (size_t)workers;
    *engine = (struct engine){.worker_count = workers, .misled = -1};
    set_policy(engine, policy, combine);
    HYSGD_TRY(memory_alloc(count, sizeof *engine->workers, &engine->workers));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->clocks, &engine->clocks));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->waiting, &engine->waiting));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->contributors, &engine->contributors));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->parts, &engine->parts));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->released, &engine->released));
    HYSGD_TRY(memory_alloc(count, sizeof *engine->cancelled, &engine->cancelled));
    engine->progress.clocks = engine->clocks;
    for (int i = 0; i < workers; i++)
        engine->workers[i].batches = 1;
    engine->progress.is_extra = true;
    return engine->policy->aggregate == HYSGD_TABLE ? table_init(&engine->table, workers) : HYSGD_OK;
}

void engine_fini(struct engine *engine) {
    memory_free(engine->workers);
    memory_free(engine->clocks);
    memory_free(engine->waiting);
    memory_free(engine->contributors);
    memory_free(engine->parts);
    memory_free(engine->released);
    memory_free(engine->cancelled);
    table_fini(&engine->table);
    *engine = (struct engine){0};
}

static void begin_call(struct engine *engine, double seconds, double fraction) {
    engine->progress.seconds = seconds;
    engine->progress.fraction = fraction;
    engine->part_count = 0;
    engine->released_count = 0;
    engine->cancelled_count = 0;
}

void engine_begin(struct engine *engine) {
    engine->progress.computing = engine->worker_count;
    engine->at_slowest = engine->worker_count;
    engine->progress.workers = engine->worker_count;
    engine_restart(engine);
}

static double ask_patience(const struct engine *engine, int index) {
    const struct hysgd_policy_worker_ops *ops = engine->policy->worker_ops;
    double patience =
        ops && ops->patience ? ops->patience(engine->policy_self, &engine->progress, index) : (double)INFINITY;
    return patience > 0 ? patience : (double)INFINITY;
}

void engine_restart(struct engine *engine) {
    begin_call(engine, engine->progress.seconds, engine->progress.fraction);
    for (int i = 0; i < engine->worker_count; i++) {
        if (engine->workers[i].activity != ENGINE_COMPUTING)
            continue;
        engine->workers[i].read = engine->progress.version;
        engine->workers[i].patience = ask_patience(engine, i);
        engine->released[engine->released_count++] = i;
    }
    if (engine->table.rows) {
        table_count(engine);
        table_turn(engine);
    }
}

void engine_leave_out(struct engine *engine, int first) {
    for (int i = first; i < engine->worker_count; i++) {
        engine->workers[i].activity = ENGINE_LOST;
        engine->progress.computing--;
        engine->progress.workers--;
        engine->at_slowest--;
    }
    engine_restart(engine);
}

static void find_slowest(struct engine *engine) {
    uint64_t slowest = UINT64_MAX;
    engine->at_slowest = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        if (engine->workers[i].activity == ENGINE_LOST || engine->clocks[i] > slowest)
            continue;
        if (engine->clocks[i] < slowest)
            engine->at_slowest = 0;
        slowest = engine->clocks[i];
        engine->at_slowest++;
    }
    if (engine->at_slowest > 0)
        engine->progress.slowest = slowest;
}

/* A worker leaves the place of the slowest, by delivering or for good. Returns whether the slowest clock advanced.
 */
static bool leave_slowest(struct engine *engine, uint64_t clock) {
    if (clock != engine->progress.slowest || --engine->at_slowest > 0)
        return false;
    find_slowest(engine);
    return engine->progress.slowest > clock;
}

static double staleness_factor(const struct engine_weighting *weighting, uint64_t staleness) {
    switch (weighting->kind) {
    case ENGINE_WEIGHT_INVERSE:
        return staleness > 1 ? 1 / (double)staleness : 1;
    case ENGINE_WEIGHT_POLYNOMIAL:
        return pow(1 + (double)staleness, -weighting->exponent);
    default:
        return 1;
    }
}

static double worker_factor(const struct engine *engine, int index) {
    return engine->worker_weights ? engine->worker_weights[index] : 1;
}

/* `share` is the policy's part of the weight. */
static void hold(struct engine *engine, int index, double share, double weight, uint64_t staleness) {
    struct engine_worker *worker = &engine->workers[index];
    if (engine->table.rows)
        worker->is_first_in_row = table_hold(engine, index, (double)(float)share, (double)(float)weight);
    else if (worker->held == 0)
        engine->contributors[engine->contributor_count++] = index;
    worker->held++;
    worker->weight = (float)weight;
    worker->is_in_buffer = true;
    worker->held_staleness += (double)staleness;
    if (staleness > worker->most_held_staleness)
        worker->most_held_staleness = staleness;
    engine->progress.held++;
    engine->held_batches += worker->batches;
    engine->held_weight += (double)worker->weight;
    engine->held_divisor += (double)(float)share;
}

static uint64_t ask_threshold(struct engine *engine) {
    uint64_t threshold = engine->policy->threshold(engine->policy_self, &engine->progress);
    engine->threshold = threshold > 0 ? threshold : 1;
    return engine->threshold;
}

static void add_part(struct engine *engine, int index) {
    const struct engine_worker *worker = &engine->workers[index];
    engine->parts[engine->part_count++] = (struct engine_part){.worker = index,
                                                               .weight = worker->weight,
                                                               .row = table_row(&engine->table, worker->read),
                                                               .is_first = worker->is_first_in_row};
}

/* Lets a worker go on, at the present version or, `again`, at the one that it has read. A held gradient must leave
 * its buffer before the next one is written there. */
static void let_go(struct engine *engine, int index, bool again) {
    struct engine_worker *worker = &engine->workers[index];
    if (worker->is_in_buffer) {
        add_part(engine, index);
        engine->held_folded += !engine->table.rows;
        worker->is_in_buffer = false;
    }
    worker->activity = ENGINE_COMPUTING;
    if (!again) {
        uint64_t before = worker->read;
        worker->read = engine->progress.version;
        if (engine->table.rows)
            table_serve(engine, before);
    }
    engine->progress.computing++;
    worker->patience = ask_patience(engine, index);
    engine->released[engine->released_count++] = index;
}

/* Asks the policy about a worker that is not computing; true when it goes on. */
static bool ask_release(struct engine *engine, int index) {
    struct engine_worker *worker = &engine->workers[index];
    worker->wait = engine->policy->release(engine->policy_self, &engine->progress, index, worker->held > 0);
    bool goes = worker->wait == HYSGD_GO || worker->wait == HYSGD_AGAIN;
    if (engine->table.rows ? !goes : worker->wait == HYSGD_AGAIN)
        engine->misled = index;
    if (!goes)
        return false;
    let_go(engine, index, worker->wait == HYSGD_AGAIN);
    return true;
}

static void add_waiting(struct engine *engine, int index) {
    bool is_for_clock = engine->workers[index].wait == HYSGD_UNTIL_CLOCK;
    if (is_for_clock && engine->clock_waiting == engine->waiting_count)
        engine->clock_waiting++;
    engine->waiting[engine->waiting_count++] = index;
}

/* Asks the waiting workers again: those that wait for an update, for the slowest clock, or both. Most policies that
 * let workers wait for the clock update far more often than it advances: then there is nobody to look at. */
static void ask_waiting(struct engine *engine, bool is_after_update, bool clock_advanced) {
    int first = clock_advanced ? 0 : engine->clock_waiting, count = engine->waiting_count;
    engine->waiting_count = first;
    if (first == 0)
        engine->clock_waiting = 0;
    for (int i = first; i < count; i++) {
        int index = engine->waiting[i];
        bool is_for_clock = engine->workers[index].wait == HYSGD_UNTIL_CLOCK;
        bool is_asked = is_for_clock ? clock_advanced : is_after_update;
        if (!is_asked || !ask_release(engine, index))
            add_waiting(engine, index);
    }
}

static int compare_parts(const void *left, const void *right) {
    return ((const struct engine_part *)left)->worker - ((const struct engine_part *)right)->worker;
}

/* The parts are ordered by worker, so that the sum does not depend on who arrived first. */
static void sort_parts(struct engine *engine) {
    if (engine->part_count > 1 && !engine->has_loose_parts)
        qsort(engine->parts, (size_t)engine->part_count, sizeof *engine->parts, compare_parts);
}

static void prepare_update(struct engine *engine) {
    for (int i = 0; i < engine->contributor_count; i++) {
        const struct engine_worker *worker = &engine->workers[engine->contributors[i]];
        if (worker->is_in_buffer)
            add_part(engine, engine->contributors[i]);
    }
    sort_parts(engine);
}

static enum hysgd_status fail_nobody_goes_on(const struct engine *engine) {
    return hysgd_fail(HYSGD_FAILED, "policy %s: none of the %d workers may go on after update %llu",
                      engine->policy->about.name, engine->progress.workers,
                      (unsigned long long)engine->progress.version);
}

static enum hysgd_status check_answers(const struct engine *engine) {
    if (engine->misled < 0)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_FAILED, "policy %s: %s worker %d: expected %s", engine->policy->about.name,
                      engine->table.rows ? "has a table and stops" : "has no table and sends back", engine->misled,
                      engine->table.rows ? "HYSGD_GO or HYSGD_AGAIN" : "any answer but HYSGD_AGAIN");
}

/* What follows once nobody else can be released: an update if nobody computes, or the folding of what lies in the
 * way. */
static enum hysgd_status settle(struct engine *engine, struct engine_verdict *verdict) {
    HYSGD_TRY(check_answers(engine));
    if (engine->table.rows)
        table_turn(engine);
    sort_parts(engine);
    verdict->action = engine->part_count > 0 ? ENGINE_FOLD : ENGINE_NOTHING;
    if (engine->progress.computing > 0 || engine->progress.workers == 0)
        return HYSGD_OK;
    if (engine->progress.held == 0) {
        ask_waiting(engine, true, true); /* the last resort, as below: who waits for a clock may wait in vain */
        return engine->progress.computing > 0 ? HYSGD_OK : fail_nobody_goes_on(engine);
    }
    prepare_update(engine);
    engine->clock_is_due = true; /* everybody is asked: it is the last resort */
    engine->forced++;
    verdict->action = ENGINE_UPDATE;
    verdict->is_forced = true;
    return HYSGD_OK;
}

/* The policy's part of a gradient's weight. An update may be divided by the sum of these. */
static enum hysgd_status ask_share(struct engine *engine, int index, uint64_t staleness, double *share_out) {
    const struct hysgd_policy_ops *policy = engine->policy;
    double share = policy->admit ? policy->admit(engine->policy_self, &engine->progress, index, staleness) : 1;
    if (!(share >= 0 && share <= (double)FLT_MAX))
        return hysgd_fail(HYSGD_FAILED, "policy %s: gives worker %d's gradient the weight %g: expected 0 to %g",
                          policy->about.name, index, share, (double)FLT_MAX);
    *share_out = share;
    return HYSGD_OK;
}

enum hysgd_status engine_arrive(struct engine *engine, int index, double seconds, double fraction,
                                struct engine_verdict *verdict) {
    struct engine_worker *worker = &engine->workers[index];
    begin_call(engine, seconds, fraction);
    engine->progress.computing--;
    worker->activity = ENGINE_WAITING;
    engine->progress.received++;
    engine->received_batches += worker->batches;
    worker->received_batches += worker->batches;
    engine->in_vain = 0;
    bool clock_advanced = leave_slowest(engine, engine->clocks[index]++);

    uint64_t staleness = engine->progress.version - worker->read;
    engine->progress.is_extra = engine->table.rows && worker->read > engine->table.first;
    double share = 0;
    HYSGD_TRY(ask_share(engine, index, staleness, &share));
    double weight = share * staleness_factor(&engine->weighting, staleness) * worker_factor(engine, index);
    if (weight < (double)FLT_MIN) /* weights are used as floats */
        weight = 0;
    *verdict = (struct engine_verdict){.weight = weight, .staleness = staleness};
    bool is_reached = false;
    if (weight > 0) {
        hold(engine, index, share, weight, staleness);
        is_reached = engine->progress.held >= ask_threshold(engine);
    } else {
        worker->dropped++;
        engine->dropped++;
    }
    verdict->threshold = engine->threshold;
    verdict->held = engine->progress.held;
    if (is_reached) {
        worker->wait = HYSGD_UNTIL_UPDATE; /* asked with the others after the update */
        add_waiting(engine, index);
        engine->clock_is_due = clock_advanced;
        prepare_update(engine);
        verdict->action = ENGINE_UPDATE;
        return HYSGD_OK;
    }
    if (!ask_release(engine, index))
        add_waiting(engine, index);
    if (clock_advanced)
        ask_waiting(engine, false, true);
    return settle(engine, verdict);
}

/* Asks about those who still compute with what was true before the update. */
static void ask_computing(struct engine *engine) {
    const struct hysgd_policy_worker_ops *ops = engine->policy->worker_ops;
    if (!ops || !ops->abandons)
        return;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        if (worker->activity == ENGINE_COMPUTING &&
            ops->abandons(engine->policy_self, &engine->progress, i, engine->progress.version - worker->read))
            engine->cancelled[engine->cancelled_count++] = i;
    }
}

/* An update has taken the gradients of the worker's row that none had taken before. */
static void take_row(struct engine *engine, int index) {
    struct engine_worker *worker = &engine->workers[index];
    uint64_t count = table_apply(engine, index), staleness = engine->progress.version - worker->read;
    worker->applied += count;
    worker->held -= count;
    worker->staleness_sum += (double)count * (double)staleness;
    if (count > 0 && staleness > worker->most_staleness)
        worker->most_staleness = staleness;
    worker->held_staleness = 0;
    worker->most_held_staleness = 0;
    worker->is_in_buffer = false;
}

enum hysgd_status engine_updated(struct engine *engine, double seconds, double fraction) {
    begin_call(engine, seconds, fraction);
    for (int i = 0; i < engine->contributor_count && engine->table.rows; i++)
        take_row(engine, engine->contributors[i]);
    for (int i = 0; i < engine->contributor_count && !engine->table.rows; i++) {
        struct engine_worker *worker = &engine->workers[engine->contributors[i]];
        worker->applied += worker->held;
        worker->staleness_sum += worker->held_staleness;
        if (worker->most_held_staleness > worker->most_staleness)
            worker->most_staleness = worker->most_held_staleness;
        worker->held = 0;
        worker->held_staleness = 0;
        worker->most_held_staleness = 0;
        worker->is_in_buffer = false;
    }
    engine->contributor_count = 0;
    engine->applied += engine_due(engine);
    engine->applied_batches += engine_due_batches(engine);
    engine->held_batches = engine->table.later_batches;
    engine->progress.held = engine->table.later;
    engine->held_weight = engine->table.later_weight;
    engine->held_divisor = engine->table.later_weight;
    engine->held_folded = 0;
    engine->progress.version++;
    if (engine->policy->updated)
        engine->policy->updated(engine->policy_self, &engine->progress);
    ask_computing(engine);
    bool clock_advanced = engine->clock_is_due;
    engine->clock_is_due = false;
    ask_waiting(engine, true, clock_advanced);
    HYSGD_TRY(check_answers(engine));
    if (engine->table.rows)
        table_turn(engine);
    if (engine->progress.computing ==
        0) /* the last resort: whoever waits for a clock that nobody is left to advance */
        ask_waiting(engine, true, true);
    return engine->progress.computing > 0 || engine->progress.workers == 0 ? HYSGD_OK : fail_nobody_goes_on(engine);
}

static enum hysgd_status fail_in_vain(const struct engine *engine, int index) {
    return hysgd_fail(
        HYSGD_FAILED,
        "policy %s: %d gradients in a row were given up and none was delivered since update %llu: the "
        "workers have too little time, the last one %g seconds",
        engine->policy->about.name, ENGINE_MOST_IN_VAIN, (unsigned long long)engine->progress.version,
        engine->workers[index].patience);
}

enum hysgd_status engine_abandon(struct engine *engine, int index, double seconds, double fraction,
                                 struct engine_verdict *verdict) {
    const struct hysgd_policy_worker_ops *ops = engine->policy->worker_ops;
    struct engine_worker *worker = &engine->workers[index];
    begin_call(engine, seconds, fraction);
    *verdict =
        (struct engine_verdict){.action = ENGINE_NOTHING, .staleness = engine->progress.version - worker->read};
    engine->progress.computing--;
    engine->progress.is_extra = true;
    worker->activity = ENGINE_WAITING;
    worker->abandoned++;
    worker->abandoned_batches += worker->batches;
    engine->abandoned++;
    if (++engine->in_vain == ENGINE_MOST_IN_VAIN)
        return fail_in_vain(engine, index);
    if (ops && ops->abandoned)
        ops->abandoned(engine->policy_self, &engine->progress, index);
    bool is_reached = engine->progress.held > 0 && engine->progress.held >= ask_threshold(engine);
    verdict->threshold = engine->threshold;
    verdict->held = engine->progress.held;
    if (is_reached) {
        worker->wait = HYSGD_UNTIL_UPDATE;
        add_waiting(engine, index);
        prepare_update(engine);
        verdict->action = ENGINE_UPDATE;
        return HYSGD_OK;
    }
    if (!ask_release(engine, index))
        add_waiting(engine, index);
    return settle(engine, verdict);
}

static void remove_waiting(struct engine *engine, int index) {
    int count = engine->waiting_count;
    engine->waiting_count = 0;
    engine->clock_waiting = 0;
    for (int i = 0; i < count; i++)
        if (engine->waiting[i] != index)
            add_waiting(engine, engine->waiting[i]);
}

enum hysgd_status engine_lose(struct engine *engine, int index, double seconds, double fraction,
                              struct engine_verdict *verdict) {
    struct engine_worker *worker = &engine->workers[index];
    begin_call(engine, seconds, fraction);
    *verdict = (struct engine_verdict){.action = ENGINE_NOTHING};
    if (worker->activity == ENGINE_LOST)
        return HYSGD_OK;
    if (worker->activity == ENGINE_COMPUTING) {
        engine->progress.computing--;
        engine->lost++;
    } else {
        remove_waiting(engine, index);
    }
    if (engine->table.rows)
        table_leave(engine, index);
    worker->activity = ENGINE_LOST;
    engine->progress.workers--;
    engine->progress.is_extra = true;
    bool clock_advanced = leave_slowest(engine, engine->clocks[index]);
    bool is_reached = engine->progress.held > 0 && engine->progress.held >= ask_threshold(engine);
    verdict->threshold = engine->threshold;
    verdict->held = engine->progress.held;
    if (is_reached) {
        engine->clock_is_due = clock_advanced;
        prepare_update(engine);
        verdict->action = ENGINE_UPDATE;
        return HYSGD_OK;
    }
    if (clock_advanced)
        ask_waiting(engine, false, true);
    return settle(engine, verdict);
}

enum hysgd_status engine_change_policy(struct engine *engine, const struct plugin *policy,
                                       enum engine_combine combine, struct engine_verdict *verdict) {
    begin_call(engine, engine->progress.seconds, engine->progress.fraction);
    *verdict = (struct engine_verdict){.action = ENGINE_NOTHING};
    set_policy(engine, policy, combine);
    bool is_reached = engine->progress.held > 0 && engine->progress.held >= ask_threshold(engine);
    verdict->threshold = engine->threshold;
    verdict->held = engine->progress.held;
    if (is_reached) {
        engine->clock_is_due = true; /* everybody is asked */
        prepare_update(engine);
        verdict->action = ENGINE_UPDATE;
        return HYSGD_OK;
    }
    ask_waiting(engine, true, true);
    return settle(engine, verdict);
}

void engine_join(struct engine *engine, int index) {
    begin_call(engine, engine->progress.seconds, engine->progress.fraction);
    if (engine->workers[index].activity != ENGINE_LOST)
        return;
    if (engine->progress.workers > 0 && engine->clocks[index] < engine->progress.slowest)
        engine->clocks[index] = engine->progress.slowest;
    engine->progress.workers++;
    let_go(engine, index, false);
    if (engine->table.rows)
        table_count(engine);
    find_slowest(engine);
}

void engine_restore(struct engine *engine) {
    begin_call(engine, engine->progress.seconds, engine->progress.fraction);
    engine->clock_is_due = false;
    engine->misled = -1;
    engine->progress.computing = 0;
    engine->contributor_count = 0;
    engine->progress.workers = 0;
    engine->progress.held = 0;
    engine->held_folded = 0;
    for (int i = 0; i < engine->worker_count; i++) {
        const struct engine_worker *worker = &engine->workers[i];
        engine->progress.computing += worker->activity == ENGINE_COMPUTING;
        engine->progress.workers += worker->activity != ENGINE_LOST;
        engine->progress.held += worker->held;
        engine->held_folded += worker->held - worker->is_in_buffer;
        if (worker->held > 0)
            engine->contributors[engine->contributor_count++] = i;
    }
    int waiting = engine->waiting_count;
    engine->waiting_count = 0;
    engine->clock_waiting = 0;
    for (int i = 0; i < waiting; i++)
        add_waiting(engine, engine->waiting[i]);
    find_slowest(engine);
    if (!engine->table.rows)
        return;
    engine->held_folded = 0;
    table_count(engine);
}

uint64_t engine_due(const struct engine *engine) {
    return engine->progress.held - engine->table.later;
}

uint64_t engine_due_batches(const struct engine *engine) {
    return engine->held_batches - engine->table.later_batches;
}

double engine_due_weight(const struct engine *engine) {
    return engine->held_weight - engine->table.later_weight;
}

double engine_scale(const struct engine *engine) {
    return engine->combine == ENGINE_MEAN ? 1 / engine->held_divisor : 1;
}
