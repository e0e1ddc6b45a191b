/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels.h declares for an instruction set, over the vectors that the file which includes this has defined;
 * OF_THIS_SET(name) is the name there. */
#ifndef HYSGD_LOWRANK_KERNEL_VECTOR_ENTRIES_H
#define HYSGD_LOWRANK_KERNEL_VECTOR_ENTRIES_H

#include "lowrank/kernel_vector.h"
#include "lowrank/kernel_vector_predict.h"

double OF_THIS_SET(kernel_run)(ARGUMENTS) {
    return choose(&kernel->setup, step, factors->stride)(kernel, factors, tile, step);
}

void OF_THIS_SET(predict)(const struct factors *factors, const struct rating *ratings, uint64_t count, float *out) {
    predict_all(factors, ratings, count, out);
}

void OF_THIS_SET(score)(const struct scorer *scorer, const float *const *rows, const float *bases,
                        uint32_t row_count, float *scores_out) {
    score_all(scorer, rows, bases, row_count, scores_out);
}

#endif
