/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with bias and an absorbed relu. Layouts are oneDNN's choice; weights are copied into them at each
 * call.
 *
 * Where Winograd's algorithm (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016) exists and
 * pays it is used, by a rule that depends on shapes only. It runs over a few samples at a time, so that what it
 * transforms stays in the cache. */
#include "linalg/onednn.h"

enum pass { FORWARD, BACKWARD, BACKWARD_WEIGHTS, PASS_COUNT };

static const char *const pass_kinds[] = {"convolution forward", "convolution backward",
                                         "convolution backward weights"};

/* What the primitive of one pass works on: all samples of the batch, or as many as fit into the cache. */
struct conv {
    size_t samples;
    dnnl_dims_t strides, pads;
    dnnl_memory_desc_t source, weight, bias, output; /* any layout; element type of the pass, bias float */
    dnnl_memory_desc_t plain_weight;                 /* as in the caller's vector */
    bool has_bias;
    const_dnnl_primitive_desc_t description;
};

/* Bytes of input and output of a pass of Winograd's algorithm: found by measurement on a core with 1 MiB of its own
 * cache. The gradient of the weights takes more, because the sums of its parts have to be added. */
static const size_t winograd_bytes[PASS_COUNT] = {1 << 20, 1 << 20, 3 << 20};

#define WINOGRAD_TILE             4   /* outputs on a side that are computed together */
#define WINOGRAD_LEAST_CHANNELS   16  /* below, direct convolution is faster */
#define WINOGRAD_LEAST_FILL       0.6 /* of the tiles: the rest is thrown away */
#define WINOGRAD_LEAST_TILES      32  /* in a batch: the weights are transformed once for all of them */
#define WINOGRAD_LEAST_PART_TILES 64  /* in a part of a batch, for which the weights are transformed again */
#define WINOGRAD_LEAST_RATIO      2   /* of a part's bytes to those of the weights */
/* Of the input, where a bfloat16 plan computes the gradient of the weights in float: there bfloat16's direct
 * convolution takes half as long again, although values and gradients are copied to float first. */
#define WINOGRAD_LEAST_BF16_CHANNELS 64

/* Tiles that cover the output of one sample. */
static size_t winograd_tiles(const struct graph_node *shape) {
    const size_t across = ((size_t)shape->width + WINOGRAD_TILE - 1) / WINOGRAD_TILE;
    const size_t down = ((size_t)shape->height + WINOGRAD_TILE - 1) / WINOGRAD_TILE;
    return across * down;
}

static bool pays_winograd(const struct plan *plan, int node, enum pass pass) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int channels = plan->graph->nodes[node_input(plan, node, 0)].channels;
    const size_t tiles = winograd_tiles(shape);
    const double fill = (double)shape->width * shape->height / ((double)tiles * WINOGRAD_TILE * WINOGRAD_TILE);
    if (plan->precision == PLAN_BF16 && (pass != BACKWARD_WEIGHTS || channels < WINOGRAD_LEAST_BF16_CHANNELS))
        return false;
    return shape->kernel_h == 3 && shape->kernel_w == 3 && shape->stride == 1 &&
           shape->channels >= WINOGRAD_LEAST_CHANNELS && channels >= WINOGRAD_LEAST_CHANNELS &&
           fill >= WINOGRAD_LEAST_FILL && tiles * plan->batch >= WINOGRAD_LEAST_TILES;
}

/* The largest part of the batch that divides it and fits; the whole batch if that is not worth it. */
static size_t winograd_samples(const struct plan *plan, int node, enum pass pass) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int input = node_input(plan, node, 0);
    const size_t bytes = (node_size(plan, node) + node_size(plan, input)) * sizeof(float);
    const size_t weight_bytes =
        (size_t)shape->channels * (size_t)plan->graph->nodes[input].channels * 9 * sizeof(float);
    size_t parts = 1;
    while (parts < plan->batch && (plan->batch % parts != 0 || plan->batch / parts * bytes > winograd_bytes[pass]))
        parts++;
    const size_t samples = plan->batch / parts;
    const bool pays = samples * winograd_tiles(shape) >= WINOGRAD_LEAST_PART_TILES &&
                      samples * bytes >= WINOGRAD_LEAST_RATIO * weight_bytes;
    return pays ? samples : plan->batch;
}

static dnnl_memory_desc_t with_samples(dnnl_memory_desc_t layout, size_t samples) {
    layout.dims[0] = layout.padded_dims[0] = (dnnl_dim_t)samples;
    return layout;
}

static struct conv conv_of(const struct plan *plan, int node, size_t samples, dnnl_data_type_t type) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    const int input = node_input(plan, node, 0);
    struct conv conv = {.samples = samples,
                        .strides = {shape->stride, shape->stride},
                        .pads = {shape->pad, shape->pad},
                        .has_bias = shape->has_bias};
    const dnnl_dims_t weights = {shape->channels, plan->graph->nodes[input].channels, shape->kernel_h,
                                 shape->kernel_w};
    conv.source = with_samples(node_layout(plan, input, type, dnnl_format_tag_any), samples);
    conv.output = with_samples(node_layout(plan, node, type, dnnl_format_tag_any), samples);
    dnnl_memory_desc_init_by_tag(&conv.weight, 4, weights, type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&conv.plain_weight, 4, weights, dnnl_f32, dnnl_oihw);
    conv.bias = vector_layout((size_t)shape->channels);
    return conv;
}

