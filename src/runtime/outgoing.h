/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients on their way out of a worker: rounded, in every runtime, to what the chosen wire format can carry, with
 * the residual of error feedback that each worker keeps; and the bytes that they have on the wire. What the server
 * gets is the same whether the bytes travel or not. */
#ifndef HYSGD_RUNTIME_OUTGOING_H
#define HYSGD_RUNTIME_OUTGOING_H

#include "base/plugin.h"
#include "checkpoint/safetensors.h"
#include "linalg/wire.h"

struct training;
struct training_setup;
struct snapshot_flight;
struct snapshot_place;

/* ---- The choices of --wire ---- */

enum outgoing_sparse { OUTGOING_AUTO, OUTGOING_YES, OUTGOING_NO };

/* The state of every choice. */
struct outgoing_options {
    bool has_feedback; /* not of fp32, which loses nothing */
    int sparse;        /* enum outgoing_sparse */
};

struct wire_ops {
    struct hysgd_plugin about;
    enum wire_element element;
};

/* fp32, bf16, int8 */
extern const struct plugin_list wire_list;

/* Whether something is lost on the way. `wire` may be NULL: fp32. */
bool outgoing_is_lossy(const struct plugin *wire);

/* ---- A worker's residual ---- */

/* A rounding reads `settled` and writes `working`; they change places when the gradient has been delivered. So what
 * is saved never changes while the worker computes, and a gradient that is given up leaves nothing behind. */
struct outgoing_worker {
    float *settled, *working; /* [parameter_count]; NULL: no feedback, or not yet open */
    uint64_t bytes;           /* of its latest gradient; set by the runtime where that was computed elsewhere */
};

struct outgoing {
    struct wire_format format;
    bool has_feedback;
    struct outgoing_worker *workers; /* [workers] */
};

/* Vectors as long as the parameters' that each worker needs for it. */
int outgoing_vector_count(const struct training_setup *setup);

/* After the model is described. HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status outgoing_init(struct training *training);
void outgoing_fini(struct training *training);

/* Allocates the worker's residual, if it is not there yet; by the thread that will compute. */
HYSGD_MUST_CHECK enum hysgd_status outgoing_open(struct training *training, int worker);

/* Rounds in place what the worker is about to deliver, and counts its bytes; by the thread that has computed it. */
void outgoing_round(struct training *training, int worker, float *gradient);

/* The gradient has been delivered: what rounding has left out is now settled. Lock held. */
void outgoing_settle(struct training *training, int worker);

/* One that joins has no residual. While nobody computes for it. */
void outgoing_renew(struct training *training, int worker);

/* Bytes of the worker's latest gradient on the wire; where no gradients are computed nothing is left out. */
uint64_t outgoing_bytes(const struct training *training, int worker);

/* Bytes of a version of the parameters, which always travels whole, as floats. */
uint64_t outgoing_version_bytes(const struct training *training);

/* ---- Checkpoints ---- */

#define OUTGOING_NAME_SIZE 40

/* References to the workers' residuals. */
struct outgoing_image {
    struct safetensors_tensor *tensors; /* [count]; of workers that compute elsewhere without data */
    struct snapshot_place *places;      /* [count] */
    size_t count;
    char (*names)[OUTGOING_NAME_SIZE];
};

/* `flights` [workers], or NULL: where a gradient under way is computed already, what it leaves out is taken too. */
HYSGD_MUST_CHECK enum hysgd_status outgoing_take(const struct training *training,
                                                 const struct snapshot_flight *flights,
                                                 struct outgoing_image *image_out);
void outgoing_discard(struct outgoing_image *image);

/* Reads it back, after the gradients. HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status outgoing_read(struct training *training, const struct safetensors_file *file,
                                                 const char *path);

#endif
