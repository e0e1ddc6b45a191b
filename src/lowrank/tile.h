/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of work of the kernels: the ratings of a few neighbouring rows and columns, whose factors fit the cache
 * together. */
#ifndef HYSGD_LOWRANK_TILE_H
#define HYSGD_LOWRANK_TILE_H

#include <stdint.h>

/* The most rows, and the most columns, of a tile. */
#define TILE_MOST_SIDE 65536

/* A rating of a tile. */
struct cell {
    uint16_t row, column; /* relative to the tile's first */
    float value;
};

struct tile {
    uint32_t first_row, first_column; /* places of the factors, as the blocks number them */
    const struct cell *cells;         /* [count], in random order */
    uint32_t count;
};

#endif