/* Looks for the primitive of a pass; conv->description is NULL when there is none. */
static enum hysgd_status look_for(struct plan *plan, int node, enum pass pass, dnnl_alg_kind_t algorithm,
                                  struct conv *conv) {
    const dnnl_memory_desc_t *bias = conv->has_bias ? &conv->bias : NULL;
    dnnl_memory_desc_t weight_gradient = conv->weight;
    weight_gradient.data_type = dnnl_f32;
    dnnl_convolution_desc_t operation;
    dnnl_status_t status;
    if (pass == FORWARD)
        status = dnnl_convolution_forward_desc_init(&operation, dnnl_forward_training, algorithm, &conv->source,
                                                    &conv->weight, bias, &conv->output, conv->strides, conv->pads,
                                                    conv->pads);
    else if (pass == BACKWARD)
        status = dnnl_convolution_backward_data_desc_init(&operation, algorithm, &conv->source, &conv->weight,
                                                          &conv->output, conv->strides, conv->pads, conv->pads);
    else
        status =
            dnnl_convolution_backward_weights_desc_init(&operation, algorithm, &conv->source, &weight_gradient,
                                                        bias, &conv->output, conv->strides, conv->pads, conv->pads);
    HYSGD_TRY(onednn_check(node, status, pass_kinds[pass]));
    const bool is_relu = pass == FORWARD && plan->nodes[node].is_relu;
    return describe_if_any(plan, node, &operation, is_relu ? plan->relu : plan->plain,
                           pass == FORWARD ? NULL : plan->nodes[node].forward, pass_kinds[pass],
                           &conv->description);
}

static enum hysgd_status choose(struct plan *plan, int node, enum pass pass, struct conv *conv_out) {
    if (pays_winograd(plan, node, pass)) {
        *conv_out = conv_of(plan, node, winograd_samples(plan, node, pass), dnnl_f32);
        HYSGD_TRY(look_for(plan, node, pass, dnnl_convolution_winograd, conv_out));
        if (conv_out->description)
            return HYSGD_OK;
    }
    *conv_out = conv_of(plan, node, plan->batch, plan_type(plan));
    HYSGD_TRY(look_for(plan, node, pass, dnnl_convolution_direct, conv_out));
    return conv_out->description ? HYSGD_OK : onednn_check(node, dnnl_unimplemented, pass_kinds[pass]);
}

/* What the primitive wants for one of its operands, but for the whole batch. */
static dnnl_memory_desc_t wanted_whole(const struct plan *plan, const struct conv *conv, dnnl_query_t query) {
    return with_samples(*wanted(conv->description, query), plan->batch);
}

/* The samples of one part of a tensor: samples are the outermost dimension of every layout that convolutions want.
 */
static struct tensor part_of(const struct conv *conv, const struct tensor *whole, size_t part) {
    struct tensor tensor = *whole;
    tensor.layout = with_samples(whole->layout, conv->samples);
    tensor.offset += part * dnnl_memory_desc_get_size(&tensor.layout);
    return tensor;
}

static enum hysgd_status conv_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    struct conv conv;
    struct tensor plain_weight, bias = {.buffer = -1};
    HYSGD_TRY(choose(plan, node, FORWARD, &conv));
    state->forward = conv.description;
    const dnnl_memory_desc_t source = wanted_whole(plan, &conv, dnnl_query_src_md);
    const dnnl_memory_desc_t output = wanted_whole(plan, &conv, dnnl_query_dst_md);
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->weight, &conv.plain_weight, &plain_weight));
    if (conv.has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, shape->bias, &conv.bias, &bias));
    HYSGD_TRY(tensor_as(plan, node, "reorder of weights", WHEN_ALWAYS, &plain_weight,
                        wanted(conv.description, dnnl_query_weights_md), &state->weight));
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &plan->nodes[node_input(plan, node, 0)].value,
                        &source, &state->source));
    HYSGD_TRY(tensor_new(plan, &output, &state->value));
    for (size_t part = 0; part < plan->batch / conv.samples; part++) {
        const struct tensor from = part_of(&conv, &state->source, part), to = part_of(&conv, &state->value, part);
        const struct operand operands[] = {
            {DNNL_ARG_SRC, &from}, {DNNL_ARG_WEIGHTS, &state->weight}, {DNNL_ARG_BIAS, &bias}, {DNNL_ARG_DST, &to}};
        HYSGD_TRY(step_add(plan, node, pass_kinds[FORWARD], WHEN_ALWAYS, conv.description, operands, 4));
    }
    return HYSGD_OK;
}

static void run_sum(struct plan *plan, const struct step *step) {
    elements_add(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1), false,
                 step_pointer(plan, step, 0), step->elements);
}

/* Gradients of the weights, in the layout of the primitive, and of the bias. */
struct weight_gradient {
    struct tensor weight, bias;
};

