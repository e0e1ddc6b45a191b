/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions of the samples and the endless shuffled sequence of one worker. Pass p of worker w is shuffled by its
 * own random stream (seed, w, p), so any position can be sought without drawing what lies before it. */
#include "data/sampler.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

/* A uniform permutation (Fisher and Yates). */
static void shuffle(uint64_t *values, uint64_t count, struct random *random) {
    for (uint64_t i = count; i > 1; i--) {
        uint64_t other = random_below(random, i);
        uint64_t value = values[i - 1];
        values[i - 1] = values[other];
        values[other] = value;
    }
}

enum hysgd_status partition_init(struct partition *partition, uint64_t samples, int workers, uint64_t seed) {
    *partition = (struct partition){.workers = workers};
    if (workers < 1 || (uint64_t)workers > samples)
        return hysgd_fail(HYSGD_USAGE,
                          "%d workers cannot share %" PRIu64 " training samples; expected 1 to %" PRIu64 " workers",
                          workers, samples, samples);
    HYSGD_TRY(memory_alloc(samples, sizeof *partition->indices, &partition->indices));
    HYSGD_TRY(memory_alloc((size_t)workers + 1, sizeof *partition->first, &partition->first));
    for (uint64_t i = 0; i < samples; i++)
        partition->indices[i] = i;
    struct random random;
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_PARTITION, 0);
    shuffle(partition->indices, samples, &random);
    uint64_t each = samples / (uint64_t)workers, rest = samples % (uint64_t)workers;
    for (int w = 0; w < workers; w++)
        partition->first[w + 1] = partition->first[w] + each + ((uint64_t)w < rest);
    return HYSGD_OK;
}

void partition_fini(struct partition *partition) {
    memory_free(partition->indices);
    memory_free(partition->first);
    *partition = (struct partition){0};
}

enum hysgd_status sampler_init(struct sampler *sampler, const struct partition *partition, int worker,
                               uint64_t seed) {
    uint64_t first = partition->first[worker];
    *sampler = (struct sampler){.indices = partition->indices + first,
                                .count = partition->first[worker + 1] - first,
                                .seed = seed,
                                .worker = (uint32_t)worker,
                                .pass = UINT64_MAX};
    return memory_alloc(sampler->count, sizeof *sampler->order, &sampler->order);
}

void sampler_fini(struct sampler *sampler) {
    memory_free(sampler->order);
    *sampler = (struct sampler){0};
}

static void order_pass(struct sampler *sampler, uint64_t pass) {
    struct random random;
    random_init(&random, sampler->seed, sampler->worker, RANDOM_SHUFFLE, pass);
    memcpy(sampler->order, sampler->indices, sampler->count * sizeof *sampler->order);
    shuffle(sampler->order, sampler->count, &random);
    sampler->pass = pass;
}

void sampler_next(struct sampler *sampler, size_t batch, uint64_t *indices_out) {
    while (batch > 0) {
        uint64_t pass = sampler->position / sampler->count;
        uint64_t place = sampler->position % sampler->count;
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
