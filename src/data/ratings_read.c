/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file of ratings with several threads. The text is cut into pieces of equal size; a line belongs to the
 * piece in which it begins. First the lines of all pieces are counted, so that each piece knows where its ratings
 * go, then the pieces are parsed into their places, each thread with ids of its own, and at last these are put
 * together in the order of the file. Neither the order nor the numbers of the ids depend on the threads. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/file.h"
#include "data/pieces.h"
#include "data/ratings_text.h"

/* The text and the ratings of a piece fit in the second-level cache together. */
#define PIECE_BYTES ((size_t)256 << 10)
#define MOST_LINE   ((size_t)64 << 10)
/* What is read behind a piece at first, for the end of its last line. */
#define TAIL_BYTES ((size_t)256)
/* Comments at the top may be as long. */
#define TOP_BYTES ((size_t)1 << 20)
/* A compressed file is refused when it holds more. */
#define MOST_BYTES ((size_t)1 << 38)

/* Either a file or a text in memory. */
struct source {
    const char *name;
    int descriptor;
    const char *bytes; /* [size]; NULL: a file */
    size_t size;
};

struct piece {
    uint64_t first;                 /* of its ratings, among all */
    size_t capacity, count;         /* lines that begin in it, and ratings among them */
    uint32_t rows_end, columns_end; /* ids that its lane had when it was done */
    int lane;                       /* that parsed it */
    size_t failed_line;             /* of its lines, where its failure is; 0: it is not in a line */
};

/* What one thread has of its own. */
struct lane {
    struct ids rows, columns;
    uint32_t *row_map, *column_map; /* [ids] its indices to those of the whole */
    char *buffer;
};

struct reading {
    struct source source;
    struct ratings_text text;
    struct ratings *ratings;
    uint64_t before; /* ratings that were there already */
    size_t piece_bytes, piece_count;
    struct piece *pieces;
    struct lane *lanes; /* [lane_count] */
    int lane_count;
};

/* ---- The bytes of a piece ---- */

