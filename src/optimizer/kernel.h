/* SPDX-License-Identifier: Apache-2.0 */
/* What the step kernels of the optimizers share. A kernel is one loop that reads each element of the parameters,
 * the gradient and the states once, in single precision; its constants are computed in double, once per step. */
#ifndef HYSGD_OPTIMIZER_KERNEL_H
#define HYSGD_OPTIMIZER_KERNEL_H

#include "linalg/vector.h"

/* Before a loop: its iterations are independent, which the compiler cannot see as new values may replace the old
 * ones in place. (restrict would say too much: in place, both pointers are the same.) */
#if defined(__GNUC__) && !defined(__clang__)
#define KERNEL_LOOP _Pragma("GCC ivdep")
#else
#define KERNEL_LOOP
#endif

#endif
