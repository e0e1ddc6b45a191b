/* SPDX-License-Identifier: Apache-2.0 */
/* How often values fell into buckets of fixed bounds: for counts, or for seconds. */
#ifndef HYSGD_RECORD_HISTOGRAM_H
#define HYSGD_RECORD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 288

enum histogram_scale {
    HISTOGRAM_COUNTS, /* a bucket for each number up to 63, then as for seconds */
    HISTOGRAM_SECONDS /* from a microsecond on each bucket is a tenth wider than the one before */
};

/* Zeroed: empty. */
struct histogram {
    uint64_t count;
    double least, most, sum, squares; /* meaningless where count is 0 */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Adds a value of at least 0; what is not finite is left out. */
void histogram_add(struct histogram *histogram, enum histogram_scale scale, double value);

/* The upper bound of a bucket; a value equal to it belongs to the next one. INFINITY for the last. */
double histogram_bound(enum histogram_scale scale, size_t bucket);

/* The first bucket that is not empty, and one after the last; equal where all are. */
void histogram_range(const struct histogram *histogram, size_t *first_out, size_t *end_out);

#endif
