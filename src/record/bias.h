/* SPDX-License-Identifier: Apache-2.0 */
/* How far the samples of the applied gradients are from the training data. */
#ifndef HYSGD_RECORD_BIAS_H
#define HYSGD_RECORD_BIAS_H

#include "record/event.h"

/* The total variation distance of the two distributions, 0 to 1: the share of the applied samples that went to the
 * wrong worker or class. NaN when nothing is known or nothing was applied. */
double bias_distance(const struct event_share *shares, int count);

/* The worker or class whose shares differ most; -1 when there is none. */
int bias_most(const struct event_share *shares, int count);

#endif
