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

/* Tags have room for so many. */
#define MOST_INCARNATIONS 1024

static enum hysgd_status await_message(struct ranks_inbox *inbox);

/* Every message of membership has this size, and tells who is lost as far as its sender knows. */
static size_t message_bytes(const struct ranks *ranks) {
    return sizeof(struct message_members) + (size_t)ranks->servers * sizeof(int32_t) + (size_t)ranks->count;
}

static int32_t *hosts_of(const struct message_members *message) {
    return (int32_t *)(uintptr_t)(message + 1);
}

static unsigned char *lost_of(const struct ranks *ranks, const struct message_members *message) {
    return (unsigned char *)(hosts_of(message) + ranks->servers);
}

static void send(struct ranks *ranks, int to, enum message_kind kind, const struct ranks_renewal *renewal) {
    struct message_members *message = ranks->members_message;
    *message = (struct message_members){.head = {(uint32_t)kind, (uint32_t)message_bytes(ranks)},
                                        .incarnation = renewal ? renewal->incarnation : ranks->incarnation,
                                        .renewed_by = ranks->renewed_by,
                                        .leader = ranks->leader,
                                        .source = renewal ? (int32_t)renewal->source : 0,
                                        .has_saved = ranks->has_saved,
                                        .received = ranks->received,
                                        .generation = renewal ? renewal->generation : ranks->generation,
                                        .seconds = ranks->clock + machine_seconds()};
    for (int i = 0; i < ranks->servers; i++)
        hosts_of(message)[i] = renewal ? renewal->hosts[i] : ranks->server_ranks[i];
    for (int i = 0; i < ranks->count; i++)
        lost_of(ranks, message)[i] = ranks->members[i].is_lost;
    ranks_send_on(ranks, to, CHANNEL_MEMBERS, message, message->head.bytes);
}

static void send_to_others(struct ranks *ranks, enum message_kind kind, const struct ranks_renewal *renewal) {
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank && !ranks->members[i].is_lost)
            send(ranks, i, kind, renewal);
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
    send(ranks, rank, MESSAGE_DISMISSED, NULL); /* it may only be asleep */
    member->is_lost = true;
    member->why = why;
    ranks->lost_count++;
    ranks->latest_lost = rank;
    comm_abandon(ranks->comm, rank);
    ranks->has_lost = true;
}

/* Tells everyone to go on anew, and does so. */
static enum hysgd_status recover_at(struct ranks *ranks, struct ranks_renewal *renewal) {
    if (renewal->incarnation >= MOST_INCARNATIONS)
        return hysgd_fail(HYSGD_FAILED, "the run has gone back %d times: that is enough", MOST_INCARNATIONS - 1);
    HYSGD_TRY(ranks_plan_renewal(ranks, renewal));
    send_to_others(ranks, MESSAGE_RECOVER, renewal);
    return ranks_renew(ranks, renewal);
}

/* Beyond the latest incarnation that this rank or the sender of a message knows. */
static enum hysgd_status recover(struct ranks *ranks, uint32_t latest) {
    struct ranks_renewal renewal = {.incarnation = (latest > ranks->incarnation ? latest : ranks->incarnation) + 1};
    ranks->leader = ranks->rank;
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *renewal.hosts, &renewal.hosts));
    enum hysgd_status status = recover_at(ranks, &renewal);
    memory_free(renewal.hosts);
    return status;
}

/* Nobody else can say it. */
static void end_all(struct ranks *ranks, enum hysgd_status status) {
    drive_fail(ranks->training, status);
    ranks_end(ranks);
    ranks->is_ended = true;
}

void ranks_members_tell(struct ranks *ranks) {
    send_to_others(ranks, MESSAGE_BEAT, NULL);
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
        return recover(ranks, 0);
    for (int i = 0; i < ranks->workers; i++)
        if (ranks_worker_is_gone(ranks, i))
            ranks_coordinator_lose(ranks, i);
    return HYSGD_OK;
}

/* Whoever is lost to the sender is lost to everyone. */
static void learn(struct ranks *ranks, const struct message_members *message) {
    const unsigned char *lost = lost_of(ranks, message);
    for (int i = 0; i < ranks->count; i++)
        if (lost[i])
            give_up(ranks, i, "is lost to others");
}

