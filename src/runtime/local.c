/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's rounds of local steps: see local.h.
 *
 * A round of H steps from the version c that the worker has read, with its own optimizer:
 *     x(0) = c,  x(h+1) = step(x(h), gradient of the next batch at x(h)),  delivered: c - x(H)
 * S. Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019, is this with sgd, policy sync and the
 * outer optimizer sgd with rate 1; DiLoCo (Douillard et al., arXiv 2311.08105) with adamw and nesterov.
 *
 * Under a policy with an elasticity alpha, S. Zhang, A. Choromanska and Y. LeCun, "Deep learning with Elastic
 * Averaging SGD", NeurIPS 2015, algorithm 1: the worker keeps its own x, which are c before its first round, and
 *     d = alpha (x - c),  x' = step(x - d, gradient at x),  then H - 1 more steps,  delivered: -d
 * so that the server's sgd with rate 1 and combine=sum makes it c + sum of d. The first gradient is taken before
 * the force acts, as there.
 *
 * Statistics observed in batches are averaged over the round with the weights m (1-m)^(H-h), which are those of H
 * batches one after the other; the server moves its own by as many batches as the round had. */
#include "runtime/local.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "linalg/vector.h"
#include "policy/policy.h"
#include "runtime/drive.h"
#include "runtime/worker.h"

/* How much a new measurement of a worker's pace counts. */
#define PACE_SHARE 0.25

static double elasticity_of(const struct training_setup *setup) {
    const struct hysgd_policy_worker_ops *ops = policy_ops(setup->policy)->worker_ops;
    return ops && ops->elasticity ? ops->elasticity(setup->policy->self, setup->workers) : 0;
}

static const struct local_ops *chosen(const struct training_setup *setup) {
    return setup->local && local_ops(setup->local)->count ? local_ops(setup->local) : NULL;
}

/* ---- Contradictions ---- */

/* An optimizer that adds the negative gradient to the parameters and does nothing else. */
static bool just_adds(const struct plugin *optimizer) {
    const struct optimizer *common = optimizer->self;
    return strcmp(optimizer->ops->name, "sgd") == 0 && common->rate == 1 && common->decay == 0 &&
           common->clip == 0 && common->schedule == SCHEDULE_CONSTANT && common->warmup == 0;
}

static bool has_worker_weights(const char *text) {
    return text && text[0] && strcmp(text, "none") != 0;
}

static enum hysgd_status check_elastic(const struct training_setup *setup) {
    const char *name = setup->policy->ops->name;
    if (!chosen(setup))
        return hysgd_fail(HYSGD_USAGE, "policy %s: needs local steps, such as local=fixed,steps=8", name);
    if (setup->combine != ENGINE_SUM)
        return hysgd_fail(HYSGD_USAGE,
                          "policy %s: combine=mean contradicts it: the server adds up what the workers move it by; "
                          "expected combine=sum",
                          name);
    if (!just_adds(setup->optimizer))
        return hysgd_fail(HYSGD_USAGE,
                          "policy %s: the server only adds up what the workers move it by: expected "
                          "optimizer=sgd,rate=1 and the workers' optimizer in local-optimizer",
                          name);
    if (setup->correction && strcmp(setup->correction->ops->name, "none") != 0)
        return hysgd_fail(
            HYSGD_USAGE,
            "policy %s: correction=%s contradicts it: worker and server are drawn to each other by the "
            "same difference; expected correction=none",
            name, setup->correction->ops->name);
    if (outgoing_is_lossy(setup->wire))
        return hysgd_fail(
            HYSGD_USAGE,
            "policy %s: wire=%s contradicts it: worker and server are drawn to each other by the same "
            "difference; expected wire=fp32",
            name, setup->wire->ops->name);
    if (setup->weighting.kind != ENGINE_WEIGHT_NONE || has_worker_weights(setup->worker_weights))
        return hysgd_fail(HYSGD_USAGE,
                          "policy %s: weights contradict it: worker and server are drawn to each other by the same "
                          "difference; expected staleness-weight=none and worker-weights=none",
                          name);
    return HYSGD_OK;
}

enum hysgd_status local_check(const struct training_setup *setup) {
    const struct local_ops *ops = chosen(setup);
    if (elasticity_of(setup) > 0)
        HYSGD_TRY(check_elastic(setup));
    if (ops && !setup->local_optimizer)
        return hysgd_fail(HYSGD_USAGE, "local %s: needs local-optimizer", ops->about.name);
    if (!ops && setup->local_optimizer)
        return hysgd_fail(HYSGD_USAGE,
                          "run: local-optimizer=%s needs local steps, such as local=fixed,steps=8: without them a "
                          "worker delivers gradients",
                          setup->local_optimizer->ops->name);
    return ops && ops->init ? ops->init(setup->local->self) : HYSGD_OK;
}

/* ---- Beginning and end ---- */

