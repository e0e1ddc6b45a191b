/* SPDX-License-Identifier: Apache-2.0 */
/* Which columns each row has a rating for, as one ascending list a row: what ranking and recommending look at. */
#ifndef HYSGD_LOWRANK_LISTS_H
#define HYSGD_LOWRANK_LISTS_H

#include "base/status.h"

struct rating;

/* 4 bytes a rating and 8 a row. */
struct lists {
    uint32_t row_count;
    uint64_t *firsts;  /* [row_count + 1]: where the list of a row begins, and the next one's */
    uint32_t *columns; /* [firsts[row_count]] ascending in each list, without repetition */
};

/* The lists of the entries, in whatever order these are; rows are below row_count. HYSGD_MEMORY. Safe to fini when
 * it fails, and when zeroed. */
HYSGD_MUST_CHECK enum hysgd_status lists_init(struct lists *lists, const struct rating *entries, uint64_t count,
                                              uint32_t row_count);
/* Gives rows and columns other numbers. HYSGD_MEMORY leaves the lists as they were. */
HYSGD_MUST_CHECK enum hysgd_status lists_renumber(struct lists *lists, const uint32_t *rows,
                                                  const uint32_t *columns);
void lists_fini(struct lists *lists);

/* The list of a row, empty for a row that the lists do not have; its length is stored. */
const uint32_t *lists_row(const struct lists *lists, uint32_t row, uint32_t *count_out);

#endif
