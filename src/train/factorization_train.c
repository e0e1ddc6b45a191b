/* SPDX-License-Identifier: Apache-2.0 */
/* The epochs of a run under a scheduler: evaluations, checkpoints, the end, and the events that tell of them. The
 * clock of the run counts training only, not what is done between epochs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/factorization.h"
#include "train/identity.h"
#include "train/result.h"

/* ---- Events ---- */

static double now(const struct factorization *run) {
    return run->progress.seconds;
}

/* A full ring is emptied by the same thread. What a sink cannot take is told at the end. */
static void emit(struct factorization *run, const struct event *event) {
    if (run->recording.recorder == NULL)
        return;
    while (!recorder_emit(run->recording.recorder, event)) {
        enum hysgd_status kept = recorder_drain(run->recording.recorder, event->seconds);
        (void)kept;
    }
}

static void drain(struct factorization *run) {
    if (run->recording.recorder == NULL)
        return;
    enum hysgd_status kept = recorder_drain(run->recording.recorder, now(run));
    (void)kept;
}

/* What a worker did in an epoch is its one gradient: computing is the time in the kernels, and what remains it has
 * waited. */
static void emit_epoch(struct factorization *run, const struct factorize_epoch *epoch, double begun) {
    int workers = epoch->lane_count;
    uint64_t version = run->progress.epochs - 1;
    double loss = factors_model_loss(run->model, epoch->loss / (double)run->train.count);
    for (int i = 0; i < workers; i++)
        emit(run, &(struct event){.kind = EVENT_START,
                                  .worker = i,
                                  .seconds = begun,
                                  .version = version,
                                  .start = {.draw = version}});
    for (int i = 0; i < workers; i++) {
        const struct factorize_lane *lane = &epoch->lanes[i];
        emit(run, &(struct event){.kind = EVENT_ARRIVAL,
                                  .worker = i,
                                  .seconds = now(run),
                                  .version = version,
                                  .arrival = {.read = version,
                                              .weight = 1,
                                              .batches = lane->visits,
                                              .loss = loss,
                                              .compute_seconds = lane->busy_seconds,
                                              .queue_seconds = epoch->seconds - lane->busy_seconds,
                                              .threshold = (uint64_t)workers,
                                              .held = (uint64_t)i + 1}});
    }
    emit(run, &(struct event){.kind = EVENT_UPDATE,
                              .worker = -1,
                              .seconds = now(run),
                              .version = run->progress.epochs,
                              .update = {.gradients = (uint64_t)workers,
                                         .weight = workers,
                                         .rate = (double)run->step.rate,
                                         .threshold = (uint64_t)workers}});
}

static void account(struct factorization *run, const struct factorize_epoch *epoch) {
    for (int i = 0; i < epoch->lane_count; i++) {
        const struct factorize_lane *lane = &epoch->lanes[i];
        run->accounts[i].received++;
        run->accounts[i].applied++;
        run->accounts[i].batches += lane->visits;
        run->accounts[i].compute_seconds += lane->busy_seconds;
        run->accounts[i].waiting_seconds += epoch->seconds - lane->busy_seconds;
    }
    run->busy_seconds += epoch->busy_seconds;
    run->scheduling_seconds += epoch->scheduling_seconds;
    run->waiting_seconds += epoch->waiting_seconds;
    run->result.visits += epoch->visits;
    run->result.train_loss = factors_model_loss(run->model, epoch->loss / (double)run->train.count);
}

/* ---- Evaluations ---- */

static double measure_of(const struct factorization *run, const struct judgement *judgement) {
    return factors_model_is_one_class(run->model) ? 1 - judgement->accuracy : judgement->loss;
}

/* The part that events tell of. */
static const struct judgement *shown(const struct factorization *run) {
    return run->test.part.count > 0 ? &run->result.test : &run->result.validation;
}

static void check_target(struct factorization *run) {
    const struct training_limits *limits = &run->resolved->limits;
    const struct judgement *judgement = shown(run);
    bool is_reached = (limits->loss > 0 && judgement->loss <= limits->loss) ||
                      (limits->accuracy > 0 && judgement->accuracy >= limits->accuracy);
    if (!is_reached || isfinite(run->target_seconds))
        return;
    run->target_seconds = now(run);
    if (!limits->goes_on_at_target)
        run->reason = "target";
}

