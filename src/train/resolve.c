/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the words of a run against each other and opens what they name. Which words there are is in description.c;
 * what the plug-ins' own options mean is in their tables. */
#include "train/resolve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "correction/correction.h"
#include "data/data.h"
#include "data/partition.h"
#include "model/model.h"
#include "optimizer/optimizer.h"
#include "policy/policy.h"
#include "record/serve_request.h"
#include "runtime/comm.h"
#include "runtime/runtime.h"
#include "runtime/worker_list.h"
#include "train/config.h"
#include "train/output_paths.h"
#include "train/scheduling.h"

#define EPOCHS_WITHOUT_LIMIT     3
#define WORKERS_IN_MODELLED_TIME 8

enum hysgd_status plugin_text(const struct plugin *plugin, char **text_out) {
    char *printed = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&printed, &length);
    if (out == NULL)
        return hysgd_fail(HYSGD_MEMORY, "no memory to print the options of %s", plugin->ops->name);
    plugin_print(plugin, out);
    enum hysgd_status status = HYSGD_OK;
    if (fclose(out) != 0)
        status = hysgd_fail(HYSGD_MEMORY, "no memory to print the options of %s", plugin->ops->name);
    if (status == HYSGD_OK)
        status = memory_copy_text(printed, text_out);
    free(printed);
    return status;
}

/* Puts the text that opens the plug-in, with every default, in the place of what the user wrote. */
static enum hysgd_status spell_out(const struct plugin *plugin, char **field) {
    char *text;
    if (plugin->ops == NULL)
        return HYSGD_OK;
    HYSGD_TRY(plugin_text(plugin, &text));
    description_replace(field, text);
    return HYSGD_OK;
}

/* ---- What a checkpoint says ---- */

/* The words that make a run what it is; a run that is continued has them from its checkpoint. */
static const char *const identity[] = {
    "data",        "model",          "scheduler", "balance",          "deterministic",
    "stop-early",  "policy",         "optimizer", "runtime",          "combine",
    "workers",     "batch",          "partition", "orphans",          "seed",
    "speeds",      "compute",        "delay",     "receive",          "apply",
    "lose",        "join",           "spare",     "staleness-weight", "staleness-exponent",
    "micro-batch", "worker-weights", "local",     "local-optimizer",  "correction",
    "wire"};

static enum hysgd_status take_from_checkpoint(struct description *words) {
    struct safetensors_file *file;
    enum hysgd_status status = HYSGD_OK;
    if (words->resume[0] == '\0')
        return HYSGD_OK;
    HYSGD_TRY(safetensors_open(words->resume, &file));
    for (size_t i = 0; status == HYSGD_OK && i < sizeof identity / sizeof identity[0]; i++) {
        const char *value = safetensors_metadata(file, identity[i]);
        if (value != NULL)
            status = description_set_default(words, identity[i], value);
    }
    safetensors_close(file);
    if (status == HYSGD_OK)
        return HYSGD_OK;
    /* The user wrote nothing wrong: the file did. */
    return status_locate(status == HYSGD_USAGE ? HYSGD_INPUT : status, words->resume);
}

/* ---- Plug-ins ---- */

static struct plugin borrow(const struct plugin *own) {
    return (struct plugin){.ops = own->ops, .self = own->self, .is_owned = false};
}

/* A wrong word that the user did not write is a fault of the checkpoint that it comes from. */
static enum hysgd_status blame(enum hysgd_status status, const struct description *words, const char *key) {
    if (status != HYSGD_USAGE || words->resume[0] == '\0' || description_is_given(words, key))
        return status;
    return status_locate(HYSGD_INPUT, words->resume);
}

static enum hysgd_status open_listed(const struct description *words, const struct plugin_list *list,
                                     const char *word, struct plugin *plugin_out) {
    return blame(plugin_open(list, word, plugin_out), words, list->kind);
}

/* What the server does to the differences that workers deliver, unless it is told otherwise: it averages. */
#define AVERAGING "sgd,rate=1"

static bool is_elastic(const struct resolved *resolved) {
    const struct hysgd_policy_worker_ops *ops = policy_ops(&resolved->policy)->worker_ops;
    return ops != NULL && ops->elasticity != NULL && ops->elasticity(resolved->policy.self, 1) > 0;
}

