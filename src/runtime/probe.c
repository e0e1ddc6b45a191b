/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at gradients on their way: see probe.h. */
#include "runtime/probe.h"

#include <string.h>

#include "base/memory.h"
#include "linalg/vector.h"

enum hysgd_status probe_init(struct probe *probe, size_t count, int shard_count) {
    *probe = (struct probe){.count = count, .is_empty = true, .shard_count = shard_count};
    for (int i = 0; i < 2; i++)
        HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &probe->sums[i]));
    return memory_alloc((size_t)shard_count, sizeof *probe->of_shards, &probe->of_shards);
}

void probe_fini(struct probe *probe) {
    memory_free(probe->sums[0]);
    memory_free(probe->sums[1]);
    memory_free(probe->of_shards);
    *probe = (struct probe){0};
}

void probe_turn(struct probe *probe) {
    probe->has_before = !probe->is_empty;
    probe->present = !probe->present;
    probe->is_empty = true;
}

void probe_begin(struct probe *probe, double unscale) {
    probe->unscale = unscale;
    memset(probe->of_shards, 0, (size_t)probe->shard_count * sizeof *probe->of_shards);
}

void probe_add_part(struct probe *probe, int shard, const float *gradient, float weight, size_t count) {
    double scale = (double)weight * probe->unscale;
    probe->of_shards[shard].norms += scale * scale * vector_norm_squared(gradient, count);
}

void probe_add_combined(struct probe *probe, int shard, const float *combined, size_t first, size_t count) {
    struct probe_values *values = &probe->of_shards[shard];
    float *present = probe->sums[probe->present] + first;
    const float *before = probe->sums[!probe->present] + first;
    values->square += probe->unscale * probe->unscale * vector_norm_squared(combined, count);
    if (!probe->is_empty)
        values->present += probe->unscale * vector_dot(combined, present, count);
    if (probe->has_before)
        values->before += probe->unscale * vector_dot(combined, before, count);
    vector_accumulate(present, combined, (float)probe->unscale, probe->is_empty, count);
}

void probe_end(struct probe *probe, bool is_update) {
    if (is_update)
        probe->is_empty = false;
}

void probe_total(struct probe_values *total, const struct probe_values *of_shards, int count) {
    for (int i = 0; i < count; i++) {
        total->norms += of_shards[i].norms;
        total->square += of_shards[i].square;
        total->present += of_shards[i].present;
        total->before += of_shards[i].before;
    }
}
