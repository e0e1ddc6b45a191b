/* SPDX-License-Identifier: Apache-2.0 */
/* Finding ratings of the same user and item without sorting them. A mark for each column says where it was last
 * met; that is enough where the ratings of a row are consecutive, as in most published sets. Others are gathered
 * for some rows at a time, as many as fit in a buffer that is small beside the ratings. */
#include "data/ratings_duplicates.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* The buffer holds this share of the ratings, or one row, or so many. */
#define SHARE   8
#define LEAST   ((uint64_t)1 << 16)
#define DROPPED IDS_NONE /* as column: this entry is left out */

struct search {
    struct ratings *ratings;
    uint64_t first;
    enum ratings_duplicates rule;
    const char *name;
    uint64_t *marks; /* [columns] 1 + the position, of that last met */
    uint64_t dropped;
};

/* A rating in the buffer. */
struct place {
    uint64_t position;
    uint32_t column;
};

static enum hysgd_status fail_twice(const struct search *search, const struct rating *rating, const char *what) {
    char user[IDS_NUMBER_BYTES], item[IDS_NUMBER_BYTES];
    size_t user_length, item_length;
    const char *user_text = ids_text(&search->ratings->rows, rating->row, user, &user_length);
    const char *item_text = ids_text(&search->ratings->columns, rating->column, item, &item_length);
    return hysgd_fail(HYSGD_INPUT, "%s: user '%.*s' and item '%.*s' occur twice; %s", search->name,
                      (int)user_length, user_text, (int)item_length, item_text, what);
}

/* The entry at `before` has the same row and column as the later one at `now`. */
static enum hysgd_status drop(struct search *search, uint64_t before, uint64_t now) {
    struct rating *entries = search->ratings->entries;
    if (search->rule == RATINGS_DUPLICATES_REFUSE)
        return fail_twice(search, &entries[now], "expected each pair once, or duplicates=last, sum or keep");
    if (search->rule == RATINGS_DUPLICATES_SUM) {
        float sum = entries[before].value + entries[now].value;
        if (!isfinite(sum))
            return fail_twice(search, &entries[now], "the sum of their values is too large");
        entries[now].value = sum;
    }
    entries[before].column = DROPPED;
    search->dropped++;
    return HYSGD_OK;
}

/* Whether no row occurs again after another has begun. */
static enum hysgd_status find_grouped(const struct search *search, bool *is_grouped_out) {
    const struct ratings *ratings = search->ratings;
    uint8_t *is_met;
    bool is_grouped = true;
    HYSGD_TRY(memory_alloc(ratings->rows.count, 1, &is_met));
    uint32_t row = IDS_NONE;
    for (uint64_t i = search->first; is_grouped && i < ratings->count; i++) {
        if (ratings->entries[i].row == row)
            continue;
        row = ratings->entries[i].row;
        is_grouped = is_met[row] == 0;
        is_met[row] = 1;
    }
    memory_free(is_met);
    *is_grouped_out = is_grouped;
    return HYSGD_OK;
}

/* A mark before the first rating of the row is one of another row. */
static enum hysgd_status search_grouped(struct search *search) {
    const struct rating *entries = search->ratings->entries;
    uint64_t row_first = search->first;
    for (uint64_t i = search->first; i < search->ratings->count; i++) {
        if (entries[i].row != entries[row_first].row)
            row_first = i;
        uint32_t column = entries[i].column;
        if (search->marks[column] > row_first)
            HYSGD_TRY(drop(search, search->marks[column] - 1, i));
        search->marks[column] = i + 1;
    }
    return HYSGD_OK;
}

/* Searches the ratings of one row, which are in the order of the file. Marks are positions here too. */
static enum hysgd_status search_row(struct search *search, const struct place *places, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t mark = search->marks[places[i].column];
        if (mark > 0)
            HYSGD_TRY(drop(search, mark - 1, places[i].position));
        search->marks[places[i].column] = places[i].position + 1;
    }
    for (uint64_t i = 0; i < count; i++)
        search->marks[places[i].column] = 0;
    return HYSGD_OK;
}

