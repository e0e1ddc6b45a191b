/* SPDX-License-Identifier: Apache-2.0 */
/* Joins the objects of a run, lets the runtime drive it, and brings its end to everyone who wants to know. Decides
 * nothing about training itself: see runtime/training.h. */
#include "train/run.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "data/data.h"
#include "model/model.h"
#include "policy/policy.h"
#include "optimizer/optimizer.h"
#include "runtime/runtime.h"
#include "train/identity.h"
#include "train/meeting.h"
#include "train/result.h"
#include "train/scheduling.h"
#include "train/succession.h"

#define GIBIBYTE 1073741824.0

void stopper_ask(struct stopper *stopper) {
    atomic_store(&stopper->is_asked, true);
    struct training *training = atomic_load(&stopper->training);
    if (training != NULL)
        training_stop(training);
}

/* From here on a request reaches the training, also one that came before. */
static void stopper_watch(struct stopper *stopper, struct training *training) {
    atomic_store(&stopper->training, training);
    if (training != NULL && atomic_load(&stopper->is_asked))
        training_stop(training);
}

/* ---- Beginning ---- */

static enum hysgd_status init_model(struct run *run) {
    const struct resolved *resolved = run->resolved;
    struct hysgd_data_shape shape;
    data_ops(&resolved->data)->describe(resolved->data.self, &shape);
    scheduling_centre(&resolved->model, &resolved->data);
    run->model_is_ready = true; /* init leaves its object safe to fini when it fails */
    const struct hysgd_model_ops *ops = model_ops(&resolved->model);
    return ops->init != NULL ? ops->init(resolved->model.self, &shape) : HYSGD_OK;
}

/* Bytes that the system says can still be had; INFINITY when it does not say. */
static double available_memory(void) {
    char line[128];
    unsigned long long kibibytes;
    double bytes = (double)INFINITY;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kibibytes) == 1)
            bytes = 1024 * (double)kibibytes;
    if (file != NULL)
        fclose(file);
    return bytes;
}

/* Systems promise more memory than they have; better to refuse now than to be killed in the midst of training. */
static enum hysgd_status check_memory(const struct run *run) {
    const struct resolved *resolved = run->resolved;
    struct hysgd_model_layout layout;
    model_ops(&resolved->model)->describe(resolved->model.self, &layout);
    double each =
        resolved->description.micro_batch > 0 ? 2 : 1; /* a worker's gradient, and that of a piece of it */
    each += local_vector_count(&run->setup) + outgoing_vector_count(&run->setup);
    double workers = resolved_places(resolved);
    double vectors = each * workers + 2 + optimizer_ops(&resolved->optimizer)->states;
    vectors += correction_vectors(&resolved->correction, resolved_places(resolved));
    if (policy_ops(&resolved->policy)->aggregate == HYSGD_TABLE) /* two rows, and what each has read */
        vectors += 3 * workers;
    double needed = vectors * (double)(layout.parameter_count + layout.statistic_count) * sizeof(float);
    if (needed < 0.1 * GIBIBYTE)
        return HYSGD_OK;
    double there = available_memory();
    if (needed > there)
        return hysgd_fail(HYSGD_MEMORY,
                          "%.4g GiB are needed for the vectors of %.0f workers, and %.4g GiB are available",
                          needed / GIBIBYTE, workers, there / GIBIBYTE);
    return HYSGD_OK;
}

static const char *const (*constant_pairs(const struct description_pairs *pairs))[2] {
    return (const char *const(*)[2])pairs->pairs;
}

