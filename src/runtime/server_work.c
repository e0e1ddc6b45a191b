/* SPDX-License-Identifier: Apache-2.0 */
/* The sharded work on the server's vectors: see server.h. Combining and the optimizer's step are fused over blocks
 * that stay in the first-level cache. */
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <string.h>

#include "base/machine.h"
#include "linalg/vector.h"
#include "runtime/server.h"

/* Elements that are combined and stepped at a time: 4 KiB each of combined gradient, new values and states. */
#define BLOCK 1024

struct range {
    size_t first, end;
};

static struct range shard_range(const struct server *server, int shard) {
    size_t first = (size_t)shard * SERVER_SHARD, end = first + SERVER_SHARD;
    return (struct range){first, end < server->count ? end : server->count};
}

static size_t parameters_within(const struct server *server, size_t first, size_t count) {
    size_t there = first < server->parameter_count ? server->parameter_count - first : 0;
    return there < count ? there : count;
}

/* The correction of a gradient's elements [first, first + count), which are parameters. */
static void correct(const struct server *server, const struct server_part *part, float *corrected, size_t first,
                    size_t count) {
    const struct correction_ops *ops = server->correction;
    int worker = part->corrected;
    struct correction_slice slice = {
        .present = server->versions[server->current] + first,
        .read = ops->needs_read ? server_read_vector(server, worker) + first : NULL,
        .shared = server->shared_state ? server->shared_state + first : NULL,
        .own = server->worker_states ? server->worker_states[worker] + first : NULL,
        .total = server->state_total ? server->state_total + first : NULL,
    };
    ops->correct(server->correction_self, &slice, part->vector + first, corrected, count);
}

/* sum += weight * part on a block of at most BLOCK elements from `first`, or sum = ... when is_first. */
static void accumulate(const struct server *server, const struct server_part *part, float *sum, bool is_first,
                       size_t first, size_t count) {
    float block[BLOCK] __attribute__((aligned(64)));
    if (part->corrected < 0) {
        vector_accumulate(sum, part->vector + first, part->weight, is_first, count);
        return;
    }
    size_t parameters = parameters_within(server, first, count);
    const float *values = part->vector + first;
    if (server->correction->correct && parameters > 0) {
        correct(server, part, block, first, parameters);
        values = block;
    }
    vector_accumulate(sum, values, part->weight * server->factors[part->corrected], is_first, parameters);
    vector_accumulate(sum + parameters, part->vector + first + parameters, part->weight, is_first,
                      count - parameters);
}

static size_t block_count(struct range range, size_t first) {
    return range.end - first < BLOCK ? range.end - first : BLOCK;
}

/* The squared distances of a shard's present parameters from those that the gradients were computed at. */
static void measure_shard(struct server *server, int shard, struct range range) {
    const float *present = server->versions[server->current];
    double *distances = server->values + (size_t)shard * (size_t)server->measured_count;
    size_t count = parameters_within(server, range.first, range.end - range.first);
    for (int i = 0; i < server->measured_count; i++) {
        const float *read = server_read_vector(server, server->measured[i]);
        distances[i] = 0;
        if (read != present && count > 0)
            distances[i] = vector_distance_squared(present + range.first, read + range.first, count);
    }
}

/* Shows the probe the parts of [first, first + count), but not the sum of those that it saw when they were folded,
 * and what was made of them. */
static void observe(struct server *server, int shard, const float *combined, size_t first, size_t count) {
    count = parameters_within(server, first, count);
    for (int i = server->parts[0].vector == server->sum; i < server->part_count; i++)
        probe_add_part(server->probe, shard, server->parts[i].vector + first, server->parts[i].weight, count);
    probe_add_combined(server->probe, shard, combined, first, count);
}

