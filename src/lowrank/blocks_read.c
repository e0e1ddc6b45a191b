/* SPDX-License-Identifier: Apache-2.0 */
/* Reads blocks from a file, whole or tile by tile; nothing in the file is trusted. Not mapped: someone who
 * truncates a mapped file would kill the reader by SIGBUS. */
#include "lowrank/blocks_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "lowrank/team.h"

#define MESSAGE_BYTES 512

struct blocks_stream {
    int file;
    uint64_t cells_at;
    uint64_t *firsts;    /* [tiles + 1]: cells before each tile */
    uint64_t *checksums; /* [tiles] */
    uint32_t largest;    /* cells of a tile */
    char *path;
};

void blocks_stream_close(struct blocks_stream *stream) {
    if (stream == NULL)
        return;
    if (stream->file >= 0)
        (void)close(stream->file);
    memory_free(stream->firsts);
    memory_free(stream->checksums);
    memory_free(stream->path);
    memory_free(stream);
}

/* ---- The file ---- */

/* Reads from a place on; false at the end of the file, and with errno set when it cannot be read. */
static bool read_at(int file, void *bytes, uint64_t size, uint64_t at) {
    char *next = bytes;
    errno = 0;
    while (size > 0) {
        ssize_t length = pread(file, next, size > 1 << 30 ? 1 << 30 : (size_t)size, (off_t)at);
        if (length < 0 && errno == EINTR)
            continue;
        if (length <= 0)
            return false;
        next += length;
        at += (uint64_t)length;
        size -= (uint64_t)length;
    }
    return true;
}

static enum hysgd_status fail_read(const char *path) {
    if (errno != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    return hysgd_fail(HYSGD_INPUT, "%s: ends too early", path);
}

static enum hysgd_status fail_damaged(const char *path, const char *what) {
    return hysgd_fail(HYSGD_INPUT, "%s: is damaged: %s; delete it to have it made again", path, what);
}

static bool is_layout(const struct blocks_file_header *header) {
    return memcmp(header->magic, BLOCKS_FILE_MAGIC, sizeof header->magic) == 0;
}

/* Whether a header is one that this version on this machine has written. */
static bool is_ours(const struct blocks_file_header *header) {
    return is_layout(header) && header->version == BLOCKS_FILE_VERSION && header->order == BLOCKS_FILE_ORDER &&
           header->header_checksum == blocks_checksum(header, offsetof(struct blocks_file_header, header_checksum));
}

enum blocks_file_kind blocks_file_kind(const char *path, uint64_t identity) {
    struct blocks_file_header header;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT ? BLOCKS_FILE_ABSENT : BLOCKS_FILE_OTHER;
    bool is_read = read_at(file, &header, sizeof header, 0);
    (void)close(file);
    if (!is_read || !is_layout(&header))
        return BLOCKS_FILE_OTHER;
    return is_ours(&header) && header.identity == identity ? BLOCKS_FILE_GOOD : BLOCKS_FILE_STALE;
}

static enum hysgd_status open_file(const char *path, int *file_out) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    *file_out = file;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
        return hysgd_fail(HYSGD_INPUT, "%s: is not a regular file", path);
    return HYSGD_OK;
}

/* Reads and checks the header: what it promises is what the file has room for. */
static enum hysgd_status read_header(const char *path, int file, uint64_t identity,
                                     struct blocks_file_header *header, struct blocks_file_layout *layout) {
    struct stat about;
    if (!read_at(file, header, sizeof *header, 0))
        return fail_read(path);
    if (!is_layout(header))
        return hysgd_fail(HYSGD_INPUT, "%s: is no layout of ratings", path);
    if (header->version != BLOCKS_FILE_VERSION || header->order != BLOCKS_FILE_ORDER)
        return hysgd_fail(HYSGD_INPUT, "%s: was written by another version, or on another kind of machine", path);
    if (!is_ours(header) || !blocks_file_layout(header, layout) || header->cells_at != layout->cells_at)
        return fail_damaged(path, "its header does not fit its checksum");
    if (header->identity != identity)
        return hysgd_fail(HYSGD_INPUT, "%s: is the layout of other ratings, or was made with other options", path);
    if (fstat(file, &about) != 0 ||
        (uint64_t)about.st_size != layout->cells_at + header->count * sizeof(struct cell))
        return hysgd_fail(HYSGD_INPUT, "%s: has %" PRIdMAX " bytes, expected %" PRIu64, path,
                          (intmax_t)about.st_size, layout->cells_at + header->count * sizeof(struct cell));
    return HYSGD_OK;
}

