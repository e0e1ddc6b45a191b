/* SPDX-License-Identifier: Apache-2.0 */
/* The text of ratings: lines `user item value [time]` turned into ratings and ids. Knows nothing of files; the
 * lines of one file may be read in pieces, by several threads. */
#ifndef HYSGD_DATA_RATINGS_TEXT_H
#define HYSGD_DATA_RATINGS_TEXT_H

#include "data/ratings.h"

enum ratings_separator { RATINGS_SPACES, RATINGS_TAB, RATINGS_COMMA, RATINGS_COLONS };

/* What the top of the text tells. */
struct ratings_text {
    enum ratings_separator separator;
    bool wants_times, are_pairs;
    float least;  /* that a value may have */
    size_t first; /* byte at which the first line with a rating begins */
    size_t lines; /* lines before it */
};

/* Where a thread puts what it reads. */
struct ratings_sink {
    struct ids *rows, *columns;
    struct rating *entries; /* [capacity] */
    int64_t *times;         /* [capacity]; NULL unless wants_times */
    size_t capacity, count;
    size_t lines; /* read so far, empty ones too; when it fails, those before the faulty one */
};

/* Looks at the first lines of a text. The last ends with a newline too. `first` becomes `size` when none of them is
 * a rating. */
void ratings_text_begin(const char *bytes, size_t size, const struct ratings_format *format,
                        struct ratings_text *text_out);

/* Reads whole lines, the last of which ends with a newline too. HYSGD_INPUT tells the fault, without the place;
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status ratings_text_read(const struct ratings_text *text, const char *bytes,
                                                     size_t size, struct ratings_sink *sink);

#endif
