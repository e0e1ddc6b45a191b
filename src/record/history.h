/* SPDX-License-Identifier: Apache-2.0 */
/* What a history keeps of one run; for the report. */
#ifndef HYSGD_RECORD_HISTORY_H
#define HYSGD_RECORD_HISTORY_H

#include "record/curve.h"
#include "record/sinks.h"
#include "record/timeline.h"

struct history {
    struct event_run run; /* its strings are copies, owned here */
    char *title, *runtime, *loss_name, *accuracy_name;
    char *source;            /* where it comes from, a path; NULL: from a run of this program */
    char *(*description)[2]; /* [run.description_count] */
    bool has_begun, has_ended;
    uint64_t received;      /* gradients so far, those before a resumed run included */
    struct curve gradients; /* received so far, at each arrival: where others lie when not drawn against time */
    struct curve loss;      /* of the batches */
    struct curve staleness; /* of the gradients that were not dropped */
    struct steps threshold;
    struct curve ratio, gain, cutoff; /* noise / signal, and what the policy made of it; empty for most policies */
    struct points evaluations;
    struct timeline timeline;
    double seconds;               /* the run's clock at the latest event, or at the end */
    struct event_summary summary; /* when has_ended; its strings and arrays are copies */
    char *reason;
    struct event_account *accounts; /* [summary.workers] */
    struct event_share *classes;    /* [summary.class_count] */
};

#endif
