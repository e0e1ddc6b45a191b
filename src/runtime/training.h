/* SPDX-License-Identifier: Apache-2.0 */
/* One run: the four choices (policy, model, optimizer, data) joined by the engine, the server and the workers, with
 * its limits, its milestones (evaluations, checkpoints) and its account. A runtime drives it; all that depends on
 * no clock, thread or message is here. */
#ifndef HYSGD_RUNTIME_TRAINING_H
#define HYSGD_RUNTIME_TRAINING_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/plugin.h"
#include "checkpoint/safetensors.h"
#include "data/sampler.h"
#include "record/attribution.h"
#include "record/recorder.h"
#include "runtime/engine.h"
#include "runtime/estimate.h"
#include "runtime/evaluator.h"
#include "runtime/local.h"
#include "runtime/outgoing.h"
#include "runtime/server.h"
#include "runtime/shares.h"
#include "runtime/timing.h"

enum training_unit { TRAINING_NEVER, TRAINING_EPOCHS, TRAINING_SECONDS, TRAINING_UPDATES, TRAINING_GRADIENTS };

/* Every so many units; TRAINING_NEVER: not at all. */
struct training_cadence {
    enum training_unit unit;
    double every;
};

/* When a run ends: at the first limit that is reached; 0 sets none. */
struct training_limits {
    double epochs;  /* samples received / size of the training set */
    double seconds; /* on the run's clock; what happens at this very moment still counts */
    uint64_t updates;
    uint64_t gradients;     /* received */
    double accuracy;        /* target: test accuracy at least this */
    double loss;            /* target: test loss at most this */
    bool goes_on_at_target; /* only note when the target was reached */
};

/* What becomes of the training samples of a worker that is lost: the workers that are left share them, or nobody
 * has them any more. */
enum training_orphans { TRAINING_SHARE_ORPHANS, TRAINING_SKIP_ORPHANS };

/* A place in the record of a run: after the first `events` events of its log. A process that takes over from one
 * that is lost goes on with its log, or begins another. */
struct training_place {
    uint64_t log; /* its number; 0: that of the beginning */
    uint64_t events;
    double seconds; /* of the latest of them, which tells the log from others */
};

/* What a process that comes to report, because the one before is lost, finds of the record. */
struct training_record {
    struct training_place place; /* to which the run goes back: a log that goes on must have it */
    void (*pulse)(void *self);   /* to be called now and then, as reading a log may take long */
    void *pulse_self;
    bool is_continued; /* the log of `place` goes on; what follows is what it has */
    uint64_t events;
    double seconds;     /* of the latest of them */
    uint64_t *received; /* [workers] gradients that stand; by the caller */
    bool has_received;  /* these are known */
    char warning[1024]; /* what is amiss with the record; "": nothing is */
};

/* Everything borrowed must outlive the training. Plug-ins are open and their init has been called. */
struct training_setup {
    const struct plugin *policy, *model, *data, *optimizer;
    const struct plugin *correction;      /* of late gradients; NULL: none */
    const struct plugin *partition;       /* which worker has which samples; NULL: iid */
    enum training_orphans orphans;        /* what becomes of those of the lost */
    const struct plugin *local;           /* how many steps a worker takes before it delivers; NULL: off */
    const struct plugin *local_optimizer; /* with which it takes them; NULL where local is off */
    const struct plugin *wire;            /* what gradients travel as; NULL: fp32 */
    enum engine_combine combine;
    struct engine_weighting weighting;
    const char *worker_weights; /* as worker_weights_read takes it; NULL: none */
    int workers;                /* numbers that workers have, */
    int spare;                  /* the last ones of which are not there at the beginning, and may join */
    size_t batch;               /* samples per gradient */
    size_t micro_batch; /* samples of a piece, of which the batch is a multiple; 0: the batch is one piece */
    uint64_t seed;
    struct timing *timing;
    struct training_limits limits;
    struct training_cadence evaluate_every, save_every;
    size_t evaluate_batch;   /* samples per evaluation batch */
    uint64_t evaluate_limit; /* at most this many test samples; 0: all */
    const char *save_path;   /* NULL: never saved */
    const char *resume_path; /* that training_resume has read, or NULL: for a runtime whose processes read parts */
    const char *const (
        *metadata)[2]; /* [metadata_count] key, value: the resolved options of the run; kept in checkpoints */
    size_t metadata_count;
    struct recorder *recorder; /* NULL: no events; begun and ended by the caller */
    /* The process has become the one that reports, because the one before is lost, and may set the recorder; or
     * NULL.
     */
    enum hysgd_status (*take_over)(void *self, struct training_record *record);
    void *take_over_self;
    bool computes_gradients; /* false: decisions and times only; vectors are not touched */
    /* Of a run that is spread over processes. False, false: all of it is in this one. */
    bool has_remote_vectors; /* the server's vectors are elsewhere: `server` only describes them */
    bool has_one_worker;     /* no worker but this one computes here; -1: none does */
    int only_worker;
};

struct training_worker; /* worker.h */

