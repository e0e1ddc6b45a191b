/* SPDX-License-Identifier: Apache-2.0 */
/* The mpi runtime inside. A run is spread over ranks: each computes gradients (ranks_worker.c), holds slices of the
 * parameters (ranks_shard.c), or both; one of them, the coordinator, decides (ranks_coordinator.c). The calling
 * thread of a rank owns its messages and does the arithmetic of its slices in between; one thread computes
 * gradients, and one evaluates. Messages: ranks_message.h. */
#ifndef HYSGD_RUNTIME_RANKS_H
#define HYSGD_RUNTIME_RANKS_H

#include <pthread.h>

#include "runtime/comm.h"
#include "runtime/drive.h"
#include "runtime/ranks_clock.h"
#include "runtime/ranks_message.h"
#include "runtime/snapshot_shared.h"

/* The options of the runtime. */
struct ranks_options {
    int64_t servers;           /* ranks that hold parameters and compute no gradients; 0: every rank does both */
    int64_t tolerate;          /* ranks that may be lost */
    int64_t copies;            /* updates from one generation of copies to the next */
    double patience;           /* seconds of silence, after which a rank is lost */
    char *control;             /* where `hysgd join` asks; "": nobody can */
    bool restart;              /* without copies to go back to: go back to the checkpoint, or to the beginning */
    struct comm *comm;         /* from the first agreement to the end of the run; tests bring their own */
    struct ranks_vigil *vigil; /* likewise; it rests while the run goes on */
    bool has_compared;         /* what the ranks are about to run */
    bool reports;              /* in the place of rank 0, which is lost */
    struct control *door;      /* of rank 0, until the run begins */
    char *facts;               /* that, as it is compared with ranks that join; [facts_bytes] */
    size_t facts_bytes;
};

/* Whether others may join the run. */
static inline bool ranks_may_grow(const struct ranks_options *options) {
    return options->control && options->control[0];
}

/* Elements [first, end) of the flat vector, in whole shards. */
struct ranks_slice {
    size_t first, end;
};

/* A message to another rank that is under way; from a pool. */
struct ranks_letter {
    struct ranks *ranks;
    struct ranks_letter *next; /* in the pool */
    struct ranks_letter *made; /* the one made before it */
    int to;
    unsigned char content[];
};

/* Where the control messages of one rank come in. */
struct ranks_inbox {
    struct ranks *ranks;
    int from;
    unsigned char *content; /* [control_most] */
};

/* What is known of a rank. */
struct ranks_member {
    struct ranks_inbox inbox;
    double heard;           /* the latest sign of life, on the machine's clock */
    double asked, asked_at; /* it asks for the time, with its own, at this of the own clock; 0: it does not */
    bool is_compared;       /* the following are known, at the leader only: */
    double offset, error;   /* the own clock less that of the rank, as that tells */
    bool is_noted;          /* in the log: these, at that moment */
    double noted_offset, noted_error, noted;
    bool has_yet_to_take_end; /* the message that the run is over has not left */
    int heard_leader;         /* whom it heard lead, or would have lead next, as it said lately; -1: nobody */
    bool is_lost;
    bool is_settled; /* the coordinator has drawn the consequences */
    enum ranks_loss loss;
};

/* How the run goes on after a loss: decided by who leads then. */
struct ranks_renewal {
    uint32_t incarnation;
    enum ranks_source source;
    uint64_t generation; /* of copies, where those are the source; else 0 */
    int32_t *hosts;      /* [servers] ranks */
};

/* Work that must not hold the messages up, by a thread of its own: at most one piece at a time. */
struct ranks_aside {
    struct ranks *ranks;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_started, is_ending;
    enum hysgd_status (*work)(void *self); /* to be done; NULL: none */
    void *self;
    bool is_done; /* `status` and `message` are of the latest work, which nobody has taken note of */
    enum hysgd_status status;
    char message[1024];
};

/* Generations whose copies are kept: the one being made, and the two before it. */
#define RANKS_COPIES 3

struct ranks_copy {
    struct ranks *ranks;
    struct ranks_copy *older; /* of those that are out of use, but messages are still to come or to leave */
    uint64_t generation;
    bool has_plan;
    unsigned char *plan; /* struct ranks_state */
    float **packed; /* [servers] slices of servers of this rank, and of those that it would inherit; else NULL */
    float *own;     /* what the worker of this rank keeps; NULL: nothing */
    int under_way;  /* messages that are being sent or received */
};