static void copy_side(const struct factors *from, struct factors *to, enum factors_side_name name) {
    const struct factors_side *side = &from->sides[name];
    size_t bytes = (size_t)side->count * from->stride * sizeof *side->values;
    memcpy(to->sides[name].values, side->values, bytes);
    if (side->state != NULL)
        memcpy(to->sides[name].state, side->state, bytes);
    memcpy(to->sides[name].extra, side->extra, side->count * sizeof *side->extra);
}

static void copy_factors(const struct factors *from, struct factors *to) {
    to->mean = from->mean;
    copy_side(from, to, SIDE_ROWS);
    copy_side(from, to, SIDE_COLUMNS);
}

/* A validation part that has no figure would never be better. */
static enum hysgd_status check_validation(const struct factorization *run) {
    const struct judgement *judgement = &run->result.validation;
    bool is_ranked = factors_model_is_one_class(run->model);
    if (is_ranked ? judgement->ranking.rows > 0 : judgement->skipped < judgement->count)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "run: stop-early: the validation part says nothing: %s",
                      is_ranked ? "no row has both a column to find there and one that it has nowhere"
                                : "all of it is of rows or columns without training ratings, and unseen=error");
}

/* Keeps the model if it is the best so far. */
static enum hysgd_status compare_with_best(struct factorization *run) {
    int64_t patience = run->resolved->description.stop_early;
    if (patience == 0)
        return HYSGD_OK;
    HYSGD_TRY(check_validation(run));
    double measure = measure_of(run, &run->result.validation);
    if (measure < run->best_measure) {
        run->best_measure = measure;
        run->best_progress = run->progress;
        run->worse = 0;
        copy_factors(&run->factors, &run->best);
    } else if (++run->worse >= patience && run->reason == NULL) {
        run->reason = "no better for stop-early evaluations";
    }
    return HYSGD_OK;
}

static enum hysgd_status judge(struct factorization *run) {
    HYSGD_TRY(factorization_judge(run, &run->validation, &run->result.validation));
    return factorization_judge(run, &run->test, &run->result.test);
}

static enum hysgd_status evaluate(struct factorization *run) {
    if (run->evaluated_epoch == run->progress.epochs || run->test.part.count + run->validation.part.count == 0)
        return HYSGD_OK;
    HYSGD_TRY(judge(run));
    run->evaluated_epoch = run->progress.epochs;
    const struct judgement *judgement = shown(run);
    emit(run, &(struct event){
                  .kind = EVENT_EVALUATION,
                  .worker = -1,
                  .seconds = now(run),
                  .version = run->progress.epochs,
                  .evaluation = {.loss = judgement->loss,
                                 .accuracy = judgement->accuracy,
                                 .epochs = (double)run->progress.epochs,
                                 .received = run->progress.epochs * (uint64_t)run->resolved->description.workers}});
    check_target(run);
    return compare_with_best(run);
}

/* ---- Checkpoints ---- */

static enum hysgd_status save(struct factorization *run) {
    const char *path = run->resolved->description.save;
    if (path[0] == '\0' || run->saved_epoch == run->progress.epochs)
        return HYSGD_OK;
    const struct factors_content content = {
        .factors = &run->factors,
        .places = {run->blocks.row_places, run->blocks.column_places},
        .ids = {&run->ratings->rows, &run->ratings->columns},
        .counts = {run->counts[SIDE_ROWS], run->counts[SIDE_COLUMNS]},
        .has_biases = run->kernel.setup.has_biases,
        .progress = run->progress,
        .train_checksum = run->train_checksum,
        .metadata = (const char *const(*)[2])run->pairs.pairs,
        .metadata_count = run->pairs.lasting,
    };
    HYSGD_TRY(factors_file_write(path, &content));
    run->saved_epoch = run->progress.epochs;
    run->has_saved = true;
    emit(run, &(struct event){
                  .kind = EVENT_CHECKPOINT,
                  .worker = -1,
                  .seconds = now(run),
                  .version = run->progress.epochs,
                  .checkpoint = {.received = run->progress.epochs * (uint64_t)run->resolved->description.workers}});
    return HYSGD_OK;
}

