/* SPDX-License-Identifier: Apache-2.0 */
/* A policy that sets itself, from a learning rate that is right for one worker. What it knows (struct
 * hysgd_estimates): the noise S2 and the signal M2 of a gradient, the agreement A between gradients and those that
 * have seen the steps that they led to, the workers' rate and the server's times. What it sets, whenever a block of
 * gradients (about one of each of the N workers) has brought the estimates up to date:
 *
 * The step s of a gradient, in parts of the rate. An update of k gradients takes their mean with the gain k s, so
 * that s does not depend on K. With n gradients received,
 *     d ln s / d ln n = x / 2 for x > 0, -x^2 / 2 for x < 0,    x = A / max(M2, |A|),    s = min(1, 16 / N) at
 * first. For a gradient g, the step s that it makes, and a gradient h after it, E<g, h> is -d/ds of the loss: x > 0
 * says that steps are shorter than what pays at once, and x < 0 that they are longer, be it for the noise or
 * because too many gradients are under way. As long as no step shows, x = 1 and s grows as sqrt(n); where noise
 * takes away what the signal brings, x = -1 and s falls as 1 / sqrt(n), the classical schedule of stochastic
 * approximation. In between the square holds s back from falling: at x = -1/2 a step still brings three quarters of
 * the most, and shorter ones would be paid for later, in directions of little curvature (Wu et al., "Understanding
 * Short-Horizon Bias", ICLR 2018). n is the only time scale. The beginning is linear scaling, with which N workers
 * take N steps at once; 16 of them are taken to be safe without looking, and are a fraction of what Goyal et al.
 * (2017) found to be.
 *
 * The threshold K = argmax P(K), K = 1 .. N, with the throughput X(K) of N workers that queue for the server:
 *     P(K) = X(K) / (1 + q + N + (K - 1) / 2),    q = S2 / M2.
 * The step that a gradient can make is inverse to what spoils it: its own noise (1 + q, as the gain of AdaScale:
 * Johnson et al., "AdaScale SGD", ICML 2020, where the gain of K gradients is r(K) = K (1 + q) / (K + q)), and
 * gradients that it has not seen: N under way and, on average, (K - 1) / 2 held. A fast server makes K = 1; a slow
 * one raises it to what relieves the server, and more so when noise grows, since then it matters less what a
 * gradient has not seen.
 *
 * The cut-off: gradients of a staleness above R are dropped, R = 2 N + q, counted in gradients. In Ringmaster
 * (Maranjyan et al., ICML 2025) R = sigma^2 / epsilon, with epsilon the signal at the end: there, q. 2 N more never
 * cuts off workers of about the same speed, whose staleness is N.
 *
 * All workers go on at once: whatever has arrived is in the next update, so nothing is gained by waiting. */
#include <math.h>

#include "policy/adaptive_choice.h"

struct adaptive {
    int64_t threshold; /* K */
    double step;       /* s */
    double cutoff;     /* R, in gradients; 0: none yet */
    double blocks;     /* of the estimates, when s and R were set */
    double moved;      /* gradients received then */
    double chosen;     /* gradients received when K was set */
};

static const struct hysgd_option saved[] = {
    {"threshold", HYSGD_OPTION_INT, offsetof(struct adaptive, threshold), "1", 1, 1e9, NULL, "K, in gradients"},
    {"step", HYSGD_OPTION_REAL, offsetof(struct adaptive, step), "1", 0, 1e9, NULL, "s"},
    {"cutoff", HYSGD_OPTION_REAL, offsetof(struct adaptive, cutoff), "0", 0, 1e15, NULL, "R, in gradients"},
    {"blocks", HYSGD_OPTION_REAL, offsetof(struct adaptive, blocks), "0", 0, 1e15, NULL, "blocks"},
    {"moved", HYSGD_OPTION_REAL, offsetof(struct adaptive, moved), "0", 0, 1e15, NULL, "gradients"},
    {"chosen", HYSGD_OPTION_REAL, offsetof(struct adaptive, chosen), "0", 0, 1e15, NULL, "gradients"},
    {.key = NULL},
};

/* See above: steps under way at first, and the part of R that noise does not add. */
#define FIRST_STEPS 16
#define CROWD       2

/* Where the rate given is far from what one worker needs, s follows as far as this; finite whatever happens. */
#define MOST_STEP  1e6
#define LEAST_STEP 1e-6

static enum hysgd_status adaptive_init(void *self, int workers) {
    struct adaptive *state = self;
    state->threshold = 1;
    state->step = fmin(1, FIRST_STEPS / (double)workers);
    return HYSGD_OK;
}

/* In versions; a gradient of the present version always counts. */
static uint64_t adaptive_cutoff(const void *self) {
    const struct adaptive *state = self;
    return state->cutoff > 0 ? 1 + (uint64_t)ceil(state->cutoff / (double)state->threshold) : UINT64_MAX;
}

static double adaptive_admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)now, (void)worker;
    return staleness < adaptive_cutoff(self) ? 1 : 0;
}

static uint64_t adaptive_threshold(void *self, const struct hysgd_progress *now) {
    const struct adaptive *state = self;
    (void)now;
    return (uint64_t)state->threshold;
}

static enum hysgd_release adaptive_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

static double adaptive_gain(void *self, const struct hysgd_progress *now) {
    const struct adaptive *state = self;
    return state->step * (double)now->held;
}

static void move_step(struct adaptive *state, double received, double x) {
    if (state->moved > 0)
        state->step *= pow(received / state->moved, (x > 0 ? x : -x * x) / 2);
    state->step = fmin(fmax(state->step, LEAST_STEP), MOST_STEP);
    state->moved = received;
}

static void follow_gradients(struct adaptive *state, const struct hysgd_progress *now) {
    const struct hysgd_estimates *estimates = now->estimates;
    if (!isnan(estimates->agreement))
        move_step(state, (double)now->received, adaptive_agreement(estimates));
    state->blocks = estimates->blocks;
    state->cutoff = CROWD * (double)now->workers + adaptive_ratio(estimates);
}

/* K is set anew after each round of the workers; in the first one, in which the server's times show, at the 1st,
 * 2nd, 4th, ... gradient. */
static void adaptive_updated(void *self, const struct hysgd_progress *now) {
    struct adaptive *state = self;
    double received = (double)now->received, workers = now->workers > 1 ? now->workers : 1;
    if (now->estimates->blocks > state->blocks)
        follow_gradients(state, now);
    if (received >= fmin(2 * state->chosen, state->chosen + workers)) {
        state->threshold = (int64_t)adaptive_best_threshold(now->estimates, (int)workers);
        state->chosen = received;
    }
}

const struct hysgd_policy_ops policy_adaptive = {
    .about =
        {
            .name = "adaptive",
            .summary =
                "sets itself: K, cut-off and rate by the gradients' noise, the workers' speed, the server's times",
            .source = "own; with the gain of AdaScale, ICML 2020, and the cut-off of Ringmaster ASGD, ICML 2025",
            .size = sizeof(struct adaptive),
        },
    .saved = saved,
    .init = adaptive_init,
    .admit = adaptive_admit,
    .threshold = adaptive_threshold,
    .release = adaptive_release,
    .updated = adaptive_updated,
    .gain = adaptive_gain,
    .cutoff = adaptive_cutoff,
    .wants_estimates = true,
};
