/* SPDX-License-Identifier: Apache-2.0 */
/* Writes blocks to a file, and makes them by way of one: see blocks.h and blocks_file.h. */
#include "lowrank/blocks_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/ratings.h"

/* The most groups on a side that a file may have. */
#define MOST_GROUPS 65536

uint64_t blocks_checksum(const void *bytes, size_t size) {
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t lanes[4] = {size, 1, 2, 3}, words[4];
    for (size_t at = 0; at < size; at += sizeof words) {
        size_t left = size - at;
        memset(words, 0, left < sizeof words ? sizeof words : 0);
        memcpy(words, (const char *)bytes + at, left < sizeof words ? left : sizeof words);
        for (int i = 0; i < 4; i++) {
            lanes[i] = (lanes[i] ^ words[i]) * odd;
            lanes[i] = lanes[i] << 29 | lanes[i] >> 35;
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum = (sum ^ lanes[i]) * odd;
        sum ^= sum >> 32;
    }
    return sum;
}

bool blocks_file_layout(const struct blocks_file_header *header, struct blocks_file_layout *layout_out) {
    uint64_t groups = (uint64_t)header->row_groups * header->column_groups;
    if (header->row_groups < 1 || header->row_groups > MOST_GROUPS || header->column_groups < 1 ||
        header->column_groups > MOST_GROUPS || header->tiles_per_block < 1 || header->tiles_per_block > INT32_MAX ||
        header->count > UINT64_MAX / 64)
        return false;
    struct blocks_file_layout layout;
    layout.places =
        (uint64_t)header->row_count + header->column_count + header->row_groups + header->column_groups + 2;
    layout.places += layout.places % 2;
    if (__builtin_mul_overflow(groups, header->tiles_per_block, &layout.tiles) || layout.tiles > UINT64_MAX / 64)
        return false;
    uint64_t end =
        sizeof *header + layout.places * sizeof(uint32_t) + layout.tiles * sizeof(struct blocks_file_tile);
    layout.cells_at = (end + BLOCKS_FILE_PAGE - 1) / BLOCKS_FILE_PAGE * BLOCKS_FILE_PAGE;
    layout.tables_bytes = layout.cells_at - sizeof *header;
    *layout_out = layout;
    return true;
}

/* ---- Writing ---- */

static enum hysgd_status write_bytes(int file, const void *bytes, uint64_t size) {
    const char *next = bytes;
    while (size > 0) {
        ssize_t written = write(file, next, size > 1 << 30 ? 1 << 30 : (size_t)size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return hysgd_fail(HYSGD_OUTPUT, "cannot be written: %s", strerror(errno));
        next += written;
        size -= (uint64_t)written;
    }
    return HYSGD_OK;
}

/* Fills the tables, which were zeroed up to the cells. */
static void fill_tables(const struct blocks *blocks, const struct blocks_file_layout *layout, char *tables) {
    const struct {
        const uint32_t *numbers;
        size_t count;
    } parts[] = {{blocks->row_places, blocks->row_count},
                 {blocks->column_places, blocks->column_count},
                 {blocks->row_firsts, (size_t)blocks->row_groups + 1},
                 {blocks->column_firsts, (size_t)blocks->column_groups + 1}};
    uint32_t *next = (uint32_t *)(void *)tables;
    for (int i = 0; i < 4; i++) {
        memcpy(next, parts[i].numbers, parts[i].count * sizeof *next);
        next += parts[i].count;
    }
    struct blocks_file_tile *tiles =
        (struct blocks_file_tile *)(void *)(tables + layout->places * sizeof(uint32_t));
    for (uint64_t i = 0; i < layout->tiles; i++) {
        const struct tile *tile = &blocks->tiles[i];
        tiles[i] = (struct blocks_file_tile){tile->first_row, tile->first_column, tile->count, 0,
                                             blocks_checksum(tile->cells, tile->count * sizeof *tile->cells)};
    }
}

static enum hysgd_status write_layout(const struct blocks *blocks, uint64_t identity, int file) {
    struct blocks_file_header header = {.magic = BLOCKS_FILE_MAGIC,
                                        .version = BLOCKS_FILE_VERSION,
                                        .order = BLOCKS_FILE_ORDER,
                                        .identity = identity,
                                        .count = blocks->count,
                                        .row_count = blocks->row_count,
                                        .column_count = blocks->column_count,
                                        .row_groups = (uint32_t)blocks->row_groups,
                                        .column_groups = (uint32_t)blocks->column_groups,
                                        .tiles_per_block = (uint32_t)blocks->tiles_per_block};
    struct blocks_file_layout layout;
    char *tables;
    if (!blocks_file_layout(&header, &layout))
        return hysgd_fail(HYSGD_OUTPUT, "cannot be written: the layout has too many tiles");
    HYSGD_TRY(memory_alloc(layout.tables_bytes, 1, &tables));
    fill_tables(blocks, &layout, tables);
    header.cells_at = layout.cells_at;
    header.tables_checksum = blocks_checksum(tables, layout.tables_bytes);
    header.header_checksum = blocks_checksum(&header, offsetof(struct blocks_file_header, header_checksum));
    enum hysgd_status status = write_bytes(file, &header, sizeof header);
    if (status == HYSGD_OK)
        status = write_bytes(file, tables, layout.tables_bytes);
    for (uint64_t i = 0; i < layout.tiles && status == HYSGD_OK; i++)
        status = write_bytes(file, blocks->tiles[i].cells, blocks->tiles[i].count * sizeof(struct cell));
    memory_free(tables);
    if (status == HYSGD_OK && fsync(file) != 0)
        return hysgd_fail(HYSGD_OUTPUT, "cannot be brought to the disk: %s", strerror(errno));
    return status;
}

static enum hysgd_status replace(const struct blocks *blocks, uint64_t identity, const char *path) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof temporary)
        return hysgd_fail(HYSGD_OUTPUT, "cannot be written: %s", strerror(ENAMETOOLONG));
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0)
        return hysgd_fail(HYSGD_OUTPUT, "no temporary file can be made beside it: %s", strerror(errno));
    enum hysgd_status status = write_layout(blocks, identity, file);
    if (close(file) != 0 && status == HYSGD_OK)
        status = hysgd_fail(HYSGD_OUTPUT, "cannot be written: %s", strerror(errno));
    if (status == HYSGD_OK && rename(temporary, path) != 0)
        status = hysgd_fail(HYSGD_OUTPUT, "cannot be replaced: %s", strerror(errno));
    if (status != HYSGD_OK)
        (void)unlink(temporary);
    return status;
}

