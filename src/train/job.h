/* SPDX-License-Identifier: Apache-2.0 */
/* A job, beyond what hysgd.h shows: what the command adds to it. Library users get no output at all; whatever is
 * shown is added here. */
#ifndef HYSGD_TRAIN_JOB_H
#define HYSGD_TRAIN_JOB_H

#include <stdio.h>

#include "record/recorder.h"

struct hysgd_job;

/* Adds a view of the run's events, before the run; `self` is borrowed until the job is freed. HYSGD_USAGE when
 * there are too many or the job has run. */
HYSGD_MUST_CHECK enum hysgd_status job_add_sink(struct hysgd_job *job, const struct sink_ops *ops, void *self);

/* Checks the whole description without running it, and prints it, every default filled in, as a configuration file.
 */
HYSGD_MUST_CHECK enum hysgd_status job_print(struct hysgd_job *job, FILE *out);

/* As hysgd_job_run; also says whether the run began, so that result_out was written. */
HYSGD_MUST_CHECK enum hysgd_status job_run(struct hysgd_job *job, struct hysgd_result *result_out,
                                           bool *has_begun_out);

/* Instead of job_run, when this process cannot even tell the job its words: the other processes of the run learn
 * that, and nobody trains. `status` with the calling thread's message as from then on in all of them. */
HYSGD_MUST_CHECK enum hysgd_status job_decline(struct hysgd_job *job, enum hysgd_status status);

/* Whether this process reports for all that a launcher has started to do the run together: the first does, and who
 * takes its place when it is lost. */
bool job_speaks(const struct hysgd_job *job);

/* Whether other processes have gone on with the run without this one: its failure is not that of the run. */
bool job_is_left_behind(const struct hysgd_job *job);

/* Whether the run, which has begun, is spread over several processes without having been told to be; and over how
 * many. */
bool job_has_chosen_runtime(const struct hysgd_job *job);
int job_ranks(const struct hysgd_job *job);

/* The run, where a scheduler trained or trains; NULL: a policy. */
struct factorization;
const struct factorization *job_factorization(const struct hysgd_job *job);

#endif
