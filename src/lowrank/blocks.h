/* SPDX-License-Identifier: Apache-2.0 */
/* Ratings laid out for training: rows and columns are dealt to groups, the ratings of a row group and a column
 * group make a block (what a scheduler hands out), and a block is cut into tiles (what a kernel works on). Rows and
 * columns are renumbered so that the groups are contiguous; `place` is the new number, and the factors are stored
 * by place.
 */
#ifndef HYSGD_LOWRANK_BLOCKS_H
#define HYSGD_LOWRANK_BLOCKS_H

#include "base/status.h"
#include "lowrank/tile.h"

struct rating;
struct team;

/* How rows and columns are dealt to groups. The weight of a row is the number of its ratings. */
enum blocks_balance {
    BLOCKS_NATURAL,  /* in the order of the data, the same number of rows in each group */
    BLOCKS_PERMUTED, /* in random order, the same number of rows in each group */
    BLOCKS_GREEDY,   /* in random order; a group is closed when it holds its share of the ratings */
    BLOCKS_HEAVIEST  /* the heaviest of those left to the lightest group */
};

/* The words of the balances in their order, for the table of an option. */
#define BLOCKS_BALANCE_WORDS "natural|permuted|greedy|heaviest"

struct blocks_setup {
    int row_groups, column_groups; /* at least 1 */
    int balance;                   /* enum blocks_balance */
    size_t vector_bytes;           /* of the factors of one row or column, with their state */
    size_t tile_bytes;             /* of the factors that a tile touches, at most; 0: BLOCKS_TILE_BYTES */
    uint64_t seed;                 /* of the random orders */
    struct team *team;             /* who makes the blocks; the layout does not depend on the number of threads */
};

/* Half of the second-level cache of present machines. */
#define BLOCKS_TILE_BYTES ((size_t)512 << 10)

struct blocks {
    uint32_t row_count, column_count;
    uint64_t count; /* ratings */
    int row_groups, column_groups;
    uint32_t *row_places;    /* [row_count]: the place of a row of the data */
    uint32_t *column_places; /* [column_count] */
    uint32_t *row_firsts;    /* [row_groups + 1]: the place of the first row of a group */
    uint32_t *column_firsts; /* [column_groups + 1] */
    int tiles_per_block;
    struct tile *tiles;     /* [row_groups][column_groups][tiles_per_block]; a tile may be empty */
    uint64_t *block_counts; /* [row_groups * column_groups]: ratings */
    void *mapping;          /* of a cache file; NULL: the cells are in the caller's ratings */
    size_t mapping_bytes;
    bool is_streamed; /* the cells are dropped from memory after use */
};

/* Lays out `count` ratings IN PLACE: afterwards their memory holds the cells and belongs to the blocks as long as
 * they live, though the caller frees it. Rows are below row_count, columns below column_count. The layout depends
 * on the ratings, their order and the setup only. HYSGD_MEMORY, and then the ratings are in disorder. On failure
 * safe to fini. */
HYSGD_MUST_CHECK enum hysgd_status blocks_make(struct rating *ratings, uint64_t count, uint32_t row_count,
                                               uint32_t column_count, const struct blocks_setup *setup,
                                               struct blocks *blocks_out);
void blocks_fini(struct blocks *blocks);

/* Turns the cells back into ratings with the numbers of the data, in the order of the layout, in the same memory
 * ([count], as given to blocks_make). The blocks must be finished with afterwards. HYSGD_MEMORY leaves them whole.
 */
HYSGD_MUST_CHECK enum hysgd_status blocks_restore(struct blocks *blocks, struct rating *ratings);

/* Gives ratings of another part (validation, test) the numbers of the blocks: row and column become places. */
void blocks_renumber(const struct blocks *blocks, struct rating *ratings, uint64_t count);

/* The ratings of the largest block over the mean of all; 1 is perfect balance. */
double blocks_imbalance(const struct blocks *blocks);

#endif
