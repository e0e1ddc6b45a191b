/* SPDX-License-Identifier: Apache-2.0 */
/* Repeats a recorded run: a runtime whose clock is the log. What came from outside (who started, arrived, gave up
 * or was lost, when, and how long the server worked) is taken from the log; gradients, verdicts and updates are
 * made anew by the same engine, server and workers as in the recorded run, and each event must come out as it is
 * there, to the last bit. */
#ifndef HYSGD_RUNTIME_REPLAY_H
#define HYSGD_RUNTIME_REPLAY_H

#include "record/log_reader.h"
#include "runtime/snapshot.h"

/* The moment of an evaluation, which a log tells only when it is over. */
struct replay_evaluation {
    double seconds;
    uint64_t version, received;
    uint64_t event; /* its number, from 1 */
    size_t returns; /* that stand before it */
};

/* A return after a loss: of the events, counted from 1, those after `kept` and before `at` are undone. */
struct replay_return {
    uint64_t kept, at;
};

/* What must be known of a log before it is repeated. */
struct replay_plan {
    struct replay_evaluation *evaluations; /* [evaluation_count] in their order */
    size_t evaluation_count, evaluation_room;
    struct replay_return *returns; /* [return_count] that stand, in their order */
    size_t return_count, return_room;
    uint64_t events, undone; /* of them, undone */
    bool is_cut;             /* the log ends before its run */
    uint64_t bytes;          /* of the log, up to its end or its cut */
};

/* Reads what is left of the log. HYSGD_INPUT: it is damaged, or has what this program does not know. Safe to fini
 * when it fails. */
HYSGD_MUST_CHECK enum hysgd_status replay_plan_init(struct replay_plan *plan, const char *path,
                                                    struct log_reader *reader);
void replay_plan_fini(struct replay_plan *plan);

/* Where to stop before the end of the log: at the first of these that is reached, after what belongs to it. All 0:
 * nowhere. */
struct replay_until {
    double seconds, epochs;
    int64_t updates, gradients;
};

/* Events of the replay that may wait for being compared: one call emits fewer. */
#define REPLAY_MOST_EMITTED 8

struct replay {
    const char *path;          /* of the log, for messages */
    struct log_reader *reader; /* at its first event */
    const struct replay_plan *plan;
    struct replay_until until;
    bool is_modelled;            /* the recorded clock is: the times of its server are drawn again */
    const struct plugin *policy; /* that decides after `until`, or where the log is cut, in modelled time; NULL: it
                                    is the end. Its init has been called. */

    /* Set by replay_run for its caller: */
    uint64_t repeated;     /* events that came out as recorded */
    bool is_stopped;       /* at `until` */
    bool has_differed;     /* at the event after these: see the message of the failure */
    bool has_compared_end; /* the end was in the log, and came out as recorded */

    /* Within: */
    struct training *training;
    struct snapshot_flight *flights; /* [workers] of those that compute; planned where the clock is modelled */
    struct event emitted[REPLAY_MOST_EMITTED];
    int emitted_count;
    bool is_comparing;     /* what is emitted must be in the log */
    uint64_t read;         /* events of the log, those undone too */
    size_t returns;        /* passed */
    bool restart_is_due;   /* the workers begin anew, at the next start */
    struct event expected; /* the log's latest event */
    bool action_is_due;    /* that of `verdict` is worked out, but its end has not come yet */
    struct engine_verdict verdict;
    size_t evaluations;           /* that have begun */
    bool is_evaluating;           /* the latest of them is not over */
    struct hysgd_metrics metrics; /* its outcome */
    double now, server_free_at;   /* the server's latest work ended then */
    uint64_t next_order;          /* of flights */
};

/* The sink through which a replay sees its own events: it must be added, with the replay, to the recorder of the
 * training. */
extern const struct sink_ops replay_sink;

/* Runs a training as the log says; `self` is a struct replay. As run of struct runtime_ops, besides: HYSGD_FAILED
 * where an event is not as recorded, naming event, field and both values; HYSGD_INPUT where the log is damaged. */
HYSGD_MUST_CHECK enum hysgd_status replay_run(void *self, struct training *training, double *seconds_out);

#endif
