/* SPDX-License-Identifier: Apache-2.0 */
/* Dealing to groups: see deal.h. `greedy` is the walk of A2PSGD (arXiv 2408.16592), here in random order;
 * `heaviest` is R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969 (longest processing time first).
 */
#include "lowrank/deal.h"

#include <string.h>

#include "base/memory.h"
#include "lowrank/blocks.h"

struct item {
    uint64_t key;
    uint32_t index;
};

struct dealing {
    const struct deal *setup;
    struct item *items, *spare; /* [count] */
    uint32_t *group;            /* [count]: of each row */
    uint64_t *loads;            /* [groups] */
    uint32_t *heap;             /* [groups]: the lightest first */
};

/* 64 well mixed bits (the finalizer of SplitMix64). */
static uint64_t mix(uint64_t bits) {
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

static uint32_t lot(const struct deal *setup, uint32_t index) {
    uint64_t stream = mix(setup->seed + UINT64_C(0x9e3779b97f4a7c15) * (setup->side + 1));
    return (uint32_t)(mix(stream ^ index) >> 32);
}

/* Sorts by key, a byte at a time; equal keys stay in their order. */
static void sort_items(struct dealing *dealing) {
    uint32_t count = dealing->setup->count;
    for (int shift = 0; shift < 64; shift += 8) {
        uint32_t firsts[256] = {0}, sum = 0;
        for (uint32_t i = 0; i < count; i++)
            firsts[dealing->items[i].key >> shift & 255]++;
        if (count > 0 && firsts[dealing->items[0].key >> shift & 255] == count)
            continue;
        for (int byte = 0; byte < 256; byte++) {
            uint32_t own = firsts[byte];
            firsts[byte] = sum;
            sum += own;
        }
        for (uint32_t i = 0; i < count; i++)
            dealing->spare[firsts[dealing->items[i].key >> shift & 255]++] = dealing->items[i];
        struct item *sorted = dealing->spare;
        dealing->spare = dealing->items;
        dealing->items = sorted;
    }
}

/* Puts the items in order: by weight with the heaviest first, then by lot; or by lot alone. */
static void order_items(struct dealing *dealing, bool by_weight) {
    const struct deal *setup = dealing->setup;
    for (uint32_t i = 0; i < setup->count; i++) {
        uint64_t lightness = by_weight ? UINT32_MAX - setup->weights[i] : 0;
        dealing->items[i] = (struct item){lightness << 32 | lot(setup, i), i};
    }
    sort_items(dealing);
}

static void deal_evenly(struct dealing *dealing) {
    const struct deal *setup = dealing->setup;
    bool is_natural = setup->balance == BLOCKS_NATURAL;
    for (uint64_t i = 0; i < setup->count; i++)
        dealing->group[is_natural ? i : dealing->items[i].index] =
            (uint32_t)(i * (uint64_t)setup->groups / setup->count);
}

static void deal_greedily(struct dealing *dealing) {
    const struct deal *setup = dealing->setup;
    uint64_t all = 0, load = 0;
    uint32_t group = 0, last = (uint32_t)setup->groups - 1;
    for (uint32_t i = 0; i < setup->count; i++)
        all += setup->weights[i];
    for (uint32_t i = 0; i < setup->count; i++) {
        uint32_t index = dealing->items[i].index;
        dealing->group[index] = group;
        load += setup->weights[index];
        if (group < last && load * (uint64_t)setup->groups >= all) {
            group++;
            load = 0;
        }
    }
}

static bool is_lighter(const struct dealing *dealing, uint32_t left, uint32_t right) {
    return dealing->loads[left] < dealing->loads[right] ||
           (dealing->loads[left] == dealing->loads[right] && left < right);
}

/* The first of the heap has become heavier. */
static void sink_first(struct dealing *dealing) {
    uint32_t groups = (uint32_t)dealing->setup->groups, moved = dealing->heap[0], hole = 0;
    for (uint32_t child; (child = 2 * hole + 1) < groups; hole = child) {
        if (child + 1 < groups && is_lighter(dealing, dealing->heap[child + 1], dealing->heap[child]))
            child++;
        if (!is_lighter(dealing, dealing->heap[child], moved))
            break;
        dealing->heap[hole] = dealing->heap[child];
    }
    dealing->heap[hole] = moved;
}

/* What has no ratings counts as one, so that it spreads too. */
static void deal_to_lightest(struct dealing *dealing) {
    const struct deal *setup = dealing->setup;
    for (int i = 0; i < setup->groups; i++)
        dealing->heap[i] = (uint32_t)i;
    for (uint32_t i = 0; i < setup->count; i++) {
        uint32_t index = dealing->items[i].index, lightest = dealing->heap[0];
        dealing->group[index] = lightest;
        dealing->loads[lightest] += setup->weights[index] > 0 ? setup->weights[index] : 1;
        sink_first(dealing);
    }
}

/* Numbers the items group by group, in the order in which they lie. */
static void number(struct dealing *dealing, uint32_t *places, uint32_t *firsts) {
    const struct deal *setup = dealing->setup;
    uint32_t *next = dealing->heap;
    memset(firsts, 0, ((size_t)setup->groups + 1) * sizeof *firsts);
    for (uint32_t i = 0; i < setup->count; i++)
        firsts[dealing->group[i] + 1]++;
    for (int i = 0; i < setup->groups; i++) {
        firsts[i + 1] += firsts[i];
        next[i] = firsts[i];
    }
    for (uint32_t i = 0; i < setup->count; i++) {
        uint32_t index = dealing->items[i].index;
        places[index] = next[dealing->group[index]]++;
    }
}

static enum hysgd_status alloc(struct dealing *dealing) {
    size_t count = dealing->setup->count, groups = (size_t)dealing->setup->groups;
    HYSGD_TRY(memory_alloc(count, sizeof *dealing->items, &dealing->items));
    HYSGD_TRY(memory_alloc(count, sizeof *dealing->spare, &dealing->spare));
    HYSGD_TRY(memory_alloc(count, sizeof *dealing->group, &dealing->group));
    HYSGD_TRY(memory_alloc(groups, sizeof *dealing->loads, &dealing->loads));
    return memory_alloc(groups, sizeof *dealing->heap, &dealing->heap);
}

enum hysgd_status deal(const struct deal *setup, uint32_t *places, uint32_t *firsts) {
    struct dealing dealing = {.setup = setup};
    enum hysgd_status status = alloc(&dealing);
    if (status == HYSGD_OK) {
        order_items(&dealing, setup->balance == BLOCKS_HEAVIEST);
        if (setup->balance == BLOCKS_HEAVIEST)
            deal_to_lightest(&dealing);
        else if (setup->balance == BLOCKS_GREEDY)
            deal_greedily(&dealing);
        else
            deal_evenly(&dealing);
        order_items(&dealing, true);
        number(&dealing, places, firsts);
    }
    memory_free(dealing.heap);
    memory_free(dealing.loads);
    memory_free(dealing.group);
    memory_free(dealing.spare);
    memory_free(dealing.items);
    return status;
}
