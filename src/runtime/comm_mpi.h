/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the group of processes share: the group itself (comm_mpi.c) and the processes that join it
 * (comm_mpi_admit.c). */
#ifndef HYSGD_RUNTIME_COMM_MPI_H
#define HYSGD_RUNTIME_COMM_MPI_H

#include <mpi.h>

#include "runtime/comm_identity.h"
#include "runtime/comm_ops.h"

/* A request of MPI and what it is for. */
struct slot {
    struct comm_completion completion;
    bool is_receive;
    size_t bytes; /* length of what is sent */
    int finished; /* its place in what MPI_Testsome tells, -1 when it is not there */
};

struct finished {
    struct comm_completion completion;
    size_t bytes;
};

/* A communicator, with the place in it of each rank of the group; -1: it is not there. */
struct gathering {
    MPI_Comm comm;
    int places[];
};

struct admission; /* comm_mpi_admit.c */

struct end {
    struct comm comm;
    MPI_Comm world; /* of this end alone, so that no message of an earlier one can match */
    struct gathering *
        *gatherings; /* [most + 1] of the rank before which all who were there met, the first of nobody */
    struct gathering **through;  /* [most] where a rank is reached */
    struct admission *admission; /* under way; NULL: none */
    bool has_failed_to_admit;    /* one of them: all who took part know */
    /* What is under way, in the order of its beginning; [capacity] each. */
    MPI_Request *requests;
    struct slot *slots;
    int *indices;
    MPI_Status *statuses;
    int count, capacity;
    struct finished *finished; /* [most_finished], of the present comm_progress */
    int most_finished;
    struct comm_identity *identities; /* [most] */
    int *handles;                     /* [most], of processes of this host; -1 without one */
    bool *has_died;                   /* [most] */
};

/* ---- comm_mpi.c ---- */

/* The failure of a call of MPI. */
HYSGD_MUST_CHECK enum hysgd_status comm_mpi_fail(int code, const char *what);

/* Makes the arrays of an end. Safe to free when it fails. */
HYSGD_MUST_CHECK enum hysgd_status comm_mpi_init(struct end *end, int rank, int size, int most);

/* Of nobody yet. */
HYSGD_MUST_CHECK enum hysgd_status comm_mpi_make_gathering(int most, MPI_Comm comm,
                                                           struct gathering **gathering_out);

/* A rank whose identity is there and which is known to live. */
void comm_mpi_know(struct end *end, int rank, const struct comm_identity *own);

/* Processes have joined: MPI is left without waiting for any. */
void comm_mpi_note_growth(void);

/* ---- comm_mpi_admit.c ---- */

/* As in struct comm_ops. */
HYSGD_MUST_CHECK enum hysgd_status comm_mpi_admit(struct comm *comm, const struct comm_admission *wanted);

/* Ends the admission under way, if it has come to its end. */
void comm_mpi_step_admission(struct end *end);

/* At the end of the group. False: there is one whose thread MPI does not let go; it goes on until the process ends.
 */
HYSGD_MUST_CHECK bool comm_mpi_end_admission(struct end *end);

/* The group that has started this process, by way of `parent`. */
HYSGD_MUST_CHECK enum hysgd_status comm_mpi_join(struct end *end, MPI_Comm parent);

#endif