/* Whether the next one of a cadence has come; moves on to the one after it. */
static bool is_due(const struct factorization *run, const struct training_cadence *cadence, double *next) {
    double position = cadence->unit == TRAINING_SECONDS ? now(run) : (double)run->progress.epochs;
    if (position < *next)
        return false;
    *next = (floor(position / cadence->every) + 1) * cadence->every;
    return true;
}

/* ---- Epochs ---- */

static void begin_epoch(void *self, int epoch) {
    struct factorization *run = self;
    const struct factors_model *model = run->model;
    uint32_t number = (uint32_t)epoch;
    run->step = (struct kernel_step){
        .rate = (float)rule_rate((enum step_rule)model->step, factors_model_rate(model), model->decay, number - 1),
        .momentum = (float)model->momentum,
        .is_frozen = model->step == RULE_ADAGRAD2 && epoch == 1,
        .seed = (uint64_t)run->resolved->description.seed,
        .epoch = number,
    };
}

/* What is drawn comes from the task's own group, which no other thread holds. */
static double visit(void *self, const struct tile *tile, const struct scheduler_task *task, int thread) {
    struct factorization *run = self;
    struct kernel_step step = run->step;
    bool draws_rows = run->kernel.setup.loss == FIT_BPR_COLUMNS;
    const uint32_t *firsts = draws_rows ? run->blocks.row_firsts : run->blocks.column_firsts;
    int group = draws_rows ? task->row : task->column;
    (void)thread;
    step.is_fixed[SIDE_ROWS] = task->sides == SCHEDULER_COLUMNS;
    step.is_fixed[SIDE_COLUMNS] = task->sides == SCHEDULER_ROWS;
    step.first_drawn = firsts[group];
    step.drawn_count = firsts[group + 1] - firsts[group];
    return kernel_run(&run->kernel, &run->factors, tile, &step);
}

static enum hysgd_status end_epoch(void *self, const struct factorize_epoch *epoch, bool *stops_out) {
    struct factorization *run = self;
    const struct training_limits *limits = &run->resolved->limits;
    double begun = now(run);
    run->progress.epochs = (uint64_t)epoch->epoch;
    run->progress.seconds = run->start_seconds + epoch->total_seconds;
    account(run, epoch);
    emit_epoch(run, epoch, begun);
    if (limits->seconds > 0 && now(run) >= limits->seconds)
        run->reason = "deadline";
    if (is_due(run, &run->resolved->evaluate_every, &run->next_evaluation))
        HYSGD_TRY(evaluate(run));
    if (is_due(run, &run->resolved->save_every, &run->next_save))
        HYSGD_TRY(save(run));
    drain(run);
    *stops_out = run->reason != NULL;
    return HYSGD_OK;
}

/* A model that is trained on is the first that may be the best. */
static enum hysgd_status judge_resumed(struct factorization *run) {
    if (run->progress.epochs == 0 || run->resolved->description.stop_early == 0)
        return HYSGD_OK;
    HYSGD_TRY(judge(run));
    return compare_with_best(run);
}

static enum hysgd_status train(struct factorization *run, const atomic_bool *is_stopping) {
    const struct resolved *resolved = run->resolved;
    HYSGD_TRY(judge_resumed(run));
    double epochs = resolved->limits.epochs > 0 ? resolved->limits.epochs : FACTORS_MOST_EPOCHS;
    struct plugin scheduler = resolved->scheduler;
    const struct factorize_virtual modelled = {.threads = (int)resolved->description.workers,
                                               .speeds = run->speeds,
                                               .request_seconds = run->request_seconds};
    const struct factorize_setup setup = {
        .blocks = &run->blocks,
        .scheduler = &scheduler,
        .team = run->team,
        .first_epoch = (int)run->progress.epochs + 1,
        .last_epoch = (int)ceil(epochs),
        .seed = (uint64_t)resolved->description.seed,
        .is_deterministic = resolved->description.is_deterministic,
        .virtual_time = resolved->is_modelled ? &modelled : NULL,
        .work = {.begin = begin_epoch, .visit = visit, .end = end_epoch, .context = run},
        .is_stopping = is_stopping,
    };
    return factorize(&setup);
}

