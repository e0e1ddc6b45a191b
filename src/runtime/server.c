/* SPDX-License-Identifier: Apache-2.0 */
/* The server's vectors, their versions, and the beginning and end of the work on them: see server.h. */
#include "runtime/server.h"

#include <string.h>

#include "base/memory.h"

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

enum hysgd_status server_init(struct server *server, const struct plugin *optimizer,
                              const struct hysgd_model_layout *layout, int workers) {
    *server = (struct server){.optimizer = optimizer_ops(optimizer),
                              .optimizer_self = optimizer->self,
                              .parameter_count = layout->parameter_count,
                              .count = layout->parameter_count + layout->statistic_count,
                              .statistic_momentum = layout->statistic_momentum,
                              .workers = workers,
                              .version_count = workers + 2,
                              .sum_is_empty = true};
    server->shard_count = (int)((server->count + SERVER_SHARD - 1) / SERVER_SHARD);
    size_t count = (size_t)workers;
    HYSGD_TRY(memory_alloc(count, sizeof *server->gradients, &server->gradients));
    HYSGD_TRY(memory_alloc(count + 2, sizeof *server->versions, &server->versions));
    HYSGD_TRY(memory_alloc(count + 2, sizeof *server->readers, &server->readers));
    HYSGD_TRY(memory_alloc(count, sizeof *server->reading, &server->reading));
    HYSGD_TRY(memory_alloc(count + 1, sizeof *server->parts, &server->parts));
    HYSGD_TRY(memory_alloc((size_t)server->shard_count, sizeof *server->norms, &server->norms));
    for (int i = 0; i < workers; i++)
        server->reading[i] = -1;
    for (int i = 0; i < workers; i++)
        HYSGD_TRY(memory_alloc_vector(server->count, sizeof(float), &server->gradients[i]));
    for (int i = 0; i < server->optimizer->states; i++)
        HYSGD_TRY(alloc_zeros(server->parameter_count, &server->states[i]));
    HYSGD_TRY(init_regions(server));
    return alloc_zeros(server->count, &server->versions[0]);
}

void server_fini(struct server *server) {
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
    memory_free(server->parts);
    memory_free(server->norms);
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

void server_read(struct server *server, int worker) {
    server_has_read(server, worker);
    server->reading[worker] = server_acquire(server);
}

void server_has_read(struct server *server, int worker) {
    if (server->reading[worker] >= 0)
        server_let_go(server, server->reading[worker]);
    server->reading[worker] = -1;
}

const float *server_read_vector(const struct server *server, int worker) {
    return server->versions[server->reading[worker]];
}

/* A buffer that nobody reads, for the next version: the current one where it has no reader, which saves memory and
 * time. There always is one, as each worker and the evaluation read at most one version. */
static enum hysgd_status find_next(struct server *server) {
    int next = server->current;
    if (server->readers[next] > 0) {
        next = 0;
        while (next == server->current || server->readers[next] > 0)
            next++;
    }
    if (!server->versions[next])
        HYSGD_TRY(memory_alloc_vector(server->count, sizeof(float), &server->versions[next]));
    server->next = next;
    return HYSGD_OK;
}

enum hysgd_status server_require_sum(struct server *server) {
    return server->sum ? HYSGD_OK : memory_alloc_vector(server->count, sizeof(float), &server->sum);
}

static void begin_work(struct server *server) {
    for (int i = 0; i < server->region_count; i++)
        for (int pass = 0; pass < server->pass_count; pass++)
            atomic_store_explicit(&server->regions[i].taken[pass], 0, memory_order_relaxed);
    atomic_store_explicit(&server->is_bad, false, memory_order_relaxed);
    atomic_store_explicit(&server->done, 0, memory_order_relaxed);
    atomic_store_explicit(&server->opened, 0, memory_order_release);
}

static void add_part(struct server *server, const float *vector, float weight) {
    server->parts[server->part_count++] = (struct server_part){vector, weight};
}

static void add_parts(struct server *server, const struct engine *engine, float scale) {
    for (int i = 0; i < engine->part_count; i++)
        add_part(server, server->gradients[engine->parts[i].worker], engine->parts[i].weight * scale);
}

enum hysgd_status server_begin_fold(struct server *server, const struct engine *engine) {
    HYSGD_TRY(server_require_sum(server));
    server->part_count = 0;
    add_parts(server, engine, 1);
    server->passes[0] = SERVER_FOLD;
    server->pass_count = 1;
    begin_work(server);
    return HYSGD_OK;
}

enum hysgd_status server_begin_update(struct server *server, const struct engine *engine,
                                      const struct optimizer_step *step) {
    const struct optimizer *common = server->optimizer_self;
    HYSGD_TRY(find_next(server));
    if (common->clip > 0)
        HYSGD_TRY(server_require_sum(server));
    server->scale = (float)engine_scale(engine);
    server->statistic_scale = 1 / (engine->held_weight * (double)server->scale);
    server->gradient_count = engine->progress.held;
    server->step = *step;
    server->part_count = 0;
    if (!server->sum_is_empty)
        add_part(server, server->sum, server->scale);
    add_parts(server, engine, server->scale);
    server->pass_count = 0;
    if (common->clip > 0)
        server->passes[server->pass_count++] = SERVER_COMBINE;
    server->passes[server->pass_count++] = common->clip > 0 ? SERVER_CLIPPED_STEP : SERVER_STEP;
    begin_work(server);
    return HYSGD_OK;
}

void server_end(struct server *server) {
    bool is_fold = server->passes[server->pass_count - 1] == SERVER_FOLD;
    server->sum_is_empty = !is_fold;
    if (!is_fold)
        server->current = server->next;
}
