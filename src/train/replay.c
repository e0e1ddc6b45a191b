/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the run that a log describes, checks that it begins where the recorded one did, and has it driven by the
 * log: see replay.h and runtime/replay.h. */
#include "train/replay.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "policy/policy.h"
#include "runtime/replay.h"
#include "runtime/runtime.h"
#include "train/identity.h"
#include "train/json.h"
#include "train/outcome.h"
#include "train/output_paths.h"
#include "train/result.h"
#include "train/run.h"
#include "train/times.h"
#include "train/scheduling.h"

struct own {
    char *until, *policy, *save, *check, *resume, *data, *model;
    bool any_program;
    char *log, *csv, *tensorboard, *trace, *report;
};

struct replay_job {
    struct own own;
    FILE *progress; /* NULL: nobody is told */
    enum progress_level level;
    struct stopper stopper;
    const char *path; /* of the log; borrowed */
    struct replay_plan plan;
    struct plugin policy;         /* that decides after `until` */
    bool policy_is_ready;         /* its init has been called */
    struct times times;           /* of the recorded workers, where they were not modelled */
    struct hysgd_result recorded; /* at the end of the log, unless it is cut */
    struct replay replay;
    bool has_begun;
    struct hysgd_result result;
    double seconds;    /* the run's clock at the end */
    uint64_t checksum; /* of the parameters then */
    bool is_checked;   /* against the checkpoint `check` */
    /* Live here because a signal may reach them: */
    struct resolved resolved;
    struct run run;
};

#define AT(field) offsetof(struct own, field)
#define TEXT      HYSGD_OPTION_TEXT

/* clang-format off */
const struct hysgd_option replay_options[] = {
    {"until", TEXT, AT(until), "", 0, 0, NULL,
     "stop before the end of the log: at updates=N, gradients=N, epochs=N or seconds=N of the run, several joined by ','"},
    {"policy", TEXT, AT(policy), "", 0, 0, NULL,
     "what if: this policy decides after `until`, or from the beginning, in modelled time up to the run's own limits, with the "
     "workers' recorded times"},
    {"save", TEXT, AT(save), "", 0, 0, NULL, "write a checkpoint to this file at the end, which train can resume"},
    {"check", TEXT, AT(check), "", 0, 0, NULL,
     "compare the parameters at the end with those of this checkpoint, to the last bit"},
    {"resume", TEXT, AT(resume), "", 0, 0, NULL,
     "the checkpoint that the recorded run continued, as it was then; needed only where it did"},
    {"data", TEXT, AT(data), "", 0, 0, NULL, "where the data are now; by default as recorded"},
    {"model", TEXT, AT(model), "", 0, 0, NULL, "the model, where its words are others now; by default as recorded"},
    {"any-program", HYSGD_OPTION_BOOL, AT(any_program), "no", 0, 0, NULL,
     "try it although another version of the program, or other kernels, recorded the log"},
    {"log", TEXT, AT(log), "", 0, 0, NULL, "write every event of the replay to this file, as train does"},
    {"csv", TEXT, AT(csv), "", 0, 0, NULL, "write a row per evaluation to this file"},
    {"tensorboard", TEXT, AT(tensorboard), "", 0, 0, NULL,
     "write curves and histograms to a new file in this directory, for TensorBoard"},
    {"trace", TEXT, AT(trace), "", 0, 0, NULL,
     "write what every worker and the server did when to this file, for ui.perfetto.dev"},
    {"report", TEXT, AT(report), "", 0, 0, NULL, "write curves and timelines to this HTML file"},
    {0},
};

static const struct hysgd_option until_options[] = {
    {"updates", HYSGD_OPTION_INT, offsetof(struct replay_until, updates), "0", 1, 1e15, NULL, "updates"},
    {"gradients", HYSGD_OPTION_INT, offsetof(struct replay_until, gradients), "0", 1, 1e15, NULL, "gradients received"},
    {"epochs", HYSGD_OPTION_REAL, offsetof(struct replay_until, epochs), "0", 1e-9, 1e9, NULL, "passes over the data"},
    {"seconds", HYSGD_OPTION_REAL, offsetof(struct replay_until, seconds), "0", 1e-9, 1e12, NULL, "on the run's clock"},
    {0},
};
/* clang-format on */

enum hysgd_status replay_job_alloc(struct replay_job **job_out) {
    struct replay_job *job;
    HYSGD_TRY(memory_alloc(1, sizeof *job, &job));
    enum hysgd_status status = options_init(replay_options, &job->own);
    if (status != HYSGD_OK) {
        replay_job_free(job);
        return status;
    }
    *job_out = job;
    return HYSGD_OK;
}