/* Searches the rows from `row` to `end` - 1, whose ratings fit in the buffer. `next` is where the buffer has the
 * next rating of each row, at first those of `row` at 0. */
static enum hysgd_status search_rows(struct search *search, uint32_t row, uint32_t end, uint64_t *next,
                                     struct place *buffer) {
    const struct ratings *ratings = search->ratings;
    for (uint64_t i = search->first; i < ratings->count; i++) {
        const struct rating *rating = &ratings->entries[i];
        if (rating->row - row < end - row)
            buffer[next[rating->row]++] = (struct place){.position = i, .column = rating->column};
    }
    /* Now next[row] is where the ratings of the row end. */
    for (uint64_t first = 0; row < end; first = next[row++])
        HYSGD_TRY(search_row(search, buffer + first, next[row] - first));
    return HYSGD_OK;
}

/* Turns counts into places from the row on, as far as the buffer goes; returns the first row that is too much. */
static uint32_t find_end(uint64_t *counts, uint32_t row, uint32_t row_count, uint64_t capacity) {
    uint64_t total = 0;
    for (; row < row_count && counts[row] <= capacity - total; row++) {
        uint64_t count = counts[row];
        counts[row] = total;
        total += count;
    }
    return row;
}

/* The same where rows are in any order. */
static enum hysgd_status search_scattered(struct search *search, uint64_t *counts) {
    const struct ratings *ratings = search->ratings;
    uint64_t capacity = (ratings->count - search->first) / SHARE;
    struct place *buffer;
    capacity = capacity > LEAST ? capacity : LEAST;
    for (uint64_t i = search->first; i < ratings->count; i++)
        counts[ratings->entries[i].row]++;
    for (uint32_t row = 0; row < ratings->rows.count; row++)
        capacity = counts[row] > capacity ? counts[row] : capacity;
    HYSGD_TRY(memory_alloc_vector(capacity, sizeof *buffer, &buffer));
    enum hysgd_status status = HYSGD_OK;
    for (uint32_t row = 0, end; status == HYSGD_OK && row < ratings->rows.count; row = end) {
        end = find_end(counts, row, ratings->rows.count, capacity);
        status = search_rows(search, row, end, counts, buffer);
    }
    memory_free(buffer);
    return status;
}

static enum hysgd_status search_all(struct search *search) {
    bool is_grouped;
    uint64_t *counts;
    HYSGD_TRY(find_grouped(search, &is_grouped));
    if (is_grouped)
        return search_grouped(search);
    HYSGD_TRY(memory_alloc(search->ratings->rows.count, sizeof *counts, &counts));
    enum hysgd_status status = search_scattered(search, counts);
    memory_free(counts);
    return status;
}

static void close_gaps(struct ratings *ratings, uint64_t first) {
    uint64_t end = first;
    for (uint64_t i = first; i < ratings->count; i++) {
        if (ratings->entries[i].column == DROPPED)
            continue;
        ratings->entries[end] = ratings->entries[i];
        if (ratings->times)
            ratings->times[end] = ratings->times[i];
        end++;
    }
    ratings->count = end;
}

enum hysgd_status ratings_drop_duplicates(struct ratings *ratings, uint64_t first, enum ratings_duplicates rule,
                                          const char *name) {
    struct search search = {.ratings = ratings, .first = first, .rule = rule, .name = name};
    if (rule == RATINGS_DUPLICATES_KEEP)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(ratings->columns.count, sizeof *search.marks, &search.marks));
    enum hysgd_status status = search_all(&search);
    memory_free(search.marks);
    HYSGD_TRY(status);
    if (search.dropped > 0)
        close_gaps(ratings, first);
    ratings->duplicates += search.dropped;
    ratings->are_summed = rule == RATINGS_DUPLICATES_SUM;
    return HYSGD_OK;
}
