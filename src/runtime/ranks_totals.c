/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting what the servers have found: see ranks_totals.h. */
#include "runtime/ranks_totals.h"

#include "base/memory.h"

static void content_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_totals *totals = self;
    if (ranks_is_past(totals->ranks, completion))
        return;
    for (int i = 0; i < totals->ranks->servers; i++)
        if (totals->contents[i] == completion->data)
            totals->bytes[i] = bytes;
    totals->missing--;
}

enum hysgd_status ranks_totals_next(struct ranks_totals *totals) {
    struct ranks *ranks = totals->ranks;
    for (int i = 0; i < ranks->servers; i++) {
        if (!totals->contents[i])
            continue;
        totals->missing++;
        HYSGD_TRY(comm_receive(ranks->comm, ranks->server_ranks[i], ranks_tag(ranks, totals->channel, i),
                               totals->contents[i], totals->most[i], content_has_come, totals));
    }
    return HYSGD_OK;
}

enum hysgd_status ranks_totals_start(struct ranks_totals *totals, struct ranks *ranks, enum message_channel channel,
                                     size_t row_bytes) {
    size_t servers = (size_t)ranks->servers;
    *totals = (struct ranks_totals){.ranks = ranks, .channel = channel};
    HYSGD_TRY(memory_alloc(servers, sizeof *totals->contents, &totals->contents));
    HYSGD_TRY(memory_alloc(servers, sizeof *totals->most, &totals->most));
    HYSGD_TRY(memory_alloc(servers, sizeof *totals->bytes, &totals->bytes));
    HYSGD_TRY(memory_alloc(servers, sizeof *totals->shards, &totals->shards));
    for (size_t i = 0; i < servers; i++) {
        size_t count = ranks->slices[i].end - ranks->slices[i].first;
        totals->shards[i] = (int)((count + SERVER_SHARD - 1) / SERVER_SHARD);
        totals->most[i] = (size_t)totals->shards[i] * row_bytes;
        if (count > 0)
            HYSGD_TRY(memory_alloc(totals->most[i], 1, &totals->contents[i]));
    }
    return ranks_totals_next(totals);
}

void ranks_totals_fini(struct ranks_totals *totals) {
    for (int i = 0; totals->contents && i < totals->ranks->servers; i++)
        memory_free(totals->contents[i]);
    memory_free(totals->contents);
    memory_free(totals->most);
    memory_free(totals->bytes);
    memory_free(totals->shards);
    *totals = (struct ranks_totals){0};
}

bool ranks_totals_are_here(const struct ranks_totals *totals) {
    return totals->contents && totals->missing == 0;
}
