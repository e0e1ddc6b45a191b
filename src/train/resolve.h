/* SPDX-License-Identifier: Apache-2.0 */
/* From words to objects: everything that can be wrong in the description of a run is found here, before any data
 * are read, memory for vectors is taken, or a file is written. */
#ifndef HYSGD_TRAIN_RESOLVE_H
#define HYSGD_TRAIN_RESOLVE_H

#include <stdio.h>

#include "runtime/runtime.h"
#include "train/description.h"

/* Plug-ins that stand in place of the description's words; an empty one (ops NULL) leaves the choice to the word.
 */
struct own_plugins {
    struct plugin policy, model, data;
    bool data_is_ready; /* the data's init has been called, and their fini is not ours */
};

/* A run whose words have been checked. Plug-ins are open; only the policy's init has been
 * called, because it may refuse the number of workers. */
struct resolved {
    struct description description; /* every default filled in: reading it back gives exactly this run */
    char *title;                    /* the policy in the user's words */
    struct plugin policy, model, data, optimizer, correction, runtime, partition;
    struct plugin wire;
    struct plugin scheduler;              /* trains in place of the policy; empty where the policy trains */
    struct plugin local, local_optimizer; /* the latter is empty where workers take no local steps */
    bool is_modelled;                     /* the runtime's clock is */
    struct runtime_place place;           /* of this process in the run */
    bool policy_is_ready, data_is_ready;  /* its init has been called */
    bool data_is_shared;                  /* its fini is not ours */
    struct timing timing;
    bool is_timing_only; /* no gradients are computed; set by the caller */
    struct training_limits limits;
    struct training_cadence evaluate_every, save_every;
};

/* HYSGD_USAGE, HYSGD_INPUT (a file that must exist does not), HYSGD_MEMORY. Own plug-ins are borrowed. Safe to fini
 * when it fails. */
HYSGD_MUST_CHECK enum hysgd_status resolved_init(struct resolved *resolved, const struct description *description,
                                                 const struct own_plugins *own);
void resolved_fini(struct resolved *resolved);

/* Reads or generates the data; does nothing when they are ready. HYSGD_INPUT. */
HYSGD_MUST_CHECK enum hysgd_status resolved_load(struct resolved *resolved);

/* Numbers that workers have: of those that are there at the beginning, and of those that may join. */
int resolved_places(const struct resolved *resolved);

/* Prints the run as a configuration file. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status resolved_print(const struct resolved *resolved, FILE *out);

/* The text that opens an equal plug-in, to be freed. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status plugin_text(const struct plugin *plugin, char **text_out);

#endif
