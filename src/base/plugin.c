/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a plug-in by its name and making its state from text. */
#include "base/plugin.h"

#include <string.h>

#include "base/memory.h"
#include "base/option_text.h"

#define NAME_BYTES  64
#define WHAT_BYTES  128
#define NAMES_BYTES 512

const char *plugin_name_at(const struct hysgd_plugin *ops, int index, size_t *length_out) {
    static const char between[] = ", ";
    const char *name = index > 0 ? ops->alias : ops->name;
    for (int i = 1; name != NULL && i < index; i++) {
        name = strstr(name, between);
        if (name != NULL)
            name += sizeof between - 1;
    }
    if (name != NULL)
        *length_out = index > 0 ? strcspn(name, between) : strlen(name);
    return name;
}

bool plugin_is_called(const struct hysgd_plugin *ops, const char *name, size_t length) {
    const char *word;
    size_t word_length;
    for (int i = 0; (word = plugin_name_at(ops, i, &word_length)) != NULL; i++)
        if (word_length == length && memcmp(word, name, length) == 0)
            return true;
    return false;
}

static enum hysgd_status fail_unknown_name(const struct plugin_list *list, const char *name) {
    struct option_near near = {0};
    const char *word;
    char names[NAMES_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct hysgd_plugin *entry = list->entries[i];
        size_t length;
        for (int k = 0; (word = plugin_name_at(entry, k, &length)) != NULL; k++)
            option_near_take(&near, name, word, length);
        if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", entry->name);
    }
    if (near.word != NULL)
        return hysgd_fail(HYSGD_USAGE, "unknown %s '%s': did you mean '%.*s'?", list->kind, name, (int)near.length,
                          near.word);
    return hysgd_fail(HYSGD_USAGE, "unknown %s '%s': expected one of %s", list->kind, name, names);
}

enum hysgd_status plugin_find(const struct plugin_list *list, const char *name,
                              const struct hysgd_plugin **ops_out) {
    for (size_t i = 0; i < list->count; i++) {
        const struct hysgd_plugin *entry = list->entries[i];
        if (plugin_is_called(entry, name, strlen(name))) {
            *ops_out = entry;
            return HYSGD_OK;
        }
    }
    return fail_unknown_name(list, name);
}

enum hysgd_status plugin_adopt(const char *kind, const struct hysgd_plugin *ops, void *self,
                               const char *options_text, struct plugin *plugin_out) {
    char what[WHAT_BYTES];
    *plugin_out = (struct plugin){0};
    snprintf(what, sizeof what, "%s %s", kind, ops->name);
    if (self != NULL && options_text != NULL && *options_text != '\0')
        return hysgd_fail(HYSGD_USAGE, "%s: its state is given, so '%s' cannot be set", what, options_text);
    struct plugin plugin = {.ops = ops, .self = self, .is_owned = self == NULL};
    if (plugin.is_owned) {
        HYSGD_TRY(memory_alloc(1, ops->size, &plugin.self));
        enum hysgd_status status = options_init(ops->options, plugin.self);
        if (status == HYSGD_OK && options_text != NULL)
            status = options_parse(ops->options, plugin.self, what, options_text);
        if (status != HYSGD_OK) {
            plugin_close(&plugin);
            return status;
        }
    }
    *plugin_out = plugin;
    return HYSGD_OK;
}

/* The text after a colon is that of the first option less its key; given back it, options_parse has one grammar for
 * all. */
static enum hysgd_status open_with_value(const char *kind, const struct hysgd_plugin *ops, const char *rest,
                                         struct plugin *plugin_out) {
    const struct hysgd_option *first = ops->options;
    if (options_count(first) == 0 || (first->type != HYSGD_OPTION_TEXT && first->type != HYSGD_OPTION_CHOICE))
        return hysgd_fail(HYSGD_USAGE, "%s %s takes no path: expected a comma instead of ':%s'", kind, ops->name,
                          rest);
    char *text;
    size_t size = strlen(first->key) + sizeof "=" + strlen(rest);
    HYSGD_TRY(memory_alloc(size, 1, &text));
    snprintf(text, size, "%s=%s", first->key, rest);
    enum hysgd_status status = plugin_adopt(kind, ops, NULL, text, plugin_out);
    memory_free(text);
    return status;
}

enum hysgd_status plugin_open(const struct plugin_list *list, const char *text, struct plugin *plugin_out) {
    char name[NAME_BYTES];
    const struct hysgd_plugin *ops = NULL;
    *plugin_out = (struct plugin){0};
    size_t length = strcspn(text, ":,");
    if (length >= sizeof name)
        return hysgd_fail(HYSGD_USAGE, "unknown %s '%s': the name is too long", list->kind, text);
    memcpy(name, text, length);
    name[length] = '\0';
    HYSGD_TRY(plugin_find(list, name, &ops));
    const char *rest = text + length;
    if (*rest == ':')
        return open_with_value(list->kind, ops, rest + 1, plugin_out);
    if (*rest == ',' && rest[1] == '\0')
        return hysgd_fail(HYSGD_USAGE, "%s %s: '%s' ends with a comma: expected key=value", list->kind, name, text);
    return plugin_adopt(list->kind, ops, NULL, *rest == ',' ? rest + 1 : rest, plugin_out);
}

void plugin_close(struct plugin *plugin) {
    if (plugin->is_owned && plugin->self != NULL) {
        options_fini(plugin->ops->options, plugin->self);
        memory_free(plugin->self);
    }
    *plugin = (struct plugin){0};
}

void plugin_print(const struct plugin *plugin, FILE *out) {
    fputs(plugin->ops->name, out);
    if (options_count(plugin->ops->options) > 0) {
        fputc(',', out);
        options_print(plugin->ops->options, plugin->self, out);
    }
}
