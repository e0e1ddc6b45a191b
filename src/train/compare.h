/* SPDX-License-Identifier: Apache-2.0 */
/* Several policies on equal terms: the same data, the same initial parameters, the same order of samples, the same
 * limits, over one or more seeds. */
#ifndef HYSGD_TRAIN_COMPARE_H
#define HYSGD_TRAIN_COMPARE_H

#include <stdio.h>

#include "base/options.h"
#include "record/sinks.h"

struct compare; /* opaque */

/* The options that a run does not have, and the keys of a run's options that a comparison does not take. */
extern const struct hysgd_option compare_options[];
extern const char *const compare_without[];

HYSGD_MUST_CHECK enum hysgd_status compare_alloc(struct compare **compare_out);
void compare_free(struct compare *compare);

/* Sets an option of compare_options or of a run. "policy" and "scheduler" add one, or several joined by ';'. */
HYSGD_MUST_CHECK enum hysgd_status compare_set(struct compare *compare, const char *key, const char *value);

/* Lets every run tell `out` how it is doing. */
void compare_show(struct compare *compare, FILE *out, enum progress_level level);

/* Checks everything and prints it as a configuration file. */
HYSGD_MUST_CHECK enum hysgd_status compare_print(struct compare *compare, FILE *out);

/* Runs every policy with every seed, and writes the CSV file and the report. A run that diverges is part of the
 * result. HYSGD_DIVERGED when all did; HYSGD_INTERRUPTED after compare_stop, with what was finished until then. */
HYSGD_MUST_CHECK enum hysgd_status compare_run(struct compare *compare);

/* As hysgd_job_stop. */
void compare_stop(struct compare *compare);

/* Runs that are finished. */
size_t compare_finished(const struct compare *compare);

/* Prints what was found. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status compare_print_table(const struct compare *compare, int columns, FILE *out);
HYSGD_MUST_CHECK enum hysgd_status compare_print_json(const struct compare *compare, FILE *out);

#endif
