/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as processes that MPI connects. Only MPI 3.1's nonblocking messages are used once the group is open, since
 * those of other ranks go on when one dies; its requests are then left alone, as neither Open MPI nor MPICH ends
 * them. */
#include "runtime/comm_mpi.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"

/* Ranks are started within this time, data not yet read. */
#define ENTRANCE_SECONDS 60

/* The ranks pass the opening of a group together. */
#define MEETING_SECONDS 30

/* MPI is one for the whole process, which may enter it once, and so is what is known about leaving it. */
static struct {
    atomic_bool is_open;     /* an end is: MPI_Finalize would wait for ranks that know nothing of it */
    atomic_bool has_grown;   /* processes have joined: it may wait for one that has left */
    atomic_bool has_lost;    /* ranks have died or failed to take leave: it would wait for ever */
    struct end *unopened;    /* one whose opening has failed: MPI may still write to its memory */
    pthread_t entering;      /* is in MPI_Init_thread, */
    int wanted, given, code; /* with this argument and these results; or joins a group, */
    struct end *joining;     /* with this end, */
    MPI_Comm parent;         /* by way of this, */
    enum hysgd_status status;
    char message[1024]; /* and this result */
    char failure[1024]; /* why no group could be opened, for who asks again */
} process;

/* Ranks that may be admitted to a group that was opened for that. */
#define MOST_ADMITTED 256

#ifdef HYSGD_SANITIZE
/* Not there in the thread sanitizer. */
HYSGD_API void __lsan_do_leak_check(void) __attribute__((weak));
HYSGD_API void __lsan_disable(void) __attribute__((weak));
HYSGD_API void __lsan_enable(void) __attribute__((weak));
HYSGD_API const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libmpi\nleak:libopen-\nleak:libpmix\nleak:mca_\nleak:libhwloc\nleak:libevent\nleak:libfabric\n"
           "leak:libuc\n";
}
#endif

/* MPI_Init_thread, whose memory that stays is not looked at: modules that were tried and unloaded have no name by
 * which to tell it apart. */
static int initialize(int wanted, int *given_out) {
#ifdef HYSGD_SANITIZE
    if (__lsan_disable != NULL)
        __lsan_disable();
#endif
    int code = MPI_Init_thread(NULL, NULL, wanted, given_out);
#ifdef HYSGD_SANITIZE
    if (__lsan_enable != NULL)
        __lsan_enable();
#endif
    return code;
}

/* Likewise for modules that are unloaded now: leaks are looked for while they have names. */
static void finalize(void) {
#ifdef HYSGD_SANITIZE
    if (__lsan_do_leak_check != NULL)
        __lsan_do_leak_check();
#endif
    MPI_Finalize();
}

void comm_mpi_note_growth(void) {
    process.has_grown = true;
}

static struct end *end_of(struct comm *comm) {
    return (struct end *)comm;
}

/* The failure of a call of MPI. */
enum hysgd_status comm_mpi_fail(int code, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return hysgd_fail(HYSGD_FAILED, "MPI: %s: %s", what, text);
}

/* Makes room for one more request. */
static enum hysgd_status reserve(struct end *end) {
    if (end->count < end->capacity)
        return HYSGD_OK;
    size_t used = (size_t)end->count, capacity = used > 0 ? 2 * used : 64;
    HYSGD_TRY(memory_enlarge(&end->requests, used, capacity, sizeof *end->requests));
    HYSGD_TRY(memory_enlarge(&end->slots, used, capacity, sizeof *end->slots));
    HYSGD_TRY(memory_enlarge(&end->indices, 0, capacity, sizeof *end->indices));
    HYSGD_TRY(memory_enlarge(&end->statuses, 0, capacity, sizeof *end->statuses));
    end->capacity = (int)capacity;
    return HYSGD_OK;
}

/* MPI counts in int: longer messages are one element of a type that is as long. Free the type with MPI_Type_free.
 */
static int make_long_type(size_t bytes, MPI_Datatype *type_out) {
    const size_t piece = (size_t)1 << 30;
    MPI_Datatype pieces, types[2];
    int code = MPI_Type_vector((int)(bytes / piece), (int)piece, (int)piece, MPI_BYTE, &pieces);
    if (code != MPI_SUCCESS)
        return code;
    types[0] = pieces;
    types[1] = MPI_BYTE;
    const int lengths[] = {1, (int)(bytes % piece)};
    const MPI_Aint places[] = {0, (MPI_Aint)(bytes - bytes % piece)};
    code = MPI_Type_create_struct(2, lengths, places, types, type_out);
    MPI_Type_free(&pieces);
    return code == MPI_SUCCESS ? MPI_Type_commit(type_out) : code;
}

