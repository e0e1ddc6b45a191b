/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that the servers have found per shard and that count in total, over all of them: the coordinator adds
 * them up in the order of the shards, as one server would. */
#ifndef HYSGD_RUNTIME_RANKS_TOTALS_H
#define HYSGD_RUNTIME_RANKS_TOTALS_H

#include "runtime/ranks.h"

/* One channel on which they come in: one message of every server that has shards, and then the next of each. */
struct ranks_totals {
    struct ranks *ranks;
    enum message_channel channel;
    unsigned char **contents; /* [servers] NULL where nothing comes */
    size_t *most, *bytes;     /* [servers] of a message; of the present one */
    int *shards;              /* [servers] */
    int missing;              /* messages of the present round */
};

/* Also one that was never started, which is zero. */
void ranks_totals_fini(struct ranks_totals *totals);

#endif
