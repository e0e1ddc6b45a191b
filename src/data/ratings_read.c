/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file of ratings with several threads. The text is cut into pieces of equal size; a line belongs to the
 * piece in which it begins. First the lines of all pieces are counted, so that each piece knows where its ratings
 * go, then the pieces are parsed into their places, each thread with ids of its own, and at last these are put
 * together in the order of the file. Neither the order nor the numbers of the ids depend on the threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "data/file.h"
#include "data/ratings_text.h"

/* The text and the ratings of a piece fit in the second-level cache together. */
#define PIECE_BYTES ((size_t)256 << 10)
#define MOST_LINE   ((size_t)64 << 10)
/* What is read behind a piece at first, for the end of its last line. */
#define TAIL_BYTES ((size_t)256)
/* Comments at the top may be as long. */
#define TOP_BYTES     ((size_t)1 << 20)
#define MOST_LANES    64
#define MESSAGE_BYTES 1024
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
};

/* What one thread has of its own. */
struct lane {
    struct reading *reading;
    struct ids rows, columns;
    uint32_t *row_map, *column_map; /* [ids] its indices to those of the whole */
    char *buffer;
    pthread_t thread;

    enum hysgd_status status; /* of its first failure, in this piece and line of it */
    size_t failed_piece, failed_line;
    bool has_line;
    char message[MESSAGE_BYTES];
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

