/* SPDX-License-Identifier: Apache-2.0 */
/* One run of training from a resolved description: the objects, the sinks, the runtime, the end. Shared by a job
 * and by a comparison of policies. */
#ifndef HYSGD_TRAIN_RUN_H
#define HYSGD_TRAIN_RUN_H

#include "runtime/training.h"
#include "train/recording.h"
#include "train/resolve.h"

/* Lets a signal handler or another thread stop whatever is running, now or soon. Zeroed: nothing runs, nobody
 * asked. */
struct stopper {
    atomic_bool is_asked;
    struct training *_Atomic training; /* the one that is running, or NULL */
};

/* Safe in a signal handler. */
void stopper_ask(struct stopper *stopper);

struct run {
    const struct resolved *resolved;
    struct plugin runtime; /* that drives it, borrowed: that of `resolved` unless set otherwise before run_train */
    bool model_is_ready;   /* its init has been called */
    struct description_pairs pairs;
    struct training_setup setup;
    struct training training;
    struct recording recording;
    const struct run_sink *sinks; /* [sink_count] for a process that comes to report later, borrowed */
    size_t sink_count;
};

/* Builds everything up to the first parameters, or to those of the checkpoint that the run continues. The data are
 * ready. `wants_history` keeps the curves also where the description names no report. Safe to fini when it fails.
 */
HYSGD_MUST_CHECK enum hysgd_status run_init(struct run *run, const struct resolved *resolved,
                                            const struct run_sink *sinks, size_t sink_count, bool wants_history);
void run_fini(struct run *run);

/* The two halves of run_init: first all that can be refused, then opening the files that are written. */
HYSGD_MUST_CHECK enum hysgd_status run_prepare(struct run *run, const struct resolved *resolved);
HYSGD_MUST_CHECK enum hysgd_status run_record(struct run *run, const struct run_sink *sinks, size_t sink_count,
                                              bool wants_history);

/* Trains to the end and writes the report. Blocks. `result_out` is written when the run began, `has_begun_out` says
 * whether it did. HYSGD_TARGET when the run went well and its target was not reached. */
HYSGD_MUST_CHECK enum hysgd_status run_train(struct run *run, struct stopper *stopper,
                                             struct hysgd_result *result_out, bool *has_begun_out);

#endif