static void fill_setup(struct run *run) {
    const struct resolved *resolved = run->resolved;
    const struct description *words = &resolved->description;
    bool is_spread = runtime_ops(&resolved->runtime)->place != NULL;
    run->setup = (struct training_setup){
        .policy = &resolved->policy,
        .model = &resolved->model,
        .data = &resolved->data,
        .optimizer = &resolved->optimizer,
        .correction = &resolved->correction,
        .partition = &resolved->partition,
        .orphans = (enum training_orphans)words->orphans,
        .local = &resolved->local,
        .wire = &resolved->wire,
        .local_optimizer = resolved->local_optimizer.ops != NULL ? &resolved->local_optimizer : NULL,
        .combine = (enum engine_combine)words->combine,
        .weighting = {(enum engine_weight)words->staleness_weight, words->staleness_exponent},
        .worker_weights = words->worker_weights,
        .workers = resolved_places(resolved),
        .spare = (int)words->spare,
        .batch = (size_t)words->batch,
        .micro_batch = (size_t)words->micro_batch,
        .seed = (uint64_t)words->seed,
        /* The draws advance the timing, which belongs to this run alone. */
        .timing = (struct timing *)(uintptr_t)&resolved->timing,
        .limits = resolved->limits,
        .evaluate_every = resolved->evaluate_every,
        .save_every = resolved->save_every,
        .evaluate_batch = (size_t)words->eval_batch,
        .evaluate_limit = (uint64_t)words->eval_limit,
        .save_path = words->save[0] != '\0' ? words->save : NULL,
        .resume_path = words->resume[0] != '\0' ? words->resume : NULL,
        .metadata = constant_pairs(&run->pairs),
        .metadata_count = run->pairs.lasting,
        .recorder = run->recording.recorder,
        .computes_gradients = !resolved->is_timing_only,
        .has_remote_vectors = is_spread,
        .has_one_worker = is_spread,
        .only_worker = resolved->place.worker,
    };
}

/* A target must be one that the evaluations can show. */
static enum hysgd_status check_target(const struct run *run) {
    const struct resolved *resolved = run->resolved;
    const char *target = resolved->description.target;
    struct evaluator evaluator;
    struct hysgd_metrics metrics = {0};
    if (target[0] == '\0')
        return HYSGD_OK;
    if (run->training.shape.test_count == 0)
        return hysgd_fail(HYSGD_USAGE, "run: target=%s: the data %s have no test samples to show it", target,
                          resolved->data.ops->name);
    if (resolved->limits.accuracy <= 0)
        return HYSGD_OK;
    enum hysgd_status status = evaluator_init(&evaluator, &resolved->model, &resolved->data, 1);
    if (status == HYSGD_OK)
        status = evaluator_run(&evaluator, HYSGD_TEST, training_vector(&run->training), 1, &metrics);
    evaluator_fini(&evaluator);
    HYSGD_TRY(status);
    if (!metrics.has_accuracy)
        return hysgd_fail(HYSGD_USAGE, "run: target=%s: the model %s has no accuracy; expected loss=L", target,
                          resolved->model.ops->name);
    return HYSGD_OK;
}

enum hysgd_status run_prepare(struct run *run, const struct resolved *resolved) {
    memset(run, 0, sizeof *run);
    run->resolved = resolved;
    run->runtime = resolved->runtime;
    HYSGD_TRY(init_model(run));
    HYSGD_TRY(description_pairs_init(&run->pairs, &resolved->description));
    fill_setup(run);
    HYSGD_TRY(check_memory(run));
    HYSGD_TRY(training_init(&run->training, &run->setup));
    HYSGD_TRY(check_target(run));
    if (resolved->description.resume[0] != '\0')
        HYSGD_TRY(training_resume(&run->training, resolved->description.resume));
    return HYSGD_OK;
}

/* `first_event`: of the log, whose head those who begin now are not given. */
static enum hysgd_status begin_recording(struct run *run, uint64_t first_event) {
    const struct resolved *resolved = run->resolved;
    const struct training_limits *limits = &resolved->limits;
    bool is_first = resolved->place.rank == 0; /* who comes to report later does not have the parameters */
    struct identity identity = {0};
    char program[IDENTITY_PROGRAM_BYTES];
    if (run->recording.recorder == NULL)
        return HYSGD_OK;
    identity_of_program(program);
    if (resolved->description.log[0] != '\0')
        HYSGD_TRY(identity_of_data(&resolved->data, &identity));
    const struct event_run facts = {
        .title = resolved->title,
        .description = constant_pairs(&run->pairs),
        .description_count = (int)run->pairs.count,
        .runtime = resolved->runtime.ops->name,
        .workers = run->setup.workers,
        .spare = (uint64_t)run->setup.spare,
        .batch = run->setup.batch,
        .train_count = run->training.shape.train_count,
        .parameter_count = run->training.layout.parameter_count,
        .limit_epochs = limits->epochs,
        .limit_seconds = limits->seconds,
        .limit_updates = limits->updates,
        .limit_gradients = limits->gradients,
        .target_accuracy = limits->accuracy,
        .target_loss = limits->loss,
        .first_received = run->training.engine.progress.received,
        .first_batches = run->training.engine.received_batches,
        .first_version = run->training.engine.progress.version,
        .first_seconds = run->training.start_seconds,
        .first_event = first_event,
        .program = program,
        .train_checksum = identity.train,
        .test_checksum = identity.test,
        .start_checksum = is_first ? training_checksum(&run->training, training_vector(&run->training)) : 0,
    };
    return recorder_begin(run->recording.recorder, &facts);
}

