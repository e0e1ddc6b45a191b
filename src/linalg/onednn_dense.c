/* SPDX-License-Identifier: Apache-2.0 */
/* Dense layers with bias and an absorbed relu, as inner products over the input in the layout that its producer
 * chose. */
#include "linalg/onednn.h"

/* Shapes of the operands of an inner product: two-dimensional where the input is in plain order, else
 * four-dimensional. */
struct dense {
    dnnl_memory_desc_t source;       /* layout of the input's value */
    dnnl_memory_desc_t weight;       /* any layout */
    dnnl_memory_desc_t plain_weight; /* as in the caller's vector */
    dnnl_memory_desc_t bias, output; /* what the loss reads stays float in every precision */
    dnnl_memory_desc_t gradient;     /* of the output */
    bool has_bias;
};

static struct dense dense_of(const struct plan *plan, int node) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int input = node_input(plan, node, 0);
    const struct graph_node *from = &plan->graph->nodes[input];
    struct dense dense = {.has_bias = shape->has_bias, .source = plan->nodes[input].value.layout};
    const dnnl_memory_desc_t plain = node_layout(plan, input, dense.source.data_type, dnnl_nchw);
    const bool is_flat = (from->height == 1 && from->width == 1) || dnnl_memory_desc_equal(&dense.source, &plain) ||
                         (size_t)shape->channels >= plan->batch;
    const int rank = is_flat ? 2 : 4;
    const int inputs = from->channels * from->height * from->width;
    const dnnl_dims_t weights = {shape->channels, is_flat ? inputs : from->channels, from->height, from->width};
    const dnnl_dims_t sources = {(dnnl_dim_t)plan->batch, inputs};
    const dnnl_dims_t outputs = {(dnnl_dim_t)plan->batch, shape->channels};
    if (is_flat)
        dnnl_memory_desc_init_by_tag(&dense.source, 2, sources, plan_type(plan), dnnl_nc);
    else
        dense.source.data_type = plan_type(plan);
    dnnl_memory_desc_init_by_tag(&dense.weight, rank, weights, plan_type(plan),
                                 is_flat ? dnnl_oi : dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&dense.plain_weight, rank, weights, dnnl_f32, is_flat ? dnnl_oi : dnnl_oihw);
    dnnl_memory_desc_init_by_tag(&dense.gradient, 2, outputs, plan_type(plan), dnnl_nc);
    dense.output = dense.gradient;
    dense.output.data_type = plan->nodes[node].feeds_loss ? dnnl_f32 : plan_type(plan);
    dense.bias = vector_layout((size_t)shape->channels);
    return dense;
}

/* The same memory with other dimensions; both layouts are plain. */
static struct tensor seen_as(const struct tensor *tensor, const dnnl_memory_desc_t *layout) {
    return (struct tensor){.buffer = tensor->buffer, .offset = tensor->offset, .layout = *layout};
}

/* The value of the input with the shape and type of `layout`. */
static enum hysgd_status input_as(struct plan *plan, int node, const dnnl_memory_desc_t *layout,
                                  struct tensor *tensor_out) {
    const int input = node_input(plan, node, 0);
    struct tensor tensor = plan->nodes[input].value;
    if (layout->ndims == 2) {
        const dnnl_memory_desc_t plain = node_layout(plan, input, plan_type(plan), dnnl_nchw);
        HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &tensor, &plain, &tensor));
        *tensor_out = seen_as(&tensor, layout);
        return HYSGD_OK;
    }
    return tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &tensor, layout, tensor_out);
}

/* Measured: primitives are fastest on weights in a layout of their own, but the copy costs more than that gains.
 * Where the weights are several times larger than the input, the two change places instead: the input is copied,
 * the result comes out transposed. */
#define TURNED_LEAST_UNITS 4 /* per sample of the batch */

static bool pays_turning(const struct plan *plan, int node, const struct dense *dense) {
    return plan->precision == PLAN_FP32 && dense->source.ndims == 2 &&
           (size_t)plan->graph->nodes[node].channels >= TURNED_LEAST_UNITS * plan->batch;
}

static void run_bias(struct plan *plan, const struct step *step) {
    elements_bias(step_pointer(plan, step, 1), plan->nodes[step->node].is_relu, step_pointer(plan, step, 0),
                  plan->batch, step->elements / plan->batch);
}

static enum hysgd_status turned_forward(struct plan *plan, int node, const struct dense *dense,
                                        const struct tensor *weight, const struct tensor *bias) {
    const char *kind = "dense forward";
    struct node_state *state = &plan->nodes[node];
    const dnnl_dim_t units = plan->graph->nodes[node].channels, batch = (dnnl_dim_t)plan->batch;
    const dnnl_dims_t sources = {batch, dense->source.dims[1]}, results = {units, batch}, outputs = {batch, units};
    dnnl_memory_desc_t source, result, turned;
    dnnl_memory_desc_init_by_tag(&source, 2, sources, dnnl_f32, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&result, 2, results, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&turned, 2, outputs, dnnl_f32, dnnl_ba);
    dnnl_inner_product_desc_t operation;
    const_dnnl_primitive_desc_t description;
    struct tensor copy, product, output;
    HYSGD_TRY(onednn_check(node,
                           dnnl_inner_product_forward_desc_init(&operation, dnnl_forward_training, &weight->layout,
                                                                &source, NULL, &result),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, NULL, kind, &description));
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &state->source,
                        wanted(description, dnnl_query_weights_md), &copy));
    HYSGD_TRY(tensor_new(plan, &result, &product));
    const struct operand operands[] = {{DNNL_ARG_SRC, weight}, {DNNL_ARG_WEIGHTS, &copy}, {DNNL_ARG_DST, &product}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_ALWAYS, description, operands, 3));
    product = seen_as(&product, &turned);
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &product, &dense->output, &output));
    const dnnl_memory_desc_t layout = node_layout(plan, node, dnnl_f32, dnnl_nchw);
    state->value = seen_as(&output, &layout);
    if (!dense->has_bias && !state->is_relu)
        return HYSGD_OK;
    return step_add_own(plan, node, "bias and relu", WHEN_ALWAYS, run_bias,
                        (const struct tensor *const[]){&state->value, bias}, 2, tensor_elements(&state->value));
}

