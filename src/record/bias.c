/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between shares: see bias.h. */
#include "record/bias.h"

#include <math.h>

double bias_distance(const struct event_share *shares, int count) {
    double distance = 0, applied = 0;
    for (int i = 0; shares && i < count; i++) {
        distance += fabs(shares[i].applied - shares[i].data) / 2;
        applied += shares[i].applied;
    }
    return applied > 0 ? distance : (double)NAN;
}

int bias_most(const struct event_share *shares, int count) {
    int most = -1;
    for (int i = 0; shares && i < count; i++)
        if (most < 0 || fabs(shares[i].applied - shares[i].data) > fabs(shares[most].applied - shares[most].data))
            most = i;
    return most;
}