void replay_job_free(struct replay_job *job) {
    if (job == NULL)
        return;
    log_reader_close(job->replay.reader);
    if (job->policy_is_ready && policy_ops(&job->policy)->fini != NULL)
        policy_ops(&job->policy)->fini(job->policy.self);
    plugin_close(&job->policy);
    times_fini(&job->times);
    replay_plan_fini(&job->plan);
    options_fini(replay_options, &job->own);
    memory_free(job);
}

enum hysgd_status replay_job_set(struct replay_job *job, const char *key, const char *value) {
    return options_set(replay_options, &job->own, "replay", key, value);
}

void replay_job_show(struct replay_job *job, FILE *out, enum progress_level level) {
    job->progress = out;
    job->level = level;
}

void replay_job_stop(struct replay_job *job) {
    stopper_ask(&job->stopper);
}

/* ---- Before anything is read but the log ---- */

static enum hysgd_status check_words(struct replay_job *job) {
    const struct own *own = &job->own;
    const struct output_path outputs[] = {
        {"save", own->save, OUTPUT_REPLACED},  {"log", own->log, OUTPUT_WRITTEN},
        {"csv", own->csv, OUTPUT_WRITTEN},     {"tensorboard", own->tensorboard, OUTPUT_DIRECTORY},
        {"trace", own->trace, OUTPUT_WRITTEN}, {"report", own->report, OUTPUT_REPLACED},
    };
    if (own->policy[0] != '\0' && (own->save[0] != '\0' || own->check[0] != '\0'))
        return hysgd_fail(HYSGD_USAGE,
                          "replay: policy=%s: what might have been is neither saved nor checked: expected "
                          "no save and no check with it",
                          own->policy);
    if (own->until[0] != '\0')
        HYSGD_TRY(options_parse(until_options, &job->replay.until, "until", own->until));
    return output_paths_check(outputs, sizeof outputs / sizeof outputs[0], job->path);
}

static enum hysgd_status read_plan(struct replay_job *job) {
    struct log_reader *reader;
    HYSGD_TRY(log_reader_open(job->path, &reader));
    enum hysgd_status status = replay_plan_init(&job->plan, job->path, reader);
    if (status == HYSGD_OK && !job->plan.is_cut)
        result_fill(log_reader_summary(reader), &job->recorded);
    log_reader_close(reader);
    return status;
}

/* Whether nothing is repeated, because another policy decides from the beginning. */
static bool is_other_from_beginning(const struct replay_job *job) {
    return job->own.policy[0] != '\0' && job->own.until[0] == '\0';
}

/* Whether the log is of this program, and tells what it continued. */
static enum hysgd_status check_log(const struct replay_job *job) {
    const struct event_run *recorded = log_reader_run(job->replay.reader);
    char program[IDENTITY_PROGRAM_BYTES];
    identity_of_program(program);
    if (!job->own.any_program && strcmp(recorded->program, program) != 0)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: was recorded by \"%s\", and this is \"%s\", which may round differently: "
                          "any-program=yes tries it",
                          job->path, recorded->program, program);
    bool continues = recorded->first_received > 0 || recorded->first_version > 0 || recorded->first_seconds > 0;
    if (continues && job->own.resume[0] == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "%s: the run continued a checkpoint of update %" PRIu64
                          ": expected resume=FILE, that checkpoint as it was then",
                          job->path, recorded->first_version);
    if (!continues && job->own.resume[0] != '\0')
        return hysgd_fail(HYSGD_USAGE, "replay: resume=%s: the run in %s continued no checkpoint", job->own.resume,
                          job->path);
    if (continues && is_other_from_beginning(job))
        return hysgd_fail(HYSGD_USAGE,
                          "replay: policy=%s: the run continued a checkpoint of another policy: expected until=...",
                          job->own.policy);
    return HYSGD_OK;
}

/* ---- The run that the log describes ---- */