int local_vector_count(const struct training_setup *setup) {
    if (!chosen(setup))
        return 0;
    int kept = optimizer_ops(setup->local_optimizer)->states + (elasticity_of(setup) > 0);
    return 2 * kept + 1;
}

enum hysgd_status local_init(struct training *training) {
    const struct training_setup *setup = training->setup;
    struct local *local = &training->local;
    HYSGD_TRY(local_check(setup));
    if (!chosen(setup))
        return HYSGD_OK;
    const struct local_common *common = setup->local->self;
    local->ops = chosen(setup);
    local->self = setup->local->self;
    local->resets = common->state == LOCAL_RESET;
    local->elasticity = elasticity_of(setup);
    local->is_elastic = local->elasticity > 0;
    local->states = optimizer_ops(setup->local_optimizer)->states;
    local->kept = local->states + local->is_elastic;
    HYSGD_TRY(memory_alloc((size_t)setup->workers, sizeof *local->workers, &local->workers));
    return memory_alloc((size_t)setup->workers, sizeof *local->paces, &local->paces);
}

static void close_worker(struct local_worker *worker) {
    for (int i = 0; i < LOCAL_MOST_VECTORS; i++) {
        memory_free(worker->kept[i].working);
        memory_free(worker->kept[i].settled);
    }
    memory_free(worker->vector);
    memory_free(worker->gradient);
    memory_free(worker->observed);
}

void local_fini(struct training *training) {
    struct local *local = &training->local;
    for (int i = 0; local->workers && i < training->setup->workers; i++)
        close_worker(&local->workers[i]);
    memory_free(local->workers);
    memory_free(local->paces);
    *local = (struct local){0};
}

static enum hysgd_status alloc_zeros(size_t count, float **vector_out) {
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), vector_out));
    memset(*vector_out, 0, count * sizeof(float));
    return HYSGD_OK;
}

enum hysgd_status local_open(struct training *training, int index) {
    struct local *local = &training->local;
    size_t count = training->server.count, statistics = count - training->server.parameter_count;
    if (!local->ops || local->workers[index].is_open)
        return HYSGD_OK;
    struct local_worker *worker = &local->workers[index];
    for (int i = 0; i < local->kept; i++) {
        HYSGD_TRY(alloc_zeros(count, &worker->kept[i].settled));
        HYSGD_TRY(alloc_zeros(count, &worker->kept[i].working));
    }
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), local->is_elastic ? &worker->gradient : &worker->vector));
    HYSGD_TRY(memory_alloc(statistics, sizeof(float), &worker->observed));
    worker->is_open = true;
    return HYSGD_OK;
}

/* ---- A round ---- */

void local_begin(struct training *training, int index, double seconds) {
    const struct local *local = &training->local;
    struct engine *engine = &training->engine;
    if (!local->ops)
        return;
    double fraction = drive_fraction(training, seconds);
    double samples = (double)engine->received_batches * (double)training->setup->batch;
    local->workers[index].clock = (struct optimizer_clock){
        .updates = engine->workers[index].received_batches, .samples = samples, .fraction = fraction};
    const struct local_now now = {.fraction = fraction,
                                  .seconds = seconds,
                                  .updates = engine->progress.version,
                                  .paces = local->paces,
                                  .workers = training->setup->workers};
    engine->workers[index].batches = local->ops->count(local->self, &now, index);
}

/* What the round may change becomes what it was after the latest delivery. */
static void take_up(const struct local *local, struct local_worker *worker, const struct server *server) {
    for (int i = 0; i < local->kept; i++) {
        struct local_vector *vector = &worker->kept[i];
        if (i < local->states && local->resets)
            memset(vector->working, 0, server->count * sizeof(float));
        else
            memcpy(vector->working, vector->settled, server->count * sizeof(float));
    }
}

/* The parameters that the round changes, at its beginning. A worker's own statistics are never kept: they are the
 * server's. */
static float *begin_vector(const struct local *local, struct local_worker *worker, const struct server *server,
                           const float *start) {
    float *vector = local->is_elastic ? worker->kept[local->states].working : worker->vector;
    size_t first = local->is_elastic && worker->has_own ? server->parameter_count : 0;
    memcpy(vector + first, start + first, (server->count - first) * sizeof *vector);
    return vector;
}

/* The elastic force: see the head of the file. */
static void exchange(double elasticity, float *own, const float *start, float *delivered, size_t count) {
    float alpha = (float)elasticity;
    for (size_t i = 0; i < count; i++) {
        float difference = alpha * (own[i] - start[i]);
        own[i] -= difference;
        delivered[i] = -difference;
    }
}

static struct optimizer_step next_step(const struct training *training, const struct local_worker *worker,
                                       uint64_t number, const float *gradient) {
    const struct optimizer *common = training->setup->local_optimizer->self;
    struct optimizer_clock clock = worker->clock;
    clock.updates += number;
    clock.samples += (double)number * (double)training->setup->batch;
    clock.epochs = clock.samples / (double)training->shape.train_count;
    struct optimizer_step step = {.rate = optimizer_rate(common, &clock),
                                  .scale = 1,
                                  .number = (training->local.resets ? number : clock.updates) + 1};
    if (common->clip > 0) {
        double norm = sqrt(vector_norm_squared(gradient, training->server.parameter_count));
        step.scale = norm > common->clip ? common->clip / norm : 1;
    }
    return step;
}

