/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up ratings with unequally popular rows and columns; rating i has the value i. Include cmocka first. */
#ifndef HYSGD_TESTS_LOWRANK_SPREAD_H
#define HYSGD_TESTS_LOWRANK_SPREAD_H

#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/ratings.h"
#include "lowrank/blocks.h"
#include "lowrank/team.h"

struct spread {
    struct rating *ratings; /* [count], what the blocks lie in */
    struct rating *given;   /* [count], as they were made */
    uint64_t count;
    struct team *team;
    struct blocks blocks;
};

static inline struct rating *spread_ratings(uint32_t rows, uint32_t columns, uint64_t count) {
    struct rating *ratings;
    struct random random;
    random_init(&random, 7, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    assert_int_equal(memory_alloc(count, sizeof *ratings, &ratings), HYSGD_OK);
    for (uint64_t i = 0; i < count; i++) {
        double row = random_uniform(&random), column = random_uniform(&random);
        ratings[i] = (struct rating){(uint32_t)(rows * row * row), (uint32_t)(columns * column * column), (float)i};
    }
    return ratings;
}

/* Lays out made-up ratings in a grid; tile_bytes is in vectors, of one byte each. */
static inline void spread_open(struct spread *spread, uint32_t rows, uint32_t columns, uint64_t count,
                               struct blocks_setup setup, int threads) {
    spread->count = count;
    spread->ratings = spread_ratings(rows, columns, count);
    spread->given = spread_ratings(rows, columns, count);
    assert_int_equal(team_start(threads, &spread->team), HYSGD_OK);
    setup.vector_bytes = 1;
    setup.team = spread->team;
    assert_int_equal(blocks_make(spread->ratings, count, rows, columns, &setup, &spread->blocks), HYSGD_OK);
}

static inline void spread_close(struct spread *spread) {
    blocks_fini(&spread->blocks);
    team_stop(spread->team);
    memory_free(spread->ratings);
    memory_free(spread->given);
}

/* The number in the data of each place. */
static inline enum hysgd_status spread_invert(const uint32_t *places, uint32_t count, uint32_t **numbers_out) {
    uint32_t *numbers;
    HYSGD_TRY(memory_alloc(count, sizeof *numbers, &numbers));
    for (uint32_t i = 0; i < count; i++)
        numbers[places[i]] = i;
    *numbers_out = numbers;
    return HYSGD_OK;
}

/* Unpacks the cells of a tile, from the last to the first, as ratings of which the last has number `end` - 1. */
static inline void spread_unpack(const struct tile *tile, struct rating *ratings, uint64_t end,
                                 const uint32_t *rows, const uint32_t *columns) {
    const char *from = (const char *)tile->cells;
    char *to = (char *)ratings + (end - tile->count) * sizeof(struct rating);
    for (uint32_t i = tile->count; i-- > 0;) {
        struct cell cell;
        memcpy(&cell, from + i * sizeof cell, sizeof cell);
        struct rating rating = {rows[tile->first_row + cell.row], columns[tile->first_column + cell.column],
                                cell.value};
        memcpy(to + i * sizeof rating, &rating, sizeof rating);
    }
}

/* Turns the cells back into ratings with the numbers of the data, in the order of the layout, in the memory that
 * they lie in ([count], as given to blocks_make): the blocks are spent. From the end to the beginning: a cell lies
 * no further on than its rating, so none is overwritten unread. */
static inline enum hysgd_status spread_restore(const struct blocks *blocks, struct rating *ratings) {
    uint32_t *rows = NULL, *columns = NULL;
    enum hysgd_status status = spread_invert(blocks->row_places, blocks->row_count, &rows);
    if (status == HYSGD_OK)
        status = spread_invert(blocks->column_places, blocks->column_count, &columns);
    if (status == HYSGD_OK) {
        uint64_t end = blocks->count;
        for (size_t i = blocks_tile_count(blocks); i-- > 0;) {
            spread_unpack(&blocks->tiles[i], ratings, end, rows, columns);
            end -= blocks->tiles[i].count;
        }
    }
    memory_free(rows);
    memory_free(columns);
    return status;
}

#endif
