/* SPDX-License-Identifier: Apache-2.0 */
/* The hybrid approach to parallel SGD ("Smooth Switch", arXiv 2407.00101): gradients are held until K of them make
 * an update, and K moves during the run between asynchronous (1) and synchronous (the number of workers). The
 * paper's function is the default, with g gradients received:
 *     K(g) = min(workers, 1 + floor(g / step))
 * In general, with u = c / step, where c is the progress in `counter`, K has moved from its first value by
 *     shape=step         increment * floor(u)
 *     shape=linear       floor(increment * u)
 *     shape=exponential  floor(start * ((1 + increment)^u - 1)) upwards: every step multiplies K by 1 + increment,
 *                        floor(cap * (1 - (1 + increment)^-u)) downwards: every step divides it by that
 *     shape=cosine       floor((cap - start) * (1 - cos(pi * min(u, 1))) / 2): half a wave, over after one step
 * direction=up goes from start to cap, direction=down from cap to start; K never leaves [start, cap].
 * The paper leaves open whether a worker waits while its gradient is held. wait=no: it goes on, and may have
 * several gradients in one update. wait=yes: it waits for the update; start = cap = workers is then `sync`. With
 * start = cap = 1 the policy is `async` either way. */
#include "base/status.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

enum threshold_counter { COUNT_GRADIENTS, COUNT_UPDATES, COUNT_SECONDS, COUNT_FRACTION };
enum threshold_shape { SHAPE_STEP, SHAPE_LINEAR, SHAPE_EXPONENTIAL, SHAPE_COSINE };
enum threshold_direction { DIRECTION_UP, DIRECTION_DOWN };

struct threshold {
    int64_t start, increment; /* gradients */
    int64_t cap;              /* gradients; 0: as many as there are workers */
    double step;              /* in `counter` */
    int counter;              /* enum threshold_counter */
    int shape;                /* enum threshold_shape */
    int direction;            /* enum threshold_direction */
    bool wait;
};

static const struct hysgd_option options[] = {
    {"start", HYSGD_OPTION_INT, offsetof(struct threshold, start), "1", 1, 1e9, NULL,
     "the smallest K, in gradients per update"},
    {"step", HYSGD_OPTION_REAL, offsetof(struct threshold, step), "300", 1e-9, 1e15, NULL,
     "how much of `counter` each increment takes; shape=cosine: the whole way takes"},
    {"increment", HYSGD_OPTION_INT, offsetof(struct threshold, increment), "1", 0, 1e9, NULL,
     "change of K per step; shape=exponential: each step multiplies (or divides) K by 1 + increment; cosine: "
     "unused"},
    {"cap", HYSGD_OPTION_INT, offsetof(struct threshold, cap), "0", 0, 1e9, NULL,
     "the largest K, in gradients per update; 0 is the number of workers"},
    {"counter", HYSGD_OPTION_CHOICE, offsetof(struct threshold, counter), "gradients", 0, 0,
     "gradients|updates|seconds|fraction",
     "what `step` counts: gradients received, updates, seconds of the run's clock, or the fraction of the run "
     "(0 to 1)"},
    {"shape", HYSGD_OPTION_CHOICE, offsetof(struct threshold, shape), "step", 0, 0,
     "step|linear|exponential|cosine",
     "how K moves: in jumps at each step, evenly, by a factor, or along a half-wave from one end to the other"},
    {"direction", HYSGD_OPTION_CHOICE, offsetof(struct threshold, direction), "up", 0, 0, "up|down",
     "up: from start to cap (asynchronous first); down: from cap to start (synchronous first)"},
    {"wait", HYSGD_OPTION_BOOL, offsetof(struct threshold, wait), "no", 0, 0, NULL,
     "whether a worker waits while its gradient is held"},
    {.key = NULL},
};

