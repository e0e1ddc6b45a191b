/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as threads of one process, with a mailbox each. One lock guards the whole group: simple to be right, and a
 * reference for what the protocol above may rely on. A message is matched by its receiver's comm_progress only. */
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "runtime/comm_local.h"
#include "runtime/comm_ops.h"

/* Messages up to this many bytes are copied when they are sent, unless a seed decides. */
#define COPY_BYTES 4096

/* A message under way, a receive that waits or a completion to be reported. */
struct item {
    struct item *next;
    struct comm_completion completion;
    size_t bytes; /* length of the message, or most that a receive takes */
    /* Of messages: */
    int from;
    void *copy;          /* the message, where it is copied; NULL: it is in the sender's memory */
    uint64_t visible_at; /* the receiver's tick */
    bool is_held;        /* was sent by a frozen rank */
};

/* A first in, first out list. */
struct queue {
    struct item *first, **end;
};

struct end {
    struct comm comm;
    struct group *group;
    struct queue letters;  /* to this rank */
    struct queue wanted;   /* its receives */
    struct queue finished; /* to be reported by its comm_progress */
    uint64_t tick;         /* calls of comm_progress */
    uint64_t last_sends;   /* until it is killed; 0: it is not to be */
    bool is_dead, is_frozen, is_closed;
    bool has_called;   /* in the admission under way, */
    bool has_admitted; /* that is over, which its comm_progress reports, */
    bool is_to_start;  /* and starts the new rank */
};

/* The admission of a rank, as far as it has come. */
struct admission {
    int rank;          /* 0: none is under way */
    int root, missing; /* who take part and have not called yet */
    bool *takes_part;  /* [size] */
    void *welcome;     /* [bytes] for the new rank */
    size_t bytes;
};

struct group {
    pthread_mutex_t lock; /* guards everything but the ends' comm */
    struct comm_local_setup setup;
    struct random random;
    int open;         /* ends */
    int size, most;   /* ranks there are, those that have left too; and may be */
    bool *is_cut;     /* [most][most] between two ranks */
    struct end *ends; /* [most] */
    struct admission admission;
};

static struct end *end_of(struct comm *comm) {
    return (struct end *)comm;
}

static void queue_init(struct queue *queue) {
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct item *item) {
    item->next = NULL;
    *queue->end = item;
    queue->end = &item->next;
}

/* Takes out the item that `place` points to. */
static struct item *queue_take(struct queue *queue, struct item **place) {
    struct item *item = *place;
    *place = item->next;
    if (queue->end == &item->next)
        queue->end = place;
    return item;
}

static void item_free(struct item *item) {
    memory_free(item->copy);
    memory_free(item);
}

static void queue_clear(struct queue *queue) {
    while (queue->first != NULL)
        item_free(queue_take(queue, &queue->first));
}

static enum hysgd_status item_alloc(const struct comm_completion *completion, size_t bytes,
                                    struct item **item_out) {
    HYSGD_TRY(memory_alloc(1, sizeof **item_out, item_out));
    (*item_out)->completion = *completion;
    (*item_out)->bytes = bytes;
    return HYSGD_OK;
}

static enum hysgd_status killed(const struct end *end) {
    return hysgd_fail(HYSGD_FAILED, "rank %d was killed", end->comm.rank);
}

static bool is_copied(struct group *group, size_t bytes) {
    if (bytes == 0)
        return false;
    return group->setup.seed == 0 ? bytes <= COPY_BYTES : random_below(&group->random, 2) == 0;
}

/* Delivers a message into the receiver's box. Lock held. */
static enum hysgd_status post(struct end *end, struct end *to, struct item *letter) {
    struct group *group = end->group;
    const struct comm_completion *completion = &letter->completion;
    letter->from = end->comm.rank;
    letter->is_held = end->is_frozen;
    letter->visible_at = to->tick;
    if (group->setup.seed != 0)
        letter->visible_at += random_below(&group->random, (uint64_t)group->setup.most_delay + 1);
    if (is_copied(group, letter->bytes)) {
        struct item *finished;
        HYSGD_TRY(item_alloc(completion, letter->bytes, &finished));
        enum hysgd_status status = memory_alloc(letter->bytes, 1, &letter->copy);
        if (status != HYSGD_OK) {
            item_free(finished);
            return status;
        }
        memcpy(letter->copy, completion->data, letter->bytes);
        queue_put(&end->finished, finished);
    }
    queue_put(&to->letters, letter);
    return HYSGD_OK;
}

static void take_back(struct group *group, int rank, bool loses);

