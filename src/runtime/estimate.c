/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of the estimates: see estimate.h. */
#include "runtime/estimate.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* Noise, signal and agreement are of about the latest so many gradients of each worker: the signal falls by orders
 * of magnitude in a run, so a long memory lags behind; a block is about one gradient of each worker, and of eight
 * blocks the sums are steady. */
#define ROUNDS 8

/* The server's times are means over about so many of the latest values: they vary little, and may change with the
 * machine's load. */
#define SERVICE_MEMORY 100

/* The same for the time of a worker's gradients, of which there are fewer and which may have a heavy tail. */
#define CYCLE_MEMORY 30

enum hysgd_status estimate_init(struct estimator *estimator, const struct hysgd_policy_ops *policy, int workers,
                                bool has_probe) {
    *estimator = (struct estimator){.is_wanted = policy->wants_estimates, .is_empty = true, .workers = workers};
    estimator->state.values = (struct hysgd_estimates){NAN, NAN, NAN, NAN, NAN, NAN, 0};
    if (!estimator->is_wanted)
        return HYSGD_OK;
    estimator->has_probe = has_probe;
    return memory_alloc((size_t)workers, sizeof *estimator->cycles, &estimator->cycles);
}

void estimate_fini(struct estimator *estimator) {
    memory_free(estimator->cycles);
    *estimator = (struct estimator){0};
}

/* Lets what a mean has seen fade to `keep` of its weight, and adds `sum` of weight `weight`. */
static void fade(struct estimate_mean *mean, double keep, double sum, double weight) {
    mean->sum = keep * mean->sum + sum;
    mean->weight = keep * mean->weight + weight;
}

static double value_of(const struct estimate_mean *mean) {
    return mean->weight > 0 ? mean->sum / mean->weight : (double)NAN;
}

static void add_service(struct estimate_mean *mean, double seconds, double *value) {
    fade(mean, 1 - 1.0 / SERVICE_MEMORY, seconds, 1);
    *value = value_of(mean);
}

/* Replaces what a worker adds to the rate of arrivals. Who has not delivered yet is taken to be as fast as those
 * who have. */
static void set_cycle(struct estimator *estimator, int worker, double cycle) {
    struct estimate_state *state = &estimator->state;
    double old = estimator->cycles[worker];
    state->rate += (cycle > 0 ? 1 / cycle : 0) - (old > 0 ? 1 / old : 0);
    state->rate_workers += (cycle > 0) - (old > 0);
    estimator->cycles[worker] = cycle;
    state->values.arrivals_per_second =
        state->rate_workers > 0 ? state->rate * (estimator->workers - state->lost_workers) / state->rate_workers
                                : (double)NAN;
}

void estimate_arrival(struct estimator *estimator, int worker, double cycle_seconds, double receive_seconds) {
    if (!estimator->is_wanted)
        return;
    double cycle = estimator->cycles[worker];
    if (cycle_seconds > 0)
        set_cycle(estimator, worker, cycle + (cycle_seconds - cycle) * (cycle > 0 ? 1.0 / CYCLE_MEMORY : 1));
    if (!isnan(receive_seconds))
        add_service(&estimator->state.receive, receive_seconds, &estimator->state.values.receive_seconds);
}

void estimate_held(struct estimator *estimator, uint64_t read) {
    if (!estimator->is_wanted)
        return;
    estimator->state.reads += (double)read;
    estimator->state.newest = fmax(estimator->state.newest, (double)read);
}

void estimate_lost(struct estimator *estimator, int worker) {
    if (!estimator->is_wanted)
        return;
    estimator->state.lost_workers++;
    set_cycle(estimator, worker, 0);
}

void estimate_joined(struct estimator *estimator, int worker) {
    if (!estimator->is_wanted)
        return;
    estimator->state.lost_workers--;
    set_cycle(estimator, worker, 0);
}

static double sum_squares(const struct engine *engine) {
    double sum = 0;
    for (int i = 0; i < engine->part_count; i++)
        sum += (double)engine->parts[i].weight * (double)engine->parts[i].weight;
    return sum;
}

static void close_block(struct estimator *estimator) {
    struct estimate_state *state = &estimator->state;
    double keep = exp(-state->count / (ROUNDS * (double)estimator->workers));
    double pairs = state->weight * state->weight - state->squares;
    fade(&state->norm, keep, state->norms, state->squares);
    fade(&state->signal, keep, state->square - state->norms, fmax(pairs, 0));
    state->seen_products *= keep;
    state->seen_unseen *= keep;
    state->seen_squares *= keep;
    state->values.signal = value_of(&state->signal);
    state->values.noise = value_of(&state->norm) - state->values.signal;
    if (state->seen_squares > 0)
        state->values.agreement =
            (state->seen_products - state->values.signal * state->seen_unseen) / state->seen_squares;
    state->weight_before = state->weight;
    state->first_before = state->first;
    state->count = state->weight = state->squares = state->norms = state->square = 0;
    state->values.blocks++;
    estimator->is_new = true;
    estimator->has_before = !estimator->is_empty;
    estimator->is_empty = true;
}

