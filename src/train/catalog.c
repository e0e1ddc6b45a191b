/* SPDX-License-Identifier: Apache-2.0 */
/* Gathers the registries of all layers, so that the command needs to know none of them. */
#include "train/catalog.h"

#include <string.h>

#include "base/options.h"
#include "correction/correction.h"
#include "data/data.h"
#include "data/partition.h"
#include "lowrank/scheduler.h"
#include "model/model.h"
#include "optimizer/optimizer.h"
#include "policy/policy.h"
#include "runtime/runtime.h"
#include "train/json.h"

const struct catalog_kind catalog_kinds[] = {
    {"policies", "policy", "when gradients are applied and who waits for whom", &policy_list},
    {"optimizers", "optimizer", "how an update changes the parameters", &optimizer_list},
    {"corrections", "correction", "what is done to a gradient that comes late", &correction_list},
    {"models", "model", "the loss and its gradient", &model_list},
    {"data", "data", "what to train on", &data_list},
    {"partitions", "partition", "which worker has which training samples", &partition_list},
    {"local", "local", "how many steps a worker takes before it delivers", &local_list},
    {"wires", "wire", "what gradients travel as", &wire_list},
    {"schedulers", "scheduler", "which thread works on which block of ratings", &scheduler_list},
    {"runtimes", "runtime", "where workers live and what a clock is", &runtime_list},
    {"distributions", "distribution", "of modelled times and injected delays", &distribution_list},
    {0},
};

const struct catalog_kind *catalog_kind(const char *word) {
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++)
        if (strcmp(kind->plural, word) == 0 || strcmp(kind->option, word) == 0)
            return kind;
    return NULL;
}

const struct hysgd_plugin *catalog_find(const char *name, const struct catalog_kind **kind_out) {
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++)
        for (size_t i = 0; i < kind->list->count; i++) {
            const struct hysgd_plugin *entry = kind->list->entries[i];
            if (plugin_is_called(entry, name, strlen(name))) {
                *kind_out = kind;
                return entry;
            }
        }
    return NULL;
}

void catalog_nearest(const char *word, struct option_near *near_out) {
    *near_out = (struct option_near){0};
    for (const struct catalog_kind *kind = catalog_kinds; kind->plural != NULL; kind++) {
        option_near_take(near_out, word, kind->plural, strlen(kind->plural));
        for (size_t i = 0; i < kind->list->count; i++) {
            const char *name;
            size_t length;
            for (int k = 0; (name = plugin_name_at(kind->list->entries[i], k, &length)) != NULL; k++)
                option_near_take(near_out, word, name, length);
        }
    }
}

/* ---- JSON ---- */

static const char *type_name(enum hysgd_option_type type) {
    switch (type) {
    case HYSGD_OPTION_BOOL:
        return "bool";
    case HYSGD_OPTION_INT:
        return "int";
    case HYSGD_OPTION_REAL:
        return "real";
    case HYSGD_OPTION_CHOICE:
        return "choice";
    case HYSGD_OPTION_TEXT:
        return "text";
    }
    return "unknown";
}

/* The functions below return NULL when memory runs out; jansson's setters free what they take and refuse NULL. */
static json_t *option_json(const struct hysgd_option *option) {
    json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "key", option->key, "type", type_name(option->type),
                               "default", json_text(option->initial), "help", json_text(option->help));
    bool is_number = option->type == HYSGD_OPTION_INT || option->type == HYSGD_OPTION_REAL;
    int failed = object == NULL;
    if (!failed && is_number && (option->least != 0 || option->most != 0)) {
        failed |= json_object_set_new(object, "least", json_real(option->least));
        failed |= json_object_set_new(object, "most", json_real(option->most));
    }
    if (!failed && option->type == HYSGD_OPTION_CHOICE)
        failed |= json_object_set_new(object, "words", json_text(option->words));
    return failed ? json_drop(object) : object;
}

static json_t *entry_json(const struct hysgd_plugin *entry) {
    json_t *options = json_array();
    int failed = options == NULL;
    for (size_t i = 0; !failed && i < options_count(entry->options); i++)
        failed = json_array_append_new(options, option_json(&entry->options[i]));
    if (failed)
        return json_drop(options);
    return json_pack("{s:s, s:o, s:s, s:o, s:o}", "name", entry->name, "alias", json_text(entry->alias), "summary",
                     entry->summary, "source", json_text(entry->source), "options", options);
}

static json_t *kind_json(const struct catalog_kind *kind) {
    json_t *entries = json_array();
    int failed = entries == NULL;
    for (size_t i = 0; !failed && i < kind->list->count; i++)
        failed = json_array_append_new(entries, entry_json(kind->list->entries[i]));
    return failed ? json_drop(entries) : entries;
}

static json_t *all_json(void) {
    json_t *all = json_object();
    int failed = all == NULL;
    for (const struct catalog_kind *kind = catalog_kinds; !failed && kind->plural != NULL; kind++)
        failed = json_object_set_new(all, kind->plural, kind_json(kind));
    return failed ? json_drop(all) : all;
}

enum hysgd_status catalog_print_json(const struct catalog_kind *kind, const struct hysgd_plugin *entry, FILE *out) {
    json_t *json = entry != NULL ? entry_json(entry) : kind != NULL ? kind_json(kind) : all_json();
    return json_print(json, JSON_INDENT(2), out);
}
