/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that join a group: by those who are there, and by the new one. MPI has nothing for that but calls that
 * wait for all who take part, which a thread of its own makes. */
#include "runtime/comm_mpi.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/* The tag of who unites two groups. */
#define TAG_UNITE 1

/* The admission of a rank, by a thread of its own, since MPI has nothing for that but calls that wait. */
struct admission {
    pthread_t thread;
    atomic_bool is_over;                   /* all below is the thread's until then */
    struct gathering *parent;              /* with all who take part, */
    int *ranks, *places, count;            /* [count] who these are, the root first, and where in there */
    struct gathering *merged;              /* what comes of it: they and the new rank */
    struct comm_identity own, *identities; /* [count + 1] in that order */
    int rank, most;
    bool is_root;
    char host[256]; /* "": anywhere */
    void *welcome;  /* [bytes] */
    uint64_t bytes;
    enum hysgd_status status;
    char message[1024];
};

static void admission_free(struct admission *admission) {
    memory_free(admission->ranks);
    memory_free(admission->places);
    memory_free(admission->identities);
    memory_free(admission->merged);
    memory_free(admission->welcome);
    memory_free(admission);
}

bool comm_mpi_end_admission(struct end *end) {
    struct admission *admission = end->admission;
    if (admission == NULL)
        return true;
    if (atomic_load(&admission->is_over)) {
        pthread_join(admission->thread, NULL);
        admission_free(admission);
        return true;
    }
    pthread_detach(admission->thread);
    for (int i = 0; i <= end->comm.most; i++)
        if (end->gatherings[i] == admission->parent)
            end->gatherings[i] = NULL; /* the thread still looks there */
    return false;
}

/* What an admitted process is told first, by the root. The ranks that take part follow, then the welcome. */
struct invitation {
    int32_t rank, count, most, status;
    uint64_t bytes;
};

/* The command line of this process, cut into words; to be freed, both. */
static enum hysgd_status read_words(char **text_out, char ***words_out) {
    enum { MOST = 1 << 20 };
    char *text, **words;
    size_t count = 0;
    HYSGD_TRY(memory_alloc(MOST + 1, 1, &text));
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t length = file != NULL ? fread(text, 1, MOST, file) : 0;
    if (file != NULL)
        fclose(file);
    for (size_t i = 0; i < length; i++)
        count += text[i] == '\0';
    enum hysgd_status status = memory_alloc(count + 1, sizeof *words, &words);
    if (status != HYSGD_OK || length == 0 || length == MOST) {
        memory_free(text);
        if (status == HYSGD_OK)
            memory_free(words);
        return status != HYSGD_OK ? status
                                  : hysgd_fail(HYSGD_FAILED, "/proc/self/cmdline: the command line cannot be read");
    }
    char *at = text;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        words[i] = at;
    *text_out = text;
    *words_out = words;
    return HYSGD_OK;
}

/* Like this process: the same program, command line and folder. */
static int spawn_like_this(const struct admission *admission, char **words, MPI_Comm *inter_out) {
    char program[4096] = "", folder[4096];
    MPI_Info info;
    int fault = 0;
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        snprintf(program, sizeof program, "%s", words[0]);
    MPI_Info_create(&info);
    if (getcwd(folder, sizeof folder) != NULL)
        MPI_Info_set(info, "wdir", folder);
    if (admission->host[0] != '\0')
        MPI_Info_set(info, "host", admission->host);
    int code = MPI_Comm_spawn(program, words + 1, 1, info, 0, MPI_COMM_SELF, inter_out, &fault);
    MPI_Info_free(&info);
    return code;
}

/* By the root; `pair_out`: with the new process, which has place 1 there. */
static enum hysgd_status spawn(const struct admission *admission, MPI_Comm *pair_out) {
    char *text = NULL, **words = NULL;
    MPI_Comm inter;
    HYSGD_TRY(read_words(&text, &words));
    int code = spawn_like_this(admission, words, &inter);
    memory_free(text);
    memory_free(words);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "no process can be started");
    code = MPI_Intercomm_merge(inter, 0, pair_out);
    return code == MPI_SUCCESS ? HYSGD_OK : comm_mpi_fail(code, "a new process cannot be met");
}

/* The root starts the process alone and then says how that went: where all do it together and it fails, Open MPI
 * lets the others wait for ever. */
static enum hysgd_status spawn_together(const struct admission *admission, MPI_Comm living, MPI_Comm *pair_out) {
    struct {
        int32_t status;
        char why[512];
    } result = {0};
    if (admission->is_root)
        result.status = (int32_t)spawn(admission, pair_out);
    if (result.status != HYSGD_OK)
        snprintf(result.why, sizeof result.why, "%s", hysgd_error_message());
    int code = MPI_Bcast(&result, sizeof result, MPI_BYTE, 0, living);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "a new process cannot join the others");
    return result.status == HYSGD_OK ? HYSGD_OK : hysgd_fail((enum hysgd_status)result.status, "%s", result.why);
}

