/* SPDX-License-Identifier: Apache-2.0 */
/* Decides, before a graph is compiled, which nodes count, which relus their producers compute, and where gradients
 * are cut off.
 *
 * Behind relu and maximum pooling the cut is made on the pool's smaller output: the gradient of a window goes to
 * its largest value, which is positive exactly when the pool's output is. The results are equal, bit for bit. */
#include "linalg/onednn.h"

static bool may_absorb(enum graph_kind kind) {
    return kind == GRAPH_CONV || kind == GRAPH_DENSE || kind == GRAPH_NORM || kind == GRAPH_ADD ||
           kind == GRAPH_MAX_POOL || kind == GRAPH_AVG_POOL;
}

static bool has_parameters(enum graph_kind kind) {
    return kind == GRAPH_CONV || kind == GRAPH_DENSE || kind == GRAPH_NORM;
}

static int input_count(enum graph_kind kind) {
    return kind == GRAPH_INPUT ? 0 : kind == GRAPH_ADD ? 2 : 1;
}

/* Marks what the loss depends on and counts who reads each node. */
static void find_live(struct plan *plan) {
    const struct graph_node *nodes = plan->graph->nodes;
    const int last = plan->graph->count - 1;
    plan->nodes[last].is_live = true;
    for (int node = last; node >= 0; node--) {
        if (!plan->nodes[node].is_live)
            continue;
        for (int i = 0; i < input_count(nodes[node].kind); i++) {
            plan->nodes[nodes[node].inputs[i]].is_live = true;
            plan->nodes[nodes[node].inputs[i]].consumers++;
        }
    }
}

static void absorb(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const int input = node_input(plan, node, 0);
    struct node_state *producer = &plan->nodes[input];
    state->is_gated = true;
    if (!may_absorb(plan->graph->nodes[input].kind) || producer->consumers != 1)
        return;
    producer->is_relu = true;
    producer->is_gated = plan->graph->nodes[input].kind != GRAPH_NORM; /* oneDNN's norm cuts off by itself */
    producer->consumers = state->consumers;
    state->owner = input;
}

/* Moves the cut behind a relu to the pool that alone reads it. */
static void gate_at_pool(struct plan *plan, int node) {
    struct node_state *producer = &plan->nodes[node_input(plan, node, 0)];
    if (!producer->is_gated || producer->consumers != 1)
        return;
    producer->is_gated = false;
    plan->nodes[node].is_gated = true;
}

void fuse_nodes(struct plan *plan) {
    const struct graph_node *nodes = plan->graph->nodes;
    for (int node = 0; node < plan->graph->count; node++) {
        plan->nodes[node].owner = node;
        plan->nodes[node].needs_gradient = has_parameters(nodes[node].kind);
        for (int i = 0; i < input_count(nodes[node].kind); i++)
            plan->nodes[node].needs_gradient |= plan->nodes[nodes[node].inputs[i]].needs_gradient;
    }
    find_live(plan);
    for (int node = 0; node < plan->graph->count; node++)
        if (plan->nodes[node].is_live && nodes[node].kind == GRAPH_RELU)
            absorb(plan, node);
    for (int node = 0; node < plan->graph->count; node++)
        if (plan->nodes[node].is_live && nodes[node].kind == GRAPH_MAX_POOL)
            gate_at_pool(plan, node);
    plan->nodes[node_input(plan, plan->graph->count - 1, 0)].feeds_loss = true;
}
