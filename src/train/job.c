/* SPDX-License-Identifier: Apache-2.0 */
/* The public training job: words and plug-ins are collected, checked, and run once. */
#include "train/job.h"

#include "base/memory.h"
#include "train/factorization.h"
#include "train/meeting.h"
#include "train/run.h"

#define JOB_MOST_SINKS 4

struct hysgd_job {
    struct description description;
    struct own_plugins own;
    struct run_sink sinks[JOB_MOST_SINKS];
    size_t sink_count;
    struct stopper stopper;
    bool is_resolved, has_run, run_is_ready; /* `resolved` and `run` are to be freed */
    struct resolved resolved;
    struct run run;
    struct factorization factorization; /* in its place where a scheduler trains */
    float *factors;                     /* [factor_count] what that trained, as a vector; NULL: not asked for */
    size_t factor_count;
};

enum hysgd_status hysgd_job_alloc(struct hysgd_job **job_out) {
    struct hysgd_job *job;
    HYSGD_TRY(memory_alloc(1, sizeof *job, &job));
    enum hysgd_status status = description_init(&job->description);
    if (status != HYSGD_OK) {
        hysgd_job_free(job);
        return status;
    }
    *job_out = job;
    return HYSGD_OK;
}

void hysgd_job_free(struct hysgd_job *job) {
    if (job == NULL)
        return;
    if (job->run_is_ready && job->resolved.scheduler.ops != NULL)
        factorization_fini(&job->factorization);
    else if (job->run_is_ready)
        run_fini(&job->run);
    if (job->is_resolved)
        resolved_fini(&job->resolved);
    plugin_close(&job->own.policy);
    plugin_close(&job->own.model);
    plugin_close(&job->own.data);
    memory_free(job->factors);
    description_fini(&job->description);
    memory_free(job);
}

/* Nothing can be changed any more once the words have become objects. */
static enum hysgd_status check_open(const struct hysgd_job *job, const char *what) {
    if (job->is_resolved || job->has_run)
        return hysgd_fail(HYSGD_USAGE,
                          "job: %s: the job has been run or printed, and a job runs once; make another one", what);
    return HYSGD_OK;
}

enum hysgd_status hysgd_job_set(struct hysgd_job *job, const char *key, const char *value) {
    HYSGD_TRY(check_open(job, key));
    return description_set(&job->description, key, value);
}

static enum hysgd_status use(struct hysgd_job *job, const char *kind, const struct hysgd_plugin *ops, void *self,
                             const char *text, struct plugin *own) {
    struct plugin plugin;
    HYSGD_TRY(check_open(job, kind));
    HYSGD_TRY(plugin_adopt(kind, ops, self, text, &plugin));
    plugin_close(own);
    *own = plugin;
    return HYSGD_OK;
}

enum hysgd_status hysgd_job_use_policy(struct hysgd_job *job, const struct hysgd_policy_ops *ops, void *self,
                                       const char *text) {
    if (ops->threshold == NULL || ops->release == NULL)
        return hysgd_fail(HYSGD_USAGE, "policy %s: threshold and release must not be NULL", ops->about.name);
    return use(job, "policy", &ops->about, self, text, &job->own.policy);
}

enum hysgd_status hysgd_job_use_model(struct hysgd_job *job, const struct hysgd_model_ops *ops, void *self,
                                      const char *text) {
    if (ops->describe == NULL || ops->gradient == NULL)
        return hysgd_fail(HYSGD_USAGE, "model %s: describe and gradient must not be NULL", ops->about.name);
    return use(job, "model", &ops->about, self, text, &job->own.model);
}

enum hysgd_status hysgd_job_use_data(struct hysgd_job *job, const struct hysgd_data_ops *ops, void *self,
                                     const char *text) {
    if (ops->describe == NULL || ops->gather == NULL)
        return hysgd_fail(HYSGD_USAGE, "data %s: describe and gather must not be NULL", ops->about.name);
    return use(job, "data", &ops->about, self, text, &job->own.data);
}