/* Those of `own`, and those at the other end of `pair`, which the first of `own` has. */
static int unite(MPI_Comm own, MPI_Comm pair, int other, bool comes_last, MPI_Comm *merged_out) {
    MPI_Comm between;
    int code = MPI_Intercomm_create(own, 0, pair, other, TAG_UNITE, &between);
    return code == MPI_SUCCESS ? MPI_Intercomm_merge(between, comes_last, merged_out) : code;
}

/* Those who take part, the root first. */
static int gather_living(const struct admission *admission, MPI_Comm *living_out) {
    MPI_Group all, group;
    MPI_Comm_group(admission->parent->comm, &all);
    MPI_Group_incl(all, admission->count, admission->places, &group);
    int code = MPI_Comm_create_group(admission->parent->comm, group, admission->rank, living_out);
    MPI_Group_free(&all);
    MPI_Group_free(&group);
    return code;
}

/* All learn who the new process is, and it learns where it is. */
static enum hysgd_status introduce(struct admission *admission, MPI_Comm merged) {
    struct invitation invitation = {admission->rank, admission->count, admission->most, HYSGD_OK, admission->bytes};
    int size = (int)sizeof admission->own;
    int code = MPI_Bcast(&invitation, sizeof invitation, MPI_BYTE, 0, merged);
    if (code == MPI_SUCCESS)
        code = MPI_Bcast(admission->ranks, admission->count, MPI_INT, 0, merged);
    if (code == MPI_SUCCESS && !admission->is_root)
        HYSGD_TRY(memory_alloc(invitation.bytes, 1, &admission->welcome)); /* which only the new one needs */
    if (code == MPI_SUCCESS)
        code = MPI_Bcast(admission->welcome, (int)invitation.bytes, MPI_BYTE, 0, merged);
    if (code == MPI_SUCCESS)
        code = MPI_Allgather(&admission->own, size, MPI_BYTE, admission->identities, size, MPI_BYTE, merged);
    return code == MPI_SUCCESS ? HYSGD_OK : comm_mpi_fail(code, "a new process cannot be introduced");
}

static enum hysgd_status admit(struct admission *admission) {
    MPI_Comm living, pair = MPI_COMM_NULL, merged;
    int code = gather_living(admission, &living);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "the ranks that are left cannot meet");
    MPI_Comm_set_errhandler(living, MPI_ERRORS_RETURN);
    HYSGD_TRY(spawn_together(admission, living, &pair));
    code = unite(living, pair, 1, false, &merged);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "a new process cannot join the others");
    MPI_Comm_set_errhandler(merged, MPI_ERRORS_RETURN);
    HYSGD_TRY(introduce(admission, merged));
    HYSGD_TRY(comm_mpi_make_gathering(admission->most, merged, &admission->merged));
    for (int i = 0; i < admission->count; i++)
        admission->merged->places[admission->ranks[i]] = i;
    admission->merged->places[admission->rank] = admission->count;
    return HYSGD_OK;
}

static void *admission_main(void *argument) {
    struct admission *admission = argument;
    admission->status = admit(admission);
    if (admission->status != HYSGD_OK)
        snprintf(admission->message, sizeof admission->message, "%s", hysgd_error_message());
    atomic_store(&admission->is_over, true);
    return NULL;
}

/* What an admission has brought is kept for the next one. */
void comm_mpi_step_admission(struct end *end) {
    struct admission *admission = end->admission;
    if (!atomic_load(&admission->is_over))
        return;
    enum hysgd_status status = admission->status;
    pthread_join(admission->thread, NULL);
    end->admission = NULL;
    comm_mpi_note_growth();
    if (status == HYSGD_OK) {
        end->gatherings[admission->rank + 1] = end->through[admission->rank] = admission->merged;
        end->identities[admission->rank] = admission->identities[admission->count];
        admission->merged = NULL;
        comm_mpi_know(end, admission->rank, &admission->own);
    } else {
        end->has_failed_to_admit = true;
        status_set_message(admission->message);
    }
    admission_free(admission);
    comm_has_admitted(&end->comm, status);
}