/* The record goes on where the lost process has left it, or here. */
static enum hysgd_status take_over(void *self, struct training_record *record) {
    struct run *run = self;
    struct training *training = &run->training;
    struct succession succession = {.words = &run->resolved->description,
                                    .rank = run->resolved->place.rank,
                                    .workers = run->setup.workers,
                                    .sinks = run->sinks,
                                    .sink_count = run->sink_count,
                                    .accounts = training->accounts};
    HYSGD_TRY(recording_succeed(&run->recording, &succession, record));
    training->returns = succession.returns;
    training->undone = succession.undone;
    run->setup.recorder = run->recording.recorder;
    return begin_recording(run, record->is_continued ? record->events : 0);
}

enum hysgd_status run_record(struct run *run, const struct run_sink *sinks, size_t sink_count, bool wants_history) {
    if (run->resolved->place.rank != 0) { /* rank 0 reports, as long as it is there */
        run->sinks = sinks;
        run->sink_count = sink_count;
        run->setup.take_over = take_over;
        run->setup.take_over_self = run;
        return HYSGD_OK;
    }
    HYSGD_TRY(recording_open(&run->recording, &run->resolved->description, RECORDING_EVENTS, sinks, sink_count,
                             wants_history));
    run->setup.recorder = run->recording.recorder;
    return HYSGD_OK;
}

/* The files last, so that a run that cannot begin leaves those of an earlier one alone. */
enum hysgd_status run_init(struct run *run, const struct resolved *resolved, const struct run_sink *sinks,
                           size_t sink_count, bool wants_history) {
    HYSGD_TRY(meeting_compare(run, run_prepare(run, resolved)));
    enum hysgd_status status = run_record(run, sinks, sink_count, wants_history);
    return status == HYSGD_OK ? status : meeting_confirm(&run->runtime, status);
}

void run_fini(struct run *run) {
    if (run->setup.policy != NULL)
        training_fini(&run->training);
    recording_close(&run->recording);
    description_pairs_fini(&run->pairs);
    if (run->model_is_ready && model_ops(&run->resolved->model)->fini != NULL)
        model_ops(&run->resolved->model)->fini(run->resolved->model.self);
    memset(run, 0, sizeof *run);
}

/* ---- Training ---- */

static enum hysgd_status check_reached(const struct run *run, const struct event_summary *summary) {
    const char *target = run->resolved->description.target;
    bool is_known = run->resolved->place.rank == 0 || run->recording.recorder != NULL;
    if (target[0] == '\0' || isfinite(summary->target_seconds) || !is_known)
        return HYSGD_OK;
    char shown[80] = "";
    if (isfinite(summary->test_accuracy))
        snprintf(shown, sizeof shown, " and accuracy %.4g", summary->test_accuracy);
    return hysgd_fail(HYSGD_TARGET, "the target %s was not reached: the run ended (%s) with test loss %.6g%s",
                      target, summary->reason, summary->test_loss, shown);
}

/* Tells where an interrupted run can be taken up again. */
static enum hysgd_status explain_stop(const struct run *run, enum hysgd_status status) {
    if (status != HYSGD_INTERRUPTED || !run->training.has_saved)
        return status;
    return hysgd_fail(HYSGD_INTERRUPTED, "interrupted; resume=%s continues the run", run->setup.save_path);
}

enum hysgd_status run_train(struct run *run, struct stopper *stopper, struct hysgd_result *result_out,
                            bool *has_begun_out) {
    const struct plugin *runtime = &run->runtime;
    struct event_summary summary;
    double seconds = 0;
    *has_begun_out = false;
    HYSGD_TRY(meeting_confirm(runtime, begin_recording(run, 0)));
    *has_begun_out = true;
    stopper_watch(stopper, &run->training);
    enum hysgd_status status = runtime_ops(runtime)->run(runtime->self, &run->training, &seconds);
    stopper_watch(stopper, NULL);
    training_summarize(&run->training, seconds, &summary);
    result_fill(&summary, result_out);
    if (run->training.is_dismissed) /* what it has to tell is told by another */
        return status;
    status = recording_end(&run->recording, status, run->training.message, &summary, run->resolved->title);
    return status == HYSGD_OK ? check_reached(run, &summary) : explain_stop(run, status);
}
