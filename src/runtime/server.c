/* SPDX-License-Identifier: Apache-2.0 */
/* The server's vectors, their versions, and the beginning and end of the work on them: see server.h. */
#include "runtime/server.h"

#include <string.h>

#include "base/memory.h"
#include "linalg/vector.h"

/* As memory_alloc, but on huge pages where there are any. */
static enum hysgd_status alloc_zeros(size_t count, float **vector_out) {
    float *vector;
    HYSGD_TRY(memory_alloc_vector(count, sizeof *vector, &vector));
    memset(vector, 0, count * sizeof *vector);
    *vector_out = vector;
    return HYSGD_OK;
}

static enum hysgd_status init_regions(struct server *server) {
    int count = server->workers < SERVER_MOST_REGIONS ? server->workers : SERVER_MOST_REGIONS;
    if (count > server->shard_count)
        count = server->shard_count;
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *server->regions, &server->regions));
    server->region_count = count;
    for (int i = 0, first = 0; i < count; i++) {
        server->regions[i].first = first;
        server->regions[i].count = server->shard_count / count + (i < server->shard_count % count);
        first += server->regions[i].count;
    }
    return HYSGD_OK;
}

size_t server_slice_first(size_t count, int servers, int number) {
    size_t shards = (count + SERVER_SHARD - 1) / SERVER_SHARD, each = shards / (size_t)servers;
    size_t first = each * (size_t)number, longer = shards % (size_t)servers;
    first = (first + (longer < (size_t)number ? longer : (size_t)number)) * SERVER_SHARD;
    return first < count ? first : count;
}

struct hysgd_model_layout server_slice(const struct hysgd_model_layout *layout, size_t first, size_t end) {
    size_t parameters = layout->parameter_count < end ? layout->parameter_count : end;
    parameters = parameters > first ? parameters - first : 0;
    return (struct hysgd_model_layout){.parameter_count = parameters,
                                       .statistic_count = end - first - parameters,
                                       .statistic_momentum = layout->statistic_momentum};
}

void server_describe(struct server *server, const struct plugin *optimizer, const struct hysgd_model_layout *layout,
                     int workers) {
    *server = (struct server){.optimizer = optimizer_ops(optimizer),
                              .optimizer_self = optimizer->self,
                              .parameter_count = layout->parameter_count,
                              .count = layout->parameter_count + layout->statistic_count,
                              .statistic_momentum = layout->statistic_momentum,
                              .workers = workers,
                              .version_count = workers + 2,
                              .sum_is_empty = true};
    server->shard_count = (int)((server->count + SERVER_SHARD - 1) / SERVER_SHARD);
}

enum hysgd_status server_init(struct server *server, const struct plugin *optimizer,
                              const struct hysgd_model_layout *layout, int workers) {
    server_describe(server, optimizer, layout, workers);
    size_t count = (size_t)workers;
    HYSGD_TRY(memory_alloc(count, sizeof *server->gradients, &server->gradients));
    HYSGD_TRY(memory_alloc(count + 3, sizeof *server->versions, &server->versions));
    HYSGD_TRY(memory_alloc(count + 3, sizeof *server->readers, &server->readers));
    HYSGD_TRY(memory_alloc(count, sizeof *server->reading, &server->reading));
    HYSGD_TRY(memory_alloc(count, sizeof *server->folds, &server->folds));
    HYSGD_TRY(memory_alloc(count + 1, sizeof *server->parts, &server->parts));
    HYSGD_TRY(memory_alloc(count, sizeof *server->measured, &server->measured));
    HYSGD_TRY(memory_alloc((size_t)server->shard_count, sizeof *server->values, &server->values));
    HYSGD_TRY(memory_alloc(count, sizeof *server->totals, &server->totals));
    for (int i = 0; i < workers; i++)
        server->reading[i] = -1;
    for (int i = 0; i < workers; i++)
        HYSGD_TRY(memory_alloc_vector(server->count, sizeof(float), &server->gradients[i]));
    for (int i = 0; i < server->optimizer->states; i++)
        HYSGD_TRY(alloc_zeros(server->parameter_count, &server->states[i]));
    HYSGD_TRY(init_regions(server));
    return alloc_zeros(server->count, &server->versions[0]);
}

enum hysgd_status server_correct(struct server *server, const struct plugin *correction) {
    const struct correction_ops *ops = correction_ops(correction);
    size_t workers = (size_t)server->workers;
    if (!correction_acts(ops))
        return HYSGD_OK;
    server->correction = ops;
    server->correction_self = correction->self;
    server->keeps_reads = server->keeps_reads || ops->needs_read;
    server->version_count += ops->look_ahead != NULL;
    if (!server->versions)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(workers, sizeof *server->factors, &server->factors));
    for (size_t i = 0; i < workers; i++)
        server->factors[i] = 1;
    if (ops->factor) {
        memory_free(server->values);
        server->values = NULL;
        HYSGD_TRY(memory_alloc((size_t)server->shard_count * workers, sizeof *server->values, &server->values));
    }
    if (ops->shared_state && ops->shared_state(correction->self))
        HYSGD_TRY(alloc_zeros(server->parameter_count, &server->shared_state));
    if (!ops->worker_state)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(workers, sizeof *server->worker_states, &server->worker_states));
    for (size_t i = 0; i < workers; i++)
        HYSGD_TRY(alloc_zeros(server->parameter_count, &server->worker_states[i]));
    return alloc_zeros(server->parameter_count, &server->state_total);
}