static int start(struct end *end, const struct slot *slot, int count, MPI_Datatype type) {
    const struct comm_completion *to = &slot->completion;
    MPI_Request *request = &end->requests[end->count];
    const struct gathering *through = end->through[to->from_or_to];
    int place = through->places[to->from_or_to];
    return slot->is_receive ? MPI_Irecv(to->data, count, type, place, (int)to->tag, through->comm, request)
                            : MPI_Isend(to->data, count, type, place, (int)to->tag, through->comm, request);
}

static enum hysgd_status begin(struct end *end, const struct slot *slot) {
    HYSGD_TRY(reserve(end));
    int code;
    if (slot->bytes <= INT_MAX) {
        code = start(end, slot, (int)slot->bytes, MPI_BYTE);
    } else {
        MPI_Datatype type;
        code = make_long_type(slot->bytes, &type);
        if (code == MPI_SUCCESS) {
            code = start(end, slot, 1, type);
            MPI_Type_free(&type); /* what is under way keeps it */
        }
    }
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, slot->is_receive ? "a receive cannot begin" : "a send cannot begin");
    end->slots[end->count++] = *slot;
    return HYSGD_OK;
}

static enum hysgd_status mpi_send(struct comm *comm, const struct comm_completion *completion, size_t bytes) {
    HYSGD_TRY(begin(end_of(comm), &(struct slot){*completion, false, bytes, -1}));
    comm->peers[completion->from_or_to].sending++;
    return HYSGD_OK;
}

static enum hysgd_status mpi_receive(struct comm *comm, const struct comm_completion *completion, size_t most) {
    return begin(end_of(comm), &(struct slot){*completion, true, most, -1});
}

/* Length of a message; false when its rank cannot be reached any more. */
static bool find_bytes(const struct slot *slot, const MPI_Status *status, bool has_errors, size_t *bytes_out) {
    int class = MPI_SUCCESS;
    if (has_errors && status->MPI_ERROR != MPI_SUCCESS)
        MPI_Error_class(status->MPI_ERROR, &class);
    if (class == MPI_ERR_TRUNCATE) {
        *bytes_out = COMM_TOO_LONG;
        return true;
    }
    MPI_Count count = 0;
    if (slot->is_receive && class == MPI_SUCCESS)
        MPI_Get_elements_x(status, MPI_BYTE, &count);
    *bytes_out = slot->is_receive ? (size_t)count : slot->bytes;
    return class == MPI_SUCCESS;
}

/* Moves the `count` requests that MPI_Testsome told of from what is under way to `finished`, in the order in which
 * they were begun; returns how many are to be reported. */
static int take_finished(struct end *end, int count, bool has_errors) {
    int kept = 0, finished = 0;
    for (int i = 0; i < count; i++)
        end->slots[end->indices[i]].finished = i;
    for (int i = 0; i < end->count; i++) {
        const struct slot *slot = &end->slots[i];
        struct finished *to = &end->finished[finished];
        if (slot->finished < 0) {
            end->requests[kept] = end->requests[i];
            end->slots[kept++] = *slot;
            continue;
        }
        to->completion = slot->completion;
        if (slot->is_receive)
            comm_ring(&end->comm, slot->completion.from_or_to); /* its sender may wait for that */
        else
            end->comm.peers[slot->completion.from_or_to].sending--;
        if (find_bytes(slot, &end->statuses[slot->finished], has_errors, &to->bytes))
            finished++;
        else
            end->has_died[slot->completion.from_or_to] = true;
    }
    end->count = kept;
    return finished;
}

/* Apart from `reserve`, since `done` functions begin requests while the list is gone through. */
static enum hysgd_status reserve_finished(struct end *end) {
    if (end->most_finished >= end->count)
        return HYSGD_OK;
    HYSGD_TRY(memory_enlarge(&end->finished, 0, (size_t)end->capacity, sizeof *end->finished));
    end->most_finished = end->capacity;
    return HYSGD_OK;
}

static enum hysgd_status mpi_progress(struct comm *comm) {
    struct end *end = end_of(comm);
    if (end->admission != NULL)
        comm_mpi_step_admission(end);
    if (end->count == 0)
        return HYSGD_OK;
    HYSGD_TRY(reserve_finished(end));
    int count = 0;
    int code = MPI_Testsome(end->count, end->requests, &count, end->indices, end->statuses);
    /* Once more, as it may look first and then let come what there is: who rests now misses that. */
    if (code == MPI_SUCCESS && count == 0)
        code = MPI_Testsome(end->count, end->requests, &count, end->indices, end->statuses);
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS)
        return comm_mpi_fail(code, "requests cannot be tested");
    if (count <= 0) /* also MPI_UNDEFINED */
        return HYSGD_OK;
    count = take_finished(end, count, code == MPI_ERR_IN_STATUS);
    for (int i = 0; i < count; i++)
        comm_complete(comm, &end->finished[i].completion, end->finished[i].bytes);
    return HYSGD_OK;
}

