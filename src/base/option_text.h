/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and words of option tables as text. Shared by the files that read, print and explain options. */
#ifndef HYSGD_BASE_OPTION_TEXT_H
#define HYSGD_BASE_OPTION_TEXT_H

#include "base/options.h"

#define OPTION_REAL_BYTES 32

/* Writes the shortest of %.15g, %.16g and %.17g that reads back to exactly `value`, in every locale. */
void option_format_real(double value, char text_out[OPTION_REAL_BYTES]);

/* Writes what the option accepts, as in "expected an integer from 1 to 1e+09"; at most `size` bytes. */
void option_describe(const struct hysgd_option *option, char *text_out, size_t size);

/* The word with this index in "a|b|c"; NULL past the last. Words are not terminated: the length is stored. */
const char *option_word(const char *words, int index, size_t *length_out);

/* The candidate nearest to a word so far; zeroed at first. */
struct option_near {
    const char *word; /* NULL: none is near */
    size_t length;    /* of the word, in bytes */
    size_t distance;  /* edits */
};

/* Takes the candidate (`length` bytes) if it is near to `word` and nearer than those seen before. Letter case does
 * not count, and the beginning of a candidate is one edit away from it. */
void option_near_take(struct option_near *near, const char *word, const char *candidate, size_t length);

#endif
