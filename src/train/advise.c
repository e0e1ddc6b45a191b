/* SPDX-License-Identifier: Apache-2.0 */
/* From times to simulations: which policies, which run, and what they gave. See advise.h. */
#include "train/advise.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "data/data.h"
#include "policy/policy.h"
#include "train/advise_lanes.h"
#include "train/output_paths.h"

/* Simulated gradients of each worker where the times come without the limits of a run. */
#define GRADIENTS_WITHOUT_LIMIT 500

/* How many resamplings, where it is not said. */
#define REPLICATES_OF_TIMES     100
#define REPLICATES_OF_GRADIENTS 10

#define AT(field) offsetof(struct advise_own, field)

const struct hysgd_option advise_options[] = {
    {"policy", HYSGD_OPTION_TEXT, AT(policy), "", 0, 0, NULL,
     "a policy to simulate; give it several times, or several joined by ';'; every listed one, and that of the log, "
     "where none is given"},
    {"true-gradients", HYSGD_OPTION_BOOL, AT(true_gradients), "no", 0, 0, NULL,
     "compute the gradients too, of the job of the log or that of the options below: slower, and it tells the time to "
     "the target"},
    {"replicates", HYSGD_OPTION_INT, AT(replicates), "-1", -1, 100000, NULL,
     "simulate also over so many resamplings of the times, for the intervals; -1: 100, or 10 with true gradients"},
    {"discount", HYSGD_OPTION_REAL, AT(discount), "0.5", 0, 10, NULL,
     "without gradients: a gradient counts (1 + lag) to the power of minus this; 0: all count the same"},
    {"report", HYSGD_OPTION_TEXT, AT(report), "", 0, 0, NULL, "write a picture to this HTML file"},
    {0},
};

const char *const advise_without[] = {"policy",   "runtime",    "workers",    "goes-on-at-target",
                                      "speeds",   "compute",    "delay",      "lose",
                                      "save",     "save-every", "resume",     "log",
                                      "csv",      "trace",      "report",     "tensorboard",
                                      "serve",    "scheduler",  "balance",    "deterministic",
                                      "layout",   "stream",     "stop-early", "servers",
                                      "tolerate", "patience",   "copies",     "spare",
                                      "control",  "join",       NULL};

enum hysgd_status advise_alloc(struct advise **advise_out) {
    struct advise *advise;
    HYSGD_TRY(memory_alloc(1, sizeof *advise, &advise));
    enum hysgd_status status = description_init(&advise->description);
    if (status == HYSGD_OK)
        status = options_init(advise_options, &advise->own);
    if (status != HYSGD_OK) {
        advise_free(advise);
        return status;
    }
    *advise_out = advise;
    return HYSGD_OK;
}

void advise_free(struct advise *advise) {
    if (advise == NULL)
        return;
    advice_fini(&advise->advice);
    if (advise->data_is_ready && data_ops(&advise->shared.data)->fini != NULL)
        data_ops(&advise->shared.data)->fini(advise->shared.data.self);
    plugin_close(&advise->shared.data);
    times_fini(&advise->times);
    options_fini(advise_options, &advise->own);
    description_fini(&advise->description);
    memory_free(advise);
}

void advise_show(struct advise *advise, FILE *out) {
    advise->progress = out;
}

void advise_stop(struct advise *advise) {
    atomic_store(&advise->is_stopping, true);
    for (int i = 0; i < ADVISE_MOST_LANES; i++)
        stopper_ask(&advise->stoppers[i]);
}

/* ---- Policies ---- */

/* Adds a policy of `length` bytes; one that is there already is not added again. */
static enum hysgd_status add_policy(struct advice *advice, const char *text, size_t length) {
    for (size_t i = 0; i < advice->count; i++)
        if (strlen(advice->policies[i].name) == length && memcmp(advice->policies[i].name, text, length) == 0)
            return HYSGD_OK;
    HYSGD_TRY(memory_enlarge(&advice->policies, advice->count, advice->count + 1, sizeof *advice->policies));
    HYSGD_TRY(memory_alloc(length + 1, 1, &advice->policies[advice->count].name));
    memcpy(advice->policies[advice->count++].name, text, length);
    return HYSGD_OK;
}

