/* SPDX-License-Identifier: Apache-2.0 */
/* The endless shuffled sequence of one worker. Pass p of worker w is shuffled by its own random stream (seed, w,
 * p), so any position can be sought without drawing what lies before it. The passes after a change are numbered
 * apart from those before. */
#include "data/sampler.h"

#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum hysgd_status sampler_init(struct sampler *sampler, const struct partition *partition, int worker,
                               uint64_t seed) {
    *sampler = (struct sampler){.partition = partition,
                                .count = partition_count(partition, worker, 0),
                                .seed = seed,
                                .worker = (uint32_t)worker,
                                .pass = UINT64_MAX};
    return memory_alloc(sampler->count, sizeof *sampler->order, &sampler->order);
}

void sampler_fini(struct sampler *sampler) {
    memory_free(sampler->order);
    *sampler = (struct sampler){0};
}

enum hysgd_status sampler_take_over(struct sampler *sampler, int changes, uint64_t first) {
    uint64_t count = partition_count(sampler->partition, (int)sampler->worker, changes), *order;
    HYSGD_TRY(memory_alloc(count, sizeof *order, &order));
    memory_free(sampler->order);
    sampler->order = order;
    sampler->count = count;
    sampler->changes = changes;
    sampler->first = first;
    sampler->pass = UINT64_MAX;
    return HYSGD_OK;
}

static void order_pass(struct sampler *sampler, uint64_t pass) {
    struct random random;
    uint64_t number = (uint64_t)sampler->changes << 40 | pass;
    random_init(&random, sampler->seed, sampler->worker, RANDOM_SHUFFLE, number);
    partition_gather(sampler->partition, (int)sampler->worker, sampler->changes, sampler->order);
    random_shuffle(&random, sampler->order, sampler->count);
    sampler->pass = pass;
}

void sampler_next(struct sampler *sampler, size_t batch, uint64_t *indices_out) {
    while (batch > 0) {
        uint64_t pass = (sampler->position - sampler->first) / sampler->count;
        uint64_t place = (sampler->position - sampler->first) % sampler->count;
        if (pass != sampler->pass)
            order_pass(sampler, pass);
        uint64_t left = sampler->count - place;
        size_t taken = batch < left ? batch : (size_t)left;
        memcpy(indices_out, sampler->order + place, taken * sizeof *indices_out);
        sampler->position += taken;
        indices_out += taken;
        batch -= taken;
    }
}

void sampler_seek(struct sampler *sampler, uint64_t samples) {
    sampler->position = samples;
}
