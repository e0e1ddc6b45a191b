/* SPDX-License-Identifier: Apache-2.0 */
/* The mpi runtime: a rank from its beginning to its end, and the loop in which its parts take turns. See ranks.h.
 */
#include "runtime/ranks.h"

#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/control.h"
#include "runtime/list.h"
#include "runtime/ranks_hello.h"
#include "runtime/ranks_vigil.h"

/* What the calling thread asks of the scheduler: messages cost little and hold others up, which gradients that are
 * computed on the same core do not. */
#define TURN_SECONDS 100e-6

static const struct hysgd_option ranks_option_table[] = {
    {"servers", HYSGD_OPTION_INT, offsetof(struct ranks_options, servers), "0", 0, 1000000, NULL,
     "ranks, the last ones, that hold the parameters and compute nothing; 0: every rank does both"},
    {"tolerate", HYSGD_OPTION_INT, offsetof(struct ranks_options, tolerate), "0", 0, 1000000, NULL,
     "ranks that may be lost, killed or silent, before the run fails; mpirun then needs --enable-recovery"},
    {"copies", HYSGD_OPTION_INT, offsetof(struct ranks_options, copies), "100", 1, 1e15, NULL,
     "where losses are tolerated: updates from one copy of the state in the ranks' memory to the next"},
    {"patience", HYSGD_OPTION_REAL, offsetof(struct ranks_options, patience), "10", 1, 1e6, NULL,
     "seconds of silence after which a rank counts as lost; one whose process has ended on the same machine does at once"},
    {"control", HYSGD_OPTION_TEXT, offsetof(struct ranks_options, control), "", 0, 0, NULL,
     "socket that the run makes at this path, where `hysgd join` asks for one more worker; needs Open MPI and mpirun "
     "--enable-recovery"},
    {"restart", HYSGD_OPTION_BOOL, offsetof(struct ranks_options, restart), "yes", 0, 0, NULL,
     "where losses are tolerated and no copy is left: go on from the run's checkpoint, or its beginning"},
    {0},
};

/* ---- Control messages ---- */

#define CHANNEL_BITS 4
#define SERVER_BITS  12
#define MOST_SERVERS (1 << SERVER_BITS)

uint32_t ranks_tag_of(uint32_t incarnation, enum message_channel channel, int index) {
    return incarnation << (CHANNEL_BITS + SERVER_BITS) | (uint32_t)channel << SERVER_BITS | (uint32_t)index;
}

bool ranks_is_past(const struct ranks *ranks, const struct comm_completion *completion) {
    return completion->tag >> (CHANNEL_BITS + SERVER_BITS) != ranks->incarnation;
}

bool ranks_worker_is_gone(const struct ranks *ranks, int worker) {
    int rank = ranks->worker_ranks[worker];
    return rank < 0 || ranks->members[rank].is_lost;
}

uint32_t ranks_tag(const struct ranks *ranks, enum message_channel channel, int index) {
    return ranks_tag_of(ranks->incarnation, channel, index);
}

static enum hysgd_status await_message(struct ranks_inbox *inbox);

/* Ends the run without the coordinator: there is no way to tell it. */
void ranks_give_up(struct ranks *ranks, enum hysgd_status status) {
    drive_fail(ranks->training, status);
    ranks->is_ended = true;
}

static void letter_has_left(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_letter *letter = self;
    (void)completion, (void)bytes;
    letter->next = letter->ranks->letters;
    letter->ranks->letters = letter;
    const struct message_head *head = (const void *)letter->content;
    if (head->kind == MESSAGE_END)
        letter->ranks->members[letter->to].has_yet_to_take_end = false;
}

static enum hysgd_status make_letter(struct ranks *ranks, struct ranks_letter **letter_out) {
    HYSGD_TRY(memory_alloc(1, sizeof **letter_out + ranks->control_most, letter_out));
    (*letter_out)->made = ranks->made;
    ranks->made = *letter_out;
    return HYSGD_OK;
}

static enum hysgd_status take_letter(struct ranks *ranks, struct ranks_letter **letter_out) {
    struct ranks_letter *letter = ranks->letters;
    if (letter)
        ranks->letters = letter->next;
    else
        HYSGD_TRY(make_letter(ranks, &letter));
    letter->ranks = ranks;
    *letter_out = letter;
    return HYSGD_OK;
}