/* Something long that is sent to several ranks, and stays until it has left for all of them. */
struct ranks_parcel {
    struct ranks_parcel *older;
    int under_way;
    bool is_held; /* by who made it */
    _Alignas(16) unsigned char content[];
};

/* Memory of an earlier incarnation: of its worker, of its checkpoint, of what it was when it ended, and any that is
 * put aside by itself. */
enum ranks_past_memory {
    PAST_VECTOR,
    PAST_GRADIENT,
    PAST_ENCODED,
    PAST_PLACES,
    PAST_PLAN,
    PAST_RECEIVED,
    PAST_HOSTS,
    PAST_OTHER,
    PAST_COUNT
};

/* What an earlier incarnation, or worker, has left: messages that nobody waits for any more may still be written
 * there. */
struct ranks_past {
    struct ranks_past *next;
    struct ranks_shard *shards;
    int shard_count;
    struct ranks_coordinator *coordinator;
    struct ranks_inbox *inboxes;
    void *memory[PAST_COUNT];
};

/* The checkpoint that a rank writes its part of. */
struct ranks_save {
    bool is_expected; /* the coordinator has announced it */
    bool has_plan;
    unsigned char *plan;        /* struct ranks_plan */
    uint64_t delivered;         /* gradients of this rank's worker, then */
    struct snapshot_part *part; /* being written; NULL: it is not time yet */
};

/* The gradient computing of a rank. The thread has it to itself while `is_computing`. */
struct ranks_worker {
    struct ranks *ranks;
    int worker;
    pthread_t thread;
    bool is_started;
    pthread_cond_t wake; /* of the thread; with the rank's lock */
    bool is_ending;      /* the thread is to end */
    bool is_lost;        /* it takes no part any more */
    bool is_idle;        /* the thread waits */
    bool is_open;        /* its workspace is there; set by the thread */
    bool is_announced;   /* and the coordinator knows it */
    bool is_computing;   /* from its start to the note that it is done; the following two are then the thread's */
    bool is_done;        /* set by the thread */
    enum hysgd_status status;
    char message[1024];
    float *vector, *gradient; /* [count] */
    unsigned char *encoded;   /* what travels, where that is not the gradient itself, */
    size_t *places;           /* [servers] the slice for each at this offset */
    int awaited;              /* slices of the parameters that have not come yet */
    int pushing;              /* slices of the gradient that have not left yet */
    bool is_released;
    struct message_released release;
    atomic_bool is_cancelled;
    double begun, gives_up;                  /* on the machine's clock; INFINITY: never */
    double compute_seconds, transit_seconds; /* of the gradient that is done; injected slowness included */
    bool has_given_up;
    uint64_t delivered; /* gradients, those of an earlier process too */
};

/* An order that a shard has not carried out yet. */
struct ranks_order {
    struct ranks_order *next;
    size_t bytes;
    _Alignas(16) unsigned char content[];
};

/* One slice of the parameters, of server `number`. */
struct ranks_shard {
    struct ranks *ranks;
    int number;
    struct ranks_slice slice;
    struct hysgd_model_layout layout; /* of the slice; without tensors */
    struct server server;
    int *sources;     /* [workers] the ranks that their gradients come from */
    bool *has_part;   /* [workers] the worker's gradient is here and not yet used */
    bool *drops_next; /* [workers] the gradient that comes next is of no use */
    unsigned char *
        *encoded; /* [workers] where they come in, unless that is the server's buffer; NULL: not needed */
    struct ranks_order *first, *last; /* orders, the oldest first */
    bool is_working;                  /* on the vectors, for the first of them */
    bool has_told;                    /* what a pass has found; the totals have not come yet */
    bool is_saving;                   /* nothing changes until its part of a checkpoint is written */
    bool is_telling;                  /* what the probe has found is on its way */
    double begun;                     /* on the machine's clock */
    uint64_t bad_version;             /* an update that was not finite led to it; 0: none did */
    int bad_worker;                   /* whose gradient that was; -1: not known */
    double service_seconds;           /* of updates, since the latest report */
    uint64_t updates, done;           /* updates in that time; number of the latest order carried out */
    uint64_t reported;                /* `done` then */
    int evaluated;                    /* the version on its way to the coordinator */
    double reported_at;
};