enum hysgd_status server_keep_table(struct server *server) {
    server->keeps_reads = true;
    for (int i = 0; server->versions && i < 2; i++)
        HYSGD_TRY(memory_alloc((size_t)server->workers, sizeof *server->rows[i], &server->rows[i]));
    return HYSGD_OK;
}

enum hysgd_status server_row(struct server *server, int parity, int worker, float **row_out) {
    float **row = &server->rows[parity][worker];
    if (!*row)
        HYSGD_TRY(memory_alloc_vector(server->count, sizeof(float), row));
    *row_out = *row;
    return HYSGD_OK;
}

static void free_probe(struct server *server) {
    if (server->probe)
        probe_fini(server->probe);
    memory_free(server->probe);
    server->probe = NULL;
}

enum hysgd_status server_watch(struct server *server, bool is_wanted) {
    free_probe(server);
    if (!is_wanted)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(1, sizeof *server->probe, &server->probe));
    return probe_init(server->probe, server->parameter_count, server->shard_count);
}

static void free_table(struct server *server) {
    for (int parity = 0; parity < 2; parity++) {
        for (int i = 0; server->rows[parity] && i < server->workers; i++)
            memory_free(server->rows[parity][i]);
        memory_free(server->rows[parity]);
    }
}

static void free_correction(struct server *server) {
    for (int i = 0; server->worker_states && i < server->workers; i++)
        memory_free(server->worker_states[i]);
    memory_free(server->worker_states);
    memory_free(server->state_total);
    memory_free(server->shared_state);
    memory_free(server->factors);
}

void server_fini(struct server *server) {
    free_correction(server);
    free_table(server);
    free_probe(server);
    for (int i = 0; server->gradients && i < server->workers; i++)
        memory_free(server->gradients[i]);
    for (int i = 0; server->versions && i < server->version_count; i++)
        memory_free(server->versions[i]);
    for (int i = 0; i < OPTIMIZER_MOST_STATES; i++)
        memory_free(server->states[i]);
    memory_free(server->gradients);
    memory_free(server->versions);
    memory_free(server->readers);
    memory_free(server->reading);
    memory_free(server->folds);
    memory_free(server->parts);
    memory_free(server->measured);
    memory_free(server->values);
    memory_free(server->totals);
    memory_free(server->regions);
    memory_free(server->sum);
    *server = (struct server){0};
}

float *server_vector(const struct server *server) {
    return server->versions[server->current];
}

int server_acquire(struct server *server) {
    server->readers[server->current]++;
    return server->current;
}

void server_let_go(struct server *server, int version) {
    server->readers[version]--;
}

/* A buffer for what comes after version `old`: its own where it has no reader, which saves memory and time, unless
 * that is `taken`. There always is one, as each worker and the evaluation read at most one version. */
static enum hysgd_status find_buffer(struct server *server, int old, int taken, int *found_out) {
    int found = old;
    if (server->readers[found] > 0 || found == taken) {
        found = 0;
        while (found == server->current || found == server->given || found == taken || server->readers[found] > 0)
            found++;
    }
    if (!server->versions[found])
        HYSGD_TRY(memory_alloc_vector(server->count, sizeof(float), &server->versions[found]));
    *found_out = found;
    return HYSGD_OK;
}

static void stop_reading(struct server *server, int worker) {
    if (server->reading[worker] >= 0)
        server_let_go(server, server->reading[worker]);
    server->reading[worker] = -1;
}

void server_read(struct server *server, int worker) {
    stop_reading(server, worker);
    server->reading[worker] = server->given;
    server->readers[server->given]++;
}

void server_has_read(struct server *server, int worker) {
    if (!server->keeps_reads)
        stop_reading(server, worker);
}

enum hysgd_status server_read_old(struct server *server, int worker, int other, float **vector_out) {
    int found = other >= 0 ? server->reading[other] : -1;
    if (found < 0)
        HYSGD_TRY(find_buffer(server, server->current, server->current, &found));
    stop_reading(server, worker);
    server->reading[worker] = found;
    server->readers[found]++;
    *vector_out = server->versions[found];
    return HYSGD_OK;
}

enum hysgd_status server_give_other(struct server *server, float **vector_out) {
    HYSGD_TRY(find_buffer(server, server->current, server->current, &server->given));
    *vector_out = server->versions[server->given];
    return HYSGD_OK;
}

const float *server_read_vector(const struct server *server, int worker) {
    return server->versions[server->reading[worker]];
}

static enum hysgd_status find_next(struct server *server) {
    HYSGD_TRY(find_buffer(server, server->current, -1, &server->next));
    server->next_given = server->next;
    if (!server->correction || !server->correction->look_ahead)
        return HYSGD_OK;
    return find_buffer(server, server->given, server->next, &server->next_given);
}