static enum hysgd_status source_read(const struct source *source, size_t first, size_t count, char *buffer) {
    if (source->bytes != NULL) {
        memcpy(buffer, source->bytes + first, count);
        return HYSGD_OK;
    }
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(source->descriptor, buffer + done, count - done, (off_t)(first + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return hysgd_fail(HYSGD_INPUT, "%s at byte %zu of %zu",
                              got < 0 ? strerror(errno) : "the file became shorter", first + done, source->size);
        done += (size_t)got;
    }
    return HYSGD_OK;
}

/* The first byte of piece k, and with k = piece_count the size. */
static size_t piece_begin(const struct reading *reading, size_t k) {
    size_t first = reading->text.first + k * reading->piece_bytes;
    return first < reading->source.size ? first : reading->source.size;
}

static size_t buffer_bytes(const struct reading *reading) {
    return 1 + reading->piece_bytes + MOST_LINE + 1;
}

static size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Reads from byte `first` up to the newline of the line that byte `last` belongs to, which is added where the file
 * ends without one. Stores how much there is with it. */
static enum hysgd_status read_to_newline(const struct reading *reading, char *buffer, size_t first, size_t last,
                                         size_t *size_out) {
    size_t limit = least_of(first + buffer_bytes(reading) - 1, reading->source.size);
    const char *newline = NULL;
    for (size_t done = first, look = last; newline == NULL;) {
        size_t end = least_of(done == first ? last + TAIL_BYTES : limit, limit);
        HYSGD_TRY(source_read(&reading->source, done, end - done, buffer + (done - first)));
        newline = memchr(buffer + (look - first), '\n', end - look);
        if (newline == NULL && end == reading->source.size)
            newline = memset(buffer + (end - first), '\n', 1);
        else if (newline == NULL && end == limit)
            return hysgd_fail(HYSGD_INPUT, "a line of more than %zu bytes at byte %zu", MOST_LINE, last);
        done = look = end;
    }
    *size_out = (size_t)(newline + 1 - buffer);
    return HYSGD_OK;
}

/* ---- What is done with a piece ---- */

static size_t count_newlines(const char *bytes, size_t size) {
    size_t total = 0;
    while (size > 0) {
        uint8_t counts[64] = {0}; /* one for each place in a cache line, which the compiler keeps in vectors */
        size_t rows = least_of(size / sizeof counts, UINT8_MAX);
        for (size_t i = 0; i < rows; i++, bytes += sizeof counts)
            for (size_t j = 0; j < sizeof counts; j++)
                counts[j] += bytes[j] == '\n';
        for (size_t j = 0; j < sizeof counts; j++)
            total += counts[j];
        size -= rows * sizeof counts;
        for (; rows == 0 && size > 0; size--)
            total += *bytes++ == '\n';
    }
    return total;
}

/* Counts the lines that begin in the piece. */
static enum hysgd_status count_piece(void *context, int lane, size_t k) {
    struct reading *reading = context;
    char *buffer = reading->lanes[lane].buffer;
    size_t first = piece_begin(reading, k), end = piece_begin(reading, k + 1);
    size_t before = k > 0; /* a line begins behind the newline that ends the one before */
    size_t size = end - first + before - 1;
    HYSGD_TRY(source_read(&reading->source, first - before, size, buffer));
    reading->pieces[k].capacity = count_newlines(buffer, size) + !before;
    return HYSGD_OK;
}

/* Reads the lines that begin in the piece. */
static enum hysgd_status parse_piece(void *context, int lane_number, size_t k) {
    struct reading *reading = context;
    struct lane *lane = &reading->lanes[lane_number];
    struct piece *piece = &reading->pieces[k];
    struct ratings *ratings = reading->ratings;
    size_t before = k > 0, size = 0, skipped = 0;
    size_t first = piece_begin(reading, k) - before, end = piece_begin(reading, k + 1);
    struct ratings_sink sink = {.rows = &lane->rows,
                                .columns = &lane->columns,
                                .entries = ratings->entries + piece->first,
                                .times = ratings->times ? ratings->times + piece->first : NULL,
                                .capacity = piece->capacity};
    enum hysgd_status status = HYSGD_OK;
    if (piece->capacity > 0) {
        HYSGD_TRY(read_to_newline(reading, lane->buffer, first, end - 1, &size));
        if (before)
            skipped = (size_t)((char *)memchr(lane->buffer, '\n', size) + 1 - lane->buffer);
        status = ratings_text_read(&reading->text, lane->buffer + skipped, size - skipped, &sink);
    }
    piece->failed_line = status == HYSGD_INPUT ? sink.lines + 1 : 0;
    piece->count = sink.count;
    piece->rows_end = lane->rows.count;
    piece->columns_end = lane->columns.count;
    piece->lane = lane_number;
    return status;
}

/* Gives the ratings of a piece the indices of the whole in place of those of its lane. */
static enum hysgd_status renumber_piece(void *context, int lane, size_t k) {
    const struct reading *reading = context;
    const struct piece *piece = &reading->pieces[k];
    const struct lane *owner = &reading->lanes[piece->lane];
    struct rating *entries = reading->ratings->entries + piece->first;
    (void)lane;
    for (size_t i = 0; i < piece->count; i++) {
        entries[i].row = owner->row_map[entries[i].row];
        entries[i].column = owner->column_map[entries[i].column];
    }
    return HYSGD_OK;
}

/* Does the work on every piece and tells where in the file it fails. */
static enum hysgd_status run(struct reading *reading, pieces_work work) {
    size_t failed = 0, line = reading->text.lines;
    enum hysgd_status status = pieces_run(reading->piece_count, reading->lane_count, work, reading, &failed);
    if (status != HYSGD_INPUT)
        return status;
    const char *name = reading->source.name;
    if (reading->pieces[failed].failed_line == 0)
        return status_locate(status, name);
    for (size_t k = 0; k < failed; k++)
        line += reading->pieces[k].capacity;
    return hysgd_fail(status, "%s:%zu: %s", name, line + reading->pieces[failed].failed_line,
                      hysgd_error_message());
}

/* ---- Putting the pieces together ---- */

static enum hysgd_status add_ids(struct ids *all, const struct ids *ids, uint32_t first, uint32_t end,
                                 uint32_t *map) {
    for (uint32_t i = first; i < end; i++) {
        char buffer[IDS_NUMBER_BYTES];
        size_t length;
        const char *text = ids_text(ids, i, buffer, &length);
        HYSGD_TRY(ids->are_texts || all->are_texts ? ids_add(all, text, length, &map[i])
                                                   : ids_add_number(all, ids->numbers[i], &map[i]));
    }
    return HYSGD_OK;
}

/* Gives back what only parsing needs, before the ids are there twice. */
static void release_parsers(struct reading *reading) {
    for (int i = 0; i < reading->lane_count; i++) {
        struct lane *lane = &reading->lanes[i];
        ids_stop_finding(&lane->rows);
        ids_stop_finding(&lane->columns);
        memory_free(lane->buffer);
        lane->buffer = NULL;
    }
    memory_trim();
}

/* Numbers the ids of all lanes as they first occur in the file: those that a lane met first in a piece are
 * consecutive in it. */
static enum hysgd_status merge_ids(struct reading *reading) {
    struct {
        uint32_t rows, columns;
    } done[PIECES_MOST_LANES] = {0};
    release_parsers(reading);
    for (int i = 0; i < reading->lane_count; i++) {
        struct lane *lane = &reading->lanes[i];
        HYSGD_TRY(memory_alloc(lane->rows.count, sizeof *lane->row_map, &lane->row_map));
        HYSGD_TRY(memory_alloc(lane->columns.count, sizeof *lane->column_map, &lane->column_map));
    }
    for (size_t k = 0; k < reading->piece_count; k++) {
        const struct piece *piece = &reading->pieces[k];
        struct lane *lane = &reading->lanes[piece->lane];
        HYSGD_TRY(
            add_ids(&reading->ratings->rows, &lane->rows, done[piece->lane].rows, piece->rows_end, lane->row_map));
        HYSGD_TRY(add_ids(&reading->ratings->columns, &lane->columns, done[piece->lane].columns, piece->columns_end,
                          lane->column_map));
        done[piece->lane].rows = piece->rows_end;
        done[piece->lane].columns = piece->columns_end;
    }
    return HYSGD_OK;
}

/* The ids of a single thread are numbered as they should be already, unless there were others before. */
static enum hysgd_status number_ids(struct reading *reading) {
    struct ratings *ratings = reading->ratings;
    struct lane *lane = &reading->lanes[0];
    if (reading->lane_count == 1 && ratings->rows.count == 0 && ratings->columns.count == 0) {
        ratings->rows = lane->rows;
        ratings->columns = lane->columns;
        lane->rows = lane->columns = (struct ids){0};
        return HYSGD_OK;
    }
    HYSGD_TRY(merge_ids(reading));
    return run(reading, renumber_piece);
}

/* Closes the gaps that empty lines have left. */
static void close_gaps(struct reading *reading) {
    struct ratings *ratings = reading->ratings;
    uint64_t end = reading->before;
    for (size_t k = 0; k < reading->piece_count; k++) {
        const struct piece *piece = &reading->pieces[k];
        if (piece->first != end) {
            memmove(ratings->entries + end, ratings->entries + piece->first,
                    piece->count * sizeof *ratings->entries);
            if (ratings->times)
                memmove(ratings->times + end, ratings->times + piece->first, piece->count * sizeof *ratings->times);
        }
        end += piece->count;
    }
    ratings->count = end;
}

/* ---- The whole ---- */

/* Makes room for what the pieces hold, behind the ratings that are there already. */
static enum hysgd_status reserve(struct reading *reading) {
    struct ratings *ratings = reading->ratings;
    uint64_t total = reading->before = ratings->count;
    struct rating *entries;
    for (size_t k = 0; k < reading->piece_count; k++) {
        reading->pieces[k].first = total;
        total += reading->pieces[k].capacity;
    }
    HYSGD_TRY(memory_alloc_vector(total, sizeof *entries, &entries));
    if (ratings->count > 0)
        memcpy(entries, ratings->entries, ratings->count * sizeof *entries);
    memory_free(ratings->entries);
    ratings->entries = entries;
    if (!reading->text.wants_times)
        return HYSGD_OK;
    int64_t *times;
    HYSGD_TRY(memory_alloc_vector(total, sizeof *times, &times));
    if (ratings->count > 0)
        memcpy(times, ratings->times, ratings->count * sizeof *times);
    memory_free(ratings->times);
    ratings->times = times;
    return HYSGD_OK;
}

/* Looks at the top of the text, before any lane has a buffer. */
static enum hysgd_status look_at_top(struct reading *reading, const struct ratings_format *format) {
    const struct source *source = &reading->source;
    size_t size = least_of(source->size, TOP_BYTES);
    char *top;
    HYSGD_TRY(memory_alloc(size + 1, 1, &top));
    enum hysgd_status status = source_read(source, 0, size, top);
    if (status == HYSGD_OK) {
        bool has_end = size > 0 && top[size - 1] == '\n';
        top[size] = '\n';
        ratings_text_begin(top, size + !has_end, format, &reading->text);
    }
    memory_free(top);
    HYSGD_TRY(status_locate(status, source->name));
    if (reading->text.first < size)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT, "%s: no rating in %s%zu bytes; expected lines of user, item%s", source->name,
                      size < source->size ? "the first " : "its ", size, format->are_pairs ? "" : ", value");
}