static bool takes_local_steps(const struct resolved *resolved) {
    return local_ops(&resolved->local)->count != NULL;
}

/* Opens what `local` names. An elastic policy has other defaults, as it cannot do without local steps. */
static enum hysgd_status open_local(struct resolved *resolved) {
    struct description *words = &resolved->description;
    if (is_elastic(resolved) && words->resume[0] == '\0') {
        HYSGD_TRY(description_set_default(words, "local", "fixed"));
        HYSGD_TRY(description_set_default(words, "combine", "sum"));
    }
    return open_listed(words, &local_list, words->local, &resolved->local);
}

/* Opens the optimizer of the server and, where workers take steps of their own, theirs: where `local-optimizer` is
 * not given, `optimizer` is the workers' and the server averages. */
static enum hysgd_status open_optimizers(struct resolved *resolved) {
    struct description *words = &resolved->description;
    bool has_two = words->local_optimizer[0] != '\0';
    if (has_two && takes_local_steps(resolved) && words->resume[0] == '\0')
        HYSGD_TRY(description_set_default(words, "optimizer", AVERAGING));
    if (has_two) {
        enum hysgd_status status = plugin_open(&optimizer_list, words->local_optimizer, &resolved->local_optimizer);
        if (status != HYSGD_OK)
            return blame(status_locate(status, "local-optimizer"), words, "local-optimizer");
    }
    if (has_two || !takes_local_steps(resolved))
        return open_listed(words, &optimizer_list, words->optimizer, &resolved->optimizer);
    HYSGD_TRY(open_listed(words, &optimizer_list, words->optimizer, &resolved->local_optimizer));
    return plugin_open(&optimizer_list, AVERAGING, &resolved->optimizer);
}

static const struct plugin *unless_empty(const struct plugin *plugin) {
    return plugin->ops != NULL ? plugin : NULL;
}

static enum hysgd_status check_local(const struct resolved *resolved) {
    const struct description *words = &resolved->description;
    const struct training_setup setup = {
        .policy = &resolved->policy,
        .optimizer = &resolved->optimizer,
        .correction = &resolved->correction,
        .combine = (enum engine_combine)words->combine,
        .weighting = {(enum engine_weight)words->staleness_weight, words->staleness_exponent},
        .worker_weights = words->worker_weights,
        .workers = resolved_places(resolved),
        .local = &resolved->local,
        .wire = &resolved->wire,
        .local_optimizer = unless_empty(&resolved->local_optimizer),
    };
    return local_check(&setup);
}

/* What the user may say of the runtime in options of the run moves to where it belongs. */
static enum hysgd_status take_runtime_options(struct resolved *resolved) {
    struct description *words = &resolved->description;
    const struct hysgd_plugin *runtime = resolved->runtime.ops;
    const struct {
        const char *key;
        char **field;
    } rows[] = {{"servers", &words->servers},
                {"tolerate", &words->tolerate},
                {"patience", &words->patience},
                {"copies", &words->copies},
                {"control", &words->control}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *none;
        if ((*rows[i].field)[0] == '\0')
            continue;
        if (runtime_ops(&resolved->runtime)->place == NULL)
            return hysgd_fail(HYSGD_USAGE,
                              "run: %s=%s has no effect: the runtime %s has no ranks; expected runtime=mpi, which "
                              "mpirun or srun starts",
                              rows[i].key, *rows[i].field, runtime->name);
        HYSGD_TRY(options_set(runtime->options, resolved->runtime.self, "run", rows[i].key, *rows[i].field));
        HYSGD_TRY(memory_copy_text("", &none));
        description_replace(rows[i].field, none);
    }
    return HYSGD_OK;
}

