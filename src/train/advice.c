/* SPDX-License-Identifier: Apache-2.0 */
/* Ranking, intervals and probabilities: see advice.h. */
#include "train/advice.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

/* Of the replicates, between the two ends of an interval. */
#define CONFIDENCE 0.9

void advice_fini(struct advice *advice) {
    for (size_t i = 0; i < advice->count; i++) {
        memory_free(advice->policies[i].name);
        memory_free(advice->policies[i].fault);
        memory_free(advice->policies[i].samples);
    }
    memory_free(advice->policies);
    memory_free(advice->target);
    memory_free(advice->source);
    memory_free(advice->recorded);
    memory_free(advice->scratch);
    *advice = (struct advice){0};
}

/* What the best has the most of; 0 for a policy that does not reach the target. */
static double merit(const struct advice *advice, size_t policy, size_t sample) {
    const double *values = advice->policies[policy].samples[sample].values;
    if (!advice->has_gradients)
        return values[ADVICE_USEFUL];
    return values[ADVICE_TARGET] > 0 ? 1 / values[ADVICE_TARGET] : 0;
}

static int compare_reals(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Between the nearest two of the sorted values. */
static double quantile(const double *values, size_t count, double share) {
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;
    double above = below + 1 < count ? values[below + 1] : values[below];
    double part = place - (double)below;
    return part > 0 && isfinite(above) ? values[below] + part * (above - values[below]) : values[below];
}

/* What does not exist is beyond all that does. */
static double or_infinite(double value) {
    return isnan(value) ? (double)INFINITY : value;
}

/* Of one value for each sample. Without gradients the value is that over the times as measured; with them, where
 * chance has its part in every sample, it is the median. Sorts. */
static struct advice_estimate estimate(const struct advice *advice, double *samples) {
    struct advice_estimate estimate = {samples[0], (double)NAN, (double)NAN};
    double *replicates = samples + 1;
    if (advice->replicates > 1) {
        qsort(replicates, advice->replicates, sizeof *replicates, compare_reals);
        estimate.low = quantile(replicates, advice->replicates, (1 - CONFIDENCE) / 2);
        estimate.high = quantile(replicates, advice->replicates, (1 + CONFIDENCE) / 2);
    }
    if (advice->has_gradients) {
        qsort(samples, 1 + advice->replicates, sizeof *samples, compare_reals);
        estimate.value = quantile(samples, 1 + advice->replicates, 0.5);
    }
    return estimate;
}

struct advice_estimate advice_estimate(const struct advice *advice, size_t policy, enum advice_quantity quantity) {
    const struct advice_sample *samples = advice->policies[policy].samples;
    double *values = advice->scratch;
    for (size_t i = 0; i <= advice->replicates; i++)
        values[i] = or_infinite(samples[i].values[quantity]);
    return estimate(advice, values);
}

struct advice_estimate advice_margin(const struct advice *advice, size_t first, size_t second) {
    double *values = advice->scratch;
    for (size_t i = 0; i <= advice->replicates; i++)
        values[i] = or_infinite(merit(advice, first, i) / merit(advice, second, i) - 1);
    return estimate(advice, values);
}

double advice_merit(const struct advice *advice, size_t policy) {
    double *values = advice->scratch;
    for (size_t i = 0; i <= advice->replicates; i++)
        values[i] = merit(advice, policy, i);
    return estimate(advice, values).value;
}

size_t advice_rank(const struct advice *advice, size_t *order) {
    size_t count = 0;
    for (size_t i = 0; i < advice->count; i++) {
        if (advice->policies[i].fault != NULL)
            continue;
        size_t place = count++;
        for (; place > 0 && advice_merit(advice, order[place - 1]) < advice_merit(advice, i); place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    return count;
}

/* The best over one sample; advice->count when none took part or none has merit. */
static size_t best_of(const struct advice *advice, size_t sample) {
    size_t best = advice->count;
    for (size_t i = 0; i < advice->count; i++) {
        if (advice->policies[i].fault != NULL || !(merit(advice, i, sample) > 0))
            continue;
        if (best == advice->count || merit(advice, i, sample) > merit(advice, best, sample))
            best = i;
    }
    return best;
}

double advice_best_share(const struct advice *advice, size_t policy) {
    size_t best = 0;
    for (size_t i = 0; i < advice->replicates; i++)
        best += best_of(advice, i + 1) == policy;
    return advice->replicates > 0 ? (double)best / (double)advice->replicates : (double)NAN;
}

size_t advice_most(const struct advice *advice, enum advice_quantity quantity) {
    size_t most = advice->count;
    double value = 0;
    for (size_t i = 0; i < advice->count; i++) {
        double other = advice->policies[i].fault == NULL ? advice->policies[i].samples[0].values[quantity] : -1;
        if (other < 0 || (most < advice->count && other <= value))
            continue;
        most = i;
        value = other;
    }
    return most;
}
