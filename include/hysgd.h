/* SPDX-License-Identifier: Apache-2.0 */
/* hysgd: parallel stochastic gradient descent, synchronous, asynchronous and hybrid.
 *
 * The simple part comes first: describe a job by the same words as on the command line, run it, read the
 * result. The second part is for those who bring their own policy, model or data: an ops table each. */
#ifndef HYSGD_H
#define HYSGD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HYSGD_VERSION "0.1.0"

#define HYSGD_API        __attribute__((visibility("default")))
#define HYSGD_MUST_CHECK __attribute__((warn_unused_result))

/* ---- Errors ---- */

/* X(name, exit code of the command, text) */
#define HYSGD_STATUS_LIST(X)                                                                                       \
    X(OK, 0, "done")                                                                                               \
    X(FAILED, 1, "the run failed")                                                                                 \
    X(MEMORY, 1, "out of memory")                                                                                  \
    X(OUTPUT, 1, "an output file could not be written")                                                            \
    X(DIVERGED, 1, "the loss is not a finite number")                                                              \
    X(USAGE, 2, "wrong usage")                                                                                     \
    X(INPUT, 3, "an input file could not be read")                                                                 \
    X(TARGET, 4, "the target was not reached")                                                                     \
    X(INTERRUPTED, 130, "interrupted")

enum hysgd_status {
#define X(name, exit_code, text) HYSGD_##name,
    HYSGD_STATUS_LIST(X)
#undef X
};

/* The fixed text of a status, for example "out of memory". Never NULL. */
HYSGD_API const char *hysgd_status_text(enum hysgd_status status);

/* The exit code with which the command reports the status. */
HYSGD_API int hysgd_status_exit_code(enum hysgd_status status);

/* The complete line that describes the latest failure in the calling thread: what was wrong, where, and what
 * was expected. Valid until the next failing call of the thread; "" when nothing has failed. */
HYSGD_API const char *hysgd_error_message(void);

/* ---- A training job ---- */

/* A job is used by one thread at a time, except for hysgd_job_stop. */
struct hysgd_job;

/* What a finished run reports. Gradients: received = applied + dropped. */
struct hysgd_result {
    double seconds;          /* on the run's own clock: real for threads, modelled for virtual */
    uint64_t received;       /* gradients that arrived at the server */
    uint64_t applied;        /* of them, part of an update */
    uint64_t dropped;        /* of them, refused by the policy or still held when the run ended */
    uint64_t abandoned;      /* gradients that workers gave up; they were not received */
    uint64_t sent_bytes;     /* of gradients, as encoded for the wire; where nothing travels, what would */
    uint64_t received_bytes; /* of parameters that workers were sent */
    uint64_t updates;        /* applications of the optimizer = the final version */
    double mean_staleness;   /* of the applied gradients, in versions */
    uint64_t most_staleness; /* of the applied gradients, in versions */
    double waiting_share;    /* of the workers' time, spent waiting for others; 0 to 1 */
    double server_share;     /* of the run's time, in which the server was busy; 0 to 1 */
    double train_loss;       /* mean over the gradients since the evaluation before the last; NaN: none */
    double test_loss;        /* at the end; NaN without test data */
    double test_accuracy;    /* at the end, 0 to 1; NaN where the model has none */
    double worker_bias;      /* distance in total variation, 0 to 1, of the shares that workers have in the applied
                                samples from those in the training data; NaN: not known */
    double class_bias;       /* the same for classes; NaN without labels */
    int straggler;           /* the worker that held the others up (see README); -1: none did */
    double straggler_share;  /* of all waiting, that it caused; 0 to 1, 0 where there is none */
    double target_seconds;   /* when the target was first seen reached; NaN if it was not or none was set */
    uint64_t undone; /* gradients received and then undone, because a loss took the run back; not in `received` */
};

/* Makes a job with every option at its default. HYSGD_MEMORY. The caller frees it with hysgd_job_free. */
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status hysgd_job_alloc(struct hysgd_job **job_out);
HYSGD_API void hysgd_job_free(struct hysgd_job *job);

/* Sets one option: the key and the value are those of `hysgd train --help` without the dashes, for example
 * ("policy", "threshold,step=300"). HYSGD_USAGE names a fault and the nearest valid word. Both are copied. */
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status hysgd_job_set(struct hysgd_job *job, const char *key,
                                                           const char *value);

/* Trains. Blocks until a limit of the job is reached, it fails, or it is stopped. `result_out` is written when
 * the run began, whatever the status. A job runs once. */
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status hysgd_job_run(struct hysgd_job *job, struct hysgd_result *result_out);

/* Asks a running job to stop after its present update; it saves and reports as at a limit, and returns
 * HYSGD_INTERRUPTED. Safe in a signal handler and from any thread. */
HYSGD_API void hysgd_job_stop(struct hysgd_job *job);

