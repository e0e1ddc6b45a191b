/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalization with an absorbed relu. The batch's mean and variance are computed straight into the
 * gradient's places for them; at the end of backward the variance there is made unbiased. Inference normalizes with
 * the vector's statistics. */
#include "linalg/onednn.h"

#define NORM_FLAGS (dnnl_use_scale | dnnl_use_shift)

static unsigned norm_flags(const struct plan *plan, int node) {
    return NORM_FLAGS | (plan->nodes[node].is_relu ? dnnl_fuse_norm_relu : 0);
}

/* Scale, shift, mean and variance of a node, or their gradients. */
struct norm {
    struct tensor scale, shift, mean, variance;
};

static enum hysgd_status norm_at(struct plan *plan, int node, enum place place, struct norm *norm_out) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const dnnl_memory_desc_t layout = vector_layout((size_t)shape->channels);
    HYSGD_TRY(tensor_at(plan, place, shape->weight, &layout, &norm_out->scale));
    HYSGD_TRY(tensor_at(plan, place, shape->bias, &layout, &norm_out->shift));
    HYSGD_TRY(tensor_at(plan, place, shape->mean, &layout, &norm_out->mean));
    return tensor_at(plan, place, shape->variance, &layout, &norm_out->variance);
}

static enum hysgd_status add_forward(struct plan *plan, int node, bool is_training, const struct norm *weights,
                                     const struct norm *statistics) {
    const char *kind = is_training ? "norm forward" : "norm inference";
    struct node_state *state = &plan->nodes[node];
    const unsigned flags = norm_flags(plan, node) | (is_training ? 0 : dnnl_use_global_stats);
    dnnl_batch_normalization_desc_t operation;
    const_dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(node,
                           dnnl_batch_normalization_forward_desc_init(
                               &operation, is_training ? dnnl_forward_training : dnnl_forward_inference,
                               &state->source.layout, (float)plan->graph->nodes[node].rate, flags),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, NULL, kind, &description));
    struct tensor workspace = {.buffer = -1};
    const dnnl_memory_desc_t *layout = wanted(description, dnnl_query_workspace_md);
    if (is_training && dnnl_memory_desc_get_size(layout) > 0)
        HYSGD_TRY(tensor_new(plan, layout, &workspace));
    if (is_training) {
        state->forward = description;
        state->workspace = workspace;
    }
    const struct operand operands[] = {
        {DNNL_ARG_SRC, &state->source},     {DNNL_ARG_DST, &state->value},
        {DNNL_ARG_SCALE, &weights->scale},  {DNNL_ARG_SHIFT, &weights->shift},
        {DNNL_ARG_MEAN, &statistics->mean}, {DNNL_ARG_VARIANCE, &statistics->variance},
        {DNNL_ARG_WORKSPACE, &workspace}};
    return step_add(plan, node, kind, is_training ? WHEN_TRAINING : WHEN_INFERENCE, description, operands, 7);
}

static enum hysgd_status norm_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const struct tensor *input = &plan->nodes[node_input(plan, node, 0)].value;
    struct norm weights, gradients;
    dnnl_memory_desc_t layout = input->layout;
    if (layout.data_type != plan_type(plan))
        layout = node_layout(plan, node, plan_type(plan), dnnl_nchw);
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, input, &layout, &state->source));
    HYSGD_TRY(tensor_new(plan, &layout, &state->value));
    HYSGD_TRY(norm_at(plan, node, PLACE_VECTOR, &weights));
    HYSGD_TRY(norm_at(plan, node, PLACE_GRADIENT, &gradients));
    HYSGD_TRY(add_forward(plan, node, false, &weights, &weights));
    return plan->is_training ? add_forward(plan, node, true, &weights, &gradients) : HYSGD_OK;
}

/* Variance of a sample from the mean square deviation: times n / (n - 1). */
static void run_unbias(struct plan *plan, const struct step *step) {
    const struct graph_node *shape = &plan->graph->nodes[step->node];
    const double count = (double)plan->batch * shape->height * shape->width;
    const float factor = count > 1 ? (float)(count / (count - 1)) : 1.0f;
    float *variance = step_pointer(plan, step, 0);
    for (size_t i = 0; i < step->elements; i++)
        variance[i] *= factor;
}

static enum hysgd_status norm_backward(struct plan *plan, int node) {
    const char *kind = "norm backward";
    struct node_state *state = &plan->nodes[node];
    const int input = node_input(plan, node, 0);
    struct norm weights, gradients;
    HYSGD_TRY(norm_at(plan, node, PLACE_VECTOR, &weights));
    HYSGD_TRY(norm_at(plan, node, PLACE_GRADIENT, &gradients));
    dnnl_batch_normalization_desc_t operation;
    const_dnnl_primitive_desc_t description;
    struct tensor result;
    HYSGD_TRY(onednn_check(node,
                           dnnl_batch_normalization_backward_desc_init(
                               &operation, dnnl_backward, &state->source.layout, &state->source.layout,
                               (float)plan->graph->nodes[node].rate, norm_flags(plan, node)),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    HYSGD_TRY(tensor_new(plan, &state->source.layout, &result));
    const struct operand operands[] = {
        {DNNL_ARG_SRC, &state->source},          {DNNL_ARG_DIFF_DST, &state->gradient},
        {DNNL_ARG_SCALE, &weights.scale},        {DNNL_ARG_SHIFT, &weights.shift},
        {DNNL_ARG_MEAN, &gradients.mean},        {DNNL_ARG_VARIANCE, &gradients.variance},
        {DNNL_ARG_WORKSPACE, &state->workspace}, {DNNL_ARG_DIFF_SRC, &result},
        {DNNL_ARG_DIFF_SCALE, &gradients.scale}, {DNNL_ARG_DIFF_SHIFT, &gradients.shift}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 10));
    const struct tensor *tensors[] = {&gradients.variance};
    HYSGD_TRY(step_add_own(plan, node, kind, WHEN_TRAINING, run_unbias, tensors, 1,
                           (size_t)plan->graph->nodes[node].channels));
    return plan->nodes[input].needs_gradient ? gradient_send(plan, input, &result, false) : HYSGD_OK;
}

const struct operation operation_norm = {norm_forward, norm_backward};
