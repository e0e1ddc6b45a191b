/* SPDX-License-Identifier: Apache-2.0 */
/* A run assembled from texts, as the train layer does it, but with nothing hidden: a test can look at the training
 * before, while and after it runs. */
#ifndef HYSGD_TESTS_RUNTIME_FIXTURE_H
#define HYSGD_TESTS_RUNTIME_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <pthread.h>

#include "base/memory.h"
#include "data/data.h"
#include "model/model.h"
#include "policy/policy.h"
#include "runtime/comm_local.h"
#include "runtime/drive.h"
#include "runtime/ranks.h"
#include "runtime/runtime.h"
#include "runtime/worker.h"

/* What a run is made of; 0 and NULL take the default of run_open. */
struct run_setup {
    const char *data, *model, *policy, *optimizer, *runtime;
    const struct hysgd_model_ops *own_model; /* instead of `model` */
    void *own_model_self;
    const struct hysgd_data_ops *own_data;     /* instead of `data` */
    const char *local, *local_optimizer;       /* an elastic policy has its own defaults, see run_open_local */
    const struct hysgd_policy_ops *own_policy; /* instead of `policy` */
    enum engine_combine combine;
    const char *partition, *worker_weights, *correction, *wire;
    enum training_orphans orphans;
    int workers, spare; /* of the workers, so many are not there at the beginning */
    size_t batch, micro_batch;
    uint64_t seed;
    struct timing_texts timing;
    struct training_limits limits;
    struct training_cadence evaluate_every, save_every;
    const char *save_path, *resume_path;
    bool without_gradients, has_remote_vectors;
    uint64_t stop_at; /* training_stop from the sink at this arrival; 0: never */
    size_t ring;      /* events in the recorder's ring; 0: no recorder */
    void (*watch)(void *self, const struct training *training, const struct event *event); /* for every event */
    void *watch_self;
    /* Of a rank that comes to lead: it may set the recorder; `self` is the struct run. */
    enum hysgd_status (*take_over)(void *self, struct training_record *record);
    int servers;    /* of runtime mpi: dedicated ranks */
    uint64_t chaos; /* of runtime mpi: seed of the delays of messages; 0: none */
};

#define FIXTURE_MOST_EVALUATIONS 64

struct run {
    struct run_setup from;
    struct plugin policy, model, data, optimizer, runtime, partition, correction;
    struct plugin local, local_optimizer, wire;
    struct timing timing;
    struct recorder *recorder;
    struct training_setup setup;
    struct training training;
    const char *metadata[11][2];
    char numbers[3][24];
    double seconds;
    struct event_summary summary;                            /* after run_go */
    uint64_t arrivals, starts, updates, checkpoints, losses; /* events seen */
    uint64_t trace;                                          /* hash of all decisions seen */
    struct event evaluations[FIXTURE_MOST_EVALUATIONS];
    int evaluation_count;
};

static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) /* FNV-1a */
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

static inline void run_note_decision(struct run *run, const struct event *event) {
    int64_t parts[] = {event->kind, event->worker, (int64_t)event->version};
    run->trace = hash_bytes(run->trace, parts, sizeof parts);
    run->trace = hash_bytes(run->trace, &event->seconds, sizeof event->seconds);
    if (event->kind == EVENT_ARRIVAL) {
        uint64_t more[] = {event->arrival.read, event->arrival.threshold, event->arrival.held};
        run->trace = hash_bytes(run->trace, more, sizeof more);
        run->trace = hash_bytes(run->trace, &event->arrival.loss, sizeof event->arrival.loss);
    }
}

static inline enum hysgd_status run_see(void *self, const struct event *event) {
    struct run *run = self;
    run->arrivals += event->kind == EVENT_ARRIVAL;
    run->starts += event->kind == EVENT_START;
    run->updates += event->kind == EVENT_UPDATE;
    run->checkpoints += event->kind == EVENT_CHECKPOINT;
    run->losses += event->kind == EVENT_LOST;
    if (event->kind == EVENT_EVALUATION && run->evaluation_count < FIXTURE_MOST_EVALUATIONS)
        run->evaluations[run->evaluation_count++] = *event;
    run_note_decision(run, event);
    if (run->from.watch)
        run->from.watch(run->from.watch_self, &run->training, event);
    if (event->kind == EVENT_ARRIVAL && run->arrivals == run->from.stop_at)
        training_stop(&run->training);
    return HYSGD_OK;
}

static const struct sink_ops run_sink = {.event = run_see};

static inline const char *run_text(const char *text, const char *otherwise) {
    return text ? text : otherwise;
}

