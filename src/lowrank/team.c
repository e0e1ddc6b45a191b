/* SPDX-License-Identifier: Apache-2.0 */
/* A team of threads: see team.h. Between two pieces of work the threads look for the next one for a moment, where
 * each has a core of its own, and then sleep. */
#include "lowrank/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"

/* Looks before sleeping: some ten microseconds. */
#define LOOKS 400

struct member {
    struct team *team;
    pthread_t handle;
    int thread;
};

struct team {
    int threads, started; /* started: of members, the caller not counted */
    bool spins;
    pthread_mutex_t lock;
    pthread_cond_t wake, rest;
    team_work work; /* of the present job, as its context; written while all rest */
    void *context;
    atomic_uint job;         /* number of the present or latest one; changed under the lock */
    atomic_int busy;         /* members that have not finished it */
    bool is_ending;          /* under the lock */
    struct member members[]; /* [threads - 1] */
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Returns the number of the next job after `seen`, or `seen` when the team ends. */
static unsigned await_job(struct team *team, unsigned seen) {
    for (int i = 0; i < LOOKS && team->spins; i++) {
        if (atomic_load_explicit(&team->job, memory_order_acquire) != seen)
            break;
        pause_briefly();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load_explicit(&team->job, memory_order_relaxed) == seen && !team->is_ending)
        pthread_cond_wait(&team->wake, &team->lock);
    unsigned job = atomic_load_explicit(&team->job, memory_order_relaxed);
    pthread_mutex_unlock(&team->lock);
    return job;
}

static void *serve(void *context) {
    struct member *member = context;
    struct team *team = member->team;
    for (unsigned seen = 0, job; (job = await_job(team, seen)) != seen; seen = job) {
        team->work(team->context, member->thread);
        if (atomic_fetch_sub_explicit(&team->busy, 1, memory_order_acq_rel) > 1)
            continue;
        pthread_mutex_lock(&team->lock); /* the caller is either before its look at `busy` or asleep */
        pthread_cond_signal(&team->rest);
        pthread_mutex_unlock(&team->lock);
    }
    return NULL;
}

enum hysgd_status team_start(int threads, struct team **team_out) {
    struct team *team;
    HYSGD_TRY(memory_alloc(1, sizeof *team + (size_t)(threads - 1) * sizeof *team->members, &team));
    team->threads = threads;
    team->spins = threads <= machine_cores();
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->rest, NULL);
    for (; team->started < threads - 1; team->started++) {
        struct member *member = &team->members[team->started];
        member->team = team;
        member->thread = team->started + 1;
        int fault = pthread_create(&member->handle, NULL, serve, member);
        if (fault != 0) {
            int started = team->started;
            team_stop(team);
            return hysgd_fail(HYSGD_FAILED, "thread %d of %d could not be started: %s", started + 2, threads,
                              strerror(fault));
        }
    }
    *team_out = team;
    return HYSGD_OK;
}

void team_stop(struct team *team) {
    if (team == NULL)
        return;
    pthread_mutex_lock(&team->lock);
    team->is_ending = true;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    for (int i = 0; i < team->started; i++)
        pthread_join(team->members[i].handle, NULL);
    pthread_cond_destroy(&team->rest);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    memory_free(team);
}

int team_threads(const struct team *team) {
    return team->threads;
}

static void await_rest(struct team *team) {
    for (int i = 0; i < LOOKS && team->spins; i++) {
        if (atomic_load_explicit(&team->busy, memory_order_acquire) == 0)
            return;
        pause_briefly();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load_explicit(&team->busy, memory_order_acquire) > 0)
        pthread_cond_wait(&team->rest, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

void team_run(struct team *team, team_work work, void *context) {
    team->work = work;
    team->context = context;
    atomic_store_explicit(&team->busy, team->started, memory_order_relaxed);
    if (team->started > 0) {
        pthread_mutex_lock(&team->lock);
        atomic_fetch_add_explicit(&team->job, 1, memory_order_release);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->lock);
    }
    work(context, 0);
    await_rest(team);
}

void team_share(const struct team *team, int thread, uint64_t count, uint64_t *first_out, uint64_t *end_out) {
    uint64_t threads = (uint64_t)team->threads, each = count / threads, more = count % threads;
    uint64_t own = (uint64_t)thread;
    *first_out = own * each + (own < more ? own : more);
    *end_out = *first_out + each + (own < more);
}
