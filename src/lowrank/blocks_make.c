/* SPDX-License-Identifier: Apache-2.0 */
/* Makes blocks in place: count, deal, renumber, sort by row group and then, a row group a thread, by tile (in
 * place by a digit of mixed radix, after P. M. McIlroy, K. Bostic and M. D. McIlroy, "Engineering Radix Sort",
 * 1993), and pack. The result does not depend on the number of threads, since everything that does the order of
 * ratings is one thread's. */
#include "lowrank/blocks.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/ratings.h"
#include "lowrank/deal.h"
#include "lowrank/team.h"

/* Tiles are made wider than the cache allows until they have so many ratings in the mean: fewer do not come back to
 * a row or a column often enough for the cache to matter. */
#define LEAST_TILE_RATINGS 512

/* Threads that count with a table of their own; more would need more memory than they save time. */
#define MOST_COUNTERS 8

struct layout {
    struct blocks *blocks;
    const struct blocks_setup *setup;
    struct rating *ratings; /* [count] */
    int counters;
    uint32_t *weights[MOST_COUNTERS];   /* [row_count + column_count] each; then all in the first */
    uint32_t height, width;             /* of a tile */
    int row_bands, column_bands;        /* tiles down and across a block */
    uint32_t *group_of_row;             /* [row_count], by place */
    uint32_t *row_tile, *column_tile;   /* by place; their sum is the tile within the row group */
    uint64_t *group_firsts;             /* [row_groups + 1]: ratings before a row group */
    uint64_t *heads;                    /* [row_groups] */
    uint64_t *tile_firsts, *tile_heads; /* [threads][tiles_per_group (+ 1)] */
    uint64_t tiles_per_group;
    _Atomic int next_group;
    _Atomic bool is_too_large; /* a tile has more ratings than its counter can tell */
};

/* ---- Counting ---- */

static void count_ratings(void *context, int thread) {
    struct layout *layout = context;
    if (thread >= layout->counters)
        return;
    uint64_t count = layout->blocks->count, counters = (uint64_t)layout->counters;
    uint64_t end =
        count / counters * ((uint64_t)thread + 1) + (thread == layout->counters - 1 ? count % counters : 0);
    uint32_t *rows = layout->weights[thread], *columns = rows + layout->blocks->row_count;
    for (uint64_t i = count / counters * (uint64_t)thread; i < end; i++) {
        rows[layout->ratings[i].row]++;
        columns[layout->ratings[i].column]++;
    }
}

static void add_counts(void *context, int thread) {
    struct layout *layout = context;
    uint64_t first, end;
    team_share(layout->setup->team, thread, (uint64_t)layout->blocks->row_count + layout->blocks->column_count,
               &first, &end);
    for (int other = 1; other < layout->counters; other++)
        for (uint64_t i = first; i < end; i++)
            layout->weights[0][i] += layout->weights[other][i];
}

static void free_weights(struct layout *layout) {
    for (int i = 0; i < MOST_COUNTERS; i++) {
        memory_free(layout->weights[i]);
        layout->weights[i] = NULL;
    }
}

static enum hysgd_status count_weights(struct layout *layout) {
    size_t both = (size_t)layout->blocks->row_count + layout->blocks->column_count;
    int threads = team_threads(layout->setup->team);
    layout->counters = threads < MOST_COUNTERS ? threads : MOST_COUNTERS;
    for (int i = 0; i < layout->counters; i++)
        HYSGD_TRY(memory_alloc(both, sizeof(uint32_t), &layout->weights[i]));
    team_run(layout->setup->team, count_ratings, layout);
    team_run(layout->setup->team, add_counts, layout);
    return HYSGD_OK;
}

/* ---- Groups and tiles ---- */

static enum hysgd_status deal_side(struct layout *layout, uint32_t side) {
    struct blocks *blocks = layout->blocks;
    struct deal setup = {.count = side == 0 ? blocks->row_count : blocks->column_count,
                         .weights = layout->weights[0] + (side == 0 ? 0 : blocks->row_count),
                         .groups = side == 0 ? blocks->row_groups : blocks->column_groups,
                         .balance = layout->setup->balance,
                         .seed = layout->setup->seed,
                         .side = side};
    uint32_t **places = side == 0 ? &blocks->row_places : &blocks->column_places;
    uint32_t **firsts = side == 0 ? &blocks->row_firsts : &blocks->column_firsts;
    HYSGD_TRY(memory_alloc(setup.count, sizeof **places, places));
    HYSGD_TRY(memory_alloc((size_t)setup.groups + 1, sizeof **firsts, firsts));
    return deal(&setup, *places, *firsts);
}

