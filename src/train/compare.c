/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one description with several policies and seeds. The seeds are the outer loop, so that an interrupted
 * comparison is still one of equals. */
#include "train/compare.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/data.h"
#include "record/history.h"
#include "record/output.h"
#include "lowrank/scheduler.h"
#include "runtime/drive.h"
#include "train/config.h"
#include "train/factorization.h"
#include "train/outcome.h"
#include "train/output_paths.h"
#include "train/run.h"
#include "train/scheduling.h"

#define MOST_POLICIES 64

struct own {
    char *policy, *scheduler; /* not used: they are collected */
    int64_t repeat;
    char *csv;
};

struct compare {
    struct description description; /* what all runs have in common */
    struct own own;
    char *policies[MOST_POLICIES]; /* [policy_count] as the user wrote them; owned */
    bool are_schedulers[MOST_POLICIES];
    size_t policy_count;
    FILE *progress; /* NULL: nobody is told */
    enum progress_level level;
    struct stopper stopper;
    struct own_plugins shared;                /* the data, open and ready */
    bool data_is_ready;                       /* its init has been called */
    struct outcome *outcomes;                 /* [policy_count] */
    struct history *histories[MOST_POLICIES]; /* of the first seed; owned */
    struct resolved resolved;                 /* of the run under way */
    struct run run;                           /* likewise; lives here because a signal may reach it */
    struct factorization factorization;       /* in its place where a scheduler trains */
};

#define AT(field) offsetof(struct own, field)

const struct hysgd_option compare_options[] = {
    {"policy", HYSGD_OPTION_TEXT, AT(policy), "", 0, 0, NULL,
     "a policy to compare; give it several times, or several joined by ';'; sync, async and threshold where none is given"},
    {"scheduler", HYSGD_OPTION_TEXT, AT(scheduler), "", 0, 0, NULL,
     "a scheduler of the model factors to compare, or several joined by ';' or ','; all of them where the model is factors and "
     "nothing is given"},
    {"repeat", HYSGD_OPTION_INT, AT(repeat), "1", 1, 1000, NULL,
     "runs per policy, with the seeds seed, seed + 1, ...; generated data are those of the first"},
    {"csv", HYSGD_OPTION_TEXT, AT(csv), "", 0, 0, NULL,
     "write the table to this file, with all means and deviations"},
    {0},
};

const char *const compare_without[] = {
    "policy", "scheduler", "goes-on-at-target", "save",     "save-every", "resume", "log", "csv", "tensorboard",
    "trace",  "serve",     "servers",           "tolerate", "patience",   "copies", NULL};

enum hysgd_status compare_alloc(struct compare **compare_out) {
    struct compare *compare;
    HYSGD_TRY(memory_alloc(1, sizeof *compare, &compare));
    enum hysgd_status status = description_init(&compare->description);
    if (status == HYSGD_OK)
        status = options_init(compare_options, &compare->own);
    if (status != HYSGD_OK) {
        compare_free(compare);
        return status;
    }
    *compare_out = compare;
    return HYSGD_OK;
}

static void close_run(struct compare *compare) {
    if (compare->resolved.scheduler.ops != NULL)
        factorization_fini(&compare->factorization);
    else
        run_fini(&compare->run);
    resolved_fini(&compare->resolved);
}

void compare_free(struct compare *compare) {
    if (compare == NULL)
        return;
    for (size_t i = 0; i < compare->policy_count; i++) {
        if (compare->outcomes != NULL)
            outcome_fini(&compare->outcomes[i]);
        history_free(compare->histories[i]);
        memory_free(compare->policies[i]);
    }
    memory_free(compare->outcomes);
    if (compare->data_is_ready && data_ops(&compare->shared.data)->fini != NULL)
        data_ops(&compare->shared.data)->fini(compare->shared.data.self);
    plugin_close(&compare->shared.data);
    options_fini(compare_options, &compare->own);
    description_fini(&compare->description);
    memory_free(compare);
}

/* Where the first policy of a text ends. Schedulers may be joined by commas, too: one that no option follows. */
static size_t length_of_first(const char *text, bool is_scheduler) {
    size_t length = strcspn(text, ";");
    for (size_t i = 0; is_scheduler && i < length; i++)
        if (text[i] == ',' && text[i + 1 + strcspn(text + i + 1, "=,;")] != '=')
            return i;
    return length;
}

