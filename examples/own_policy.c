/* SPDX-License-Identifier: Apache-2.0 */
/* A synchronization policy of one's own, with the public header only: "majority" applies an update as soon as more
 * than half of the workers have delivered, and drops what comes too late for it. Checks that it did so on unequal
 * workers. */
#include <stdio.h>

#include "hysgd.h"

struct majority {
    double share; /* of the workers that an update needs more than */
};

static const struct hysgd_option options[] = {
    {"share", HYSGD_OPTION_REAL, offsetof(struct majority, share), "0.5", 0, 0.99, NULL,
     "an update takes gradients of more than this share of the workers"},
    {0},
};

/* Only gradients of the present version count. */
static double admit(void *self, const struct hysgd_progress *now, int worker, uint64_t staleness) {
    (void)self, (void)now, (void)worker;
    return staleness == 0 ? 1 : 0;
}

static uint64_t threshold(void *self, const struct hysgd_progress *now) {
    const struct majority *majority = self;
    return (uint64_t)(majority->share * now->workers) + 1;
}

/* Who has delivered in time waits for the update; who was too late starts again at once. */
static enum hysgd_release release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static uint64_t staleness_bound(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

static const struct hysgd_policy_ops majority = {
    .about = {.name = "majority",
              .summary = "an update takes the gradients of a majority; later ones are dropped",
              .size = sizeof(struct majority),
              .options = options},
    .admit = admit,
    .threshold = threshold,
    .release = release,
    .staleness_bound = staleness_bound,
};

/* Four fast workers and one that takes four times as long, in modelled time. */
static const char *const settings[][2] = {
    {"data", "digits,train=2000,test=500"},
    {"model", "softmax"},
    {"optimizer", "sgd,rate=0.05"},
    {"runtime", "virtual"},
    {"workers", "5"},
    {"speeds", "4x1,0.25"},
    {"epochs", "3"},
};

static enum hysgd_status run(struct hysgd_job *job, struct hysgd_result *result) {
    enum hysgd_status status = hysgd_job_use_policy(job, &majority, NULL, "share=0.6");
    for (size_t i = 0; status == HYSGD_OK && i < sizeof settings / sizeof settings[0]; i++)
        status = hysgd_job_set(job, settings[i][0], settings[i][1]);
    return status == HYSGD_OK ? hysgd_job_run(job, result) : status;
}

int main(void) {
    struct hysgd_job *job;
    struct hysgd_result result;
    enum hysgd_status status = hysgd_job_alloc(&job);
    if (status == HYSGD_OK) {
        status = run(job, &result);
        hysgd_job_free(job);
    }
    if (status != HYSGD_OK) {
        fprintf(stderr, "own_policy: %s\n", hysgd_error_message());
        return hysgd_status_exit_code(status);
    }
    printf("%llu updates of 4 gradients each, %llu gradients dropped, most staleness %llu, accuracy %.1f %%\n",
           (unsigned long long)result.updates, (unsigned long long)result.dropped,
           (unsigned long long)result.most_staleness, 100 * result.test_accuracy);
    bool is_right = result.applied == 4 * result.updates && result.dropped > 0 && result.most_staleness == 0 &&
                    result.test_accuracy > 0.7;
    return is_right ? 0 : 1;
}
