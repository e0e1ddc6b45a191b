/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the words of a factorization under a scheduler: see scheduling.h. */
#include "train/scheduling.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/ratings.h"
#include "lowrank/scheduler.h"

#define DEFAULT_SCHEDULER    "a2psgd"
#define EPOCHS               20
#define EPOCHS_STOPPED_EARLY 200

/* Of modelled threads, unless told otherwise: the seconds that a core takes for a million ratings, apart from and
 * for each vector of a row's factors (fitted to the speeds at ranks 16 to 128 in bench/lowrank/RESULTS.md), and
 * those for a question to a scheduler. */
#define COMPUTE_BASE     0.0055
#define COMPUTE_VECTOR   0.005
#define RECEIVE_MODELLED "constant,mean=1e-07"

const struct factors_model *scheduling_model(const struct plugin *model) {
    return model->ops == &model_factors.about ? model->self : NULL;
}

enum hysgd_status scheduling_refuse(const struct event_run *run, const char *path, const char *what) {
    for (int i = 0; i < run->description_count; i++) {
        const char *const *pair = run->description[i];
        bool is_scheduled = strcmp(pair[0], "scheduler") == 0 && pair[1][0] != '\0' && strcmp(pair[1], "none") != 0;
        if (is_scheduled)
            return hysgd_fail(HYSGD_INPUT,
                              "%s: is of a run that scheduler %s trained: %s is for runs under a policy", path,
                              pair[1], what);
    }
    return HYSGD_OK;
}

void scheduling_centre(const struct plugin *model, const struct plugin *data) {
    if (model->ops != &model_factors.about || data_ratings(data) == NULL)
        return;
    ((struct factors_model *)model->self)->mean = data_ratings(data)->train.mean;
}

double scheduling_epochs(const struct description *words) {
    return words->stop_early > 0 ? EPOCHS_STOPPED_EARLY : EPOCHS;
}

static enum hysgd_status set_scheduler(struct description *words, const char *text) {
    char *copy;
    HYSGD_TRY(memory_copy_text(text, &copy));
    description_replace(&words->scheduler, copy);
    return HYSGD_OK;
}

enum hysgd_status scheduling_open(struct resolved *resolved) {
    struct description *words = &resolved->description;
    bool is_none = strcmp(words->scheduler, "none") == 0;
    if (scheduling_model(&resolved->model) == NULL) {
        if (words->scheduler[0] != '\0' && !is_none)
            return hysgd_fail(HYSGD_USAGE, "run: scheduler=%s trains the model factors only, and the model is %s",
                              words->scheduler, resolved->model.ops->name);
        return HYSGD_OK;
    }
    /* That of a checkpoint does not count where a policy is given. */
    bool is_chosen = words->scheduler[0] != '\0' &&
                     (description_is_given(words, "scheduler") || !description_is_given(words, "policy"));
    if (!is_chosen) {
        is_none = description_is_given(words, "policy") || !resolved->policy.is_owned;
        HYSGD_TRY(set_scheduler(words, is_none ? "none" : DEFAULT_SCHEDULER));
    }
    if (!is_none)
        return plugin_open(&scheduler_list, words->scheduler, &resolved->scheduler);
    /* A row's steps come from one worker only: a mean over the workers would shrink them. */
    bool has_rows = strcmp(words->partition, "rows") == 0;
    return has_rows && words->resume[0] == '\0' ? description_set_default(words, "combine", "sum") : HYSGD_OK;
}

/* ---- What has no part in the run ---- */

/* Options of the engine, which trains on batches. */
static const char *const of_policies[] = {"policy",
                                          "optimizer",
                                          "correction",
                                          "local",
                                          "local-optimizer",
                                          "combine",
                                          "staleness-weight",
                                          "staleness-exponent",
                                          "batch",
                                          "micro-batch",
                                          "partition",
                                          "worker-weights",
                                          "delay",
                                          "apply",
                                          "lose",
                                          "eval-batch",
                                          "orphans",
                                          "wire",
                                          "join",
                                          "spare"};

/* Limits of theirs, which no comparison leaves out. */
static const char *const limits_of_policies[] = {"updates", "gradients"};

/* Options of a scheduler's run only. */
static const char *const of_schedulers[] = {"balance", "deterministic", "layout", "stream", "stop-early"};

