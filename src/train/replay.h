/* SPDX-License-Identifier: Apache-2.0 */
/* Repeating a recorded run on the data, the model and the program that it was recorded with: finds out whether they
 * are the same, and whether what is repeated is as recorded. */
#ifndef HYSGD_TRAIN_REPLAY_H
#define HYSGD_TRAIN_REPLAY_H

#include <stdio.h>

#include "base/options.h"
#include "record/sinks.h"

struct replay_job; /* opaque */

/* The options of a replay. */
extern const struct hysgd_option replay_options[];

/* HYSGD_MEMORY. The caller frees it. */
HYSGD_MUST_CHECK enum hysgd_status replay_job_alloc(struct replay_job **job_out);
void replay_job_free(struct replay_job *job);

/* Sets one of replay_options. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status replay_job_set(struct replay_job *job, const char *key, const char *value);

/* Has progress shown; `out` is borrowed. */
void replay_job_show(struct replay_job *job, FILE *out, enum progress_level level);

/* Asks a running replay to stop; safe in a signal handler. */
void replay_job_stop(struct replay_job *job);

/* Repeats the log at `path`. HYSGD_FAILED where an event is not as recorded; HYSGD_INPUT where the log, or what it
 * is to be repeated on, is another than that of the recorded run, or damaged; HYSGD_USAGE. Once per job. */
HYSGD_MUST_CHECK enum hysgd_status replay_job_run(struct replay_job *job, const char *path);

/* After a run that began: prints how far it came, or what might have been, as text of so many columns or as
 * a JSON object. HYSGD_MEMORY. */
bool replay_job_has_begun(const struct replay_job *job);
HYSGD_MUST_CHECK enum hysgd_status replay_job_print(const struct replay_job *job, bool is_json, int columns,
                                                    FILE *out);

#endif
