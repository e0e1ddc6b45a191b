/* SPDX-License-Identifier: Apache-2.0 */
/* The milestones of a run, when they are due, and what is done there: evaluations and checkpoints. See drive.h. */
#include <float.h>
#include <math.h>

#include "linalg/vector.h"
#include "runtime/drive.h"
#include "runtime/snapshot.h"

static double unit_value(const struct training *training, enum training_unit unit, double seconds) {
    switch (unit) {
    case TRAINING_EPOCHS:
        return drive_epochs(training);
    case TRAINING_SECONDS:
        return seconds;
    case TRAINING_UPDATES:
        return (double)training->engine.progress.version;
    case TRAINING_GRADIENTS:
        return (double)training->engine.progress.received;
    case TRAINING_NEVER:
        break;
    }
    return -INFINITY;
}

/* A multiple of the cadence counts as reached within rounding: 0.1 * 3 is a little more than 0.3. */
#define NEARLY (1 + 4 * DBL_EPSILON)

/* The first multiple of the cadence beyond the present value. */
static double next_milestone(const struct training *training, const struct training_cadence *cadence,
                             double seconds) {
    if (cadence->unit == TRAINING_NEVER)
        return INFINITY;
    double passed = floor(unit_value(training, cadence->unit, seconds) / cadence->every * NEARLY);
    return cadence->every * (passed + 1);
}

void drive_plan_milestones(struct training *training, double seconds) {
    training->next_evaluation = next_milestone(training, &training->setup->evaluate_every, seconds);
    training->next_save = next_milestone(training, &training->setup->save_every, seconds);
}

bool drive_evaluation_is_due(const struct training *training, double seconds) {
    double value = unit_value(training, training->setup->evaluate_every.unit, seconds);
    return value * NEARLY >= training->next_evaluation;
}

bool drive_save_is_due(const struct training *training, double seconds) {
    return training->setup->save_path &&
           unit_value(training, training->setup->save_every.unit, seconds) * NEARLY >= training->next_save;
}

double drive_next_moment(const struct training *training) {
    const struct training_setup *setup = training->setup;
    double moment = INFINITY;
    if (setup->evaluate_every.unit == TRAINING_SECONDS)
        moment = training->next_evaluation;
    if (setup->save_path && setup->save_every.unit == TRAINING_SECONDS)
        moment = fmin(moment, training->next_save);
    return moment;
}

void drive_begin_evaluation(struct training *training, double seconds) {
    bool is_due = drive_evaluation_is_due(training, seconds);
    training->evaluated_version = training->engine.progress.version;
    training->evaluated_received = training->engine.progress.received;
    training->evaluated_batches = training->engine.received_batches;
    if (training->loss_count > 0)
        training->train_loss = training->loss_sum / (double)training->loss_count;
    if (!is_due)
        return; /* at the end of a run, which leaves no trace in one that is resumed */
    training->next_evaluation = next_milestone(training, &training->setup->evaluate_every, seconds);
    training->loss_sum = 0;
    training->loss_count = 0;
}

/* A loss shows only later what an update has broken, or never: a rectifier may hide a NaN from it. */
static enum hysgd_status check_parameters(const struct training *training, const float *vector, uint64_t version) {
    return vector_is_finite(vector, training->server.count) ? HYSGD_OK : drive_refuse_parameters(training, version);
}

enum hysgd_status drive_evaluate(struct training *training, const float *vector, struct hysgd_metrics *metrics) {
    *metrics = (struct hysgd_metrics){0};
    if (!training->setup->computes_gradients)
        return HYSGD_OK;
    HYSGD_TRY(check_parameters(training, vector, training->evaluated_version));
    training->evaluated_checksum = training_checksum(training, vector);
    return evaluator_run(&training->evaluator, HYSGD_TEST, vector, training->setup->evaluate_limit, metrics);
}

void drive_end_evaluation(struct training *training, const struct hysgd_metrics *metrics, double seconds) {
    const struct training_limits *limits = &training->setup->limits;
    double count = (double)metrics->count;
    training->test_loss = metrics->count > 0 ? metrics->loss / count : NAN;
    training->test_accuracy = metrics->has_accuracy && count > 0 ? (double)metrics->correct / count : NAN;
    drive_emit(training,
               &(struct event){.kind = EVENT_EVALUATION,
                               .worker = -1,
                               .seconds = seconds,
                               .version = training->evaluated_version,
                               .evaluation = {.loss = training->test_loss,
                                              .accuracy = training->test_accuracy,
                                              .epochs = drive_epochs_of(training, training->evaluated_batches),
                                              .received = training->evaluated_received,
                                              .checksum = training->evaluated_checksum}});
    bool is_reached = (limits->accuracy > 0 && training->test_accuracy >= limits->accuracy) ||
                      (limits->loss > 0 && training->test_loss <= limits->loss);
    if (!is_reached)
        return;
    if (isnan(training->target_seconds))
        training->target_seconds = seconds;
    if (!limits->goes_on_at_target && !atomic_load(&training->is_stopping))
        drive_stop(training, "target");
}

bool drive_last_evaluation_is_due(const struct training *training, double seconds) {
    return training->status == HYSGD_OK && (training->evaluated_version != training->engine.progress.version ||
                                            drive_evaluation_is_due(training, seconds));
}

enum hysgd_status drive_begin_save(struct training *training, double seconds,
                                   const struct snapshot_in_flight *in_flight, struct snapshot_image **image_out) {
    /* What is not finite must not replace a good checkpoint. */
    if (training_has_vectors(training))
        HYSGD_TRY(check_parameters(training, server_vector(&training->server), training->engine.progress.version));
    training->next_save = next_milestone(training, &training->setup->save_every, seconds);
    return snapshot_take(training, seconds, in_flight, image_out);
}

enum hysgd_status drive_write_save(const struct training *training, const struct snapshot_image *image) {
    return snapshot_write(image, training->setup);
}

void drive_end_save(struct training *training, struct snapshot_image *image, enum hysgd_status written,
                    double seconds) {
    snapshot_discard(image);
    if (written != HYSGD_OK)
        return;
    training->has_saved = true;
    training->saved_version = training->engine.progress.version;
    drive_emit(training, &(struct event){.kind = EVENT_CHECKPOINT,
                                         .worker = -1,
                                         .seconds = seconds,
                                         .version = training->saved_version,
                                         .checkpoint = {.received = training->engine.progress.received}});
}

bool drive_saves_at_end(const struct training *training) {
    return training->setup->save_path && training->status == HYSGD_OK;
}
