/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker needs to compute gradients: its samples, the buffers of one batch and the model's workspace. */
#ifndef HYSGD_RUNTIME_WORKER_H
#define HYSGD_RUNTIME_WORKER_H

#include "data/batch.h"
#include "runtime/training.h"

struct training_worker {
    struct sampler sampler;
    uint64_t draws;           /* gradients begun */
    double loss;              /* of the latest batch */
    double delivered_seconds; /* when its latest gradient reached the server, on the run's clock */
    bool is_under_way;        /* begun and not yet delivered */
    bool is_open;
    void *workspace; /* of the model; opened by the computing thread */
    struct batch_buffers buffers;
};

/* One worker, not yet open. HYSGD_MEMORY; worker_fini accepts what there is then. */
HYSGD_MUST_CHECK enum hysgd_status worker_init(struct training *training, int worker);
void worker_fini(struct training *training, int worker);

/* Opens the batch buffers and the workspace; by the thread that will compute. Nothing to do when they are open. */
HYSGD_MUST_CHECK enum hysgd_status worker_open(struct training *training, int worker);

/* The gradient of the worker's next batch at `vector` goes to the server's buffer of the worker, the loss to
 * `loss`. */
HYSGD_MUST_CHECK enum hysgd_status worker_compute(struct training *training, int worker, const float *vector);

/* Continues as if `draws` gradients had been begun. */
void worker_seek(struct training *training, int worker, uint64_t draws);

#endif
