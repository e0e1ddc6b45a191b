/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a run in which a scheduler trains the model `factors`, in place of a policy: which they are, and
 * which have no part in it. Shared by resolve.c and those who train. */
#ifndef HYSGD_TRAIN_SCHEDULING_H
#define HYSGD_TRAIN_SCHEDULING_H

#include "model/factors.h"
#include "record/event.h"
#include "train/resolve.h"

/* Decides whether a scheduler trains, and opens it; writes the choice into the words of a run of the model factors.
 * The model is open. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status scheduling_open(struct resolved *resolved);

/* Checks the words of the run against that choice. All plug-ins are open. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status scheduling_check(struct resolved *resolved);

/* Takes back the options that have no part in a scheduler's run, or in that of a policy. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status scheduling_leave_out(struct description *words, bool is_scheduled);

/* The limit where none is given. */
double scheduling_epochs(const struct description *words);

/* Refuses the log of a run that a scheduler trained, for those who need one under a policy. HYSGD_INPUT. */
HYSGD_MUST_CHECK enum hysgd_status scheduling_refuse(const struct event_run *run, const char *path,
                                                     const char *what);

/* Tells the model factors under a policy the mean of its training ratings; nothing to any other model. */
void scheduling_centre(const struct plugin *model, const struct plugin *data);

/* The options of the model; NULL when it is not `factors`. */
const struct factors_model *scheduling_model(const struct plugin *model);

#endif