static enum hysgd_status send_letter(struct ranks *ranks, int to, enum message_channel channel, const void *message,
                                     size_t bytes) {
    struct ranks_letter *letter;
    if (bytes > ranks->control_most)
        return hysgd_fail(HYSGD_FAILED, "rank %d cannot say %zu bytes: there is room for %zu", ranks->rank, bytes,
                          ranks->control_most);
    HYSGD_TRY(take_letter(ranks, &letter));
    memcpy(letter->content, message, bytes);
    letter->to = to;
    if (((const struct message_head *)message)->kind == MESSAGE_END)
        ranks->members[to].has_yet_to_take_end = true;
    uint32_t tag = ranks_tag_of(channel == CHANNEL_MEMBERS ? 0 : ranks->incarnation, channel, 0);
    return comm_send(ranks->comm, to, tag, letter->content, bytes, letter_has_left, letter);
}

void ranks_send_on(struct ranks *ranks, int to, enum message_channel channel, const void *message, size_t bytes) {
    enum hysgd_status status = HYSGD_OK;
    if (to >= 0 && !ranks->members[to].is_lost)
        status = send_letter(ranks, to, channel, message, bytes);
    if (status != HYSGD_OK)
        ranks_give_up(ranks, status);
}

void ranks_send(struct ranks *ranks, int to, const void *message, size_t bytes) {
    ranks_send_on(ranks, to, CHANNEL_CONTROL, message, bytes);
}

void ranks_send_ready(struct ranks *ranks) {
    const struct message_head ready = {MESSAGE_READY, sizeof ready};
    ranks_send(ranks, ranks->leader, &ready, sizeof ready);
}

void ranks_end(struct ranks *ranks) {
    const struct training *training = ranks->training;
    struct {
        struct message_text head;
        char text[sizeof training->message];
    } message = {.head = {.head = {MESSAGE_END, sizeof message}, .status = (int32_t)training->status}};
    snprintf(message.text, sizeof message.text, "%s", training->message);
    ranks_join_end(ranks);
    ranks->has_ended_others = true;
    for (int i = 0; i < ranks->count; i++)
        ranks_send(ranks, i, &message, sizeof message);
}

void ranks_report_failure(struct ranks *ranks, enum hysgd_status status) {
    struct {
        struct message_text head;
        char text[1024];
    } message = {.head = {.head = {MESSAGE_FAILED, sizeof message}, .status = (int32_t)status}};
    if (ranks->has_failed)
        return;
    ranks->has_failed = true;
    snprintf(message.text, sizeof message.text, "%s", hysgd_error_message());
    ranks_send(ranks, ranks->leader, &message, sizeof message);
}

static void take_end(struct ranks *ranks, const struct message_text *message) {
    struct training *training = ranks->training;
    ranks->is_ended = true;
    if (ranks->coordinator)
        return;
    if (message->status != HYSGD_OK)
        drive_fail(training, hysgd_fail((enum hysgd_status)message->status, "%s", (const char *)(message + 1)));
    drive_stop(training, "ended"); /* the coordinator knows why */
}

static void take_order(struct ranks *ranks, const struct message_order *message) {
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < ranks->shard_count && status == HYSGD_OK; i++)
        status = ranks_shard_take_order(&ranks->shards[i], message);
    if (status != HYSGD_OK)
        ranks_report_failure(ranks, status);
}

static void note_status(struct ranks *ranks, enum hysgd_status status) {
    if (status != HYSGD_OK)
        ranks_report_failure(ranks, status);
}

