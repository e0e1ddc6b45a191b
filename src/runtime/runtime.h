/* SPDX-License-Identifier: Apache-2.0 */
/* Where workers live and what a clock is. A runtime turns the engine's answers into computing, waiting and time;
 * policies, models and optimizers do not know which one runs them. */
#ifndef HYSGD_RUNTIME_RUNTIME_H
#define HYSGD_RUNTIME_RUNTIME_H

#include "runtime/training.h"

/* Where this process stands in a run that is spread over several. */
struct runtime_place {
    int rank, ranks; /* rank 0 alone reports */
    int workers;     /* of the whole run */
    int worker;      /* the one that computes here; -1: none */
};

struct runtime_ops {
    struct hysgd_plugin about;
    bool is_modelled; /* the clock is modelled: compute, receive and apply times count */
    /* Known before the run begins, in every process alike. NULL: this process does everything. */
    void (*place)(const void *self, struct runtime_place *place_out);
    /* Trains until a limit, a stop or a failure; drains the recorder as it goes, evaluates and saves at the
     * milestones, and evaluates and saves once more at the end. `seconds_out`: the run's clock at the end. Returns
     * training->status, whose message is then also the calling thread's. Blocks; called once per training. */
    enum hysgd_status (*run)(void *self, struct training *training, double *seconds_out);
};

extern const struct plugin_list runtime_list;

static inline const struct runtime_ops *runtime_ops(const struct plugin *runtime) {
    return (const struct runtime_ops *)runtime->ops;
}

#endif