/* Adds the policies or schedulers of a text. */
static enum hysgd_status add_policies(struct compare *compare, const char *text, bool is_scheduler) {
    while (true) {
        text += strspn(text, " ");
        size_t length = length_of_first(text, is_scheduler), used = length;
        while (used > 0 && text[used - 1] == ' ')
            used--;
        if (used == 0)
            return hysgd_fail(HYSGD_USAGE, "compare: policy: a name is missing%s",
                              length > 0 ? "" : " before or after ';'");
        if (compare->policy_count == MOST_POLICIES)
            return hysgd_fail(HYSGD_USAGE, "compare: more than %d policies", MOST_POLICIES);
        char *copy;
        HYSGD_TRY(memory_alloc(used + 1, 1, &copy));
        memcpy(copy, text, used);
        compare->are_schedulers[compare->policy_count] = is_scheduler;
        compare->policies[compare->policy_count++] = copy;
        if (text[length] == '\0')
            return HYSGD_OK;
        text += length + 1;
    }
}

enum hysgd_status compare_set(struct compare *compare, const char *key, const char *value) {
    if (strcmp(key, "policy") == 0 || strcmp(key, "scheduler") == 0)
        return add_policies(compare, value, key[0] == 's');
    for (const struct hysgd_option *option = compare_options; option->key != NULL; option++)
        if (strcmp(option->key, key) == 0)
            return options_set(compare_options, &compare->own, "compare", key, value);
    for (const char *const *word = compare_without; *word != NULL; word++)
        if (strcmp(*word, key) == 0)
            return hysgd_fail(HYSGD_USAGE, "compare: the option %s belongs to a single run", key);
    return description_set(&compare->description, key, value);
}

void compare_show(struct compare *compare, FILE *out, enum progress_level level) {
    compare->progress = out;
    compare->level = level;
}

void compare_stop(struct compare *compare) {
    stopper_ask(&compare->stopper);
}

/* ---- Checking ---- */

/* Whether there are policies and schedulers. */
static bool is_mixed(const struct compare *compare) {
    size_t schedulers = 0;
    for (size_t i = 0; i < compare->policy_count; i++)
        schedulers += compare->are_schedulers[i];
    return schedulers > 0 && schedulers < compare->policy_count;
}

/* Beside each other, policies and schedulers have the same limits, and options that only one kind has are for that
 * kind. */
static enum hysgd_status describe_mixed(struct description *words, bool is_scheduled) {
    if (words->epochs == 0 && words->deadline == 0 && words->updates == 0 && words->gradients == 0)
        words->epochs = scheduling_epochs(words);
    return scheduling_leave_out(words, is_scheduled);
}

/* The description of one run of the comparison. */
static enum hysgd_status describe_run(const struct compare *compare, size_t policy, int64_t repetition,
                                      struct description *description_out) {
    const char *axis = compare->are_schedulers[policy] ? "scheduler" : "policy";
    char *none;
    HYSGD_TRY(description_copy(&compare->description, description_out));
    if (is_mixed(compare))
        HYSGD_TRY(describe_mixed(description_out, compare->are_schedulers[policy]));
    HYSGD_TRY(description_set(description_out, axis, compare->policies[policy]));
    HYSGD_TRY(memory_copy_text("", &none));
    description_replace(&description_out->report, none); /* one report about all */
    description_out->seed += repetition;
    description_out->goes_on_at_target = description_out->target[0] != '\0';
    return HYSGD_OK;
}

static enum hysgd_status resolve_run(struct compare *compare, size_t policy, int64_t repetition) {
    struct description description = {0};
    enum hysgd_status status = describe_run(compare, policy, repetition, &description);
    if (status == HYSGD_OK)
        status = resolved_init(&compare->resolved, &description, &compare->shared);
    description_fini(&description);
    return status;
}

/* What is compared where nothing is named. */
static enum hysgd_status add_default(struct compare *compare) {
    const char *model = compare->description.model;
    if (compare->policy_count > 0)
        return HYSGD_OK;
    if (!plugin_is_called(&model_factors.about, model, strcspn(model, ",")))
        return add_policies(compare, "sync;async;threshold", false);
    for (size_t i = 0; i < scheduler_list.count; i++)
        HYSGD_TRY(add_policies(compare, scheduler_list.entries[i]->name, true));
    return HYSGD_OK;
}

