/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting what the servers have found: see ranks_totals.h. */
#include "runtime/ranks_totals.h"

#include "base/memory.h"
#include "runtime/ranks_coordinator.h"

static void content_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_totals *totals = self;
    if (ranks_is_past(totals->ranks, completion))
        return;
    for (int i = 0; i < totals->ranks->servers; i++)
        if (totals->contents[i] == completion->data)
            totals->bytes[i] = bytes;
    totals->missing--;
}

/* Receives the next ones. */
static enum hysgd_status next_totals(struct ranks_totals *totals) {
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

/* Receives from now on; `row_bytes`: at most so many for a shard. HYSGD_MEMORY. Safe to fini when it fails. */
static enum hysgd_status start_totals(struct ranks_totals *totals, struct ranks *ranks,
                                      enum message_channel channel, size_t row_bytes) {
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
    return next_totals(totals);
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

/* Whether all of the present round have come. */
static bool totals_are_here(const struct ranks_totals *totals) {
    return totals->contents && totals->missing == 0;
}

/* ---- Totals over the servers ---- */

/* What a pass has found, added up, lets the servers go on. */
static enum hysgd_status send_totals(struct ranks_coordinator *self) {
    struct ranks_totals *values = &self->values;
    struct ranks *ranks = self->ranks;
    struct message_totals *message;
    int columns = 0;
    for (int i = 0; i < ranks->servers; i++)
        if (values->shards[i] > 0)
            columns = (int)(values->bytes[i] / sizeof(double)) / values->shards[i];
    size_t bytes = sizeof *message + (size_t)columns * sizeof(double);
    HYSGD_TRY(memory_alloc(1, bytes, &message));
    *message = (struct message_totals){.head = {MESSAGE_TOTALS, (uint32_t)bytes}, .columns = columns};
    for (int i = 0; i < ranks->servers; i++)
        if (values->shards[i] > 0)
            server_add_values((double *)(message + 1), (const double *)(const void *)values->contents[i], columns,
                              values->shards[i]);
    coordinator_send_to_servers(ranks, message, bytes);
    memory_free(message);
    return next_totals(values);
}

/* What the probes have seen, added up, is the outcome that the engine waits for. */
static enum hysgd_status take_probed(struct ranks_coordinator *self) {
    struct ranks_totals *probed = &self->probed;
    struct training *training = self->ranks->training;
    double seconds = coordinator_now(self);
    training->probed = (struct probe_values){0};
    for (int i = 0; i < self->ranks->servers; i++)
        if (probed->shards[i] > 0)
            probe_total(&training->probed, (const void *)probed->contents[i], probed->shards[i]);
    HYSGD_TRY(next_totals(probed));
    self->is_pending = false;
    coordinator_begin_order(self);
    HYSGD_TRY(coordinator_end_action(self, &self->pending, seconds, seconds - self->pending_since));
    return coordinator_serve_queue(self);
}

enum hysgd_status coordinator_step_totals(struct ranks_coordinator *self, bool *has_acted) {
    bool has_values = totals_are_here(&self->values), has_probed = totals_are_here(&self->probed);
    *has_acted = *has_acted || has_values || has_probed;
    if (has_values)
        HYSGD_TRY(send_totals(self));
    return has_probed ? take_probed(self) : HYSGD_OK;
}

enum hysgd_status coordinator_start_totals(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    const struct training *training = ranks->training;
    HYSGD_TRY(start_totals(&self->values, ranks, CHANNEL_VALUES, (size_t)ranks->workers * sizeof(double)));
    if (!training->estimator.has_probe)
        return HYSGD_OK;
    return start_totals(&self->probed, ranks, CHANNEL_PROBED, sizeof(struct probe_values));
}
