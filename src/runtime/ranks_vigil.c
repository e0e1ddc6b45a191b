/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life before a run: empty messages of a tag of their own. See ranks_vigil.h. */
#include "runtime/ranks_vigil.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/machine.h"
#include "base/memory.h"

#define TAG_BEAT (COMM_TAG_END - 3)

/* Between two signs of life, and between two looks at the messages by the thread. */
#define BEAT_SECONDS    0.2
#define NAP_NANOSECONDS 5000000

/* Where no thread gives signs of life while data are read. */
#define LONG_PATIENCE 60.0

struct watched {
    struct ranks_vigil *vigil;
    int rank;
    double heard; /* on the machine's clock */
};

struct ranks_vigil {
    struct comm *comm;
    int rank, size;
    double patience, beaten, looked;
    struct watched *watched; /* [size] */
    char fault[64];
    pthread_t thread;
    bool is_started;
    atomic_bool is_ending;
};

static enum hysgd_status listen(struct watched *watched);

static void beat_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct watched *watched = self;
    (void)completion, (void)bytes;
    watched->heard = machine_seconds();
    enum hysgd_status status = listen(watched);
    (void)status; /* then it falls silent, which is told */
}

static enum hysgd_status listen(struct watched *watched) {
    return comm_receive(watched->vigil->comm, watched->rank, TAG_BEAT, NULL, 0, beat_has_come, watched);
}

/* Rank 0 hears all, and they hear it. */
static bool is_partner(const struct ranks_vigil *vigil, int rank) {
    return rank != vigil->rank && (vigil->rank == 0 || rank == 0);
}

enum hysgd_status ranks_vigil_open(struct comm *comm, double patience, struct ranks_vigil **vigil_out) {
    struct ranks_vigil *vigil;
    HYSGD_TRY(memory_alloc(1, sizeof *vigil, &vigil));
    *vigil_out = vigil;
    vigil->comm = comm;
    vigil->rank = comm_rank(comm);
    vigil->size = comm_size(comm);
    vigil->patience = comm_may_change_thread(comm) || patience > LONG_PATIENCE ? patience : LONG_PATIENCE;
    vigil->looked = machine_seconds();
    HYSGD_TRY(memory_alloc((size_t)vigil->size, sizeof *vigil->watched, &vigil->watched));
    for (int i = 0; i < vigil->size; i++) {
        vigil->watched[i] = (struct watched){.vigil = vigil, .rank = i, .heard = vigil->looked};
        if (is_partner(vigil, i))
            HYSGD_TRY(listen(&vigil->watched[i]));
    }
    return HYSGD_OK;
}

void ranks_vigil_close(struct ranks_vigil *vigil) {
    if (vigil == NULL)
        return;
    ranks_vigil_stop(vigil);
    memory_free(vigil->watched);
    memory_free(vigil);
}

/* A rank that was stopped itself has heard nobody: it listens before it judges. */
static void forgive_own_silence(struct ranks_vigil *vigil, double now) {
    if (now - vigil->looked > vigil->patience / 2)
        for (int i = 0; i < vigil->size; i++)
            vigil->watched[i].heard = now;
    vigil->looked = now;
}

enum hysgd_status ranks_vigil_step(struct ranks_vigil *vigil) {
    double now = machine_seconds();
    forgive_own_silence(vigil, now);
    if (now - vigil->beaten < BEAT_SECONDS)
        return HYSGD_OK;
    vigil->beaten = now;
    for (int i = 0; i < vigil->size; i++)
        if (is_partner(vigil, i))
            HYSGD_TRY(comm_send(vigil->comm, i, TAG_BEAT, NULL, 0, NULL, NULL));
    return HYSGD_OK;
}

const char *ranks_vigil_find_fault(struct ranks_vigil *vigil, int rank) {
    double silence = machine_seconds() - vigil->watched[rank].heard;
    if (comm_peer_has_died(vigil->comm, rank))
        return "has ended";
    if (!is_partner(vigil, rank) || silence <= vigil->patience)
        return NULL;
    snprintf(vigil->fault, sizeof vigil->fault, "has been silent for %.0f s", silence);
    return vigil->fault;
}

static void *vigil_main(void *argument) {
    struct ranks_vigil *vigil = argument;
    enum hysgd_status status = HYSGD_OK;
    while (status == HYSGD_OK && !atomic_load(&vigil->is_ending)) {
        status = ranks_vigil_step(vigil);
        if (status == HYSGD_OK)
            status = comm_progress(vigil->comm, NULL);
        nanosleep(&(struct timespec){0, NAP_NANOSECONDS}, NULL);
    }
    return NULL; /* a failure comes again where somebody can take note of it */
}

enum hysgd_status ranks_vigil_start(struct ranks_vigil *vigil) {
    if (vigil == NULL || !comm_may_change_thread(vigil->comm))
        return HYSGD_OK;
    atomic_store(&vigil->is_ending, false);
    int fault = pthread_create(&vigil->thread, NULL, vigil_main, vigil);
    if (fault != 0)
        return hysgd_fail(HYSGD_FAILED, "a thread cannot be started: %s", strerror(fault));
    vigil->is_started = true;
    return HYSGD_OK;
}

void ranks_vigil_stop(struct ranks_vigil *vigil) {
    if (vigil == NULL || !vigil->is_started)
        return;
    atomic_store(&vigil->is_ending, true);
    pthread_join(vigil->thread, NULL);
    vigil->is_started = false;
}
