/* SPDX-License-Identifier: Apache-2.0 */
/* What policy/adaptive.c chooses, as pure functions of the estimates; the formulas are in its head comment. */
#ifndef HYSGD_POLICY_ADAPTIVE_CHOICE_H
#define HYSGD_POLICY_ADAPTIVE_CHOICE_H

#include "base/plugin.h"

/* q, the noise of a gradient in parts of its signal: 0 to ADAPTIVE_MOST_RATIO, which is also the value where the
 * signal is lost in the noise or not known. */
#define ADAPTIVE_MOST_RATIO 1e6
double adaptive_ratio(const struct hysgd_estimates *estimates);

/* x, the agreement in parts of the signal, -1 to 1; 0 where it is not known. */
double adaptive_agreement(const struct hysgd_estimates *estimates);

/* X(K), gradients per second that `workers` workers deliver to a server that applies `threshold` at a time;
 * relative to their rate where nothing is known of it. */
double adaptive_throughput(const struct hysgd_estimates *estimates, int workers, uint64_t threshold);

/* P(K), progress per second but for a factor that does not depend on K. */
double adaptive_progress(const struct hysgd_estimates *estimates, int workers, uint64_t threshold);

/* The smallest K of 1 to `workers` with the largest P(K). P rises to its largest value and falls from there. */
uint64_t adaptive_best_threshold(const struct hysgd_estimates *estimates, int workers);

#endif