/* Everything that can be wrong in any run, before the first begins. */
static enum hysgd_status check(struct compare *compare) {
    HYSGD_TRY(add_default(compare));
    const struct output_path outputs[] = {{"report", compare->description.report, OUTPUT_REPLACED},
                                          {"csv", compare->own.csv, OUTPUT_WRITTEN}};
    HYSGD_TRY(output_paths_check(outputs, sizeof outputs / sizeof outputs[0], ""));
    for (size_t i = 0; i < compare->policy_count; i++) {
        enum hysgd_status status = resolve_run(compare, i, 0);
        resolved_fini(&compare->resolved);
        HYSGD_TRY(status);
    }
    return HYSGD_OK;
}

static bool is_left_out(const char *key) {
    for (const char *const *word = compare_without; *word != NULL; word++)
        if (strcmp(*word, key) == 0)
            return true;
    return strcmp(key, "report") == 0;
}

/* The line of the policies, or of the schedulers; none where there are none of them. */
static enum hysgd_status print_policies(struct compare *compare, bool are_schedulers, FILE *out) {
    size_t printed = 0;
    for (size_t i = 0; i < compare->policy_count; i++) {
        if (compare->are_schedulers[i] != are_schedulers)
            continue;
        enum hysgd_status status = resolve_run(compare, i, 0);
        const struct description *words = &compare->resolved.description;
        if (status == HYSGD_OK && printed++ == 0)
            fputs(are_schedulers ? "scheduler = " : "policy = ", out);
        else if (status == HYSGD_OK)
            fputs("; ", out);
        if (status == HYSGD_OK)
            fputs(are_schedulers ? words->scheduler : words->policy, out);
        resolved_fini(&compare->resolved);
        HYSGD_TRY(status);
    }
    if (printed > 0)
        fputc('\n', out);
    return HYSGD_OK;
}

enum hysgd_status compare_print(struct compare *compare, FILE *out) {
    struct description_pairs pairs = {0};
    HYSGD_TRY(check(compare));
    HYSGD_TRY(print_policies(compare, false, out));
    HYSGD_TRY(print_policies(compare, true, out));
    enum hysgd_status status = resolve_run(compare, 0, 0);
    if (status == HYSGD_OK)
        status = description_pairs_init(&pairs, &compare->resolved.description);
    for (size_t i = 0; status == HYSGD_OK && i < pairs.count; i++)
        if (!is_left_out(pairs.pairs[i][0]))
            config_print(pairs.pairs[i][0], pairs.pairs[i][1], out);
    description_pairs_fini(&pairs);
    resolved_fini(&compare->resolved);
    HYSGD_TRY(status);
    fprintf(out, "repeat = %" PRId64 "\n", compare->own.repeat);
    config_print("csv", compare->own.csv, out);
    config_print("report", compare->description.report, out);
    return HYSGD_OK;
}

/* ---- Running ---- */

static enum hysgd_status load_data(struct compare *compare) {
    HYSGD_TRY(plugin_open(&data_list, compare->description.data, &compare->shared.data));
    const struct hysgd_data_ops *ops = data_ops(&compare->shared.data);
    compare->data_is_ready = true;
    if (ops->init != NULL)
        HYSGD_TRY(ops->init(compare->shared.data.self, (uint64_t)compare->description.seed));
    compare->shared.data_is_ready = true;
    return HYSGD_OK;
}

static void announce(const struct compare *compare, size_t policy, int64_t repetition) {
    if (compare->progress == NULL)
        return;
    fprintf(compare->progress, "hysgd: run %" PRId64 " of %" PRId64 ": %s, seed %" PRId64 "\n",
            repetition * (int64_t)compare->policy_count + (int64_t)policy + 1,
            compare->own.repeat * (int64_t)compare->policy_count, compare->policies[policy],
            compare->description.seed + repetition);
}

