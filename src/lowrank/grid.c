/* SPDX-License-Identifier: Apache-2.0 */
/* What schedulers share: see grid.h. And the list of them. */
#include "lowrank/grid.h"

#include <math.h>

/* A block is well worth a question from so many ratings on: at 80 million a second, 100 microseconds. Up to so many
 * groups for each thread then make the end of an epoch, when what is left excludes the others, shorter. */
#define GOOD_RATINGS 8192
#define GOOD_GROUPS  8

/* Where there are fewer ratings for each thread, shorter blocks cost less than waiting for free groups. */
#define SHORT_RATINGS 1024
#define SHORT_GROUPS  4

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
    double good = fmin(sqrt((double)count / GOOD_RATINGS), (double)threads * GOOD_GROUPS);
    double few = fmin(sqrt((double)count / SHORT_RATINGS), (double)threads * SHORT_GROUPS);
    return (int)fmin(fmax(fmax(good, few), least), GRID_MOST_GROUPS);
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
