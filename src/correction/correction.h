/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a gradient that comes late, before it is combined with others: an axis of its own beside the
 * policy. A correction works on any slice of the vectors, once for each gradient, when the gradient leaves its
 * worker's buffer; it knows nothing of policies, shards or threads. Running statistics are not corrected. */
#ifndef HYSGD_CORRECTION_CORRECTION_H
#define HYSGD_CORRECTION_CORRECTION_H

#include "base/plugin.h"

/* The slices that a correction sees of the vectors, [count] each; NULL where it has not asked for them. */
struct correction_slice {
    const float *present; /* the parameters now */
    const float *read;    /* those that the gradient was computed at */
    float *shared;        /* the state that all workers share */
    float *own;           /* the state of the gradient's worker */
    float *total;         /* the sum of that state over the workers; the correction keeps it up */
};

struct correction_ops {
    struct hysgd_plugin about;
    const char *optimizer; /* the only one that the method is defined for; NULL: any */
    bool needs_read;       /* what each worker has read is kept until its gradient is corrected */

    /* The names of its vectors of state in checkpoints, NULL: none. They start as zeros. */
    const char *(*shared_state)(const void *self); /* one for all workers; NULL: none */
    const char *worker_state;                      /* one for each worker, and their sum */

    /* What a gradient is multiplied with that was computed `squared` (the squared norm of the difference) away from
     * the present parameters, before an update at `rate`. NULL: 1, and the distance is not measured. */
    double (*factor)(const void *self, double rate, double squared);

    /* The corrected gradient. NULL: as it is. */
    void (*correct)(const void *self, const struct correction_slice *slice, const float *gradient, float *corrected,
                    size_t count);

    /* What workers are given to compute at, after an update of step `rate` that gave `parameters`. NULL: the
     * parameters themselves. */
    void (*look_ahead)(const void *self, double rate, const float *parameters, const float *total, float *given,
                       size_t count);
};

extern const struct plugin_list correction_list;

static inline const struct correction_ops *correction_ops(const struct plugin *correction) {
    return (const struct correction_ops *)correction->ops;
}

/* HYSGD_USAGE when the correction is not defined for this optimizer. */
HYSGD_MUST_CHECK enum hysgd_status correction_check(const struct correction_ops *ops, const char *optimizer);

/* How many vectors as long as the parameters' it keeps with so many workers. */
double correction_vectors(const struct plugin *correction, int workers);

/* Whether the correction does anything at all. */
static inline bool correction_acts(const struct correction_ops *ops) {
    return ops->factor || ops->correct || ops->look_ahead;
}

#endif