/* Adds the policies of a text, which are joined by ';'. */
static enum hysgd_status add_policies(struct advise *advise, const char *text) {
    for (;; text++) {
        text += strspn(text, " ");
        size_t length = strcspn(text, ";"), used = length;
        while (used > 0 && text[used - 1] == ' ')
            used--;
        if (used == 0)
            return hysgd_fail(HYSGD_USAGE, "advise: policy: a name is missing%s",
                              length > 0 ? "" : " before or after ';'");
        HYSGD_TRY(add_policy(&advise->advice, text, used));
        text += length;
        if (text[0] == '\0')
            return HYSGD_OK;
    }
}

enum hysgd_status advise_set(struct advise *advise, const char *key, const char *value) {
    if (strcmp(key, "policy") == 0)
        return add_policies(advise, value);
    for (const struct hysgd_option *option = advise_options; option->key != NULL; option++)
        if (strcmp(option->key, key) == 0)
            return options_set(advise_options, &advise->own, "advise", key, value);
    for (const char *const *word = advise_without; *word != NULL; word++)
        if (strcmp(*word, key) == 0)
            return hysgd_fail(HYSGD_USAGE, "advise: the option %s does not go with measured times", key);
    return description_set(&advise->description, key, value);
}

static enum hysgd_status leave_out(struct advice_policy *policy, const char *reason) {
    return policy->fault == NULL ? memory_copy_text(reason, &policy->fault) : HYSGD_OK;
}

/* Of those that the user has named: a word that means nothing is the user's fault. */
static enum hysgd_status check_named(const struct advise *advise) {
    for (size_t i = 0; i < advise->advice.count; i++) {
        struct plugin plugin;
        HYSGD_TRY(plugin_open(&policy_list, advise->advice.policies[i].name, &plugin));
        plugin_close(&plugin);
    }
    return HYSGD_OK;
}

static enum hysgd_status add_listed(struct advise *advise) {
    for (size_t i = 0; i < policy_list.count; i++)
        HYSGD_TRY(add_policy(&advise->advice, policy_list.entries[i]->name, strlen(policy_list.entries[i]->name)));
    const char *recorded = advise->times.policy;
    return recorded != NULL ? add_policy(&advise->advice, recorded, strlen(recorded)) : HYSGD_OK;
}

/* Leaves out what cannot be simulated here. */
static enum hysgd_status sort_out(struct advise *advise) {
    for (size_t i = 0; i < advise->advice.count; i++) {
        struct advice_policy *policy = &advise->advice.policies[i];
        struct plugin plugin;
        enum hysgd_status status = plugin_open(&policy_list, policy->name, &plugin);
        if (status == HYSGD_USAGE) {
            HYSGD_TRY(leave_out(policy, hysgd_error_message())); /* a policy of the recorded program's own */
            continue;
        }
        HYSGD_TRY(status);
        bool is_blind = policy_ops(&plugin)->wants_estimates && !advise->own.true_gradients;
        plugin_close(&plugin);
        if (is_blind)
            HYSGD_TRY(leave_out(policy, "decides by the gradients: see --true-gradients"));
    }
    return HYSGD_OK;
}

/* ---- The run that is simulated ---- */

static void set_limits(struct advise *advise) {
    struct description *words = &advise->description;
    bool has_limit = words->epochs > 0 || words->deadline > 0 || words->updates > 0 || words->gradients > 0;
    if (!has_limit && !advise->own.true_gradients)
        words->gradients = GRADIENTS_WITHOUT_LIMIT * words->workers;
}

/* Times of the server that were given stand in place of the measured ones. */
static void set_service(struct advise *advise) {
    if (description_is_given(&advise->description, "receive"))
        advise->times.measured.receive.count = 0;
    if (description_is_given(&advise->description, "apply"))
        advise->times.measured.apply.count = 0;
}

