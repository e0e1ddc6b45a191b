/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part: ranks hear from the coordinator and it from them, a few times a second, whatever else they do. A
 * rank whose process has ended, or that has been silent for too long, is given up: nobody waits for it any more,
 * and the coordinator decides what becomes of the run. That a process has ended is believed of anyone who says it,
 * that a rank is silent only of the coordinator. One who does not hear the coordinator itself asks the others, and
 * the lowest of those who answer takes its place once none of them hears it. See ranks.h. */
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"

/* Seconds between two signs of life, and between two looks for processes that have ended. */
#define BEAT_SECONDS 0.2
#define LOOK_SECONDS 0.02

/* Who has been stopped hears first what others had to say before they ended, which may be that they went on without
 * it. */
#define LISTEN_SECONDS 0.5

/* Tags have room for so many. */
#define MOST_INCARNATIONS 1024

static enum hysgd_status await_message(struct ranks_inbox *inbox);

/* Every message of membership has this size, and tells who is lost as far as its sender knows. */
static size_t message_bytes(const struct ranks *ranks) {
    return sizeof(struct message_members) + (size_t)(ranks->servers + ranks->workers) * sizeof(int32_t) +
           (size_t)ranks->most;
}

static int32_t *hosts_of(const struct message_members *message) {
    return (int32_t *)(uintptr_t)(message + 1);
}

static int32_t *workers_of(const struct ranks *ranks, const struct message_members *message) {
    return hosts_of(message) + ranks->servers;
}

static unsigned char *lost_of(const struct ranks *ranks, const struct message_members *message) {
    return (unsigned char *)(workers_of(ranks, message) + ranks->workers);
}

static int lowest_member(const struct ranks *ranks) {
    for (int i = 0; i < ranks->count; i++)
        if (!ranks->members[i].is_lost)
            return i;
    return ranks->rank;
}

static double silence_of(const struct ranks *ranks, int rank) {
    return machine_seconds() - ranks->members[rank].heard;
}

/* Who leads, or is to lead next. */
static int looked_to(const struct ranks *ranks) {
    return ranks->members[ranks->leader].is_lost ? lowest_member(ranks) : ranks->leader;
}

static bool hears_leader(const struct ranks *ranks) {
    int leader = looked_to(ranks);
    return leader == ranks->rank || silence_of(ranks, leader) <= ranks->options->patience / 2;
}

static void say(struct ranks *ranks, int to, enum message_kind kind, const struct ranks_renewal *renewal,
                bool asks) {
    struct message_members *message = ranks->members_message;
    *message = (struct message_members){.head = {(uint32_t)kind, (uint32_t)message_bytes(ranks)},
                                        .incarnation = renewal ? renewal->incarnation : ranks->incarnation,
                                        .renewed_by = ranks->renewed_by,
                                        .leader = ranks->leader,
                                        .count = ranks->count,
                                        .asks = asks,
                                        .heard_leader = hears_leader(ranks) ? looked_to(ranks) : -1,
                                        .source = renewal ? (int32_t)renewal->source : 0,
                                        .has_saved = ranks->has_saved,
                                        .received = ranks->received,
                                        .generation = renewal ? renewal->generation : ranks->generation};
    ranks_clocks_tell(ranks, to, message);
    for (int i = 0; i < ranks->servers; i++)
        hosts_of(message)[i] = renewal ? renewal->hosts[i] : ranks->server_ranks[i];
    memcpy(workers_of(ranks, message), ranks->worker_ranks, (size_t)ranks->workers * sizeof(int32_t));
    for (int i = 0; i < ranks->count; i++)
        lost_of(ranks, message)[i] = (unsigned char)ranks->members[i].loss;
    ranks_send_on(ranks, to, CHANNEL_MEMBERS, message, message->head.bytes);
}

static void send(struct ranks *ranks, int to, enum message_kind kind, const struct ranks_renewal *renewal) {
    say(ranks, to, kind, renewal, false);
}

