/* SPDX-License-Identifier: Apache-2.0 */
/* Counts values by bucket: see histogram.h. */
#include "record/histogram.h"

#include <math.h>

#define GROWTH     1.1
#define LEAST      1e-6 /* seconds: bound of the first bucket */
#define SINGLE     64   /* counts with a bucket of their own */
#define LAST_INDEX (HISTOGRAM_BUCKETS - 1)

double histogram_bound(enum histogram_scale scale, size_t bucket) {
    if (bucket >= LAST_INDEX)
        return (double)INFINITY;
    if (scale == HISTOGRAM_SECONDS)
        return LEAST * pow(GROWTH, (double)bucket);
    return bucket < SINGLE ? (double)bucket + 0.5 : (SINGLE - 0.5) * pow(GROWTH, (double)(bucket - SINGLE + 1));
}

/* By bisection, so that it agrees with the bounds to the last bit. */
static size_t find_bucket(enum histogram_scale scale, double value) {
    size_t first = 0, end = LAST_INDEX;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (value < histogram_bound(scale, middle))
            end = middle;
        else
            first = middle + 1;
    }
    return first;
}

void histogram_add(struct histogram *histogram, enum histogram_scale scale, double value) {
    if (!isfinite(value))
        return;
    size_t bucket =
        scale == HISTOGRAM_COUNTS && value < SINGLE ? (size_t)fmax(value + 0.5, 0) : find_bucket(scale, value);
    histogram->least = histogram->count > 0 ? fmin(histogram->least, value) : value;
    histogram->most = histogram->count > 0 ? fmax(histogram->most, value) : value;
    histogram->count++;
    histogram->sum += value;
    histogram->squares += value * value;
    histogram->buckets[bucket]++;
}

void histogram_range(const struct histogram *histogram, size_t *first_out, size_t *end_out) {
    size_t first = 0, end = HISTOGRAM_BUCKETS;
    while (first < end && histogram->buckets[first] == 0)
        first++;
    while (end > first && histogram->buckets[end - 1] == 0)
        end--;
    *first_out = first;
    *end_out = end;
}
