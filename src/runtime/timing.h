/* SPDX-License-Identifier: Apache-2.0 */
/* How long things take where time is modelled (virtual) or delays are injected (threads): per worker the compute
 * time and the network delay of a gradient, and the server's service times. All random times come from
 * counter-based streams. */
#ifndef HYSGD_RUNTIME_TIMING_H
#define HYSGD_RUNTIME_TIMING_H

#include "base/plugin.h"
#include "base/random.h"
#include "runtime/measured.h"

/* A distribution of seconds. Draws below 0 are taken as 0. */
struct distribution_ops {
    struct hysgd_plugin about;
    enum hysgd_status (*init)(void *self); /* reads a trace, checks parameters; NULL: nothing to do */
    void (*fini)(void *self);
    double (*draw)(const void *self, struct random *random, uint64_t index); /* index: of the draw in its stream */
};

/* constant, uniform, normal, lognormal, exponential, pareto, trace:FILE */
extern const struct plugin_list distribution_list;

/* The texts of the command line; "" or NULL: the default. */
struct timing_texts {
    const char
        *speeds; /* relative speeds, 1e-6 to 1e6, "1,1,0.5" or "4x1,4x0.25"; repeated when there are more workers */
    const char
        *compute; /* a distribution: seconds per gradient at speed 1; virtual only; default constant,mean=0.01 */
    const char *delay; /* "[WHO,]DISTRIBUTION" groups separated by ';'; WHO: all, half, one, or workers "3", "2-5";
                          default none */
    const char *receive; /* a distribution: seconds the server spends per gradient; virtual only; default 0 */
    const char *apply;   /* a distribution: seconds the server spends per update; virtual only; default 0 */
    const char *lose;    /* "WORKER@SECONDS,...": workers that leave, to try out faults; default none */
    const char *join;    /* likewise: that take part again after they left, or for the first time; default none */
};

struct timing {
    int workers;
    double *speeds;   /* [workers] */
    double *lost_at;  /* [workers] seconds on the run's clock; INFINITY: never */
    double *joins_at; /* [workers] likewise */
    struct plugin compute, receive, apply;
    struct plugin *groups; /* [group_count] delay distributions, owned */
    int group_count;
    int *group_of; /* [workers] index into groups; -1: no delay */
    uint64_t seed;
    uint64_t received, applied;      /* draws of receive and apply so far */
    const struct measured *measured; /* of all workers, borrowed: stands in place of speeds, compute and delay, and
                                        of receive and apply where it has them; NULL: none */
};

/* HYSGD_USAGE names the text, the place and what was expected; HYSGD_INPUT for traces. Safe to fini when it fails.
 */
HYSGD_MUST_CHECK enum hysgd_status timing_init(struct timing *timing, const struct timing_texts *texts, int workers,
                                               uint64_t seed);
void timing_fini(struct timing *timing);

/* Whether a worker is still to be lost, or to join, in a run that begins, or goes on, at `seconds`: what has
 * happened before and what came after it are over. */
bool timing_will_lose(const struct timing *timing, int worker, double seconds);
bool timing_will_join(const struct timing *timing, int worker, double seconds);

/* Seconds, not negative, of the worker's gradient number `draw`. */
double timing_compute(const struct timing *timing, int worker, uint64_t draw);
double timing_delay(const struct timing *timing, int worker, uint64_t draw);
/* Seconds of the next gradient received and of the next update applied; they advance the server's streams. */
double timing_receive(struct timing *timing);
double timing_apply(struct timing *timing);

#endif