static uint32_t largest_group(const uint32_t *firsts, int groups) {
    uint32_t most = 1;
    for (int i = 0; i < groups; i++)
        if (firsts[i + 1] - firsts[i] > most)
            most = firsts[i + 1] - firsts[i];
    return most;
}

static uint32_t least(uint64_t left, uint64_t right) {
    return (uint32_t)(left < right ? left : right);
}

static uint32_t parts(uint32_t whole, uint32_t part) {
    return (whole + part - 1) / part;
}

/* Chooses the tiles' size: rows and columns that fit the cache together, wide enough to have ratings. */
static void choose_tiles(struct layout *layout) {
    struct blocks *blocks = layout->blocks;
    const struct blocks_setup *setup = layout->setup;
    uint32_t rows = largest_group(blocks->row_firsts, blocks->row_groups);
    uint32_t columns = largest_group(blocks->column_firsts, blocks->column_groups);
    size_t bytes = setup->tile_bytes > 0 ? setup->tile_bytes : BLOCKS_TILE_BYTES;
    uint64_t vectors = bytes / (setup->vector_bytes > 0 ? setup->vector_bytes : 1);
    uint32_t half = least(vectors > 2 ? vectors / 2 : 1, TILE_MOST_SIDE);
    layout->height = rows <= half ? rows : columns < half ? least(vectors - columns, TILE_MOST_SIDE) : half;
    layout->width = columns <= half ? columns : rows < half ? least(vectors - rows, TILE_MOST_SIDE) : half;
    layout->height = least(layout->height, rows);
    layout->width = least(layout->width, columns);
    double in_block = (double)blocks->count / blocks->row_groups / blocks->column_groups;
    for (;;) {
        layout->row_bands = (int)parts(rows, layout->height);
        layout->column_bands = (int)parts(columns, layout->width);
        bool may_grow_down = layout->row_bands > 1 && layout->height < TILE_MOST_SIDE;
        bool may_grow_across = layout->column_bands > 1 && layout->width < TILE_MOST_SIDE;
        if (in_block >= LEAST_TILE_RATINGS * (double)layout->row_bands * layout->column_bands ||
            (!may_grow_down && !may_grow_across))
            break;
        if (may_grow_down && (!may_grow_across || layout->row_bands >= layout->column_bands))
            layout->height = least(2 * (uint64_t)layout->height, least(rows, TILE_MOST_SIDE));
        else
            layout->width = least(2 * (uint64_t)layout->width, least(columns, TILE_MOST_SIDE));
    }
    blocks->tiles_per_block = layout->row_bands * layout->column_bands;
    layout->tiles_per_group = (uint64_t)blocks->tiles_per_block * (uint64_t)blocks->column_groups;
}

/* Fills what is found by place. */
static void note_places(struct layout *layout) {
    struct blocks *blocks = layout->blocks;
    for (int group = 0; group < blocks->row_groups; group++)
        for (uint32_t place = blocks->row_firsts[group]; place < blocks->row_firsts[group + 1]; place++) {
            layout->group_of_row[place] = (uint32_t)group;
            layout->row_tile[place] =
                (place - blocks->row_firsts[group]) / layout->height * (uint32_t)layout->column_bands;
        }
    for (int group = 0; group < blocks->column_groups; group++)
        for (uint32_t place = blocks->column_firsts[group]; place < blocks->column_firsts[group + 1]; place++)
            layout->column_tile[place] = (uint32_t)group * (uint32_t)blocks->tiles_per_block +
                                         (place - blocks->column_firsts[group]) / layout->width;
    for (uint32_t row = 0; row < blocks->row_count; row++)
        layout->group_firsts[layout->group_of_row[blocks->row_places[row]] + 1] += layout->weights[0][row];
    for (int group = 0; group < blocks->row_groups; group++)
        layout->group_firsts[group + 1] += layout->group_firsts[group];
}