static enum hysgd_status refuse(const struct description *words, const char *const *keys, size_t count,
                                const char *why) {
    for (size_t i = 0; i < count; i++) {
        bool is_changed;
        HYSGD_TRY(description_is_changed(words, keys[i], &is_changed));
        if (is_changed)
            return hysgd_fail(HYSGD_USAGE, "run: the option %s has no effect: %s", keys[i], why);
    }
    return HYSGD_OK;
}

enum hysgd_status scheduling_leave_out(struct description *words, bool is_scheduled) {
    const char *const *keys = is_scheduled ? of_policies : of_schedulers;
    size_t count =
        is_scheduled ? sizeof of_policies / sizeof of_policies[0] : sizeof of_schedulers / sizeof of_schedulers[0];
    for (size_t i = 0; i < count; i++)
        HYSGD_TRY(description_clear(words, keys[i]));
    return HYSGD_OK;
}

static enum hysgd_status check_cadence(const char *key, const char *text) {
    if (strncmp(text, "updates=", 8) == 0 || strncmp(text, "gradients=", 10) == 0)
        return hysgd_fail(
            HYSGD_USAGE,
            "run: %s=%s: a scheduler's run counts epochs and seconds: expected epochs=N, seconds=N or never", key,
            text);
    return HYSGD_OK;
}

/* The times of modelled threads stand for a rating and a question here. */
static enum hysgd_status set_times(struct resolved *resolved) {
    struct description *words = &resolved->description;
    char compute[64];
    if (!resolved->is_modelled)
        return HYSGD_OK;
    int64_t lanes = (scheduling_model(&resolved->model)->rank + FACTORS_LANES - 1) / FACTORS_LANES;
    snprintf(compute, sizeof compute, "constant,mean=%.6g", COMPUTE_BASE + COMPUTE_VECTOR * (double)lanes);
    if (words->compute[0] == '\0')
        HYSGD_TRY(description_set_default(words, "compute", compute));
    if (words->receive[0] == '\0')
        HYSGD_TRY(description_set_default(words, "receive", RECEIVE_MODELLED));
    return HYSGD_OK;
}

enum hysgd_status scheduling_check(struct resolved *resolved) {
    struct description *words = &resolved->description;
    const char *runtime = resolved->runtime.ops->name;
    if (resolved->scheduler.ops == NULL)
        return refuse(words, of_schedulers, sizeof of_schedulers / sizeof of_schedulers[0],
                      "a policy trains, and not a scheduler");
    static const char why[] = "a scheduler trains, a rating at a time; scheduler=none trains by a policy";
    HYSGD_TRY(refuse(words, of_policies, sizeof of_policies / sizeof of_policies[0], why));
    HYSGD_TRY(refuse(words, limits_of_policies, sizeof limits_of_policies / sizeof limits_of_policies[0], why));
    const char *const slowed[] = {"speeds"};
    if (!resolved->is_modelled)
        HYSGD_TRY(refuse(words, slowed, 1,
                         "a scheduler's threads are as fast as they are; runtime=virtual models speeds"));
    HYSGD_TRY(factors_model_check(scheduling_model(&resolved->model)));
    HYSGD_TRY(check_cadence("eval-every", words->eval_every));
    HYSGD_TRY(check_cadence("save-every", words->save_every));
    if (strcmp(runtime, "threads") != 0 && strcmp(runtime, "virtual") != 0)
        return hysgd_fail(HYSGD_USAGE, "run: runtime=%s: a scheduler's workers are runtime=threads or virtual",
                          runtime);
    if (words->epochs != floor(words->epochs))
        return hysgd_fail(HYSGD_USAGE, "run: epochs=%g: a scheduler's run has whole epochs", words->epochs);
    if (words->stop_early > 0 && strcmp(words->eval_every, "never") == 0)
        return hysgd_fail(HYSGD_USAGE, "run: stop-early=%d needs evaluations: eval-every=never has none",
                          (int)words->stop_early);
    if (words->is_streamed && words->layout[0] == '\0')
        return hysgd_fail(HYSGD_USAGE, "run: stream=yes: expected a file for the ratings in layout=FILE");
    return set_times(resolved);
}
