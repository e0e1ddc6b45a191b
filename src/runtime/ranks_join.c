/* SPDX-License-Identifier: Apache-2.0 */
/* A worker joins a run that goes on: somebody asks at the door of the run, the coordinator has a process started
 * and all ranks admit it, it says what it is about to run, and is given the state and the place of a lost worker.
 * Whatever fails on the way leaves the run as it was. The new rank's own part: ranks_newcomer.c. */
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/control.h"
#include "runtime/ranks_coordinator.h"

/* Seconds that a new process may take to read its data and to say so. */
#define MOST_PREPARING_SECONDS 600.0
/* For all ranks to meet a new process, beyond what a rank may be silent: who does not take part is lost before. */
#define MOST_MEETING_SECONDS 30.0

/* Bytes of what it may say then. */
#define MOST_HELLO ((size_t)1 << 20)

enum join_phase {
    JOIN_NOBODY,
    JOIN_ADMITTING, /* the ranks make its process reachable */
    JOIN_PREPARING, /* it reads its data */
    JOIN_READY,     /* it has said so: at the next quiet moment it becomes a rank */
    JOIN_STARTING   /* it is a rank, whose worker is about to take part */
};

/* What a rank that joins has said; messages may still be written there. */
struct ranks_hello {
    struct ranks_hello *next;
    int rank;
    size_t bytes; /* 0: nothing yet */
    _Alignas(16) unsigned char content[];
};

struct ranks_join {
    struct control *control;
    enum join_phase phase;
    int rank, worker;
    int missing; /* ranks that have not told that they have admitted it */
    double until;
    char host[256];
    struct ranks_hello *hello;
};

/* ---- The door ---- */

enum hysgd_status ranks_join_open(struct ranks *ranks, struct control *door) {
    if (!ranks_may_grow(ranks->options) || ranks->join)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(1, sizeof *ranks->join, &ranks->join));
    *ranks->join = (struct ranks_join){.phase = JOIN_NOBODY, .control = door};
    if (door || control_open(ranks->options->control, true, &ranks->join->control) == HYSGD_OK)
        return HYSGD_OK;
    /* On another host than the one before; the run goes on without. */
    char text[RANKS_LINE];
    snprintf(text, sizeof text, "no worker can join any more: %.400s", hysgd_error_message());
    drive_notice(ranks->training, text);
    return HYSGD_OK;
}

void ranks_join_close(struct ranks *ranks) {
    if (!ranks->join)
        return;
    control_close(ranks->join->control);
    memory_free(ranks->join);
    ranks->join = NULL;
}

void ranks_hellos_free(struct ranks *ranks) {
    while (ranks->hellos) {
        struct ranks_hello *hello = ranks->hellos;
        ranks->hellos = hello->next;
        memory_free(hello);
    }
}

static void send_about(struct ranks *ranks, int to, enum message_kind kind, int rank, int worker) {
    const struct message_admitted message = {
        .head = {(uint32_t)kind, sizeof message}, .rank = rank, .worker = worker};
    ranks_send(ranks, to, &message, sizeof message);
}

/* To a process that waits for its welcome. */
static void send_refusal(struct ranks *ranks, const char *why) {
    struct ranks_parcel *parcel;
    size_t bytes = ranks_welcome_bytes(ranks);
    if (ranks_parcel_alloc(ranks, bytes, &parcel) != HYSGD_OK)
        return;
    struct message_welcome *welcome = (void *)parcel->content;
    memset(welcome, 0, bytes);
    welcome->status = HYSGD_FAILED;
    snprintf(welcome->why, sizeof welcome->why, "%.399s", why);
    ranks_parcel_release(parcel);
    enum hysgd_status ignored =
        ranks_parcel_send_as(ranks, parcel, ranks->join->rank, ranks_tag_of(0, CHANNEL_WELCOME, 0), bytes);
    (void)ignored;
}