static bool is_of_recording(const char *key) {
    static const char *const keys[] = {"save",        "save-every", "resume", "log",  "csv",
                                       "tensorboard", "trace",      "report", "serve"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static enum hysgd_status describe(const struct replay_job *job, struct description *description) {
    const struct event_run *recorded = log_reader_run(job->replay.reader);
    const struct own *own = &job->own;
    HYSGD_TRY(scheduling_refuse(recorded, job->path, "replay"));
    const char *const ours[][2] = {
        {"data", own->data},    {"model", own->model}, {"save", own->save},   {"resume", own->resume},
        {"log", own->log},      {"csv", own->csv},     {"trace", own->trace}, {"tensorboard", own->tensorboard},
        {"report", own->report}};
    /* Older programs did not know the option: nobody had the samples of lost workers any more. */
    HYSGD_TRY(description_set_default(description, "orphans", "skip"));
    for (int i = 0; i < recorded->description_count; i++) {
        const char *const *pair = recorded->description[i];
        if (is_of_recording(pair[0]))
            continue;
        enum hysgd_status status = description_set(description, pair[0], pair[1]);
        if (status != HYSGD_OK) /* the user wrote nothing wrong: the log did */
            return status_locate(status == HYSGD_USAGE ? HYSGD_INPUT : status, job->path);
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (ours[i][1][0] != '\0')
            HYSGD_TRY(description_set(description, ours[i][0], ours[i][1]));
    /* The clock is the log's; nobody else takes part this time. */
    if (strcmp(recorded->runtime, "mpi") == 0)
        HYSGD_TRY(description_set(description, "runtime", "threads"));
    if (!is_other_from_beginning(job))
        return HYSGD_OK;
    HYSGD_TRY(description_set(description, "policy", own->policy));
    return description_set(description, "runtime", "virtual");
}

static enum hysgd_status resolve(struct replay_job *job) {
    const struct own_plugins none = {0};
    struct description description;
    enum hysgd_status status = description_init(&description);
    if (status == HYSGD_OK)
        status = describe(job, &description);
    if (status == HYSGD_OK)
        status = resolved_init(&job->resolved, &description, &none);
    description_fini(&description);
    return status;
}

/* A policy's table, and what else it keeps per worker from the first gradient on, cannot begin in the midst of a
 * run.
 */
static enum hysgd_status check_change(const struct replay_job *job, const struct plugin *policy) {
    const struct hysgd_policy_ops *ops = policy_ops(policy);
    bool is_elastic = ops->worker_ops != NULL && ops->worker_ops->elasticity != NULL;
    if (ops->aggregate == HYSGD_HELD && !is_elastic)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE,
                      "replay: policy=%s: %s keeps %s from the first update on and cannot be changed to or from in "
                      "between: leave out until=%s",
                      job->own.policy, ops->about.name,
                      is_elastic ? "parameters of each worker" : "a table of gradients", job->own.until);
}

/* The policy that decides after `until`. */
static enum hysgd_status open_policy(struct replay_job *job) {
    if (job->own.policy[0] == '\0' || is_other_from_beginning(job))
        return HYSGD_OK;
    HYSGD_TRY(plugin_open(&policy_list, job->own.policy, &job->policy));
    const struct hysgd_policy_ops *ops = policy_ops(&job->policy);
    HYSGD_TRY(check_change(job, &job->policy));
    HYSGD_TRY(check_change(job, &job->resolved.policy));
    job->policy_is_ready = true;
    if (ops->init != NULL)
        HYSGD_TRY(ops->init(job->policy.self, resolved_places(&job->resolved)));
    job->replay.policy = &job->policy;
    return HYSGD_OK;
}

/* The times of what might have been: modelled ones are drawn again, others are those recorded. */
static enum hysgd_status take_times(struct replay_job *job) {
    struct description unused;
    if (job->own.policy[0] == '\0' || job->replay.is_modelled)
        return HYSGD_OK;
    enum hysgd_status status = description_init(&unused);
    if (status == HYSGD_OK)
        status = times_read_log(&job->times, job->path, &unused);
    description_fini(&unused);
    job->resolved.timing.measured = &job->times.measured;
    return status;
}

static enum hysgd_status fail_other(const struct replay_job *job, const char *what, uint64_t here, uint64_t there) {
    return hysgd_fail(HYSGD_INPUT, "%s: was recorded with other %s: %" PRIu64 " here, recorded is %" PRIu64,
                      job->path, what, here, there);
}

/* Whether the data are those of the log, as far as it tells. */
static enum hysgd_status check_data(const struct replay_job *job) {
    const struct event_run *recorded = log_reader_run(job->replay.reader);
    struct identity identity;
    HYSGD_TRY(identity_of_data(&job->resolved.data, &identity));
    if (recorded->train_checksum != 0 && recorded->train_checksum != identity.train)
        return fail_other(job, "training data (checksum)", identity.train, recorded->train_checksum);
    if (recorded->test_checksum != 0 && recorded->test_checksum != identity.test)
        return fail_other(job, "test data (checksum)", identity.test, recorded->test_checksum);
    return HYSGD_OK;
}

/* Whether the run begins where the recorded one did. */
static enum hysgd_status check_beginning(const struct replay_job *job) {
    const struct event_run *recorded = log_reader_run(job->replay.reader);
    const struct training *training = &job->run.training;
    const struct hysgd_progress *progress = &training->engine.progress;
    uint64_t checksum = training_identify(training, server_vector(&training->server));
    if (recorded->workers != training->setup->workers)
        return fail_other(job, "workers", (uint64_t)training->setup->workers, (uint64_t)recorded->workers);
    if (recorded->parameter_count != training->layout.parameter_count)
        return fail_other(job, "parameters", training->layout.parameter_count, recorded->parameter_count);
    if (recorded->train_count != training->shape.train_count)
        return fail_other(job, "training samples", training->shape.train_count, recorded->train_count);
    if (recorded->first_version != progress->version || recorded->first_received != progress->received ||
        recorded->first_seconds != training->start_seconds)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: is of update %" PRIu64 " at %.9g s: the run in %s continued one of update %" PRIu64
                          " at %.9g s",
                          job->own.resume, progress->version, training->start_seconds, job->path,
                          recorded->first_version, recorded->first_seconds);
    if (recorded->start_checksum != 0 && recorded->start_checksum != checksum)
        return fail_other(job, "initial parameters (checksum)", checksum, recorded->start_checksum);
    return HYSGD_OK;
}

/* ---- Running ---- */

/* Compares the parameters at the end with those of a checkpoint. */
static enum hysgd_status compare_checkpoint(struct replay_job *job, const struct safetensors_file *file) {
    const struct training *training = &job->run.training;
    const struct hysgd_model_layout *layout = &training->layout;
    const float *here = server_vector(&training->server);
    float *there;
    HYSGD_TRY(memory_alloc(training->server.count, sizeof *there, &there));
    enum hysgd_status status = training_read_parameters(file, job->own.check, layout, there);
    for (size_t i = 0; status == HYSGD_OK && i < training->server.count; i++)
        if (memcmp(&here[i], &there[i], sizeof *here) != 0)
            status = hysgd_fail(HYSGD_FAILED, "%s: parameter %zu of %zu is %.9g: in the replay it is %.9g",
                                job->own.check, i, training->server.count, (double)there[i], (double)here[i]);
    memory_free(there);
    job->is_checked = status == HYSGD_OK;
    return status;
}

static enum hysgd_status check_end(struct replay_job *job) {
    struct safetensors_file *file;
    if (job->own.check[0] == '\0')
        return HYSGD_OK;
    HYSGD_TRY(safetensors_open(job->own.check, &file));
    enum hysgd_status status = compare_checkpoint(job, file);
    safetensors_close(file);
    return status;
}

static const struct runtime_ops driver = {.about = {"replay", NULL, "the clock of a log", NULL, 0, NULL},
                                          .run = replay_run};

static enum hysgd_status train(struct replay_job *job, void *progress) {
    const struct run_sink sinks[] = {{&replay_sink, &job->replay}, {&sink_progress, progress}};
    struct run *run = &job->run;
    HYSGD_TRY(run_prepare(run, &job->resolved));
    HYSGD_TRY(check_beginning(job));
    HYSGD_TRY(run_record(run, sinks, progress != NULL ? 2 : 1, false));
    if (!is_other_from_beginning(job))
        run->runtime = (struct plugin){.ops = &driver.about, .self = &job->replay};
    enum hysgd_status status = run_train(run, &job->stopper, &job->result, &job->has_begun);
    job->checksum = training_identify(&run->training, server_vector(&run->training.server));
    if (status == HYSGD_TARGET) /* as in the recorded run */
        status = HYSGD_OK;
    return status == HYSGD_OK ? check_end(job) : status;
}

static enum hysgd_status run_resolved(struct replay_job *job) {
    void *progress = NULL;
    HYSGD_TRY(resolve(job));
    job->replay.is_modelled = strcmp(log_reader_run(job->replay.reader)->runtime, "virtual") == 0;
    HYSGD_TRY(open_policy(job));
    HYSGD_TRY(take_times(job));
    HYSGD_TRY(resolved_load(&job->resolved));
    HYSGD_TRY(check_data(job));
    if (job->progress != NULL)
        HYSGD_TRY(sink_progress_alloc(job->progress, job->level, &progress));
    enum hysgd_status status = train(job, progress);
    run_fini(&job->run);
    sink_progress_free(progress);
    return status;
}

enum hysgd_status replay_job_run(struct replay_job *job, const char *path) {
    job->path = path;
    HYSGD_TRY(check_words(job));
    HYSGD_TRY(read_plan(job));
    HYSGD_TRY(log_reader_open(path, &job->replay.reader));
    job->replay.path = path;
    job->replay.plan = &job->plan;
    HYSGD_TRY(check_log(job));
    enum hysgd_status status = run_resolved(job);
    resolved_fini(&job->resolved);
    return status;
}

/* ---- The end ---- */

bool replay_job_has_begun(const struct replay_job *job) {
    return job->has_begun;
}

static enum hysgd_status print_json(const struct replay_job *job, FILE *out) {
    const struct replay *replay = &job->replay;
    return json_print(json_pack("{s:s, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:o, s:I, s:I, s:o, s:o, s:I}",
                                "log", job->path, "events", (json_int_t)job->plan.events, "undone",
                                (json_int_t)job->plan.undone, "repeated", (json_int_t)replay->repeated, "differs",
                                replay->has_differed, "is_cut", job->plan.is_cut, "is_stopped", replay->is_stopped,
                                "end_is_equal", replay->has_compared_end, "check_is_equal", job->is_checked,
                                "seconds", json_number(job->result.seconds), "updates",
                                (json_int_t)job->result.updates, "received", (json_int_t)job->result.received,
                                "test_loss", json_number(job->result.test_loss), "test_accuracy",
                                json_number(job->result.test_accuracy), "checksum", (json_int_t)job->checksum),
                      JSON_COMPACT, out);
}

static void print_text(const struct replay_job *job, FILE *out) {
    const struct replay *replay = &job->replay;
    const struct hysgd_result *result = &job->result;
    fprintf(out, "%" PRIu64 " of %" PRIu64 " events came out as recorded", replay->repeated, job->plan.events);
    if (replay->has_compared_end)
        fputs(", and so did the end", out);
    if (job->plan.undone > 0)
        fprintf(out, "; %" PRIu64 " others were undone by losses", job->plan.undone);
    fprintf(out,
            "\nat %.6g s: %" PRIu64 " gradients, %" PRIu64 " updates, parameters with checksum %08" PRIx64 "\n",
            result->seconds, result->received, result->updates, job->checksum);
    if (job->plan.is_cut)
        fprintf(out, "the log is cut at byte %" PRIu64 ", before the end of its run\n", job->plan.bytes);
    if (isfinite(result->test_loss))
        fprintf(out, "test loss %.6g", result->test_loss);
    if (isfinite(result->test_accuracy))
        fprintf(out, ", accuracy %.4g", result->test_accuracy);
    if (isfinite(result->test_loss))
        fputc('\n', out);
    if (job->is_checked)
        fprintf(out, "the parameters of %s are the same\n", job->own.check);
}

/* The recorded run, unless it is cut, and what might have been. */
static enum hysgd_status print_both(const struct replay_job *job, bool is_json, int columns, FILE *out) {
    char names[2][160];
    struct outcome outcomes[2] = {0};
    const struct hysgd_result *const results[] = {&job->recorded, &job->result};
    enum hysgd_status status = HYSGD_OK;
    size_t first = job->plan.is_cut;
    snprintf(names[0], sizeof names[0], "%s (recorded)", log_reader_run(job->replay.reader)->title);
    snprintf(names[1], sizeof names[1], "%s%s%s", job->own.policy, job->own.until[0] != '\0' ? " after " : "",
             job->own.until);
    for (size_t i = first; i < 2 && status == HYSGD_OK; i++) {
        status = outcome_init(&outcomes[i], names[i], 1);
        if (status != HYSGD_OK)
            break;
        outcomes[i].results[0] = *results[i];
        outcomes[i].ends[0] = OUTCOME_FINISHED;
    }
    if (status == HYSGD_OK)
        status = is_json ? outcomes_print_json(outcomes + first, 2 - first, out)
                         : outcomes_print_text(outcomes + first, 2 - first, columns, out);
    outcome_fini(&outcomes[0]);
    outcome_fini(&outcomes[1]);
    return status;
}

enum hysgd_status replay_job_print(const struct replay_job *job, bool is_json, int columns, FILE *out) {
    if (job->own.policy[0] != '\0')
        return print_both(job, is_json, columns, out);
    if (is_json)
        return print_json(job, out);
    print_text(job, out);
    return HYSGD_OK;
}