/* A loss that is no number says nothing of what to do about it. */
static enum hysgd_status advise(const struct factorization *run, enum hysgd_status status) {
    char message[256];
    if (status != HYSGD_DIVERGED)
        return status;
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    return hysgd_fail(HYSGD_DIVERGED, "%s: a smaller rate (model factors,rate=%.3g) or a larger l2 may help",
                      message, factors_model_rate(run->model) / 4);
}

/* ---- The end ---- */

/* The model of the best evaluation, as if the run had ended there. */
static enum hysgd_status keep_best(struct factorization *run) {
    if (!isfinite(run->best_measure) || run->best_progress.epochs == run->progress.epochs)
        return HYSGD_OK;
    copy_factors(&run->best, &run->factors);
    run->progress.epochs = run->best_progress.epochs;
    run->saved_epoch = UINT64_MAX;
    return judge(run);
}

/* What failed leaves the best model behind, where one was kept; the failure stays the one that is told. */
static enum hysgd_status save_best(struct factorization *run, enum hysgd_status status) {
    char message[512];
    if (!isfinite(run->best_measure))
        return status;
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    copy_factors(&run->best, &run->factors);
    run->progress.epochs = run->best_progress.epochs;
    run->saved_epoch = UINT64_MAX;
    enum hysgd_status saved = save(run);
    if (saved != HYSGD_OK)
        return saved;
    if (run->resolved->description.save[0] == '\0')
        return hysgd_fail(status, "%s", message);
    return hysgd_fail(status, "%s; the best model, of epoch %d, is saved", message, (int)run->best_progress.epochs);
}

static enum hysgd_status conclude(struct factorization *run, enum hysgd_status status) {
    run->result.epochs = (int)run->progress.epochs;
    run->result.seconds = now(run) - run->start_seconds;
    if (status != HYSGD_OK && status != HYSGD_INTERRUPTED)
        return save_best(run, status);
    HYSGD_TRY(evaluate(run));
    HYSGD_TRY(keep_best(run));
    run->result.best_epoch = isfinite(run->best_measure) ? (int)run->best_progress.epochs : 0;
    HYSGD_TRY(save(run));
    if (status == HYSGD_INTERRUPTED)
        return run->has_saved
                   ? hysgd_fail(status, "interrupted; resume=%s continues the run", run->resolved->description.save)
                   : hysgd_fail(status, "interrupted");
    return HYSGD_OK;
}

static const char *reason_of(const struct factorization *run, enum hysgd_status status) {
    if (status == HYSGD_INTERRUPTED)
        return "interrupted";
    if (status != HYSGD_OK)
        return status == HYSGD_DIVERGED ? "diverged" : "failed";
    return run->reason != NULL ? run->reason : "epochs";
}

static void summarize(const struct factorization *run, enum hysgd_status status,
                      struct event_summary *summary_out) {
    const struct judgement *judgement = shown(run);
    bool is_judged = run->evaluated_epoch != UINT64_MAX;
    *summary_out =
        (struct event_summary){.reason = reason_of(run, status),
                               .seconds = now(run),
                               .updates = (uint64_t)run->result.epochs,
                               .train_loss = run->result.visits > 0 ? run->result.train_loss : (double)NAN,
                               .test_loss = is_judged ? judgement->loss : (double)NAN,
                               .test_accuracy = is_judged ? judgement->accuracy : (double)NAN,
                               .target_seconds = run->target_seconds,
                               .accounts = run->accounts,
                               .workers = (int)run->resolved->description.workers};
}

