/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics and predictions of a parameter vector over a split of the data, in batches, by one thread. */
#ifndef HYSGD_RUNTIME_EVALUATOR_H
#define HYSGD_RUNTIME_EVALUATOR_H

#include "data/batch.h"

struct evaluator {
    const struct hysgd_model_ops *model;
    const void *model_self;
    const struct hysgd_data_ops *data;
    const void *data_self;
    struct hysgd_data_shape shape;
    size_t batch;
    bool is_open;
    void *workspace; /* of the model; opened at the first use, by the thread that evaluates */
    struct batch_buffers buffers;
    float *gradient; /* only for models without an evaluate of their own */
};

/* HYSGD_MEMORY. Safe to fini when it fails. Used by one thread at a time, always the same one from the first use
 * on. */
HYSGD_MUST_CHECK enum hysgd_status evaluator_init(struct evaluator *evaluator, const struct plugin *model,
                                                  const struct plugin *data, size_t batch);
void evaluator_fini(struct evaluator *evaluator);

/* The metrics over the first `limit` samples of the split (0: all). */
HYSGD_MUST_CHECK enum hysgd_status evaluator_run(struct evaluator *evaluator, enum hysgd_split split,
                                                 const float *vector, uint64_t limit,
                                                 struct hysgd_metrics *metrics_out);

/* Outputs [count][outputs] for the samples first to first + count - 1, count <= batch; labels_out may be NULL. */
HYSGD_MUST_CHECK enum hysgd_status evaluator_predict(struct evaluator *evaluator, enum hysgd_split split,
                                                     const float *vector, uint64_t first, size_t count,
                                                     float *outputs_out, int32_t *labels_out);

#endif
