/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual runtime: deterministic discrete-event time. Each worker is charged a compute time and a delay from
 * the stated distributions and computes the true gradient at the version it read; the server serves one gradient at
 * a time, first come first served, and is charged its service times. So staleness is exact, and the same seed gives
 * the same run to the last bit. */
#include <math.h>

#include "base/memory.h"
#include "runtime/agenda.h"
#include "runtime/drive.h"
#include "runtime/flight.h"
#include "runtime/list.h"
#include "runtime/snapshot.h"
#include "runtime/worker.h"

struct virtual_run {
    struct training *training;
    struct agenda agenda;
    struct snapshot_flight *flights; /* [workers] of the workers that compute */
    double now;                      /* nothing happens before it any more */
    double server_free_at;
    uint64_t next_order;
};

static void plan_flight(struct virtual_run *run, int worker, bool is_new) {
    const struct snapshot_flight *flight = &run->flights[worker];
    bool arrives = flight->gives_up <= 0;
    const struct agenda_entry entry = {arrives ? flight->arrives : flight->gives_up, (uint64_t)flight->order,
                                       worker, arrives ? AGENDA_ARRIVES : AGENDA_GIVES_UP};
    if (is_new)
        agenda_add(&run->agenda, &entry);
    else
        agenda_hasten(&run->agenda, &entry);
}

/* The gradient of a flight is computed at once, since nothing that it depends on can change; one that will not be
 * delivered is only left behind. */
static enum hysgd_status compute_gradient(struct virtual_run *run, int worker) {
    struct training *training = run->training;
    uint64_t batches = training->engine.workers[worker].batches;
    if (!training->setup->computes_gradients) {
        training->workers[worker].draws += batches;
        return HYSGD_OK;
    }
    enum hysgd_status status = HYSGD_OK;
    drive_read(training, worker);
    if (run->flights[worker].gives_up > 0) {
        worker_seek(training, worker, training->workers[worker].draws + batches);
    } else {
        HYSGD_TRY(worker_open(training, worker));
        status = worker_compute(training, worker, server_read_vector(&training->server, worker), NULL);
    }
    server_has_read(&training->server, worker);
    return status;
}

/* A released worker reads the present version and computes; its gradient will arrive later, unless its patience
 * ends before. */
static enum hysgd_status start_worker(struct virtual_run *run, int worker) {
    struct training *training = run->training;
    struct snapshot_flight *flight = &run->flights[worker];
    uint64_t draw = training->workers[worker].draws;
    drive_started(training, worker, training->engine.workers[worker].read, flight->started);
    flight_plan(training, worker, draw, flight);
    flight->order = (double)run->next_order++;
    HYSGD_TRY(compute_gradient(run, worker));
    flight->loss = training->workers[worker].loss;
    flight->is_computed = 1;
    plan_flight(run, worker, true);
    return HYSGD_OK;
}

/* Notes who was released and when, in the engine's order, so that a checkpoint can tell before they have started.
 */
static void release_workers(struct virtual_run *run, double seconds) {
    const struct engine *engine = &run->training->engine;
    for (int i = 0; i < engine->released_count; i++)
        run->flights[engine->released[i]] =
            (struct snapshot_flight){.started = seconds, .order = (double)(run->next_order + (uint64_t)i)};
}

/* Starts those released by the latest call of the engine, in its order. */
static enum hysgd_status start_released(struct virtual_run *run) {
    const struct engine *engine = &run->training->engine;
    for (int i = 0; i < engine->released_count; i++)
        HYSGD_TRY(start_worker(run, engine->released[i]));
    return HYSGD_OK;
}

/* Does what a verdict asks for; an update takes the server's time. The released workers are noted, not yet started.
 */
static enum hysgd_status act(struct virtual_run *run, const struct engine_verdict *verdict) {
    struct training *training = run->training;
    double service = verdict->action == ENGINE_UPDATE ? timing_apply(training->setup->timing) : 0;
    HYSGD_TRY(drive_begin_action(training, verdict->action));
    if (training->setup->computes_gradients && verdict->action != ENGINE_NOTHING)
        server_help(&training->server, 0);
    run->server_free_at = run->now + service;
    run->now = run->server_free_at;
    training->server_seconds += service;
    HYSGD_TRY(drive_end_action(training, verdict, run->now, service));
    for (int i = 0; i < training->engine.cancelled_count; i++) {
        int worker = training->engine.cancelled[i];
        if (flight_cancel(training, worker, run->now, &run->flights[worker]))
            plan_flight(run, worker, false);
    }
    release_workers(run, run->now);
    return HYSGD_OK;
}

/* When the server will have received the earliest gradient, without drawing that time for good. */
static double peek_verdict(struct virtual_run *run, const struct agenda_entry *entry, double *receive_out) {
    struct timing *timing = run->training->setup->timing;
    *receive_out = timing_receive(timing);
    timing->received--;
    return fmax(entry->seconds, run->server_free_at) + *receive_out;
}

