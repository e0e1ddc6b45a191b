/* SPDX-License-Identifier: Apache-2.0 */
/* The plan on oneDNN 2.6: a graph is compiled once into a static list of primitives on one arena of memory, with
 * the scratch memory of every primitive in the arena as well, so that plans of different threads share nothing.
 * Adjacent operations are fused where the result is the same; layouts are oneDNN's choice. */
#include "linalg/onednn.h"

#include <dnnl_debug.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "linalg/loss.h"

enum hysgd_status onednn_check(int node, dnnl_status_t status, const char *what) {
    if (status == dnnl_success)
        return HYSGD_OK;
    return hysgd_fail(status == dnnl_out_of_memory ? HYSGD_MEMORY : HYSGD_FAILED, "oneDNN: %s of node %d: %s", what,
                      node, dnnl_status2str(status));
}

static const struct operation *const operations[] = {
    [GRAPH_DENSE] = &operation_dense,       [GRAPH_CONV] = &operation_conv,
    [GRAPH_MAX_POOL] = &operation_max_pool, [GRAPH_AVG_POOL] = &operation_avg_pool,
    [GRAPH_RELU] = &operation_relu,         [GRAPH_TANH] = &operation_tanh,
    [GRAPH_GELU] = &operation_gelu,         [GRAPH_NORM] = &operation_norm,
    [GRAPH_DROPOUT] = &operation_dropout,   [GRAPH_ADD] = &operation_add,
    [GRAPH_SOFTMAX_LOSS] = &operation_loss, [GRAPH_SQUARED_LOSS] = &operation_loss};

static enum hysgd_status engine_open(struct plan *plan) {
    HYSGD_TRY(onednn_check(0, dnnl_engine_create(&plan->engine, dnnl_cpu, 0), "engine"));
    HYSGD_TRY(onednn_check(0, dnnl_stream_create(&plan->stream, plan->engine, dnnl_stream_in_order), "stream"));
    HYSGD_TRY(onednn_check(0, dnnl_primitive_attr_create(&plan->plain), "attributes"));
    HYSGD_TRY(onednn_check(0, dnnl_primitive_attr_set_scratchpad_mode(plan->plain, dnnl_scratchpad_mode_user),
                           "attributes"));
    HYSGD_TRY(onednn_check(0, dnnl_primitive_attr_clone(&plan->relu, plan->plain), "attributes"));
    dnnl_post_ops_t after;
    HYSGD_TRY(onednn_check(0, dnnl_post_ops_create(&after), "attributes"));
    dnnl_status_t status = dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, 0, 0);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(plan->relu, after);
    dnnl_post_ops_destroy(after);
    return onednn_check(0, status, "attributes");
}

static enum hysgd_status nodes_alloc(struct plan *plan) {
    HYSGD_TRY(memory_alloc((size_t)plan->graph->count, sizeof *plan->nodes, &plan->nodes));
    for (int node = 0; node < plan->graph->count; node++) {
        struct node_state *state = &plan->nodes[node];
        state->value.buffer = state->source.buffer = state->workspace.buffer = state->weight.buffer = -1;
        state->gradient.buffer = state->parts[0].buffer = state->parts[1].buffer = -1;
    }
    return HYSGD_OK;
}

static enum hysgd_status compile_forward(struct plan *plan) {
    const struct graph *graph = plan->graph;
    const dnnl_memory_desc_t layout = node_layout(plan, 0, dnnl_f32, dnnl_nchw);
    HYSGD_TRY(tensor_at(plan, PLACE_INPUTS, 0, &layout, &plan->nodes[0].value));
    HYSGD_TRY(tensor_new(plan, &layout, &plan->staging));
    for (int node = 1; node < graph->count; node++)
        if (plan->nodes[node].is_live && plan->nodes[node].owner == node)
            HYSGD_TRY(operations[graph->nodes[node].kind]->forward(plan, node));
    plan->forward_end = plan->step_count;
    /* Filled before the first step, read by any; the outputs are read after the last. */
    plan->buffers[plan->staging.buffer].first = 0;
    plan->buffers[plan->staging.buffer].last = plan->forward_end;
    if (plan->buffers[plan->outputs.buffer].last < plan->forward_end)
        plan->buffers[plan->outputs.buffer].last = plan->forward_end;
    return HYSGD_OK;
}

static enum hysgd_status compile_backward(struct plan *plan) {
    const struct graph *graph = plan->graph;
    HYSGD_TRY(operation_loss.backward(plan, graph->count - 1));
    for (int node = graph->count - 2; node > 0; node--) {
        struct node_state *state = &plan->nodes[node];
        if (!state->is_live || state->owner != node || !state->needs_gradient)
            continue;
        HYSGD_TRY(gradient_collect(plan, node));
        HYSGD_TRY(operations[graph->nodes[node].kind]->backward(plan, node));
    }
    return HYSGD_OK;
}

