/* SPDX-License-Identifier: Apache-2.0 */
/* Every model that is listed: one line each, X(the ops table). */
#ifndef HYSGD_MODEL_LIST_H
#define HYSGD_MODEL_LIST_H

#include "hysgd.h"

#define MODEL_LIST(X)                                                                                              \
    X(model_network)                                                                                               \
    X(model_softmax)                                                                                               \
    X(model_mlp)                                                                                                   \
    X(model_lenet)                                                                                                 \
    X(model_cifar_cnn)                                                                                             \
    X(model_resnet20)                                                                                              \
    X(model_quadratic)                                                                                             \
    X(model_factors)

#define X(ops) extern const struct hysgd_model_ops ops;
MODEL_LIST(X)
#undef X

#endif
