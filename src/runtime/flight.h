/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients under way in modelled time: how long they take, and when they are given up. */
#ifndef HYSGD_RUNTIME_FLIGHT_H
#define HYSGD_RUNTIME_FLIGHT_H

#include "runtime/snapshot.h"

/* The times of the gradient of the worker whose first batch is number `draw`, which began at flight->started: when
 * it will arrive, or be given up because the worker's patience ends before. */
void flight_plan(const struct training *training, int worker, uint64_t draw, struct snapshot_flight *flight);

/* Has a worker give up at the end of the piece that it computes; what is computed whole is on its way. Returns
 * whether that changes the flight. */
bool flight_cancel(const struct training *training, int worker, double now, struct snapshot_flight *flight);

#endif