static void hear(struct ranks *ranks, int from, const struct message_head *message) {
    switch ((enum message_kind)message->kind) {
    case MESSAGE_ORDER:
        take_order(ranks, (const void *)message);
        break;
    case MESSAGE_TOTALS:
        for (int i = 0; i < ranks->shard_count; i++)
            ranks_shard_take_totals(&ranks->shards[i], (const void *)message);
        break;
    case MESSAGE_PLAN:
        note_status(ranks, ranks_save_expect(ranks, (const void *)message));
        break;
    case MESSAGE_COPY:
        note_status(ranks, ranks_copies_expect(ranks, (const void *)message));
        break;
    case MESSAGE_SLICE_COPY:
        note_status(ranks, ranks_copies_take_in(ranks, from, (const void *)message));
        break;
    case MESSAGE_RELEASED:
        ranks_worker_released(ranks, (const void *)message);
        break;
    case MESSAGE_CANCELLED:
        ranks_worker_cancelled(ranks, ((const struct message_cancelled *)message)->is_lost);
        break;
    case MESSAGE_ORPHANED:
        if (!ranks->coordinator) /* there drive_lose sees to it */
            note_status(ranks,
                        training_orphan(ranks->training, ((const struct message_cancelled *)message)->worker));
        break;
    case MESSAGE_ADMIT:
    case MESSAGE_REJECTED:
    case MESSAGE_JOINED:
    case MESSAGE_ADMITTED:
        note_status(ranks, ranks_join_hear(ranks, message));
        break;
    case MESSAGE_ADOPTED:
        if (!ranks->coordinator) /* there drive_join sees to it */
            note_status(ranks,
                        training_adopt(ranks->training, ((const struct message_cancelled *)message)->worker));
        break;
    case MESSAGE_END:
        take_end(ranks, (const void *)message);
        break;
    default:
        if (ranks->coordinator)
            ranks_coordinator_hear(ranks, from, message);
    }
}

static void message_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_inbox *inbox = self;
    struct ranks *ranks = inbox->ranks;
    (void)bytes;
    if (ranks_is_past(ranks, completion))
        return;
    bool is_of_use =
        !ranks->has_renewal || ((const struct message_head *)(const void *)inbox->content)->kind == MESSAGE_END;
    if (is_of_use)
        hear(ranks, completion->from_or_to, (const void *)inbox->content);
    if (ranks_is_past(ranks, completion))
        return; /* what was heard has made it so */
    enum hysgd_status status = await_message(inbox);
    if (status != HYSGD_OK)
        ranks_give_up(ranks, status);
}

static enum hysgd_status await_message(struct ranks_inbox *inbox) {
    struct ranks *ranks = inbox->ranks;
    return comm_receive(ranks->comm, inbox->from, ranks_tag(ranks, CHANNEL_CONTROL, 0), inbox->content,
                        ranks->control_most, message_has_come, inbox);
}

/* ---- The loop ---- */

/* While the worker's thread computes, the core is its own; it wakes this one when it is done. */
static void rest(struct ranks *ranks) {
    const struct ranks_worker *worker = ranks->worker;
    if (worker && worker->is_computing && !ranks->has_renewal)
        comm_doze(ranks->comm);
    else
        comm_rest(ranks->comm);
}

/* A signal to this rank: it takes its leave; at the coordinator it stops the run. */
static void mind_signals(struct ranks *ranks) {
    if (ranks->coordinator || ranks->has_asked_to_leave || ranks->is_ended ||
        !atomic_load_explicit(&ranks->training->is_stopping, memory_order_relaxed))
        return;
    const struct message_cancelled message = {.head = {MESSAGE_LEAVING, sizeof message},
                                              .worker = ranks->worker ? ranks->worker->worker : -1};
    ranks->has_asked_to_leave = true;
    ranks_send(ranks, ranks->leader, &message, sizeof message);
}

static enum hysgd_status work(struct ranks *ranks, bool *has_acted) {
    *has_acted |= ranks_worker_step(ranks);
    for (int i = 0; i < ranks->shard_count; i++)
        HYSGD_TRY(ranks_shard_step(&ranks->shards[i], has_acted));
    *has_acted |= ranks_save_step(ranks);
    if (ranks->coordinator)
        HYSGD_TRY(ranks_coordinator_step(ranks, has_acted));
    mind_signals(ranks);
    return HYSGD_OK;
}

static enum hysgd_status turn(struct ranks *ranks, bool *has_acted) {
    int completed;
    HYSGD_TRY(comm_progress(ranks->comm, &completed));
    *has_acted = completed > 0;
    if (!ranks->has_renewal)
        HYSGD_TRY(work(ranks, has_acted));
    ranks_members_step(ranks);
    return HYSGD_OK;
}

static void take_turns(struct ranks *ranks) {
    machine_ask_turns(TURN_SECONDS);
    while (!ranks->is_ended) {
        bool has_acted = false;
        enum hysgd_status status = turn(ranks, &has_acted);
        if (status != HYSGD_OK)
            ranks_report_failure(ranks, status);
        else if (!has_acted)
            rest(ranks);
    }
    machine_ask_turns(0);
}