/* The requests stay as they are: one of a dead rank can neither be cancelled nor freed without risk. */
static void mpi_abandon(struct comm *comm, int rank) {
    struct end *end = end_of(comm);
    int kept = 0;
    for (int i = 0; i < end->count; i++) {
        if (end->slots[i].completion.from_or_to == rank)
            continue;
        end->requests[kept] = end->requests[i];
        end->slots[kept++] = end->slots[i];
    }
    end->count = kept;
}

static bool mpi_has_died(struct comm *comm, int rank) {
    struct end *end = end_of(comm);
    if (!end->has_died[rank] && end->handles[rank] >= 0) {
        struct pollfd handle = {end->handles[rank], POLLIN, 0};
        end->has_died[rank] = poll(&handle, 1, 0) > 0;
    }
    return end->has_died[rank];
}

static void end_free(struct end *end) {
    for (int i = 0; end->handles != NULL && i < end->comm.most; i++)
        if (end->handles[i] >= 0)
            close(end->handles[i]);
    for (int i = 0; end->comm.peers != NULL && i < end->comm.most; i++)
        bell_close(end->comm.peers[i].bell);
    for (int i = 0; end->gatherings != NULL && i <= end->comm.most; i++)
        memory_free(end->gatherings[i]);
    memory_free(end->gatherings);
    memory_free(end->through);
    memory_free(end->requests);
    memory_free(end->slots);
    memory_free(end->indices);
    memory_free(end->statuses);
    memory_free(end->finished);
    memory_free(end->identities);
    memory_free(end->handles);
    memory_free(end->has_died);
    comm_fini(&end->comm);
    memory_free(end);
}

/* Receives that nothing will match are withdrawn, so that nothing writes to the caller's memory any more. */
static void mpi_close(struct comm *comm, bool is_clean) {
    struct end *end = end_of(comm);
    for (int i = 0; i < end->count; i++)
        if (end->slots[i].is_receive)
            MPI_Cancel(&end->requests[i]);
    for (int i = 0; i < end->count; i++)
        if (is_clean)
            MPI_Request_free(&end->requests[i]);
    /* The communicator stays: MPICH would give its number to the next one, which then saw what was left unread. */
    if (!is_clean)
        process.has_lost = true;
    process.is_open = false;
    if (!comm_mpi_end_admission(end))
        process.has_lost = true;
    end_free(end);
}

static const struct comm_ops mpi_ops = {mpi_send,     mpi_receive,    mpi_progress, mpi_abandon,
                                        mpi_has_died, comm_mpi_admit, mpi_close};

/* At exit: leaves MPI, or the process where that would wait for others. */
static void leave(int status, void *self) {
    int is_initialized = 0, is_finalized = 0;
    (void)self;
    if (process.has_lost || process.has_grown || process.is_open) {
        fflush(NULL);
        _exit(status);
    }
    MPI_Initialized(&is_initialized);
    MPI_Finalized(&is_finalized);
    if (!is_initialized || is_finalized)
        return;
    finalize();
}

static void *enter_main(void *argument) {
    process.code = initialize(*(const int *)argument, &process.given);
    return NULL;
}

static enum hysgd_status keep_failure(enum hysgd_status status) {
    snprintf(process.failure, sizeof process.failure, "%s", hysgd_error_message());
    return status;
}

/* What waits for others in MPI does so for ever where one has ended: so it has a thread of its own, which is left
 * behind then. */
static enum hysgd_status do_in_time(int seconds, void *main(void *), void *argument, const char *what) {
    struct timespec until;
    int fault = pthread_create(&process.entering, NULL, main, argument);
    if (fault != 0)
        return hysgd_fail(HYSGD_FAILED, "a thread cannot be started: %s", strerror(fault));
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    if (pthread_timedjoin_np(process.entering, NULL, &until) == 0)
        return HYSGD_OK;
    process.has_lost = true;
    pthread_detach(process.entering);
    return keep_failure(
        hysgd_fail(HYSGD_FAILED, "MPI: within %d s %s: one has ended, or cannot be reached", seconds, what));
}

