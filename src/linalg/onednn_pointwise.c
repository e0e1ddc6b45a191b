/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on single elements: relu where no producer absorbed it, tanh, gelu, sums of two values, and dropout.
 */
#include "linalg/onednn.h"

#include <string.h>

#include "base/random.h"

/* The input in the plan's element type, in its own layout where that is possible. */
static enum hysgd_status take_source(struct plan *plan, int node, int i, struct tensor *tensor_out) {
    const struct tensor *input = &plan->nodes[node_input(plan, node, i)].value;
    dnnl_memory_desc_t layout = input->layout;
    if (layout.data_type != plan_type(plan))
        layout = node_layout(plan, node, plan_type(plan), dnnl_nchw);
    return tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, input, &layout, tensor_out);
}

static void run_relu(struct plan *plan, const struct step *step) {
    elements_relu(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1), step->elements);
}

static enum hysgd_status relu_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    HYSGD_TRY(take_source(plan, node, 0, &state->source));
    HYSGD_TRY(tensor_new(plan, &state->source.layout, &state->value));
    const struct tensor *tensors[] = {&state->source, &state->value};
    return step_add_own(plan, node, "relu forward", WHEN_ALWAYS, run_relu, tensors, 2,
                        tensor_elements(&state->value));
}

/* A relu is gated itself: gradient_collect has done the work. */
static enum hysgd_status relu_backward(struct plan *plan, int node) {
    const int input = node_input(plan, node, 0);
    if (!plan->nodes[input].needs_gradient)
        return HYSGD_OK;
    return gradient_send(plan, input, &plan->nodes[node].gradient, false);
}

const struct operation operation_relu = {relu_forward, relu_backward};

static enum hysgd_status eltwise_forward(struct plan *plan, int node, dnnl_alg_kind_t algorithm) {
    const char *kind = "activation forward";
    struct node_state *state = &plan->nodes[node];
    HYSGD_TRY(take_source(plan, node, 0, &state->source));
    HYSGD_TRY(tensor_new(plan, &state->source.layout, &state->value));
    dnnl_eltwise_desc_t operation;
    HYSGD_TRY(onednn_check(
        node,
        dnnl_eltwise_forward_desc_init(&operation, dnnl_forward_training, algorithm, &state->source.layout, 0, 0),
        kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, NULL, kind, &state->forward));
    const struct operand operands[] = {{DNNL_ARG_SRC, &state->source}, {DNNL_ARG_DST, &state->value}};
    return step_add(plan, node, kind, WHEN_ALWAYS, state->forward, operands, 2);
}

/* `from` is what the derivative is computed from: the operation's source or its result. */
static enum hysgd_status eltwise_backward(struct plan *plan, int node, dnnl_alg_kind_t algorithm, int id,
                                          const struct tensor *from) {
    const char *kind = "activation backward";
    struct node_state *state = &plan->nodes[node];
    const int input = node_input(plan, node, 0);
    if (!plan->nodes[input].needs_gradient)
        return HYSGD_OK;
    dnnl_eltwise_desc_t operation;
    const_dnnl_primitive_desc_t description;
    struct tensor result;
    HYSGD_TRY(onednn_check(
        node, dnnl_eltwise_backward_desc_init(&operation, algorithm, &from->layout, &from->layout, 0, 0), kind));
    HYSGD_TRY(describe(plan, node, &operation, plan->plain, state->forward, kind, &description));
    HYSGD_TRY(tensor_new(plan, &from->layout, &result));
    const struct operand operands[] = {
        {id, from}, {DNNL_ARG_DIFF_DST, &state->gradient}, {DNNL_ARG_DIFF_SRC, &result}};
    HYSGD_TRY(step_add(plan, node, kind, WHEN_TRAINING, description, operands, 3));
    return gradient_send(plan, input, &result, false);
}

static enum hysgd_status tanh_forward(struct plan *plan, int node) {
    return eltwise_forward(plan, node, dnnl_eltwise_tanh_use_dst_for_bwd);
}

static enum hysgd_status tanh_backward(struct plan *plan, int node) {
    return eltwise_backward(plan, node, dnnl_eltwise_tanh_use_dst_for_bwd, DNNL_ARG_DST, &plan->nodes[node].value);
}

static enum hysgd_status gelu_forward(struct plan *plan, int node) {
    return eltwise_forward(plan, node, dnnl_eltwise_gelu_erf);
}

static enum hysgd_status gelu_backward(struct plan *plan, int node) {
    return eltwise_backward(plan, node, dnnl_eltwise_gelu_erf, DNNL_ARG_SRC, &plan->nodes[node].source);
}

