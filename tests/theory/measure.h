/* SPDX-License-Identifier: Apache-2.0 */
/* The mean of a sequence that a run produces, and how far it may be from the mean that theory says.
 *
 * Successive values depend on each other, so the error comes from batch means: the sequence is cut into B = 64
 * batches; where a batch is much longer than the values remember, the means m_b of the batches are independent and
 * nearly normal, and the mean of all has the standard error
 *     e = sqrt(sum_b (m_b - m)^2 / (B (B - 1)))
 * which is that of an effective sample size of var / e^2. (m - expected) / e then follows Student's t with 63
 * degrees of freedom: beyond 5 with a probability of 5e-6. Seeds are fixed, so a test that passes always passes;
 * the probability is that of a correct program failing when a change gives it other random numbers. Each test
 * states besides how large e may be, which is what makes it sharp. */
#ifndef HYSGD_TESTS_THEORY_MEASURE_H
#define HYSGD_TESTS_THEORY_MEASURE_H

#include <math.h>

#include "runtime/fixture.h"

#define MEASURE_BATCHES 64
#define MEASURE_ERRORS  5

struct measure {
    uint64_t length; /* values in a batch */
    uint64_t count;  /* values so far; those beyond the last batch are not looked at */
    double sums[MEASURE_BATCHES];
};

static inline void measure_add(struct measure *measure, double value) {
    uint64_t batch = measure->count++ / measure->length;
    if (batch < MEASURE_BATCHES)
        measure->sums[batch] += value;
}

static inline double measure_mean(const struct measure *measure) {
    double sum = 0;
    for (int b = 0; b < MEASURE_BATCHES; b++)
        sum += measure->sums[b];
    return sum / MEASURE_BATCHES / (double)measure->length;
}

static inline double measure_error(const struct measure *measure) {
    double mean = measure_mean(measure), squares = 0;
    for (int b = 0; b < MEASURE_BATCHES; b++) {
        double deviation = measure->sums[b] / (double)measure->length - mean;
        squares += deviation * deviation;
    }
    return sqrt(squares / MEASURE_BATCHES / (MEASURE_BATCHES - 1));
}

/* The mean is `expected`, and known to `most_error` (standard error / expected). */
static inline void measure_expect(const struct measure *measure, double expected, double most_error,
                                  const char *what) {
    double mean = measure_mean(measure), error = measure_error(measure);
    if (measure->count < MEASURE_BATCHES * measure->length)
        fail_msg("%s: the run ended after %llu of %llu values", what, (unsigned long long)measure->count,
                 (unsigned long long)(MEASURE_BATCHES * measure->length));
    if (!(fabs(mean - expected) <= MEASURE_ERRORS * error))
        fail_msg("%s: is %g with a standard error of %g; theory says %g", what, mean, error, expected);
    if (!(error <= most_error * expected))
        fail_msg("%s: has a standard error of %g, more than %g of %g", what, error, most_error, expected);
}

#endif