/* The trained parameters after hysgd_job_run, owned by the job: [count] floats in the layout of the model. Those of
 * the model factors are rows [users][rank], columns [items][rank], the mean [1] and, where it has biases, those of
 * the users and of the items; users and items are in the order in which the ratings first name them. NULL: there
 * are none. */
HYSGD_API const float *hysgd_job_parameters(const struct hysgd_job *job, size_t *count_out);

/* ---- What every plug-in begins with ---- */

enum hysgd_option_type {
    HYSGD_OPTION_BOOL,   /* bool; yes or no */
    HYSGD_OPTION_INT,    /* int64_t; a suffix k, M or G multiplies by a power of 1000 */
    HYSGD_OPTION_REAL,   /* double */
    HYSGD_OPTION_CHOICE, /* int: the index of the chosen word in `words` */
    HYSGD_OPTION_TEXT    /* char *, allocated by the options code and freed with the state; never NULL */
};

/* One option of a plug-in: a row of a table that ends with a row whose key is NULL. */
struct hysgd_option {
    const char *key; /* as in key=value */
    enum hysgd_option_type type;
    size_t offset;       /* of the field in the plug-in's state, in bytes */
    const char *initial; /* the default, as the user would write it */
    double least, most;  /* smallest and largest value, both allowed; for INT and REAL; both 0: no limits */
    const char *words;   /* for CHOICE: the valid words, separated by '|' */
    const char *help;    /* one line, with the unit */
};

/* The first member of every ops table: what it is called and what its private state holds. A state is zeroed
 * memory of `size` bytes in which the options have been set before any function of the table is called. */
struct hysgd_plugin {
    const char *name;
    const char *alias;                  /* the names that papers give it, separated by ", "; or NULL */
    const char *summary;                /* one line */
    const char *source;                 /* where the method is published, or NULL */
    size_t size;                        /* of the private state, in bytes */
    const struct hysgd_option *options; /* NULL when there are none */
};

/* ---- Policy: does this gradient count, are there enough of them, who may go on? ---- */

/* What the gradients and the clock have shown so far, for a policy that `wants_estimates`; NaN: not known yet. Of
 * the latest few gradients of each worker. g is the gradient of one batch, without momentum or clipping. */
struct hysgd_estimates {
    double noise;     /* E||g - E g||^2; by chance it, and the two below, can come out negative */
    double signal;    /* ||E g||^2: the inner product of gradients that have not seen each other */
    double agreement; /* the same between gradients that have, and those that they have seen: what steps leave */
    double receive_seconds, apply_seconds; /* the server's for a gradient, and for an update */
    double arrivals_per_second;            /* of all workers, if none had to wait and the server took no time */
    double blocks; /* how often noise, signal and agreement have been brought up to date; never NaN */
};

/* What a policy may know besides the event itself. Written by the engine, constant during a call. */
struct hysgd_progress {
    int workers;            /* workers that take part now; workers lost are not counted */
    int computing;          /* of them, those that compute: released, and nothing delivered since */
    uint64_t version;       /* updates applied so far */
    uint64_t received;      /* gradients received so far, this one included */
    uint64_t held;          /* gradients admitted and not yet applied, this one included */
    double seconds;         /* on the run's clock, since the run began */
    double fraction;        /* of the run, 0 to 1: the largest over the limits that the job has */
    const uint64_t *clocks; /* [workers ever known] gradients that each worker has delivered */
    uint64_t slowest;       /* the smallest clock of a worker that takes part */
    int empty_rows;         /* HYSGD_TABLE: rows of this round, of workers that take part, without a gradient yet */
    bool is_extra; /* HYSGD_TABLE: the gradient that arrived waits for the next round; true: none arrived */
    const struct hysgd_estimates *estimates; /* NULL where the policy does not want them */
};

enum hysgd_release {
    HYSGD_GO,           /* read the current version and compute the next gradient now */
    HYSGD_UNTIL_UPDATE, /* wait; ask again after the next update */
    HYSGD_UNTIL_CLOCK,  /* wait; ask again when the slowest clock advances, updates or not */
    HYSGD_AGAIN /* HYSGD_TABLE only: compute the next gradient now, at the version that it has read already */
};

/* What an update is made of. */
enum hysgd_aggregate {
    HYSGD_HELD, /* the gradients held, combined */
    /* A table with a row for each worker: the combined gradient is the mean over the rows of the mean of a row, or
     * with combine=sum their sum. It works in rounds. A row keeps its gradients, and each update takes all rows,
     * until the round ends: when every worker that takes part has read a version of it. The gradients of a worker
     * that has, wait for its row of the next round. A gradient counts as held until an update first takes it. The
     * row of a lost worker stays to the end of the round. Nobody waits: release answers HYSGD_GO or HYSGD_AGAIN. */
    HYSGD_TABLE
};

