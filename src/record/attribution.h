/* SPDX-License-Identifier: Apache-2.0 */
/* Who held whom up: every second that a worker waits is attributed to the worker whose gradient ended the wait, or
 * to the server, from the events of a run alone. Decides nothing and names nobody: straggler.h does. */
#ifndef HYSGD_RECORD_ATTRIBUTION_H
#define HYSGD_RECORD_ATTRIBUTION_H

#include "base/status.h"
#include "record/event.h"

/* What led to a version: the latest event of a worker before the update. */
struct attribution_trigger {
    uint64_t version;
    int worker;       /* -1: none known */
    double delivered; /* when it had delivered, given up or been lost */
    bool has_delayed; /* somebody waited for it */
};

struct attribution_worker {
    double delivered; /* its latest gradient, or given up, or the run began; run clock */
    uint64_t version; /* at the verdict on that */
};

/* A wait goes from a worker's delivery to its next start. When the start reads a version newer than that of the
 * verdict on its gradient, the worker waited for the update that made this version, and with it for the gradient
 * that completed the update: the time until that was delivered was caused by its worker, the rest by the server. A
 * worker that goes on without an update waited for the server alone. So the causes add up to the waiting. */
struct attribution {
    int workers;
    struct attribution_worker *states;    /* [workers] */
    struct attribution_trigger *triggers; /* [trigger_count], by version modulo their number, a power of 2 */
    uint64_t trigger_count;
    struct attribution_trigger latest; /* of the version that may be made next */
    struct event_account *accounts;    /* [workers] borrowed; their caused_seconds and delays are counted here */
    double server_seconds;             /* waited for the server */
    double open_seconds;               /* waited without an end; counted by whoever ends the run */
};

/* `accounts` outlive the attribution. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status attribution_init(struct attribution *attribution, int workers, double seconds,
                                                    struct event_account *accounts);
void attribution_fini(struct attribution *attribution);

/* Takes the next event; its worker exists. O(1). */
void attribution_add(struct attribution *attribution, const struct event *event);

/* Makes one what another is, of the same run; each has memory and accounts of its own. */
void attribution_copy(struct attribution *to, const struct attribution *from);

/* A worker's state at the beginning of a resumed run. */
void attribution_restore(struct attribution *attribution, int worker, double delivered, uint64_t version);

#endif