static enum hysgd_status alloc_tables(struct layout *layout) {
    struct blocks *blocks = layout->blocks;
    size_t groups = (size_t)blocks->row_groups, threads = (size_t)team_threads(layout->setup->team);
    size_t tiles = layout->tiles_per_group;
    HYSGD_TRY(memory_alloc(blocks->row_count, sizeof(uint32_t), &layout->group_of_row));
    HYSGD_TRY(memory_alloc(blocks->row_count, sizeof(uint32_t), &layout->row_tile));
    HYSGD_TRY(memory_alloc(blocks->column_count, sizeof(uint32_t), &layout->column_tile));
    HYSGD_TRY(memory_alloc(groups + 1, sizeof(uint64_t), &layout->group_firsts));
    HYSGD_TRY(memory_alloc(groups, sizeof(uint64_t), &layout->heads));
    HYSGD_TRY(memory_alloc(threads * (tiles + 1), sizeof(uint64_t), &layout->tile_firsts));
    HYSGD_TRY(memory_alloc(threads * tiles, sizeof(uint64_t), &layout->tile_heads));
    HYSGD_TRY(memory_alloc(groups * (size_t)blocks->column_groups, sizeof(uint64_t), &blocks->block_counts));
    return memory_alloc(groups * tiles, sizeof(struct tile), &blocks->tiles);
}

/* ---- Sorting ---- */

static void renumber(void *context, int thread) {
    struct layout *layout = context;
    uint64_t first, end;
    team_share(layout->setup->team, thread, layout->blocks->count, &first, &end);
    blocks_renumber(layout->blocks, layout->ratings + first, end - first);
}

enum sort_key { BY_GROUP, BY_TILE };

/* The row group of a rating, or its tile within the row group. */
static inline uint32_t key_of(const struct layout *layout, const struct rating *rating, enum sort_key key) {
    return key == BY_GROUP ? layout->group_of_row[rating->row]
                           : layout->row_tile[rating->row] + layout->column_tile[rating->column];
}

/* Sorts in place; `heads` tells where the next of each key belongs and `firsts` where the keys begin and end. Every
 * look puts one rating where it belongs and, unlike following one rating after the other, does not wait for the
 * look before it. */
static inline void sort_ratings(const struct layout *layout, struct rating *ratings, const uint64_t *firsts,
                                uint64_t *heads, uint64_t keys, enum sort_key key) {
    for (bool is_sorted = false; !is_sorted;) {
        is_sorted = true;
        for (uint64_t own = 0; own < keys; own++)
            for (uint64_t at = heads[own]; at < firsts[own + 1]; at++) {
                struct rating rating = ratings[at];
                uint64_t *head = &heads[key_of(layout, &rating, key)];
                ratings[at] = ratings[*head];
                ratings[(*head)++] = rating;
                is_sorted = false;
            }
    }
}

static void sort_by_group(struct layout *layout) {
    uint64_t groups = (uint64_t)layout->blocks->row_groups;
    memcpy(layout->heads, layout->group_firsts, groups * sizeof *layout->heads);
    sort_ratings(layout, layout->ratings, layout->group_firsts, layout->heads, groups, BY_GROUP);
}

/* Sorts the [count] ratings of a row group by tile; `firsts` says where each begins. */
static void sort_by_tile(const struct layout *layout, struct rating *ratings, uint64_t count, uint64_t *firsts,
                         uint64_t *heads) {
    memset(firsts, 0, (layout->tiles_per_group + 1) * sizeof *firsts);
    for (uint64_t i = 0; i < count; i++)
        firsts[key_of(layout, &ratings[i], BY_TILE) + 1]++;
    for (uint64_t tile = 0; tile < layout->tiles_per_group; tile++) {
        firsts[tile + 1] += firsts[tile];
        heads[tile] = firsts[tile];
    }
    sort_ratings(layout, ratings, firsts, heads, layout->tiles_per_group, BY_TILE);
}

/* ---- Packing ---- */

/* SplitMix64: G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014. */
static uint64_t draw(uint64_t *state) {
    uint64_t bits = *state += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

static void shuffle(struct cell *cells, uint32_t count, uint64_t stream) {
    uint64_t state = stream;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)((draw(&state) >> 32) * i >> 32);
        struct cell cell = cells[i - 1];
        cells[i - 1] = cells[other];
        cells[other] = cell;
    }
}

/* Packs the ratings of a tile, numbers `first` to `end` - 1 of their row group, as cells of the same numbers; both
 * begin at `bytes`. A cell is smaller, so no rating is overwritten before it is read. */