static void send_to_others(struct ranks *ranks, enum message_kind kind, const struct ranks_renewal *renewal) {
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank && !ranks->members[i].is_lost)
            send(ranks, i, kind, renewal);
}

/* Now, or once the rank has gone on anew. */
static bool has_servers(const struct ranks *ranks, int rank) {
    for (int i = 0; i < ranks->servers; i++)
        if (ranks->server_ranks[i] == rank || (ranks->has_renewal && ranks->renewal.hosts[i] == rank))
            return true;
    return false;
}

/* A rank is gone. Its requests never complete from here on. */
static void give_up(struct ranks *ranks, int rank, enum ranks_loss loss) {
    struct ranks_member *member = &ranks->members[rank];
    if (member->is_lost || rank == ranks->rank)
        return;
    member->loss = loss;
    send(ranks, rank, MESSAGE_DISMISSED, NULL); /* it may only be asleep */
    member->is_lost = true;
    if (rank == ranks->leader) /* nobody has had reason to talk to the next one so far */
        ranks->members[looked_to(ranks)].heard = machine_seconds();
    ranks->lost_count++;
    ranks->latest_lost = rank;
    comm_abandon(ranks->comm, rank);
    ranks->has_lost = true;
    ranks_join_note_loss(ranks);
}

/* The incarnation that this rank is in, or is about to be. */
static uint32_t latest_incarnation(const struct ranks *ranks) {
    return ranks->has_renewal ? ranks->renewal.incarnation : ranks->incarnation;
}

/* Not at once: a gradient or an evaluation may still be under way here, and the others wait for signs of life. */
static void begin_renewal(struct ranks *ranks, const struct ranks_renewal *renewal) {
    struct ranks_renewal *own = &ranks->renewal;
    int32_t *hosts = own->hosts;
    if (hosts != renewal->hosts)
        memcpy(hosts, renewal->hosts, (size_t)ranks->servers * sizeof *hosts);
    *own = *renewal;
    own->hosts = hosts;
    ranks->has_renewal = true;
    ranks->has_yielded = false;
    ranks->doubted = 0;
    if (ranks->worker)
        ranks_worker_cancelled(ranks, false);
}

/* Tells everyone to go on anew, beyond the latest incarnation that this rank or the sender of a message knows. */
static enum hysgd_status recover(struct ranks *ranks, uint32_t known) {
    struct ranks_renewal renewal = {.hosts = ranks->renewal.hosts};
    uint32_t latest = latest_incarnation(ranks);
    ranks->leader = ranks->rank;
    renewal.incarnation = (known > latest ? known : latest) + 1;
    if (renewal.incarnation >= MOST_INCARNATIONS)
        return hysgd_fail(HYSGD_FAILED, "the run has gone back %d times: that is enough", MOST_INCARNATIONS - 1);
    HYSGD_TRY(ranks_plan_renewal(ranks, &renewal));
    send_to_others(ranks, MESSAGE_RECOVER, &renewal);
    begin_renewal(ranks, &renewal);
    return HYSGD_OK;
}

/* The others go on without this rank, and it waits for none of them when it leaves. */
static void leave_alone(struct ranks *ranks, enum hysgd_status status) {
    ranks->training->is_dismissed = true;
    ranks_give_up(ranks, status);
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank)
            comm_abandon(ranks->comm, i);
}

/* The run cannot go on, or not with this rank. Who leads says so to all, since nobody else can. */
static void fail(struct ranks *ranks, enum hysgd_status status) {
    if (ranks->rank != ranks->leader) {
        leave_alone(ranks, status);
        return;
    }
    drive_fail(ranks->training, status);
    ranks_end(ranks);
    ranks->is_ended = true;
}

void ranks_members_tell(struct ranks *ranks) {
    send_to_others(ranks, MESSAGE_BEAT, NULL);
}

