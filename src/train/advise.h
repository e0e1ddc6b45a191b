/* SPDX-License-Identifier: Apache-2.0 */
/* Simulates policies over measured times, in virtual time, to tell which one suits them: over the times as they
 * were measured, and over resampled ones to tell how sure that is. */
#ifndef HYSGD_TRAIN_ADVISE_H
#define HYSGD_TRAIN_ADVISE_H

#include "base/options.h"
#include "train/advice.h"

struct advise; /* opaque */

/* The options that a run does not have, and the keys of a run's options that this does not take. */
extern const struct hysgd_option advise_options[];
extern const char *const advise_without[];

HYSGD_MUST_CHECK enum hysgd_status advise_alloc(struct advise **advise_out);
void advise_free(struct advise *advise);

/* Sets an option of advise_options or of a run. "policy" adds one policy, or several joined by ';'. */
HYSGD_MUST_CHECK enum hysgd_status advise_set(struct advise *advise, const char *key, const char *value);

/* Lets it tell `out` which simulation begins; those with gradients take long. */
void advise_show(struct advise *advise, FILE *out);

/* Reads the times from a log or a table, simulates on all cores, and writes the report. A policy that cannot be
 * simulated is left out, and the advice says why. HYSGD_INTERRUPTED after advise_stop. `advice_out` is owned by
 * `advise`. */
HYSGD_MUST_CHECK enum hysgd_status advise_run(struct advise *advise, const char *path,
                                              const struct advice **advice_out);

/* As hysgd_job_stop. */
void advise_stop(struct advise *advise);

#endif
