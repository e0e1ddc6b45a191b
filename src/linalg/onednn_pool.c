/* SPDX-License-Identifier: Apache-2.0 */
/* Maximum and average pooling, in the layout of the input, and an absorbed relu in place. */
#include "linalg/onednn.h"

static void run_relu(struct plan *plan, const struct step *step) {
    elements_relu(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 0), step->elements);
}

static enum hysgd_status pool_forward(struct plan *plan, int node, dnnl_alg_kind_t algorithm) {
    const char *kind = "pool forward";
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    const struct tensor *source = &plan->nodes[node_input(plan, node, 0)].value;
    const dnnl_dims_t strides = {shape->stride, shape->stride}, pads = {shape->pad, shape->pad};
    const dnnl_dims_t kernel = {shape->kernel_h, shape->kernel_w};
    const dnnl_memory_desc_t output = node_layout(plan, node, source->layout.data_type, dnnl_format_tag_any);
    dnnl_pooling_desc_t operation;
    HYSGD_TRY(onednn_check(node,
                           dnnl_pooling_forward_desc_init(
                               &operation, plan->is_training ? dnnl_forward_training : dnnl_forward_inference,
                               algorithm, &source->layout, &output, strides, kernel, pads, pads),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, NULL, kind, &state->forward));
    HYSGD_TRY(tensor_new(plan, wanted(state->forward, dnnl_query_dst_md), &state->value));
    const dnnl_memory_desc_t *workspace = wanted(state->forward, dnnl_query_workspace_md);
    if (dnnl_memory_desc_get_size(workspace) > 0)
        HYSGD_TRY(tensor_new(plan, workspace, &state->workspace));
    const struct operand operands[] = {
        {DNNL_ARG_SRC, source}, {DNNL_ARG_DST, &state->value}, {DNNL_ARG_WORKSPACE, &state->workspace}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_ALWAYS, state->forward, operands, 3));
    if (!state->is_relu)
        return HYSGD_OK;
    const struct tensor *tensors[] = {&state->value};
    return step_add_own(plan, node, "relu forward", WHEN_ALWAYS, run_relu, tensors, 1,
                        tensor_elements(&state->value));
}

static enum hysgd_status pool_backward(struct plan *plan, int node, dnnl_alg_kind_t algorithm) {
    const char *kind = "pool backward";
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int input = node_input(plan, node, 0);
    if (!plan->nodes[input].needs_gradient)
        return HYSGD_OK;
    const dnnl_dims_t strides = {shape->stride, shape->stride}, pads = {shape->pad, shape->pad};
    const dnnl_dims_t kernel = {shape->kernel_h, shape->kernel_w};
    dnnl_pooling_desc_t operation;
    const_dnnl_primitive_desc_t description;
    struct tensor result;
    HYSGD_TRY(onednn_check(node,
                           dnnl_pooling_backward_desc_init(&operation, algorithm, &plan->nodes[input].value.layout,
                                                           &state->gradient.layout, strides, kernel, pads, pads),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    HYSGD_TRY(tensor_new(plan, &plan->nodes[input].value.layout, &result));
    const struct operand operands[] = {{DNNL_ARG_DIFF_DST, &state->gradient},
                                       {DNNL_ARG_WORKSPACE, &state->workspace},
                                       {DNNL_ARG_DIFF_SRC, &result}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 3));
    return gradient_send(plan, input, &result, false);
}

static enum hysgd_status max_forward(struct plan *plan, int node) {
    return pool_forward(plan, node, dnnl_pooling_max);
}

static enum hysgd_status max_backward(struct plan *plan, int node) {
    return pool_backward(plan, node, dnnl_pooling_max);
}

static enum hysgd_status avg_forward(struct plan *plan, int node) {
    return pool_forward(plan, node, dnnl_pooling_avg_exclude_padding);
}

static enum hysgd_status avg_backward(struct plan *plan, int node) {
    return pool_backward(plan, node, dnnl_pooling_avg_exclude_padding);
}

const struct operation operation_max_pool = {max_forward, max_backward};
const struct operation operation_avg_pool = {avg_forward, avg_backward};