enum hysgd_status blocks_write(const struct blocks *blocks, uint64_t identity, const char *path) {
    enum hysgd_status status = replace(blocks, identity, path);
    return status == HYSGD_OK ? HYSGD_OK : status_locate(status, path);
}

/* ---- By way of a cache ---- */

/* A hash of the ratings and of what the layout depends on. */
static uint64_t identify(const struct rating *ratings, uint64_t count, uint32_t row_count, uint32_t column_count,
                         const struct blocks_setup *setup) {
    const uint64_t parts[] = {BLOCKS_FILE_VERSION,
                              count,
                              row_count,
                              column_count,
                              (uint64_t)setup->row_groups,
                              (uint64_t)setup->column_groups,
                              (uint64_t)setup->balance,
                              setup->vector_bytes,
                              setup->tile_bytes,
                              setup->seed,
                              blocks_checksum(ratings, count * sizeof *ratings)};
    return blocks_checksum(parts, sizeof parts);
}

/* Gives back the pages that hold nothing but ratings. It is only advice. */
static void release(struct rating *ratings, uint64_t count) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)ratings + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)ratings + count * sizeof *ratings) / page * page;
    if (first < end)
        (void)madvise((char *)ratings + (first - (uintptr_t)ratings), end - first, MADV_DONTNEED);
}

enum hysgd_status blocks_make_cached(struct rating *ratings, uint64_t count, uint32_t row_count,
                                     uint32_t column_count, const struct blocks_setup *setup, const char *path,
                                     bool is_streamed, struct blocks *blocks_out) {
    uint64_t identity = identify(ratings, count, row_count, column_count, setup);
    enum blocks_file_kind kind = blocks_file_kind(path, identity);
    *blocks_out = (struct blocks){0};
    if (kind == BLOCKS_FILE_OTHER)
        return hysgd_fail(HYSGD_INPUT, "%s: is there and is no layout of ratings; expected one, or no file", path);
    if (kind != BLOCKS_FILE_GOOD) {
        HYSGD_TRY(blocks_make(ratings, count, row_count, column_count, setup, blocks_out));
        HYSGD_TRY(blocks_write(blocks_out, identity, path));
        if (!is_streamed)
            return HYSGD_OK;
        blocks_fini(blocks_out);
    }
    HYSGD_TRY(blocks_read(path, identity, is_streamed, is_streamed ? NULL : ratings, setup->team, blocks_out));
    if (is_streamed)
        release(ratings, count);
    return HYSGD_OK;
}
