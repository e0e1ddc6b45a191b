/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a run as a safetensors file: the parameters under the names of the model's tensors, and everything
 * that is needed to go on exactly (optimizer, policy, engine, accounts, held gradients) under names that begin with
 * "state/". */
#ifndef HYSGD_RUNTIME_SNAPSHOT_H
#define HYSGD_RUNTIME_SNAPSHOT_H

#include "runtime/training.h"

/* Of one computing worker, where the runtime can save it: a gradient that is computed but has not arrived.
 * Elsewhere the worker computes its batch again at the version that it resumes with. */
struct snapshot_flight {
    double started, arrives; /* seconds on the run's clock */
    double compute_seconds, transit_seconds;
    double loss;        /* of its batch */
    double order;       /* breaks ties of `arrives` */
    double is_computed; /* 1: the gradient lies in the worker's buffer, unless gives_up; 0: released, not begun */
    double gives_up;    /* when the worker gives it up, in seconds on the run's clock; 0: it delivers */
};

/* Whether the gradient is kept: it lies in the worker's buffer and will be delivered. */
static inline bool snapshot_has_gradient(const struct snapshot_flight *flight) {
    return flight->is_computed > 0 && flight->gives_up <= 0;
}

struct snapshot_in_flight {
    const struct snapshot_flight *flights; /* [workers]; those of workers that are not computing are ignored */
    double server_free_at;                 /* seconds at which the server is idle again */
    double next_order;
};

/* What a checkpoint says about the runtime; kept until the runtime takes it up. */
struct snapshot {
    bool has_flights;
    struct snapshot_flight *flights; /* [workers] */
    double server_free_at, next_order;
    struct training_place place; /* of the record; the beginning, where it does not say */
};

/* The vectors of a checkpoint. */
enum snapshot_vector {
    SNAPSHOT_NO_VECTOR, /* a table */
    SNAPSHOT_PARAMETERS,
    SNAPSHOT_OPTIMIZER, /* index: of the optimizer's state */
    SNAPSHOT_SUM,
    SNAPSHOT_GRADIENT, /* index: worker; so in those that follow it */
    SNAPSHOT_READ,
    SNAPSHOT_OWN, /* of a correction */
    SNAPSHOT_ROW, /* part: parity */
    SNAPSHOT_GIVEN,
    SNAPSHOT_SHARED, /* of a correction, as the next one */
    SNAPSHOT_TOTAL,
    SNAPSHOT_PROBE,    /* part: 0 present, 1 before */
    SNAPSHOT_OF_WORKER /* no server has it; index: worker, part: which of its vectors is settled */
};

/* The parts of SNAPSHOT_OF_WORKER: what its local steps keep, by number, and the residual of rounding. */
enum { SNAPSHOT_RESIDUAL = LOCAL_MOST_VECTORS };

/* A vector or a tensor of it, as plain numbers: whoever has a part of it can be told which. */
struct snapshot_place {
    enum snapshot_vector vector;
    int index, part;
    uint64_t first, end; /* its elements, counted in the whole vector */
    uint64_t offset;     /* bytes, where `first` is in the file */
};

/* What goes into a checkpoint file: copies of the small things, references to the server's vectors. */
struct snapshot_image;

/* Takes the image of a state that does not change meanwhile; `in_flight` may be NULL. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_take(struct training *training, double seconds,
                                                 const struct snapshot_in_flight *in_flight,
                                                 struct snapshot_image **image_out);
void snapshot_discard(struct snapshot_image *image);

/* Writes it to setup->save_path, while the server's vectors do not change. HYSGD_OUTPUT; the old file is then
 * whole. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_write(const struct snapshot_image *image,
                                                  const struct training_setup *setup);

/* All that a file is made of; belongs to the image, but for the array `metadata`, which is the caller's to free. */
struct snapshot_content {
    const struct safetensors_tensor *tensors; /* [count]; data NULL: the vector is not in this process */
    const struct snapshot_place *places;      /* [count] without offsets */
    size_t count;
    const char *(*metadata)[2];
    size_t metadata_count;
};
HYSGD_MUST_CHECK enum hysgd_status snapshot_describe(const struct snapshot_image *image,
                                                     const struct training_setup *setup,
                                                     struct snapshot_content *content_out);

/* The part of an image that is no vector, as bytes in memory, to be freed with memory_free. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_store_state(const struct snapshot_image *image,
                                                        const struct training_setup *setup, void *bytes_out,
                                                        size_t *length_out);

/* Goes back to such a state, in a training that may have gone on meanwhile; the vectors are the caller's concern.
 * HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_restore_state(struct training *training, const void *bytes,
                                                          size_t length);

void snapshot_free(struct snapshot *snapshot);

#endif