static enum hysgd_status dense_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    const struct dense dense = dense_of(plan, node);
    dnnl_inner_product_desc_t operation;
    const_dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(node,
                           dnnl_inner_product_forward_desc_init(&operation, dnnl_forward_training, &dense.source,
                                                                &dense.weight, dense.has_bias ? &dense.bias : NULL,
                                                                &dense.output),
                           "dense forward"));
    HYSGD_TRY(describe(plan, node, &operation, state->is_relu ? plan->relu : plan->plain, NULL, "dense forward",
                       &description));
    state->forward = description;
    struct tensor plain_weight, bias = {.buffer = -1};
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->weight, &dense.plain_weight, &plain_weight));
    if (dense.has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->bias, &dense.bias, &bias));
    HYSGD_TRY(tensor_as(plan, node, "reorder of weights", WHEN_ALWAYS, &plain_weight,
                        wanted(description, dnnl_query_weights_md), &state->weight));
    HYSGD_TRY(input_as(plan, node, &dense.source, &state->source));
    if (pays_turning(plan, node, &dense))
        return turned_forward(plan, node, &dense, &state->weight, &bias);
    const dnnl_memory_desc_t layout = node_layout(plan, node, dense.output.data_type, dnnl_nchw);
    HYSGD_TRY(tensor_new(plan, &layout, &state->value));
    const struct tensor output = seen_as(&state->value, &dense.output);
    const struct operand operands[] = {{DNNL_ARG_SRC, &state->source},
                                       {DNNL_ARG_WEIGHTS, &state->weight},
                                       {DNNL_ARG_BIAS, &bias},
                                       {DNNL_ARG_DST, &output}};
    return step_add(plan, node, "dense forward", WHEN_ALWAYS, description, operands, 4);
}

static enum hysgd_status backward_weights(struct plan *plan, int node, const struct dense *dense,
                                          const struct tensor *gradient) {
    const char *kind = "dense backward weights";
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    dnnl_memory_desc_t weight = dense->weight;
    weight.data_type = dnnl_f32;
    dnnl_inner_product_desc_t operation;
    const_dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(node,
                           dnnl_inner_product_backward_weights_desc_init(&operation, &dense->source, &weight,
                                                                         dense->has_bias ? &dense->bias : NULL,
                                                                         &dense->gradient),
                           kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    struct tensor target, weight_gradient, bias_gradient = {.buffer = -1};
    HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->weight, &dense->plain_weight, &target));
    HYSGD_TRY(tensor_for(plan, &target, wanted(description, dnnl_query_diff_weights_md), &weight_gradient));
    if (dense->has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->bias, &dense->bias, &bias_gradient));
    const struct operand operands[] = {{DNNL_ARG_SRC, &state->source},
                                       {DNNL_ARG_DIFF_DST, gradient},
                                       {DNNL_ARG_DIFF_WEIGHTS, &weight_gradient},
                                       {DNNL_ARG_DIFF_BIAS, &bias_gradient}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 4));
    return tensor_deliver(plan, node, &weight_gradient, &target);
}

static enum hysgd_status backward_data(struct plan *plan, int node, const struct dense *dense,
                                       const struct tensor *gradient) {
    const char *kind = "dense backward";
    struct node_state *state = &plan->nodes[node];
    const int input = node_input(plan, node, 0);
    dnnl_inner_product_desc_t operation;
    const_dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(
        node,
        dnnl_inner_product_backward_data_desc_init(&operation, &dense->source, &dense->weight, &dense->gradient),
        kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    struct tensor plain_weight, weight, result;
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, plan->graph->nodes[node].weight, &dense->plain_weight, &plain_weight));
    const dnnl_memory_desc_t *layout = wanted(description, dnnl_query_weights_md);
    if (dnnl_memory_desc_equal(layout, &state->weight.layout))
        weight = state->weight;
    else
        HYSGD_TRY(tensor_as(plan, node, "reorder of weights", WHEN_TRAINING, &plain_weight, layout, &weight));
    HYSGD_TRY(tensor_new(plan, &dense->source, &result));
    const struct operand operands[] = {
        {DNNL_ARG_DIFF_DST, gradient}, {DNNL_ARG_WEIGHTS, &weight}, {DNNL_ARG_DIFF_SRC, &result}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 3));
    const dnnl_memory_desc_t plain = node_layout(plan, input, plan_type(plan), dnnl_nchw);
    const struct tensor sent = dense->source.ndims == 2 ? seen_as(&result, &plain) : result;
    return gradient_send(plan, input, &sent, false);
}

static enum hysgd_status dense_backward(struct plan *plan, int node) {
    const struct dense dense = dense_of(plan, node);
    const dnnl_memory_desc_t layout = node_layout(plan, node, plan_type(plan), dnnl_nchw);
    struct tensor gradient;
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, &plan->nodes[node].gradient, &layout,
                        &gradient));
    gradient.layout = dense.gradient;
    HYSGD_TRY(backward_weights(plan, node, &dense, &gradient));
    if (!plan->nodes[node_input(plan, node, 0)].needs_gradient)
        return HYSGD_OK;
    return backward_data(plan, node, &dense, &gradient);
}

const struct operation operation_dense = {dense_forward, dense_backward};