struct ranks_coordinator; /* ranks_coordinator.c */

struct ranks {
    struct training *training;
    const struct ranks_options *options;
    struct comm *comm;
    int rank, count, leader; /* leader: the coordinator's rank */
    int first_count;         /* count, when the run began */
    int most;                /* that it can become: ranks may join */
    int latest;              /* that has joined lately; -1: none has */
    int workers, servers;
    int *worker_ranks, *server_ranks;        /* [workers], -1: there is no rank for it any more; [servers] */
    struct ranks_slice *slices;              /* [servers] */
    uint32_t incarnation;                    /* begun anew so many times, after a loss, */
    int renewed_by;                          /* lately by this leader; -1: not yet */
    uint64_t generation;                     /* of copies of the state that all ranks have; 0: none */
    bool *has_joined;                        /* [workers] on the rank that it has now */
    struct ranks_member *members;            /* [most] */
    struct message_members *members_message; /* the one being sent */
    int lost_count, latest_lost;
    uint64_t received;            /* gradients, as far as this rank knows */
    bool has_saved;               /* this run's checkpoint is there */
    bool has_ended_others;        /* this rank has told them that the run is over */
    bool confirms;                /* a delivery counts once all servers have it, not already when it is announced */
    bool has_lost;                /* since the coordinator has decided about it */
    double beaten, looked;        /* when the latest sign of life was sent, and looked for */
    double overslept;             /* when this rank had been stopped itself for too long; 0: never */
    double woken;                 /* this rank had been stopped until then; 0: not so far */
    double doubted;               /* since then the others are asked whether they hear the leader; 0: it is heard */
    bool has_yielded;             /* another was told that this rank does not hear it either */
    bool has_renewal;             /* this rank is about to go on anew, */
    struct ranks_renewal renewal; /* in this way, once it has nothing under way */
    struct ranks_clock leaders;   /* of the leader `asked`, */
    int asked, questions;         /* so many times since the latest beat */
    size_t control_most;          /* bytes of a control message */
    struct ranks_inbox *inboxes;  /* [most] */
    struct ranks_join *join;      /* of those who ask to join; NULL: nobody can, or elsewhere */
    struct ranks_hello *hellos;   /* of those who came */
    struct ranks_letter *letters; /* pool */
    struct ranks_letter *made;    /* all there are, those under way too */
    struct ranks_parcel *parcels;
    struct ranks_shard *shards; /* [shard_count] hosted here */
    int shard_count;
    struct ranks_worker *worker;           /* NULL: none here */
    struct ranks_coordinator *coordinator; /* NULL: elsewhere */
    struct ranks_save save;
    struct ranks_copy *copies[RANKS_COPIES], *old_copies;
    unsigned char *beginning; /* struct ranks_state before the first update; NULL where no loss is tolerated */
    double begun;             /* of it, on the run's clock */
    struct ranks_past *past;
    double clock; /* seconds of the run's clock beyond those of the machine's */
    struct ranks_aside aside;
    pthread_mutex_t lock; /* of what the worker's thread shares with the calling one */
    bool is_ended;        /* the coordinator says so */
    bool has_asked_to_leave;
    bool has_failed; /* and has told the coordinator */
    double fastest;  /* the largest relative speed of a worker */
};

/* ---- ranks.c: what the parts of a rank share ---- */

uint32_t ranks_tag(const struct ranks *ranks, enum message_channel channel, int index);

uint32_t ranks_tag_of(uint32_t incarnation, enum message_channel channel, int index);

/* Ends this rank's part of the run, with the calling thread's message, without the coordinator. */
void ranks_give_up(struct ranks *ranks, enum hysgd_status status);

void ranks_send_on(struct ranks *ranks, int to, enum message_channel channel, const void *message, size_t bytes);

/* Whether nobody computes for a worker. */
bool ranks_worker_is_gone(const struct ranks *ranks, int worker);

/* Whether a request is of an earlier incarnation: then what it is about is gone. */
bool ranks_is_past(const struct ranks *ranks, const struct comm_completion *completion);

/* Sends a copy of a control message. A failure ends the run. */
void ranks_send(struct ranks *ranks, int to, const void *message, size_t bytes);

