/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts of tensors, copies between them, and the way of gradients from consumers back to producers. */
#include "linalg/onednn.h"

#include <string.h>

dnnl_data_type_t plan_type(const struct plan *plan) {
    return plan->precision == PLAN_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_memory_desc_t node_layout(const struct plan *plan, int node, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    dnnl_dims_t dims = {(dnnl_dim_t)plan->batch, shape->channels, shape->height, shape->width};
    dnnl_memory_desc_t layout;
    dnnl_memory_desc_init_by_tag(&layout, 4, dims, type, tag);
    return layout;
}

size_t node_size(const struct plan *plan, int node) {
    const struct graph_node *shape = &plan->graph->nodes[node];
    return (size_t)shape->channels * (size_t)shape->height * (size_t)shape->width;
}

dnnl_memory_desc_t vector_layout(size_t count) {
    dnnl_dims_t dims = {(dnnl_dim_t)count};
    dnnl_memory_desc_t layout;
    dnnl_memory_desc_init_by_tag(&layout, 1, dims, dnnl_f32, dnnl_a);
    return layout;
}

enum element tensor_element(const struct tensor *tensor) {
    return tensor->layout.data_type == dnnl_bf16 ? ELEMENT_BFLOAT16 : ELEMENT_FLOAT;
}

size_t tensor_elements(const struct tensor *tensor) {
    return dnnl_memory_desc_get_size(&tensor->layout) / (tensor_element(tensor) == ELEMENT_BFLOAT16 ? 2 : 4);
}

const dnnl_memory_desc_t *wanted(const_dnnl_primitive_desc_t description, dnnl_query_t query) {
    return dnnl_primitive_desc_query_md(description, query, 0);
}

static enum hysgd_status reorder(struct plan *plan, int node, const char *kind, unsigned when,
                                 const struct tensor *from, const struct tensor *to) {
    dnnl_primitive_desc_t description;
    HYSGD_TRY(onednn_check(node,
                           dnnl_reorder_primitive_desc_create(&description, &from->layout, plan->engine,
                                                              &to->layout, plan->engine, plan->plain),
                           kind));
    enum hysgd_status status = step_add(plan, node, kind, when, description,
                                        (struct operand[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}, 2);
    dnnl_primitive_desc_destroy(description);
    return status;
}

enum hysgd_status tensor_as(struct plan *plan, int node, const char *kind, unsigned when,
                            const struct tensor *tensor, const dnnl_memory_desc_t *layout,
                            struct tensor *tensor_out) {
    if (dnnl_memory_desc_equal(&tensor->layout, layout)) {
        *tensor_out = *tensor;
        return HYSGD_OK;
    }
    struct tensor copy;
    HYSGD_TRY(tensor_new(plan, layout, &copy));
    HYSGD_TRY(reorder(plan, node, kind, when, tensor, &copy));
    *tensor_out = copy;
    return HYSGD_OK;
}

enum hysgd_status tensor_for(struct plan *plan, const struct tensor *target, const dnnl_memory_desc_t *layout,
                             struct tensor *tensor_out) {
    if (dnnl_memory_desc_equal(&target->layout, layout)) {
        *tensor_out = *target;
        return HYSGD_OK;
    }
    return tensor_new(plan, layout, tensor_out);
}

enum hysgd_status tensor_deliver(struct plan *plan, int node, const struct tensor *from,
                                 const struct tensor *target) {
    if (from->buffer == target->buffer)
        return HYSGD_OK;
    return reorder(plan, node, "reorder of a weight gradient", WHEN_TRAINING, from, target);
}

int node_input(const struct plan *plan, int node, int i) {
    return plan->nodes[plan->graph->nodes[node].inputs[i]].owner;
}

static void run_sum(struct plan *plan, const struct step *step) {
    elements_add(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1), false,
                 step_pointer(plan, step, 2), step->elements);
}

static void run_gate(struct plan *plan, const struct step *step) {
    elements_gate(step->element, step_pointer(plan, step, 0), step_pointer(plan, step, 1),
                  step_pointer(plan, step, 3), step_pointer(plan, step, 2), step->elements);
}

/* Adds the parts, and cuts them off if is_gated, into a part that nobody else reads, or else a new tensor. */
static enum hysgd_status join(struct plan *plan, int node, bool is_gated, struct tensor *sum_out) {
    struct node_state *state = &plan->nodes[node];
    if (state->parts[1].buffer < 0 && !is_gated) {
        *sum_out = state->parts[0];
        return HYSGD_OK;
    }
    struct tensor sum;
    if (!state->part_is_shared[0])
        sum = state->parts[0];
    else if (state->parts[1].buffer >= 0 && !state->part_is_shared[1])
        sum = state->parts[1];
    else
        HYSGD_TRY(tensor_new(plan, &state->value.layout, &sum));
    const struct tensor *tensors[] = {&state->parts[0], &state->parts[1], &sum, &state->value};
    HYSGD_TRY(step_add_own(plan, node, "sums and relu backward", WHEN_TRAINING, is_gated ? run_gate : run_sum,
                           tensors, is_gated ? 4 : 3, tensor_elements(&sum)));
    *sum_out = sum;
    return HYSGD_OK;
}

enum hysgd_status gradient_send(struct plan *plan, int node, const struct tensor *gradient, bool is_shared) {
    struct node_state *state = &plan->nodes[node];
    struct tensor part;
    HYSGD_TRY(tensor_as(plan, node, "reorder of a gradient", WHEN_TRAINING, gradient, &state->value.layout, &part));
    is_shared = is_shared && part.buffer == gradient->buffer;
    if (state->parts[1].buffer >= 0) {
        HYSGD_TRY(join(plan, node, false, &state->parts[0]));
        state->part_is_shared[0] = false;
        state->parts[1].buffer = -1;
    }
    int i = state->parts[0].buffer >= 0;
    state->parts[i] = part;
    state->part_is_shared[i] = is_shared;
    return HYSGD_OK;
}

enum hysgd_status gradient_collect(struct plan *plan, int node) {
    struct node_state *state = &plan->nodes[node];
    return join(plan, node, state->is_gated, &state->gradient);
}
