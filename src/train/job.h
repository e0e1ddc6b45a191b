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

/* The run, where a scheduler trained or trains; NULL: a policy. */
struct factorization;
const struct factorization *job_factorization(const struct hysgd_job *job);

#endif