static bool has_yet_to_end(struct ranks *ranks) {
    for (int i = 0; i < ranks->count; i++) {
        const struct ranks_member *member = &ranks->members[i];
        if (i != ranks->rank && !member->is_lost && member->has_yet_to_take_end &&
            !comm_peer_has_died(ranks->comm, i))
            return true;
    }
    return false;
}

/* The end must reach everyone who is left; what others still have to say nobody wants to know. */
static void finish_sending(struct ranks *ranks) {
    enum hysgd_status status = HYSGD_OK;
    double until = machine_seconds() + ranks->options->patience;
    while (ranks->has_ended_others && status == HYSGD_OK && machine_seconds() < until && has_yet_to_end(ranks)) {
        int completed;
        status = comm_progress(ranks->comm, &completed);
        if (completed == 0)
            comm_rest(ranks->comm);
    }
}

/* ---- Beginning and end of a rank ---- */

static void cut_slices(struct ranks *ranks) {
    size_t count = ranks->training->server.count;
    for (int i = 0; i < ranks->servers; i++)
        ranks->slices[i] = (struct ranks_slice){server_slice_first(count, ranks->servers, i),
                                                server_slice_first(count, ranks->servers, i + 1)};
}

static bool is_one_host(const struct ranks *ranks) {
    for (int i = 0; i < ranks->count; i++)
        if (!comm_is_same_host(ranks->comm, i))
            return false;
    return true;
}

static int count_at_beginning(const struct ranks *ranks) {
    const struct ranks_invitation *invitation = ranks_newcomer_invitation(ranks->options);
    return invitation ? invitation->ranks : ranks->count;
}

/* Bytes of the longest control message, or message of membership. */
static size_t most_bytes(const struct ranks *ranks) {
    size_t per_worker = sizeof(struct engine_part) + sizeof(struct server_row) + sizeof(int32_t) + sizeof(double);
    size_t per_rank = sizeof(int32_t) + 1;
    return 2048 + (size_t)ranks->workers * per_worker + (size_t)ranks->most * per_rank +
           (1 + (size_t)ranks->training->shares.classes) * sizeof(double);
}

static enum hysgd_status place(struct ranks *ranks) {
    const struct training *training = ranks->training;
    int dedicated = (int)ranks->options->servers;
    ranks->rank = comm_rank(ranks->comm);
    ranks->count = comm_size(ranks->comm);
    ranks->most = comm_most(ranks->comm);
    ranks->latest = -1;
    ranks->workers = training->setup->workers;
    int begun = ranks->first_count = count_at_beginning(ranks);
    size_t shards = (training->server.count + SERVER_SHARD - 1) / SERVER_SHARD;
    ranks->servers = dedicated > 0 ? dedicated : begun;
    if (ranks->servers > MOST_SERVERS)
        ranks->servers = MOST_SERVERS;
    if ((size_t)ranks->servers > shards)
        ranks->servers = (int)shards;
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *ranks->worker_ranks, &ranks->worker_ranks));
    HYSGD_TRY(memory_alloc((size_t)ranks->workers, sizeof *ranks->has_joined, &ranks->has_joined));
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *ranks->server_ranks, &ranks->server_ranks));
    HYSGD_TRY(memory_alloc((size_t)ranks->servers, sizeof *ranks->slices, &ranks->slices));
    for (int i = 0; i < ranks->workers; i++)
        ranks->worker_ranks[i] = i < begun - dedicated ? i : -1;
    for (int i = 0; i < ranks->servers; i++)
        ranks->server_ranks[i] = dedicated > 0 ? begun - dedicated + i : i;
    cut_slices(ranks);
    ranks->control_most = most_bytes(ranks); /* before anybody is heard, as answers are such messages */
    ranks->confirms = ranks->options->tolerate > 0 || !is_one_host(ranks);
    return HYSGD_OK;
}

enum hysgd_status ranks_open_inboxes(struct ranks *ranks) {
    HYSGD_TRY(memory_alloc((size_t)ranks->most, sizeof *ranks->inboxes, &ranks->inboxes));
    for (int i = 0; i < ranks->count; i++)
        if (!ranks->members[i].is_lost)
            HYSGD_TRY(ranks_open_inbox(ranks, i));
    return HYSGD_OK;
}