static enum hysgd_status process_arrival(struct virtual_run *run, const struct agenda_entry *entry,
                                         double verdict_at, double receive) {
    struct training *training = run->training;
    const struct snapshot_flight *flight = &run->flights[entry->worker];
    struct drive_arrival arrival = {.worker = entry->worker,
                                    .seconds = verdict_at,
                                    .compute_seconds = flight->compute_seconds,
                                    .transit_seconds = flight->transit_seconds,
                                    .pull_seconds = NAN,
                                    .push_seconds = NAN,
                                    .queue_seconds = verdict_at - entry->seconds,
                                    .receive_seconds = receive};
    struct engine_verdict verdict;
    training->setup->timing->received++;
    training->server_seconds += receive;
    run->now = verdict_at;
    HYSGD_TRY(drive_arrive(training, &arrival, &verdict));
    return act(run, &verdict);
}

static enum hysgd_status process_abandonment(struct virtual_run *run, const struct agenda_entry *entry) {
    const struct snapshot_flight *flight = &run->flights[entry->worker];
    double patience = run->training->engine.workers[entry->worker].patience;
    struct engine_verdict verdict;
    run->now = fmax(run->now, entry->seconds); /* a busy server is asked when it is done */
    struct drive_abandonment abandonment = {.worker = entry->worker,
                                            .seconds = run->now,
                                            .spent_seconds = entry->seconds - flight->started,
                                            .queue_seconds = run->now - entry->seconds,
                                            .is_cancelled = entry->seconds < flight->started + patience};
    HYSGD_TRY(drive_abandon(run->training, &abandonment, &verdict));
    return act(run, &verdict);
}

static enum hysgd_status process_loss(struct virtual_run *run, const struct agenda_entry *entry) {
    struct engine_verdict verdict;
    run->now = fmax(run->now, entry->seconds);
    HYSGD_TRY(drive_lose(run->training, entry->worker, run->now, &verdict));
    return act(run, &verdict);
}

static enum hysgd_status process_join(struct virtual_run *run, const struct agenda_entry *entry) {
    struct engine_verdict verdict;
    run->now = fmax(run->now, entry->seconds);
    HYSGD_TRY(drive_join(run->training, entry->worker, run->now, &verdict));
    return act(run, &verdict);
}

static enum hysgd_status evaluate(struct virtual_run *run, double seconds) {
    struct training *training = run->training;
    struct hysgd_metrics metrics;
    drive_begin_evaluation(training, seconds);
    const float *vector = training->setup->computes_gradients ? server_vector(&training->server) : NULL;
    HYSGD_TRY(drive_evaluate(training, vector, &metrics));
    drive_end_evaluation(training, &metrics, seconds);
    return HYSGD_OK;
}

static enum hysgd_status save(struct virtual_run *run, double seconds) {
    struct snapshot_in_flight in_flight = {run->flights, run->server_free_at, (double)run->next_order};
    struct snapshot_image *image;
    HYSGD_TRY(drive_begin_save(run->training, seconds, &in_flight, &image));
    enum hysgd_status status = drive_write_save(run->training, image);
    drive_end_save(run->training, image, status, seconds);
    return status;
}

static enum hysgd_status keep_milestones(struct virtual_run *run, double seconds) {
    if (drive_evaluation_is_due(run->training, seconds))
        HYSGD_TRY(evaluate(run, seconds));
    if (drive_save_is_due(run->training, seconds))
        HYSGD_TRY(save(run, seconds));
    return HYSGD_OK;
}

/* Milestones on the clock that come before the next event see the state as it is now. */
static enum hysgd_status keep_moments(struct virtual_run *run, double until) {
    double limit = run->training->setup->limits.seconds;
    for (double moment; (moment = drive_next_moment(run->training)) < until;) {
        if (limit > 0 && moment >= limit)
            break; /* the end evaluates and saves */
        run->now = fmax(run->now, moment);
        HYSGD_TRY(keep_milestones(run, moment));
        if (atomic_load(&run->training->is_stopping))
            break;
    }
    return HYSGD_OK;
}

static enum hysgd_status process(struct virtual_run *run, const struct agenda_entry *entry, double at,
                                 double receive) {
    switch (entry->kind) {
    case AGENDA_ARRIVES:
        return process_arrival(run, entry, at, receive);
    case AGENDA_GIVES_UP:
        return process_abandonment(run, entry);
    case AGENDA_JOINS:
        return process_join(run, entry);
    default:
        return process_loss(run, entry);
    }
}

/* Whether an entry has no meaning any more: the worker has been lost, and may have begun another gradient since
 * then, or it has not left that is to join. */
static bool is_void(const struct virtual_run *run, const struct agenda_entry *entry) {
    bool is_lost = run->training->engine.workers[entry->worker].activity == ENGINE_LOST;
    switch (entry->kind) {
    case AGENDA_LOST:
        return is_lost;
    case AGENDA_JOINS:
        return !is_lost;
    default:
        return is_lost || entry->order != (uint64_t)run->flights[entry->worker].order;
    }
}

