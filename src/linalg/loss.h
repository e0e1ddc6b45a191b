/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax cross-entropy and squared error on rows of outputs: values and gradients, for the oneDNN plan and for
 * evaluation. The reference plan has its own in double precision, so that it can tell when these are wrong. */
#ifndef HYSGD_LINALG_LOSS_H
#define HYSGD_LINALG_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* logits [count][classes] -> gradient_out [count][classes] = (softmax - one hot) * scale (may be NULL, may be
 * `logits`); returns the sum of the losses. Labels must be valid. */
double loss_softmax(const float *logits, const int32_t *labels, size_t count, size_t classes, float scale,
                    float *gradient_out);

/* outputs, targets [count][width] -> gradient_out = (outputs - targets) * scale (may be NULL); returns the sum of
 * |outputs - target|^2 / 2. */
double loss_squared(const float *outputs, const float *targets, size_t count, size_t width, float scale,
                    float *gradient_out);

/* logits -> probabilities, in place; rows of `classes`. */
void loss_probabilities(float *logits, size_t count, size_t classes);

/* How many rows have their largest value at the label; a row with a NaN is never right. */
uint64_t loss_count_correct(const float *outputs, const int32_t *labels, size_t count, size_t classes);

/* The first index whose label is outside [0, classes), or `count`. */
size_t loss_find_bad_label(const int32_t *labels, size_t count, size_t classes);

#endif