enum hysgd_status ranks_open_inbox(struct ranks *ranks, int rank) {
    struct ranks_inbox *inbox = &ranks->inboxes[rank];
    *inbox = (struct ranks_inbox){.ranks = ranks, .from = rank};
    HYSGD_TRY(memory_alloc(ranks->control_most, 1, &inbox->content));
    return await_message(inbox);
}

enum hysgd_status ranks_start_shards(struct ranks *ranks) {
    int hosted = 0;
    for (int i = 0; i < ranks->servers; i++)
        hosted += ranks->server_ranks[i] == ranks->rank;
    HYSGD_TRY(memory_alloc((size_t)hosted, sizeof *ranks->shards, &ranks->shards));
    for (int i = 0; i < ranks->servers; i++)
        if (ranks->server_ranks[i] == ranks->rank)
            HYSGD_TRY(ranks_shard_init(ranks, &ranks->shards[ranks->shard_count++], i));
    return HYSGD_OK;
}

enum hysgd_status ranks_read_slices(struct ranks *ranks, const char *path) {
    struct snapshot_slice *slices;
    HYSGD_TRY(memory_alloc((size_t)ranks->shard_count, sizeof *slices, &slices));
    for (int i = 0; i < ranks->shard_count; i++)
        slices[i] = (struct snapshot_slice){&ranks->shards[i].server, ranks->shards[i].slice.first};
    enum hysgd_status status = snapshot_read_slices(ranks->training, path, slices, ranks->shard_count);
    memory_free(slices);
    return status;
}

static enum hysgd_status start_parts(struct ranks *ranks) {
    const struct timing *timing = ranks->training->setup->timing;
    for (int i = 0; i < ranks->workers; i++)
        ranks->fastest = timing->speeds[i] > ranks->fastest ? timing->speeds[i] : ranks->fastest;
    HYSGD_TRY(ranks_start_shards(ranks));
    if (ranks->training->resumed && !ranks_newcomer_invitation(ranks->options))
        HYSGD_TRY(ranks_read_slices(ranks, ranks->training->setup->resume_path));
    if (ranks->options->tolerate > 0 && !ranks->beginning)
        HYSGD_TRY(ranks_copies_begin(ranks));
    HYSGD_TRY(ranks_aside_start(ranks));
    if (ranks->rank == ranks->leader) {
        HYSGD_TRY(ranks_coordinator_start(ranks));
        HYSGD_TRY(ranks_join_open(ranks, ranks->options->door));
    }
    for (int i = 0; i < ranks->workers; i++)
        if (ranks->worker_ranks[i] == ranks->rank)
            HYSGD_TRY(ranks_worker_start(ranks, i));
    return HYSGD_OK;
}

static enum hysgd_status start(struct ranks *ranks) {
    pthread_mutex_init(&ranks->lock, NULL);
    ranks->clock = ranks->training->start_seconds - machine_seconds();
    HYSGD_TRY(place(ranks));
    HYSGD_TRY(ranks_members_start(ranks));
    if (ranks_newcomer_invitation(ranks->options))
        HYSGD_TRY(ranks_newcomer_begin(ranks));
    HYSGD_TRY(ranks_open_inboxes(ranks));
    HYSGD_TRY(start_parts(ranks));
    if (!ranks->worker) /* else once its workspace is open */
        ranks_send_ready(ranks);
    return HYSGD_OK;
}

static void stop(struct ranks *ranks) {
    ranks_worker_stop(ranks);
    ranks_aside_stop(&ranks->aside);
}

/* After the group is left, so that nobody writes to this memory any more. */
static void fini(struct ranks *ranks) {
    for (int i = 0; i < ranks->shard_count; i++)
        ranks_shard_fini(&ranks->shards[i]);
    ranks_worker_free(ranks);
    ranks_coordinator_free(ranks->coordinator);
    ranks_forget_past(ranks);
    ranks_copies_fini(ranks);
    ranks_parcels_free(ranks);
    for (struct ranks_letter *letter = ranks->made, *next; letter; letter = next) {
        next = letter->made;
        memory_free(letter);
    }
    for (int i = 0; ranks->inboxes && i < ranks->count; i++)
        memory_free(ranks->inboxes[i].content);
    ranks_members_fini(ranks);
    ranks_save_fini(ranks);
    memory_free(ranks->inboxes);
    memory_free(ranks->shards);
    memory_free(ranks->worker_ranks);
    memory_free(ranks->server_ranks);
    memory_free(ranks->has_joined);
    ranks_hellos_free(ranks);
    memory_free(ranks->slices);
    pthread_mutex_destroy(&ranks->lock);
}

