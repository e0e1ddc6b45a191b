/* SPDX-License-Identifier: Apache-2.0 */
/* What all implementations of comm.h share: checks, resting and taking leave. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/comm_ops.h"

/* The tag of who takes leave, above all of the caller's. */
#define TAG_FAREWELL COMM_TAG_END

/* How long comm_rest only gives the core away, and how long it then takes short naps. Long yielding would keep the
 * cores from ranks that compute; what arrives after longer silence is not urgent to the microsecond. */
#define YIELD_SECONDS      100e-6
#define SHORT_REST_SECONDS 2e-3

/* Naps: of who waits, of who computes meanwhile, and of who is woken by everyone who may want something. */
#define SHORT_NAP_SECONDS 20e-6
#define LONG_NAP_SECONDS  100e-6
#define DOZE_SECONDS      500e-6
#define BELL_NAP_SECONDS  5e-3

#define TIMER_SLACK_NANOSECONDS 1000

#define FAREWELL_SECONDS      10.0
#define LONG_FAREWELL_SECONDS 120.0

static bool read_number(const char *name, int *number_out) {
    const char *text = getenv(name);
    char *end;
    long number = text == NULL ? -1 : strtol(text, &end, 10);
    if (number < 0 || number > INT32_MAX || end == text || *end != '\0')
        return false;
    *number_out = (int)number;
    return true;
}