static enum hysgd_status begin_recording(struct factorization *run) {
    const struct resolved *resolved = run->resolved;
    char program[IDENTITY_PROGRAM_BYTES];
    if (run->recording.recorder == NULL)
        return HYSGD_OK;
    identity_of_program(program);
    uint64_t workers = (uint64_t)resolved->description.workers;
    uint64_t ends = (uint64_t)run->factors.sides[SIDE_ROWS].count + run->factors.sides[SIDE_COLUMNS].count;
    const struct event_run facts = {
        .title = resolved->title,
        .description = (const char *const(*)[2])run->pairs.pairs,
        .description_count = (int)run->pairs.count,
        .runtime = resolved->runtime.ops->name,
        .workers = (int)workers,
        .batch = 1,
        .train_count = run->train.count * (uint64_t)scheduler_ops(&resolved->scheduler)->passes,
        .parameter_count = ends * (run->factors.rank + (run->kernel.setup.has_biases ? 1 : 0)),
        .limit_epochs = resolved->limits.epochs,
        .limit_seconds = resolved->limits.seconds,
        .target_accuracy = resolved->limits.accuracy,
        .target_loss = resolved->limits.loss,
        .first_received = run->progress.epochs * workers,
        .first_batches = run->progress.epochs * run->train.count,
        .first_version = run->progress.epochs,
        .first_seconds = now(run),
        .program = program,
        .loss_name = factors_model_loss_name(run->model),
        .accuracy_name = factors_model_accuracy_name(run->model),
    };
    return recorder_begin(run->recording.recorder, &facts);
}

static enum hysgd_status check_reached(const struct factorization *run, enum hysgd_status status) {
    const char *target = run->resolved->description.target;
    if (status != HYSGD_OK || target[0] == '\0' || isfinite(run->target_seconds))
        return status;
    const struct judgement *judgement = shown(run);
    bool has_loss = isfinite(judgement->loss);
    return hysgd_fail(HYSGD_TARGET, "the target %s was not reached: the run ended with %s %.6g", target,
                      has_loss ? factors_model_loss_name(run->model) : factors_model_accuracy_name(run->model),
                      has_loss ? judgement->loss : judgement->accuracy);
}

/* Shares of the workers' time. */
static void fill_shares(struct factorization *run) {
    double total = run->busy_seconds + run->scheduling_seconds + run->waiting_seconds;
    run->result.waiting_share = total > 0 ? run->waiting_seconds / total : 0;
    run->result.scheduling_share = total > 0 ? run->scheduling_seconds / total : 0;
}

enum hysgd_status factorization_parameters(const struct factorization *run, float **vector_out, size_t *count_out) {
    const struct factors *factors = &run->factors;
    const uint32_t *const places[SIDE_COUNT] = {run->blocks.row_places, run->blocks.column_places};
    bool has_biases = run->kernel.setup.has_biases;
    size_t rank = factors->rank,
           ends = (size_t)factors->sides[SIDE_ROWS].count + factors->sides[SIDE_COLUMNS].count;
    size_t count = ends * (rank + has_biases) + 1;
    float *vector;
    HYSGD_TRY(memory_alloc_vector(count, sizeof *vector, &vector));
    float *at = vector, *bias = vector + ends * rank;
    *bias++ = factors->mean;
    for (int side = 0; side < SIDE_COUNT; side++)
        for (uint32_t i = 0; i < factors->sides[side].count; i++, at += rank) {
            size_t place = places[side][i];
            memcpy(at, factors->sides[side].values + place * factors->stride, rank * sizeof *at);
            if (has_biases)
                *bias++ = factors->sides[side].extra[place].bias;
        }
    *vector_out = vector;
    *count_out = count;
    return HYSGD_OK;
}

enum hysgd_status factorization_train(struct factorization *run, struct stopper *stopper,
                                      struct hysgd_result *result_out, bool *has_begun_out) {
    struct event_summary summary;
    *has_begun_out = false;
    HYSGD_TRY(begin_recording(run));
    *has_begun_out = true;
    enum hysgd_status status = advise(run, train(run, &stopper->is_asked));
    status = conclude(run, status);
    snprintf(run->message, sizeof run->message, "%s", hysgd_error_message());
    fill_shares(run);
    summarize(run, status, &summary);
    result_fill(&summary, result_out);
    status = recording_end(&run->recording, status, run->message, &summary, run->resolved->title);
    return check_reached(run, status);
}