static void fold_shard(struct server *server, int shard, struct range range) {
    size_t step = server->correction ? BLOCK : range.end - range.first;
    for (size_t first = range.first; first < range.end; first += step)
        for (int i = 0; i < server->fold_count; i++) {
            const struct server_fold *fold = &server->folds[i];
            accumulate(server, &fold->part, fold->target + first, fold->is_first, first,
                       range.end - first < step ? range.end - first : step);
            if (server->probe)
                probe_add_part(
                    server->probe, shard, fold->part.vector + first, fold->part.weight,
                    parameters_within(server, first, range.end - first < step ? range.end - first : step));
        }
}

/* The combined gradient of [first, first + count): the part itself where there is only one of weight 1, else in
 * `block`. */
static const float *combine(const struct server *server, size_t first, size_t count, float *block) {
    const struct server_part *parts = server->parts;
    if (server->part_count == 1 && parts[0].weight == 1 && parts[0].corrected < 0)
        return parts[0].vector + first;
    for (int i = 0; i < server->part_count; i++)
        accumulate(server, &parts[i], block, i == 0, first, count);
    return block;
}

/* Running statistics follow the mean of the observed ones as if the gradients had come one after the other. */
static void move_statistics(const struct server *server, const float *observed, size_t first, size_t count) {
    float keep = (float)pow(1 - server->statistic_momentum, (double)server->batch_count);
    float factor = (1 - keep) * (float)server->statistic_scale;
    const float *old_values = server->versions[server->current] + first;
    float *new_values = server->versions[server->next] + first;
    for (size_t i = 0; i < count; i++)
        new_values[i] = keep * old_values[i] + factor * observed[i];
}

/* One thread's share of a piece of work. */
struct stint {
    bool is_home;   /* within the thread's own region */
    bool has_tried; /* `streams` is known */
    bool streams;   /* what other cores will read is written past the caches */
};

/* Seconds for a store to a line that another core has in its cache, from which on streams are faster. The cores
 * of one virtual machine may be neighbours (7 ns a line) or far from each other (30 ns; streams 2), and that
 * changes within seconds: bench_exchange measures it. */
#define SLOW_STORE 15e-9

/* Writes new values that other cores will read. The first block of a stint is stored as usual, to see what that
 * costs. */
static void write_for_others(struct stint *stint, float *out, const float *values, size_t count) {
    if (stint->streams) {
        vector_stream(out, values, count);
        return;
    }
    double begun = stint->has_tried ? 0 : machine_seconds();
    memcpy(out, values, count * sizeof *out);
    if (stint->has_tried)
        return;
    vector_end_stream();
    stint->streams = machine_seconds() - begun > SLOW_STORE * (double)(count / 16);
    stint->has_tried = true;
}

/* The optimizer's step on [first, first + count), whose states are at hand in `states`. */
static void step_parameters(const struct server *server, const struct optimizer_step *step, const float *gradient,
                            float *const *states, float *new_values, size_t first, size_t count) {
    server->optimizer->step(server->optimizer_self, step, server->versions[server->current] + first, gradient,
                            states, new_values, count);
}

/* The same where other cores will read the new values: they, and states of another core's region, are made in
 * blocks of this core's and then written past its caches. */
static void step_for_others(const struct server *server, const struct optimizer_step *step, const float *gradient,
                            struct stint *stint, size_t first, size_t count) {
    bool keeps_states = stint->is_home || !stint->streams;
    float values[BLOCK] __attribute__((aligned(64))),
        copies[OPTIMIZER_MOST_STATES][BLOCK] __attribute__((aligned(64)));
    float *states[OPTIMIZER_MOST_STATES] = {0};
    for (int i = 0; i < server->optimizer->states; i++) {
        states[i] = keeps_states ? server->states[i] + first : copies[i];
        if (!keeps_states)
            memcpy(copies[i], server->states[i] + first, count * sizeof(float));
    }
    step_parameters(server, step, gradient, states, values, first, count);
    write_for_others(stint, server->versions[server->next] + first, values, count);
    for (int i = 0; !keeps_states && i < server->optimizer->states; i++)
        vector_stream(server->states[i] + first, copies[i], count);
}

