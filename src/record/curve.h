/* SPDX-License-Identifier: Apache-2.0 */
/* Values over time in a bounded size, whatever the number of values and the length of time: means in buckets,
 * steps, and thinned points. */
#ifndef HYSGD_RECORD_CURVE_H
#define HYSGD_RECORD_CURVE_H

#include <stddef.h>
#include <stdint.h>

#define CURVE_BUCKETS 1024
#define STEPS_MOST    2048
#define POINTS_MOST   4096

/* What fell into one span of time. */
struct bucket {
    uint64_t count;
    double seconds_sum, sum, least, most; /* meaningless where count is 0 */
};

/* Bucket i covers [i, i + 1) times `width` after `origin`; the width doubles when time goes on. Zeroed: empty,
 * origin 0. */
struct curve {
    double origin, width; /* seconds; width 0: all values so far were at the origin */
    struct bucket buckets[CURVE_BUCKETS];
};

/* Adds a value. Earlier than the origin counts as at the origin; what is not finite is left out. */
void curve_add(struct curve *curve, double seconds, double value);

struct step {
    double seconds, value; /* the value holds from then on */
};

/* A value that changes by steps, with the least time between two of them growing as needed. Zeroed: empty. */
struct steps {
    double gap; /* seconds */
    size_t count;
    struct step steps[STEPS_MOST];
};

/* Says what the value is at a time, which does not decrease from call to call. */
void steps_add(struct steps *steps, double seconds, double value);

struct point {
    double seconds, loss, accuracy, epochs; /* of an evaluation; NaN where there is none */
    uint64_t received, updates;
};

/* Every stride-th of the points seen, and the last one. Zeroed: empty. */
struct points {
    uint64_t seen, stride; /* stride 0 is 1 */
    size_t count;
    struct point points[POINTS_MOST];
    struct point last; /* where seen > 0; may be the last of `points` too */
};

void points_add(struct points *points, const struct point *point);

#endif