/* This rank can begin. */
void ranks_send_ready(struct ranks *ranks);

/* The run is over: tells everyone, with its status. */
void ranks_end(struct ranks *ranks);

/* Keeps memory until the end, since messages may still be written there. HYSGD_MEMORY: it is kept nonetheless. */
HYSGD_MUST_CHECK enum hysgd_status ranks_put_aside(struct ranks *ranks, void *memory);

/* What went wrong here, with the calling thread's message, to the coordinator. */
void ranks_report_failure(struct ranks *ranks, enum hysgd_status status);

/* Receives control messages of the present incarnation, from all ranks. */
HYSGD_MUST_CHECK enum hysgd_status ranks_open_inboxes(struct ranks *ranks);

/* Likewise from one that joins. */
HYSGD_MUST_CHECK enum hysgd_status ranks_open_inbox(struct ranks *ranks, int rank);

/* The servers that this rank hosts. */
HYSGD_MUST_CHECK enum hysgd_status ranks_start_shards(struct ranks *ranks);

/* Their slices, out of a checkpoint. */
HYSGD_MUST_CHECK enum hysgd_status ranks_read_slices(struct ranks *ranks, const char *path);

/* ---- ranks_parcel.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_parcel_alloc(struct ranks *ranks, size_t bytes,
                                                      struct ranks_parcel **parcel_out);
HYSGD_MUST_CHECK enum hysgd_status ranks_parcel_send(struct ranks *ranks, struct ranks_parcel *parcel, int to,
                                                     enum message_channel channel, size_t bytes);

/* The same with any tag, also to a rank that does not take part yet. */
HYSGD_MUST_CHECK enum hysgd_status ranks_parcel_send_as(struct ranks *ranks, struct ranks_parcel *parcel, int to,
                                                        uint32_t tag, size_t bytes);

/* Its maker needs it no more; NULL is allowed. */
void ranks_parcel_release(struct ranks_parcel *parcel);
void ranks_parcels_free(struct ranks *ranks);

/* ---- ranks_aside.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_aside_start(struct ranks *ranks);
void ranks_aside_stop(struct ranks_aside *aside);

/* Gives the aside thread work; it must be idle. */
void ranks_set_aside(struct ranks *ranks, enum hysgd_status (*work)(void *), void *self);

/* Whether the work is done, which is then taken note of: its status, with its message. */
bool ranks_aside_is_done(struct ranks *ranks, enum hysgd_status *status_out);

/* Whether there is none that is not done. */
bool ranks_aside_is_idle(struct ranks *ranks);

/* Waits for it instead; done at once where there is none. */
void ranks_aside_wait(struct ranks *ranks, enum hysgd_status *status_out);

/* ---- ranks_members.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_members_start(struct ranks *ranks);
void ranks_members_fini(struct ranks *ranks);

/* There may be so many ranks from now on; those that are new are not there yet. */
void ranks_members_expect(struct ranks *ranks, int count);

/* A rank that was not there takes part. */
HYSGD_MUST_CHECK enum hysgd_status ranks_members_add(struct ranks *ranks, int rank);

/* Gives signs of life, finds out who gives none, and goes on anew after a loss. Ends the run where that cannot be.
 */
void ranks_members_step(struct ranks *ranks);

/* Gives a sign of life to all at once, because it tells of a new generation. */
void ranks_members_tell(struct ranks *ranks);

/* ---- ranks_clocks.c ---- */

/* A time of the own clock on the leader's; NaN: not known yet. */
double ranks_leader_time(const struct ranks *ranks, double seconds);

/* Adds to a sign of life what it tells of clocks. */
void ranks_clocks_tell(struct ranks *ranks, int to, struct message_members *message);

/* Takes that in; true: the sender is to get a sign of life at once. */
bool ranks_clocks_hear(struct ranks *ranks, int from, const struct message_members *message);

/* ---- ranks_worker.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_worker_start(struct ranks *ranks, int worker);
void ranks_worker_stop(struct ranks *ranks); /* the thread */
void ranks_worker_free(struct ranks *ranks); /* the rest, once no message can come any more */

/* Whether the thread computes nothing; also where there is none. */
bool ranks_worker_is_idle(struct ranks *ranks);

