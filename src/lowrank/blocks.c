/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks after they are made: see blocks.h. */
#include "lowrank/blocks.h"

#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "data/ratings.h"

void blocks_fini(struct blocks *blocks) {
    memory_free(blocks->row_places);
    memory_free(blocks->column_places);
    memory_free(blocks->row_firsts);
    memory_free(blocks->column_firsts);
    memory_free(blocks->tiles);
    memory_free(blocks->block_counts);
    if (blocks->mapping != NULL)
        (void)munmap(blocks->mapping, blocks->mapping_bytes);
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

/* Unpacks the cells of a tile from the last to the first; the first has number `first` of its row group, whose
 * cells and ratings begin at `bytes`. A rating is larger, so no cell is overwritten before it is read. */
static void unpack(char *bytes, const struct tile *tile, uint64_t first, const uint32_t *rows,
                   const uint32_t *columns) {
    for (uint64_t i = first + tile->count; i-- > first;) {
        struct cell cell;
        memcpy(&cell, bytes + i * sizeof cell, sizeof cell);
        struct rating rating = {rows[tile->first_row + cell.row], columns[tile->first_column + cell.column],
                                cell.value};
        memcpy(bytes + i * sizeof rating, &rating, sizeof rating);
    }
}

enum hysgd_status blocks_restore(struct blocks *blocks, struct rating *ratings) {
    uint32_t *rows = NULL, *columns = NULL;
    enum hysgd_status status = invert(blocks->row_places, blocks->row_count, &rows);
    if (status == HYSGD_OK)
        status = invert(blocks->column_places, blocks->column_count, &columns);
    uint64_t tiles = (uint64_t)blocks->column_groups * (uint64_t)blocks->tiles_per_block;
    for (uint64_t group = 0, first = 0; status == HYSGD_OK && group < (uint64_t)blocks->row_groups; group++) {
        const struct tile *own = blocks->tiles + group * tiles;
        uint64_t count = 0;
        for (uint64_t i = 0; i < tiles; i++)
            count += own[i].count;
        uint64_t left = count;
        for (uint64_t i = tiles; i-- > 0;) {
            left -= own[i].count;
            unpack((char *)(ratings + first), &own[i], left, rows, columns);
        }
        first += count;
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
