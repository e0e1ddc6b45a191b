/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part: ranks hear from the coordinator and it from them, a few times a second, whatever else they do. A
 * rank whose process has ended, or that has been silent for too long, is given up: nobody waits for it any more,
 * and the coordinator decides what becomes of the run. See ranks.h. */
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"

/* Seconds between two signs of life, and between two looks for processes that have ended. */
#define BEAT_SECONDS 0.2
#define LOOK_SECONDS 0.02

static enum hysgd_status await_message(struct ranks_inbox *inbox);

/* Every message of membership has this size, and tells who is lost as far as its sender knows. */
static size_t message_bytes(const struct ranks *ranks) {
    return sizeof(struct message_members) + (size_t)ranks->count;
}

static void send(struct ranks *ranks, int to, enum message_kind kind, uint32_t incarnation) {
    struct message_members *message = ranks->members_message;
    unsigned char *lost = (unsigned char *)(message + 1);
    *message = (struct message_members){.head = {(uint32_t)kind, (uint32_t)message_bytes(ranks)},
                                        .incarnation = incarnation,
                                        .leader = ranks->leader,
                                        .generation = ranks->generation,
                                        .seconds = ranks->clock + machine_seconds()};
    for (int i = 0; i < ranks->count; i++)
        lost[i] = ranks->members[i].is_lost;
    ranks_send_on(ranks, to, CHANNEL_MEMBERS, message, message->head.bytes);
}

static void send_to_others(struct ranks *ranks, enum message_kind kind, uint32_t incarnation) {
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank && !ranks->members[i].is_lost)
            send(ranks, i, kind, incarnation);
}

static int lowest_member(const struct ranks *ranks) {
    for (int i = 0; i < ranks->count; i++)
        if (!ranks->members[i].is_lost)
            return i;
    return ranks->rank;
}

static bool has_servers(const struct ranks *ranks, int rank) {
    for (int i = 0; i < ranks->servers; i++)
        if (ranks->server_ranks[i] == rank)
            return true;
    return false;
}

/* A rank is gone. Its requests never complete from here on. */
static void give_up(struct ranks *ranks, int rank, const char *why) {
    struct ranks_member *member = &ranks->members[rank];
    if (member->is_lost || rank == ranks->rank)
        return;
    member->is_lost = true;
    member->why = why;
    ranks->lost_count++;
    if (ranks->rank == ranks->leader)
        send(ranks, rank, MESSAGE_DISMISSED, ranks->incarnation); /* it may only be asleep */
    comm_abandon(ranks->comm, rank);
    ranks->has_lost = true;
}

/* Tells everyone to go on anew, and does so. */
static enum hysgd_status recover(struct ranks *ranks) {
    send_to_others(ranks, MESSAGE_RECOVER, ranks->incarnation + 1);
    return ranks_renew(ranks, ranks->incarnation + 1);
}

void ranks_members_tell(struct ranks *ranks) {
    send_to_others(ranks, MESSAGE_BEAT, ranks->incarnation);
}

/* What becomes of the run, by whoever leads now. */
static enum hysgd_status decide(struct ranks *ranks) {
    bool needs_recovery = ranks->leader != ranks->rank;
    int latest = -1;
    for (int i = 0; i < ranks->count; i++)
        if (ranks->members[i].is_lost && !ranks->members[i].is_settled) {
            ranks->members[i].is_settled = true;
            needs_recovery = needs_recovery || has_servers(ranks, i);
            latest = i;
        }
    if (latest < 0)
        return HYSGD_OK;
    ranks->leader = ranks->rank;
    if (ranks->lost_count > ranks->options->tolerate)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s %s: %d of %d ranks are lost, and tolerate=%d", latest,
                          comm_host(ranks->comm, latest), ranks->members[latest].why, ranks->lost_count,
                          ranks->count, (int)ranks->options->tolerate);
    if (needs_recovery)
        return recover(ranks);
    for (int i = 0; i < ranks->workers; i++)
        if (ranks_worker_is_gone(ranks, i))
            ranks_coordinator_lose(ranks, i);
    return HYSGD_OK;
}

/* Whoever is lost to the sender is lost to everyone. */
static void learn(struct ranks *ranks, const struct message_members *message) {
    const unsigned char *lost = (const unsigned char *)(message + 1);
    for (int i = 0; i < ranks->count; i++)
        if (lost[i])
            give_up(ranks, i, "is lost to others");
}

