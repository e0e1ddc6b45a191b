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
    struct tile *tiles;           /* [row_groups][column_groups][tiles_per_block]; a tile may be empty */
    uint64_t *block_counts;       /* [row_groups * column_groups]: ratings */
    struct cell *own_cells;       /* read from a file; NULL: in the caller's memory, or streamed */
    struct blocks_stream *stream; /* the cells are in a file, and `cells` of a tile is NULL; NULL: in memory */
};

static inline size_t blocks_tile_count(const struct blocks *blocks) {
    return (size_t)blocks->row_groups * (size_t)blocks->column_groups * (size_t)blocks->tiles_per_block;
}

/* Lays out `count` ratings IN PLACE: afterwards their memory holds the cells and belongs to the blocks as long as
 * they live, though the caller frees it. Rows are below row_count, columns below column_count. The layout depends
 * on the ratings, their order and the setup only. HYSGD_MEMORY, and then the ratings are in disorder. On failure
 * safe to fini. */
HYSGD_MUST_CHECK enum hysgd_status blocks_make(struct rating *ratings, uint64_t count, uint32_t row_count,
                                               uint32_t column_count, const struct blocks_setup *setup,
                                               struct blocks *blocks_out);
void blocks_fini(struct blocks *blocks);

/* Writes the layout to a file, by way of a temporary one beside it. The identity is a number for the data and the
 * setup, of the caller's choice. HYSGD_OUTPUT. */
HYSGD_MUST_CHECK enum hysgd_status blocks_write(const struct blocks *blocks, uint64_t identity, const char *path);

/* Reads a layout that blocks_write wrote. The cells come into `memory`, of 8 bytes a rating, which belongs to the
 * blocks as long as they live; NULL: into memory of their own; all are checked. Or, is_streamed, they stay in the
 * file, and a tile is read and checked whenever it is loaded. HYSGD_INPUT when the file cannot be read, is damaged,
 * or has another identity; HYSGD_MEMORY. On failure safe to fini. */
HYSGD_MUST_CHECK enum hysgd_status blocks_read(const char *path, uint64_t identity, bool is_streamed, void *memory,
                                               struct team *team, struct blocks *blocks_out);

/* As blocks_make, by way of a cache: reads the layout from the file where it is there, else makes it and writes it.
 * What was made of other ratings or with another setup is replaced. HYSGD_INPUT when the file is damaged or of
 * another kind; it is left alone then. When is_streamed the pages of the ratings are given back, and the cells stay
 * in the file. */
HYSGD_MUST_CHECK enum hysgd_status blocks_make_cached(struct rating *ratings, uint64_t count, uint32_t row_count,
                                                      uint32_t column_count, const struct blocks_setup *setup,
                                                      const char *path, bool is_streamed,
                                                      struct blocks *blocks_out);

/* Tells the system that the tiles of a block will be wanted soon, or will not be any more. Nothing to do when the
 * blocks are in memory. */
void blocks_expect(const struct blocks *blocks, size_t block);
void blocks_dismiss(const struct blocks *blocks, size_t block);

/* The most cells that a buffer for a tile must hold; 0 when the blocks are in memory. */
uint32_t blocks_buffer_cells(const struct blocks *blocks);

/* The tile with this number; one that is streamed is read into the buffer and checked. Called by several threads at
 * once, each with its own buffer. HYSGD_INPUT names the file and the block. */
HYSGD_MUST_CHECK enum hysgd_status blocks_load_tile(const struct blocks *blocks, size_t number, struct cell *buffer,
                                                    struct tile *tile_out);

/* Gives ratings of another part (validation, test) the numbers of the blocks: row and column become places. */
void blocks_renumber(const struct blocks *blocks, struct rating *ratings, uint64_t count);

/* The ratings of the largest block over the mean of all; 1 is perfect balance. */
double blocks_imbalance(const struct blocks *blocks);

#endif