/* ---- Tables ---- */

/* Copies `count` numbers of the tables and goes on behind them. */
static enum hysgd_status take(const uint32_t **next, size_t count, uint32_t **numbers_out) {
    HYSGD_TRY(memory_alloc(count, sizeof **numbers_out, numbers_out));
    memcpy(*numbers_out, *next, count * sizeof **numbers_out);
    *next += count;
    return HYSGD_OK;
}

static enum hysgd_status check_places(const char *path, const uint32_t *places, uint32_t count) {
    unsigned char *seen;
    bool is_permutation = true;
    HYSGD_TRY(memory_alloc(count, 1, &seen));
    for (uint32_t i = 0; i < count && is_permutation; i++)
        is_permutation = places[i] < count && seen[places[i]]++ == 0;
    memory_free(seen);
    return is_permutation ? HYSGD_OK : fail_damaged(path, "a row or column has no place of its own");
}

static enum hysgd_status check_firsts(const char *path, const uint32_t *firsts, int groups, uint32_t count) {
    bool is_rising = firsts[0] == 0 && firsts[groups] == count;
    for (int i = 0; i < groups; i++)
        is_rising &= firsts[i] <= firsts[i + 1];
    return is_rising ? HYSGD_OK : fail_damaged(path, "its groups are out of order");
}

/* The rows, or columns, from the first of a tile to the end of its group; 0 when the tile begins outside. */
static uint32_t room(const uint32_t *firsts, size_t group, uint32_t first) {
    return first >= firsts[group] && first < firsts[group + 1] ? firsts[group + 1] - first : 0;
}

static size_t row_group(const struct blocks *blocks, size_t tile) {
    return tile / (size_t)blocks->tiles_per_block / (size_t)blocks->column_groups;
}

static size_t column_group(const struct blocks *blocks, size_t tile) {
    return tile / (size_t)blocks->tiles_per_block % (size_t)blocks->column_groups;
}

static enum hysgd_status take_tiles(const char *path, const struct blocks_file_tile *tiles, struct blocks *blocks,
                                    struct blocks_stream *stream) {
    size_t count = blocks_tile_count(blocks);
    HYSGD_TRY(memory_alloc(count, sizeof *blocks->tiles, &blocks->tiles));
    HYSGD_TRY(memory_alloc((size_t)blocks->row_groups * (size_t)blocks->column_groups, sizeof *blocks->block_counts,
                           &blocks->block_counts));
    HYSGD_TRY(memory_alloc(count + 1, sizeof *stream->firsts, &stream->firsts));
    HYSGD_TRY(memory_alloc(count, sizeof *stream->checksums, &stream->checksums));
    for (size_t i = 0; i < count; i++) {
        const struct blocks_file_tile *tile = &tiles[i];
        if (tile->count > 0 && (room(blocks->row_firsts, row_group(blocks, i), tile->first_row) == 0 ||
                                room(blocks->column_firsts, column_group(blocks, i), tile->first_column) == 0))
            return fail_damaged(path, "a tile begins outside of its block");
        blocks->tiles[i] = (struct tile){tile->first_row, tile->first_column, NULL, tile->count};
        blocks->block_counts[i / (size_t)blocks->tiles_per_block] += tile->count;
        stream->checksums[i] = tile->checksum;
        stream->firsts[i + 1] = stream->firsts[i] + tile->count;
        if (tile->count > stream->largest)
            stream->largest = tile->count;
    }
    if (stream->firsts[count] != blocks->count)
        return fail_damaged(path, "its tiles have another number of ratings");
    return HYSGD_OK;
}