/* Whoever asked is told why, and the process is nobody's business any more. */
static void refuse(struct ranks *ranks, const char *why) {
    struct ranks_join *join = ranks->join;
    char text[RANKS_LINE];
    if (join->phase != JOIN_NOBODY) {
        if (join->hello && join->phase < JOIN_STARTING)
            send_refusal(ranks, why);
        for (int i = 0; i < ranks->count; i++)
            send_about(ranks, i, MESSAGE_REJECTED, join->rank, join->worker);
        snprintf(text, sizeof text, "no worker joins: %.400s", why);
        drive_notice(ranks->training, text);
    }
    join->phase = JOIN_NOBODY;
    join->hello = NULL;
    control_answer(join->control, false, why);
}

void ranks_join_end(struct ranks *ranks) {
    const struct ranks_join *join = ranks->join;
    if (!join || join->phase == JOIN_NOBODY || join->phase == JOIN_STARTING)
        return;
    int rank = join->rank;
    refuse(ranks, "the run is over");
    comm_abandon(ranks->comm, rank); /* the others do so when they hear of it, before they hear of the end */
}

/* ---- A request ---- */

/* A place that nobody has: of one that has left before one where nobody was. -1: there is none. */
static int find_place(const struct ranks *ranks) {
    const struct training *training = ranks->training;
    int fresh = -1;
    for (int i = 0; i < ranks->workers; i++) {
        if (training->engine.workers[i].activity != ENGINE_LOST)
            continue;
        if (ranks->worker_ranks[i] >= 0)
            return i;
        fresh = fresh < 0 ? i : fresh;
    }
    return fresh;
}

static int count_living(const struct ranks *ranks) {
    int count = 0;
    for (int i = 0; i < ranks->count; i++)
        count += !ranks->members[i].is_lost;
    return count;
}

/* Tells everyone who is there to admit one more. */
static enum hysgd_status call_all(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    struct message_admit *message;
    size_t bytes = sizeof *message + (size_t)join->rank;
    HYSGD_TRY(memory_alloc(bytes, 1, &message));
    *message = (struct message_admit){
        .head = {MESSAGE_ADMIT, (uint32_t)bytes}, .rank = join->rank, .root = ranks->rank, .latest = ranks->latest};
    unsigned char *takes_part = (unsigned char *)(message + 1);
    for (int i = 0; i < join->rank; i++)
        takes_part[i] = !ranks->members[i].is_lost;
    join->missing = count_living(ranks);
    for (int i = 0; i < join->rank; i++)
        ranks_send(ranks, i, message, bytes);
    memory_free(message);
    return HYSGD_OK;
}

static enum hysgd_status begin(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    const struct training *training = ranks->training;
    join->worker = find_place(ranks);
    join->rank = ranks->count;
    if (join->worker < 0) {
        refuse(ranks, "all places are taken: spare=N keeps N more free");
        return HYSGD_OK;
    }
    if (join->rank >= ranks->most) {
        refuse(ranks, "so many have joined that there is no number left for one more");
        return HYSGD_OK;
    }
    if (training->setup->computes_gradients && training->partition.join_count == PARTITION_MOST_JOINS) {
        refuse(ranks, "so many have joined that the training samples are not dealt anew any more");
        return HYSGD_OK;
    }
    join->phase = JOIN_ADMITTING;
    join->hello = NULL;
    join->until = machine_seconds() + ranks->options->patience + MOST_MEETING_SECONDS;
    return call_all(ranks);
}

/* ---- Admitting: every rank ---- */

static void has_admitted(void *self, int rank, enum hysgd_status status) {
    struct ranks *ranks = self;
    struct message_admitted message = {
        .head = {MESSAGE_ADMITTED, sizeof message}, .rank = rank, .status = (int32_t)status};
    if (status != HYSGD_OK)
        snprintf(message.why, sizeof message.why, "%.199s", hysgd_error_message());
    ranks_send(ranks, ranks->leader, &message, sizeof message);
}