bool comm_is_launched(int *rank_out, int *size_out) {
    /* Open MPI's mpirun; MPICH's and Intel's, and srun --mpi=pmi2; srun --mpi=pmix. */
    static const char *const names[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"},
                                           {"PMIX_RANK", "SLURM_STEP_NUM_TASKS"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int rank, size;
        if (!read_number(names[i][0], &rank) || !read_number(names[i][1], &size) || rank >= size)
            continue;
        if (rank_out != NULL)
            *rank_out = rank;
        if (size_out != NULL)
            *size_out = size;
        return true;
    }
    return false;
}

bool comm_is_admitted(void) {
    return getenv("OMPI_PARENT_PORT") != NULL; /* how Open MPI tells a process that others wait for it */
}

bool comm_outlives_deaths(void) {
    const char *recovers = getenv("OMPI_MCA_orte_enable_recovery");
    return getenv("OMPI_COMM_WORLD_SIZE") == NULL || (recovers != NULL && strcmp(recovers, "0") != 0);
}

enum hysgd_status comm_init(struct comm *comm, const struct comm_ops *ops, int rank, int size, int most) {
    *comm = (struct comm){.ops = ops, .rank = rank, .size = size, .most = most};
    HYSGD_TRY(bell_make(&comm->bell));
    return memory_alloc((size_t)most, sizeof *comm->peers, &comm->peers);
}

void comm_fini(struct comm *comm) {
    memory_free(comm->peers);
    memory_free(comm->welcome);
    comm->peers = NULL;
    comm->welcome = NULL;
    bell_close(comm->bell);
    comm->bell = NULL;
}

int comm_rank(const struct comm *comm) {
    return comm->rank;
}

int comm_size(const struct comm *comm) {
    return comm->size;
}

int comm_most(const struct comm *comm) {
    return comm->most;
}

const void *comm_welcome(const struct comm *comm, size_t *bytes_out) {
    *bytes_out = comm->welcome_bytes;
    return comm->welcome;
}

const char *comm_host(const struct comm *comm, int rank) {
    return comm->peers[rank].host;
}

bool comm_is_same_host(const struct comm *comm, int rank) {
    return comm->peers[rank].is_same_host;
}

bool comm_may_change_thread(const struct comm *comm) {
    return !comm->is_bound;
}

bool comm_is_abandoned(const struct comm *comm, int rank) {
    return comm->peers[rank].is_abandoned;
}

void comm_abandon(struct comm *comm, int rank) {
    comm->peers[rank].is_expected = false;
    if (comm->peers[rank].is_abandoned)
        return;
    comm->peers[rank].is_abandoned = true;
    comm->ops->abandon(comm, rank);
}

bool comm_peer_has_died(struct comm *comm, int rank) {
    return comm->ops->has_died(comm, rank);
}

static enum hysgd_status check(const struct comm *comm, int rank, uint32_t tag, const char *what) {
    if (rank < 0 || rank >= comm->size)
        return hysgd_fail(HYSGD_FAILED, "%s rank %d: ranks are 0 to %d", what, rank, comm->size - 1);
    if (tag >= COMM_TAG_END)
        return hysgd_fail(HYSGD_FAILED, "%s rank %d: the tag %u is not below %u", what, rank, tag, COMM_TAG_END);
    return HYSGD_OK;
}

static enum hysgd_status begin_send(struct comm *comm, const struct comm_completion *completion, size_t bytes) {
    if (comm->peers[completion->from_or_to].is_abandoned)
        return HYSGD_OK;
    HYSGD_TRY(comm->ops->send(comm, completion, bytes));
    comm_ring(comm, completion->from_or_to);
    return HYSGD_OK;
}

static enum hysgd_status begin_receive(struct comm *comm, const struct comm_completion *completion, size_t most) {
    return comm->peers[completion->from_or_to].is_abandoned ? HYSGD_OK : comm->ops->receive(comm, completion, most);
}

/* Requests are kept in one shape, whose memory is not const; what is sent is only read. */
static void *unconst(const void *data) {
    void *memory;
    memcpy(&memory, &data, sizeof memory);
    return memory;
}

enum hysgd_status comm_send(struct comm *comm, int to, uint32_t tag, const void *data, size_t bytes,
                            comm_done *done, void *self) {
    HYSGD_TRY(check(comm, to, tag, "sending to"));
    return begin_send(comm, &(struct comm_completion){done, self, to, tag, unconst(data)}, bytes);
}

enum hysgd_status comm_receive(struct comm *comm, int from, uint32_t tag, void *data, size_t most, comm_done *done,
                               void *self) {
    HYSGD_TRY(check(comm, from, tag, "receiving from"));
    return begin_receive(comm, &(struct comm_completion){done, self, from, tag, data}, most);
}

void comm_ring(struct comm *comm, int rank) {
    if (comm->peers[rank].bell)
        bell_ring(comm->peers[rank].bell);
}

void comm_complete(struct comm *comm, const struct comm_completion *completion, size_t bytes) {
    if (comm->peers[completion->from_or_to].is_abandoned)
        return;
    comm->completed++;
    if (completion->done != NULL && (!comm->is_closing || completion->tag == TAG_FAREWELL))
        completion->done(completion->self, completion, bytes);
}

enum hysgd_status comm_progress(struct comm *comm, int *completed_out) {
    comm->completed = 0;
    HYSGD_TRY(comm->ops->progress(comm));
    if (comm->completed > 0)
        comm->is_resting = false;
    if (completed_out != NULL)
        *completed_out = comm->completed;
    return HYSGD_OK;
}

/* The length of a nap: `usual`, unless every other rank wakes this one. A long message that is under way may need
 * both ends to go on, so its receiver is woken with each nap of its sender, which stays short. */
static double nap_of(struct comm *comm, double usual) {
    int others = 0;
    bool has_bells = true;
    for (int i = 0; i < comm->size; i++) {
        const struct comm_peer *peer = &comm->peers[i];
        if (i == comm->rank || peer->is_abandoned)
            continue;
        others++;
        has_bells = has_bells && peer->bell && peer->sending == 0;
        if (peer->sending > 0)
            comm_ring(comm, i);
    }
    return has_bells && bell_ringers(comm->bell) >= others ? BELL_NAP_SECONDS : usual;
}

static void nap(struct comm *comm, double usual) {
    if (!comm->has_slack) /* the thread's own setting; by default naps are 50 microseconds longer than asked for */
        (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NANOSECONDS, 0, 0, 0);
    comm->has_slack = true;
    bell_sleep(comm->bell, nap_of(comm, usual));
}

void comm_rest(struct comm *comm) {
    double now = machine_seconds();
    if (!comm->is_resting) {
        comm->is_resting = true;
        comm->resting_since = now;
    }
    double rested = now - comm->resting_since;
    if (rested < YIELD_SECONDS)
        sched_yield();
    else
        nap(comm, rested < SHORT_REST_SECONDS ? SHORT_NAP_SECONDS : LONG_NAP_SECONDS);
}

void comm_doze(struct comm *comm) {
    nap(comm, DOZE_SECONDS);
}

void comm_wake(struct comm *comm) {
    bell_ring(comm->bell);
}

/* ---- Growing ---- */

enum hysgd_status comm_admit(struct comm *comm, const struct comm_admission *admission, comm_admitted *done,
                             void *self) {
    if (admission->rank < comm->size || admission->rank >= comm->most)
        return hysgd_fail(HYSGD_USAGE, "rank %d cannot be admitted: ranks from %d to %d can", admission->rank,
                          comm->size, comm->most - 1);
    int before = comm->size;
    comm->size = admission->rank + 1;
    for (int i = before; i < comm->size; i++)
        comm->peers[i] = (struct comm_peer){.host = "nowhere", .is_abandoned = true};
    if (comm->admitted != NULL)
        return hysgd_fail(HYSGD_FAILED,
                          "rank %d cannot be admitted: the admission of rank %d has not come to its end",
                          admission->rank, comm->admitting);
    HYSGD_TRY(comm->ops->admit(comm, admission));
    comm->admitted = done;
    comm->admitted_self = self;
    comm->admitting = admission->rank;
    comm->peers[admission->rank].is_expected = true;
    return HYSGD_OK;
}

void comm_has_admitted(struct comm *comm, enum hysgd_status status) {
    comm_admitted *done = comm->admitted;
    struct comm_peer *peer = &comm->peers[comm->admitting];
    comm->admitted = NULL;
    comm->completed++;
    if (!peer->is_expected) /* it was given up meanwhile */
        return;
    peer->is_expected = false;
    peer->is_abandoned = status != HYSGD_OK;
    if (!comm->is_closing)
        done(comm->admitted_self, comm->admitting, status);
}

/* ---- Leaving ---- */

static void farewell_sent(void *self, const struct comm_completion *completion, size_t bytes) {
    struct comm *comm = self;
    (void)bytes;
    comm->peers[completion->from_or_to].knows_leave = true;
}

static void farewell_received(void *self, const struct comm_completion *completion, size_t bytes) {
    struct comm *comm = self;
    (void)bytes;
    comm->peers[completion->from_or_to].has_left = true;
}

static enum hysgd_status begin_farewells(struct comm *comm) {
    for (int i = 0; i < comm->size; i++) {
        if (i == comm->rank || comm->peers[i].is_abandoned)
            continue;
        HYSGD_TRY(
            begin_receive(comm, &(struct comm_completion){farewell_received, comm, i, TAG_FAREWELL, NULL}, 0));
        HYSGD_TRY(begin_send(comm, &(struct comm_completion){farewell_sent, comm, i, TAG_FAREWELL, NULL}, 0));
    }
    return HYSGD_OK;
}

/* The first rank that is still to leave or to be told; -1: none is. Those that died are abandoned. */
static int find_missing(struct comm *comm) {
    int missing = -1;
    for (int i = 0; i < comm->size; i++) {
        const struct comm_peer *peer = &comm->peers[i];
        if (i == comm->rank || peer->is_abandoned || (peer->has_left && peer->knows_leave))
            continue;
        if (comm_peer_has_died(comm, i))
            comm_abandon(comm, i);
        else if (missing < 0)
            missing = i;
    }
    return missing;
}

int comm_leave(struct comm *comm, double seconds) {
    double until = machine_seconds() + seconds;
    if (!comm->is_closing)
        comm->farewell = begin_farewells(comm);
    comm->is_closing = true;
    while (comm->farewell == HYSGD_OK && find_missing(comm) >= 0 && machine_seconds() < until) {
        int completed = 0;
        comm->farewell = comm_progress(comm, &completed);
        if (completed == 0)
            comm_rest(comm);
    }
    return find_missing(comm);
}

void comm_close(struct comm *comm, bool all_are_alive) {
    if (comm == NULL)
        return;
    int missing = comm_leave(comm, all_are_alive ? LONG_FAREWELL_SECONDS : FAREWELL_SECONDS);
    bool is_clean = comm->farewell == HYSGD_OK && missing < 0;
    for (int i = 0; i < comm->size; i++)
        is_clean = is_clean && !comm->peers[i].is_abandoned;
    comm->ops->close(comm, is_clean);
}
