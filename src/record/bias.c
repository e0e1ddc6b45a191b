/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between shares: see bias.h. */
#include "record/bias.h"

#include <math.h>

static double difference(const struct event_share *share) {
    return fabs(share->applied - share->data);
}

/* NaN spreads to the distance. */
static void add(struct bias *bias, int index, const struct event_share *share) {
    bias->distance += difference(share) / 2;
    if (bias->most < 0 || difference(share) > difference(&bias->share)) {
        bias->most = index;
        bias->share = *share;
    }
}

static struct bias conclude(struct bias bias) {
    return isfinite(bias.distance) && bias.most >= 0 ? bias : (struct bias){.distance = (double)NAN, .most = -1};
}

struct bias bias_of_workers(const struct event_summary *summary) {
    struct bias bias = {.most = -1};
    for (int i = 0; i < summary->workers; i++)
        add(&bias, i, &summary->accounts[i].share);
    return conclude(bias);
}

struct bias bias_of_classes(const struct event_summary *summary) {
    struct bias bias = {.most = -1};
    for (int i = 0; i < summary->class_count; i++)
        add(&bias, i, &summary->classes[i]);
    return conclude(bias);
}