/* From here on others are heard who had no reason to say anything so far, or this rank was stopped itself. */
static void listen_anew(struct ranks *ranks, double now) {
    for (int i = 0; i < ranks->count; i++)
        ranks->members[i].heard = now;
}

static enum hysgd_status refuse_loss(const struct ranks *ranks, int latest) {
    char why[RANKS_LINE];
    ranks_describe_loss(ranks, latest, why, sizeof why);
    if (ranks->overslept > 0 && machine_seconds() - ranks->overslept < ranks->options->patience)
        ranks->training->is_dismissed = true; /* they have ended the run without this rank */
    return hysgd_fail(HYSGD_FAILED, "%s: %d of %d ranks are lost, and tolerate=%d", why, ranks->lost_count,
                      ranks->count, (int)ranks->options->tolerate);
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
    if (ranks->leader != ranks->rank)
        listen_anew(ranks, machine_seconds());
    ranks->leader = ranks->rank;
    if (ranks->lost_count > ranks->options->tolerate)
        return refuse_loss(ranks, latest);
    if (needs_recovery)
        return recover(ranks, 0);
    if (ranks->has_renewal)
        return HYSGD_OK; /* which takes care of the workers */
    for (int i = 0; i < ranks->workers; i++)
        if (ranks_worker_is_gone(ranks, i))
            ranks_coordinator_lose(ranks, i);
    return HYSGD_OK;
}

/* Whether another one may take the leader's place: it is lost, is silent here too, or others were told so. */
static bool may_be_replaced(const struct ranks *ranks) {
    return ranks->members[ranks->leader].is_lost || ranks->has_yielded || !hears_leader(ranks);
}

/* Whether the sender of a message speaks for all: it leads, or comes to lead rightly. */
static bool has_authority(const struct ranks *ranks, int from, const struct message_members *message) {
    const unsigned char *lost = lost_of(ranks, message);
    if (from == ranks->leader || message->head.kind != MESSAGE_RECOVER || lost[ranks->rank])
        return from == ranks->leader;
    return lost[ranks->leader] == LOSS_ENDED || may_be_replaced(ranks);
}

/* Who is lost: to the one who leads, or because its process has ended, which everyone sees alike. */
static void learn(struct ranks *ranks, int from, const struct message_members *message) {
    const unsigned char *lost = lost_of(ranks, message);
    bool is_certain = has_authority(ranks, from, message);
    for (int i = 0; i < ranks->count; i++)
        if (lost[i] == LOSS_ENDED || (lost[i] != LOSS_NONE && is_certain))
            give_up(ranks, i, (enum ranks_loss)lost[i]);
}

/* Who leads hears of an incarnation that is not its own: the leader before it died while it told of that. */
static bool is_astray(const struct ranks *ranks, const struct message_members *message) {
    uint32_t latest = latest_incarnation(ranks);
    int renewed_by = ranks->has_renewal ? ranks->rank : ranks->renewed_by;
    return ranks->leader == ranks->rank &&
           (message->incarnation > latest || (message->incarnation == latest && message->renewed_by != renewed_by));
}

static void take_renewal(struct ranks *ranks, int from, const struct message_members *message, bool is_right) {
    const struct ranks_renewal renewal = {.incarnation = message->incarnation,
                                          .source = (enum ranks_source)message->source,
                                          .generation = message->generation,
                                          .hosts = hosts_of(message)};
    if (message->incarnation <= latest_incarnation(ranks) || !is_right) {
        send(ranks, from, MESSAGE_BEAT, NULL); /* it does not know that this one is further, or hears the leader */
        return;
    }
    ranks->leader = message->leader;
    begin_renewal(ranks, &renewal);
}

/* Who has joined, in case that what told of it was dropped while this rank went on anew. */
static enum hysgd_status learn_joined(struct ranks *ranks, const struct message_members *message) {
    ranks_members_expect(ranks, message->count);
    for (int i = 0; i < ranks->workers; i++)
        HYSGD_TRY(ranks_join_learn(ranks, workers_of(ranks, message)[i], i));
    return HYSGD_OK;
}