static enum hysgd_status open_lanes(struct reading *reading, const struct ratings_format *format) {
    reading->piece_bytes = format->piece_bytes > 0 ? format->piece_bytes : PIECE_BYTES;
    reading->piece_count =
        (reading->source.size - reading->text.first + reading->piece_bytes - 1) / reading->piece_bytes;
    int lanes = pieces_lanes(format->threads, reading->piece_count);
    HYSGD_TRY(memory_alloc(reading->piece_count, sizeof *reading->pieces, &reading->pieces));
    HYSGD_TRY(memory_alloc((size_t)lanes, sizeof *reading->lanes, &reading->lanes));
    reading->lane_count = lanes;
    for (int i = 0; i < lanes; i++)
        HYSGD_TRY(memory_alloc(buffer_bytes(reading), 1, &reading->lanes[i].buffer));
    return HYSGD_OK;
}

static void close_lanes(struct reading *reading) {
    for (int i = 0; i < reading->lane_count; i++) {
        struct lane *lane = &reading->lanes[i];
        ids_fini(&lane->rows);
        ids_fini(&lane->columns);
        memory_free(lane->row_map);
        memory_free(lane->column_map);
        memory_free(lane->buffer);
    }
    memory_free(reading->lanes);
    memory_free(reading->pieces);
}

