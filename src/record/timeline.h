/* SPDX-License-Identifier: Apache-2.0 */
/* What each worker did when, in a bounded size: single gradients at first, then groups of them with the time of
 * each activity. */
#ifndef HYSGD_RECORD_TIMELINE_H
#define HYSGD_RECORD_TIMELINE_H

#include "base/status.h"
#include "record/event.h"

#define TIMELINE_MOST_WORKERS 512
#define TIMELINE_MOST_RECORDS 50000 /* of eight activities each */

/* In the order in which a worker goes through them for a gradient. */
enum timeline_activity {
    TIMELINE_PULLING, /* until the parameters had come */
    TIMELINE_COMPUTING,
    TIMELINE_PUSHING,    /* until all servers had the gradient */
    TIMELINE_CONFIRMING, /* until that was known */
    TIMELINE_IN_TRANSIT, /* in place of these three, where they are not known */
    TIMELINE_ABANDONED,  /* at a gradient that was given up, in place of all above */
    TIMELINE_QUEUED,     /* at the server, before the verdict */
    TIMELINE_WAITING,    /* from the verdict to the next start */
    TIMELINE_ACTIVITIES
};

/* One gradient, delivered or given up, or several in a row. Time between begin and end that no activity accounts
 * for was spent away. */
struct timeline_record {
    double begin, end; /* on the run's clock */
    double seconds[TIMELINE_ACTIVITIES];
    uint64_t gradients; /* 1: the activities follow each other in the order above */
};

struct timeline_worker {
    struct timeline_record *records; /* [count], at most timeline.capacity */
    size_t count;
    uint64_t gradients_per_record; /* of all records but the last, which may have fewer */
    struct timeline_record open;   /* the present gradient, while is_open */
    bool is_open, is_waiting;
};

/* Of many workers, every stride-th is kept. Zeroed: empty. */
struct timeline {
    int workers, stride; /* of the run; worker w is kept as kept[w / stride] where stride divides w */
    int kept_count;
    size_t capacity;                 /* records per worker; even */
    struct timeline_worker *kept;    /* [kept_count] */
    struct timeline_record *records; /* [kept_count][capacity] */
};

/* HYSGD_MEMORY leaves a timeline that fini accepts. */
HYSGD_MUST_CHECK enum hysgd_status timeline_init(struct timeline *timeline, int workers);
void timeline_fini(struct timeline *timeline);

/* Takes START, ARRIVAL, ABANDONED, LOST and JOINED; the other events, and workers that do not exist, are passed
 * over. */
void timeline_add(struct timeline *timeline, const struct event *event);

/* Ends what every worker was doing at that time. */
void timeline_end(struct timeline *timeline, double seconds);

#endif