/* The statistics observed in batch number `number` of the round, and their mean so far. */
static void observe(const struct server *server, float *observed, const float *gradient, float *vector,
                    uint64_t number) {
    double momentum = server->statistic_momentum, batches = (double)number + 1;
    float share = (float)(momentum > 0 ? momentum / (1 - pow(1 - momentum, batches)) : 1 / batches);
    for (size_t i = server->parameter_count; i < server->count; i++) {
        float *mean = &observed[i - server->parameter_count];
        *mean = number == 0 ? gradient[i] : *mean + share * (gradient[i] - *mean);
        vector[i] += (float)momentum * (gradient[i] - vector[i]);
    }
}

static void step_once(const struct training *training, struct local_worker *worker, float *vector,
                      const float *gradient, uint64_t number) {
    const struct plugin *optimizer = training->setup->local_optimizer;
    float *states[OPTIMIZER_MOST_STATES] = {0};
    for (int i = 0; i < training->local.states; i++)
        states[i] = worker->kept[i].working;
    struct optimizer_step step = next_step(training, worker, number, gradient);
    optimizer_ops(optimizer)->step(optimizer->self, &step, vector, gradient, states, vector,
                                   training->server.parameter_count);
    observe(&training->server, worker->observed, gradient, vector, number);
}

enum hysgd_status local_compute(struct training *training, int index, const float *start,
                                const struct worker_watch *watch) {
    const struct local *local = &training->local;
    const struct server *server = &training->server;
    struct local_worker *worker = &local->workers[index];
    float *delivered = training->workers[index].gradient;
    float *gradient = local->is_elastic ? worker->gradient : delivered;
    uint64_t batches = training->engine.workers[index].batches, first = training->workers[index].draws;
    double loss = 0, data_seconds = 0;
    take_up(local, worker, server);
    float *vector = begin_vector(local, worker, server, start);
    for (uint64_t i = 0; i < batches; i++) {
        HYSGD_TRY(worker_gradient(training, index, vector, watch, gradient));
        if (training->workers[index].has_given_up) {
            worker_seek(training, index, first + batches); /* past the samples of the whole round */
            return HYSGD_OK;
        }
        loss += training->workers[index].loss;
        data_seconds += training->workers[index].data_seconds;
        if (i == 0 && local->is_elastic)
            exchange(local->elasticity, vector, start, delivered, server->parameter_count);
        step_once(training, worker, vector, gradient, i);
    }
    training->workers[index].loss = loss / (double)batches;
    training->workers[index].data_seconds = data_seconds;
    for (size_t i = 0; i < server->parameter_count && !local->is_elastic; i++)
        delivered[i] = start[i] - vector[i];
    memcpy(delivered + server->parameter_count, worker->observed,
           (server->count - server->parameter_count) * sizeof *delivered);
    return HYSGD_OK;
}

void local_forget(struct training *training, int index) {
    if (training->local.ops)
        training->local.paces[index] = (struct local_pace){0};
}

void local_renew(struct training *training, int index) {
    const struct local *local = &training->local;
    if (!local->ops)
        return;
    struct local_worker *worker = &local->workers[index];
    local_forget(training, index);
    worker->has_own = false;
    worker->clock = (struct optimizer_clock){0};
    for (int i = 0; worker->is_open && i < local->kept; i++)
        memset(worker->kept[i].settled, 0, training->server.count * sizeof(float));
}

static double smooth(double mean, double value, bool is_first) {
    return is_first ? value : mean + PACE_SHARE * (value - mean);
}

void local_settle(struct training *training, int index, double compute_seconds, double transit_seconds) {
    const struct local *local = &training->local;
    if (!local->ops)
        return;
    struct local_worker *worker = &local->workers[index];
    struct local_pace *pace = &local->paces[index];
    double batches = (double)training->engine.workers[index].batches;
    bool is_first = pace->compute_seconds <= 0;
    pace->compute_seconds = smooth(pace->compute_seconds, compute_seconds / batches, is_first);
    pace->transit_seconds = smooth(pace->transit_seconds, transit_seconds, is_first);
    worker->has_own = local->is_elastic;
}

void local_settle_vectors(struct training *training, int index) {
    const struct local *local = &training->local;
    if (!local->ops)
        return;
    struct local_worker *worker = &local->workers[index];
    worker->has_own = local->is_elastic;
    for (int i = 0; i < local->kept; i++) {
        struct local_vector *vector = &worker->kept[i];
        float *settled = vector->settled;
        vector->settled = vector->working;
        vector->working = settled;
    }
}