static enum hysgd_status read_pieces(struct reading *reading) {
    HYSGD_TRY(run(reading, count_piece));
    HYSGD_TRY(reserve(reading));
    HYSGD_TRY(run(reading, parse_piece));
    HYSGD_TRY(number_ids(reading));
    close_gaps(reading);
    return HYSGD_OK;
}

static enum hysgd_status read_source(const struct source *source, const struct ratings_format *format,
                                     struct ratings *ratings) {
    struct reading reading = {.source = *source, .ratings = ratings};
    HYSGD_TRY(look_at_top(&reading, format));
    enum hysgd_status status = open_lanes(&reading, format);
    if (status == HYSGD_OK)
        status = read_pieces(&reading);
    close_lanes(&reading);
    return status;
}

enum hysgd_status ratings_read_text(const char *bytes, size_t size, const char *name,
                                    const struct ratings_format *format, struct ratings *ratings) {
    const struct source source = {.name = name, .descriptor = -1, .bytes = bytes, .size = size};
    return read_source(&source, format, ratings);
}

enum hysgd_status ratings_read(const char *path, const struct ratings_format *format, struct ratings *ratings) {
    struct source source = {.name = path};
    bool is_compressed;
    HYSGD_TRY(file_open(path, &source.descriptor, &source.size, &is_compressed));
    if (!is_compressed) {
        enum hysgd_status status = read_source(&source, format, ratings);
        close(source.descriptor);
        return status;
    }
    close(source.descriptor);
    struct file file;
    HYSGD_TRY(file_read(path, MOST_BYTES, &file));
    enum hysgd_status status = ratings_read_text((const char *)file.bytes, file.size, path, format, ratings);
    file_fini(&file);
    return status;
}