/* One event, unless the run ends before it. */
static enum hysgd_status step(struct virtual_run *run) {
    struct training *training = run->training;
    double limit = training->setup->limits.seconds, receive = 0;
    if (!agenda_first(&run->agenda))
        return hysgd_fail(HYSGD_FAILED, "no worker computes any more after update %llu",
                          (unsigned long long)training->engine.progress.version);
    struct agenda_entry entry = *agenda_first(&run->agenda);
    bool is_stale = is_void(run, &entry);
    bool arrives = entry.kind == AGENDA_ARRIVES && !is_stale;
    double at = arrives ? peek_verdict(run, &entry, &receive) : entry.seconds;
    HYSGD_TRY(keep_moments(run, at));
    if (atomic_load_explicit(&training->is_stopping, memory_order_relaxed))
        return HYSGD_OK;
    if (limit > 0 && at > limit) {
        run->now = limit;
        drive_stop(training, "deadline");
        return HYSGD_OK;
    }
    agenda_remove_first(&run->agenda);
    if (is_stale)
        return HYSGD_OK;
    HYSGD_TRY(process(run, &entry, at, receive));
    if (drive_is_over(training, run->now))
        return HYSGD_OK; /* the released workers are started by whoever resumes */
    HYSGD_TRY(start_released(run));
    HYSGD_TRY(keep_milestones(run, run->now));
    return HYSGD_OK;
}

static void plan_changes(struct virtual_run *run) {
    const struct timing *timing = run->training->setup->timing;
    double begins = run->training->start_seconds;
    for (int i = 0; i < timing->workers; i++) {
        if (timing_will_lose(timing, i, begins))
            agenda_add(&run->agenda, &(struct agenda_entry){timing->lost_at[i], (uint64_t)i, i, AGENDA_LOST});
        if (timing_will_join(timing, i, begins))
            agenda_add(&run->agenda, &(struct agenda_entry){timing->joins_at[i], (uint64_t)i, i, AGENDA_JOINS});
    }
}

/* Keeps `starting` [count] in the order in which its workers were released. */
static void insert_starting(const struct virtual_run *run, int *starting, int count, int worker) {
    while (count > 0 && run->flights[starting[count - 1]].order > run->flights[worker].order) {
        starting[count] = starting[count - 1];
        count--;
    }
    starting[count] = worker;
}

/* Takes up what was under way when the checkpoint was written: gradients in flight, and workers that were about to
 * start. */
static enum hysgd_status take_up(struct virtual_run *run) {
    struct training *training = run->training;
    struct engine *engine = &training->engine;
    const struct snapshot *snapshot = training->resumed;
    run->server_free_at = snapshot->server_free_at;
    run->next_order = (uint64_t)snapshot->next_order;
    engine->released_count = 0;
    for (int i = 0; i < training->setup->workers; i++) {
        run->flights[i] = snapshot->flights[i];
        if (engine->workers[i].activity != ENGINE_COMPUTING)
            continue;
        if (run->flights[i].is_computed > 0) {
            const struct snapshot_flight *flight = &run->flights[i];
            worker_seek(training, i, training->workers[i].draws + engine->workers[i].batches);
            training->workers[i].loss = flight->loss;
            training->workers[i].is_under_way = true;
            plan_flight(run, i, true);
        } else {
            insert_starting(run, engine->released, engine->released_count++, i);
        }
    }
    return start_released(run);
}

static enum hysgd_status begin(struct virtual_run *run) {
    int workers = run->training->setup->workers;
    HYSGD_TRY(agenda_init(&run->agenda, 4 * workers)); /* the gradient of one that was lost stays there */
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *run->flights, &run->flights));
    run->next_order = (uint64_t)workers; /* losses come first */
    plan_changes(run);
    run->now = run->training->start_seconds;
    run->server_free_at = run->now;
    if (run->training->resumed && run->training->resumed->has_flights)
        return take_up(run);
    drive_restart(run->training, run->now);
    release_workers(run, run->now);
    return start_released(run);
}

/* Drains what a busy run records now and then; the ring would do so only when it is full. */
#define EVENTS_PER_DRAIN 64

static enum hysgd_status train(struct virtual_run *run) {
    struct training *training = run->training;
    HYSGD_TRY(begin(run));
    for (unsigned count = 1; !drive_is_over(training, run->now); count++) {
        HYSGD_TRY(step(run));
        if (count % EVENTS_PER_DRAIN == 0 || training->setup->computes_gradients)
            drive_drain(training, run->now);
    }
    if (drive_last_evaluation_is_due(training, run->now))
        HYSGD_TRY(evaluate(run, run->now));
    return drive_saves_at_end(training) ? save(run, run->now) : HYSGD_OK;
}

static enum hysgd_status virtual_run(void *self, struct training *training, double *seconds_out) {
    (void)self;
    struct virtual_run run = {.training = training};
    training->drainer = pthread_self();
    enum hysgd_status status = train(&run);
    if (status != HYSGD_OK)
        drive_fail(training, status);
    agenda_fini(&run.agenda);
    memory_free(run.flights);
    *seconds_out = run.now;
    return drive_finish(training);
}

const struct runtime_ops runtime_virtual = {
    .about = {"virtual", NULL, "deterministic discrete-event time: modelled clocks, true gradients", NULL, 0, NULL},
    .is_modelled = true,
    .run = virtual_run,
};