static enum hysgd_status hear(struct ranks *ranks, int from, const struct message_members *message) {
    ranks->members[from].heard = machine_seconds();
    if (message->head.kind == MESSAGE_DISMISSED)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s was given up by the others after %g silent seconds",
                          ranks->rank, comm_host(ranks->comm, ranks->rank), ranks->options->patience);
    if (from == message->leader)
        ranks->clock = message->seconds - machine_seconds();
    if (from == message->leader && message->generation > ranks->generation && ranks->leader == from)
        ranks->generation = message->generation;
    learn(ranks, message);
    if (message->head.kind == MESSAGE_RECOVER && message->incarnation > ranks->incarnation) {
        ranks->leader = message->leader;
        ranks->generation = message->generation;
        return ranks_renew(ranks, message->incarnation);
    }
    return HYSGD_OK;
}

static void message_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_inbox *inbox = self;
    (void)bytes;
    enum hysgd_status status = hear(inbox->ranks, completion->from_or_to, (const void *)inbox->content);
    if (status == HYSGD_OK)
        status = await_message(inbox);
    if (status != HYSGD_OK)
        ranks_give_up(inbox->ranks, status);
}

static enum hysgd_status await_message(struct ranks_inbox *inbox) {
    struct ranks *ranks = inbox->ranks;
    return comm_receive(ranks->comm, inbox->from, ranks_tag_of(0, CHANNEL_MEMBERS, 0), inbox->content,
                        message_bytes(ranks), message_has_come, inbox);
}

enum hysgd_status ranks_members_start(struct ranks *ranks) {
    double now = machine_seconds();
    HYSGD_TRY(memory_alloc((size_t)ranks->count, sizeof *ranks->members, &ranks->members));
    HYSGD_TRY(memory_alloc(message_bytes(ranks), 1, &ranks->members_message));
    for (int i = 0; i < ranks->count; i++) {
        struct ranks_member *member = &ranks->members[i];
        member->heard = now;
        member->inbox = (struct ranks_inbox){.ranks = ranks, .from = i};
        HYSGD_TRY(memory_alloc(message_bytes(ranks), 1, &member->inbox.content));
        if (i != ranks->rank)
            HYSGD_TRY(await_message(&member->inbox));
    }
    return HYSGD_OK;
}

void ranks_members_fini(struct ranks *ranks) {
    for (int i = 0; ranks->members && i < ranks->count; i++)
        memory_free(ranks->members[i].inbox.content);
    memory_free(ranks->members);
    memory_free(ranks->members_message);
}

static void look(struct ranks *ranks, double now) {
    bool leads = ranks->rank == ranks->leader;
    double patience = ranks->options->patience;
    for (int i = 0; i < ranks->count; i++) {
        const struct ranks_member *member = &ranks->members[i];
        if (i == ranks->rank || member->is_lost)
            continue;
        if (comm_peer_has_died(ranks->comm, i))
            give_up(ranks, i, "has ended");
        else if ((leads || i == ranks->leader) && now - member->heard > patience)
            give_up(ranks, i, "has been silent for too long");
    }
}

/* A rank that was stopped itself has heard nobody: it listens before it judges. */
static void forgive_own_silence(struct ranks *ranks, double now) {
    if (now - ranks->looked > ranks->options->patience / 2)
        for (int i = 0; i < ranks->count; i++)
            ranks->members[i].heard = now;
    ranks->looked = now;
}

enum hysgd_status ranks_members_step(struct ranks *ranks) {
    double now = machine_seconds();
    if (ranks->count == 1 || ranks->is_ended)
        return HYSGD_OK;
    if (now - ranks->looked > LOOK_SECONDS) {
        forgive_own_silence(ranks, now);
        look(ranks, now);
    }
    if (now - ranks->beaten > BEAT_SECONDS) {
        ranks->beaten = now;
        if (ranks->coordinator)
            ranks->clock = ranks_coordinator_now(ranks) - now;
        if (ranks->rank == ranks->leader)
            send_to_others(ranks, MESSAGE_BEAT, ranks->incarnation);
        else if (!ranks->members[ranks->leader].is_lost)
            send(ranks, ranks->leader, MESSAGE_BEAT, ranks->incarnation);
    }
    if (!ranks->has_lost)
        return HYSGD_OK;
    ranks->has_lost = false;
    send_to_others(ranks, MESSAGE_BEAT, ranks->incarnation);
    if (ranks->rank == ranks->leader ||
        (ranks->members[ranks->leader].is_lost && ranks->rank == lowest_member(ranks)))
        return decide(ranks);
    return HYSGD_OK;
}