/* Lock held. */
static void die(struct end *end) {
    if (end->is_dead)
        return;
    end->is_dead = true;
    take_back(end->group, end->comm.rank, end->group->setup.seed != 0);
}

static enum hysgd_status local_send(struct comm *comm, const struct comm_completion *completion, size_t bytes) {
    struct end *end = end_of(comm), *to = &end->group->ends[completion->from_or_to];
    struct item *letter;
    HYSGD_TRY(item_alloc(completion, bytes, &letter));
    pthread_mutex_lock(&end->group->lock);
    if (end->last_sends > 0 && --end->last_sends == 0)
        die(end);
    bool arrives = !to->is_dead && !to->is_closed;
    enum hysgd_status status = end->is_dead ? killed(end) : arrives ? post(end, to, letter) : HYSGD_OK;
    pthread_mutex_unlock(&end->group->lock);
    if (status != HYSGD_OK || !arrives)
        item_free(letter);
    return status;
}

static enum hysgd_status local_receive(struct comm *comm, const struct comm_completion *completion, size_t most) {
    struct end *end = end_of(comm);
    struct item *wanted;
    HYSGD_TRY(item_alloc(completion, most, &wanted));
    pthread_mutex_lock(&end->group->lock);
    enum hysgd_status status = end->is_dead ? killed(end) : HYSGD_OK;
    if (status == HYSGD_OK)
        queue_put(&end->wanted, wanted);
    pthread_mutex_unlock(&end->group->lock);
    if (status != HYSGD_OK)
        item_free(wanted);
    return status;
}

/* Hands a letter over: both become completions, the letter's the sender's unless that was told already. */
static void hand_over(struct end *end, struct item *letter, struct item *wanted) {
    struct end *sender = &end->group->ends[letter->from];
    bool fits = letter->bytes <= wanted->bytes;
    wanted->bytes = fits ? letter->bytes : COMM_TOO_LONG;
    if (fits && letter->bytes > 0)
        memcpy(wanted->completion.data, letter->copy != NULL ? letter->copy : letter->completion.data,
               letter->bytes);
    queue_put(&end->finished, wanted);
    if (letter->copy != NULL) {
        item_free(letter);
        return;
    }
    queue_put(&sender->finished, letter);
    comm_ring(&end->comm, sender->comm.rank);
}

/* The first message of a rank and tag, where it can be seen yet; NULL without one. */
static struct item **find_letter(struct end *end, const struct comm_completion *wanted) {
    for (struct item **place = &end->letters.first; *place != NULL; place = &(*place)->next) {
        const struct item *letter = *place;
        if (letter->from != wanted->from_or_to || letter->completion.tag != wanted->tag)
            continue;
        const struct group *group = end->group;
        bool is_held = (letter->is_held && group->ends[letter->from].is_frozen) ||
                       group->is_cut[letter->from * group->most + end->comm.rank];
        return is_held || letter->visible_at > end->tick ? NULL : place;
    }
    return NULL;
}

/* In the order of the receives, so that those of the same rank and tag are served in theirs. */
static void match(struct end *end) {
    struct item **place = &end->wanted.first;
    while (*place != NULL) {
        struct item **letter = find_letter(end, &(*place)->completion);
        if (letter == NULL)
            place = &(*place)->next;
        else
            hand_over(end, queue_take(&end->letters, letter), queue_take(&end->wanted, place));
    }
}

/* What this end has to do at the end of an admission. */
static void finish_admission(struct end *end, bool starts) {
    struct comm *comm = &end->comm;
    struct group *group = end->group;
    comm->peers[comm->admitting].host = "local";
    comm->peers[comm->admitting].is_same_host = true;
    if (starts)
        group->setup.start(group->setup.start_self, &group->ends[comm->admitting].comm);
    comm_has_admitted(comm, HYSGD_OK);
}

static enum hysgd_status local_progress(struct comm *comm) {
    struct end *end = end_of(comm);
    struct queue finished;
    queue_init(&finished);
    pthread_mutex_lock(&end->group->lock);
    bool is_dead = end->is_dead, has_admitted = false, starts = false;
    if (!is_dead && !end->is_frozen) {
        has_admitted = end->has_admitted;
        starts = end->is_to_start;
        end->has_admitted = end->is_to_start = false;
        end->tick++;
        match(end);
        while (end->finished.first != NULL)
            queue_put(&finished, queue_take(&end->finished, &end->finished.first));
    }
    pthread_mutex_unlock(&end->group->lock);
    if (is_dead)
        return killed(end);
    if (has_admitted)
        finish_admission(end, starts);
    while (finished.first != NULL) {
        struct item *item = queue_take(&finished, &finished.first);
        comm_complete(comm, &item->completion, item->bytes);
        item_free(item);
    }
    return HYSGD_OK;
}