/* Trains by a scheduler and keeps what there is of it beside the result. */
static enum hysgd_status factorize_one(struct compare *compare, const struct run_sink *sinks, size_t sink_count,
                                       bool wants_history, struct outcome *outcome, int64_t repetition) {
    struct factorization *run = &compare->factorization;
    bool has_begun;
    HYSGD_TRY(factorization_init(run, &compare->resolved, sinks, sink_count, wants_history));
    enum hysgd_status status =
        factorization_train(run, &compare->stopper, &outcome->results[repetition], &has_begun);
    const struct factorization_result *result = &run->result;
    outcome->is_scheduled = true;
    outcome->loss_name = factors_model_loss_name(run->model);
    outcome->fits[repetition] = (struct outcome_fit){
        .epochs = result->epochs,
        .mae = result->test.mae,
        .ratings_per_second = result->seconds > 0 ? (double)result->visits / result->seconds : (double)NAN,
        .scheduling_share = result->scheduling_share,
        .imbalance = result->imbalance};
    return status;
}

/* Beside schedulers, what a policy has trained is told as theirs is: losses by their name, and ratings. */
static void tell_as_fit(const struct compare *compare, struct outcome *outcome, int64_t repetition) {
    const struct training *training = &compare->run.training;
    const struct factors_model *model = scheduling_model(&compare->resolved.model);
    struct history *history = compare->run.recording.views.history;
    struct hysgd_result *result = &outcome->results[repetition];
    double epochs = drive_epochs(training), ratings = epochs * (double)training->shape.train_count;
    outcome->loss_name = factors_model_loss_name(model);
    result->test_loss = factors_model_loss(model, result->test_loss);
    outcome->fits[repetition] =
        (struct outcome_fit){.epochs = epochs,
                             .mae = (double)NAN,
                             .ratings_per_second = result->seconds > 0 ? ratings / result->seconds : (double)NAN,
                             .scheduling_share = (double)NAN,
                             .imbalance = (double)NAN};
    if (history == NULL)
        return;
    for (size_t i = 0; i < history->evaluations.count; i++)
        history->evaluations.points[i].loss = factors_model_loss(model, history->evaluations.points[i].loss);
    history->evaluations.last.loss = factors_model_loss(model, history->evaluations.last.loss);
}

static enum hysgd_status train_by_policy(struct compare *compare, const struct run_sink *sinks, size_t sink_count,
                                         bool wants_history, struct outcome *outcome, int64_t repetition) {
    bool has_begun, is_fit = is_mixed(compare);
    struct training_limits *limits = &compare->resolved.limits;
    if (is_fit && scheduling_model(&compare->resolved.model)->loss == FIT_SQUARED)
        limits->loss *= limits->loss; /* the target is a root */
    HYSGD_TRY(run_init(&compare->run, &compare->resolved, sinks, sink_count, wants_history));
    enum hysgd_status status =
        run_train(&compare->run, &compare->stopper, &outcome->results[repetition], &has_begun);
    if (is_fit && has_begun)
        tell_as_fit(compare, outcome, repetition);
    return status;
}

/* Trains and keeps the result; a run that diverged or missed its target is a result like any other. */
static enum hysgd_status train_one(struct compare *compare, size_t policy, int64_t repetition, void *progress) {
    struct outcome *outcome = &compare->outcomes[policy];
    const struct run_sink sink = {.ops = &sink_progress, .self = progress};
    size_t sinks = progress != NULL ? 1 : 0;
    bool wants_history = repetition == 0 && compare->description.report[0] != '\0';
    HYSGD_TRY(resolve_run(compare, policy, repetition));
    bool is_scheduled = compare->resolved.scheduler.ops != NULL;
    enum hysgd_status status = is_scheduled
                                   ? factorize_one(compare, &sink, sinks, wants_history, outcome, repetition)
                                   : train_by_policy(compare, &sink, sinks, wants_history, outcome, repetition);
    if (status == HYSGD_DIVERGED)
        outcome->ends[repetition] = OUTCOME_DIVERGED;
    else if (status == HYSGD_OK || status == HYSGD_TARGET)
        outcome->ends[repetition] = OUTCOME_FINISHED;
    else
        return status;
    struct recording *recording = is_scheduled ? &compare->factorization.recording : &compare->run.recording;
    if (repetition == 0) {
        compare->histories[policy] = recording->views.history;
        recording->views.history = NULL;
    }
    return HYSGD_OK;
}