static enum hysgd_status open_plugins(struct resolved *resolved, const struct own_plugins *own) {
    const struct description *words = &resolved->description;
    if (own->policy.ops != NULL)
        resolved->policy = borrow(&own->policy);
    else
        HYSGD_TRY(open_listed(words, &policy_list, words->policy, &resolved->policy));
    if (own->model.ops != NULL)
        resolved->model = borrow(&own->model);
    else
        HYSGD_TRY(blame(model_open(words->model, &resolved->model), words, "model"));
    if (own->data.ops != NULL)
        resolved->data = borrow(&own->data);
    else
        HYSGD_TRY(open_listed(words, &data_list, words->data, &resolved->data));
    HYSGD_TRY(scheduling_open(resolved));
    resolved->data_is_shared = resolved->data_is_ready = own->data.ops != NULL && own->data_is_ready;
    HYSGD_TRY(open_local(resolved));
    HYSGD_TRY(open_optimizers(resolved));
    HYSGD_TRY(open_listed(words, &correction_list, words->correction, &resolved->correction));
    HYSGD_TRY(open_listed(words, &wire_list, words->wire, &resolved->wire));
    HYSGD_TRY(correction_check(correction_ops(&resolved->correction), resolved->optimizer.ops->name));
    HYSGD_TRY(open_listed(words, &partition_list, words->partition, &resolved->partition));
    HYSGD_TRY(open_listed(words, &runtime_list, words->runtime, &resolved->runtime));
    return take_runtime_options(resolved);
}

static enum hysgd_status spell_out_plugins(struct resolved *resolved) {
    struct description *words = &resolved->description;
    HYSGD_TRY(spell_out(&resolved->model, &words->model));
    HYSGD_TRY(spell_out(&resolved->data, &words->data));
    HYSGD_TRY(spell_out(&resolved->runtime, &words->runtime));
    if (resolved->scheduler.ops != NULL) /* what has no part in the run keeps its default */
        return spell_out(&resolved->scheduler, &words->scheduler);
    HYSGD_TRY(spell_out(&resolved->policy, &words->policy));
    bool has_two = words->local_optimizer[0] != '\0' || !takes_local_steps(resolved);
    HYSGD_TRY(spell_out(has_two ? &resolved->optimizer : &resolved->local_optimizer, &words->optimizer));
    if (words->local_optimizer[0] != '\0')
        HYSGD_TRY(spell_out(&resolved->local_optimizer, &words->local_optimizer));
    if (strcmp(words->local, "off") != 0)
        HYSGD_TRY(spell_out(&resolved->local, &words->local));
    HYSGD_TRY(spell_out(&resolved->correction, &words->correction));
    HYSGD_TRY(spell_out(&resolved->wire, &words->wire));
    return spell_out(&resolved->partition, &words->partition);
}

/* ---- Workers and times ---- */

static enum hysgd_status check_modelled(const struct resolved *resolved) {
    const struct description *words = &resolved->description;
    const struct {
        const char *key, *value;
    } rows[] = {{"compute", words->compute}, {"receive", words->receive}, {"apply", words->apply}};
    for (size_t i = 0; !resolved->is_modelled && i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].value[0] != '\0')
            return hysgd_fail(
                HYSGD_USAGE,
                "run: %s=%s: the times of runtime %s are measured, not modelled; use runtime=virtual, "
                "or delay to slow workers down",
                rows[i].key, rows[i].value, resolved->runtime.ops->name);
    return HYSGD_OK;
}

static enum hysgd_status check_pieces(const struct description *words) {
    if (words->micro_batch == 0 || words->batch % words->micro_batch == 0)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE,
                      "run: micro-batch=%" PRId64 ": batch=%" PRId64
                      " is no multiple of it; expected a divisor of %" PRId64 ", or 0 for the whole batch",
                      words->micro_batch, words->batch, words->batch);
}

static enum hysgd_status init_policy(struct resolved *resolved) {
    const struct hysgd_policy_ops *ops = policy_ops(&resolved->policy);
    resolved->policy_is_ready = true; /* init leaves its object safe to fini when it fails */
    return ops->init != NULL ? ops->init(resolved->policy.self, resolved_places(resolved)) : HYSGD_OK;
}

static enum hysgd_status check_worker_weights(const struct resolved *resolved) {
    const struct description *words = &resolved->description;
    double *weights;
    HYSGD_TRY(worker_weights_read(words->worker_weights, resolved_places(resolved), NULL, &weights));
    memory_free(weights);
    return HYSGD_OK;
}