static enum hysgd_status take_tables(const char *path, const char *tables, const struct blocks_file_layout *layout,
                                     struct blocks *blocks, struct blocks_stream *stream) {
    const uint32_t *next = (const uint32_t *)(const void *)tables;
    HYSGD_TRY(take(&next, blocks->row_count, &blocks->row_places));
    HYSGD_TRY(take(&next, blocks->column_count, &blocks->column_places));
    HYSGD_TRY(take(&next, (size_t)blocks->row_groups + 1, &blocks->row_firsts));
    HYSGD_TRY(take(&next, (size_t)blocks->column_groups + 1, &blocks->column_firsts));
    HYSGD_TRY(check_places(path, blocks->row_places, blocks->row_count));
    HYSGD_TRY(check_places(path, blocks->column_places, blocks->column_count));
    HYSGD_TRY(check_firsts(path, blocks->row_firsts, blocks->row_groups, blocks->row_count));
    HYSGD_TRY(check_firsts(path, blocks->column_firsts, blocks->column_groups, blocks->column_count));
    return take_tiles(path,
                      (const struct blocks_file_tile *)(const void *)(tables + layout->places * sizeof(uint32_t)),
                      blocks, stream);
}

static enum hysgd_status read_tables(const char *path, int file, const struct blocks_file_header *header,
                                     const struct blocks_file_layout *layout, struct blocks *blocks,
                                     struct blocks_stream *stream) {
    char *tables;
    HYSGD_TRY(memory_alloc(layout->tables_bytes, 1, &tables));
    enum hysgd_status status;
    if (!read_at(file, tables, layout->tables_bytes, sizeof *header))
        status = fail_read(path);
    else if (blocks_checksum(tables, layout->tables_bytes) != header->tables_checksum)
        status = fail_damaged(path, "its tables do not fit their checksum");
    else
        status = take_tables(path, tables, layout, blocks, stream);
    memory_free(tables);
    return status;
}

/* ---- Cells ---- */

/* The cells of a tile are what was written, and stay within its block. */
static enum hysgd_status check_cells(const struct blocks *blocks, const struct blocks_stream *stream, size_t number,
                                     const struct cell *cells) {
    const struct tile *tile = &blocks->tiles[number];
    size_t row = row_group(blocks, number), column = column_group(blocks, number);
    uint32_t height = room(blocks->row_firsts, row, tile->first_row);
    uint32_t width = room(blocks->column_firsts, column, tile->first_column);
    uint32_t most_row = 0, most_column = 0, is_infinite = 0;
    for (uint32_t i = 0; i < tile->count; i++) {
        most_row = cells[i].row > most_row ? cells[i].row : most_row;
        most_column = cells[i].column > most_column ? cells[i].column : most_column;
        is_infinite |= !isfinite(cells[i].value);
    }
    bool fits = tile->count == 0 || (most_row < height && most_column < width && !is_infinite);
    if (fits && blocks_checksum(cells, tile->count * sizeof *cells) == stream->checksums[number])
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT,
                      "%s: is damaged: block %zu, %zu does not fit its checksum; delete the file to "
                      "have it made again",
                      stream->path, row, column);
}

/* Reading all cells, tiles by the thread. */
struct loading {
    struct blocks *blocks;
    const struct blocks_stream *stream;
    struct cell *cells; /* [count] */
    struct team *team;
    atomic_bool has_failed;
    enum hysgd_status status; /* of the first that failed, with its message */
    char message[MESSAGE_BYTES];
};

static enum hysgd_status load_tiles(struct loading *loading, size_t first, size_t end) {
    const struct blocks_stream *stream = loading->stream;
    uint64_t from = stream->firsts[first], count = stream->firsts[end] - from;
    if (!read_at(stream->file, loading->cells + from, count * sizeof *loading->cells,
                 stream->cells_at + from * sizeof *loading->cells))
        return fail_read(stream->path);
    for (size_t i = first; i < end; i++) {
        loading->blocks->tiles[i].cells = loading->cells + stream->firsts[i];
        HYSGD_TRY(check_cells(loading->blocks, stream, i, loading->blocks->tiles[i].cells));
    }
    return HYSGD_OK;
}

