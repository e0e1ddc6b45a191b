/* SPDX-License-Identifier: Apache-2.0 */
/* A feed-forward network as a list of operations with fixed shapes, in the order of evaluation. The model layer
 * builds it from text; a plan (plan.h) executes it for one batch size. Parameters live in one flat vector in plain
 * row-major layout. */
#ifndef HYSGD_LINALG_GRAPH_H
#define HYSGD_LINALG_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum graph_kind {
    GRAPH_INPUT,    /* node 0, always: the samples */
    GRAPH_DENSE,    /* y[units] = W[units][inputs] x + b; input flattened as [channels][height][width] */
    GRAPH_CONV,     /* W[units][channels][kernel_h][kernel_w], cross-correlation as all frameworks have it */
    GRAPH_MAX_POOL, /* padding counts as minus infinity */
    GRAPH_AVG_POOL, /* padding does not count */
    GRAPH_RELU,     /* max(x, 0) */
    GRAPH_TANH,
    GRAPH_GELU,         /* x Phi(x) with the error function */
    GRAPH_NORM,         /* batch normalization per channel: scale[c], shift[c]; statistics mean[c], variance[c] */
    GRAPH_DROPOUT,      /* inverted: kept values are divided by 1 - rate while training, identity otherwise */
    GRAPH_ADD,          /* inputs[0] + inputs[1] */
    GRAPH_SOFTMAX_LOSS, /* last node: mean over the batch of -log softmax(x)[label]; predicts the probabilities */
    GRAPH_SQUARED_LOSS  /* last node: mean over the batch of |x - target|^2 / 2; predicts x */
};

struct graph_node {
    enum graph_kind kind;
    int inputs[2];                       /* earlier nodes; inputs[1] only for GRAPH_ADD */
    int channels, height, width;         /* of the output of this node, for one sample; dense: [units][1][1] */
    int kernel_h, kernel_w, stride, pad; /* conv and pools; the padding is on all four sides */
    double rate;                         /* dropout: the share that is zeroed; norm: epsilon */
    bool has_bias;                       /* dense and conv */
    size_t weight, bias;                 /* dense, conv: index of the first element; norm: scale and shift */
    size_t mean, variance; /* norm: index of the running statistics, counted from the start of the vector */
};

/* Nodes are owned by whoever built the graph and outlive every plan. */
struct graph {
    const struct graph_node *nodes;
    int count;
    size_t parameter_count, statistic_count;
};

#endif