/* Where a launcher has spread the run over processes, it has said with how many workers. */
static enum hysgd_status resolve_workers(struct resolved *resolved) {
    struct description *words = &resolved->description;
    struct runtime_place *place = &resolved->place;
    const struct runtime_ops *runtime = runtime_ops(&resolved->runtime);
    *place = (struct runtime_place){.ranks = 1, .reports = true};
    if (runtime->place == NULL) {
        if (words->workers == 0)
            words->workers = resolved->is_modelled ? WORKERS_IN_MODELLED_TIME : machine_cores();
        return HYSGD_OK;
    }
    if (runtime->enter != NULL)
        HYSGD_TRY(runtime->enter(resolved->runtime.self));
    runtime->place(resolved->runtime.self, place);
    if (place->workers < 1)
        return hysgd_fail(HYSGD_USAGE,
                          "run: runtime=%s: of %d ranks none is left for a worker: expected more ranks",
                          words->runtime, place->ranks);
    bool is_saved = words->resume[0] != '\0' && words->workers > 0 && !description_is_given(words, "workers");
    if (is_saved) { /* as many as there were; who has no rank now is lost, and who has no worker computes nothing */
        place->worker = place->worker < resolved_places(resolved) ? place->worker : -1;
        return HYSGD_OK;
    }
    if (description_is_given(words, "workers") && words->workers > 0 && words->workers != place->workers)
        return hysgd_fail(HYSGD_USAGE,
                          "run: workers=%" PRId64 ": %d ranks are %d workers under runtime=%s; start as "
                          "many ranks as it takes",
                          words->workers, place->ranks, place->workers, words->runtime);
    words->workers = place->workers;
    return HYSGD_OK;
}

/* A program that was started as one of many does its part of one run, unless it is told otherwise. */
static enum hysgd_status choose_runtime(struct description *words) {
    int rank, ranks;
    if (!comm_is_admitted() && (!comm_is_launched(&rank, &ranks) || ranks < 2))
        return HYSGD_OK;
    return description_set_default(words, "runtime", "mpi");
}

static enum hysgd_status resolve_times(struct resolved *resolved) {
    struct description *words = &resolved->description;
    HYSGD_TRY(check_modelled(resolved));
    HYSGD_TRY(resolve_workers(resolved));
    if (words->join[0] != '\0' && runtime_ops(&resolved->runtime)->place != NULL)
        return hysgd_fail(HYSGD_USAGE,
                          "run: join=%s has no effect under runtime=%s: `hysgd join` lets workers join",
                          words->join, resolved->runtime.ops->name);
    const struct timing_texts texts = {.speeds = words->speeds,
                                       .compute = words->compute,
                                       .delay = words->delay,
                                       .receive = words->receive,
                                       .apply = words->apply,
                                       .lose = words->lose,
                                       .join = words->join};
    HYSGD_TRY(timing_init(&resolved->timing, &texts, resolved_places(resolved), (uint64_t)words->seed));
    if (!resolved->is_modelled)
        return HYSGD_OK;
    HYSGD_TRY(spell_out(&resolved->timing.compute, &words->compute));
    HYSGD_TRY(spell_out(&resolved->timing.receive, &words->receive));
    if (resolved->scheduler.ops != NULL) /* nothing is applied */
        return HYSGD_OK;
    return spell_out(&resolved->timing.apply, &words->apply);
}

/* ---- Limits, target, cadences ---- */

struct target {
    double accuracy, loss;
};

static const struct hysgd_option target_options[] = {
    {"accuracy", HYSGD_OPTION_REAL, offsetof(struct target, accuracy), "0", 0, 1, NULL,
     "test accuracy at least this"},
    {"loss", HYSGD_OPTION_REAL, offsetof(struct target, loss), "0", 0, 1e30, NULL, "test loss at most this"},
    {0},
};