const struct operation operation_tanh = {tanh_forward, tanh_backward};
const struct operation operation_gelu = {gelu_forward, gelu_backward};

static void run_add(struct plan *plan, const struct step *step) {
    elements_add(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1),
                 plan->nodes[step->node].is_relu, step_pointer(plan, step, 2), step->elements);
}

static enum hysgd_status add_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    struct tensor a, b;
    HYSGD_TRY(take_source(plan, node, 0, &a));
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &plan->nodes[node_input(plan, node, 1)].value,
                        &a.layout, &b));
    HYSGD_TRY(tensor_new(plan, &a.layout, &state->value));
    const struct tensor *tensors[] = {&a, &b, &state->value};
    return step_add_own(plan, node, "add forward", WHEN_ALWAYS, run_add, tensors, 3, tensor_elements(&a));
}

static enum hysgd_status add_backward(struct plan *plan, int node) {
    for (int i = 0; i < 2; i++) {
        const int input = node_input(plan, node, i);
        if (plan->nodes[input].needs_gradient)
            HYSGD_TRY(gradient_send(plan, input, &plan->nodes[node].gradient, true));
    }
    return HYSGD_OK;
}

const struct operation operation_add = {add_forward, add_backward};

/* Writes the factor of each value, 0 or 1 / (1 - rate), in plain order: one uniform number for each. */
static void run_draw(struct plan *plan, const struct step *step) {
    const double rate = plan->graph->nodes[step->node].rate;
    const float kept = (float)(1 / (1 - rate));
    float *factors = step_pointer(plan, step, 0);
    struct random random;
    random_init(&random, plan->random->seed, plan->random->worker, RANDOM_DROPOUT,
                plan->random->draw * PLAN_MOST_NODES + (uint64_t)step->node);
    random_fill_uniform(&random, factors, step->elements);
    for (size_t i = 0; i < step->elements; i++)
        factors[i] = factors[i] >= rate ? kept : 0;
}

static void run_multiply(struct plan *plan, const struct step *step) {
    elements_multiply(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1),
                      step_pointer(plan, step, 2), step->elements);
}

static void run_copy(struct plan *plan, const struct step *step) {
    memcpy(step_pointer(plan, step, 1), step_pointer(plan, step, 0),
           step->elements * (step->element == ELEMENT_BFLOAT16 ? 2 : 4));
}

/* The factors in the layout of the values, whose elements they are multiplied with. */
static enum hysgd_status draw_factors(struct plan *plan, int node, const struct tensor *values,
                                      struct tensor *factors_out) {
    const dnnl_memory_desc_t plain = node_layout(plan, node, dnnl_f32, dnnl_nchw);
    dnnl_memory_desc_t layout = values->layout;
    layout.data_type = dnnl_f32;
    struct tensor drawn;
    HYSGD_TRY(tensor_new(plan, &plain, &drawn));
    const struct tensor *tensors[] = {&drawn};
    HYSGD_TRY(
        step_add_own(plan, node, "dropout draw", WHEN_TRAINING, run_draw, tensors, 1, tensor_elements(&drawn)));
    return tensor_as(plan, node, "dropout draw", WHEN_TRAINING, &drawn, &layout, factors_out);
}

static enum hysgd_status dropout_forward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    HYSGD_TRY(take_source(plan, node, 0, &state->source));
    HYSGD_TRY(tensor_new(plan, &state->source.layout, &state->value));
    const size_t elements = tensor_elements(&state->value);
    const struct tensor *copied[] = {&state->source, &state->value};
    HYSGD_TRY(step_add_own(plan, node, "dropout inference", WHEN_INFERENCE, run_copy, copied, 2, elements));
    if (!plan->is_training)
        return HYSGD_OK;
    HYSGD_TRY(draw_factors(plan, node, &state->value, &state->workspace));
    const struct tensor *multiplied[] = {&state->source, &state->workspace, &state->value};
    return step_add_own(plan, node, "dropout", WHEN_TRAINING, run_multiply, multiplied, 3, elements);
}

static enum hysgd_status dropout_backward(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    const int input = node_input(plan, node, 0);
    if (!plan->nodes[input].needs_gradient)
        return HYSGD_OK;
    struct tensor result;
    HYSGD_TRY(tensor_new(plan, &state->value.layout, &result));
    const struct tensor *tensors[] = {&state->gradient, &state->workspace, &result};
    HYSGD_TRY(
        step_add_own(plan, node, "dropout", WHEN_TRAINING, run_multiply, tensors, 3, tensor_elements(&result)));
    return gradient_send(plan, input, &result, false);
}

const struct operation operation_dropout = {dropout_forward, dropout_backward};