/* Whether live layers own the whole vector, so that backward writes the whole gradient. */
static bool covers_vector(const struct plan *plan) {
    size_t covered = 0;
    for (int node = 1; node < plan->graph->count; node++) {
        const struct graph_node *shape = &plan->graph->nodes[node];
        const struct graph_node *from = &plan->graph->nodes[shape->inputs[0]];
        const size_t units = (size_t)shape->channels;
        if (!plan->nodes[node].is_live)
            continue;
        if (shape->kind == GRAPH_NORM)
            covered += 4 * units;
        if (shape->kind == GRAPH_CONV)
            covered += units * (size_t)from->channels * (size_t)shape->kernel_h * (size_t)shape->kernel_w;
        if (shape->kind == GRAPH_DENSE)
            covered += units * (size_t)from->channels * (size_t)from->height * (size_t)from->width;
        if ((shape->kind == GRAPH_CONV || shape->kind == GRAPH_DENSE) && shape->has_bias)
            covered += units;
    }
    return covered == plan->graph->parameter_count + plan->graph->statistic_count;
}

static enum hysgd_status compile(struct plan *plan) {
    HYSGD_TRY(engine_open(plan));
    HYSGD_TRY(nodes_alloc(plan));
    fuse_nodes(plan);
    plan->is_covered = covers_vector(plan);
    HYSGD_TRY(compile_forward(plan));
    if (plan->is_training)
        HYSGD_TRY(compile_backward(plan));
    descriptions_free(plan);
    return steps_finish(plan);
}

static void onednn_close(struct plan *plan) {
    if (!plan)
        return;
    steps_free(plan);
    descriptions_free(plan);
    memory_free(plan->nodes);
    if (plan->relu)
        dnnl_primitive_attr_destroy(plan->relu);
    if (plan->plain)
        dnnl_primitive_attr_destroy(plan->plain);
    if (plan->stream)
        dnnl_stream_destroy(plan->stream);
    if (plan->engine)
        dnnl_engine_destroy(plan->engine);
    memory_free(plan);
}

static enum hysgd_status onednn_open(const struct graph *graph, size_t batch, enum plan_precision precision,
                                     bool is_training, struct plan **plan_out) {
    struct plan *plan;
    omp_set_num_threads(1);
    HYSGD_TRY(memory_alloc(1, sizeof *plan, &plan));
    plan->graph = graph;
    plan->batch = batch;
    plan->precision = precision;
    plan->is_training = is_training;
    enum hysgd_status status = compile(plan);
    if (status != HYSGD_OK) {
        onednn_close(plan);
        return status;
    }
    *plan_out = plan;
    return HYSGD_OK;
}

static enum hysgd_status check_labels(const struct plan *plan, const int32_t *labels) {
    const int last = plan->graph->count - 1;
    const size_t classes = node_size(plan, plan->graph->nodes[last].inputs[0]);
    const size_t bad = loss_find_bad_label(labels, plan->batch, classes);
    if (bad == plan->batch)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_FAILED, "label %d of sample %zu in the batch is not below the network's %zu outputs",
                      (int)labels[bad], bad, classes);
}

static enum hysgd_status onednn_gradient(struct plan *plan, const float *vector, const float *inputs,
                                         const int32_t *labels, const float *targets,
                                         const struct plan_stream *stream, float *gradient_out, double *loss_out) {
    const struct graph *graph = plan->graph;
    if (graph->nodes[graph->count - 1].kind == GRAPH_SOFTMAX_LOSS)
        HYSGD_TRY(check_labels(plan, labels));
    plan->labels = labels;
    plan->targets = targets;
    plan->random = stream;
    HYSGD_TRY(steps_bind(plan, vector, inputs, gradient_out));
    if (!plan->is_covered)
        memset(gradient_out, 0, (graph->parameter_count + graph->statistic_count) * sizeof *gradient_out);
    HYSGD_TRY(steps_run(plan, 0, plan->step_count, WHEN_TRAINING));
    *loss_out = plan->loss;
    return HYSGD_OK;
}

static enum hysgd_status onednn_forward(struct plan *plan, const float *vector, const float *inputs, size_t count,
                                        float *outputs_out) {
    const size_t width = node_size(plan, 0);
    if (count < plan->batch) {
        float *staging = tensor_pointer(plan, &plan->staging);
        memcpy(staging, inputs, count * width * sizeof *staging);
        memset(staging + count * width, 0, (plan->batch - count) * width * sizeof *staging);
        inputs = staging;
    }
    HYSGD_TRY(steps_bind(plan, vector, inputs, NULL));
    HYSGD_TRY(steps_run(plan, 0, plan->forward_end, WHEN_INFERENCE));
    const int last = plan->graph->count - 1;
    memcpy(outputs_out, tensor_pointer(plan, &plan->outputs),
           count * node_size(plan, plan->graph->nodes[last].inputs[0]) * sizeof *outputs_out);
    return HYSGD_OK;
}

/* oneDNN computes bfloat16 from AVX-512 on: in software before AVX512_BF16. Its numbers of instruction sets are bit
 * sets. */
static bool onednn_has_precision(enum plan_precision precision) {
    const unsigned needed = dnnl_cpu_isa_avx512_core;
    return precision == PLAN_FP32 || ((unsigned)dnnl_get_effective_cpu_isa() & needed) == needed;
}

const struct plan_ops plan_onednn = {
    .name = "onednn",
    .has_precision = onednn_has_precision,
    .open = onednn_open,
    .close = onednn_close,
    .gradient = onednn_gradient,
    .forward = onednn_forward,
};