static enum hysgd_status take_admission(struct ranks *ranks, const struct message_admit *message) {
    const unsigned char *takes_part = (const unsigned char *)(message + 1);
    const struct ranks_join *join = ranks->join;
    bool is_root = message->root == ranks->rank && join;
    const struct ranks_invitation invitation = {.leader = ranks->rank,
                                                .worker = join ? join->worker : -1,
                                                .ranks = ranks->first_count,
                                                .workers = ranks->workers - ranks->training->setup->spare};
    bool *all;
    HYSGD_TRY(memory_alloc((size_t)message->rank, sizeof *all, &all));
    for (int i = 0; i < message->rank; i++)
        all[i] = takes_part[i] != 0;
    const struct comm_admission admission = {.rank = message->rank,
                                             .takes_part = all,
                                             .root = message->root,
                                             .latest = message->latest,
                                             .host = is_root && join->host[0] != '\0' ? join->host : NULL,
                                             .welcome = &invitation,
                                             .bytes = sizeof invitation};
    ranks_members_expect(ranks, message->rank + 1);
    enum hysgd_status status = comm_admit(ranks->comm, &admission, has_admitted, ranks);
    memory_free(all);
    if (status != HYSGD_OK)
        has_admitted(ranks, message->rank, status);
    return HYSGD_OK;
}

/* ---- What the new rank says ---- */

static void hello_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_hello *hello = self;
    (void)completion;
    hello->bytes = bytes == COMM_TOO_LONG ? 1 : bytes; /* 1: it has come, and is too short to be a hello */
}

static enum hysgd_status await_hello(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    struct ranks_hello *hello;
    HYSGD_TRY(memory_alloc(1, sizeof *hello + MOST_HELLO + 2, &hello));
    *hello = (struct ranks_hello){.next = ranks->hellos, .rank = join->rank};
    memset(hello->content, 0, MOST_HELLO + 2);
    ranks->hellos = join->hello = hello;
    join->phase = JOIN_PREPARING;
    join->until = machine_seconds() + MOST_PREPARING_SECONDS;
    return comm_receive(ranks->comm, join->rank, ranks_tag_of(0, CHANNEL_HELLO, 0), hello->content, MOST_HELLO,
                        hello_has_come, hello);
}

static enum hysgd_status note_admitted(struct ranks *ranks, const struct message_admitted *message) {
    struct ranks_join *join = ranks->join;
    if (!join || join->phase != JOIN_ADMITTING || message->rank != join->rank)
        return HYSGD_OK;
    if (message->status != HYSGD_OK)
        refuse(ranks, message->why);
    else if (--join->missing == 0)
        return await_hello(ranks);
    return HYSGD_OK;
}

/* Where a run has come to is no reason to refuse anyone. */
static bool is_told(const char *key) {
    return strcmp(key, "start") != 0;
}

/* The first pair that differs; NULL: none does. Both texts are of pairs that end with 0, and with one more. */
static const char *find_difference(const char *own, const char *end, const char *other, const char *other_end,
                                   const char **there_out) {
    while (own < end && own[0] != '\0') {
        const char *value = own + strlen(own) + 1, *there = other;
        if (other >= other_end || strcmp(own, other) != 0) {
            *there_out = "something else";
            return own;
        }
        there += strlen(there) + 1;
        *there_out = there;
        if (is_told(own) && strcmp(value, there) != 0)
            return own;
        own = value + strlen(value) + 1;
        other = there + strlen(there) + 1;
    }
    return NULL;
}

