/* SPDX-License-Identifier: Apache-2.0 */
/* The columns with the highest predictions of each of many rows, by a team of threads. */
#ifndef HYSGD_LOWRANK_RECOMMEND_H
#define HYSGD_LOWRANK_RECOMMEND_H

#include "lowrank/lists.h"
#include "lowrank/predict.h"
#include "lowrank/ranking.h"
#include "lowrank/team.h"

struct recommend_setup {
    struct team *team;
    const struct factors *factors;
    const struct scorer *scorer; /* of the same factors */
    const struct lists *seen;    /* columns that a row is not offered; NULL: all are */
    uint32_t k;                  /* >= 1 */
};

/* The first k columns of rows `first` to `end` - 1, the best first, to entries_out [end - first][k], and how many
 * there are of each to counts_out [end - first]. The same whatever the threads. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status recommend_rows(const struct recommend_setup *setup, uint32_t first, uint32_t end,
                                                  struct ranking_entry *entries_out, uint32_t *counts_out);

#endif