static inline bool run_is_elastic(const struct run *run) {
    const struct hysgd_policy_worker_ops *ops = policy_ops(&run->policy)->worker_ops;
    return ops && ops->elasticity && ops->elasticity(run->policy.self, run->setup.workers) > 0;
}

/* A policy that cannot do without local steps gets them, and what else it needs. */
static inline enum hysgd_status run_open_local(struct run *run) {
    struct run_setup *from = &run->from;
    if (run_is_elastic(run)) {
        from->optimizer = "sgd,rate=1";
        from->local = run_text(from->local, "fixed,steps=2");
        from->local_optimizer = run_text(from->local_optimizer, "sgd,rate=0.01");
        run->setup.combine = ENGINE_SUM;
    }
    if (!from->local)
        return HYSGD_OK;
    HYSGD_TRY(plugin_open(&local_list, from->local, &run->local));
    run->setup.local = &run->local;
    if (!from->local_optimizer)
        return HYSGD_OK;
    run->setup.local_optimizer = &run->local_optimizer;
    return plugin_open(&optimizer_list, from->local_optimizer, &run->local_optimizer);
}

static inline enum hysgd_status run_open_plugins(struct run *run) {
    const struct run_setup *from = &run->from;
    if (from->own_data)
        HYSGD_TRY(plugin_adopt("data", &from->own_data->about, NULL, NULL, &run->data));
    else
        HYSGD_TRY(plugin_open(&data_list, run_text(from->data, "none,samples=1000"), &run->data));
    if (data_ops(&run->data)->init)
        HYSGD_TRY(data_ops(&run->data)->init(run->data.self, run->setup.seed));
    struct hysgd_data_shape shape;
    data_ops(&run->data)->describe(run->data.self, &shape);
    if (from->own_model)
        HYSGD_TRY(plugin_adopt("model", &from->own_model->about, from->own_model_self, NULL, &run->model));
    else
        HYSGD_TRY(model_open(run_text(from->model, "quadratic,dimension=10"), &run->model));
    if (model_ops(&run->model)->init)
        HYSGD_TRY(model_ops(&run->model)->init(run->model.self, &shape));
    if (from->own_policy)
        HYSGD_TRY(plugin_adopt("policy", &from->own_policy->about, NULL, NULL, &run->policy));
    else
        HYSGD_TRY(plugin_open(&policy_list, run_text(from->policy, "async"), &run->policy));
    if (policy_ops(&run->policy)->init)
        HYSGD_TRY(policy_ops(&run->policy)->init(run->policy.self, run->setup.workers));
    HYSGD_TRY(run_open_local(run));
    HYSGD_TRY(plugin_open(&optimizer_list, run_text(run->from.optimizer, "sgd,rate=0.01"), &run->optimizer));
    HYSGD_TRY(plugin_open(&correction_list, run_text(from->correction, "none"), &run->correction));
    HYSGD_TRY(plugin_open(&wire_list, run_text(from->wire, "fp32"), &run->wire));
    HYSGD_TRY(plugin_open(&partition_list, run_text(from->partition, "iid"), &run->partition));
    return plugin_open(&runtime_list, run_text(from->runtime, "virtual"), &run->runtime);
}

/* Whether the run has several ranks, which are threads here. */
static inline bool run_is_spread(const struct run_setup *from) {
    return strncmp(run_text(from->runtime, "virtual"), "mpi", 3) == 0;
}

static inline void run_describe(struct run *run) {
    const struct run_setup *from = &run->from;
    snprintf(run->numbers[0], sizeof run->numbers[0], "%d", run->setup.workers);
    snprintf(run->numbers[1], sizeof run->numbers[1], "%zu", run->setup.batch);
    snprintf(run->numbers[2], sizeof run->numbers[2], "%llu", (unsigned long long)run->setup.seed);
    const char *const pairs[11][2] = {{"data", run_text(from->data, "none")},
                                      {"model", run_text(from->model, "quadratic")},
                                      {"policy", run_text(from->policy, "async")},
                                      {"optimizer", run_text(from->optimizer, "sgd")},
                                      {"combine", from->combine == ENGINE_MEAN ? "mean" : "sum"},
                                      {"workers", run->numbers[0]},
                                      {"batch", run->numbers[1]},
                                      {"seed", run->numbers[2]},
                                      {"correction", run_text(from->correction, "none")},
                                      {"wire", run_text(from->wire, "fp32")},
                                      {"orphans", from->orphans == TRAINING_SHARE_ORPHANS ? "share" : "skip"}};
    memcpy(run->metadata, pairs, sizeof pairs);
}