enum hysgd_status job_add_sink(struct hysgd_job *job, const struct sink_ops *ops, void *self) {
    HYSGD_TRY(check_open(job, "adding a sink"));
    if (job->sink_count == JOB_MOST_SINKS)
        return hysgd_fail(HYSGD_USAGE, "job: more than %d sinks are added", JOB_MOST_SINKS);
    job->sinks[job->sink_count++] = (struct run_sink){.ops = ops, .self = self};
    return HYSGD_OK;
}

static enum hysgd_status resolve(struct hysgd_job *job) {
    HYSGD_TRY(check_open(job, "run"));
    job->is_resolved = true;
    return resolved_init(&job->resolved, &job->description, &job->own);
}

static bool is_first(const struct hysgd_job *job) {
    return meeting_is_first(&job->resolved.runtime, &job->description);
}

enum hysgd_status job_print(struct hysgd_job *job, FILE *out) {
    HYSGD_TRY(resolve(job));
    return is_first(job) ? resolved_print(&job->resolved, out) : HYSGD_OK;
}

enum hysgd_status job_run(struct hysgd_job *job, struct hysgd_result *result_out, bool *has_begun_out) {
    *has_begun_out = false;
    enum hysgd_status status = resolve(job);
    if (status != HYSGD_OK)
        return job_decline(job, status);
    job->has_run = true;
    if (job->resolved.scheduler.ops == NULL) /* from here on each process is missed by the others */
        HYSGD_TRY(meeting_confirm(&job->resolved.runtime, HYSGD_OK));
    status = resolved_load(&job->resolved);
    if (status != HYSGD_OK)
        return job_decline(job, status);
    job->run_is_ready = true;
    if (job->resolved.scheduler.ops != NULL) {
        HYSGD_TRY(factorization_init(&job->factorization, &job->resolved, job->sinks, job->sink_count, false));
        return factorization_train(&job->factorization, &job->stopper, result_out, has_begun_out);
    }
    HYSGD_TRY(run_init(&job->run, &job->resolved, job->sinks, job->sink_count, false));
    return run_train(&job->run, &job->stopper, result_out, has_begun_out);
}

enum hysgd_status job_decline(struct hysgd_job *job, enum hysgd_status status) {
    return meeting_decline(&job->resolved.runtime, &job->description, status);
}

bool job_speaks(const struct hysgd_job *job) {
    return job->run.recording.recorder != NULL || is_first(job);
}

bool job_is_left_behind(const struct hysgd_job *job) {
    return job->run_is_ready && job->run.training.is_dismissed;
}

int job_ranks(const struct hysgd_job *job) {
    return job->is_resolved ? job->resolved.place.ranks : 1;
}

bool job_has_chosen_runtime(const struct hysgd_job *job) {
    return job_ranks(job) > 1 && !description_is_given(&job->resolved.description, "runtime");
}

const struct factorization *job_factorization(const struct hysgd_job *job) {
    return job->run_is_ready && job->resolved.scheduler.ops != NULL ? &job->factorization : NULL;
}

enum hysgd_status hysgd_job_run(struct hysgd_job *job, struct hysgd_result *result_out) {
    bool has_begun;
    enum hysgd_status status = job_run(job, result_out, &has_begun);
    bool has_model = status == HYSGD_OK || status == HYSGD_TARGET || status == HYSGD_INTERRUPTED;
    if (!has_begun || !has_model || job_factorization(job) == NULL)
        return status;
    /* A copy, for while training factors are padded and in another order. */
    enum hysgd_status copied = factorization_parameters(&job->factorization, &job->factors, &job->factor_count);
    return status == HYSGD_OK ? copied : status;
}

void hysgd_job_stop(struct hysgd_job *job) {
    stopper_ask(&job->stopper);
}

const float *hysgd_job_parameters(const struct hysgd_job *job, size_t *count_out) {
    const struct training *training = &job->run.training;
    if (job->factors != NULL) {
        *count_out = job->factor_count;
        return job->factors;
    }
    if (!job->run_is_ready || training_vector(training) == NULL) {
        *count_out = 0;
        return NULL;
    }
    *count_out = training->layout.parameter_count + training->layout.statistic_count;
    return training_vector(training);
}