    enum hysgd_status (*work)(struct lane *lane, struct piece *piece);
    atomic_size_t next; /* the next piece to work on */
    atomic_bool has_failed;
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
static enum hysgd_status read_to_newline(const struct lane *lane, size_t first, size_t last, size_t *size_out) {
    const struct reading *reading = lane->reading;
    size_t limit = least_of(first + buffer_bytes(reading) - 1, reading->source.size);
    const char *newline = NULL;
    for (size_t done = first, look = last; newline == NULL;) {
        size_t end = least_of(done == first ? last + TAIL_BYTES : limit, limit);
        HYSGD_TRY(source_read(&reading->source, done, end - done, lane->buffer + (done - first)));
        newline = memchr(lane->buffer + (look - first), '\n', end - look);
        if (newline == NULL && end == reading->source.size)
            newline = memset(lane->buffer + (end - first), '\n', 1);
        else if (newline == NULL && end == limit)
            return hysgd_fail(HYSGD_INPUT, "a line of more than %zu bytes at byte %zu", MOST_LINE, last);
        done = look = end;
    }
    *size_out = (size_t)(newline + 1 - lane->buffer);
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
static enum hysgd_status count_piece(struct lane *lane, struct piece *piece) {
    const struct reading *reading = lane->reading;
    size_t k = (size_t)(piece - reading->pieces), first = piece_begin(reading, k),
           end = piece_begin(reading, k + 1);
    size_t before = k > 0; /* a line begins behind the newline that ends the one before */
    size_t size = end - first + before - 1;
    HYSGD_TRY(source_read(&reading->source, first - before, size, lane->buffer));
    piece->capacity = count_newlines(lane->buffer, size) + !before;
    return HYSGD_OK;
}

/* Reads the lines that begin in the piece. */
static enum hysgd_status parse_piece(struct lane *lane, struct piece *piece) {
    const struct reading *reading = lane->reading;
    struct ratings *ratings = reading->ratings;
    size_t k = (size_t)(piece - reading->pieces), before = k > 0, size = 0, skipped = 0;
    size_t first = piece_begin(reading, k) - before, end = piece_begin(reading, k + 1);
    struct ratings_sink sink = {.rows = &lane->rows,
                                .columns = &lane->columns,
                                .entries = ratings->entries + piece->first,
                                .times = ratings->times ? ratings->times + piece->first : NULL,
                                .capacity = piece->capacity};
    enum hysgd_status status = HYSGD_OK;
    if (piece->capacity > 0) {
        HYSGD_TRY(read_to_newline(lane, first, end - 1, &size));
        if (before)
            skipped = (size_t)((char *)memchr(lane->buffer, '\n', size) + 1 - lane->buffer);
        status = ratings_text_read(&reading->text, lane->buffer + skipped, size - skipped, &sink);
    }
    lane->failed_line = sink.lines;
    lane->has_line = status == HYSGD_INPUT;
    piece->count = sink.count;
    piece->rows_end = lane->rows.count;
    piece->columns_end = lane->columns.count;
    piece->lane = (int)(lane - reading->lanes);
    return status;
}

/* Gives the ratings of a piece the indices of the whole in place of those of its lane. */
static enum hysgd_status renumber_piece(struct lane *lane, struct piece *piece) {
    const struct lane *owner = &lane->reading->lanes[piece->lane];
    struct rating *entries = lane->reading->ratings->entries + piece->first;
    for (size_t i = 0; i < piece->count; i++) {
        entries[i].row = owner->row_map[entries[i].row];
        entries[i].column = owner->column_map[entries[i].column];
    }
    return HYSGD_OK;
}

/* ---- Threads ---- */

/* Works on pieces until there are none left or one has failed. Pieces are taken in order, so that all before the
 * first faulty one are finished. */
static void *lane_run(void *argument) {
    struct lane *lane = argument;
    struct reading *reading = lane->reading;
    while (!atomic_load(&reading->has_failed)) {
        size_t k = atomic_fetch_add(&reading->next, 1);
        if (k >= reading->piece_count)
            break;
        lane->status = reading->work(lane, &reading->pieces[k]);
        if (lane->status == HYSGD_OK)
            continue;
        lane->failed_piece = k;
        snprintf(lane->message, sizeof lane->message, "%s", hysgd_error_message());
        atomic_store(&reading->has_failed, true);
    }
    return NULL;
}

/* Reports the fault that stands first in the file. */
static enum hysgd_status report(const struct reading *reading) {
    const struct lane *first = NULL;
    for (int i = 0; i < reading->lane_count; i++) {
        const struct lane *lane = &reading->lanes[i];
        if (lane->status != HYSGD_OK && (first == NULL || lane->failed_piece < first->failed_piece))
            first = lane;
    }
    status_set_message(first->message);
    if (first->status != HYSGD_INPUT)
        return first->status;
    size_t line = reading->text.lines + first->failed_line + 1;
    for (size_t k = 0; k < first->failed_piece; k++)
        line += reading->pieces[k].capacity;
    return first->has_line ? hysgd_fail(HYSGD_INPUT, "%s:%zu: %s", reading->source.name, line, first->message)
                           : hysgd_fail(HYSGD_INPUT, "%s: %s", reading->source.name, first->message);
}

/* Does the work on every piece. A thread that cannot be started leaves its share to the others. */
static enum hysgd_status run(struct reading *reading,
                             enum hysgd_status (*work)(struct lane *lane, struct piece *piece)) {
    reading->work = work;
    atomic_store(&reading->next, 0);
    int started = 1;
    while (started < reading->lane_count &&
           pthread_create(&reading->lanes[started].thread, NULL, lane_run, &reading->lanes[started]) == 0)
        started++;
    lane_run(&reading->lanes[0]);
    while (--started > 0)
        pthread_join(reading->lanes[started].thread, NULL);
    return atomic_load(&reading->has_failed) ? report(reading) : HYSGD_OK;
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

/* Numbers the ids of all lanes as they first occur in the file: those that a lane met first in a piece are
 * consecutive in it. */
static enum hysgd_status merge_ids(struct reading *reading) {
    struct {
        uint32_t rows, columns;
    } done[MOST_LANES] = {0};
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
    size_t wanted = (size_t)(format->threads > 0 ? format->threads : machine_cores());
    reading->piece_bytes = format->piece_bytes > 0 ? format->piece_bytes : PIECE_BYTES;
    reading->piece_count =
        (reading->source.size - reading->text.first + reading->piece_bytes - 1) / reading->piece_bytes;
    wanted = least_of(least_of(wanted, reading->piece_count), MOST_LANES);
    HYSGD_TRY(memory_alloc(reading->piece_count, sizeof *reading->pieces, &reading->pieces));
    HYSGD_TRY(memory_alloc(wanted, sizeof *reading->lanes, &reading->lanes));
    reading->lane_count = (int)wanted;
    for (size_t i = 0; i < wanted; i++) {
        reading->lanes[i].reading = reading;
        HYSGD_TRY(memory_alloc(buffer_bytes(reading), 1, &reading->lanes[i].buffer));
    }
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
