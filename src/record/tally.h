/* SPDX-License-Identifier: Apache-2.0 */
/* The account of a run made from its events alone: what the end of a log says, where the log was cut before it. */
#ifndef HYSGD_RECORD_TALLY_H
#define HYSGD_RECORD_TALLY_H

#include "record/attribution.h"

struct tally_worker {
    uint64_t held_most_staleness;
    double held_staleness; /* over its held gradients */
    double delivered; /* when its latest gradient reached the server or was given up, or the run began; run clock */
    bool is_under_way; /* it computes a gradient, or that is on its way */
    bool is_lost;
};

struct tally_marks; /* tally_marks.h */

struct tally {
    int workers;
    uint64_t events;                /* of the log so far */
    struct event_account *accounts; /* [workers] */
    struct tally_worker *states;    /* [workers] */
    struct attribution attribution;
    int *contributors; /* [contributor_count] workers with gradients held */
    int contributor_count;
    uint64_t first_received; /* gradients before a resumed run began */
    double loss_sum;         /* of the gradients since the latest evaluation */
    uint64_t loss_count;
    struct event_summary summary;
    struct tally_marks *marks; /* of a run that may go back; else NULL */
};

/* HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status tally_init(struct tally *tally, const struct event_run *run);
void tally_fini(struct tally *tally);

/* The same for one that cannot go back. */
HYSGD_MUST_CHECK enum hysgd_status tally_init_unmarked(struct tally *tally, const struct event_run *run);

/* Takes the next event; its worker exists. */
void tally_add(struct tally *tally, const struct event *event);

/* The run as if it had ended at the latest event; points into the tally and at `reason`. What only the end of a run
 * can tell is missing: NaN. Gradients still held count as dropped. */
void tally_summarize(struct tally *tally, const char *reason, struct event_summary *summary_out);

/* The run as it stands, which goes on: gradients held are held, and who waits has waited until now. `accounts_out`
 * [workers] receives the accounts, which the summary points at. */
void tally_now(const struct tally *tally, struct event_account *accounts_out, struct event_summary *summary_out);

#endif