/* What workers will compute at, from the new values of a block whose first `parameters` elements are parameters. */
static void look_ahead(const struct server *server, size_t first, size_t count, size_t parameters) {
    const float *new_values = server->versions[server->next] + first;
    float *given = server->versions[server->next_given] + first;
    if (parameters > 0)
        server->correction->look_ahead(server->correction_self, server->step.rate * (double)server->scale,
                                       new_values, server->state_total + first, given, parameters);
    if (parameters < count)
        memcpy(given + parameters, new_values + parameters, (count - parameters) * sizeof *given);
}

static void step_block(struct server *server, const float *gradient, struct stint *stint, size_t first,
                       size_t count, double scale) {
    size_t parameters = parameters_within(server, first, count);
    struct optimizer_step step = server->step;
    step.scale = scale;
    if (!vector_is_finite(gradient, count))
        atomic_store_explicit(&server->is_bad, true, memory_order_relaxed);
    if (parameters > 0 && server->is_shared) {
        step_for_others(server, &step, gradient, stint, first, parameters);
    } else if (parameters > 0) {
        float *states[OPTIMIZER_MOST_STATES] = {0};
        for (int i = 0; i < server->optimizer->states; i++)
            states[i] = server->states[i] + first;
        step_parameters(server, &step, gradient, states, server->versions[server->next] + first, first, parameters);
    }
    if (parameters < count)
        move_statistics(server, gradient + parameters, first + parameters, count - parameters);
    if (server->next_given != server->next)
        look_ahead(server, first, count, parameters);
}

static void step_shard(struct server *server, int shard, struct range range, struct stint *stint) {
    float block[BLOCK] __attribute__((aligned(64)));
    for (size_t first = range.first; first < range.end; first += BLOCK) {
        size_t count = block_count(range, first);
        const float *combined = combine(server, first, count, block);
        if (server->probe)
            observe(server, shard, combined, first, count);
        step_block(server, combined, stint, first, count, 1);
    }
}

static void combine_shard(struct server *server, int shard, struct range range) {
    float block[BLOCK] __attribute__((aligned(64)));
    for (size_t first = range.first; first < range.end; first += BLOCK) {
        size_t count = block_count(range, first);
        const float *combined = combine(server, first, count, block);
        if (server->probe)
            observe(server, shard, combined, first, count);
        memmove(server->sum + first, combined, count * sizeof *block);
    }
    size_t end = range.end < server->parameter_count ? range.end : server->parameter_count;
    server->values[shard] =
        range.first < end ? vector_norm_squared(server->sum + range.first, end - range.first) : 0;
}

static void clipped_step_shard(struct server *server, struct range range, struct stint *stint) {
    for (size_t first = range.first; first < range.end; first += BLOCK)
        step_block(server, server->sum + first, stint, first, block_count(range, first), server->clipping);
}

static void work_on(struct server *server, int shard, enum server_pass pass, struct stint *stint) {
    struct range range = shard_range(server, shard);
    switch (pass) {
    case SERVER_MEASURE:
        measure_shard(server, shard, range);
        break;
    case SERVER_FOLD:
        fold_shard(server, shard, range);
        break;
    case SERVER_STEP:
        fold_shard(server, shard, range);
        step_shard(server, shard, range, stint);
        break;
    case SERVER_COMBINE:
        fold_shard(server, shard, range);
        combine_shard(server, shard, range);
        break;
    case SERVER_CLIPPED_STEP:
        clipped_step_shard(server, range, stint);
        break;
    }
}

/* The values of a shard that a pass finds, of which the totals over all shards are needed. */
static int columns_of(const struct server *server, enum server_pass pass) {
    return pass == SERVER_MEASURE ? server->measured_count : pass == SERVER_COMBINE;
}

void server_add_values(double *totals, const double *values, int columns, int shards) {
    for (int shard = 0; shard < shards; shard++)
        for (int i = 0; i < columns; i++)
            totals[i] += values[(size_t)shard * (size_t)columns + (size_t)i];
}