/* With gradients there is something to reach: what the recorded run did, unless it is said. */
static enum hysgd_status set_target(struct advise *advise) {
    char **target = &advise->description.target;
    const struct times *times = &advise->times;
    char text[64] = "", *copy;
    if (!advise->own.true_gradients)
        return HYSGD_OK;
    if (isfinite(times->test_accuracy) && times->test_accuracy > 0)
        snprintf(text, sizeof text, "accuracy=%.4g", floor(1e4 * times->test_accuracy) / 1e4);
    else if (isfinite(times->test_loss) && times->test_loss > 0)
        snprintf(text, sizeof text, "loss=%.6g", times->test_loss);
    if ((*target)[0] == '\0' && text[0] == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "advise: true-gradients=yes needs target=accuracy=A or target=loss=L, since the "
                          "times do not come with what a run reached");
    if ((*target)[0] == '\0') {
        HYSGD_TRY(memory_copy_text(text, &copy));
        description_replace(target, copy);
    }
    return memory_copy_text(*target, &advise->advice.target);
}

static enum hysgd_status load_data(struct advise *advise) {
    if (!advise->own.true_gradients)
        return HYSGD_OK;
    HYSGD_TRY(plugin_open(&data_list, advise->description.data, &advise->shared.data));
    const struct hysgd_data_ops *ops = data_ops(&advise->shared.data);
    advise->data_is_ready = true;
    if (ops->init != NULL)
        HYSGD_TRY(ops->init(advise->shared.data.self, (uint64_t)advise->description.seed));
    advise->shared.data_is_ready = true;
    return HYSGD_OK;
}

/* What the advice tells of its times, and room for its samples. */
static enum hysgd_status fill_advice(struct advise *advise, const char *path) {
    struct advice *advice = &advise->advice;
    const struct times *times = &advise->times;
    HYSGD_TRY(memory_copy_text(path, &advice->source));
    if (times->policy != NULL)
        HYSGD_TRY(memory_copy_text(times->policy, &advice->recorded));
    advice->recorded_updates = times->seconds > 0 ? (double)times->updates / times->seconds : (double)NAN;
    advice->has_gradients = advise->own.true_gradients;
    advice->discount = advise->own.discount;
    advice->workers = times->measured.count;
    advice->estimated = times->estimated;
    advice->lost = times->lost;
    advice->is_cut = times->is_cut;
    for (int i = 0; i < times->measured.count; i++)
        advice->times += times->measured.workers[i].count;
    int64_t usual = advise->own.true_gradients ? REPLICATES_OF_GRADIENTS : REPLICATES_OF_TIMES;
    advice->replicates = (size_t)(advise->own.replicates < 0 ? usual : advise->own.replicates);
    HYSGD_TRY(memory_alloc(1 + advice->replicates, sizeof *advice->scratch, &advice->scratch));
    for (size_t i = 0; i < advice->count; i++)
        HYSGD_TRY(memory_alloc(1 + advice->replicates, sizeof(struct advice_sample), &advice->policies[i].samples));
    return HYSGD_OK;
}

static enum hysgd_status prepare(struct advise *advise, const char *path) {
    const struct output_path outputs[] = {{"report", advise->own.report, OUTPUT_REPLACED}};
    HYSGD_TRY(output_paths_check(outputs, 1, path));
    HYSGD_TRY(check_named(advise));
    HYSGD_TRY(times_read(&advise->times, path, &advise->description));
    advise->description.workers = advise->times.measured.count;
    if (advise->advice.count == 0)
        HYSGD_TRY(add_listed(advise));
    HYSGD_TRY(sort_out(advise));
    set_limits(advise);
    set_service(advise);
    HYSGD_TRY(set_target(advise));
    HYSGD_TRY(fill_advice(advise, path));
    return load_data(advise);
}

static enum hysgd_status check_some(const struct advice *advice) {
    for (size_t i = 0; i < advice->count; i++)
        if (advice->policies[i].fault == NULL)
            return HYSGD_OK;
    return hysgd_fail(HYSGD_FAILED, "advise: %s: %s", advice->policies[0].name, advice->policies[0].fault);
}

enum hysgd_status advise_run(struct advise *advise, const char *path, const struct advice **advice_out) {
    HYSGD_TRY(prepare(advise, path));
    HYSGD_TRY(advise_simulate(advise));
    HYSGD_TRY(check_some(&advise->advice));
    *advice_out = &advise->advice;
    return advise->own.report[0] != '\0' ? advice_write_picture(&advise->advice, advise->own.report) : HYSGD_OK;
}
