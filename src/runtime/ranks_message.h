/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a run say to each other. Control messages are structs as they lie in memory: all ranks are the
 * same program on the same kind of machine, which the first message makes sure of. Vectors travel on channels of
 * their own, straight from and to where they belong.
 *
 *   a worker, when its gradient is done:  ARRIVED to the coordinator; its slices to all servers, at the same time
 *   the coordinator, after its verdict:   ORDER to all ranks with servers: what to do with which gradients, and who
 *                                         is sent the parameters then; RELEASED to the workers that go on
 *   a server, in the order of the orders: slices of the parameters to workers; REPORTED now and then
 *
 * All servers go through the same orders, so the slices that a worker gets are of one version. */
#ifndef HYSGD_RUNTIME_RANKS_MESSAGE_H
#define HYSGD_RUNTIME_RANKS_MESSAGE_H

#include "runtime/local.h"
#include "runtime/server.h"
#include "runtime/snapshot.h"
#include "runtime/worker.h"

enum message_channel {
    CHANNEL_CONTROL,
    CHANNEL_MEMBERS,    /* the same in every incarnation */
    CHANNEL_GRADIENT,   /* by server */
    CHANNEL_PARAMETERS, /* by server, to a worker */
    CHANNEL_EVALUATED,  /* by server, to the coordinator: the parameters, */
    CHANNEL_VALUES,     /* what a pass has found, */
    CHANNEL_PROBED,     /* and what the probe has */
    CHANNEL_PLAN,       /* of a checkpoint, from the coordinator */
    CHANNEL_COPY_PLAN,  /* of a generation of copies, from the coordinator */
    CHANNEL_COPY,       /* by server: its slice */
    CHANNEL_HELLO,      /* in no incarnation: from a rank that is to join, what it is about to run; */
    CHANNEL_WELCOME,    /* and to it, whether it may */
    CHANNEL_STATE,      /* to it: the state of the run, */
    CHANNEL_BEGINNING,  /* and the one that it began with */
};

enum message_kind {
    MESSAGE_READY,      /* a rank can begin */
    MESSAGE_ARRIVED,    /* a worker has delivered or given up */
    MESSAGE_ORDER,      /* for the servers of a rank */
    MESSAGE_RELEASED,   /* for the worker of a rank */
    MESSAGE_CANCELLED,  /* what the worker of a rank computes is of no use */
    MESSAGE_ORPHANED,   /* a worker is lost, whose samples the others take over */
    MESSAGE_TOTALS,     /* for the servers of a rank: go on */
    MESSAGE_REPORTED,   /* of a server */
    MESSAGE_HAS_PART,   /* a server has a gradient */
    MESSAGE_PLAN,       /* a checkpoint: what a rank writes of it follows on CHANNEL_PLAN */
    MESSAGE_SAVED,      /* a rank has written its part, or could not */
    MESSAGE_COPY,       /* a generation of copies; what the coordinator knows follows on CHANNEL_COPY_PLAN */
    MESSAGE_SLICE_COPY, /* of it, the slice of a server follows on CHANNEL_COPY */
    MESSAGE_HELD,       /* one of these has come, or is here anyway */
    MESSAGE_LEAVING,    /* a rank was told to end: its worker, if it has one, leaves */
    MESSAGE_FAILED,     /* something went wrong on a rank */
    MESSAGE_END,        /* the run is over */
    MESSAGE_ADMIT,      /* the coordinator has a process started, which is to be a rank */
    MESSAGE_ADMITTED,   /* it can be reached, or not */
    MESSAGE_REJECTED,   /* it will never take part */
    MESSAGE_JOINED,     /* it takes part from here on, as the rank of a worker that is lost so far, */
    MESSAGE_ADOPTED,    /* which is given training samples */
    MESSAGE_BEAT,       /* of membership: a sign of life, */
    MESSAGE_DISMISSED,  /* the others go on without the receiver, */
    MESSAGE_RECOVER,    /* all go on anew */
};

struct message_head {
    uint32_t kind;
    uint32_t bytes; /* of the whole message */
};

/* Followed by double samples[1 + classes], the worker's row of shares.deliveries. */
struct message_arrived {
    struct message_head head;
    int32_t worker;
    bool has_given_up, is_cancelled;
    uint64_t draws;
    double loss;
    double compute_seconds, transit_seconds; /* the latter: injected, besides that of the messages */
    double data_seconds;
    double begun;        /* computing it, on the leader's clock; NaN: that is not known */
    uint64_t sent_bytes; /* of the gradient */
};

struct message_released {
    struct message_head head;
    int32_t worker;
    bool is_again; /* it goes on with the parameters that it has */
    uint64_t version, batches;
    double patience;              /* seconds */
    struct optimizer_clock clock; /* of local steps */
    struct worker_taken taken;
};

struct message_cancelled {
    struct message_head head; /* also of MESSAGE_ORPHANED and MESSAGE_LEAVING */
    int32_t worker;
    bool is_lost; /* it takes no part any more */
};

/* Followed by struct engine_part parts[part_count], struct server_row rows[row_count], then
 * int32_t released[released_count]. */
struct message_order {
    struct message_head head;
    uint64_t number;
    bool has_action;   /* `order` is to be carried out */
    bool is_saved;     /* the state that it leaves is that of a checkpoint */
    uint64_t copied;   /* the state that it leaves is that of this generation; 0: of none */
    bool is_evaluated; /* then the parameters go to the coordinator, */
    int32_t dropped;   /* a worker whose gradient is of no use; -1: none */
    int32_t joined;    /* a worker whose gradients come from another rank from here on; -1: none */
    int32_t part_count, row_count;
    int32_t released_count; /* and to these workers */
    struct server_order order;
};

