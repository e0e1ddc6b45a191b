/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with bias and an absorbed relu. Layouts are oneDNN's choice; weights are copied into them at each
 * call. Where Winograd's algorithm exists and pays it is used for forward and for the gradient of the input, by a
 * rule that depends on shapes only. */
#include "linalg/onednn.h"

/* Shapes that the description of any convolution of a node needs. */
struct conv {
    dnnl_dims_t strides, pads;
    dnnl_memory_desc_t source, weight, bias, output; /* any layout, element type of the plan */
    dnnl_memory_desc_t plain_weight;                 /* as in the caller's vector */
    bool has_bias;
};

static struct conv conv_of(const struct plan *plan, int node) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int input = node_input(plan, node, 0);
    struct conv conv = {
        .strides = {shape->stride, shape->stride}, .pads = {shape->pad, shape->pad}, .has_bias = shape->has_bias};
    const dnnl_dims_t weights = {shape->channels, plan->graph->nodes[input].channels, shape->kernel_h,
                                 shape->kernel_w};
    conv.source = node_layout(plan, input, plan_type(plan), dnnl_format_tag_any);
    conv.output = node_layout(plan, node, plan_type(plan), dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&conv.weight, 4, weights, plan_type(plan), dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&conv.plain_weight, 4, weights, dnnl_f32, dnnl_oihw);
    conv.bias = vector_layout((size_t)shape->channels);
    return conv;
}

/* Measured: from 16 channels on both sides the 4x4 tiles of oneDNN's Winograd are faster than direct 3x3
 * convolution, below they lose. */
#define WINOGRAD_LEAST_CHANNELS 16

static bool pays_winograd(const struct plan *plan, int node) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    return plan->precision == PLAN_FP32 && shape->kernel_h == 3 && shape->kernel_w == 3 && shape->stride == 1 &&
           shape->channels >= WINOGRAD_LEAST_CHANNELS &&
           plan->graph->nodes[node_input(plan, node, 0)].channels >= WINOGRAD_LEAST_CHANNELS;
}

static enum hysgd_status describe_forward(struct plan *plan, int node, const struct conv *conv,
                                          dnnl_alg_kind_t algorithm, const_dnnl_primitive_desc_t *description_out) {
    dnnl_convolution_desc_t operation;
    HYSGD_TRY(
        onednn_check(plan, node,
                     dnnl_convolution_forward_desc_init(&operation, dnnl_forward_training, algorithm, &conv->source,
                                                        &conv->weight, conv->has_bias ? &conv->bias : NULL,
                                                        &conv->output, conv->strides, conv->pads, conv->pads),
                     "convolution forward"));
    return describe_if_any(plan, node, &operation, plan->nodes[node].is_relu ? plan->relu : plan->plain, NULL,
                           "convolution forward", description_out);
}

static enum hysgd_status conv_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    const struct conv conv = conv_of(plan, node);
    const_dnnl_primitive_desc_t description = NULL;
    if (pays_winograd(plan, node))
        HYSGD_TRY(describe_forward(plan, node, &conv, dnnl_convolution_winograd, &description));
    if (!description)
        HYSGD_TRY(describe_forward(plan, node, &conv, dnnl_convolution_direct, &description));
    if (!description)
        return onednn_check(plan, node, dnnl_unimplemented, "convolution forward");
    state->forward = description;
    struct tensor plain_weight, bias = {.buffer = -1};
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->weight, &conv.plain_weight, &plain_weight));
    if (conv.has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->bias, &conv.bias, &bias));
    HYSGD_TRY(tensor_as(plan, node, "reorder of weights", WHEN_ALWAYS, &plain_weight,
                        wanted(description, dnnl_query_weights_md), &state->weight));
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &plan->nodes[node_input(plan, node, 0)].value,
                        wanted(description, dnnl_query_src_md), &state->source));
    HYSGD_TRY(tensor_new(plan, wanted(description, dnnl_query_dst_md), &state->value));
    const struct operand operands[] = {{DNNL_ARG_SRC, &state->source},
                                       {DNNL_ARG_WEIGHTS, &state->weight},
                                       {DNNL_ARG_BIAS, &bias},
                                       {DNNL_ARG_DST, &state->value}};
    return step_add(plan, node, "convolution forward", WHEN_ALWAYS, description, operands, 4);
}

