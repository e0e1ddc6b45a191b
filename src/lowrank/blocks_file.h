/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks in a file. After the header come the tables
 *     row_places [row_count], column_places [column_count], row_firsts [row_groups + 1], column_firsts
 *     [column_groups + 1], all uint32, filled up to 8 bytes; tiles [row_groups][column_groups][tiles_per_block]
 * then, from a multiple of BLOCKS_FILE_PAGE on, the cells tile by tile. Numbers are those of the machine that wrote
 * it.
 */
#ifndef HYSGD_LOWRANK_BLOCKS_FILE_H
#define HYSGD_LOWRANK_BLOCKS_FILE_H

#include "lowrank/blocks.h"

#define BLOCKS_FILE_MAGIC   "hysgdblk"
#define BLOCKS_FILE_VERSION 1
#define BLOCKS_FILE_ORDER   UINT32_C(0x01020304) /* reads otherwise on a machine with another order of bytes */
#define BLOCKS_FILE_PAGE    4096

struct blocks_file_header {
    char magic[8];
    uint32_t version, order;
    uint64_t identity, count;
    uint32_t row_count, column_count;
    uint32_t row_groups, column_groups, tiles_per_block, reserved;
    uint64_t cells_at; /* bytes before the cells */
    uint64_t tables_checksum;
    uint64_t header_checksum; /* of all before it */
};

struct blocks_file_tile {
    uint32_t first_row, first_column, count, reserved;
    uint64_t checksum; /* of its cells */
};

/* Where things are, for a header whose numbers are in range. */
struct blocks_file_layout {
    uint64_t places; /* uint32 numbers before the tiles, filled up to an even number */
    uint64_t tiles;
    uint64_t tables_bytes; /* from the header to the cells */
    uint64_t cells_at;
};

/* A header's layout; false when a number is out of range. */
bool blocks_file_layout(const struct blocks_file_header *header, struct blocks_file_layout *layout_out);

/* 64 bits that change with every change of less than 9 bytes in a row, and with nearly every other. */
uint64_t blocks_checksum(const void *bytes, size_t size);

/* What is in a file that may be a cache. */
enum blocks_file_kind { BLOCKS_FILE_ABSENT, BLOCKS_FILE_OTHER, BLOCKS_FILE_STALE, BLOCKS_FILE_GOOD };

/* Looks at the header only: none, no layout, one with another identity, or the one wanted. */
enum blocks_file_kind blocks_file_kind(const char *path, uint64_t identity);

/* Closes what streamed blocks read from; NULL is allowed. */
void blocks_stream_close(struct blocks_stream *stream);

#endif
