/* SPDX-License-Identifier: Apache-2.0 */
/* How an aggregated gradient changes the parameters, and the schedule of the learning rate. An optimizer works on
 * any slice of the vector; it knows nothing of workers, policies or shards. */
#ifndef HYSGD_OPTIMIZER_OPTIMIZER_H
#define HYSGD_OPTIMIZER_OPTIMIZER_H

#include "base/plugin.h"

/* How far training has come, in the three units that a schedule can count in. */
struct optimizer_clock {
    uint64_t updates; /* applied before this one */
    double samples;   /* that updates have consumed before this one */
    double epochs;    /* samples / size of the training set */
    double fraction;  /* of the whole run, 0 to 1 */
};

enum optimizer_schedule { SCHEDULE_CONSTANT, SCHEDULE_STEP, SCHEDULE_COSINE, SCHEDULE_LINEAR };
enum optimizer_unit { UNIT_UPDATES, UNIT_EPOCHS, UNIT_SAMPLES };

/* The first member of every optimizer's state: the options that all have (OPTIMIZER_OPTIONS puts them into its
 * table). */
struct optimizer {
    double rate;   /* learning rate at full height */
    double decay;  /* weight decay: L2 added to the gradient, decoupled in adamw */
    double clip;   /* largest norm of the combined gradient; 0: no clipping */
    int schedule;  /* enum optimizer_schedule */
    int unit;      /* enum optimizer_unit: what `warmup`, `every` and `length` count */
    double warmup; /* linear warm-up from 0 over this many units */
    double every;  /* step: units between two drops */
    double factor; /* step: what the rate is multiplied with at a drop; cosine and linear: share of the rate at the
                      end */
    double length; /* cosine, linear: units until the end; 0: the whole run */
};

/* Rows for the common options, for a table of `type`, whose first member is `common`, a struct optimizer. */
#define OPTIMIZER_OPTIONS(type, rate_initial, decay_initial)                                                       \
    {"rate", HYSGD_OPTION_REAL, offsetof(type, common.rate), rate_initial, 0, 1e6, NULL, "learning rate"},         \
        {"decay",                                                                                                  \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(type, common.decay),                                                                             \
         decay_initial,                                                                                            \
         0,                                                                                                        \
         1e6,                                                                                                      \
         NULL,                                                                                                     \
         "weight decay, of all parameters, biases and norms too"},                                                 \
        {"clip",                                                                                                   \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(type, common.clip),                                                                              \
         "0",                                                                                                      \
         0,                                                                                                        \
         1e30,                                                                                                     \
         NULL,                                                                                                     \
         "largest norm of an update's combined gradient; 0 does not clip"},                                        \
        {"schedule", HYSGD_OPTION_CHOICE,           offsetof(type, common.schedule),         "constant", 0,        \
         0,          "constant|step|cosine|linear", "how the rate changes after the warm-up"},                     \
        {"unit", HYSGD_OPTION_CHOICE,      offsetof(type, common.unit),          "epochs", 0,                      \
         0,      "updates|epochs|samples", "what warmup, every and length count"},                                 \
        {"warmup",                                                                                                 \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(type, common.warmup),                                                                            \
         "0",                                                                                                      \
         0,                                                                                                        \
         1e18,                                                                                                     \
         NULL,                                                                                                     \
         "units over which the rate rises linearly from 0"},                                                       \
        {"every",                                                                                                  \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(type, common.every),                                                                             \
         "10",                                                                                                     \
         1e-9,                                                                                                     \
         1e18,                                                                                                     \
         NULL,                                                                                                     \
         "schedule=step: units between two drops"},                                                                \
        {"factor",                                                                                                 \
         HYSGD_OPTION_REAL,                                                                                        \
         offsetof(type, common.factor),                                                                            \
         "0.1",                                                                                                    \
         0,                                                                                                        \
         1,                                                                                                        \
         NULL,                                                                                                     \
         "step: factor of a drop; cosine, linear: share of the rate at the end"},                                  \
    {                                                                                                              \
        "length", HYSGD_OPTION_REAL, offsetof(type, common.length), "0", 0, 1e18, NULL,                            \
            "cosine, linear: units until the end; 0 is the whole run"                                              \
    }

/* What one update needs besides the vectors. */
struct optimizer_step {
    double rate;     /* of this update, the schedule applied */
    double scale;    /* the combined gradient is multiplied with it first (clipping); 1 otherwise */
    uint64_t number; /* of this update, from 1 */
};

#define OPTIMIZER_MOST_STATES 2

struct optimizer_ops {
    struct hysgd_plugin about;
    int states; /* vectors of state per parameter vector, 0 to OPTIMIZER_MOST_STATES; they start as zeros */
    const char *const *state_names; /* [states], for checkpoints */
    /* new = old changed by the gradient, on a slice of `count` elements; states[i] are the slice's states, changed
     * in place. new may be old. Called for different slices by several threads at once. */
    void (*step)(const void *self, const struct optimizer_step *step, const float *old_values,
                 const float *gradient, float *const *states, float *new_values, size_t count);
};

extern const struct plugin_list optimizer_list;

static inline const struct optimizer_ops *optimizer_ops(const struct plugin *optimizer) {
    return (const struct optimizer_ops *)optimizer->ops;
}

/* The learning rate of the update that begins at `clock`: `rate`, during the warm-up times the share of it that is
 * over, times what the schedule leaves of it. Drops (step) come at each multiple of `every` since the beginning of
 * the run; the fall of cosine and linear goes from the end of the warm-up to `length`, or to the end of the run,
 * and stays there. */
double optimizer_rate(const struct optimizer *common, const struct optimizer_clock *clock);

#endif