static enum hysgd_status backward_weights(struct plan *plan, int node, const struct conv *conv) {
    const char *kind = "convolution backward weights";
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    dnnl_memory_desc_t weight = conv->weight;
    weight.data_type = dnnl_f32;
    dnnl_convolution_desc_t operation;
    const_dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(
        plan, node,
        dnnl_convolution_backward_weights_desc_init(&operation, dnnl_convolution_direct, &conv->source, &weight,
                                                    conv->has_bias ? &conv->bias : NULL, &conv->output,
                                                    conv->strides, conv->pads, conv->pads),
        kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    struct tensor source, gradient, target, weight_gradient, bias_gradient = {.buffer = -1};
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_TRAINING, &state->source,
                        wanted(description, dnnl_query_src_md), &source));
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, &state->gradient,
                        wanted(description, dnnl_query_diff_dst_md), &gradient));
    HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->weight, &conv->plain_weight, &target));
    HYSGD_TRY(tensor_for(plan, &target, wanted(description, dnnl_query_diff_weights_md), &weight_gradient));
    if (conv->has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->bias, &conv->bias, &bias_gradient));
    const struct operand operands[] = {{DNNL_ARG_SRC, &source},
                                       {DNNL_ARG_DIFF_DST, &gradient},
                                       {DNNL_ARG_DIFF_WEIGHTS, &weight_gradient},
                                       {DNNL_ARG_DIFF_BIAS, &bias_gradient}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 4));
    return tensor_deliver(plan, node, &weight_gradient, &target);
}

static enum hysgd_status describe_backward(struct plan *plan, int node, const struct conv *conv,
                                           dnnl_alg_kind_t algorithm,
                                           const_dnnl_primitive_desc_t *description_out) {
    dnnl_convolution_desc_t operation;
    HYSGD_TRY(
        onednn_check(plan, node,
                     dnnl_convolution_backward_data_desc_init(&operation, algorithm, &conv->source, &conv->weight,
                                                              &conv->output, conv->strides, conv->pads, conv->pads),
                     "convolution backward"));
    return describe_if_any(plan, node, &operation, plan->plain, plan->nodes[node].forward, "convolution backward",
                           description_out);
}

static enum hysgd_status backward_data(struct plan *plan, int node, const struct conv *conv) {
    struct node_state *state = &plan->nodes[node];
    const_dnnl_primitive_desc_t description = NULL;
    if (pays_winograd(plan, node))
        HYSGD_TRY(describe_backward(plan, node, conv, dnnl_convolution_winograd, &description));
    if (!description)
        HYSGD_TRY(describe_backward(plan, node, conv, dnnl_convolution_direct, &description));
    if (!description)
        return onednn_check(plan, node, dnnl_unimplemented, "convolution backward");
    struct tensor plain_weight, weight, gradient, result;
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, plan->graph->nodes[node].weight, &conv->plain_weight, &plain_weight));
    const dnnl_memory_desc_t *layout = wanted(description, dnnl_query_weights_md);
    if (dnnl_memory_desc_equal(layout, &state->weight.layout))
        weight = state->weight;
    else
        HYSGD_TRY(tensor_as(plan, node, "reorder of weights", WHEN_TRAINING, &plain_weight, layout, &weight));
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, &state->gradient,
                        wanted(description, dnnl_query_diff_dst_md), &gradient));
    HYSGD_TRY(tensor_new(plan, wanted(description, dnnl_query_diff_src_md), &result));
    const struct operand operands[] = {
        {DNNL_ARG_DIFF_DST, &gradient}, {DNNL_ARG_WEIGHTS, &weight}, {DNNL_ARG_DIFF_SRC, &result}};
    HYSGD_TRY(step_add(plan, node, "convolution backward", WHEN_TRAINING, description, operands, 3));
    return gradient_send(plan, node_input(plan, node, 0), &result, false);
}

static enum hysgd_status conv_backward(struct plan *plan, int node) {
    const struct conv conv = conv_of(plan, node);
    HYSGD_TRY(backward_weights(plan, node, &conv));
    if (!plan->nodes[node_input(plan, node, 0)].needs_gradient)
        return HYSGD_OK;
    return backward_data(plan, node, &conv);
}

const struct operation operation_conv = {conv_forward, conv_backward};
