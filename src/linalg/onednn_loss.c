/* SPDX-License-Identifier: Apache-2.0 */
/* The loss node: turns the network's output into plain floats, and starts backward with the gradient of the mean
 * loss. */
#include "linalg/loss.h"
#include "linalg/onednn.h"

static void run_loss(struct plan *plan, const struct step *step) {
    const struct graph_node *node = &plan->graph->nodes[step->node];
    const float *outputs = step_pointer(plan, step, 0);
    float *gradient = step_pointer(plan, step, 1);
    const size_t width = step->elements / plan->batch;
    const float scale = 1.0f / (float)plan->batch;
    double sum = node->kind == GRAPH_SOFTMAX_LOSS
                     ? loss_softmax(outputs, plan->labels, plan->batch, width, scale, gradient)
                     : loss_squared(outputs, plan->targets, plan->batch, width, scale, gradient);
    plan->loss = sum / (double)plan->batch;
}

static enum hysgd_status loss_forward(struct plan *plan, int node) {
    const int input = node_input(plan, node, 0);
    const dnnl_memory_desc_t layout = node_layout(plan, input, dnnl_f32, dnnl_nchw);
    HYSGD_TRY(tensor_as(plan, node, "reorder of values", WHEN_ALWAYS, &plan->nodes[input].value, &layout,
                        &plan->outputs));
    if (!plan->is_training)
        return HYSGD_OK;
    HYSGD_TRY(tensor_new(plan, &layout, &plan->outputs_gradient));
    const struct tensor *tensors[] = {&plan->outputs, &plan->outputs_gradient};
    return step_add_own(plan, node, "loss", WHEN_TRAINING, run_loss, tensors, 2, tensor_elements(&plan->outputs));
}

static enum hysgd_status loss_backward(struct plan *plan, int node) {
    const int input = node_input(plan, node, 0);
    return plan->nodes[input].needs_gradient ? gradient_send(plan, input, &plan->outputs_gradient, false)
                                             : HYSGD_OK;
}

const struct operation operation_loss = {loss_forward, loss_backward};