bool estimate_begin(struct estimator *estimator, const struct engine *engine, bool is_update) {
    struct estimate_state *state = &estimator->state;
    if (!estimator->has_probe)
        return false;
    state->held_squares += sum_squares(engine);
    if (!is_update)
        return false;
    bool is_over = state->count > 0 && state->newest > state->first;
    if (is_over)
        close_block(estimator);
    if (state->count == 0)
        state->first = (double)engine->progress.version;
    return is_over;
}

void estimate_end_fold(struct estimator *estimator, const struct engine *engine, double seconds,
                       const struct probe_values *values) {
    struct estimate_state *state = &estimator->state;
    if (!estimator->is_wanted)
        return;
    if (seconds > 0) /* where nothing else says what a gradient takes */
        add_service(&state->receive, seconds / engine->part_count, &state->values.receive_seconds);
    if (estimator->has_probe)
        state->held_norms += values->norms;
}

/* Adds an update to the fit of the agreement. `product`: of the sum of its gradients with that of the block before.
 */
static void add_seen(struct estimate_state *state, const struct engine *engine, double product) {
    double updates_before = state->first - state->first_before;
    double read = state->reads / (double)engine->progress.held;
    double seen = fmin(fmax((read - state->first_before) / updates_before, 0), 1);
    double weight = state->weight_before * engine->held_weight;
    state->seen_products += seen * product;
    state->seen_unseen += seen * (1 - seen) * weight;
    state->seen_squares += seen * seen * weight;
}

void estimate_end_update(struct estimator *estimator, const struct engine *engine, double seconds,
                         const struct probe_values *values) {
    struct estimate_state *state = &estimator->state;
    if (!estimator->is_wanted)
        return;
    add_service(&state->apply, seconds, &state->values.apply_seconds);
    if (estimator->has_probe) {
        state->square += values->square + 2 * values->present;
        state->norms += values->norms + state->held_norms;
        state->squares += state->held_squares;
        state->weight += engine->held_weight;
        state->count += (double)engine->progress.held;
        if (estimator->has_before)
            add_seen(state, engine, values->before);
        estimator->is_empty = false;
    }
    state->newest = state->reads = state->held_norms = state->held_squares = 0;
}

bool estimate_is_new(struct estimator *estimator) {
    bool is_new = estimator->is_new;
    estimator->is_new = false;
    return is_new;
}

/* A row: which sums the probe has, the state, the cycles. */
enum { FLAGS = 2, STATE_FIELDS = sizeof(struct estimate_state) / sizeof(double) };
enum { VALUE_FIELDS = sizeof(struct hysgd_estimates) / sizeof(double) };

size_t estimate_fields(const struct estimator *estimator) {
    return FLAGS + STATE_FIELDS + (size_t)estimator->workers;
}

void estimate_store(const struct estimator *estimator, double *row) {
    row[0] = !estimator->is_empty;
    row[1] = estimator->has_before;
    memcpy(row + FLAGS, &estimator->state, sizeof estimator->state);
    memcpy(row + FLAGS + STATE_FIELDS, estimator->cycles, (size_t)estimator->workers * sizeof(double));
}

/* The values come last in the state, and alone may be unknown. */
static bool row_is_valid(const double *row, size_t count) {
    size_t values = FLAGS + STATE_FIELDS - VALUE_FIELDS;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(row[i]) && !(isnan(row[i]) && i >= values && i < values + VALUE_FIELDS))
            return false;
    for (size_t i = FLAGS + STATE_FIELDS; i < count; i++)
        if (row[i] < 0)
            return false;
    return (row[0] == 0 || row[0] == 1) && (row[1] == 0 || row[1] == 1);
}

bool estimate_restore(struct estimator *estimator, const double *row) {
    if (!row_is_valid(row, estimate_fields(estimator)))
        return false;
    estimator->is_empty = row[0] == 0;
    estimator->has_before = row[1] == 1;
    estimator->is_new = false;
    memcpy(&estimator->state, row + FLAGS, sizeof estimator->state);
    memcpy(estimator->cycles, row + FLAGS + STATE_FIELDS, (size_t)estimator->workers * sizeof(double));
    return true;
}
