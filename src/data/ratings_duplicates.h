/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of ratings of the same user and item. */
#ifndef HYSGD_DATA_RATINGS_DUPLICATES_H
#define HYSGD_DATA_RATINGS_DUPLICATES_H

#include "data/ratings.h"

enum ratings_duplicates {
    RATINGS_DUPLICATES_LAST,   /* the last counts, in the order of the file */
    RATINGS_DUPLICATES_SUM,    /* one rating with the sum of the values; the sum must be finite */
    RATINGS_DUPLICATES_KEEP,   /* all count, and are not looked for */
    RATINGS_DUPLICATES_REFUSE, /* HYSGD_INPUT names the pair */
};

/* The words in their order, for the table of an option. */
#define RATINGS_DUPLICATES_WORDS "last|sum|keep|refuse"

/* Applies the rule to the entries from `first` on, and counts those left out. The order stays. Takes at most two
 * bytes of memory a rating, eight bytes a column and as much a row while it works. HYSGD_MEMORY, HYSGD_INPUT, which
 * begins with `name`. */
HYSGD_MUST_CHECK enum hysgd_status ratings_drop_duplicates(struct ratings *ratings, uint64_t first,
                                                           enum ratings_duplicates rule, const char *name);

#endif