/* Waits until the thread is idle, and forgets what it has done. */
void ranks_worker_interrupt(struct ranks *ranks);

/* Begins anew with other buffers; the old ones go to the past. */
HYSGD_MUST_CHECK enum hysgd_status ranks_worker_renew(struct ranks *ranks, struct ranks_past *past);

/* Sends what the thread has finished, and lets it begin what it may. Returns whether anything happened. */
bool ranks_worker_step(struct ranks *ranks);
/* Gradients of a worker that the coordinator's engine has received. */
uint64_t ranks_worker_received(const struct ranks *ranks, int worker);

void ranks_worker_released(struct ranks *ranks, const struct message_released *message);
void ranks_worker_cancelled(struct ranks *ranks, bool is_lost);

/* ---- ranks_shard.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_shard_init(struct ranks *ranks, struct ranks_shard *shard, int number);
void ranks_shard_fini(struct ranks_shard *shard);
HYSGD_MUST_CHECK enum hysgd_status ranks_shard_take_order(struct ranks_shard *shard,
                                                          const struct message_order *message);
void ranks_shard_take_totals(struct ranks_shard *shard, const struct message_totals *message);
HYSGD_MUST_CHECK enum hysgd_status ranks_shard_step(struct ranks_shard *shard, bool *has_acted_out);

/* ---- ranks_save.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_save_expect(struct ranks *ranks, const struct message_plan *message);
bool ranks_save_step(struct ranks *ranks);
void ranks_save_fini(struct ranks *ranks);

/* ---- ranks_notice.c ---- */

/* Room for a line of text about ranks. */
#define RANKS_LINE 512

/* Who is lost and how that is known, as "rank 1 on HOST has ended". */
void ranks_describe_loss(const struct ranks *ranks, int rank, char *text, size_t size);

/* The coordinator tells that a worker is lost, or leaves, before the engine hears of it. */
void ranks_tell_lost_worker(struct ranks *ranks, int worker);

/* A rank without a worker was told to end, and does not. */
void ranks_tell_staying(struct ranks *ranks, int rank);

/* Who led, and the ranks of the servers, before the run went back. */
struct ranks_former {
    int leader;
    int *hosts; /* [servers] */
};

/* Likewise of each rank that was lost with servers, or as the coordinator: a line for each, the last of which tells
 * what was gone back to. Once the record is this rank's, or nobody hears it. */
void ranks_tell_return(const struct ranks *ranks, const struct ranks_former *former, uint64_t undone);

/* ---- ranks_join.c: ranks that join ---- */

/* By whoever leads: workers may join from here on. `door`: of the run, from here on its own; NULL: it is made in
 * the place of another one's. */
HYSGD_MUST_CHECK enum hysgd_status ranks_join_open(struct ranks *ranks, struct control *door);
void ranks_join_close(struct ranks *ranks);

/* The run is over: whoever is about to join is refused, by all, so that nobody waits for that process. */
void ranks_join_end(struct ranks *ranks);

/* By the coordinator while the run goes on: hears requests, and goes on with the one that it has heard. */
HYSGD_MUST_CHECK enum hysgd_status ranks_join_step(struct ranks *ranks);

/* Messages of joining; the coordinator is the only one that is told MESSAGE_ADMITTED. */
HYSGD_MUST_CHECK enum hysgd_status ranks_join_hear(struct ranks *ranks, const struct message_head *message);

/* A rank has a worker, as the coordinator tells; nothing new where that is known. */
HYSGD_MUST_CHECK enum hysgd_status ranks_join_learn(struct ranks *ranks, int rank, int worker);

/* A rank was lost: who was being admitted cannot be any more. */
void ranks_join_note_loss(struct ranks *ranks);

/* A worker that has joined takes part. */
void ranks_join_is_done(struct ranks *ranks, int worker);

/* At the end, once no message can come any more. */
void ranks_hellos_free(struct ranks *ranks);

/* ---- ranks_newcomer.c: a rank that joins, itself ---- */

/* Whether this process was started by a run that goes on. Opens its group. */
HYSGD_MUST_CHECK enum hysgd_status ranks_newcomer_enter(struct ranks_options *options);

/* What the run has told; NULL: this rank was there from the beginning. */
const struct ranks_invitation *ranks_newcomer_invitation(const struct ranks_options *options);

