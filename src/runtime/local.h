/* SPDX-License-Identifier: Apache-2.0 */
/* Local steps: a worker takes several steps with an optimizer of its own, from the parameters that it has read, and
 * delivers the difference (start - end) as its gradient. The server's optimizer is then the outer one: sgd with
 * rate 1 averages the workers. Under a policy with `elasticity` a worker goes on from its own parameters instead,
 * which an elastic force draws towards the server's, and delivers what the force moves the server by. */
#ifndef HYSGD_RUNTIME_LOCAL_H
#define HYSGD_RUNTIME_LOCAL_H

#include "base/plugin.h"
#include "checkpoint/safetensors.h"
#include "optimizer/optimizer.h"

struct training;
struct training_setup;
struct snapshot_flight;
struct snapshot_place;
struct worker_watch;

/* ---- How many steps ---- */

/* What is measured of a worker's rounds, smoothed. */
struct local_pace {
    double compute_seconds; /* of a batch; 0: not yet known */
    double transit_seconds; /* of a delivery */
};

/* The state of the run when a round begins. */
struct local_now {
    double fraction, seconds;
    uint64_t updates;
    const struct local_pace *paces; /* [workers] of those that take part; others are not yet known */
    int workers;
};

/* What a worker's optimizer remembers from one round to the next. */
enum local_state { LOCAL_KEEP, LOCAL_RESET };

/* The first member of the state of every choice but `off`. */
struct local_common {
    int64_t steps; /* H */
    int state;     /* enum local_state */
};

struct local_ops {
    struct hysgd_plugin about;
    enum hysgd_status (*init)(const void *self); /* checks the options; NULL: nothing to check */
    /* The steps of the round that `worker` begins, 1 to `steps`. NULL: workers deliver gradients. */
    uint64_t (*count)(const void *self, const struct local_now *now, int worker);
};

/* off, fixed, post-local, proportional */
extern const struct plugin_list local_list;

static inline const struct local_ops *local_ops(const struct plugin *local) {
    return (const struct local_ops *)local->ops;
}

/* ---- A worker's rounds ---- */

/* A vector that lives from one round to the next. A round changes `working`; `settled` is as it was after the
 * latest delivery and never changes while the worker computes: it can be saved, and a round that is given up leaves
 * nothing behind. */
struct local_vector {
    float *settled, *working; /* [count of parameters, with the statistics] */
};

#define LOCAL_MOST_VECTORS (OPTIMIZER_MOST_STATES + 1)

struct local_worker {
    struct local_vector kept[LOCAL_MOST_VECTORS]; /* the optimizer's states, then the worker's own parameters */
    float *vector;                /* [count] the parameters that the steps change, where they are not kept */
    float *gradient;              /* [count] of a batch, where the delivery is made in its place */
    float *observed;              /* [statistic_count] mean of the statistics observed in the round */
    bool is_open;                 /* the vectors are there */
    bool has_own;                 /* the worker's own parameters have begun to differ from the server's */
    struct optimizer_clock clock; /* when the round began, for the learning rate */
};

/* Local steps of a run; all zero when they are off. */
struct local {
    const struct local_ops *ops; /* NULL: off */
    const void *self;
    bool resets; /* the optimizer's state, at the beginning of a round */
    bool is_elastic;
    double elasticity;            /* alpha */
    int states;                   /* vectors of the optimizer's state */
    int kept;                     /* of them and of own parameters, for each worker */
    struct local_worker *workers; /* [workers] */
    struct local_pace *paces;     /* [workers] */
};

/* Whether the choices of a setup agree: policy, optimizer, combine, weighting, local, local_optimizer and workers
 * are looked at. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status local_check(const struct training_setup *setup);

/* Vectors that each worker needs for its local steps. */
int local_vector_count(const struct training_setup *setup);

/* HYSGD_USAGE, HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status local_init(struct training *training);
void local_fini(struct training *training);

/* Allocates the worker's vectors, if they are not there yet; by the thread that will compute. */
HYSGD_MUST_CHECK enum hysgd_status local_open(struct training *training, int worker);

/* A worker begins a round: decides its steps (engine.workers[].batches). Lock held. */
void local_begin(struct training *training, int worker, double seconds);

/* The round from the version `start`; what is to be delivered goes to the worker's `gradient`, the mean
 * loss of its batches to the worker's `loss`. `watch` as in worker_gradient: a round is given up as a whole. */
HYSGD_MUST_CHECK enum hysgd_status local_compute(struct training *training, int worker, const float *start,
                                                 const struct worker_watch *watch);

/* The round has been delivered: takes its measure. Lock held. */
void local_settle(struct training *training, int worker, double compute_seconds, double transit_seconds);

/* Likewise: what the round has changed of the worker's vectors is now settled. In the process that has them. */
void local_settle_vectors(struct training *training, int worker);

/* A worker is lost: its pace is nobody's measure any more. */
void local_forget(struct training *training, int worker);

/* One that joins has nothing of another one of its number. While nobody computes for it. */
void local_renew(struct training *training, int worker);

/* ---- Checkpoints ---- */

/* What a checkpoint holds of it: a table, and references to the workers' vectors. */
#define LOCAL_NAME_SIZE 64
struct local_image {
    struct safetensors_tensor *tensors; /* [count]; vectors of workers that compute elsewhere have no data */
    struct snapshot_place *places;      /* [count] part: which of the worker's kept vectors */
    size_t count;
    char (*names)[LOCAL_NAME_SIZE];
    double *table;
};

/* `flights` [workers], or NULL: where a round under way is computed already, what it has changed is taken too. */
HYSGD_MUST_CHECK enum hysgd_status local_take(const struct training *training,
                                              const struct snapshot_flight *flights, struct local_image *image_out);
void local_discard(struct local_image *image);

/* Reads it back, after the state of the engine. HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status local_read_table(struct training *training, const struct safetensors_file *file,
                                                    const char *path);
HYSGD_MUST_CHECK enum hysgd_status local_read_vectors(struct training *training,
                                                      const struct safetensors_file *file);

#endif
