/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a simulation for each policy over each sequence of times, on all cores: see advise_lanes.h. */
#include "train/advise_lanes.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "data/data.h"
#include "train/result.h"

struct lanes {
    struct advise *advise;
    atomic_size_t next;       /* simulation */
    pthread_mutex_t lock;     /* of what follows, and of the faults of policies */
    enum hysgd_status status; /* the first failure of all */
    char message[1024];       /* its message */
};

struct lane {
    struct lanes *lanes;
    struct stopper *stopper;
    pthread_t thread;
};

/* ---- One simulation ---- */

/* The words of a run that has times and no gradients. */
static enum hysgd_status describe_times(const struct advise *advise, struct description *to) {
    const struct description *from = &advise->description;
    char data[64];
    HYSGD_TRY(description_init(to));
    uint64_t samples = advise->times.train_count;
    snprintf(data, sizeof data, samples > 0 ? "none,samples=%" PRIu64 : "none", samples);
    HYSGD_TRY(description_set(to, "data", data));
    HYSGD_TRY(description_set(to, "model", "quadratic"));
    HYSGD_TRY(description_set(to, "eval-every", "never"));
    HYSGD_TRY(description_set(to, "receive", from->receive));
    HYSGD_TRY(description_set(to, "apply", from->apply));
    to->batch = from->batch;
    to->micro_batch = from->micro_batch;
    to->workers = from->workers;
    to->epochs = from->epochs;
    to->deadline = from->deadline;
    to->updates = from->updates;
    to->gradients = from->gradients;
    return HYSGD_OK;
}

static enum hysgd_status describe(const struct advise *advise, size_t policy, size_t replicate,
                                  struct description *to) {
    if (advise->own.true_gradients)
        HYSGD_TRY(description_copy(&advise->description, to));
    else
        HYSGD_TRY(describe_times(advise, to));
    HYSGD_TRY(description_set(to, "policy", advise->advice.policies[policy].name));
    HYSGD_TRY(description_set(to, "runtime", "virtual"));
    to->seed = advise->description.seed + (int64_t)replicate;
    to->goes_on_at_target = false;
    return HYSGD_OK;
}

/* Applied gradients, each counting by its lag: see advice.h. */
static double useful(const struct event_summary *summary, const struct hysgd_result *result, double discount) {
    double size = (double)result->applied / (double)result->updates, sum = 0;
    for (int i = 0; i < summary->workers; i++) {
        const struct event_account *account = &summary->accounts[i];
        double applied = (double)account->applied;
        if (account->applied > 0)
            sum += applied * pow(size * (1 + account->staleness_sum / applied), -discount);
    }
    return sum;
}

static enum hysgd_status fill_sample(const struct advise *advise, const struct event_summary *summary,
                                     struct advice_sample *sample) {
    struct hysgd_result result;
    result_fill(summary, &result);
    if (!(result.seconds > 0) || result.applied == 0)
        return hysgd_fail(HYSGD_FAILED, "no gradient was applied within the limits");
    *sample = (struct advice_sample){
        .values = {[ADVICE_UPDATES] = (double)result.updates / result.seconds,
                   [ADVICE_GRADIENTS] = (double)result.applied / result.seconds,
                   [ADVICE_USEFUL] = useful(summary, &result, advise->own.discount) / result.seconds,
                   [ADVICE_USEFUL_LEAST] = useful(summary, &result, 1) / result.seconds,
                   [ADVICE_WAITING] = result.waiting_share,
                   [ADVICE_STALENESS] = result.mean_staleness,
                   [ADVICE_TARGET] = result.target_seconds,
                   [ADVICE_LOSS] = result.test_loss,
                   [ADVICE_ACCURACY] = result.test_accuracy}};
    return HYSGD_OK;
}

/* A run that misses its target, or diverges, is a result. */
static enum hysgd_status simulate_run(const struct advise *advise, struct stopper *stopper, struct run *run,
                                      const struct resolved *resolved, struct advice_sample *sample) {
    struct hysgd_result result;
    struct event_summary summary;
    bool has_begun;
    HYSGD_TRY(run_init(run, resolved, NULL, 0, false));
    enum hysgd_status status = run_train(run, stopper, &result, &has_begun);
    if (status != HYSGD_OK && status != HYSGD_TARGET && status != HYSGD_DIVERGED)
        return status;
    training_summarize(&run->training, result.seconds, &summary);
    return fill_sample(advise, &summary, sample);
}

