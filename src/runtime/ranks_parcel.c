/* SPDX-License-Identifier: Apache-2.0 */
/* What the coordinator sends to many ranks at once: a rank that is lost meanwhile may never take it, so each parcel
 * knows for itself when it can go. See ranks.h. */
#include "base/memory.h"
#include "runtime/ranks.h"

static void free_those_that_have_left(struct ranks *ranks, bool all) {
    struct ranks_parcel **place = &ranks->parcels;
    while (*place) {
        struct ranks_parcel *parcel = *place;
        if (!all && (parcel->is_held || parcel->under_way > 0)) {
            place = &parcel->older;
        } else {
            *place = parcel->older;
            memory_free(parcel);
        }
    }
}

enum hysgd_status ranks_parcel_alloc(struct ranks *ranks, size_t bytes, struct ranks_parcel **parcel_out) {
    struct ranks_parcel *parcel;
    free_those_that_have_left(ranks, false);
    HYSGD_TRY(memory_alloc(1, sizeof *parcel + bytes, &parcel));
    parcel->is_held = true;
    parcel->older = ranks->parcels;
    ranks->parcels = parcel;
    *parcel_out = parcel;
    return HYSGD_OK;
}

static void has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_parcel *parcel = self;
    (void)completion, (void)bytes;
    parcel->under_way--;
}

enum hysgd_status ranks_parcel_send_as(struct ranks *ranks, struct ranks_parcel *parcel, int to, uint32_t tag,
                                       size_t bytes) {
    parcel->under_way++;
    return comm_send(ranks->comm, to, tag, parcel->content, bytes, has_left, parcel);
}

enum hysgd_status ranks_parcel_send(struct ranks *ranks, struct ranks_parcel *parcel, int to,
                                    enum message_channel channel, size_t bytes) {
    return ranks->members[to].is_lost
               ? HYSGD_OK
               : ranks_parcel_send_as(ranks, parcel, to, ranks_tag(ranks, channel, 0), bytes);
}

void ranks_parcel_release(struct ranks_parcel *parcel) {
    if (parcel)
        parcel->is_held = false;
}

void ranks_parcels_free(struct ranks *ranks) {
    free_those_that_have_left(ranks, true);
}
