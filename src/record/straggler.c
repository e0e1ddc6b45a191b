/* SPDX-License-Identifier: Apache-2.0 */
/* Compares the workers' accounts: see straggler.h. */
#include "record/straggler.h"

#include <math.h>

/* Of the workers' time: whoever causes less waiting than this holds nobody up. */
#define LEAST_WAITING 0.05

/* Seconds per gradient. */
static double mean_of(const struct event_account *account, enum straggler_cause cause) {
    double seconds = cause == STRAGGLER_COMPUTE   ? account->compute_seconds - account->data_seconds
                     : cause == STRAGGLER_NETWORK ? account->transit_seconds
                                                  : account->data_seconds;
    return account->received > 0 ? seconds / (double)account->received : (double)NAN;
}

/* The mean of the means of the other workers that delivered anything; NaN: none did. */
static double mean_of_others(const struct event_summary *summary, int worker, enum straggler_cause cause) {
    double sum = 0;
    int count = 0;
    for (int i = 0; i < summary->workers; i++) {
        double mean = i != worker ? mean_of(&summary->accounts[i], cause) : (double)NAN;
        if (isnan(mean))
            continue;
        sum += mean;
        count++;
    }
    return sum / (double)count;
}

static void find_cause(const struct event_summary *summary, struct straggler *straggler) {
    double most = 0;
    straggler->cause = STRAGGLER_CHANCE;
    straggler->ratio = (double)NAN;
    for (int i = 0; i < STRAGGLER_CHANCE; i++) {
        enum straggler_cause cause = (enum straggler_cause)i;
        double mean = mean_of(&summary->accounts[straggler->worker], cause);
        double others = mean_of_others(summary, straggler->worker, cause);
        if (!(mean - others > most))
            continue;
        most = mean - others;
        straggler->cause = cause;
        straggler->ratio = others > 0 ? mean / others : (double)INFINITY;
    }
}

/* What to exceed, in a run of so many workers. */
static double least_share(int workers) {
    double twice_equal = workers > 2 ? 2 / (double)workers : 0.9;
    return fmin(fmax(STRAGGLER_SHARE, twice_equal), 0.9);
}

struct straggler straggler_find(const struct event_summary *summary) {
    double waiting = 0, total = 0;
    int most = -1;
    for (int i = 0; i < summary->workers; i++) {
        const struct event_account *account = &summary->accounts[i];
        waiting += account->waiting_seconds;
        total += account->waiting_seconds + account->compute_seconds + account->transit_seconds +
                 account->abandoned_seconds;
        if (most < 0 || account->caused_seconds > summary->accounts[most].caused_seconds)
            most = i;
    }
    double caused = most >= 0 ? summary->accounts[most].caused_seconds : 0;
    if (!(waiting >= LEAST_WAITING * total && caused > least_share(summary->workers) * waiting))
        return (struct straggler){.worker = -1};
    struct straggler straggler = {.worker = most, .share = caused / waiting, .seconds = caused};
    if (summary->updates > 0)
        straggler.last_share = (double)summary->accounts[most].delays / (double)summary->updates;
    find_cause(summary, &straggler);
    return straggler;
}

const char *straggler_cause_name(enum straggler_cause cause) {
    static const char *const names[] = {"compute", "network", "data", "chance"};
    return names[cause];
}