static enum hysgd_status initialize_in_time(int wanted, int *given_out) {
    process.wanted = wanted;
    int seconds = comm_is_admitted() ? MEETING_SECONDS : ENTRANCE_SECONDS; /* who started it is there already */
    HYSGD_TRY(do_in_time(seconds, enter_main, &process.wanted, "not all ranks have started"));
    *given_out = process.given;
    return process.code == MPI_SUCCESS ? HYSGD_OK : comm_mpi_fail(process.code, "it cannot be initialized");
}

/* Enters MPI, once a process; a program that has done so itself also leaves it. */
static enum hysgd_status enter(bool may_grow, int *given_out) {
    int is_initialized = 0, is_finalized = 0, given = 0;
    signal(SIGPIPE, SIG_IGN);
    MPI_Initialized(&is_initialized);
    MPI_Finalized(&is_finalized);
    if (is_finalized)
        return hysgd_fail(HYSGD_USAGE, "MPI: the program has finalized it, so no process can be reached");
    if (is_initialized) {
        MPI_Query_thread(&given);
        *given_out = given;
        return given >= MPI_THREAD_FUNNELED
                   ? HYSGD_OK
                   : hysgd_fail(HYSGD_USAGE, "MPI: the program initialized it with MPI_THREAD_SINGLE, expected at "
                                             "least MPI_THREAD_FUNNELED");
    }
    if (on_exit(leave, NULL) != 0)
        return hysgd_fail(HYSGD_MEMORY, "out of memory: nothing can be registered for the end of the process");
    HYSGD_TRY(initialize_in_time(may_grow ? MPI_THREAD_MULTIPLE : MPI_THREAD_SERIALIZED, &given));
    *given_out = given;
    if (given < MPI_THREAD_FUNNELED)
        return hysgd_fail(HYSGD_FAILED, "MPI: the library allows no threads beside the one that calls it");
    /* Of the world too, where MPICH looks when it tests several requests. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    return HYSGD_OK;
}

/* A process that another MPI's launcher has started is alone in its world. */
static enum hysgd_status check_launcher(void) {
    int launched, size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (!comm_is_launched(NULL, &launched) || launched == size)
        return HYSGD_OK;
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    return hysgd_fail(HYSGD_USAGE, "the launcher started %d ranks, but %s sees %d: expected mpirun of that library",
                      launched, version, size);
}

/* Waits for a collective of MPI without keeping a core from the ranks that it waits for. All have left MPI_Init, so
 * nobody has reason to be late; who is, cannot be told from here. */
static enum hysgd_status await(struct comm *comm, MPI_Request *request, const char *what) {
    double until = machine_seconds() + MEETING_SECONDS;
    int is_done = 0, code;
    while ((code = MPI_Test(request, &is_done, MPI_STATUS_IGNORE)) == MPI_SUCCESS && !is_done &&
           machine_seconds() < until)
        comm_rest(comm);
    comm->is_resting = false;
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, what);
    return is_done ? HYSGD_OK
                   : hysgd_fail(HYSGD_FAILED, "MPI: %s: within %d s one of them has ended or cannot be reached",
                                what, MEETING_SECONDS);
}

static enum hysgd_status barrier(struct end *end) {
    MPI_Request request;
    int code = MPI_Ibarrier(end->world, &request);
    return code == MPI_SUCCESS ? await(&end->comm, &request, "the ranks cannot meet")
                               : comm_mpi_fail(code, "the ranks cannot meet");
}

/* Handles of the processes are taken while all are known to live, so that no number is another's by then. */
void comm_mpi_know(struct end *end, int rank, const struct comm_identity *own) {
    struct comm_peer *peer = &end->comm.peers[rank];
    peer->host = end->identities[rank].host;
    peer->is_same_host = comm_identity_is_near(own, &end->identities[rank]);
    if (!peer->is_same_host || rank == end->comm.rank)
        return;
    end->handles[rank] = comm_identity_watch(&end->identities[rank]);
    peer->bell = bell_find(end->identities[rank].process, (int)end->identities[rank].bell);
}

static enum hysgd_status meet(struct end *end) {
    struct comm *comm = &end->comm;
    struct comm_identity own = comm_identity_here(bell_handle(comm->bell));
    MPI_Request request;
    int code =
        MPI_Iallgather(&own, sizeof own, MPI_BYTE, end->identities, sizeof own, MPI_BYTE, end->world, &request);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "the ranks cannot exchange their names");
    HYSGD_TRY(await(comm, &request, "the ranks cannot exchange their names"));
    for (int i = 0; i < comm->size; i++)
        comm_mpi_know(end, i, &own);
    return barrier(end);
}