static void learn_from_leader(struct ranks *ranks, const struct message_members *message) {
    ranks->has_saved = ranks->has_saved || message->has_saved;
    if (message->incarnation != ranks->incarnation)
        return;
    ranks->received = message->received;
    if (message->generation > ranks->generation)
        ranks->generation = message->generation;
}

/* Others go on without this rank: even if it led, it is for them to say how. */
static void take_dismissal(struct ranks *ranks) {
    leave_alone(ranks, hysgd_fail(HYSGD_FAILED, "rank %d on %s was given up by the others after %g silent seconds",
                                  ranks->rank, comm_host(ranks->comm, ranks->rank), ranks->options->patience));
}

/* To one who does not hear the leader. What it is told now holds, even if the leader is heard again. */
static void answer(struct ranks *ranks, int from, const struct message_members *message) {
    if (message->leader == ranks->leader && !hears_leader(ranks))
        ranks->has_yielded = true;
    send(ranks, from, MESSAGE_BEAT, NULL);
}

static enum hysgd_status hear(struct ranks *ranks, int from, const struct message_members *message) {
    struct ranks_member *member = &ranks->members[from];
    member->heard = machine_seconds();
    member->heard_leader = message->heard_leader;
    if (ranks->has_ended_others)
        return HYSGD_OK; /* whoever is lost now changes nothing any more */
    if (message->head.kind == MESSAGE_DISMISSED) {
        take_dismissal(ranks);
        return HYSGD_OK;
    }
    if (from == message->leader && from == ranks->leader)
        learn_from_leader(ranks, message);
    if (ranks_clocks_hear(ranks, from, message))
        send(ranks, from, MESSAGE_BEAT, NULL);
    bool is_right = has_authority(ranks, from, message);
    if (is_right && from != ranks->rank)
        HYSGD_TRY(learn_joined(ranks, message));
    learn(ranks, from, message);
    if (message->asks)
        answer(ranks, from, message);
    if (message->head.kind == MESSAGE_RECOVER) {
        take_renewal(ranks, from, message, is_right);
        return HYSGD_OK;
    }
    return is_astray(ranks, message) ? recover(ranks, message->incarnation) : HYSGD_OK;
}

static void message_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_inbox *inbox = self;
    (void)bytes;
    enum hysgd_status status = hear(inbox->ranks, completion->from_or_to, (const void *)inbox->content);
    if (status == HYSGD_OK)
        status = await_message(inbox);
    if (status != HYSGD_OK)
        fail(inbox->ranks, status);
}

static enum hysgd_status await_message(struct ranks_inbox *inbox) {
    struct ranks *ranks = inbox->ranks;
    return comm_receive(ranks->comm, inbox->from, ranks_tag_of(0, CHANNEL_MEMBERS, 0), inbox->content,
                        message_bytes(ranks), message_has_come, inbox);
}

static enum hysgd_status open_inbox(struct ranks *ranks, int rank) {
    struct ranks_inbox *inbox = &ranks->members[rank].inbox;
    *inbox = (struct ranks_inbox){.ranks = ranks, .from = rank};
    HYSGD_TRY(memory_alloc(message_bytes(ranks), 1, &inbox->content));
    return rank != ranks->rank ? await_message(inbox) : HYSGD_OK;
}

enum hysgd_status ranks_members_start(struct ranks *ranks) {
    double now = machine_seconds();
    HYSGD_TRY(memory_alloc((size_t)ranks->most, sizeof *ranks->members, &ranks->members));
    HYSGD_TRY(memory_alloc(message_bytes(ranks), 1, &ranks->members_message));
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *ranks->renewal.hosts, &ranks->renewal.hosts));
    for (int i = 0; i < ranks->count; i++) {
        struct ranks_member *member = &ranks->members[i];
        member->heard = now;
        HYSGD_TRY(open_inbox(ranks, i));
    }
    return HYSGD_OK;
}

