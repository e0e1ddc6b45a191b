/* SPDX-License-Identifier: Apache-2.0 */
/* How far the samples of the applied gradients are from the training data. */
#ifndef HYSGD_RECORD_BIAS_H
#define HYSGD_RECORD_BIAS_H

#include "record/event.h"

/* Two distributions over workers or over classes, of the training data and of the applied samples. */
struct bias {
    double distance; /* in total variation, 0 to 1: the share that would have to go to others; NaN: not known */
    int most;        /* whose shares differ most; -1: not known */
    struct event_share share; /* of that one */
};

struct bias bias_of_workers(const struct event_summary *summary);
struct bias bias_of_classes(const struct event_summary *summary);

#endif