enum hysgd_status comm_mpi_make_gathering(int most, MPI_Comm comm, struct gathering **gathering_out) {
    struct gathering *gathering;
    HYSGD_TRY(memory_alloc(1, sizeof *gathering + (size_t)most * sizeof *gathering->places, &gathering));
    gathering->comm = comm;
    for (int i = 0; i < most; i++)
        gathering->places[i] = -1;
    *gathering_out = gathering;
    return HYSGD_OK;
}

enum hysgd_status comm_mpi_init(struct end *end, int rank, int size, int most) {
    int given = MPI_THREAD_SINGLE;
    MPI_Query_thread(&given);
    HYSGD_TRY(comm_init(&end->comm, &mpi_ops, rank, size, most));
    end->comm.is_bound = given < MPI_THREAD_SERIALIZED;
    HYSGD_TRY(memory_alloc((size_t)most, sizeof *end->identities, &end->identities));
    HYSGD_TRY(memory_alloc((size_t)most, sizeof *end->has_died, &end->has_died));
    HYSGD_TRY(memory_alloc((size_t)most + 1, sizeof *end->gatherings, &end->gatherings));
    HYSGD_TRY(memory_alloc((size_t)most, sizeof *end->through, &end->through));
    HYSGD_TRY(memory_alloc((size_t)most, sizeof *end->handles, &end->handles));
    for (int i = 0; i < most; i++)
        end->handles[i] = -1;
    return HYSGD_OK;
}

/* With the ranks that the launcher started. */
static enum hysgd_status begin_group(struct end *end, bool may_grow) {
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    HYSGD_TRY(comm_mpi_init(end, rank, size, may_grow ? size + MOST_ADMITTED : size));
    MPI_Request request;
    int code = MPI_Comm_idup(MPI_COMM_WORLD, &end->world, &request);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "the ranks cannot meet");
    HYSGD_TRY(await(&end->comm, &request, "the ranks cannot meet"));
    MPI_Comm_set_errhandler(end->world, MPI_ERRORS_RETURN);
    HYSGD_TRY(comm_mpi_make_gathering(end->comm.most, end->world, &end->gatherings[0]));
    for (int i = 0; i < size; i++) {
        end->gatherings[0]->places[i] = i;
        end->through[i] = end->gatherings[0];
    }
    return meet(end);
}

/* ---- Beginning ---- */

static enum hysgd_status check_growth(int given) {
#ifndef OPEN_MPI
    (void)given;
    return hysgd_fail(HYSGD_USAGE,
                      "MPI: processes can join with Open MPI only, and this program was built with another");
#else
    if (given == MPI_THREAD_MULTIPLE)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "MPI: processes cannot join, as it was initialized without MPI_THREAD_MULTIPLE");
#endif
}

static void *join_main(void *argument) {
    (void)argument;
    process.status = comm_mpi_join(process.joining, process.parent);
    if (process.status != HYSGD_OK)
        snprintf(process.message, sizeof process.message, "%s", hysgd_error_message());
    return NULL;
}

static enum hysgd_status join_in_time(struct end *end, MPI_Comm parent) {
    process.joining = end;
    process.parent = parent;
    HYSGD_TRY(do_in_time(MEETING_SECONDS, join_main, NULL,
                         "the ranks of the run that started this process did not meet it"));
    if (process.status != HYSGD_OK)
        status_set_message(process.message);
    return process.status;
}

enum hysgd_status comm_open(bool may_grow, struct comm **comm_out) {
    struct end *end = NULL;
    int given = 0;
    MPI_Comm parent = MPI_COMM_NULL;
    *comm_out = NULL;
    if (process.failure[0] != '\0') {
        status_set_message(process.failure);
        return HYSGD_FAILED;
    }
    if (process.has_lost)
        return hysgd_fail(HYSGD_USAGE,
                          "ranks of this job have died: the rest cannot begin anew, start the job again");
    if (process.has_grown)
        return hysgd_fail(HYSGD_USAGE, "processes have joined this job: it cannot begin anew, start the job again");
    HYSGD_TRY(enter(may_grow, &given));
    HYSGD_TRY(check_launcher());
    if (may_grow)
        HYSGD_TRY(check_growth(given));
    HYSGD_TRY(memory_alloc(1, sizeof *end, &end));
    process.is_open = true;
    if (comm_is_admitted())
        MPI_Comm_get_parent(&parent);
    enum hysgd_status status = parent != MPI_COMM_NULL ? join_in_time(end, parent) : begin_group(end, may_grow);
    if (status != HYSGD_OK) {
        process.unopened = end; /* others may still wait to meet: is_open stays, so that this process does not */
        process.has_lost = true;
        return keep_failure(status);
    }
    *comm_out = &end->comm;
    return HYSGD_OK;
}