static enum hysgd_status run_one(struct compare *compare, size_t policy, int64_t repetition) {
    void *progress = NULL;
    if (compare->progress != NULL)
        HYSGD_TRY(sink_progress_alloc(compare->progress, compare->level, &progress));
    announce(compare, policy, repetition);
    enum hysgd_status status = train_one(compare, policy, repetition, progress);
    close_run(compare);
    sink_progress_free(progress);
    return status;
}

static enum hysgd_status run_all(struct compare *compare) {
    for (int64_t repetition = 0; repetition < compare->own.repeat; repetition++)
        for (size_t policy = 0; policy < compare->policy_count; policy++) {
            if (atomic_load(&compare->stopper.is_asked))
                return hysgd_fail(HYSGD_INTERRUPTED, "interrupted");
            HYSGD_TRY(run_one(compare, policy, repetition));
        }
    return HYSGD_OK;
}

size_t compare_finished(const struct compare *compare) {
    size_t count = 0;
    for (size_t i = 0; compare->outcomes != NULL && i < compare->policy_count; i++)
        count += outcome_count(&compare->outcomes[i], OUTCOME_FINISHED) +
                 outcome_count(&compare->outcomes[i], OUTCOME_DIVERGED);
    return count;
}

/* ---- The end ---- */

static enum hysgd_status write_csv(const struct compare *compare) {
    struct output *output;
    if (compare->own.csv[0] == '\0')
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(1, sizeof *output, &output));
    enum hysgd_status status = output_open(output, compare->own.csv);
    if (status == HYSGD_OK) {
        outcomes_print_csv(compare->outcomes, compare->policy_count, output->stream);
        status = output_close(output);
    }
    output_fini(output);
    memory_free(output);
    return status;
}

static enum hysgd_status write_report(const struct compare *compare) {
    const struct history *histories[MOST_POLICIES];
    size_t count = 0;
    for (size_t i = 0; i < compare->policy_count; i++)
        if (compare->histories[i] != NULL)
            histories[count++] = compare->histories[i];
    if (count == 0)
        return HYSGD_OK;
    return report_write(compare->description.report,
                        compare->are_schedulers[0] ? "comparison of schedulers" : "comparison of policies",
                        histories, count);
}

static enum hysgd_status conclude(const struct compare *compare, enum hysgd_status status) {
    size_t total = compare->policy_count * (size_t)compare->own.repeat, finished = compare_finished(compare);
    size_t diverged = 0;
    if (status != HYSGD_OK && status != HYSGD_INTERRUPTED)
        return status;
    if (finished > 0) {
        /* A table that cannot be written does not take the report with it. */
        enum hysgd_status csv = write_csv(compare), report = write_report(compare);
        HYSGD_TRY(csv);
        HYSGD_TRY(report);
    }
    if (status == HYSGD_INTERRUPTED)
        return hysgd_fail(HYSGD_INTERRUPTED, "interrupted: %zu of %zu runs are finished", finished, total);
    for (size_t i = 0; i < compare->policy_count; i++)
        diverged += outcome_count(&compare->outcomes[i], OUTCOME_DIVERGED);
    if (diverged == total)
        return hysgd_fail(HYSGD_DIVERGED, "every run diverged: a smaller learning rate may help");
    return HYSGD_OK;
}

enum hysgd_status compare_run(struct compare *compare) {
    HYSGD_TRY(check(compare));
    HYSGD_TRY(memory_alloc(compare->policy_count, sizeof *compare->outcomes, &compare->outcomes));
    for (size_t i = 0; i < compare->policy_count; i++)
        HYSGD_TRY(outcome_init(&compare->outcomes[i], compare->policies[i], (size_t)compare->own.repeat));
    HYSGD_TRY(load_data(compare));
    return conclude(compare, run_all(compare));
}

enum hysgd_status compare_print_table(const struct compare *compare, int columns, FILE *out) {
    return outcomes_print_text(compare->outcomes, compare->policy_count, columns, out);
}

enum hysgd_status compare_print_json(const struct compare *compare, FILE *out) {
    return outcomes_print_json(compare->outcomes, compare->policy_count, out);
}
