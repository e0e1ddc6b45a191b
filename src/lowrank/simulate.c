/* SPDX-License-Identifier: Apache-2.0 */
/* Schedulers in virtual time: see simulate.h. */
#include "lowrank/simulate.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* The end of a task. */
struct event {
    double seconds;
    uint64_t order; /* breaks ties */
    int thread;
    struct scheduler_task task;
};

struct simulation {
    struct simulate_setup setup;
    struct event *heap; /* [threads] the earliest first */
    int working;        /* entries in it */
    int *queue;         /* [threads] ring of those who wait for a task, the longest first */
    int queue_first, queued;
    struct simulate_lane *lanes; /* [threads] */
    double *since;               /* [threads]: when one began to wait, also for the end of the epoch */
    double lock_is_free;         /* when the latest answer under the lock was given */
    uint64_t orders;             /* given out */
    struct simulate_account account;
    bool (*visit)(void *context, const struct scheduler_task *task);
    void *context;
};

enum hysgd_status simulation_alloc(const struct simulate_setup *setup, struct simulation **simulation_out) {
    struct simulation *simulation;
    size_t threads = (size_t)setup->grid->threads;
    HYSGD_TRY(memory_alloc(1, sizeof *simulation, &simulation));
    simulation->setup = *setup;
    enum hysgd_status status = memory_alloc(threads, sizeof *simulation->heap, &simulation->heap);
    if (status == HYSGD_OK)
        status = memory_alloc(threads, sizeof *simulation->queue, &simulation->queue);
    if (status == HYSGD_OK)
        status = memory_alloc(threads, sizeof *simulation->since, &simulation->since);
    if (status == HYSGD_OK)
        status = memory_alloc(threads, sizeof *simulation->lanes, &simulation->lanes);
    if (status != HYSGD_OK) {
        simulation_free(simulation);
        return status;
    }
    *simulation_out = simulation;
    return HYSGD_OK;
}

void simulation_free(struct simulation *simulation) {
    if (simulation == NULL)
        return;
    memory_free(simulation->heap);
    memory_free(simulation->queue);
    memory_free(simulation->since);
    memory_free(simulation->lanes);
    memory_free(simulation);
}

static bool is_before(const struct event *left, const struct event *right) {
    return left->seconds < right->seconds || (left->seconds == right->seconds && left->order < right->order);
}

static void add_event(struct simulation *simulation, const struct event *event) {
    int hole = simulation->working++;
    for (; hole > 0 && is_before(event, &simulation->heap[(hole - 1) / 2]); hole = (hole - 1) / 2)
        simulation->heap[hole] = simulation->heap[(hole - 1) / 2];
    simulation->heap[hole] = *event;
}

static struct event remove_first_event(struct simulation *simulation) {
    struct event *heap = simulation->heap, first = heap[0], last = heap[--simulation->working];
    int hole = 0;
    for (int child; (child = 2 * hole + 1) < simulation->working; hole = child) {
        if (child + 1 < simulation->working && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &last))
            break;
        heap[hole] = heap[child];
    }
    heap[hole] = last;
    return first;
}

/* A thread asks at a time; it gets a task, or is noted as waiting since then. */
static enum scheduler_answer ask(struct simulation *simulation, int thread, double at, bool *goes_on) {
    const struct simulate_setup *setup = &simulation->setup;
    struct simulate_account *account = &simulation->account;
    double answered = (setup->ops->is_serial ? fmax(at, simulation->lock_is_free) : at) + setup->request_seconds;
    simulation->lock_is_free = answered;
    account->scheduling += answered - at;
    account->requests++;
    struct scheduler_task task;
    enum scheduler_answer answer = setup->ops->next(setup->self, thread, &task);
    simulation->since[thread] = answered;
    if (answer != SCHEDULER_TASK)
        return answer;
    double ratings =
        (double)setup->grid->counts[(size_t)task.row * (size_t)setup->grid->columns + (size_t)task.column];
    double seconds = ratings / (setup->speeds != NULL ? setup->speeds[thread] : 1);
    account->busy += seconds;
    simulation->lanes[thread].busy += seconds;
    simulation->lanes[thread].visits += (uint64_t)ratings;
    account->tasks++;
    *goes_on = simulation->visit(simulation->context, &task);
    add_event(simulation, &(struct event){answered + seconds, simulation->orders++, thread, task});
    return answer;
}

static void enqueue(struct simulation *simulation, int thread) {
    int threads = simulation->setup.grid->threads;
    simulation->queue[(simulation->queue_first + simulation->queued++) % threads] = thread;
}

/* Asks for those who wait, until one has to wait on. */
static void ask_for_waiting(struct simulation *simulation, double at, bool *goes_on) {
    while (simulation->queued > 0 && *goes_on) {
        int thread = simulation->queue[simulation->queue_first];
        double waited = fmax(at - simulation->since[thread], 0);
        simulation->account.waiting += waited;
        if (ask(simulation, thread, simulation->since[thread] + waited, goes_on) == SCHEDULER_WAIT)
            return;
        simulation->queue_first = (simulation->queue_first + 1) % simulation->setup.grid->threads;
        simulation->queued--;
    }
}

static void end_task(struct simulation *simulation, bool *goes_on) {
    struct event event = remove_first_event(simulation);
    simulation->setup.ops->done(simulation->setup.self, event.thread, &event.task);
    if (ask(simulation, event.thread, event.seconds, goes_on) == SCHEDULER_WAIT)
        enqueue(simulation, event.thread);
    else
        ask_for_waiting(simulation, event.seconds, goes_on);
}

enum hysgd_status simulate_epoch(struct simulation *simulation,
                                 bool (*visit)(void *context, const struct scheduler_task *task), void *context,
                                 struct simulate_account *account_out) {
    int threads = simulation->setup.grid->threads;
    bool goes_on = true;
    simulation->account = (struct simulate_account){0};
    memset(simulation->lanes, 0, (size_t)threads * sizeof *simulation->lanes);
    simulation->working = simulation->queued = 0;
    simulation->lock_is_free = 0;
    simulation->orders = 0;
    simulation->visit = visit;
    simulation->context = context;
    for (int thread = 0; thread < threads && goes_on; thread++)
        if (ask(simulation, thread, 0, &goes_on) == SCHEDULER_WAIT)
            enqueue(simulation, thread);
    while (simulation->working > 0 && goes_on)
        end_task(simulation, &goes_on);
    if (goes_on && simulation->queued > 0)
        return hysgd_fail(HYSGD_FAILED, "scheduler %s: nobody works and %d of %d threads wait for each other",
                          simulation->setup.ops->about.name, simulation->queued, threads);
    struct simulate_account *account = &simulation->account;
    for (int thread = 0; thread < threads; thread++)
        account->seconds = fmax(account->seconds, simulation->since[thread]);
    for (int thread = 0; thread < threads; thread++)
        account->waiting += account->seconds - simulation->since[thread];
    *account_out = *account;
    return HYSGD_OK;
}

struct simulate_lane simulation_lane(const struct simulation *simulation, int thread) {
    return simulation->lanes[thread];
}
