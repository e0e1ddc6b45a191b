/* SPDX-License-Identifier: Apache-2.0 */
/* Where workers live and what a clock is. A runtime turns the engine's answers into computing, waiting and time;
 * policies, models and optimizers do not know which one runs them. */
#ifndef HYSGD_RUNTIME_RUNTIME_H
#define HYSGD_RUNTIME_RUNTIME_H

#include "runtime/training.h"

/* Where this process stands in a run that is spread over several. */
struct runtime_place {
    int rank, ranks;
    bool reports; /* for all of the run: rank 0, or who takes its place when that is lost */
    int workers;  /* of the whole run */
    int worker;   /* the one that computes here; -1: none */
};

/* What the processes of a run must have in common, in the words of one of them. */
struct runtime_facts {
    const char *const (*pairs)[2]; /* [count] key and value; the keys in the same order everywhere */
    size_t count;
    const char *save_path; /* all that write there must see one directory; NULL: nothing is written */
};

struct runtime_ops {
    struct hysgd_plugin about;
    bool is_modelled; /* the clock is modelled: compute, receive and apply times count */
    /* First of all: a process that was started by a run which goes on, to join it, meets that. NULL: there are
     * none. */
    enum hysgd_status (*enter)(void *self);
    /* Known before the run begins, in every process alike. NULL: this process does everything. */
    void (*place)(const void *self, struct runtime_place *place_out);
    /* Before `run`, as often as something can go wrong in one process alone: all tell each other whether they can
     * go on; `status`, with the calling thread's message where that is a failure, and `facts` (NULL: nothing to
     * compare) are of this one. Blocks until all have called. HYSGD_OK in all, or the same status and message in
     * all: then the run is over. NULL: this process does everything. */
    enum hysgd_status (*agree)(void *self, enum hysgd_status status, const struct runtime_facts *facts);
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
