/* SPDX-License-Identifier: Apache-2.0 */
/* The rank that decides: hears what has arrived, asks the engine, and tells servers and workers what to do. It
 * holds no slice for that, and no vector passes through it but those that it evaluates. Its parts: verdicts
 * (ranks_verdict.c), totals over the servers (ranks_totals.c), evaluations (ranks_evaluation.c), checkpoints and
 * copies (ranks_checkpoint.c), and the course of the run (ranks_coordinator.c). */
#ifndef HYSGD_RUNTIME_RANKS_COORDINATOR_H
#define HYSGD_RUNTIME_RANKS_COORDINATOR_H

#include "runtime/ranks.h"
#include "runtime/ranks_totals.h"

enum phase {
    PHASE_OPENING, /* ranks are getting ready */
    PHASE_TRAINING,
    PHASE_ENDING, /* stopped: the last evaluation and checkpoint */
    PHASE_OVER
};

/* What of a worker is known here only. */
struct remote {
    double released;         /* on the run's clock */
    unsigned char *waiting;  /* room for its delivery, while the engine waits for the servers */
    double delivered;        /* on the run's clock: that delivery came */
    bool is_gone;            /* it computes no more, or nobody hears of it */
    bool leaves;             /* its rank was told to end: it delivers what it computes, and begins no more, */
    bool has_delivered_last; /* and has */
    bool joins;              /* it is lost, and is to take part once its rank is ready */
    bool has_announced;      /* its delivery, of which this many servers have not told that they have their part */
    int missing_parts;
    double last_part; /* when a server had the latest of them, on the leader's clock; 0: not known */
};

struct ranks_coordinator {
    struct ranks *ranks;
    enum phase phase;
    struct remote *remotes;      /* [workers] */
    bool *is_ready;              /* [count] */
    uint64_t orders;             /* sent */
    struct message_order *order; /* the one being made */
    double origin;               /* of the run's clock, on the machine's */
    double stopped;              /* on the run's clock; NaN: it runs */
    double ticked;
    float *vector; /* [count] what is evaluated */
    int gathering; /* slices of it that have not come yet; -1: nobody gathers */
    bool is_evaluating;
    double evaluated_seconds; /* the moment of what is being gathered or evaluated */
    bool has_saved_last;      /* the checkpoint at the end is begun, or over */
    bool is_last;             /* that is the end of the run */
    struct hysgd_metrics metrics;
    double *service_seconds; /* [servers] of an update, the latest known */
    struct ranks_totals values, probed;
    struct snapshot_image *image; /* of the checkpoint that is being written; NULL: none is */
    struct snapshot_file *file;
    bool *has_saved;      /* [count] its part, or is lost */
    bool is_save_void;    /* somebody was lost before that: it is not to be kept */
    double saved_seconds; /* the moment of the image */
    enum hysgd_status save_status;
    char save_message[1024];
    uint64_t generation;         /* the latest that was begun */
    bool has_copied, is_copying; /* one was begun; and is not yet held by all who are to */
    int unheld, lost_before_copy;
    uint64_t copied_version;
    bool is_pending; /* an action whose outcome the engine is to know before it goes on */
    struct engine_verdict pending;
    double pending_since;
    int *queue, queue_first, queue_count; /* [workers] ring of deliveries that wait for it */
};

/* ---- ranks_coordinator.c ---- */

double coordinator_now(const struct ranks_coordinator *self);

/* What is evaluated or saved is the state of this moment. */
double coordinator_moment(const struct ranks_coordinator *self);

void coordinator_send_to_all(struct ranks *ranks, const void *message, size_t bytes);

/* Once for each rank with servers, whatever their number. */
void coordinator_send_to_servers(struct ranks *ranks, const void *message, size_t bytes);

/* A moment of the leader's clock on the run's. */
double coordinator_time(const struct ranks_coordinator *self, double seconds);

/* ---- ranks_clocks.c ---- */

/* Notes in the log how the clocks of the ranks compare, where that is new. */
void coordinator_note_clocks(struct ranks_coordinator *self, double seconds);

/* ---- ranks_verdict.c ---- */

/* The order that is being made: begun, filled, sent unless there is nothing in it. */
struct message_order *coordinator_begin_order(struct ranks_coordinator *self);
void coordinator_send_order(struct ranks_coordinator *self);

/* Whom the engine has released: they start, and are sent the parameters. */
void coordinator_add_released(struct ranks_coordinator *self, double seconds);

/* What follows an action for the engine and the workers; the order has been begun. */
HYSGD_MUST_CHECK enum hysgd_status coordinator_end_action(struct ranks_coordinator *self,
                                                          const struct engine_verdict *verdict, double seconds,
                                                          double service);

/* No verdict meanwhile: the engine waits for an outcome, or its state is being saved; then those that waited. */
bool coordinator_is_held(const struct ranks_coordinator *self);
HYSGD_MUST_CHECK enum hysgd_status coordinator_serve_queue(struct ranks_coordinator *self);

bool coordinator_is_stopping(const struct ranks_coordinator *self);

/* Notes when the run stopped, and has the workers stop what is of no use any more. */
void coordinator_note_stop(struct ranks_coordinator *self);

/* A worker has delivered, or a server has its part of that. */
HYSGD_MUST_CHECK enum hysgd_status coordinator_take_announcement(struct ranks_coordinator *self,
                                                                 const struct message_arrived *message);
HYSGD_MUST_CHECK enum hysgd_status coordinator_take_part(struct ranks_coordinator *self,
                                                         const struct message_has_part *message);

/* Those that are lost, or want to leave. */
HYSGD_MUST_CHECK enum hysgd_status coordinator_lose_workers(struct ranks_coordinator *self);

/* Those whose ranks have joined and are ready. */
HYSGD_MUST_CHECK enum hysgd_status coordinator_join_workers(struct ranks_coordinator *self);

/* ---- ranks_totals.c ---- */

HYSGD_MUST_CHECK enum hysgd_status coordinator_start_totals(struct ranks_coordinator *self);
HYSGD_MUST_CHECK enum hysgd_status coordinator_step_totals(struct ranks_coordinator *self, bool *has_acted);

/* ---- ranks_evaluation.c ---- */

/* The parameters as they are after all orders so far. */
HYSGD_MUST_CHECK enum hysgd_status coordinator_gather(struct ranks_coordinator *self);
HYSGD_MUST_CHECK enum hysgd_status coordinator_begin_evaluation(struct ranks_coordinator *self);
HYSGD_MUST_CHECK enum hysgd_status coordinator_step_evaluation(struct ranks_coordinator *self, bool *has_acted);

/* Neither an evaluation nor a checkpoint can be begun. */
bool coordinator_is_busy(const struct ranks_coordinator *self);

/* ---- ranks_checkpoint.c ---- */

HYSGD_MUST_CHECK enum hysgd_status coordinator_begin_save(struct ranks_coordinator *self);
void coordinator_note_saved(struct ranks_coordinator *self, int from, const struct message_text *message);
HYSGD_MUST_CHECK enum hysgd_status coordinator_step_save(struct ranks_coordinator *self, bool *has_acted);
bool coordinator_copy_is_due(struct ranks_coordinator *self);
HYSGD_MUST_CHECK enum hysgd_status coordinator_begin_copy(struct ranks_coordinator *self);
void coordinator_note_held(struct ranks_coordinator *self, const struct message_held *message);

#endif
