/* SPDX-License-Identifier: Apache-2.0 */
/* What a runtime calls on a training: the arrival of a gradient, an update, limits, milestones, checkpoints and
 * events. The runtime sees to it that one thread at a time is in here, except where stated. */
#ifndef HYSGD_RUNTIME_DRIVE_H
#define HYSGD_RUNTIME_DRIVE_H

#include "runtime/training.h"

/* Gives an event to the recorder; while its ring is full, waits for the draining thread, or drains if it is that.
 */
void drive_emit(struct training *training, const struct event *event);

/* Hands the events so far to the sinks. By one thread. A sink that fails does not stop the training: recorder_end
 * reports it. */
void drive_drain(struct training *training, double seconds);

/* Tells those who watch the run something that is in no event, in one line; of a loss before drive_lose and
 * drive_note_restored. By the draining thread. */
void drive_notice(struct training *training, const char *text);

/* The same, and what is written so far can then be read. */
void drive_flush(struct training *training, double seconds);

/* Notes a failure of the calling thread, with its message, and stops; the first failure counts. */
void drive_fail(struct training *training, enum hysgd_status status);

/* Stops for a reason that is no failure. */
void drive_stop(struct training *training, const char *reason);

/* After a loss the state is an earlier one: a limit that had been reached has to be reached again. `also_asked`:
 * what training_stop has asked for is meant otherwise. */
void drive_go_on(struct training *training, bool also_asked);

/* Gradients received of each worker, so far. */
void drive_count_received(const struct training *training, uint64_t *received_out);

/* Records how far the clock of a rank is behind, and how well that is known. */
void drive_note_clock(struct training *training, double seconds, int rank, double offset_seconds,
                      double error_seconds);

/* The state has become an earlier one, from which the run goes on at `seconds`: nothing that is no part of it tells
 * the future from the past. In a replay too. */
void drive_go_back(struct training *training, double seconds);

/* What is recorded of that. */
struct drive_return {
    struct training_place place; /* where the record was then */
    const uint64_t *received;    /* [workers] gradients received until the loss; NULL: not known of each worker */
    uint64_t undone;             /* then, as far as is known */
    int rank;                    /* lost lately */
};
void drive_note_restored(struct training *training, const struct drive_return *back);

/* Gradients that are undone by it. */
uint64_t drive_undone(const struct training *training, const struct drive_return *back);

/* Takes the present state through what one goes through that is copied and gone back to; not its vectors.
 * HYSGD_MEMORY.
 */
HYSGD_MUST_CHECK enum hysgd_status drive_copy_and_restore(struct training *training);

/* Records that a copy of the present state is being made, to which the run may go back. */
void drive_note_copied(struct training *training, double seconds);

/* As engine_restart, at the start of a process: the engine has released every computing worker, and the time of
 * what is gone counts neither as computing nor as waiting. */
void drive_restart(struct training *training, double seconds);

/* Whether a released worker reads the present version; else it goes on at the one that it has. */
bool drive_reads(const struct training *training, int worker);

/* Lets it read, where the server's vectors are here. */
void drive_read(struct training *training, int worker);

/* A worker begins a gradient at `version`. */
void drive_started(struct training *training, int worker, uint64_t version, double seconds);

/* A gradient has reached the server. */
struct drive_arrival {
    int worker;
    double seconds;                    /* of the verdict */
    double compute_seconds;            /* it took to compute */
    double transit_seconds;            /* it was on the way */
    double pull_seconds, push_seconds; /* of them, see EVENT_ARRIVAL; NaN: not known */
    double queue_seconds;              /* it waited for the server before the verdict */
    double receive_seconds;            /* of them, the server took it in; NaN: not known */
    double data_seconds; /* of compute_seconds, until the worker had its samples; 0 where that is not measured */
};

/* Checks the loss, asks the engine, keeps the account, emits the event. HYSGD_DIVERGED names worker, update and
 * last checkpoint. */
HYSGD_MUST_CHECK enum hysgd_status drive_arrive(struct training *training, const struct drive_arrival *arrival,
                                                struct engine_verdict *verdict_out);

/* A worker has given up its gradient. */
struct drive_abandonment {
    int worker;
    double seconds;       /* of the verdict */
    double spent_seconds; /* on it, from its start */
    double queue_seconds; /* from giving up to the verdict */
    bool is_cancelled;    /* the policy had no more use for the gradient; else the worker's patience ended */
};

/* As drive_arrive, for a gradient that never arrives. */
HYSGD_MUST_CHECK enum hysgd_status drive_abandon(struct training *training,
                                                 const struct drive_abandonment *abandonment,
                                                 struct engine_verdict *verdict_out);

