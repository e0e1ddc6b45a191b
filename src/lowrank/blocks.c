/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks after they are made: see blocks.h. */
#include "lowrank/blocks.h"

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

double blocks_imbalance(const struct blocks *blocks) {
    uint64_t most = 0, number = (uint64_t)blocks->row_groups * (uint64_t)blocks->column_groups;
    for (uint64_t i = 0; i < number; i++)
        if (blocks->block_counts[i] > most)
            most = blocks->block_counts[i];
    return blocks->count > 0 ? (double)most * (double)number / (double)blocks->count : 1;
}