static void pack(char *bytes, const struct tile *tile, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++) {
        struct rating rating;
        memcpy(&rating, bytes + i * sizeof rating, sizeof rating);
        struct cell cell = {(uint16_t)(rating.row - tile->first_row),
                            (uint16_t)(rating.column - tile->first_column), rating.value};
        memcpy(bytes + i * sizeof cell, &cell, sizeof cell);
    }
}

/* Gives back the memory behind the packed cells of a row group. It is only advice. */
static void release_rest(char *bytes, uint64_t count) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)bytes + count * sizeof(struct cell) + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)bytes + count * sizeof(struct rating)) / page * page;
    if (first < end)
        (void)madvise(bytes + (first - (uintptr_t)bytes), end - first, MADV_DONTNEED);
}

static void lay_out_group(struct layout *layout, int group, uint64_t *firsts, uint64_t *heads) {
    struct blocks *blocks = layout->blocks;
    struct rating *ratings = layout->ratings + layout->group_firsts[group];
    uint64_t count = layout->group_firsts[group + 1] - layout->group_firsts[group];
    sort_by_tile(layout, ratings, count, firsts, heads);
    char *bytes = (char *)ratings;
    for (uint64_t i = 0; i < layout->tiles_per_group; i++) {
        uint32_t in_block = (uint32_t)(i % (uint64_t)blocks->tiles_per_block);
        uint64_t column = i / (uint64_t)blocks->tiles_per_block,
                 number = (uint64_t)group * layout->tiles_per_group + i;
        uint32_t bands = (uint32_t)layout->column_bands;
        struct tile tile = {blocks->row_firsts[group] + in_block / bands * layout->height,
                            blocks->column_firsts[column] + in_block % bands * layout->width,
                            (const struct cell *)(void *)(bytes + firsts[i] * sizeof(struct cell)),
                            (uint32_t)(firsts[i + 1] - firsts[i])};
        if (firsts[i + 1] - firsts[i] > UINT32_MAX)
            atomic_store(&layout->is_too_large, true);
        pack(bytes, &tile, firsts[i], firsts[i + 1]);
        shuffle((struct cell *)(void *)(bytes + firsts[i] * sizeof(struct cell)), tile.count,
                layout->setup->seed ^ (number + 1) * UINT64_C(0xd1342543de82ef95));
        blocks->tiles[number] = tile;
        blocks->block_counts[(uint64_t)group * (uint64_t)blocks->column_groups + column] += tile.count;
    }
    release_rest(bytes, count);
}

static void lay_out(void *context, int thread) {
    struct layout *layout = context;
    uint64_t *firsts = layout->tile_firsts + (uint64_t)thread * (layout->tiles_per_group + 1);
    uint64_t *heads = layout->tile_heads + (uint64_t)thread * layout->tiles_per_group;
    for (int group; (group = atomic_fetch_add(&layout->next_group, 1)) < layout->blocks->row_groups;)
        lay_out_group(layout, group, firsts, heads);
}

static enum hysgd_status make(struct layout *layout) {
    HYSGD_TRY(count_weights(layout));
    HYSGD_TRY(deal_side(layout, 0));
    HYSGD_TRY(deal_side(layout, 1));
    choose_tiles(layout);
    HYSGD_TRY(alloc_tables(layout));
    note_places(layout);
    free_weights(layout);
    team_run(layout->setup->team, renumber, layout);
    sort_by_group(layout);
    team_run(layout->setup->team, lay_out, layout);
    if (layout->is_too_large)
        return hysgd_fail(HYSGD_INPUT, "a tile of the ratings has more than 2^32 of them: expected no pair twice");
    return HYSGD_OK;
}

enum hysgd_status blocks_make(struct rating *ratings, uint64_t count, uint32_t row_count, uint32_t column_count,
                              const struct blocks_setup *setup, struct blocks *blocks_out) {
    *blocks_out = (struct blocks){.row_count = row_count,
                                  .column_count = column_count,
                                  .count = count,
                                  .row_groups = setup->row_groups,
                                  .column_groups = setup->column_groups};
    struct layout layout = {.blocks = blocks_out, .setup = setup, .ratings = ratings};
    enum hysgd_status status = make(&layout);
    free_weights(&layout);
    memory_free(layout.group_of_row);
    memory_free(layout.row_tile);
    memory_free(layout.column_tile);
    memory_free(layout.group_firsts);
    memory_free(layout.heads);
    memory_free(layout.tile_firsts);
    memory_free(layout.tile_heads);
    return status;
}