/* What an abandoned rank still sends is not reported by comm_complete; nothing has to be done. */
static void local_abandon(struct comm *comm, int rank) {
    (void)comm;
    (void)rank;
}

static bool local_has_died(struct comm *comm, int rank) {
    struct end *end = end_of(comm);
    pthread_mutex_lock(&end->group->lock);
    const struct end *peer = &end->group->ends[rank];
    bool has_died = !end->group->setup.hides_deaths && (peer->is_dead || peer->is_closed);
    pthread_mutex_unlock(&end->group->lock);
    return has_died;
}

/* Takes a rank's messages back that are only in its memory; from `loses` on, by chance, all others too. Lock held.
 */
static void take_back(struct group *group, int rank, bool loses) {
    for (int i = 0; i < group->size; i++) {
        struct queue *letters = &group->ends[i].letters;
        bool is_cut = false;
        struct item **place = &letters->first;
        while (*place != NULL) {
            const struct item *letter = *place;
            is_cut = is_cut || (loses && letter->from == rank && random_below(&group->random, 4) == 0);
            bool is_copied_whole = letter->copy != NULL || letter->bytes == 0;
            bool is_taken = letter->from == rank && (is_cut || letter->is_held || !is_copied_whole);
            is_cut = is_cut || (is_taken && group->ends[rank].is_dead); /* no later one overtakes it */
            if (is_taken)
                item_free(queue_take(letters, place));
            else
                place = &(*place)->next;
        }
    }
}

static void group_free(struct group *group) {
    for (int i = 0; i < group->size; i++) {
        queue_clear(&group->ends[i].letters);
        queue_clear(&group->ends[i].wanted);
        queue_clear(&group->ends[i].finished);
        comm_fini(&group->ends[i].comm);
    }
    pthread_mutex_destroy(&group->lock);
    memory_free(group->admission.takes_part);
    memory_free(group->admission.welcome);
    memory_free(group->ends);
    memory_free(group->is_cut);
    memory_free(group);
}

/* Messages that are on their way out stay, as farewells do that others still have to read. */
static void local_close(struct comm *comm, bool is_clean) {
    struct end *end = end_of(comm);
    struct group *group = end->group;
    (void)is_clean;
    pthread_mutex_lock(&group->lock);
    end->is_closed = true;
    take_back(group, comm->rank, false);
    queue_clear(&end->letters);
    queue_clear(&end->wanted);
    group->open -= 1 + end->is_to_start; /* whom nobody starts any more */
    bool is_last = group->open == 0;
    pthread_mutex_unlock(&group->lock);
    if (is_last)
        group_free(group);
}

static const struct comm_ops local_ops;

static enum hysgd_status end_init(struct end *end, struct group *group, int rank, int size) {
    end->group = group;
    queue_init(&end->letters);
    queue_init(&end->wanted);
    queue_init(&end->finished);
    HYSGD_TRY(comm_init(&end->comm, &local_ops, rank, size, group->most));
    for (int i = 0; i < size; i++) {
        end->comm.peers[i].host = "local";
        end->comm.peers[i].is_same_host = true;
    }
    return HYSGD_OK;
}

/* What is hidden for some ticks is not rung for. */
static void connect_bells(struct group *group) {
    for (int i = 0; group->setup.seed == 0 && i < group->setup.size; i++)
        for (int k = 0; k < group->setup.size; k++) {
            if (k == i)
                continue;
            group->ends[i].comm.peers[k].bell = group->ends[k].comm.bell;
            bell_add_ringer(group->ends[k].comm.bell);
        }
}

/* ---- Growing ---- */

static enum hysgd_status begin_admission(struct group *group, const struct comm_admission *wanted, int size) {
    struct admission *admission = &group->admission;
    memory_free(admission->takes_part);
    *admission = (struct admission){.welcome = admission->welcome};
    HYSGD_TRY(memory_alloc((size_t)size, sizeof *admission->takes_part, &admission->takes_part));
    for (int i = 0; i < size; i++) {
        admission->takes_part[i] = wanted->takes_part[i];
        admission->missing += wanted->takes_part[i];
    }
    admission->rank = wanted->rank;
    admission->root = wanted->root;
    return HYSGD_OK;
}

static enum hysgd_status take_welcome(struct admission *admission, const struct comm_admission *wanted) {
    memory_free(admission->welcome);
    admission->welcome = NULL;
    HYSGD_TRY(memory_alloc(wanted->bytes, 1, &admission->welcome));
    memcpy(admission->welcome, wanted->welcome, wanted->bytes);
    admission->bytes = wanted->bytes;
    return HYSGD_OK;
}