static enum hysgd_status resolve_limits(struct resolved *resolved) {
    struct description *words = &resolved->description;
    struct target target = {0};
    HYSGD_TRY(options_parse(target_options, &target, "target", words->target));
    if (words->target[0] != '\0' && target.accuracy <= 0 && target.loss <= 0)
        return hysgd_fail(HYSGD_USAGE, "run: target=%s is always reached: expected accuracy=A or loss=L above 0",
                          words->target);
    if (words->goes_on_at_target && words->target[0] == '\0')
        return hysgd_fail(HYSGD_USAGE, "run: goes-on-at-target=yes needs a target, such as target=accuracy=0.98");
    if (words->epochs == 0 && words->deadline == 0 && words->updates == 0 && words->gradients == 0)
        words->epochs = resolved->scheduler.ops != NULL ? scheduling_epochs(words) : EPOCHS_WITHOUT_LIMIT;
    resolved->limits = (struct training_limits){.epochs = words->epochs,
                                                .seconds = words->deadline,
                                                .updates = (uint64_t)words->updates,
                                                .gradients = (uint64_t)words->gradients,
                                                .accuracy = target.accuracy,
                                                .loss = target.loss,
                                                .goes_on_at_target = words->goes_on_at_target};
    return HYSGD_OK;
}

struct cadence {
    double epochs, seconds, updates, gradients;
};