static enum hysgd_status simulate_over(const struct advise *advise, struct stopper *stopper,
                                       const struct description *description, const struct measured *measured,
                                       struct advice_sample *sample) {
    struct {
        struct resolved resolved;
        struct run run;
    } * simulation;
    HYSGD_TRY(memory_alloc(1, sizeof *simulation, &simulation));
    enum hysgd_status status = resolved_init(&simulation->resolved, description, &advise->shared);
    simulation->resolved.timing.measured = measured;
    simulation->resolved.is_timing_only = !advise->own.true_gradients;
    if (status == HYSGD_OK)
        status = resolved_load(&simulation->resolved);
    if (status == HYSGD_OK)
        status = simulate_run(advise, stopper, &simulation->run, &simulation->resolved, sample);
    run_fini(&simulation->run);
    resolved_fini(&simulation->resolved);
    memory_free(simulation);
    return status;
}

static enum hysgd_status simulate_one(const struct advise *advise, struct stopper *stopper, size_t policy,
                                      size_t replicate) {
    struct advice_sample *sample = &advise->advice.policies[policy].samples[replicate];
    struct description description = {0};
    struct measured resampled = {0};
    enum hysgd_status status = describe(advise, policy, replicate, &description);
    if (status == HYSGD_OK && replicate > 0)
        status =
            measured_resample(&advise->times.measured, (uint64_t)advise->description.seed, replicate, &resampled);
    const struct measured *measured = replicate > 0 ? &resampled : &advise->times.measured;
    if (status == HYSGD_OK)
        status = simulate_over(advise, stopper, &description, measured, sample);
    measured_fini(&resampled);
    description_fini(&description);
    return status;
}

/* ---- All of them ---- */

/* A policy that fails, or that refuses the job, is left out; what is wrong with the job itself fails all. */
static void take_failure(struct lanes *lanes, struct advice_policy *policy, enum hysgd_status status) {
    const char *message = hysgd_error_message();
    pthread_mutex_lock(&lanes->lock);
    bool is_policys = status == HYSGD_FAILED || (status == HYSGD_USAGE && strncmp(message, "policy ", 7) == 0);
    if (is_policys && policy->fault == NULL && memory_copy_text(message, &policy->fault) != HYSGD_OK)
        is_policys = false;
    if (!is_policys && lanes->status == HYSGD_OK) {
        lanes->status = status;
        snprintf(lanes->message, sizeof lanes->message, "%s", hysgd_error_message());
        atomic_store(&lanes->advise->is_stopping, true);
    }
    pthread_mutex_unlock(&lanes->lock);
}

/* Whether it is still worth simulating; tells of it where it takes long. */
static bool begin_policy(struct lanes *lanes, size_t policy, size_t replicate) {
    struct advise *advise = lanes->advise;
    pthread_mutex_lock(&lanes->lock);
    bool takes_part = advise->advice.policies[policy].fault == NULL;
    if (takes_part && advise->progress != NULL && advise->own.true_gradients)
        fprintf(advise->progress, "hysgd: simulation %zu of %zu: %s\n",
                replicate * advise->advice.count + policy + 1,
                (advise->advice.replicates + 1) * advise->advice.count, advise->advice.policies[policy].name);
    pthread_mutex_unlock(&lanes->lock);
    return takes_part;
}

static void *work(void *self) {
    struct lane *lane = self;
    struct lanes *lanes = lane->lanes;
    struct advice *advice = &lanes->advise->advice;
    size_t total = advice->count * (1 + advice->replicates);
    for (size_t i; (i = atomic_fetch_add(&lanes->next, 1)) < total && !atomic_load(&lanes->advise->is_stopping);) {
        size_t policy = i % advice->count, replicate = i / advice->count;
        if (!begin_policy(lanes, policy, replicate))
            continue;
        enum hysgd_status status = simulate_one(lanes->advise, lane->stopper, policy, replicate);
        if (status != HYSGD_OK)
            take_failure(lanes, &advice->policies[policy], status);
    }
    return NULL;
}

enum hysgd_status advise_simulate(struct advise *advise) {
    struct lanes lanes = {.advise = advise, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct lane lane[ADVISE_MOST_LANES];
    int cores = machine_cores(), started = 0;
    for (int i = 0; i < ADVISE_MOST_LANES && i < cores; i++)
        lane[i] = (struct lane){.lanes = &lanes, .stopper = &advise->stoppers[i]};
    /* Who cannot have a thread does without; the first lane is this one. */
    while (started + 1 < cores && started + 1 < ADVISE_MOST_LANES &&
           pthread_create(&lane[started + 1].thread, NULL, work, &lane[started + 1]) == 0)
        started++;
    work(&lane[0]);
    for (int i = 1; i <= started; i++)
        pthread_join(lane[i].thread, NULL);
    pthread_mutex_destroy(&lanes.lock);
    if (lanes.status == HYSGD_OK && atomic_load(&advise->is_stopping))
        return hysgd_fail(HYSGD_INTERRUPTED, "interrupted");
    if (lanes.status != HYSGD_OK)
        status_set_message(lanes.message);
    return lanes.status;
}
