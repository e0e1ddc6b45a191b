/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of flights: see flight.h. */
#include "runtime/flight.h"

#include <math.h>

#include "runtime/worker.h"

void flight_plan(const struct training *training, int worker, uint64_t draw, struct snapshot_flight *flight) {
    const struct timing *timing = training->setup->timing;
    flight->compute_seconds = 0;
    for (uint64_t i = 0; i < training->engine.workers[worker].batches; i++)
        flight->compute_seconds += timing_compute(timing, worker, draw + i);
    flight->transit_seconds = timing_delay(timing, worker, draw);
    flight->arrives = flight->started + flight->compute_seconds + flight->transit_seconds;
    double latest = flight->started + training->engine.workers[worker].patience;
    flight->gives_up = flight->arrives > latest ? latest : 0;
}

bool flight_cancel(const struct training *training, int worker, double now, struct snapshot_flight *flight) {
    double computed = flight->started + flight->compute_seconds;
    if (now >= computed)
        return false;
    double batches = (double)training->engine.workers[worker].batches;
    double piece = flight->compute_seconds / (batches * (double)worker_pieces(training->setup));
    double end = flight->started + piece * ceil((now - flight->started) / piece);
    end = fmin(fmax(end, now), computed);
    if (flight->gives_up > 0 && flight->gives_up <= end)
        return false;
    flight->gives_up = end;
    return true;
}
