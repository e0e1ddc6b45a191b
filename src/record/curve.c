/* SPDX-License-Identifier: Apache-2.0 */
/* Curves of bounded size. All of them halve their resolution when they are full, so that a value costs constant
 * time on average. */
#include "record/curve.h"

#include <float.h>
#include <math.h>

/* ---- Means in buckets ---- */

static void merge_bucket(struct bucket *into, const struct bucket *from) {
    if (from->count == 0)
        return;
    if (into->count == 0) {
        *into = *from;
        return;
    }
    into->count += from->count;
    into->seconds_sum += from->seconds_sum;
    into->sum += from->sum;
    into->least = fmin(into->least, from->least);
    into->most = fmax(into->most, from->most);
}

static void double_width(struct curve *curve) {
    for (size_t i = 0; i < CURVE_BUCKETS; i++) {
        struct bucket merged = {0};
        if (2 * i + 1 < CURVE_BUCKETS) {
            merged = curve->buckets[2 * i];
            merge_bucket(&merged, &curve->buckets[2 * i + 1]);
        }
        curve->buckets[i] = merged;
    }
    curve->width *= 2;
}

void curve_add(struct curve *curve, double seconds, double value) {
    if (!isfinite(seconds) || !isfinite(value))
        return;
    double after = fmax(seconds - curve->origin, 0);
    if (curve->width <= 0 && after > 0)
        curve->width = fmax(after / (CURVE_BUCKETS / 2), DBL_MIN); /* 0 could not be doubled */
    while (after >= curve->width * CURVE_BUCKETS && after > 0)
        double_width(curve);
    size_t index = after > 0 ? (size_t)(after / curve->width) : 0;
    struct bucket one = {
        .count = 1, .seconds_sum = curve->origin + after, .sum = value, .least = value, .most = value};
    /* Rounding can make the quotient the bucket after the last one. */
    merge_bucket(&curve->buckets[index < CURVE_BUCKETS ? index : CURVE_BUCKETS - 1], &one);
}

/* ---- Steps ---- */

/* The value of a group of steps that lie too close together is the latest one. */
static void thin_steps(struct steps *steps) {
    size_t kept = 0;
    steps->gap = (steps->steps[steps->count - 1].seconds - steps->steps[0].seconds) / (STEPS_MOST / 2);
    for (size_t i = 1; i < steps->count; i++) {
        if (steps->steps[i].seconds - steps->steps[kept].seconds > steps->gap)
            steps->steps[++kept] = steps->steps[i];
        else
            steps->steps[kept].value = steps->steps[i].value;
    }
    steps->count = kept + 1;
}

void steps_add(struct steps *steps, double seconds, double value) {
    if (!isfinite(seconds) || !isfinite(value))
        return;
    if (steps->count > 0) {
        struct step *last = &steps->steps[steps->count - 1];
        if (value == last->value)
            return;
        if (seconds - last->seconds < steps->gap || seconds <= last->seconds) {
            last->value = value;
            return;
        }
    }
    if (steps->count == STEPS_MOST)
        thin_steps(steps);
    steps->steps[steps->count++] = (struct step){seconds, value};
}

/* ---- Points ---- */

void points_add(struct points *points, const struct point *point) {
    points->stride = points->stride > 0 ? points->stride : 1;
    points->last = *point;
    if (points->seen++ % points->stride != 0)
        return;
    if (points->count == POINTS_MOST) {
        for (size_t i = 0; i < POINTS_MOST / 2; i++)
            points->points[i] = points->points[2 * i];
        points->count = POINTS_MOST / 2;
        points->stride *= 2;
    }
    /* A multiple of the old stride that fills the array is one of the new stride as well: POINTS_MOST is even. */
    points->points[points->count++] = *point;
}