/* An array of one struct per worker that a policy keeps in its state, and what of it goes into checkpoints. */
struct hysgd_saved_workers {
    size_t array; /* offset, in the state, of the pointer to the array [workers]; NULL: none now */
    size_t size;  /* of one struct, in bytes */
    const struct hysgd_option
        *fields; /* rows for its fields that change while running; offsets in the struct; no TEXT */
};

/* What a policy asks of workers while they compute. A worker that gives up its gradient delivers nothing: it is
 * asked for its release next, and goes on with a new batch. Such a gradient is not received, nor does it advance
 * the worker's clock. Each function may be NULL. */
struct hysgd_policy_worker_ops {
    /* Seconds after its start at which `worker` gives up the gradient if it has not been delivered; asked whenever
     * it is released, at the beginning too. INFINITY, or anything that is not above 0: never. NULL: never. */
    double (*patience)(void *self, const struct hysgd_progress *now, int worker);

    /* Is the unfinished gradient of `worker`, which computes and read its version `staleness` versions ago, no
     * longer worth finishing? Asked after each update. What is on its way is delivered all the same. NULL: it
     * always is. */
    bool (*abandons)(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness);

    /* `worker` has given up its gradient. The threshold is asked next, if gradients are held, then its release. */
    void (*abandoned)(void *self, const struct hysgd_progress *now, int worker);

    /* Above 0: a worker keeps parameters of its own from one gradient to the next. When it has read the server's,
     * it moves its own by this share of the difference towards them, and the server's move by as much towards it.
     * Needs local steps and combine=sum. The same for the whole run. 0, or NULL: workers start from the server's
     * parameters. */
    double (*elasticity)(const void *self, int workers);
};

/* A policy is a pure state machine: it has no clock, no thread, and sees no gradient. The engine calls it from
 * one thread at a time, in the order of the arrivals: admit, threshold, then (if the gradients held have reached
 * the threshold) an update and `updated`, then release for the workers that may now go on. No function blocks
 * or allocates, except init. */
struct hysgd_policy_ops {
    struct hysgd_plugin about;
    const struct hysgd_option
        *saved; /* rows for the fields that change while running, kept in checkpoints; or NULL */
    const struct hysgd_saved_workers *saved_workers; /* the same for what there is per worker; or NULL */
    enum hysgd_aggregate aggregate;                  /* what its updates are made of */

    /* Checks the options against the number of workers. HYSGD_USAGE when they contradict it. NULL: nothing to
     * check. Leaves a state that fini accepts, also when it fails. */
    enum hysgd_status (*init)(void *self, int workers);
    void (*fini)(void *self);

    /* The weight of a gradient that `worker` computed `staleness` versions ago; 0 drops it. NULL: always 1. */
    double (*admit)(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness);

    /* How many held gradients make an update, at least 1. Asked after each admitted gradient, and when a
     * worker leaves or gives up while gradients are held. */
    uint64_t (*threshold)(void *self, const struct hysgd_progress *now);

    /* May `worker`, which is not computing, go on? `is_held`: its latest gradient is admitted and not yet applied.
     * When nobody computes and nothing is held, everyone who waits is asked, whatever for. */
    enum hysgd_release (*release)(void *self, const struct hysgd_progress *now, int worker, bool is_held);

    /* An update was applied; now->version counts it. NULL: nothing to do. */
    void (*updated)(void *self, const struct hysgd_progress *now);

    /* The largest staleness that an applied gradient can have with `workers` workers that neither leave nor join;
     * UINT64_MAX for no bound. NULL: no bound. */
    uint64_t (*staleness_bound)(const void *self, int workers);

    /* What the learning rate of the update that is due is multiplied with, at least 0; the update then takes the
     * mean of the held gradients, whatever the run combines them to. NULL: 1, and as the run says. */
    double (*gain)(void *self, const struct hysgd_progress *now);
    /* The staleness from which on gradients are dropped at present, for the record; NULL: none. */
    uint64_t (*cutoff)(const void *self);
    bool wants_estimates;                             /* fill `estimates`: it costs a look at each gradient */
    const struct hysgd_policy_worker_ops *worker_ops; /* or NULL */
};

/* ---- Data ---- */

struct hysgd_data_shape {
    uint64_t train_count, test_count; /* samples */
    int channels, height, width;      /* an input is [channels][height][width] floats, row major */
    int classes;                      /* labels are 0 to classes - 1; 0: the data have no labels */
    int targets;                      /* floats in the target of a sample for regression; 0: none */
    uint32_t row_count, column_count; /* ratings: an input is two floats, whose bits are the row's and the column's
                                         number as uint32_t; both 0: inputs are values */
};

enum hysgd_split { HYSGD_TRAIN, HYSGD_TEST };