static enum hysgd_status check_place(const struct ranks_options *options, const struct comm *comm,
                                     const struct training *training) {
    int64_t ranks = comm_size(comm);
    int workers = training->setup->workers - training->setup->spare;
    if (ranks_newcomer_invitation(options))
        return HYSGD_OK;
    if (training->resumed ? options->servers < ranks : workers + options->servers == ranks)
        return HYSGD_OK;
    return hysgd_fail(
        HYSGD_USAGE,
        "runtime mpi: %lld ranks cannot be %d workers and %lld dedicated servers: expected as many ranks",
        (long long)ranks, workers, (long long)options->servers);
}

/* Who holds the end up is named. */
static void leave(struct ranks *ranks) {
    bool all_are_alive = ranks->lost_count == 0;
    int awaited = all_are_alive ? comm_leave(ranks->comm, ranks->options->patience) : -1;
    char text[RANKS_LINE];
    if (awaited >= 0 && ranks->coordinator) {
        snprintf(text, sizeof text, "rank %d on %s has not ended: it is waited for, for two minutes at most",
                 awaited, comm_host(ranks->comm, awaited));
        drive_notice(ranks->training, text);
    }
    comm_close(ranks->comm, all_are_alive);
}

static enum hysgd_status ranks_run(void *self, struct training *training, double *seconds_out) {
    struct ranks_options *options = self;
    struct ranks ranks = {.training = training, .options = options, .comm = options->comm, .renewed_by = -1};
    training->drainer = pthread_self();
    *seconds_out = training->start_seconds;
    ranks_vigil_stop(options->vigil);
    if (!ranks.comm)
        HYSGD_TRY(comm_open(ranks_may_grow(options), &ranks.comm));
    enum hysgd_status status = check_place(options, ranks.comm, training);
    if (status == HYSGD_OK)
        status = start(&ranks);
    if (status == HYSGD_OK)
        take_turns(&ranks);
    else
        drive_fail(training, status);
    if (!ranks.join)
        control_close(options->door);
    ranks_join_close(&ranks);
    finish_sending(&ranks);
    stop(&ranks);
    if (ranks.coordinator) {
        *seconds_out = ranks_coordinator_seconds(&ranks);
        drive_drain(training, *seconds_out);
    }
    leave(&ranks);
    ranks_vigil_close(options->vigil);
    options->reports = ranks.rank == ranks.leader;
    options->comm = NULL;
    options->vigil = NULL;
    memory_free(options->facts);
    options->facts = NULL;
    options->door = NULL;
    fini(&ranks);
    return drive_finish(training);
}

static enum hysgd_status ranks_enter(void *self) {
    return ranks_newcomer_enter(self);
}

static void ranks_place(const void *self, struct runtime_place *place) {
    const struct ranks_options *options = self;
    const struct ranks_invitation *invitation = ranks_newcomer_invitation(options);
    if (invitation) {
        *place = (struct runtime_place){.rank = comm_rank(options->comm),
                                        .ranks = invitation->ranks,
                                        .workers = invitation->workers,
                                        .worker = invitation->worker};
        return;
    }
    *place = (struct runtime_place){.rank = 0, .ranks = 1};
    if (options->comm)
        *place = (struct runtime_place){.rank = comm_rank(options->comm), .ranks = comm_size(options->comm)};
    else
        comm_is_launched(&place->rank, &place->ranks);
    place->reports = place->rank == 0 || options->reports;
    place->workers = place->ranks - (int)options->servers;
    place->worker = place->rank < place->workers ? place->rank : -1;
}

const struct runtime_ops runtime_mpi = {
    .about = {"mpi", NULL, "ranks on one machine or many, started by mpirun or srun", NULL,
              sizeof(struct ranks_options), ranks_option_table},
    .enter = ranks_enter,
    .place = ranks_place,
    .agree = ranks_agree,
    .run = ranks_run,
};