static void load_share(void *context, int thread) {
    struct loading *loading = context;
    uint64_t first, end;
    team_share(loading->team, thread, blocks_tile_count(loading->blocks), &first, &end);
    enum hysgd_status status = load_tiles(loading, first, end);
    if (status == HYSGD_OK || atomic_exchange(&loading->has_failed, true))
        return;
    loading->status = status;
    strncpy(loading->message, hysgd_error_message(), sizeof loading->message - 1);
}

static enum hysgd_status load_all(struct blocks *blocks, const struct blocks_stream *stream, struct team *team,
                                  void *memory) {
    struct loading loading = {.blocks = blocks, .stream = stream, .cells = memory, .team = team};
    if (memory == NULL) {
        HYSGD_TRY(memory_alloc_vector(blocks->count, sizeof *blocks->own_cells, &blocks->own_cells));
        loading.cells = blocks->own_cells;
    }
    team_run(team, load_share, &loading);
    if (loading.status != HYSGD_OK)
        status_set_message(loading.message);
    return loading.status;
}

static enum hysgd_status read_into(const char *path, uint64_t identity, struct blocks *blocks,
                                   struct blocks_stream *stream) {
    struct blocks_file_header header;
    struct blocks_file_layout layout;
    stream->file = -1;
    HYSGD_TRY(memory_copy_text(path, &stream->path));
    HYSGD_TRY(open_file(path, &stream->file));
    HYSGD_TRY(read_header(path, stream->file, identity, &header, &layout));
    *blocks = (struct blocks){.row_count = header.row_count,
                              .column_count = header.column_count,
                              .count = header.count,
                              .row_groups = (int)header.row_groups,
                              .column_groups = (int)header.column_groups,
                              .tiles_per_block = (int)header.tiles_per_block};
    stream->cells_at = layout.cells_at;
    return read_tables(path, stream->file, &header, &layout, blocks, stream);
}

enum hysgd_status blocks_read(const char *path, uint64_t identity, bool is_streamed, void *memory,
                              struct team *team, struct blocks *blocks_out) {
    struct blocks_stream *stream;
    *blocks_out = (struct blocks){0};
    HYSGD_TRY(memory_alloc(1, sizeof *stream, &stream));
    enum hysgd_status status = read_into(path, identity, blocks_out, stream);
    if (status == HYSGD_OK && is_streamed) {
        blocks_out->stream = stream;
        return HYSGD_OK;
    }
    if (status == HYSGD_OK)
        status = load_all(blocks_out, stream, team, memory);
    blocks_stream_close(stream);
    return status;
}

/* ---- Streaming ---- */

static void advise(const struct blocks *blocks, size_t block, int advice) {
    const struct blocks_stream *stream = blocks->stream;
    if (stream == NULL)
        return;
    size_t tiles = (size_t)blocks->tiles_per_block;
    uint64_t first = stream->firsts[block * tiles], end = stream->firsts[(block + 1) * tiles];
    (void)posix_fadvise(stream->file, (off_t)(stream->cells_at + first * sizeof(struct cell)),
                        (off_t)((end - first) * sizeof(struct cell)), advice);
}

void blocks_expect(const struct blocks *blocks, size_t block) {
    advise(blocks, block, POSIX_FADV_WILLNEED);
}

void blocks_dismiss(const struct blocks *blocks, size_t block) {
    advise(blocks, block, POSIX_FADV_DONTNEED);
}

uint32_t blocks_buffer_cells(const struct blocks *blocks) {
    return blocks->stream != NULL ? blocks->stream->largest : 0;
}

enum hysgd_status blocks_load_tile(const struct blocks *blocks, size_t number, struct cell *buffer,
                                   struct tile *tile_out) {
    const struct blocks_stream *stream = blocks->stream;
    struct tile tile = blocks->tiles[number];
    if (stream != NULL) {
        if (!read_at(stream->file, buffer, tile.count * sizeof *buffer,
                     stream->cells_at + stream->firsts[number] * sizeof *buffer))
            return fail_read(stream->path);
        HYSGD_TRY(check_cells(blocks, stream, number, buffer));
        tile.cells = buffer;
    }
    *tile_out = tile;
    return HYSGD_OK;
}
