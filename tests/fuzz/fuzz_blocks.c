/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are refused or give a layout whose cells stay within their blocks. The first byte chooses whether the
 * checksums of header and tables are put right, without which few changes would get further than them. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "lowrank/blocks_file.h"
#include "lowrank/team.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Puts right what says where things are, and the checksums. */
static void repair(uint8_t *bytes, size_t size) {
    struct blocks_file_header header;
    struct blocks_file_layout layout;
    if (size < sizeof header)
        return;
    memcpy(&header, bytes, sizeof header);
    if (blocks_file_layout(&header, &layout) && layout.cells_at <= size) {
        header.cells_at = layout.cells_at;
        header.count = (size - layout.cells_at) / sizeof(struct cell);
        struct blocks_file_tile *tiles =
            (struct blocks_file_tile *)(void *)(bytes + sizeof header + layout.places * sizeof(uint32_t));
        uint64_t at = layout.cells_at;
        for (uint64_t i = 0; i < layout.tiles && at <= size; i++) {
            uint64_t length = tiles[i].count * (uint64_t)sizeof(struct cell);
            tiles[i].checksum = length <= size - at ? blocks_checksum(bytes + at, length) : 0;
            at += length;
        }
        header.tables_checksum = blocks_checksum(bytes + sizeof header, layout.tables_bytes);
    }
    header.header_checksum = blocks_checksum(&header, offsetof(struct blocks_file_header, header_checksum));
    memcpy(bytes, &header, sizeof header);
}

static void visit(const struct blocks *blocks) {
    struct cell *buffer;
    if (memory_alloc(blocks_buffer_cells(blocks), sizeof *buffer, &buffer) != HYSGD_OK)
        return;
    for (size_t i = 0; i < blocks_tile_count(blocks); i++) {
        struct tile tile;
        size_t row = i / (size_t)blocks->tiles_per_block / (size_t)blocks->column_groups;
        size_t column = i / (size_t)blocks->tiles_per_block % (size_t)blocks->column_groups;
        if (blocks_load_tile(blocks, i, buffer, &tile) != HYSGD_OK)
            break;
        for (uint32_t k = 0; k < tile.count; k++)
            if (tile.first_row + tile.cells[k].row >= blocks->row_firsts[row + 1] ||
                tile.first_column + tile.cells[k].column >= blocks->column_firsts[column + 1])
                abort();
    }
    memory_free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct team *team;
    struct blocks blocks;
    struct blocks_file_header header = {0};
    char path[64];
    uint8_t *copy;
    if (size == 0 || memory_alloc(size - 1, 1, &copy) != HYSGD_OK)
        return 0;
    memcpy(copy, bytes + 1, size - 1);
    if (bytes[0] & 1)
        repair(copy, size - 1);
    memcpy(&header, copy, size - 1 < sizeof header ? size - 1 : sizeof header);
    int file = memfd_create("layout", 0);
    if (file < 0 || write(file, copy, size - 1) != (ssize_t)(size - 1) || team_start(1, &team) != HYSGD_OK)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (blocks_read(path, header.identity, bytes[0] & 2, NULL, team, &blocks) == HYSGD_OK)
        visit(&blocks);
    blocks_fini(&blocks);
    team_stop(team);
    close(file);
    memory_free(copy);
    return 0;
}
