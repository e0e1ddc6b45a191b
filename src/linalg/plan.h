/* SPDX-License-Identifier: Apache-2.0 */
/* A graph made ready to run on one thread for one batch size. Two implementations, the same results up to rounding:
 * oneDNN, and a plain C reference, which is the oracle of the first and the build without it. */
#ifndef HYSGD_LINALG_PLAN_H
#define HYSGD_LINALG_PLAN_H

#include "base/status.h"
#include "linalg/graph.h"

enum plan_precision {
    PLAN_FP32,
    PLAN_BF16 /* activations and the weights' working copies in bfloat16; sums, vector and gradient in fp32 */
};

struct plan; /* opaque; made, used and closed by one thread; plans of one graph are independent */

/* A graph has fewer nodes. */
#define PLAN_MOST_NODES 1024

/* Names the random streams of dropout masks; see struct hysgd_batch. Node n draws one uniform number for each value
 * of the batch, in plain order, from the stream (seed, worker, RANDOM_DROPOUT, draw * PLAN_MOST_NODES + n), and
 * keeps those that are >= rate. */
struct plan_stream {
    uint64_t seed, draw;
    uint32_t worker;
};

struct plan_ops {
    const char *name;
    /* Whether this processor can compute in the precision; where it cannot, open is not called. */
    bool (*has_precision)(enum plan_precision precision);
    /* Prepares everything: primitives, arena, scratch. Sets the calling thread to one computing thread. Nothing
     * below allocates. `is_training` false: only `forward` will be called, and no memory for backward is kept.
     * HYSGD_MEMORY, HYSGD_FAILED. */
    enum hysgd_status (*open)(const struct graph *graph, size_t batch, enum plan_precision precision,
                              bool is_training, struct plan **plan_out);
    void (*close)(struct plan *plan);

    /* The mean loss over exactly `batch` samples and its gradient. vector and gradient_out: [parameter_count +
     * statistic_count]; in the place of the statistics the gradient gets the batch's mean and its unbiased
     * variance. labels [batch] or targets [batch][outputs]. A label out of range is HYSGD_FAILED.
     * A NaN among the inputs makes loss or gradient not finite. One in the weights before a relu may not: oneDNN's
     * relu makes 0 of it. So the vector must be finite, which whoever changes or reads it checks. */
    enum hysgd_status (*gradient)(struct plan *plan, const float *vector, const float *inputs,
                                  const int32_t *labels, const float *targets, const struct plan_stream *stream,
                                  float *gradient_out, double *loss_out);

    /* Inference (running statistics, no dropout) on count <= batch samples: writes the input of the loss node,
     * [count][outputs]: logits or values. */
    enum hysgd_status (*forward)(struct plan *plan, const float *vector, const float *inputs, size_t count,
                                 float *outputs_out);
};

extern const struct plan_ops plan_reference;
#ifdef HYSGD_HAVE_ONEDNN
extern const struct plan_ops plan_onednn;
#endif

/* The fastest that this build has. */
const struct plan_ops *plan_default(void);

/* Its name, version, and the instruction sets of this processor that it uses: what the last bits of a gradient
 * depend on. */
void plan_identify(char *text, size_t size);

#endif