void ranks_members_expect(struct ranks *ranks, int count) {
    for (; ranks->count < count && ranks->count < ranks->most; ranks->count++)
        ranks->members[ranks->count].is_lost = ranks->members[ranks->count].is_settled = true;
}

enum hysgd_status ranks_members_add(struct ranks *ranks, int rank) {
    struct ranks_member *member = &ranks->members[rank];
    *member = (struct ranks_member){.heard = machine_seconds()};
    HYSGD_TRY(open_inbox(ranks, rank));
    return ranks_open_inbox(ranks, rank);
}

void ranks_members_fini(struct ranks *ranks) {
    for (int i = 0; ranks->members && i < ranks->count; i++)
        memory_free(ranks->members[i].inbox.content);
    memory_free(ranks->members);
    memory_free(ranks->members_message);
    memory_free(ranks->renewal.hosts);
}

/* Whether more than half of the ranks fall silent at once: where a network is cut in two, the smaller part must not
 * go on as well. Those whose process has ended do not count. */
static bool is_cut_off(const struct ranks *ranks, double now, double limit) {
    int members = 0, silent = 0;
    for (int i = 0; i < ranks->count; i++) {
        members += !ranks->members[i].is_lost;
        silent += !ranks->members[i].is_lost && i != ranks->rank && now - ranks->members[i].heard > limit;
    }
    return 2 * silent > members;
}

static void leave_cut_off(struct ranks *ranks) {
    leave_alone(ranks,
                hysgd_fail(HYSGD_FAILED, "rank %d on %s is cut off: more than half of the ranks are silent to it",
                           ranks->rank, comm_host(ranks->comm, ranks->rank)));
}

static void look(struct ranks *ranks, double now) {
    bool leads = ranks->rank == ranks->leader;
    double patience = ranks->options->patience;
    for (int i = 0; i < ranks->count; i++) {
        const struct ranks_member *member = &ranks->members[i];
        if (i == ranks->rank || member->is_lost)
            continue;
        if (comm_peer_has_died(ranks->comm, i))
            give_up(ranks, i, LOSS_ENDED);
        else if (leads && now - member->heard > patience && is_cut_off(ranks, now, patience / 2))
            leave_cut_off(ranks);
        else if (leads && now - member->heard > patience)
            give_up(ranks, i, LOSS_SILENT);
    }
}

/* Asks the others whether they hear the leader, and listens to all of them from here on. */
static void begin_doubt(struct ranks *ranks, double now) {
    ranks->doubted = now;
    ranks->beaten = 0;
    for (int i = 0; i < ranks->count; i++)
        if (i != looked_to(ranks))
            ranks->members[i].heard = now;
}

/* What the others have answered since then. */
struct answers {
    int lowest;        /* of those who are there, this rank included */
    bool all_are_deaf; /* everyone who is there has answered, and hears the leader no more */
    bool one_hears;
};

static struct answers gather_answers(const struct ranks *ranks, double now) {
    struct answers answers = {.lowest = -1, .all_are_deaf = true};
    int leader = looked_to(ranks);
    for (int i = 0; i < ranks->count; i++) {
        const struct ranks_member *member = &ranks->members[i];
        bool is_self = i == ranks->rank, has_answered = member->heard > ranks->doubted;
        if (member->is_lost || i == leader || (!is_self && now - member->heard > ranks->options->patience))
            continue;
        if (answers.lowest < 0)
            answers.lowest = i;
        if (is_self)
            continue;
        answers.all_are_deaf = answers.all_are_deaf && has_answered && member->heard_leader != leader;
        answers.one_hears = answers.one_hears || (has_answered && member->heard_leader == leader);
    }
    return answers;
}