static enum hysgd_status prepare_admission(struct end *end, const struct comm_admission *wanted,
                                           struct admission *admission) {
    admission->parent = end->gatherings[wanted->latest + 1];
    admission->own = comm_identity_here(bell_handle(end->comm.bell));
    admission->is_root = wanted->root == end->comm.rank;
    if (wanted->host != NULL)
        snprintf(admission->host, sizeof admission->host, "%s", wanted->host);
    HYSGD_TRY(memory_alloc((size_t)wanted->rank, sizeof *admission->ranks, &admission->ranks));
    admission->ranks[admission->count++] = wanted->root;
    for (int i = 0; i < wanted->rank; i++)
        if (wanted->takes_part[i] && i != wanted->root)
            admission->ranks[admission->count++] = i;
    HYSGD_TRY(memory_alloc((size_t)admission->count, sizeof *admission->places, &admission->places));
    for (int i = 0; i < admission->count; i++) {
        admission->places[i] = admission->parent != NULL ? admission->parent->places[admission->ranks[i]] : -1;
        if (admission->places[i] < 0)
            return hysgd_fail(HYSGD_FAILED, "rank %d cannot be admitted: rank %d was not there with rank %d",
                              wanted->rank, admission->ranks[i], wanted->latest);
    }
    HYSGD_TRY(memory_alloc((size_t)admission->count + 1, sizeof *admission->identities, &admission->identities));
    if (!admission->is_root)
        return HYSGD_OK;
    admission->bytes = wanted->bytes;
    HYSGD_TRY(memory_alloc(wanted->bytes, 1, &admission->welcome));
    memcpy(admission->welcome, wanted->welcome, wanted->bytes);
    return HYSGD_OK;
}

enum hysgd_status comm_mpi_admit(struct comm *comm, const struct comm_admission *wanted) {
    struct end *end = (struct end *)comm;
    struct admission *admission;
    if (end->has_failed_to_admit)
        return hysgd_fail(HYSGD_FAILED,
                          "no process can join any more, since one could not be started: Open MPI would "
                          "end the run with the next");
    HYSGD_TRY(memory_alloc(1, sizeof *admission, &admission));
    *admission = (struct admission){.rank = wanted->rank, .most = comm->most};
    enum hysgd_status status = prepare_admission(end, wanted, admission);
    if (status == HYSGD_OK && pthread_create(&admission->thread, NULL, admission_main, admission) != 0)
        status = hysgd_fail(HYSGD_FAILED, "rank %d cannot be admitted: no thread can be started", wanted->rank);
    if (status == HYSGD_OK)
        end->admission = admission;
    else
        admission_free(admission);
    return status;
}

/* ---- Being admitted ---- */

static enum hysgd_status hear_invitation(struct end *end, MPI_Comm merged, const struct invitation *invitation,
                                         int *ranks, struct comm_identity *identities) {
    struct comm *comm = &end->comm;
    struct comm_identity own = comm_identity_here(bell_handle(comm->bell));
    int size = (int)sizeof own, code = MPI_Bcast(ranks, invitation->count, MPI_INT, 0, merged);
    HYSGD_TRY(memory_alloc(invitation->bytes, 1, &comm->welcome));
    comm->welcome_bytes = invitation->bytes;
    if (code == MPI_SUCCESS)
        code = MPI_Bcast(comm->welcome, (int)invitation->bytes, MPI_BYTE, 0, merged);
    if (code == MPI_SUCCESS)
        code = MPI_Allgather(&own, size, MPI_BYTE, identities, size, MPI_BYTE, merged);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "the group cannot be joined");
    ranks[invitation->count] = comm->rank;
    for (int i = 0; i < comm->size; i++)
        comm->peers[i] = (struct comm_peer){.host = "nowhere", .is_abandoned = true};
    struct gathering **gathering = &end->gatherings[comm->rank + 1];
    HYSGD_TRY(comm_mpi_make_gathering(comm->most, merged, gathering));
    for (int i = 0; i <= invitation->count; i++) {
        comm->peers[ranks[i]].is_abandoned = false;
        (*gathering)->places[ranks[i]] = i;
        end->through[ranks[i]] = *gathering;
        end->identities[ranks[i]] = identities[i];
        comm_mpi_know(end, ranks[i], &own);
    }
    return HYSGD_OK;
}

enum hysgd_status comm_mpi_join(struct end *end, MPI_Comm parent) {
    MPI_Comm pair, merged;
    comm_mpi_note_growth();
    struct invitation invitation = {0};
    struct comm_identity *identities = NULL;
    int *ranks = NULL, code = MPI_Intercomm_merge(parent, 1, &pair);
    if (code == MPI_SUCCESS)
        code = unite(MPI_COMM_SELF, pair, 0, true, &merged);
    if (code == MPI_SUCCESS)
        code = MPI_Bcast(&invitation, sizeof invitation, MPI_BYTE, 0, merged);
    if (code != MPI_SUCCESS)
        return comm_mpi_fail(code, "the group cannot be joined");
    MPI_Comm_set_errhandler(merged, MPI_ERRORS_RETURN);
    end->world = merged;
    HYSGD_TRY(comm_mpi_init(end, invitation.rank, invitation.rank + 1, invitation.most));
    enum hysgd_status status = memory_alloc((size_t)invitation.count + 1, sizeof *ranks, &ranks);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)invitation.count + 1, sizeof *identities, &identities);
    if (status == HYSGD_OK)
        status = hear_invitation(end, merged, &invitation, ranks, identities);
    memory_free(ranks);
    memory_free(identities);
    return status;
}