struct training {
    const struct training_setup *setup;
    struct hysgd_data_shape shape;
    struct hysgd_model_layout layout;
    struct partition partition;
    struct training_worker *workers; /* [setup->workers] */
    double *worker_weights;          /* [setup->workers]; NULL: all 1 */
    struct shares shares;            /* empty where there are no gradients */
    struct engine engine;
    struct server server;      /* without vectors where setup->has_remote_vectors */
    struct server_order order; /* of the latest action; where gradients are computed */
    int bad_worker; /* whose gradient spoiled the update (server.is_bad); -1: not known. Set by the runtime where
                       the vectors are elsewhere, before drive_end_action */
    float *whole;   /* where the vectors are elsewhere: [count] the parameters and statistics as they were at first;
                       what the runtime makes of them later is what the run ends with */
    struct estimator estimator;
    struct probe_values probed; /* what the server's probe saw in the latest action, over all shards; set by the
                                   runtime where the vectors are elsewhere, before drive_end_action */
    struct evaluator evaluator;
    struct local local;
    struct outgoing outgoing;
    struct event_account
        *accounts; /* [setup->workers]; the times as the run goes, the counts by training_summarize */
    struct attribution attribution; /* of the workers' waiting; counts in the accounts */
    struct training_place place;    /* of what is recorded next */
    bool keeps_place;               /* in checkpoints: the run may go back to them */
    bool is_dismissed;              /* the others go on without this process: it has nothing to report any more */
    uint64_t returns, undone;       /* times that it went back, and gradients undone by that */
    double start_seconds;           /* on the run's clock when this process began: > 0 after a resume */
    double next_evaluation, next_save;              /* in the unit of their cadence */
    uint64_t evaluated_version;                     /* version of the latest evaluation; UINT64_MAX: none yet */
    uint64_t evaluated_received, evaluated_batches; /* gradients received when it began, and their batches */
    uint64_t evaluated_checksum;                    /* of the vector, see training_checksum */
    double server_seconds;                          /* the server was busy */
    double rate;                                    /* learning rate of the latest update */
    double gain;                                    /* of the policy, in that rate */
    double loss_sum;                                /* over the batches received since the latest evaluation */
    uint64_t loss_count;
    double train_loss, test_loss, test_accuracy, target_seconds; /* the latest; NaN: not yet */
    bool has_saved;                                              /* save_path holds a checkpoint of this process */
    uint64_t saved_version;                                      /* of that checkpoint */
    pthread_t drainer;        /* the thread that drains the recorder: set by the runtime */
    struct snapshot *resumed; /* the runtime's part of a checkpoint that was read, or NULL */
    atomic_bool is_stopping;  /* set by anyone: a limit, a signal, a fault */
    const char
        *reason; /* why it stopped: "epochs", "deadline", "target", "diverged", ...; NULL: training_stop did it */
    enum hysgd_status status; /* of the run; its message is in `message` */
    char message[1024];
};

/* Builds everything up to the first parameters. HYSGD_USAGE, HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status training_init(struct training *training, const struct training_setup *setup);
void training_fini(struct training *training);

/* Whether the server's vectors are in this process. */
static inline bool training_has_vectors(const struct training *training) {
    return training->setup->computes_gradients && !training->setup->has_remote_vectors;
}

/* Whether the worker computes in this process. */
static inline bool training_computes(const struct training *training, int worker) {
    return !training->setup->has_one_worker || worker == training->setup->only_worker;
}

/* The present parameters and statistics, as far as this process knows them; NULL without gradients. */
const float *training_vector(const struct training *training);

/* Continues from a checkpoint: call between training_init and the runtime's run. HYSGD_INPUT when it is of another
 * model, optimizer, policy, number of workers, batch, seed or data (names the difference). */
HYSGD_MUST_CHECK enum hysgd_status training_resume(struct training *training, const char *path);

/* Reads only the parameters of a checkpoint into vector_out [parameter_count + statistic_count], by the names of
 * the layout's tensors: for evaluate, predict and for starting another run from them. HYSGD_INPUT names the tensor
 * that does not fit or holds a value that is not finite. */
HYSGD_MUST_CHECK enum hysgd_status training_read_parameters(const struct safetensors_file *file, const char *path,
                                                            const struct hysgd_model_layout *layout,
                                                            float *vector_out);

/* As engine_change_policy; between two verdicts. Estimates begin anew. HYSGD_MEMORY, HYSGD_FAILED. */
HYSGD_MUST_CHECK enum hysgd_status training_change_policy(struct training *training, const struct plugin *policy,
                                                          struct engine_verdict *verdict_out);

/* A worker is lost: its training samples go to those that are left, as setup->orphans says, who have them from the
 * next batch on that they start. By drive_lose; where the workers are spread, by every other process too, before it
 * hears of a start that comes after the loss. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status training_orphan(struct training *training, int worker);

/* A worker joins: it gets training samples, unless it has those that it left with. Likewise by every other process.
 * HYSGD_MEMORY; HYSGD_FAILED: there are none for it. Then nothing is changed. */
HYSGD_MUST_CHECK enum hysgd_status training_adopt(struct training *training, int worker);

/* Asks for a stop (reason "interrupted", HYSGD_INTERRUPTED); from any thread and from signal handlers. */
void training_stop(struct training *training);

/* CRC-32 of a vector of parameters and statistics, which tells in a log whether a repetition has the same bits; 0
 * of NULL, and where nobody records. */
uint64_t training_checksum(const struct training *training, const float *vector);

/* The same in any case; not of NULL. */
uint64_t training_identify(const struct training *training, const float *vector);

/* The end of the run for sinks and callers; points into the training. Gradients still held then count as dropped.
 */
void training_summarize(struct training *training, double seconds, struct event_summary *summary_out);

#endif
