/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse ratings: which user (row) gave which item (column) which value, read from a text file or generated, and
 * cut into the parts to train on, to validate with, and to test with. */
#ifndef HYSGD_DATA_RATINGS_H
#define HYSGD_DATA_RATINGS_H

#include "base/plugin.h"
#include "data/ids.h"

/* 12 bytes. */
struct rating {
    uint32_t row, column;
    float value; /* finite */
};

struct ratings {
    struct rating *entries; /* [count], owned */
    int64_t *times;         /* [count] when each was given, on the file's own clock; NULL: not wanted */
    uint64_t count;
    struct ids rows, columns; /* every row and column index is below the count of these */
    uint64_t duplicates;      /* ratings left out because the same pair came again */
    bool are_summed;          /* what they said was added to the one that stayed */
};

/* A part of the entries, in no particular order. */
struct ratings_part {
    struct rating *entries; /* [count], inside those of the ratings */
    uint64_t count;
    double mean;       /* of the values; 0 where there are none */
    float least, most; /* the same */
};

/* The three parts follow each other in `all.entries`. */
struct ratings_split {
    struct ratings all; /* without times */
    struct ratings_part train, validation, test;
    bool is_by_default; /* nobody has said how to cut, nor given a test file */
    double oracle;      /* root mean square error of whoever knows how they were generated; NaN: not known */
};

struct ratings_format {
    bool wants_times;      /* the fourth column is needed */
    bool are_pairs;        /* there is no value: a pair stands for the value 1 */
    bool refuses_negative; /* values */
    int threads;           /* that read; 0: as many as there are cores */
    size_t piece_bytes;    /* that a thread takes at a time; 0: a good size */
};

/* Reads the lines `user item value [time]` of a file, plain, gzip or xz, into zeroed ratings, or appends
 * them to those that are there, read in the same format. The separator is the first of `::`, tab, comma and spaces
 * that occurs in the first line; columns past those wanted are ignored, and so are empty lines, lines at the top
 * that begin with # or %, and one line above the ratings whose value is no number. Between commas, fields may have
 * quotes (RFC 4180) but no line ends. The order is that of the file.
 * HYSGD_INPUT names file, line and what was expected. On failure the ratings are what ratings_fini accepts. */
HYSGD_MUST_CHECK enum hysgd_status ratings_read(const char *path, const struct ratings_format *format,
                                                struct ratings *ratings);
/* The same for a text in memory, which messages call `name`. */
HYSGD_MUST_CHECK enum hysgd_status ratings_read_text(const char *bytes, size_t size, const char *name,
                                                     const struct ratings_format *format, struct ratings *ratings);
void ratings_fini(struct ratings *ratings);

/* Counts, mean and range of the entries from `first` to `end` - 1. */
struct ratings_part ratings_part(const struct ratings *ratings, uint64_t first, uint64_t end);

/* The ratings of an initialised data plug-in; NULL for data of another kind. Whoever trains may put the entries
 * within a part into another order. */
const struct ratings_split *data_ratings(const struct plugin *data);

/* For ratings whose ids nobody will look for, only name: see ids_stop_finding. */
void data_ratings_stop_finding(const struct plugin *data);

#endif