/* Prepares the vectors' part of the action: makes training->order, and where the vectors are here the server then
 * has work. */
HYSGD_MUST_CHECK enum hysgd_status drive_begin_action(struct training *training, enum engine_action action);

/* HYSGD_DIVERGED: the combined gradient of the update that leads to `version` was not finite, because of this
 * worker; -1: nobody knows whose gradient it was. */
HYSGD_MUST_CHECK enum hysgd_status drive_refuse_update(const struct training *training, uint64_t version,
                                                       int worker);

/* HYSGD_DIVERGED: a parameter of this version is not finite. */
HYSGD_MUST_CHECK enum hysgd_status drive_refuse_parameters(const struct training *training, uint64_t version);

/* After the work: publishes it; after an update tells the engine and emits the event. `service_seconds`: the
 * server's time for it. HYSGD_DIVERGED, with the worker, when the combined gradient was not finite: a model can
 * hide that from its loss. */
HYSGD_MUST_CHECK enum hysgd_status drive_end_action(struct training *training, const struct engine_verdict *verdict,
                                                    double seconds, double service_seconds);

/* A worker leaves for good; see training_orphan. */
HYSGD_MUST_CHECK enum hysgd_status drive_lose(struct training *training, int worker, double seconds,
                                              struct engine_verdict *verdict_out);

/* A worker that takes no part joins, see training_adopt: it begins anew with its next batch, without anything of
 * its own that another one of its number has left. A fold may be due before it starts. HYSGD_FAILED: nothing is
 * changed. */
HYSGD_MUST_CHECK enum hysgd_status drive_join(struct training *training, int worker, double seconds,
                                              struct engine_verdict *verdict_out);

/* Passes over the training data that the gradients received are. */
double drive_epochs(const struct training *training);

/* Passes over the training data that so many batches are. */
double drive_epochs_of(const struct training *training, uint64_t batches);

/* Share of the run done at `seconds`, 0 to 1. */
double drive_fraction(const struct training *training, double seconds);

/* Stops the run when a limit is reached or nobody takes part any more. Returns whether the run is stopping, for
 * whatever reason. */
bool drive_is_over(struct training *training, double seconds);

/* Whether a milestone is due at `seconds`; and the next moment on the run's clock at which one falls due, INFINITY
 * when none has a cadence in seconds. */
bool drive_evaluation_is_due(const struct training *training, double seconds);
bool drive_save_is_due(const struct training *training, double seconds);
double drive_next_moment(const struct training *training);

/* Sets both milestones to the first multiples of their cadences beyond the present state. */
void drive_plan_milestones(struct training *training, double seconds);

/* Whether to evaluate once more at the end: the run has not failed, and its last state is not evaluated yet. */
bool drive_last_evaluation_is_due(const struct training *training, double seconds);

/* Evaluates a vector that does not change meanwhile. In parts, because a runtime may hold its lock for the first
 * and the last only; what it reports is of the moment `seconds` of the first. HYSGD_DIVERGED when the vector is not
 * finite. */
void drive_begin_evaluation(struct training *training, double seconds);
HYSGD_MUST_CHECK enum hysgd_status drive_evaluate(struct training *training, const float *vector,
                                                  struct hysgd_metrics *metrics_out);
void drive_end_evaluation(struct training *training, const struct hysgd_metrics *metrics, double seconds);

/* Saves the whole state. In parts, because a runtime may hold its lock only for the first and the last: in between
 * the server's vectors and held gradients must not change. `in_flight` as in snapshot_take. A checkpoint that
 * cannot be written stops the run with HYSGD_OUTPUT and leaves the old file whole: to go on would lose more with
 * every update. Parameters that are not finite are not saved: HYSGD_DIVERGED. Where the vectors are elsewhere the
 * runtime writes the image (snapshot_shared.h). */
struct snapshot_in_flight;
struct snapshot_image;
HYSGD_MUST_CHECK enum hysgd_status drive_begin_save(struct training *training, double seconds,
                                                    const struct snapshot_in_flight *in_flight,
                                                    struct snapshot_image **image_out);
HYSGD_MUST_CHECK enum hysgd_status drive_write_save(const struct training *training,
                                                    const struct snapshot_image *image);
void drive_end_save(struct training *training, struct snapshot_image *image, enum hysgd_status written,
                    double seconds);

/* Whether to save at the end: a path is set and the run has not failed. */
bool drive_saves_at_end(const struct training *training);

/* The status of the ended run: that of its failure, with its message; else HYSGD_INTERRUPTED when it was; else
 * HYSGD_OK. */
HYSGD_MUST_CHECK enum hysgd_status drive_finish(struct training *training);

#endif
