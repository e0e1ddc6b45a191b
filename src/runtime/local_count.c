/* SPDX-License-Identifier: Apache-2.0 */
/* How many local steps a worker takes before it delivers: the choices of `local`. */
#include <math.h>
#include <stddef.h>

#include "runtime/local.h"

#define STEPS_ROW(type, what)                                                                                      \
    { "steps", HYSGD_OPTION_INT, offsetof(type, common.steps), "8", 1, 1000000, NULL, what }
#define STATE_ROW(type)                                                                                            \
    {                                                                                                              \
        "state", HYSGD_OPTION_CHOICE, offsetof(type, common.state), "keep", 0, 0, "keep|reset",                    \
            "whether the workers' optimizers keep their state (velocity, means) from round to round or begin anew" \
    }

/* ---- fixed ---- */

struct fixed {
    struct local_common common;
};

static const struct hysgd_option fixed_options[] = {
    STEPS_ROW(struct fixed, "H, the steps of a round"),
    STATE_ROW(struct fixed),
    {.key = NULL},
};

static uint64_t fixed_count(const void *self, const struct local_now *now, int worker) {
    const struct fixed *state = self;
    (void)now, (void)worker;
    return (uint64_t)state->common.steps;
}

/* ---- post-local ---- */

enum post_unit { UNIT_OF_RUN, UNIT_OF_SECONDS, UNIT_OF_UPDATES };

struct post {
    struct local_common common;
    double at; /* in `unit` */
    int unit;  /* enum post_unit */
};

static const struct hysgd_option post_options[] = {
    STEPS_ROW(struct post, "H, the steps of a round once the warm-up is over"),
    STATE_ROW(struct post),
    {"at", HYSGD_OPTION_REAL, offsetof(struct post, at), "0.5", 0, 1e15, NULL, "the end of the warm-up, in `unit`"},
    {"unit", HYSGD_OPTION_CHOICE, offsetof(struct post, unit), "fraction", 0, 0, "fraction|seconds|updates",
     "what `at` counts: the fraction of the run (0 to 1), seconds of the run's clock, or updates"},
    {.key = NULL},
};

static enum hysgd_status post_init(const void *self) {
    const struct post *state = self;
    if (state->unit == UNIT_OF_RUN && state->at > 1)
        return hysgd_fail(
            HYSGD_USAGE,
            "local post-local: at=%g is not a fraction of the run; expected 0 to 1, or unit=seconds or "
            "unit=updates",
            state->at);
    return HYSGD_OK;
}

static uint64_t post_count(const void *self, const struct local_now *now, int worker) {
    const struct post *state = self;
    (void)worker;
    double progress = state->unit == UNIT_OF_RUN       ? now->fraction
                      : state->unit == UNIT_OF_SECONDS ? now->seconds
                                                       : (double)now->updates;
    return progress >= state->at ? (uint64_t)state->common.steps : 1;
}

/* ---- proportional ---- */

/* With s the seconds of a batch and t those of a delivery, both measured and smoothed for each worker, the round of
 * the quickest takes T = min over j of (H s(j) + t(j)), and worker i takes as many steps as fit into that time:
 *     H(i) = (T - t(i)) / s(i), rounded, from 1 to H
 * so that all deliver at about the same pace. A worker that has not yet delivered takes one step. */
struct proportional {
    struct local_common common;
};

static const struct hysgd_option proportional_options[] = {
    STEPS_ROW(struct proportional,
              "H, the steps of the quickest worker's rounds; the others take what fits into its time"),
    STATE_ROW(struct proportional),
    {.key = NULL},
};

static uint64_t proportional_count(const void *self, const struct local_now *now, int worker) {
    const struct proportional *state = self;
    const struct local_pace *own = &now->paces[worker];
    double most = (double)state->common.steps, round = INFINITY;
    if (own->compute_seconds <= 0)
        return 1;
    for (int i = 0; i < now->workers; i++)
        if (now->paces[i].compute_seconds > 0)
            round = fmin(round, most * now->paces[i].compute_seconds + now->paces[i].transit_seconds);
    return (uint64_t)fmin(fmax(floor((round - own->transit_seconds) / own->compute_seconds + 0.5), 1), most);
}

/* ---- The list ---- */

static const struct local_ops local_off = {
    .about = {.name = "off", .summary = "a worker delivers the gradient of every batch"},
};

static const struct local_ops local_fixed = {
    .about = {.name = "fixed",
              .alias = "local-sgd, diloco",
              .summary = "a worker takes H steps of its own and delivers the difference",
              .source =
                  "Stich, Local SGD Converges Fast and Communicates Little, ICLR 2019; with local-optimizer=adamw "
                  "and optimizer=nesterov: Douillard et al., DiLoCo, arXiv 2311.08105",
              .size = sizeof(struct fixed),
              .options = fixed_options},
    .count = fixed_count,
};

static const struct local_ops local_post = {
    .about = {.name = "post-local",
              .summary = "one step each during a warm-up, H after it",
              .source = "Lin et al., Don't Use Large Mini-Batches, Use Local SGD, ICLR 2020",
              .size = sizeof(struct post),
              .options = post_options},
    .init = post_init,
    .count = post_count,
};

static const struct local_ops local_proportional = {
    .about = {.name = "proportional",
              .summary = "the quickest worker takes H steps, the others as many as fit into the same time",
              .size = sizeof(struct proportional),
              .options = proportional_options},
    .count = proportional_count,
};

static const struct hysgd_plugin *const entries[] = {&local_off.about, &local_fixed.about, &local_post.about,
                                                     &local_proportional.about};

const struct plugin_list local_list = {"local", entries, sizeof entries / sizeof *entries};
