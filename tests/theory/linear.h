/* SPDX-License-Identifier: Apache-2.0 */
/* What theory says of SGD on a quadratic, one eigenvalue at a time, without anything of the library.
 *
 * x = w - target is the distance in the direction of an eigenvector with the eigenvalue lambda, a = rate * lambda,
 * and u(t) independent noise of variance q that an update adds: with gradients of standard deviation s each and K
 * of them averaged, q = rate^2 s^2 / K. */
#ifndef HYSGD_TESTS_THEORY_LINEAR_H
#define HYSGD_TESTS_THEORY_LINEAR_H

#include <math.h>
#include <stdbool.h>

#define LINEAR_MOST_DELAY 16

/* x(t+1) = x(t) - a sum_d share[d] x(t-d) + u(t): the shares are how much of an update comes from gradients that
 * are d versions old. */
struct linear {
    double a;
    double share[LINEAR_MOST_DELAY + 1];
};

/* The next x from the present and earlier ones, past[0], past[1], ... */
static inline double linear_next(const struct linear *linear, const double *past) {
    double x = past[0];
    for (int d = 0; d <= LINEAR_MOST_DELAY; d++)
        x -= linear->a * linear->share[d] * past[d];
    return x;
}

static inline void linear_shift(double *past, double next) {
    for (int d = LINEAR_MOST_DELAY; d > 0; d--)
        past[d] = past[d - 1];
    past[0] = next;
}

/* The stationary variance: x is the noise filtered by the recursion's response h to a single unit of it, so it is
 * q sum_t h(t)^2. This is the solution of the recursion's Lyapunov equation P = F P F' + q e e', element 0, 0. */
static inline double linear_variance(const struct linear *linear, double q) {
    double past[LINEAR_MOST_DELAY + 1] = {1}, sum = 0;
    for (int t = 0; t < 10000; t++) {
        sum += past[0] * past[0];
        linear_shift(past, linear_next(linear, past));
    }
    return q * sum;
}

/* The shares when n equal workers deliver in turn and each K deliveries make an update, K dividing n: gradient g is
 * computed after g - n + 1 deliveries have been dealt with, that is at version floor((g - n + 1) / K), and goes
 * into update floor(g / K). K - 1 of an update's gradients are n / K versions old, the last one is one version
 * younger, as its worker was the first to see the update. */
static inline struct linear linear_in_turn(double a, int workers, int size) {
    struct linear linear = {.a = a};
    linear.share[workers / size] += (double)(size - 1) / size;
    linear.share[workers / size - 1] += 1.0 / size;
    return linear;
}

/* Second moments of x, of H = the sum of the x at which the gradients held were computed, and of r, the x at which
 * a worker computes; same: of one worker, other: of two different ones (of a worker alone there is none, and it
 * counts for nothing). */
struct linear_moments {
    double xx, xh, hh, xr, hr, same, other;
};

/* One delivery by a worker that is any of n with the same probability, and the update if it is due. Noise counts
 * when it is applied: until then it has met nothing. */
static inline struct linear_moments linear_deliver(struct linear_moments m, double step, double q, int workers,
                                                   bool is_update) {
    double one = 1.0 / workers, rest = 1 - one, both = fmin(2.0 / workers, 1);
    double xh = m.xh + m.xr, hh = m.hh + 2 * m.hr + m.same, hr = m.hr + m.other, xr = m.xr, xx = m.xx;
    if (is_update) {
        xx += -2 * step * xh + step * step * hh + q;
        xr -= step * hr;
        xh = hh = hr = 0;
    }
    return (struct linear_moments){.xx = xx,
                                   .xh = xh,
                                   .hh = hh,
                                   .xr = one * xx + rest * xr,
                                   .hr = one * xh + rest * hr,
                                   .same = one * xx + rest * m.same,
                                   .other = both * xr + (1 - both) * m.other};
}

/* The stationary variance of x when n workers take exponential times of the same mean and any K deliveries make an
 * update: each delivery is then by any worker with the same probability, whatever came before, and the moments obey
 * a closed linear recursion, which is followed until it stands still. */
static inline double linear_random_variance(double a, double q, int workers, int size) {
    struct linear_moments moments = {0};
    for (int t = 0; t < 10000; t++)
        for (int k = 1; k <= size; k++)
            moments = linear_deliver(moments, a / size, q, workers, k == size);
    return moments.xx;
}

#endif
