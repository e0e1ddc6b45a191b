/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint's parameters with the model and the data that belong to them: what evaluating and predicting need.
 */
#ifndef HYSGD_TRAIN_TRAINED_H
#define HYSGD_TRAIN_TRAINED_H

#include <stdio.h>

#include "base/status.h"

struct trained; /* opaque */

/* Opens the checkpoint at `path`. Model and data are those of its metadata unless given (not ""). HYSGD_INPUT: the
 * file cannot be read or is of another model; HYSGD_USAGE: it does not say its model or data, or a word is wrong.
 */
HYSGD_MUST_CHECK enum hysgd_status trained_open(const char *path, const char *model, const char *data,
                                                int64_t batch, struct trained **trained_out);
void trained_close(struct trained *trained);

/* The data that are evaluated, spelled out. */
const char *trained_data(const struct trained *trained);

/* The metrics over the first `limit` samples of the split (0: all). HYSGD_USAGE when the split is empty. */
HYSGD_MUST_CHECK enum hysgd_status trained_evaluate(struct trained *trained, enum hysgd_split split, int64_t limit,
                                                    struct hysgd_metrics *metrics_out);

/* Prints samples, loss, accuracy and data as a JSON object. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status trained_print_json(const struct trained *trained,
                                                      const struct hysgd_metrics *metrics, FILE *out);

enum trained_format { TRAINED_CSV, TRAINED_JSON };

/* Prints a line for each of the samples from `first` on, `count` of them (0: all): index, class and its
 * probability, and the label where the data have one; for a model without classes the outputs. HYSGD_USAGE. */
HYSGD_MUST_CHECK enum hysgd_status trained_predict(struct trained *trained, enum hysgd_split split, int64_t first,
                                                   int64_t count, enum trained_format format, FILE *out);

#endif