#define CADENCE_ROW(field, least)                                                                                  \
    { #field, HYSGD_OPTION_REAL, offsetof(struct cadence, field), "0", least, 1e15, NULL, "every so many " #field }

static const struct hysgd_option cadence_options[] = {
    CADENCE_ROW(epochs, 1e-6), CADENCE_ROW(seconds, 1e-6), CADENCE_ROW(updates, 1), CADENCE_ROW(gradients, 1), {0},
};

/* Reads "never", "2" (epochs) or "UNIT=2", and puts the last form in the place of the second. */
static enum hysgd_status resolve_cadence(const char *key, char **field, struct training_cadence *cadence_out) {
    struct cadence cadence = {0};
    double number;
    if (strcmp(*field, "never") == 0) {
        *cadence_out = (struct training_cadence){.unit = TRAINING_NEVER};
        return HYSGD_OK;
    }
    if (options_read_real(*field, &number)) {
        char *text;
        HYSGD_TRY(memory_alloc(strlen(*field) + sizeof "epochs=", 1, &text));
        sprintf(text, "epochs=%s", *field);
        description_replace(field, text);
    }
    if (strchr(*field, '=') == NULL || strchr(*field, ',') != NULL)
        return hysgd_fail(
            HYSGD_USAGE,
            "run: %s=%s is not valid: expected epochs=N (or just N), seconds=N, updates=N, gradients=N or "
            "never",
            key, *field);
    HYSGD_TRY(options_parse(cadence_options, &cadence, key, *field));
    const double every[] = {
        [TRAINING_EPOCHS] = cadence.epochs,
        [TRAINING_SECONDS] = cadence.seconds,
        [TRAINING_UPDATES] = cadence.updates,
        [TRAINING_GRADIENTS] = cadence.gradients,
    };
    for (int unit = TRAINING_EPOCHS; unit <= TRAINING_GRADIENTS; unit++)
        if (every[unit] > 0)
            *cadence_out = (struct training_cadence){.unit = (enum training_unit)unit, .every = every[unit]};
    return HYSGD_OK;
}

static enum hysgd_status resolve_cadences(struct resolved *resolved) {
    struct description *words = &resolved->description;
    HYSGD_TRY(resolve_cadence("eval-every", &words->eval_every, &resolved->evaluate_every));
    HYSGD_TRY(resolve_cadence("save-every", &words->save_every, &resolved->save_every));
    if (resolved->save_every.unit != TRAINING_NEVER && words->save[0] == '\0')
        return hysgd_fail(HYSGD_USAGE, "run: save-every=%s needs save=FILE", words->save_every);
    return HYSGD_OK;
}

/* Before the data are loaded; whether the port is free shows when it is opened. */
static enum hysgd_status check_serve(const struct description *words) {
    struct serve_address address;
    return words->serve[0] != '\0' ? serve_address_parse(words->serve, &address) : HYSGD_OK;
}

/* Where a run is spread, the first process writes all but checkpoints, of whose directory the runtime makes sure.
 */
static enum hysgd_status check_files(const struct resolved *resolved) {
    const struct description *words = &resolved->description;
    const struct output_path outputs[] = {
        {"save", words->save, OUTPUT_ONLY_REPLACED}, {"log", words->log, OUTPUT_WRITTEN},
        {"csv", words->csv, OUTPUT_WRITTEN},         {"tensorboard", words->tensorboard, OUTPUT_DIRECTORY},
        {"trace", words->trace, OUTPUT_WRITTEN},     {"report", words->report, OUTPUT_REPLACED}};
    if (resolved->place.rank != 0)
        return HYSGD_OK;
    return output_paths_check(outputs, sizeof outputs / sizeof outputs[0], words->resume);
}

/* ---- The whole ---- */

static const char *title_of(const struct resolved *resolved, const struct own_plugins *own) {
    if (resolved->scheduler.ops != NULL)
        return resolved->description.scheduler;
    return own->policy.ops != NULL ? own->policy.ops->name : resolved->description.policy;
}

enum hysgd_status resolved_init(struct resolved *resolved, const struct description *description,
                                const struct own_plugins *own) {
    memset(resolved, 0, sizeof *resolved);
    HYSGD_TRY(description_copy(description, &resolved->description));
    HYSGD_TRY(take_from_checkpoint(&resolved->description));
    HYSGD_TRY(choose_runtime(&resolved->description));
    HYSGD_TRY(open_plugins(resolved, own));
    resolved->is_modelled = runtime_ops(&resolved->runtime)->is_modelled;
    HYSGD_TRY(memory_copy_text(title_of(resolved, own), &resolved->title));
    HYSGD_TRY(scheduling_check(resolved));
    HYSGD_TRY(spell_out_plugins(resolved));
    HYSGD_TRY(resolve_times(resolved));
    HYSGD_TRY(check_pieces(&resolved->description));
    HYSGD_TRY(check_worker_weights(resolved));
    HYSGD_TRY(init_policy(resolved));
    HYSGD_TRY(check_local(resolved));
    HYSGD_TRY(resolve_limits(resolved));
    HYSGD_TRY(resolve_cadences(resolved));
    HYSGD_TRY(check_serve(&resolved->description));
    return check_files(resolved);
}

void resolved_fini(struct resolved *resolved) {
    if (resolved->policy_is_ready && policy_ops(&resolved->policy)->fini != NULL)
        policy_ops(&resolved->policy)->fini(resolved->policy.self);
    if (resolved->data_is_ready && !resolved->data_is_shared && data_ops(&resolved->data)->fini != NULL)
        data_ops(&resolved->data)->fini(resolved->data.self);
    plugin_close(&resolved->policy);
    plugin_close(&resolved->model);
    plugin_close(&resolved->data);
    plugin_close(&resolved->scheduler);
    plugin_close(&resolved->optimizer);
    plugin_close(&resolved->correction);
    plugin_close(&resolved->local);
    plugin_close(&resolved->wire);
    plugin_close(&resolved->local_optimizer);
    plugin_close(&resolved->partition);
    plugin_close(&resolved->runtime);
    timing_fini(&resolved->timing);
    memory_free(resolved->title);
    description_fini(&resolved->description);
    memset(resolved, 0, sizeof *resolved);
}

int resolved_places(const struct resolved *resolved) {
    return (int)(resolved->description.workers + resolved->description.spare);
}

enum hysgd_status resolved_load(struct resolved *resolved) {
    if (resolved->data_is_ready)
        return HYSGD_OK;
    resolved->data_is_ready = true; /* init leaves its object safe to fini when it fails */
    const struct hysgd_data_ops *ops = data_ops(&resolved->data);
    return ops->init != NULL ? ops->init(resolved->data.self, (uint64_t)resolved->description.seed) : HYSGD_OK;
}

enum hysgd_status resolved_print(const struct resolved *resolved, FILE *out) {
    struct description_pairs pairs;
    enum hysgd_status status = description_pairs_init(&pairs, &resolved->description);
    for (size_t i = 0; status == HYSGD_OK && i < pairs.count; i++)
        config_print(pairs.pairs[i][0], pairs.pairs[i][1], out);
    description_pairs_fini(&pairs);
    return status;
}
