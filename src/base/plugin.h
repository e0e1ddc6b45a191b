/* SPDX-License-Identifier: Apache-2.0 */
/* Turning a text such as "threshold,step=300" or "mnist:DIR,limit=1k" into an ops table and its private state. Used
 * for every axis: policies, optimizers, models, data, runtimes. Knows nothing of what the ops do. */
#ifndef HYSGD_BASE_PLUGIN_H
#define HYSGD_BASE_PLUGIN_H

#include <stdio.h>

#include "base/status.h"

/* What there is of one kind. Each entry points to an ops table, whose first member is a struct hysgd_plugin. */
struct plugin_list {
    const char *kind;                          /* "policy" */
    const struct hysgd_plugin *const *entries; /* [count] */
    size_t count;
};

/* An ops table with a state whose options are set; the ops' own init has not been called. */
struct plugin {
    const struct hysgd_plugin *ops; /* NULL: empty */
    void *self;
    bool is_owned; /* self was allocated here */
};

/* The names of a plug-in by number: its own, then its aliases. A name is not terminated: the length is stored. NULL
 * past the last. */
const char *plugin_name_at(const struct hysgd_plugin *ops, int index, size_t *length_out);

/* Whether `name` (`length` bytes) is one of its names. */
bool plugin_is_called(const struct hysgd_plugin *ops, const char *name, size_t length);

/* The entry with this name or alias. HYSGD_USAGE names the kind, the word, and the nearest name or all of them. */
HYSGD_MUST_CHECK enum hysgd_status plugin_find(const struct plugin_list *list, const char *name,
                                               const struct hysgd_plugin **ops_out);

/* Opens "name", "name,key=value,..." or "name:value,key=value,..." (the part after the colon is the value of the
 * first option, which is then one of text or a choice). HYSGD_USAGE, HYSGD_MEMORY; on failure the output is empty.
 */
HYSGD_MUST_CHECK enum hysgd_status plugin_open(const struct plugin_list *list, const char *text,
                                               struct plugin *plugin_out);

/* Opens a given table: allocates and sets the state from `options_text` (NULL: defaults), or adopts `self`. */
HYSGD_MUST_CHECK enum hysgd_status plugin_adopt(const char *kind, const struct hysgd_plugin *ops, void *self,
                                                const char *options_text, struct plugin *plugin_out);

/* Frees the state, without calling the ops' own fini. Safe on a zeroed plugin. */
void plugin_close(struct plugin *plugin);

/* Prints the plug-in with every option, in the form that plugin_open reads back. */
void plugin_print(const struct plugin *plugin, FILE *out);

#endif