/* Who leads hears of an incarnation that is not its own: the leader before it died while it told of that. */
static bool is_astray(const struct ranks *ranks, const struct message_members *message) {
    return ranks->leader == ranks->rank &&
           (message->incarnation > ranks->incarnation ||
            (message->incarnation == ranks->incarnation && message->renewed_by != ranks->renewed_by));
}

static enum hysgd_status take_renewal(struct ranks *ranks, int from, const struct message_members *message) {
    const struct ranks_renewal renewal = {.incarnation = message->incarnation,
                                          .source = (enum ranks_source)message->source,
                                          .generation = message->generation,
                                          .hosts = hosts_of(message)};
    if (message->incarnation <= ranks->incarnation) {
        send(ranks, from, MESSAGE_BEAT, NULL); /* it does not know that this one is further */
        return HYSGD_OK;
    }
    ranks->leader = message->leader;
    return ranks_renew(ranks, &renewal);
}

static void learn_from_leader(struct ranks *ranks, const struct message_members *message) {
    ranks->clock = message->seconds - machine_seconds();
    ranks->has_saved = ranks->has_saved || message->has_saved;
    if (message->incarnation != ranks->incarnation)
        return;
    ranks->received = message->received;
    if (message->generation > ranks->generation)
        ranks->generation = message->generation;
}

static enum hysgd_status hear(struct ranks *ranks, int from, const struct message_members *message) {
    ranks->members[from].heard = machine_seconds();
    if (ranks->has_ended_others)
        return HYSGD_OK; /* whoever is lost now changes nothing any more */
    if (message->head.kind == MESSAGE_DISMISSED)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s was given up by the others after %g silent seconds",
                          ranks->rank, comm_host(ranks->comm, ranks->rank), ranks->options->patience);
    if (from == message->leader && from == ranks->leader)
        learn_from_leader(ranks, message);
    learn(ranks, message);
    if (message->head.kind == MESSAGE_RECOVER)
        return take_renewal(ranks, from, message);
    return is_astray(ranks, message) ? recover(ranks, message->incarnation) : HYSGD_OK;
}

static void message_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_inbox *inbox = self;
    (void)bytes;
    enum hysgd_status status = hear(inbox->ranks, completion->from_or_to, (const void *)inbox->content);
    if (status == HYSGD_OK)
        status = await_message(inbox);
    if (status != HYSGD_OK && inbox->ranks->rank == inbox->ranks->leader)
        end_all(inbox->ranks, status);
    else if (status != HYSGD_OK)
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

/* What the coordinator tells the others with each sign of life. */
static void note_own(struct ranks *ranks, double now) {
    if (!ranks->coordinator)
        return;
    ranks->clock = ranks_coordinator_now(ranks) - now;
    ranks->received = ranks->training->engine.progress.received;
    ranks->has_saved = ranks->has_saved || ranks->training->has_saved;
}

enum hysgd_status ranks_members_step(struct ranks *ranks) {
    double now = machine_seconds();
    if (ranks->count == 1 || ranks->is_ended || ranks->has_ended_others)
        return HYSGD_OK;
    if (now - ranks->looked > LOOK_SECONDS) {
        forgive_own_silence(ranks, now);
        look(ranks, now);
    }
    if (now - ranks->beaten > BEAT_SECONDS) {
        ranks->beaten = now;
        note_own(ranks, now);
        if (ranks->rank == ranks->leader)
            send_to_others(ranks, MESSAGE_BEAT, NULL);
        else if (!ranks->members[ranks->leader].is_lost)
            send(ranks, ranks->leader, MESSAGE_BEAT, NULL);
    }
    if (!ranks->has_lost)
        return HYSGD_OK;
    ranks->has_lost = false;
    note_own(ranks, now);
    send_to_others(ranks, MESSAGE_BEAT, NULL);
    if (ranks->rank != ranks->leader &&
        !(ranks->members[ranks->leader].is_lost && ranks->rank == lowest_member(ranks)))
        return HYSGD_OK;
    enum hysgd_status status = decide(ranks);
    if (status != HYSGD_OK)
        end_all(ranks, status);
    return HYSGD_OK;
}