/* Builds the part of a rank up to the point where it can go. run_close accepts what there is when it fails. */
static inline enum hysgd_status run_open_rank(struct run *run, const struct run_setup *from, int rank) {
    int workers = from->workers ? from->workers : 4;
    *run = (struct run){.from = *from, .trace = UINT64_C(14695981039346656037)};
    run->setup = (struct training_setup){.policy = &run->policy,
                                         .model = &run->model,
                                         .data = &run->data,
                                         .optimizer = &run->optimizer,
                                         .combine = from->combine,
                                         .correction = &run->correction,
                                         .wire = &run->wire,
                                         .partition = &run->partition,
                                         .orphans = from->orphans,
                                         .worker_weights = from->worker_weights,
                                         .workers = workers,
                                         .spare = from->spare,
                                         .batch = from->batch ? from->batch : 10,
                                         .micro_batch = from->micro_batch,
                                         .seed = from->seed ? from->seed : 1,
                                         .timing = &run->timing,
                                         .limits = from->limits,
                                         .evaluate_every = from->evaluate_every,
                                         .save_every = from->save_every,
                                         .evaluate_batch = 64,
                                         .save_path = from->save_path,
                                         .resume_path = from->resume_path,
                                         .metadata = (const char *const(*)[2])run->metadata,
                                         .metadata_count = 11,
                                         .computes_gradients = !from->without_gradients,
                                         .has_remote_vectors = from->has_remote_vectors || run_is_spread(from),
                                         .has_one_worker = run_is_spread(from),
                                         .take_over = from->take_over,
                                         .take_over_self = run,
                                         .only_worker = rank < workers ? rank : -1};
    run_describe(run);
    HYSGD_TRY(run_open_plugins(run));
    HYSGD_TRY(timing_init(&run->timing, &from->timing, run->setup.workers, run->setup.seed));
    if (from->ring) {
        HYSGD_TRY(recorder_alloc(from->ring, &run->recorder));
        HYSGD_TRY(recorder_add(run->recorder, &run_sink, run));
        run->setup.recorder = run->recorder;
    }
    HYSGD_TRY(training_init(&run->training, &run->setup));
    return from->resume_path ? training_resume(&run->training, from->resume_path) : HYSGD_OK;
}

static inline enum hysgd_status run_open(struct run *run, const struct run_setup *from) {
    return run_open_rank(run, from, 0);
}

static inline enum hysgd_status run_go_rank(struct run *run, struct comm *end) {
    if (end) {
        struct ranks_options *options = run->runtime.self;
        options->comm = end;
        options->servers = run->from.servers;
    }
    return runtime_ops(&run->runtime)->run(run->runtime.self, &run->training, &run->seconds);
}

/* One rank from its beginning to its end, whose end of the group is closed then. */
static inline enum hysgd_status run_whole_rank(struct run *run, const struct run_setup *from, int rank,
                                               struct comm *end) {
    enum hysgd_status status = run_open_rank(run, from, rank);
    if (status == HYSGD_OK)
        return run_go_rank(run, end);
    comm_close(end, false);
    return status;
}

/* Another rank than the first. */
struct run_rank {
    pthread_t thread;
    struct run_setup from;
    int rank;
    struct comm *end;
    enum hysgd_status status;
};

static inline void *run_rank_main(void *argument);

/* The first rank is this thread. */
static inline enum hysgd_status run_go_spread(struct run *run) {
    int size = run->setup.workers + run->from.servers;
    const struct comm_local_setup setup = {.size = size, .seed = run->from.chaos, .most_delay = 3};
    struct comm **ends;
    struct run_rank *others;
    HYSGD_TRY(memory_alloc((size_t)size, sizeof *ends, &ends));
    HYSGD_TRY(memory_alloc((size_t)size, sizeof *others, &others));
    HYSGD_TRY(comm_local_open(&setup, ends));
    for (int i = 1; i < size; i++) {
        others[i] = (struct run_rank){.from = run->from, .rank = i, .end = ends[i]};
        pthread_create(&others[i].thread, NULL, run_rank_main, &others[i]);
    }
    enum hysgd_status status = run_go_rank(run, ends[0]);
    for (int i = 1; i < size; i++)
        pthread_join(others[i].thread, NULL);
    memory_free(others);
    memory_free(ends);
    if (status != HYSGD_OK)
        status_set_message(run->training.message);
    return status;
}

static inline enum hysgd_status run_go(struct run *run) {
    enum hysgd_status status = run_is_spread(&run->from) ? run_go_spread(run) : run_go_rank(run, NULL);
    training_summarize(&run->training, run->seconds, &run->summary);
    return status;
}