enum hysgd_status server_require_sum(struct server *server) {
    return server->sum ? HYSGD_OK : memory_alloc_vector(server->count, sizeof(float), &server->sum);
}

static void begin_work(struct server *server) {
    if (server->probe)
        probe_begin(server->probe, 1 / (double)server->scale);
    for (int i = 0; i < server->region_count; i++)
        for (int pass = 0; pass < server->pass_count; pass++)
            atomic_store_explicit(&server->regions[i].taken[pass], 0, memory_order_relaxed);
    atomic_store_explicit(&server->is_bad, false, memory_order_relaxed);
    atomic_store_explicit(&server->done, 0, memory_order_relaxed);
    int opened = server->shard_count > 0 ? 0 : server->pass_count; /* an empty slice is done at once */
    atomic_store_explicit(&server->opened, opened, memory_order_release);
}

/* The gradient of one of the order's parts. */
static struct server_part gradient_part(struct server *server, const struct engine_part *part, float scale) {
    if (server->correction && server->correction->factor)
        server->measured[server->measured_count++] = part->worker;
    return (struct server_part){.vector = server->gradients[part->worker],
                                .weight = part->weight * scale,
                                .corrected = server->correction ? part->worker : -1};
}

static void add_vector(struct server *server, const float *vector, float weight) {
    server->parts[server->part_count++] = (struct server_part){vector, weight, -1};
}

/* The parts go to the sum, or to their workers' rows. */
static enum hysgd_status add_folds(struct server *server, const struct server_order *order) {
    for (int i = 0; i < order->part_count; i++) {
        const struct engine_part *part = &order->parts[i];
        struct server_fold *fold = &server->folds[i];
        *fold = (struct server_fold){.part = gradient_part(server, part, 1),
                                     .target = server->sum,
                                     .is_first = server->sum_is_empty && i == 0};
        if (!order->has_table)
            continue;
        HYSGD_TRY(server_row(server, part->row, part->worker, &fold->target));
        fold->is_first = part->is_first;
    }
    server->fold_count = order->part_count;
    return HYSGD_OK;
}

static void add_rows(struct server *server, const struct server_order *order) {
    for (int i = 0; i < order->row_count; i++)
        add_vector(server, server->rows[order->parity][order->rows[i].worker], order->rows[i].weight);
}

static void add_held(struct server *server, const struct server_order *order) {
    if (!server->sum_is_empty)
        add_vector(server, server->sum, server->scale);
    for (int i = 0; i < order->part_count; i++)
        server->parts[server->part_count++] = gradient_part(server, &order->parts[i], server->scale);
}

static void begin_passes(struct server *server) {
    server->fold_count = server->part_count = server->pass_count = server->measured_count = 0;
    if (server->correction && server->correction->factor)
        server->passes[server->pass_count++] = SERVER_MEASURE;
}

static enum hysgd_status begin_fold(struct server *server, const struct server_order *order) {
    if (!order->has_table)
        HYSGD_TRY(server_require_sum(server));
    begin_passes(server);
    HYSGD_TRY(add_folds(server, order));
    server->passes[server->pass_count++] = SERVER_FOLD;
    return HYSGD_OK;
}

static enum hysgd_status begin_update(struct server *server, const struct server_order *order) {
    const struct optimizer *common = server->optimizer_self;
    HYSGD_TRY(find_next(server));
    if (common->clip > 0)
        HYSGD_TRY(server_require_sum(server));
    server->statistic_scale = order->statistic_scale;
    server->batch_count = order->batch_count;
    begin_passes(server);
    if (order->has_table) {
        HYSGD_TRY(add_folds(server, order));
        add_rows(server, order);
    } else {
        add_held(server, order);
    }
    if (common->clip > 0)
        server->passes[server->pass_count++] = SERVER_COMBINE;
    server->passes[server->pass_count++] = common->clip > 0 ? SERVER_CLIPPED_STEP : SERVER_STEP;
    return HYSGD_OK;
}

enum hysgd_status server_begin(struct server *server, const struct server_order *order) {
    if (server->probe && order->turns_probe)
        probe_turn(server->probe);
    server->step = order->step;
    server->scale = order->scale;
    HYSGD_TRY(order->is_update ? begin_update(server, order) : begin_fold(server, order));
    begin_work(server);
    return HYSGD_OK;
}

int server_find_bad(const struct server *server, const struct server_order *order) {
    int found = -1;
    for (int i = 0; i < order->part_count; i++)
        if (!vector_is_finite(server->gradients[order->parts[i].worker], server->count))
            found = order->parts[i].worker;
    return found;
}

void server_end(struct server *server) {
    bool is_fold = server->passes[server->pass_count - 1] == SERVER_FOLD;
    if (server->probe)
        probe_end(server->probe, !is_fold);
    server->sum_is_empty = !is_fold || server->rows[0] != NULL;
    if (!is_fold)
        server->current = server->next, server->given = server->next_given;
}