struct message_plan {
    struct message_head head;
    uint64_t plan_bytes; /* of the struct ranks_plan that follows */
    uint64_t delivered;  /* gradients of the receiver's worker in the state that is saved */
};

struct message_copy {
    struct message_head head;
    int32_t server; /* of a slice */
    uint64_t generation, bytes;
    uint64_t committed; /* the generation that all ranks have; of what the coordinator sends, as is */
    uint64_t delivered; /* gradients of the receiver's worker in the state that is copied */
};

struct message_held {
    struct message_head head;
    uint64_t generation;
};

/* What the coordinator knows at the place of a generation: the places of the servers' vectors, then the two ranks
 * that hold each server's slice, then the rest of the state, as snapshot_restore_state takes it. */
struct ranks_state {
    uint64_t count, servers, bytes;
    struct training_place place; /* of the record */
    struct snapshot_place places[];
};

static inline const int32_t *ranks_state_holders(const struct ranks_state *state, int server) {
    return (const int32_t *)(const void *)(state->places + state->count) + 2 * server;
}

static inline const void *ranks_state_rest(const struct ranks_state *state) {
    return ranks_state_holders(state, (int)state->servers);
}

/* How it is known that a rank is lost. */
enum ranks_loss { LOSS_NONE, LOSS_SILENT, LOSS_ENDED };

static inline size_t ranks_state_bytes(const struct ranks_state *state) {
    return (size_t)(sizeof *state + state->count * sizeof *state->places + 2 * state->servers * sizeof(int32_t) +
                    state->bytes);
}

/* What a run goes back to after a loss. */
enum ranks_source { SOURCE_COPIES, SOURCE_CHECKPOINT, SOURCE_BEGINNING };

/* What of a checkpoint is where. */
struct ranks_plan {
    char temporary[4096]; /* the file that is written */
    uint64_t count;
    struct snapshot_place places[];
};

/* Followed by double totals[columns]. */
struct message_totals {
    struct message_head head;
    int64_t columns; /* as wide as what follows is aligned */
};

struct message_reported {
    struct message_head head;
    int32_t server;
    int32_t bad_worker;   /* whose gradient made an update that is not finite; -1: not known */
    uint64_t bad_version; /* of that update; 0: there is none */
    uint64_t done, updates;
    double service_seconds; /* of these updates */
};

struct message_has_part {
    struct message_head head;
    int32_t server, worker, rank; /* the gradient came from that */
    double received;              /* on the leader's clock; NaN: that is not known */
};

/* On CHANNEL_MEMBERS. Followed by int32_t hosts[servers], worker_ranks[workers], then unsigned char losses[most]:
 * enum ranks_loss. */
struct message_members {
    struct message_head head;
    uint32_t incarnation;
    int32_t renewed_by; /* the leader that began it; -1: the first needs none */
    int32_t leader;
    int32_t count;        /* of ranks, those included that never came */
    int32_t source;       /* enum ranks_source; of MESSAGE_RECOVER */
    bool asks;            /* for such a message: the sender does not hear the leader */
    int32_t heard_leader; /* whom the sender hears lead, or would have lead next; -1: nobody */
    bool has_saved;       /* the run's checkpoint is there */
    uint64_t received;    /* gradients */
    uint64_t generation;  /* of copies that all ranks have; 0: none */
    double clock;         /* the run's clock less the sender's, as it knows it */
    double sent;          /* on the sender's clock; this asks the leader for an answer, */
    double asked, heard;  /* which has: that time, and when it was heard on the leader's clock; 0: is none */
    double offset, error; /* the leader's clock less the sender's, as it knows it; NaN: not yet */
};

/* Followed by unsigned char takes_part[rank]. */
struct message_admit {
    struct message_head head;
    int32_t rank, root, latest; /* as in struct comm_admission */
};

/* Also of MESSAGE_REJECTED and MESSAGE_JOINED. */
struct message_admitted {
    struct message_head head;
    int32_t rank, worker;
    int32_t status; /* enum hysgd_status */
    char why[200];
};

/* What comm_welcome tells a new process. */
struct ranks_invitation {
    int32_t leader, worker;
    int32_t ranks, workers; /* of the run at its beginning */
};

/* On CHANNEL_HELLO. Followed by the facts as they are compared at the beginning of a run, or, where the process has
 * failed, by the message. */
struct message_hello {
    int32_t status; /* enum hysgd_status */
    uint32_t bytes;
};

/* On CHANNEL_WELCOME. Followed by int32_t server_ranks[servers], worker_ranks[workers], then
 * unsigned char is_lost[most]. */
struct message_welcome {
    int32_t status; /* enum hysgd_status; where it is not HYSGD_OK only `why` counts */
    char why[400];
    uint32_t incarnation;
    int32_t renewed_by, leader, count, latest;
    bool has_saved, confirms;
    uint64_t received, generation;
    double begun;                          /* of the state that the run began with, on its clock */
    uint64_t state_bytes, beginning_bytes; /* that follow on channels of their own; of the latter 0: nothing does */
};

/* Followed by the text, with its end. */
struct message_text {
    struct message_head head;
    int32_t status; /* enum hysgd_status */
};

#endif