static inline void run_close(struct run *run) {
    training_fini(&run->training);
    recorder_free(run->recorder);
    timing_fini(&run->timing);
    if (run->policy.ops && policy_ops(&run->policy)->fini)
        policy_ops(&run->policy)->fini(run->policy.self);
    if (run->model.ops && model_ops(&run->model)->fini)
        model_ops(&run->model)->fini(run->model.self);
    if (run->data.ops && data_ops(&run->data)->fini)
        data_ops(&run->data)->fini(run->data.self);
    plugin_close(&run->policy);
    plugin_close(&run->model);
    plugin_close(&run->data);
    plugin_close(&run->optimizer);
    plugin_close(&run->partition);
    plugin_close(&run->correction);
    plugin_close(&run->wire);
    plugin_close(&run->runtime);
    plugin_close(&run->local);
    plugin_close(&run->local_optimizer);
}

static inline void *run_rank_main(void *argument) {
    struct run_rank *rank = argument;
    struct run run;
    rank->from.ring = 0;
    rank->from.watch = NULL;
    rank->status = run_whole_rank(&run, &rank->from, rank->rank, rank->end);
    run_close(&run);
    return NULL;
}

/* Opens and goes; any other status fails the test with the message. */
static inline void run_expect(struct run *run, const struct run_setup *from, enum hysgd_status expected) {
    enum hysgd_status status = run_open(run, from);
    if (status == HYSGD_OK)
        status = run_go(run);
    if (status != expected)
        fail_msg("%s on %s: status %d: %s", run_text(from->policy, "async"), run_text(from->runtime, "virtual"),
                 (int)status, hysgd_error_message());
}

/* The parameters, the statistics and the optimizer's states, to the last bit. */
static inline uint64_t run_hash(const struct run *run) {
    const struct server *server = &run->training.server;
    uint64_t hash = UINT64_C(14695981039346656037);
    hash = hash_bytes(hash, training_vector(&run->training), server->count * sizeof(float));
    for (int i = 0; i < server->optimizer->states && training_has_vectors(&run->training); i++)
        hash = hash_bytes(hash, server->states[i], server->parameter_count * sizeof(float));
    return hash;
}

/* The accounts of all workers without their shares, the totals and the clock, to the last bit. */
static inline uint64_t run_account(const struct run *run) {
    const struct event_summary *summary = &run->summary;
    uint64_t counts[] = {summary->updates, summary->forced_updates, summary->unfinished,
                         run->training.engine.progress.received};
    double times[] = {summary->seconds, summary->server_seconds};
    uint64_t hash = hash_bytes(UINT64_C(14695981039346656037), counts, sizeof counts);
    hash = hash_bytes(hash, times, sizeof times);
    for (int i = 0; i < summary->workers; i++) {
        struct event_account account = summary->accounts[i];
        account.share = (struct event_share){0, 0};
        hash = hash_bytes(hash, &account, sizeof account);
    }
    return hash;
}

/* The shares of a run with gradients, to the last bit. */
static inline uint64_t run_shares(const struct run *run) {
    const struct event_summary *summary = &run->summary;
    uint64_t hash = 1;
    for (int i = 0; i < summary->workers; i++)
        hash = hash_bytes(hash, &summary->accounts[i].share, sizeof summary->accounts[i].share);
    return hash_bytes(hash, summary->classes, (size_t)summary->class_count * sizeof *summary->classes);
}

/* Runs, closes, and gives the hash of the parameters. */
static inline uint64_t run_result(const struct run_setup *from) {
    struct run run;
    run_expect(&run, from, HYSGD_OK);
    uint64_t hash = run_hash(&run);
    run_close(&run);
    return hash;
}

/* Every gradient and every second of waiting is accounted for at the end. */
static inline void run_expect_balance(const struct run *run) {
    uint64_t received = 0, applied = 0, dropped = 0;
    double waiting = 0, caused = run->summary.server_waiting_seconds + run->summary.open_waiting_seconds;
    for (int i = 0; i < run->summary.workers; i++) {
        const struct event_account *account = &run->summary.accounts[i];
        assert_int_equal(account->received, account->applied + account->dropped);
        received += account->received;
        applied += account->applied;
        dropped += account->dropped;
        waiting += account->waiting_seconds;
        caused += account->caused_seconds;
    }
    assert_true(fabs(waiting - caused) <= 1e-9 * (1 + waiting));
    const struct engine *engine = &run->training.engine;
    assert_int_equal(received, engine->progress.received);
    assert_int_equal(applied, engine->applied);
    assert_int_equal(dropped, engine->dropped + engine->progress.held);
}

#endif