static enum hysgd_status add_part(struct plan *plan, int node, const struct tensor *sum,
                                  const struct tensor *part) {
    return step_add_own(plan, node, "sums of weight gradients", WHEN_TRAINING, run_sum,
                        (const struct tensor *const[]){sum, part}, 2, tensor_elements(sum));
}

/* One part of the batch. The first one writes the sums, the others what is then added to them. */
static enum hysgd_status weights_of_part(struct plan *plan, int node, const struct conv *conv,
                                         const struct tensor *source, const struct tensor *gradient,
                                         const struct weight_gradient *sum, const struct weight_gradient *part) {
    const struct operand operands[] = {{DNNL_ARG_SRC, source},
                                       {DNNL_ARG_DIFF_DST, gradient},
                                       {DNNL_ARG_DIFF_WEIGHTS, &part->weight},
                                       {DNNL_ARG_DIFF_BIAS, &part->bias}};
    HYSGD_TRY(step_add(plan, node, pass_kinds[BACKWARD_WEIGHTS], WHEN_TRAINING, conv->description, operands, 4));
    if (part == sum)
        return HYSGD_OK;
    HYSGD_TRY(add_part(plan, node, &sum->weight, &part->weight));
    return conv->has_bias ? add_part(plan, node, &sum->bias, &part->bias) : HYSGD_OK;
}

static enum hysgd_status backward_weights(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const struct graph_node *shape = &plan->graph->nodes[node];
    struct conv conv;
    struct tensor source, gradient, target;
    struct weight_gradient sum = {.bias.buffer = -1}, part;
    HYSGD_TRY(choose(plan, node, BACKWARD_WEIGHTS, &conv));
    const dnnl_memory_desc_t source_layout = wanted_whole(plan, &conv, dnnl_query_src_md);
    const dnnl_memory_desc_t gradient_layout = wanted_whole(plan, &conv, dnnl_query_diff_dst_md);
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_TRAINING, &state->source, &source_layout, &source));
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, &state->gradient, &gradient_layout,
                        &gradient));
    HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->weight, &conv.plain_weight, &target));
    HYSGD_TRY(tensor_for(plan, &target, wanted(conv.description, dnnl_query_diff_weights_md), &sum.weight));
    if (conv.has_bias)
        HYSGD_TRY(tensor_at(plan, PLACE_GRADIENT, shape->bias, &conv.bias, &sum.bias));
    part = sum;
    const size_t parts = plan->batch / conv.samples;
    if (parts > 1) {
        HYSGD_TRY(tensor_new(plan, &sum.weight.layout, &part.weight));
        if (conv.has_bias)
            HYSGD_TRY(tensor_new(plan, &sum.bias.layout, &part.bias));
    }
    for (size_t i = 0; i < parts; i++) {
        const struct tensor from = part_of(&conv, &source, i), back = part_of(&conv, &gradient, i);
        HYSGD_TRY(weights_of_part(plan, node, &conv, &from, &back, &sum, i == 0 ? &sum : &part));
    }
    return tensor_deliver(plan, node, &sum.weight, &target);
}

static enum hysgd_status backward_data(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    struct conv conv;
    struct tensor plain_weight, weight = state->weight, gradient, result;
    HYSGD_TRY(choose(plan, node, BACKWARD, &conv));
    HYSGD_TRY(tensor_at(plan, PLACE_VECTOR, plan->graph->nodes[node].weight, &conv.plain_weight, &plain_weight));
    const dnnl_memory_desc_t *weight_layout = wanted(conv.description, dnnl_query_weights_md);
    if (!dnnl_memory_desc_equal(weight_layout, &weight.layout))
        HYSGD_TRY(
            tensor_as(plan, node, "reorder of weights", WHEN_TRAINING, &plain_weight, weight_layout, &weight));
    const dnnl_memory_desc_t gradient_layout = wanted_whole(plan, &conv, dnnl_query_diff_dst_md);
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, &state->gradient, &gradient_layout,
                        &gradient));
    const dnnl_memory_desc_t result_layout = wanted_whole(plan, &conv, dnnl_query_diff_src_md);
    HYSGD_TRY(tensor_new(plan, &result_layout, &result));
    for (size_t part = 0; part < plan->batch / conv.samples; part++) {
        const struct tensor from = part_of(&conv, &gradient, part), to = part_of(&conv, &result, part);
        const struct operand operands[] = {
            {DNNL_ARG_DIFF_DST, &from}, {DNNL_ARG_WEIGHTS, &weight}, {DNNL_ARG_DIFF_SRC, &to}};
        HYSGD_TRY(step_add(plan, node, pass_kinds[BACKWARD], WHEN_TRAINING, conv.description, operands, 3));
    }
    return gradient_send(plan, node_input(plan, node, 0), &result, false);
}

static enum hysgd_status conv_backward(struct plan *plan, int node) {
    HYSGD_TRY(backward_weights(plan, node));
    return plan->nodes[node_input(plan, node, 0)].needs_gradient ? backward_data(plan, node) : HYSGD_OK;
}

const struct operation operation_conv = {conv_forward, conv_backward};