/* Everyone who does not answer either is given up with it. */
static void replace_leader(struct ranks *ranks, double now) {
    for (int i = 0; i < ranks->count; i++)
        if (now - ranks->members[i].heard > ranks->options->patience)
            give_up(ranks, i, LOSS_SILENT);
}

/* Who hears nothing of the leader does not judge alone: its own line may be the one that is cut. */
static enum hysgd_status doubt(struct ranks *ranks, double now) {
    int leader = looked_to(ranks);
    double silence = now - ranks->members[leader].heard, patience = ranks->options->patience;
    if (leader == ranks->rank || silence <= patience) {
        ranks->doubted = 0;
        return HYSGD_OK;
    }
    if (ranks->doubted == 0)
        begin_doubt(ranks, now);
    const struct answers answers = gather_answers(ranks, now);
    bool decides = answers.lowest == ranks->rank && answers.all_are_deaf;
    if (decides && is_cut_off(ranks, now, patience))
        leave_cut_off(ranks);
    else if (decides)
        replace_leader(ranks, now);
    else if (answers.one_hears && silence > 3 * patience)
        return hysgd_fail(
            HYSGD_FAILED, "rank %d on %s is cut off: rank %d on %s has been silent for %.0f s, to others it is not",
            ranks->rank, comm_host(ranks->comm, ranks->rank), leader, comm_host(ranks->comm, leader), silence);
    return HYSGD_OK;
}

/* A rank that was stopped itself has heard nobody: it listens before it judges. */
static void forgive_own_silence(struct ranks *ranks, double now) {
    if (ranks->looked > 0 && now - ranks->looked > ranks->options->patience)
        ranks->overslept = now;
    if (now - ranks->looked > ranks->options->patience / 2) {
        listen_anew(ranks, now);
        ranks->woken = now;
    }
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

static void beat(struct ranks *ranks, double now) {
    ranks->beaten = now;
    ranks->questions = 0;
    note_own(ranks, now);
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank && !ranks->members[i].is_lost &&
            (ranks->rank == ranks->leader || i == looked_to(ranks) || ranks->doubted > 0))
            say(ranks, i, MESSAGE_BEAT, NULL, ranks->doubted > 0);
}

/* Goes on anew, once nothing of before is under way in this process. */
static enum hysgd_status step_renewal(struct ranks *ranks) {
    if (!ranks->has_renewal || !ranks_worker_is_idle(ranks) || !ranks_aside_is_idle(ranks))
        return HYSGD_OK;
    ranks->has_renewal = false;
    return ranks_renew(ranks, &ranks->renewal);
}

/* The consequences of losses, by who leads or comes to lead. */
static enum hysgd_status take_losses(struct ranks *ranks, double now) {
    if (!ranks->has_lost)
        return HYSGD_OK;
    ranks->has_lost = false;
    note_own(ranks, now);
    send_to_others(ranks, MESSAGE_BEAT, NULL);
    bool comes_to_lead = ranks->members[ranks->leader].is_lost && ranks->rank == lowest_member(ranks);
    return ranks->rank == ranks->leader || comes_to_lead ? decide(ranks) : HYSGD_OK;
}

static enum hysgd_status step(struct ranks *ranks) {
    double now = machine_seconds();
    if (now - ranks->looked > LOOK_SECONDS) {
        forgive_own_silence(ranks, now);
        if (now - ranks->woken > LISTEN_SECONDS)
            look(ranks, now);
        HYSGD_TRY(doubt(ranks, now));
        if (ranks->is_ended)
            return HYSGD_OK;
    }
    if (now - ranks->beaten > BEAT_SECONDS)
        beat(ranks, now);
    HYSGD_TRY(take_losses(ranks, now));
    return step_renewal(ranks);
}

void ranks_members_step(struct ranks *ranks) {
    if (ranks->count == 1 || ranks->is_ended || ranks->has_ended_others)
        return;
    enum hysgd_status status = step(ranks);
    if (status != HYSGD_OK)
        fail(ranks, status);
}
