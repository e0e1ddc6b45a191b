/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks after they are made: see blocks.h. */
#include "lowrank/blocks.h"

#include <string.h>

#include "base/memory.h"
#include "data/ratings.h"
#include "lowrank/blocks_file.h"

void blocks_fini(struct blocks *blocks) {
    memory_free(blocks->row_places);
    memory_free(blocks->column_places);
    memory_free(blocks->row_firsts);
    memory_free(blocks->column_firsts);
    memory_free(blocks->tiles);
    memory_free(blocks->block_counts);
    memory_free(blocks->own_cells);
    blocks_stream_close(blocks->stream);
    *blocks = (struct blocks){0};
}

void blocks_renumber(const struct blocks *blocks, struct rating *ratings, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        ratings[i].row = blocks->row_places[ratings[i].row];
        ratings[i].column = blocks->column_places[ratings[i].column];
    }
}

/* The number in the data of each place. */
static enum hysgd_status invert(const uint32_t *places, uint32_t count, uint32_t **numbers_out) {
    uint32_t *numbers;
    HYSGD_TRY(memory_alloc(count, sizeof *numbers, &numbers));
    for (uint32_t i = 0; i < count; i++)
        numbers[places[i]] = i;
    *numbers_out = numbers;
    return HYSGD_OK;
}

/* Unpacks the cells of a tile, from the last to the first, as ratings of which the last has number `end` - 1. */
static void unpack(const struct tile *tile, struct rating *ratings, uint64_t end, const uint32_t *rows,
                   const uint32_t *columns) {
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

/* Goes from the end to the beginning: a cell lies no further on than its rating, so none is overwritten unread. */
enum hysgd_status blocks_restore(struct blocks *blocks, struct rating *ratings) {
    uint32_t *rows = NULL, *columns = NULL;
    enum hysgd_status status = invert(blocks->row_places, blocks->row_count, &rows);
    if (status == HYSGD_OK)
        status = invert(blocks->column_places, blocks->column_count, &columns);
    if (status == HYSGD_OK) {
        uint64_t end = blocks->count;
        for (size_t i = blocks_tile_count(blocks); i-- > 0;) {
            unpack(&blocks->tiles[i], ratings, end, rows, columns);
            end -= blocks->tiles[i].count;
        }
    }
    memory_free(rows);
    memory_free(columns);
    return status;
}

double blocks_imbalance(const struct blocks *blocks) {
    uint64_t most = 0, number = (uint64_t)blocks->row_groups * (uint64_t)blocks->column_groups;
    for (uint64_t i = 0; i < number; i++)
        if (blocks->block_counts[i] > most)
            most = blocks->block_counts[i];
    return blocks->count > 0 ? (double)most * (double)number / (double)blocks->count : 1;
}