/* What follows from the totals of a pass. */
static void conclude(struct server *server, enum server_pass pass, const double *totals) {
    const struct optimizer *common = server->optimizer_self;
    if (pass == SERVER_COMBINE) {
        double norm = sqrt(totals[0]);
        server->clipping = norm > common->clip ? common->clip / norm : 1;
    } else {
        for (int i = 0; i < server->measured_count; i++)
            server->factors[server->measured[i]] =
                (float)server->correction->factor(server->correction_self, server->step.rate, totals[i]);
    }
}

static bool is_awaited(const struct server *server, int pass) {
    return server->is_split && columns_of(server, server->passes[pass]) > 0;
}

/* By the one thread that finished the last shard of a pass. */
static void end_pass(struct server *server, int pass) {
    int columns = columns_of(server, server->passes[pass]);
    if (is_awaited(server, pass))
        return;
    if (columns > 0) {
        memset(server->totals, 0, (size_t)columns * sizeof *server->totals);
        server_add_values(server->totals, server->values, columns, server->shard_count);
        conclude(server, server->passes[pass], server->totals);
    }
    atomic_store_explicit(&server->opened, pass + 1, memory_order_release);
}

/* Takes shards of a region that are left, at most so many; how many they were. */
static int work_through(struct server *server, struct server_region *region, int pass, struct stint *stint,
                        int most) {
    for (int finished = 0;; finished++) {
        if (finished == most || atomic_load_explicit(&region->taken[pass], memory_order_relaxed) >= region->count)
            return finished;
        int shard = atomic_fetch_add_explicit(&region->taken[pass], 1, memory_order_acquire);
        if (shard >= region->count)
            return finished;
        work_on(server, region->first + shard, server->passes[pass], stint);
    }
}

/* Takes at most so many shards of a pass, those of the worker's own region first. */
static void take_shards(struct server *server, int worker, int pass, int most) {
    struct stint stint = {0};
    int finished = 0;
    for (int i = 0; i < server->region_count; i++) {
        struct server_region *region = &server->regions[(worker + i) % server->region_count];
        stint.is_home = i == 0;
        finished += work_through(server, region, pass, &stint, most - finished);
    }
    if (stint.streams)
        vector_end_stream();
    if (finished > 0 && atomic_fetch_add_explicit(&server->done, finished, memory_order_acq_rel) + finished ==
                            (pass + 1) * server->shard_count)
        end_pass(server, pass);
}

void server_help(struct server *server, int worker) {
    for (int pass = 0; pass < server->pass_count; pass++) {
        while (atomic_load_explicit(&server->opened, memory_order_acquire) < pass) {
            if (is_awaited(server, pass - 1))
                return;
            sched_yield(); /* another thread is within its shard of the pass before */
        }
        take_shards(server, worker, pass, INT_MAX);
    }
}

bool server_is_done(const struct server *server) {
    return atomic_load_explicit(&server->opened, memory_order_acquire) == server->pass_count;
}

enum server_stage server_stage(const struct server *server) {
    int pass = atomic_load_explicit(&server->opened, memory_order_acquire);
    if (pass == server->pass_count)
        return SERVER_IS_DONE;
    bool is_over = atomic_load_explicit(&server->done, memory_order_acquire) == (pass + 1) * server->shard_count;
    return is_over && is_awaited(server, pass) ? SERVER_WAITS : SERVER_WORKS;
}

enum server_stage server_work(struct server *server, int shards) {
    if (server_stage(server) == SERVER_WORKS)
        take_shards(server, 0, atomic_load_explicit(&server->opened, memory_order_acquire), shards);
    return server_stage(server);
}

const double *server_values(const struct server *server, int *columns_out) {
    *columns_out = columns_of(server, server->passes[atomic_load(&server->opened)]);
    return server->values;
}

void server_continue(struct server *server, const double *totals) {
    int pass = atomic_load(&server->opened);
    conclude(server, server->passes[pass], totals);
    atomic_store_explicit(&server->opened, pass + 1, memory_order_release);
}