static enum hysgd_status judge(const struct ranks *ranks, const struct ranks_hello *hello) {
    const struct ranks_options *options = ranks->options;
    const struct message_hello *message = (const void *)hello->content;
    const char *text = (const char *)(message + 1), *there = "";
    const char *host = comm_host(ranks->comm, hello->rank);
    if (hello->bytes < sizeof *message || message->bytes != hello->bytes - sizeof *message)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s is another program", hello->rank, host);
    if (message->status != HYSGD_OK)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s: %.300s", hello->rank, host, text);
    const char *key =
        find_difference(options->facts, options->facts + options->facts_bytes, text, text + message->bytes, &there);
    if (key)
        return hysgd_fail(HYSGD_FAILED, "rank %d on %s has %s=%.100s, and the run has %.100s: expected the same",
                          hello->rank, host, key, there, key + strlen(key) + 1);
    return HYSGD_OK;
}

/* ---- Welcome ---- */

static void fill_welcome(const struct ranks *ranks, struct message_welcome *welcome) {
    int32_t *server_ranks = (int32_t *)(void *)(welcome + 1), *worker_ranks = server_ranks + ranks->servers;
    unsigned char *is_lost = (unsigned char *)(worker_ranks + ranks->workers);
    welcome->status = HYSGD_OK;
    welcome->incarnation = ranks->incarnation;
    welcome->renewed_by = ranks->renewed_by;
    welcome->leader = ranks->leader;
    welcome->count = ranks->count;
    welcome->latest = ranks->latest;
    welcome->has_saved = ranks->has_saved;
    welcome->confirms = ranks->confirms;
    welcome->received = ranks->training->engine.progress.received;
    welcome->generation = ranks->generation;
    welcome->begun = ranks->begun;
    for (int i = 0; i < ranks->servers; i++)
        server_ranks[i] = ranks->server_ranks[i];
    for (int i = 0; i < ranks->workers; i++)
        worker_ranks[i] = ranks->worker_ranks[i];
    for (int i = 0; i < ranks->count; i++)
        is_lost[i] = ranks->members[i].is_lost;
}

static enum hysgd_status send_welcome(struct ranks *ranks, size_t state_bytes, size_t beginning_bytes) {
    struct ranks_parcel *parcel;
    size_t bytes = ranks_welcome_bytes(ranks);
    HYSGD_TRY(ranks_parcel_alloc(ranks, bytes, &parcel));
    struct message_welcome *welcome = (void *)parcel->content;
    memset(welcome, 0, bytes);
    fill_welcome(ranks, welcome);
    welcome->state_bytes = state_bytes;
    welcome->beginning_bytes = beginning_bytes;
    ranks_parcel_release(parcel);
    return ranks_parcel_send_as(ranks, parcel, ranks->join->rank, ranks_tag_of(0, CHANNEL_WELCOME, 0), bytes);
}

/* The state of this moment, and what goes with it. */
static enum hysgd_status send_state(struct ranks *ranks) {
    struct ranks_parcel *state, *beginning = NULL;
    int to = ranks->join->rank;
    size_t bytes, begun = ranks->beginning ? ranks_state_bytes((const void *)ranks->beginning) : 0;
    HYSGD_TRY(ranks_state_make(ranks, ranks_coordinator_now(ranks), &state, &bytes));
    enum hysgd_status status = send_welcome(ranks, bytes, begun);
    if (status == HYSGD_OK)
        status = ranks_parcel_send(ranks, state, to, CHANNEL_STATE, bytes);
    ranks_parcel_release(state);
    if (status != HYSGD_OK || begun == 0)
        return status;
    HYSGD_TRY(ranks_parcel_alloc(ranks, begun, &beginning));
    memcpy(beginning->content, ranks->beginning, begun);
    ranks_parcel_release(beginning);
    HYSGD_TRY(ranks_parcel_send(ranks, beginning, to, CHANNEL_BEGINNING, begun));
    return ranks_copies_tell(ranks, to);
}

enum hysgd_status ranks_join_learn(struct ranks *ranks, int rank, int worker) {
    if (rank < 0 || rank >= ranks->count || ranks->worker_ranks[worker] == rank)
        return HYSGD_OK;
    struct ranks_member *member = &ranks->members[rank];
    ranks->worker_ranks[worker] = rank;
    ranks->has_joined[worker] = true;
    if (rank > ranks->latest)
        ranks->latest = rank;
    if (!member->is_lost || member->loss != LOSS_NONE)
        return HYSGD_OK;
    return ranks_members_add(ranks, rank);
}

