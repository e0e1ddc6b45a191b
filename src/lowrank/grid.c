/* SPDX-License-Identifier: Apache-2.0 */
/* What schedulers share: see grid.h. And the list of them. */
#include "lowrank/grid.h"

#include <math.h>

/* A block is worth a question from so many ratings on: at 80 million ratings a second, 25 microseconds. */
#define WORTHWHILE_RATINGS 2048

/* Groups for each thread beyond which the end of an epoch costs no more that could be saved. */
#define GROUPS_PER_THREAD 8

#define X(name) extern const struct scheduler_ops scheduler_##name;
#include "lowrank/list.h"
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &scheduler_##name.about,
#include "lowrank/list.h"
#undef X
};

const struct plugin_list scheduler_list = {"scheduler", entries, sizeof entries / sizeof *entries};

int grid_groups(int threads, uint64_t count, int least) {
    double groups = fmin(sqrt((double)count / WORTHWHILE_RATINGS), (double)threads * GROUPS_PER_THREAD);
    groups = fmin(fmax(groups, least), GRID_MOST_GROUPS);
    return (int)groups;
}

/* The finalizer of SplitMix64. */
static uint64_t mix(uint64_t bits) {
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

uint64_t grid_stream(uint64_t seed, uint64_t epoch, int thread) {
    return mix(mix(mix(seed) ^ epoch) ^ (uint64_t)thread);
}

uint32_t grid_draw(uint64_t *stream, uint32_t bound) {
    *stream += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((mix(*stream) >> 32) * bound >> 32);
}

void grid_fill(uint64_t *words, int count) {
    for (int i = 0; i < grid_words(count); i++)
        words[i] = count - 64 * i >= 64 ? UINT64_MAX : (UINT64_C(1) << (count - 64 * i)) - 1;
}
