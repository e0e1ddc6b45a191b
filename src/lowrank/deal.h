/* SPDX-License-Identifier: Apache-2.0 */
/* Deals the rows, or the columns, of sparse ratings to groups of about equal weight and numbers them anew. */
#ifndef HYSGD_LOWRANK_DEAL_H
#define HYSGD_LOWRANK_DEAL_H

#include "base/status.h"

struct deal {
    uint32_t count;          /* rows or columns */
    const uint32_t *weights; /* [count] ratings of each */
    int groups;
    int balance; /* enum blocks_balance */
    uint64_t seed;
    uint32_t side; /* 0 rows, 1 columns: they have random orders of their own */
};

/* Writes the places [count] and the first place of each group [groups + 1]. Within a group the heaviest come first,
 * so that the ratings crowd in few tiles; a group may be empty. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status deal(const struct deal *setup, uint32_t *places, uint32_t *firsts);

#endif
