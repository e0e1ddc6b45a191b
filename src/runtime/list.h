/* SPDX-License-Identifier: Apache-2.0 */
/* The runtimes that are listed: one line each. */
#ifndef HYSGD_RUNTIME_LIST_H
#define HYSGD_RUNTIME_LIST_H

#include "runtime/runtime.h"

#define RUNTIME_LIST(X)                                                                                            \
    X(threads)                                                                                                     \
    X(virtual)                                                                                                     \
    X(mpi)

#define X(name) extern const struct runtime_ops runtime_##name;
RUNTIME_LIST(X)
#undef X

#endif
