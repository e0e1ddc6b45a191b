/* SPDX-License-Identifier: Apache-2.0 */
/* DANA: a momentum for each worker, and workers that compute where the momenta of all will have carried the
 * parameters when they deliver. I. Hakimi et al., "Taming Momentum in a Distributed Asynchronous Environment",
 * arXiv 1907.11612, algorithm 4; g the gradient of worker i. v(i) = mu v(i) + g,  w = w - rate v(i),  worker i is
 * given w - rate mu (v(1) + ... + v(n)) Where an update combines several gradients their velocities are combined in
 * their place, and `rate` of the look ahead is the rate of the latest update divided by what it was divided by. */
#include "correction/correction.h"
#include "linalg/vector.h"

struct dana {
    double momentum; /* mu */
};

static const struct hysgd_option options[] = {
    {"momentum", HYSGD_OPTION_REAL, offsetof(struct dana, momentum), "0.9", 0, 1, NULL,
     "share of a worker's velocity that is kept from gradient to gradient"},
    {.key = NULL},
};

VECTOR_CODE static void velocity_kernel(const float *restrict gradient, float *restrict velocity,
                                        float *restrict total, float *restrict corrected, size_t count, float mu) {
    for (size_t i = 0; i < count; i++) {
        float before = velocity[i];
        float v = mu * before + gradient[i];
        total[i] += v - before;
        velocity[i] = v;
        corrected[i] = v;
    }
}

VECTOR_CODE static void ahead_kernel(const float *restrict parameters, const float *restrict total,
                                     float *restrict given, size_t count, float distance) {
    for (size_t i = 0; i < count; i++)
        given[i] = parameters[i] - distance * total[i];
}

static void dana_correct(const void *self, const struct correction_slice *slice, const float *gradient,
                         float *corrected, size_t count) {
    const struct dana *dana = self;
    velocity_kernel(gradient, slice->own, slice->total, corrected, count, (float)dana->momentum);
}

static void dana_look_ahead(const void *self, double rate, const float *parameters, const float *total,
                            float *given, size_t count) {
    const struct dana *dana = self;
    ahead_kernel(parameters, total, given, count, (float)(rate * dana->momentum));
}

const struct correction_ops correction_dana = {
    .about =
        {
            .name = "dana",
            .summary = "a momentum for each worker, which computes where all momenta lead to",
            .source = "Hakimi et al., Taming momentum in a distributed asynchronous environment, arXiv 1907.11612",
            .size = sizeof(struct dana),
            .options = options,
        },
    .optimizer = "sgd",
    .worker_state = "velocity",
    .correct = dana_correct,
    .look_ahead = dana_look_ahead,
};