/* From here on it is a rank like the others; its worker follows once it is ready. */
static enum hysgd_status welcome(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    HYSGD_TRY(ranks_join_learn(ranks, join->rank, join->worker));
    ranks_coordinator_expect(ranks, join->worker);
    HYSGD_TRY(send_state(ranks));
    for (int i = 0; i < ranks->count; i++)
        if (i != ranks->rank && i != join->rank)
            send_about(ranks, i, MESSAGE_JOINED, join->rank, join->worker);
    join->phase = JOIN_STARTING;
    return HYSGD_OK;
}

static void take_refusal(struct ranks *ranks, const struct message_admitted *message) {
    if (message->rank < ranks->count && ranks->members[message->rank].is_lost)
        comm_abandon(ranks->comm, message->rank);
}

enum hysgd_status ranks_join_hear(struct ranks *ranks, const struct message_head *head) {
    const struct message_admitted *message = (const void *)head;
    switch ((enum message_kind)head->kind) {
    case MESSAGE_ADMIT:
        return take_admission(ranks, (const void *)head);
    case MESSAGE_ADMITTED:
        return note_admitted(ranks, message);
    case MESSAGE_REJECTED:
        take_refusal(ranks, message);
        return HYSGD_OK;
    default:
        ranks_members_expect(ranks, message->rank + 1);
        return ranks_join_learn(ranks, message->rank, message->worker);
    }
}

/* ---- The coordinator's steps ---- */

static enum hysgd_status go_on(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    bool has_ended = join->phase > JOIN_ADMITTING && comm_peer_has_died(ranks->comm, join->rank);
    if (join->phase == JOIN_STARTING) {
        if (ranks->members[join->rank].is_lost)
            refuse(ranks, "the new process was lost before its worker took part");
        return HYSGD_OK;
    }
    if (join->phase == JOIN_PREPARING && join->hello->bytes > 0) {
        if (judge(ranks, join->hello) == HYSGD_OK)
            join->phase = JOIN_READY;
        else
            refuse(ranks, hysgd_error_message());
    } else if (has_ended) {
        refuse(ranks, "the new process has ended; what it said is on the standard error of mpirun");
    } else if (machine_seconds() > join->until) {
        refuse(ranks, join->phase == JOIN_ADMITTING ? "the ranks and a new process did not meet in time"
                                                    : "the new process was not ready in time");
    }
    return join->phase == JOIN_READY && ranks_coordinator_is_quiet(ranks) ? welcome(ranks) : HYSGD_OK;
}

enum hysgd_status ranks_join_step(struct ranks *ranks) {
    struct ranks_join *join = ranks->join;
    if (!join || !join->control)
        return HYSGD_OK;
    if (join->phase != JOIN_NOBODY)
        return go_on(ranks);
    return control_hear(join->control, join->host) ? begin(ranks) : HYSGD_OK;
}

void ranks_join_note_loss(struct ranks *ranks) {
    if (ranks->join && ranks->join->phase == JOIN_ADMITTING)
        refuse(ranks, "a rank was lost meanwhile; ask again");
}

void ranks_join_is_done(struct ranks *ranks, int worker) {
    struct ranks_join *join = ranks->join;
    char text[RANKS_LINE];
    int rank = ranks->worker_ranks[worker];
    snprintf(text, sizeof text, "worker %d joins as rank %d on %s", worker, rank, comm_host(ranks->comm, rank));
    drive_notice(ranks->training, text);
    if (!join || join->phase != JOIN_STARTING || join->worker != worker)
        return;
    join->phase = JOIN_NOBODY;
    control_answer(join->control, true, text);
}
