/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the ranks: with its signs of life a rank asks the leader for the time, and the leader's answers,
 * and how well each rank knows its clock, go to the log. Signs of life themselves: ranks_members.c. */
#include <math.h>

#include "base/machine.h"
#include "runtime/ranks_coordinator.h"

/* Seconds between two comparisons of a clock in the log, unless its error has become half of what it was. */
#define NOTE_SECONDS 10.0

static bool leads(const struct ranks *ranks) {
    return ranks->rank == ranks->leader;
}

double ranks_leader_time(const struct ranks *ranks, double seconds) {
    double offset = 0, error;
    if (leads(ranks))
        return seconds;
    if (ranks->asked != ranks->leader || !ranks_clock_read(&ranks->leaders, seconds, &offset, &error))
        return (double)NAN;
    return seconds + offset;
}

void ranks_clocks_tell(struct ranks *ranks, int to, struct message_members *message) {
    struct ranks_member *member = &ranks->members[to];
    double now = machine_seconds();
    message->clock = ranks->clock;
    message->asked = member->asked;
    message->heard = member->asked_at;
    member->asked = 0;
    message->offset = message->error = (double)NAN;
    if (ranks->asked == ranks->leader)
        ranks_clock_read(&ranks->leaders, now, &message->offset, &message->error);
    message->sent = machine_seconds();
}

/* What the rank knows of the own clock. */
static void note_offset(struct ranks_member *member, const struct message_members *message) {
    if (isnan(message->offset) || isnan(message->error))
        return;
    member->offset = message->offset;
    member->error = message->error;
    member->is_compared = true;
}

/* Whether to ask again at once. */
static bool take_answer(struct ranks *ranks, const struct message_members *message, double now) {
    if (ranks->asked != ranks->leader) {
        ranks->leaders = (struct ranks_clock){0};
        ranks->asked = ranks->leader;
    }
    if (message->asked > 0) {
        const struct ranks_clock_exchange exchange = {
            .asked = message->asked, .heard = message->heard, .answered = message->sent, .received = now};
        ranks_clock_take(&ranks->leaders, &exchange);
    }
    double there = ranks_leader_time(ranks, now);
    ranks->clock = message->clock + (isnan(there) ? message->sent : there) - now;
    return ranks_clock_is_hungry(&ranks->leaders) && ranks->questions++ < 2 * RANKS_CLOCK_SAMPLES;
}

bool ranks_clocks_hear(struct ranks *ranks, int from, const struct message_members *message) {
    struct ranks_member *member = &ranks->members[from];
    double now = machine_seconds();
    if (message->head.kind != MESSAGE_BEAT || message->leader != ranks->leader)
        return false;
    if (from == ranks->leader)
        return take_answer(ranks, message, now);
    if (!leads(ranks))
        return false;
    note_offset(member, message);
    member->asked = message->sent;
    member->asked_at = now;
    return true;
}

/* ---- The log ---- */

static bool is_news(const struct ranks_member *member, double seconds) {
    if (!member->is_noted)
        return true;
    if (seconds - member->noted < NOTE_SECONDS)
        return member->error < member->noted_error / 2;
    return fabs(member->offset - member->noted_offset) > member->noted_error;
}

void coordinator_note_clocks(struct ranks_coordinator *self, double seconds) {
    struct ranks *ranks = self->ranks;
    for (int i = 0; i < ranks->count; i++) {
        struct ranks_member *member = &ranks->members[i];
        member->is_compared = member->is_compared || i == ranks->rank;
        if (member->is_lost || !member->is_compared || !is_news(member, seconds))
            continue;
        member->is_noted = true;
        member->noted = seconds;
        member->noted_offset = member->offset;
        member->noted_error = member->error;
        drive_note_clock(ranks->training, seconds, i, member->offset, member->error);
    }
}