/* After init, every function is called by several threads at once and changes nothing. */
struct hysgd_data_ops {
    struct hysgd_plugin about;
    /* Reads or generates the data. HYSGD_INPUT names file, place and what was expected. */
    enum hysgd_status (*init)(void *self, uint64_t seed);
    void (*fini)(void *self);
    void (*describe)(const void *self, struct hysgd_data_shape *shape_out);
    /* Copies samples: inputs [count][channels*height*width] (NULL: only the rest is wanted), labels [count] (if
     * classes > 0), targets [count][targets] (if targets > 0). Indices are below the count of the split. */
    void (*gather)(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count, float *inputs,
                   int32_t *labels, float *targets);
};

/* ---- Model: the loss and its gradient on a batch ---- */

struct hysgd_batch {
    size_t count;          /* samples */
    const float *inputs;   /* [count][channels*height*width] */
    const int32_t *labels; /* [count], or NULL */
    const float *targets;  /* [count][targets], or NULL */
    uint64_t seed;         /* with worker and draw: names the random stream of this gradient */
    uint32_t worker;       /* who computes it */
    uint64_t draw;         /* the worker's gradients before this one */
};

/* One named tensor inside the flat parameter vector. */
struct hysgd_tensor {
    char name[48];
    int rank;       /* 1 to 4 */
    size_t dims[4]; /* outermost first */
    size_t first;   /* index of its first element in the vector */
};

/* The flat vector: parameter_count floats that the optimizer changes, then statistic_count floats that batches
 * are observed to have (running means and variances). In the place of the statistics a gradient carries the
 * values observed in its batch; an update of k gradients moves them to (1-m)^k s + (1 - (1-m)^k) mean, with m =
 * statistic_momentum, in every combine mode. */
struct hysgd_model_layout {
    size_t parameter_count, statistic_count;
    double statistic_momentum;          /* 0 to 1 */
    const struct hysgd_tensor *tensors; /* owned by the model; they cover the vector without gaps */
    size_t tensor_count;
    size_t outputs;            /* floats that predict writes for a sample; 0: it cannot predict */
    bool has_sparse_gradients; /* the gradient of a batch is mostly zero: it touches few of the parameters */
};

/* Sums over samples; the reader divides. */
struct hysgd_metrics {
    uint64_t count;   /* samples */
    double loss;      /* sum of the losses */
    uint64_t correct; /* samples whose best class is the label */
    bool has_accuracy;
};

/* `workspace` is what `open` made for one thread (the model itself where open is NULL); calls with different
 * workspaces run at once, and the model is not changed by them. Vectors are [parameter_count + statistic_count]. */
struct hysgd_model_ops {
    struct hysgd_plugin about;
    /* Fits the model to the data. HYSGD_USAGE when it cannot. */
    enum hysgd_status (*init)(void *self, const struct hysgd_data_shape *shape);
    void (*fini)(void *self);
    void (*describe)(const void *self, struct hysgd_model_layout *layout_out);
    /* Writes the initial vector, a function of the seed alone. NULL: zeros. */
    void (*start)(const void *self, uint64_t seed, float *vector_out);
    /* Prepares for batches of exactly `batch` samples in `gradient` (fewer only in a model without `evaluate`), and
     * of at most `batch` in evaluate and predict. Called by the thread that will use it, which then computes with
     * one thread of its own. */
    enum hysgd_status (*open)(const void *self, size_t batch, void **workspace_out);
    void (*close)(const void *self, void *workspace);
    /* The gradient of the mean loss over the batch, and that loss. Overwrites the whole of gradient_out. */
    enum hysgd_status (*gradient)(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, float *gradient_out, double *loss_out);
    /* Adds the metrics of a batch. NULL: the loss is taken from `gradient`. */
    enum hysgd_status (*evaluate)(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, struct hysgd_metrics *metrics);
    /* Writes [batch->count][outputs], for example class probabilities. NULL: it cannot predict. */
    enum hysgd_status (*predict)(const void *self, void *workspace, const float *vector,
                                 const struct hysgd_batch *batch, float *outputs_out);
};

/* Use a plug-in of one's own in place of a listed one. `self` is its state, owned by the caller, alive until the
 * job is freed; NULL: the job makes it and sets the options from `text` ("key=value,..." or NULL). HYSGD_USAGE. */
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status
hysgd_job_use_policy(struct hysgd_job *job, const struct hysgd_policy_ops *ops, void *self, const char *text);
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status
hysgd_job_use_model(struct hysgd_job *job, const struct hysgd_model_ops *ops, void *self, const char *text);
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status
hysgd_job_use_data(struct hysgd_job *job, const struct hysgd_data_ops *ops, void *self, const char *text);

/* For a plug-in: records the complete message of a failure and returns `status`. */
HYSGD_API HYSGD_MUST_CHECK enum hysgd_status hysgd_fail(enum hysgd_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
