/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker keeps from one delivery to the next, as plain floats in memory: the vectors of its local steps and
 * the residual of rounding. So that a run which goes back takes it along. */
#ifndef HYSGD_RUNTIME_WORKER_OWN_H
#define HYSGD_RUNTIME_WORKER_OWN_H

#include "runtime/training.h"

/* How many floats; 0: it keeps nothing. */
size_t worker_own_count(const struct training *training);

/* As it was after the latest delivery or, with `is_before`, after the one before that, if nothing was computed
 * since. By any thread, also while the worker computes. */
void worker_own_pack(const struct training *training, int worker, bool is_before, float *packed_out);

/* Back to that; NULL: to what it is before the first delivery. Not while it computes. */
void worker_own_unpack(struct training *training, int worker, const float *packed);

#endif
