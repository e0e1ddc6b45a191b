/* SPDX-License-Identifier: Apache-2.0 */
/* What an implementation of comm.h gives, and what comm.c keeps for each end. */
#ifndef HYSGD_RUNTIME_COMM_OPS_H
#define HYSGD_RUNTIME_COMM_OPS_H

#include "runtime/bell.h"
#include "runtime/comm.h"

/* Contracts as in comm.h. Ranks and tags were checked; tags may be up to 2^28 - 1; no request concerns an abandoned
 * rank when it is begun. None of them blocks. */
struct comm_ops {
    enum hysgd_status (*send)(struct comm *comm, const struct comm_completion *completion, size_t bytes);
    enum hysgd_status (*receive)(struct comm *comm, const struct comm_completion *completion, size_t most);
    /* Calls comm_complete for what is complete. */
    enum hysgd_status (*progress)(struct comm *comm);
    void (*abandon)(struct comm *comm, int rank);
    bool (*has_died)(struct comm *comm, int rank);
    /* `admission` and what it points to is the caller's. Ends with comm_has_admitted, in `progress`. */
    enum hysgd_status (*admit)(struct comm *comm, const struct comm_admission *admission);
    /* `is_clean`: all ranks are leaving, and have said so to each other. Frees the end. */
    void (*close)(struct comm *comm, bool is_clean);
};

/* What is known of a rank. */
struct comm_peer {
    const char *host; /* belongs to the implementation */
    bool is_same_host;
    struct bell *bell; /* belongs to the implementation; NULL: it cannot be rung, and looks by itself */
    int sending;       /* messages to it that are not complete and may need both ends to go on */
    bool is_abandoned;
    bool is_expected;           /* it is being admitted */
    bool has_left, knows_leave; /* it said so in comm_close; it was told that this one leaves */
};

/* The first member of each implementation's own. */
struct comm {
    const struct comm_ops *ops;
    int rank, size, most;
    struct bell *bell;       /* of this end; every other that has found it rings it */
    struct comm_peer *peers; /* [most]; belongs to comm.c, which abandons; the rest is filled by who opens */
    int completed;           /* in the present comm_progress */
    bool is_bound;           /* to the thread that opened it; filled by who opens */
    comm_admitted *admitted; /* of the admission under way, which is of rank `admitting`; NULL: none is */
    void *admitted_self;
    int admitting;
    void *welcome; /* [welcome_bytes] of an admitted rank */
    size_t welcome_bytes;
    bool is_closing;            /* it has begun to take leave, */
    enum hysgd_status farewell; /* with this success */
    bool has_slack;             /* comm_rest has set the timer slack of its thread */
    bool is_resting;            /* comm_rest was called since something completed */
    double resting_since;       /* machine_seconds */
};

/* For implementations: fills the parts of an end that comm.c keeps, and frees them. */
HYSGD_MUST_CHECK enum hysgd_status comm_init(struct comm *comm, const struct comm_ops *ops, int rank, int size,
                                             int most);
void comm_fini(struct comm *comm);

/* For implementations: wakes a rank that rests, when something has come for it. comm_send does so. */
void comm_ring(struct comm *comm, int rank);

/* For implementations: reports a completion, unless its rank is abandoned. */
void comm_complete(struct comm *comm, const struct comm_completion *completion, size_t bytes);

/* For implementations, in progress: the admission under way has come to its end; what is known of the new peer has
 * been filled in. */
void comm_has_admitted(struct comm *comm, enum hysgd_status status);

#endif
