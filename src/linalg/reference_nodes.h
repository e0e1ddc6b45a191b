/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of a graph as plain loops in double precision, one pair of functions for each kind: what the
 * reference plan is made of. They are written to be checked by eye, not to be fast. */
#ifndef HYSGD_LINALG_REFERENCE_NODES_H
#define HYSGD_LINALG_REFERENCE_NODES_H

#include "linalg/graph.h"
#include "linalg/plan.h"

/* One node of an open plan. Arrays over the batch are [batch][channels][height][width]. */
struct reference_node {
    const struct graph_node *node;
    size_t size;    /* values of one sample: channels * height * width */
    double *values; /* [batch][size] what the node computes; the loss node has none */
    double *slopes; /* [batch][size] derivative of the loss with respect to values; NULL for inference */
    double *saved;  /* for backward: norm [2][channels], batch mean and 1 / standard deviation; dropout
                       [batch][size], factors */
};

/* What a call of the plan gives to every node. */
struct reference_pass {
    size_t count;         /* samples in this call */
    bool is_training;     /* statistics of the batch and dropout, instead of running statistics and none */
    const double *vector; /* parameters and statistics, the weights rounded to the working precision */
    const struct plan_stream *stream; /* while training */
};

/* Computes node `index` of `nodes` from its inputs. */
void reference_forward(struct reference_node *nodes, int index, const struct reference_pass *pass);

/* Adds to the slopes of the node's inputs (those that have slopes) and to its parameters' places in `gradient`
 * [parameter_count + statistic_count], from the node's own slopes. A norm writes its batch's statistics there. */
void reference_backward(struct reference_node *nodes, int index, const struct reference_pass *pass,
                        double *gradient);

#endif
