/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to choose from, by kind: the lists of plug-ins as the command shows them. */
#ifndef HYSGD_TRAIN_CATALOG_H
#define HYSGD_TRAIN_CATALOG_H

#include <stdio.h>

#include "base/option_text.h"
#include "base/plugin.h"

/* One kind of plug-in. */
struct catalog_kind {
    const char *plural;   /* "policies": the word after `hysgd list` */
    const char *option;   /* the option of a run that takes one: "policy" */
    const char *question; /* what the choice decides */
    const struct plugin_list *list;
};

extern const struct catalog_kind catalog_kinds[]; /* ends with a kind without a name */

/* The kind named by its plural or its option; NULL when there is none. */
const struct catalog_kind *catalog_kind(const char *word);

/* The plug-in with this name or alias, of any kind; NULL when there is none. */
const struct hysgd_plugin *catalog_find(const char *name, const struct catalog_kind **kind_out);

/* The nearest word among kinds, names and aliases. */
void catalog_nearest(const char *word, struct option_near *near_out);

/* Prints as JSON: one kind and one entry of it, all entries of a kind (entry NULL), or everything (kind NULL).
 * HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status catalog_print_json(const struct catalog_kind *kind,
                                                      const struct hysgd_plugin *entry, FILE *out);

#endif