static enum hysgd_status threshold_init(void *self, int workers) {
    const struct threshold *state = self;
    int64_t cap = state->cap != 0 ? state->cap : workers;
    if (state->wait && cap > workers)
        return hysgd_fail(HYSGD_USAGE,
                          "policy threshold: cap=%" PRId64
                          " is never reached by %d workers that wait for the update; "
                          "expected cap=0 to cap=%d, or wait=no",
                          cap, workers, workers);
    if (state->start > cap)
        return hysgd_fail(HYSGD_USAGE,
                          "policy threshold: start=%" PRId64 " is above the cap of %" PRId64
                          "%s; expected 1 to %" PRId64,
                          state->start, cap, state->cap != 0 ? "" : " (cap=0: the number of workers)", cap);
    if (state->counter == COUNT_FRACTION && state->step > 1)
        return hysgd_fail(
            HYSGD_USAGE,
            "policy threshold: step=%g is more than the whole run; with counter=fraction expected above 0 "
            "and at most 1",
            state->step);
    return HYSGD_OK;
}

static double counted(const struct threshold *state, const struct hysgd_progress *now) {
    switch (state->counter) {
    case COUNT_UPDATES:
        return (double)now->version;
    case COUNT_SECONDS:
        return now->seconds;
    case COUNT_FRACTION:
        return now->fraction;
    default:
        return (double)now->received;
    }
}

/* How far K has moved from where it began; `distance` is how far it can. */
static double moved(const struct threshold *state, double first, double distance, double steps) {
    double increment = (double)state->increment;
    switch (state->shape) {
    case SHAPE_LINEAR:
        return increment * steps;
    case SHAPE_EXPONENTIAL:
        return state->direction == DIRECTION_UP ? first * (pow(1 + increment, steps) - 1)
                                                : first * (1 - pow(1 + increment, -steps));
    case SHAPE_COSINE:
        return steps < 1 ? distance * (1 - cos(acos(-1) * steps)) / 2 : distance;
    default:
        return increment * floor(steps);
    }
}

static uint64_t threshold_threshold(void *self, const struct hysgd_progress *now) {
    const struct threshold *state = self;
    int64_t workers = now->workers > 1 ? now->workers : 1;
    int64_t cap = state->cap != 0 ? state->cap : workers;
    if (state->wait && cap > workers) /* some were lost, and nobody delivers twice */
        cap = workers;
    int64_t start = state->start < cap ? state->start : cap;
    int64_t first = state->direction == DIRECTION_UP ? start : cap;
    double distance = (double)(cap - start);
    /* A whole number of steps stays whole: 0.3 / 0.1 is a rounding error below 3. */
    double steps = counted(state, now) / state->step * (1 + 4 * DBL_EPSILON);
    double by = floor(fmin(moved(state, (double)first, distance, steps), distance));
    return (uint64_t)(state->direction == DIRECTION_UP ? first + (int64_t)by : first - (int64_t)by);
}

static enum hysgd_release threshold_release(void *self, const struct hysgd_progress *now, int worker,
                                            bool is_held) {
    const struct threshold *state = self;
    (void)now, (void)worker;
    return state->wait && is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

/* Where K is the number of workers from beginning to end and each delivers once, an update needs everyone's
 * gradient of this version. Everywhere else the others can update without a slow worker again and again. */
static uint64_t threshold_staleness_bound(const void *self, int workers) {
    const struct threshold *state = self;
    return workers <= 1 || (state->wait && state->start >= workers) ? 0 : UINT64_MAX;
}

const struct hysgd_policy_ops policy_threshold = {
    .about =
        {
            .name = "threshold",
            .alias = "smooth-switch",
            .summary =
                "hybrid: an update takes K gradients, and K moves from asynchronous to synchronous during the run",
            .source = "Hybrid approach to parallel SGD, arXiv 2407.00101",
            .size = sizeof(struct threshold),
            .options = options,
        },
    .init = threshold_init,
    .threshold = threshold_threshold,
    .release = threshold_release,
    .staleness_bound = threshold_staleness_bound,
};
