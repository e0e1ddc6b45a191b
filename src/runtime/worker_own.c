/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of a worker's own vectors: see worker_own.h. */
#include "runtime/worker_own.h"

#include <string.h>

size_t worker_own_count(const struct training *training) {
    size_t count = (size_t)training->local.kept * training->server.count;
    return count + (training->outgoing.has_feedback ? training->layout.parameter_count : 0);
}

/* A vector that is not there yet is 0. */
static float *pack(const float *vector, size_t count, float *packed) {
    if (vector)
        memcpy(packed, vector, count * sizeof *packed);
    else
        memset(packed, 0, count * sizeof *packed);
    return packed + count;
}

void worker_own_pack(const struct training *training, int worker, bool is_before, float *packed) {
    const struct outgoing_worker *outgoing = &training->outgoing.workers[worker];
    for (int i = 0; i < training->local.kept; i++) {
        const struct local_vector *vector = &training->local.workers[worker].kept[i];
        packed = pack(is_before ? vector->working : vector->settled, training->server.count, packed);
    }
    if (training->outgoing.has_feedback)
        pack(is_before ? outgoing->working : outgoing->settled, training->layout.parameter_count, packed);
}

static const float *unpack(float *vector, size_t count, const float *packed) {
    if (vector && packed)
        memcpy(vector, packed, count * sizeof *vector);
    else if (vector)
        memset(vector, 0, count * sizeof *vector);
    return packed ? packed + count : NULL;
}

void worker_own_unpack(struct training *training, int worker, const float *packed) {
    for (int i = 0; i < training->local.kept; i++)
        packed = unpack(training->local.workers[worker].kept[i].settled, training->server.count, packed);
    if (training->outgoing.has_feedback)
        unpack(training->outgoing.workers[worker].settled, training->layout.parameter_count, packed);
}