/* In the place of the agreement of those who begin together. */
HYSGD_MUST_CHECK enum hysgd_status ranks_newcomer_agree(struct ranks_options *options, enum hysgd_status status);

/* Says what it is about to run, waits for the answer, and takes the place and the state that it is given; after the
 * arrays have been made. Blocks. */
HYSGD_MUST_CHECK enum hysgd_status ranks_newcomer_begin(struct ranks *ranks);

/* ---- ranks_recovery.c ---- */

/* Finds what all can go back to; `hosts` is filled in. HYSGD_FAILED: there is nothing. */
HYSGD_MUST_CHECK enum hysgd_status ranks_plan_renewal(struct ranks *ranks, struct ranks_renewal *renewal);

/* Goes on as a later incarnation. */
HYSGD_MUST_CHECK enum hysgd_status ranks_renew(struct ranks *ranks, const struct ranks_renewal *renewal);

/* At the end, once no message can come any more. */
void ranks_forget_past(struct ranks *ranks);

/* ---- ranks_copies.c ---- */

struct ranks_copy *ranks_copy_of(struct ranks *ranks, uint64_t generation);
/* To a rank that has joined: what all have that is gone back to. */
HYSGD_MUST_CHECK enum hysgd_status ranks_copies_tell(struct ranks *ranks, int to);
HYSGD_MUST_CHECK enum hysgd_status ranks_copies_expect(struct ranks *ranks, const struct message_copy *message);
HYSGD_MUST_CHECK enum hysgd_status ranks_copies_take_in(struct ranks *ranks, int from,
                                                        const struct message_copy *message);

/* Whether the state at the place of a generation is known here; then a shard that has come there can be copied. */
bool ranks_copies_may_take(struct ranks *ranks, uint64_t generation);
HYSGD_MUST_CHECK enum hysgd_status ranks_copies_take(struct ranks_shard *shard, uint64_t generation);

/* Keeps the state that the run begins with, to which it may go back. */
HYSGD_MUST_CHECK enum hysgd_status ranks_copies_begin(struct ranks *ranks);

/* What the coordinator knows, with room for the ranks that hold the copies; a parcel. */
HYSGD_MUST_CHECK enum hysgd_status ranks_state_make(struct ranks *ranks, double seconds,
                                                    struct ranks_parcel **parcel_out, size_t *bytes_out);

/* The next rank that takes part; the same one where it is alone. */
int ranks_next_member(const struct ranks *ranks, int rank);
void ranks_copies_fini(struct ranks *ranks);

/* ---- ranks_coordinator.c ---- */

HYSGD_MUST_CHECK enum hysgd_status ranks_coordinator_start(struct ranks *ranks);
void ranks_coordinator_free(struct ranks_coordinator *coordinator);
HYSGD_MUST_CHECK enum hysgd_status ranks_coordinator_step(struct ranks *ranks, bool *has_acted_out);
void ranks_coordinator_hear(struct ranks *ranks, int from, const struct message_head *message);

/* Gives up a checkpoint that is being written; NULL is allowed. */
void ranks_coordinator_interrupt(struct ranks_coordinator *coordinator);

/* A worker that is lost so far takes part once its rank is ready. */
void ranks_coordinator_expect(struct ranks *ranks, int worker);

/* Whether the state is one that a rank can begin with: training goes on, and nothing waits for a rank. */
bool ranks_coordinator_is_quiet(const struct ranks *ranks);

/* A worker takes no part any more, from the next verdict on. */
void ranks_coordinator_lose(struct ranks *ranks, int worker);

/* Its rank was told to end: it takes no part any more once it has delivered; and whether that was so. */
void ranks_coordinator_dismiss(struct ranks *ranks, int worker);
bool ranks_coordinator_was_told(const struct ranks *ranks, int worker);

/* The run's clock. */
double ranks_coordinator_now(const struct ranks *ranks);

/* The run's clock at its end. */
double ranks_coordinator_seconds(const struct ranks *ranks);

/* Bytes of a struct message_welcome with what follows it. */
static inline size_t ranks_welcome_bytes(const struct ranks *ranks) {
    return sizeof(struct message_welcome) + (size_t)(ranks->servers + ranks->workers) * sizeof(int32_t) +
           (size_t)ranks->most;
}

#endif
