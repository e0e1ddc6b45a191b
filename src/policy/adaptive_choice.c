/* SPDX-License-Identifier: Apache-2.0 */
/* The choices of policy/adaptive.c: see adaptive_choice.h. */
#include "policy/adaptive_choice.h"

#include <math.h>

double adaptive_ratio(const struct hysgd_estimates *estimates) {
    double noise = estimates->noise > 0 ? estimates->noise : 0;
    bool is_known = !isnan(estimates->noise) && estimates->signal > 0;
    return is_known ? fmin(noise / estimates->signal, ADAPTIVE_MOST_RATIO) : ADAPTIVE_MOST_RATIO;
}

double adaptive_agreement(const struct hysgd_estimates *estimates) {
    double most = fmax(estimates->signal, fabs(estimates->agreement));
    bool is_known = !isnan(estimates->signal) && !isnan(estimates->agreement) && most > 0;
    return is_known ? estimates->agreement / most : 0;
}

/* 0 where a time is not known. */
static double known(double seconds) {
    return seconds > 0 ? seconds : 0;
}

/* N workers that compute for c seconds and then wait for their turn at a server that takes S for each: a closed
 * network of a delay and a queue. A gradient that arrives finds what the N - 1 others have there on average
 * (Schweitzer's approximation of mean value analysis), and the time at the server R = S (1 + (N - 1) / N X R) with
 * X = N / (c + R) is the root of a quadratic. */
double adaptive_throughput(const struct hysgd_estimates *estimates, int workers, uint64_t threshold) {
    double n = workers, rate = estimates->arrivals_per_second > 0 ? estimates->arrivals_per_second : 1;
    double service = known(estimates->receive_seconds) + known(estimates->apply_seconds) / (double)threshold;
    double compute = n / rate, half = (compute - n * service) / 2;
    double response = sqrt(half * half + service * compute) - half;
    return n / (compute + response);
}

double adaptive_progress(const struct hysgd_estimates *estimates, int workers, uint64_t threshold) {
    double unseen = (double)workers + ((double)threshold - 1) / 2;
    return adaptive_throughput(estimates, workers, threshold) / (1 + adaptive_ratio(estimates) + unseen);
}

/* By halves: P(K + 1) > P(K) holds up to the best K and never after it. */
uint64_t adaptive_best_threshold(const struct hysgd_estimates *estimates, int workers) {
    uint64_t first = 1, last = (uint64_t)workers;
    while (first < last) {
        uint64_t middle = first + (last - first) / 2;
        if (adaptive_progress(estimates, workers, middle + 1) > adaptive_progress(estimates, workers, middle))
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}