/* All have called: the new end. Ranks that take no part are nobody's business there. */
static enum hysgd_status end_admission(struct group *group) {
    struct admission *admission = &group->admission;
    struct end *end = &group->ends[admission->rank];
    group->size = admission->rank + 1;
    HYSGD_TRY(end_init(end, group, admission->rank, group->size));
    end->comm.welcome = admission->welcome;
    end->comm.welcome_bytes = admission->bytes;
    admission->welcome = NULL;
    for (int i = 0; i < admission->rank; i++) {
        bool takes_part = group->ends[i].has_called;
        end->comm.peers[i].is_abandoned = !takes_part;
        group->ends[i].has_admitted = takes_part;
        group->ends[i].is_to_start = takes_part && i == admission->root;
        group->ends[i].has_called = false;
    }
    group->open++;
    admission->rank = 0;
    return HYSGD_OK;
}

/* Lock held. */
static enum hysgd_status admit(struct end *end, const struct comm_admission *wanted, int size) {
    struct group *group = end->group;
    struct admission *admission = &group->admission;
    if (end->is_dead)
        return killed(end);
    if (admission->rank != 0 && admission->rank != wanted->rank)
        return hysgd_fail(HYSGD_FAILED,
                          "rank %d cannot be admitted: the admission of rank %d has not come to its end",
                          wanted->rank, admission->rank);
    if (admission->rank == 0)
        HYSGD_TRY(begin_admission(group, wanted, size));
    if (end->comm.rank == wanted->root)
        HYSGD_TRY(take_welcome(admission, wanted));
    end->has_called = true;
    return --admission->missing == 0 ? end_admission(group) : HYSGD_OK;
}

static enum hysgd_status local_admit(struct comm *comm, const struct comm_admission *wanted) {
    struct end *end = end_of(comm);
    struct group *group = end->group;
    if (group->setup.start == NULL)
        return hysgd_fail(HYSGD_USAGE, "the group was not opened for others to join");
    pthread_mutex_lock(&group->lock);
    enum hysgd_status status = admit(end, wanted, comm->size - 1);
    pthread_mutex_unlock(&group->lock);
    return status;
}

static const struct comm_ops local_ops = {local_send,     local_receive, local_progress, local_abandon,
                                          local_has_died, local_admit,   local_close};

/* ---- The group ---- */

enum hysgd_status comm_local_open(const struct comm_local_setup *setup, struct comm **ends_out) {
    struct group *group;
    HYSGD_TRY(memory_alloc(1, sizeof *group, &group));
    group->setup = *setup;
    group->open = group->size = setup->size;
    group->most = setup->most > setup->size ? setup->most : setup->size;
    random_init(&group->random, setup->seed, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    pthread_mutex_init(&group->lock, NULL);
    size_t most = (size_t)group->most;
    enum hysgd_status status = memory_alloc(most, sizeof *group->ends, &group->ends);
    if (status == HYSGD_OK)
        status = memory_alloc(most * most, sizeof *group->is_cut, &group->is_cut);
    for (int i = 0; status == HYSGD_OK && i < setup->size; i++)
        status = end_init(&group->ends[i], group, i, setup->size);
    if (status != HYSGD_OK) {
        if (group->ends == NULL)
            group->size = 0;
        group_free(group);
        return status;
    }
    connect_bells(group);
    for (int i = 0; i < setup->size; i++)
        ends_out[i] = &group->ends[i].comm;
    return HYSGD_OK;
}

void comm_local_kill(struct comm *end, int rank) {
    struct group *group = end_of(end)->group;
    pthread_mutex_lock(&group->lock);
    die(&group->ends[rank]);
    pthread_mutex_unlock(&group->lock);
}

void comm_local_kill_at(struct comm *end, int rank, uint64_t send) {
    struct group *group = end_of(end)->group;
    pthread_mutex_lock(&group->lock);
    group->ends[rank].last_sends = send;
    pthread_mutex_unlock(&group->lock);
}

void comm_local_freeze(struct comm *end, int rank, bool is_frozen) {
    struct group *group = end_of(end)->group;
    pthread_mutex_lock(&group->lock);
    group->ends[rank].is_frozen = is_frozen;
    pthread_mutex_unlock(&group->lock);
}

void comm_local_cut(struct comm *end, int one, int other, bool is_cut) {
    struct group *group = end_of(end)->group;
    pthread_mutex_lock(&group->lock);
    group->is_cut[one * group->most + other] = is_cut;
    group->is_cut[other * group->most + one] = is_cut;
    pthread_mutex_unlock(&group->lock);
}
