/* SPDX-License-Identifier: Apache-2.0 */
/* The plain C plan: evaluates a graph node by node with the loops of reference_nodes.c. It is the oracle of the
 * fast plan and the whole of a build without oneDNN. Everything is stored in double precision; in PLAN_BF16 the
 * activations, their slopes and the weights of dense and conv are rounded to bfloat16 where a plan that stores them
 * so would round. */
#include "linalg/plan.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "linalg/reference_nodes.h"

struct plan {
    const struct graph *graph;
    size_t batch;
    enum plan_precision precision;
    struct reference_node *nodes; /* [graph->count] */
    double *vector;               /* [parameters + statistics] as given, weights rounded */
    double *gradient;             /* [parameters + statistics]; NULL for inference */
};

/* To the nearest bfloat16, ties to even. A NaN stays a NaN. */
static double round_bf16(double value) {
    float single = (float)value;
    if (!isfinite(single))
        return single;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    bits += 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000;
    memcpy(&single, &bits, sizeof(bits));
    return single;
}

static void round_values(const struct plan *plan, double *values, size_t count) {
    for (size_t i = 0; plan->precision == PLAN_BF16 && i < count; i++)
        values[i] = round_bf16(values[i]);
}

static bool is_loss(enum graph_kind kind) {
    return kind == GRAPH_SOFTMAX_LOSS || kind == GRAPH_SQUARED_LOSS;
}

static size_t vector_size(const struct graph *graph) {
    return graph->parameter_count + graph->statistic_count;
}

static void reference_close(struct plan *plan) {
    if (!plan)
        return;
    for (int i = 0; plan->nodes && i < plan->graph->count; i++) {
        memory_free(plan->nodes[i].values);
        memory_free(plan->nodes[i].slopes);
        memory_free(plan->nodes[i].saved);
    }
    memory_free(plan->nodes);
    memory_free(plan->vector);
    memory_free(plan->gradient);
    memory_free(plan);
}

static enum hysgd_status node_open(const struct plan *plan, int index, bool is_training) {
    struct reference_node *self = &plan->nodes[index];
    const struct graph_node *node = &plan->graph->nodes[index];
    self->node = node;
    self->size = (size_t)node->channels * (size_t)node->height * (size_t)node->width;
    if (is_loss(node->kind))
        return HYSGD_OK;
    size_t bytes = self->size * sizeof(double);
    HYSGD_TRY(memory_alloc(plan->batch, bytes, &self->values));
    if (is_training && node->kind != GRAPH_INPUT)
        HYSGD_TRY(memory_alloc(plan->batch, bytes, &self->slopes));
    if (is_training && node->kind == GRAPH_DROPOUT)
        HYSGD_TRY(memory_alloc(plan->batch, bytes, &self->saved));
    if (is_training && node->kind == GRAPH_NORM)
        HYSGD_TRY(memory_alloc((size_t)node->channels, 2 * sizeof(double), &self->saved));
    return HYSGD_OK;
}

static enum hysgd_status plan_fill(struct plan *plan, bool is_training) {
    const struct graph *graph = plan->graph;
    HYSGD_TRY(memory_alloc((size_t)graph->count, sizeof(*plan->nodes), &plan->nodes));
    HYSGD_TRY(memory_alloc(vector_size(graph), sizeof(double), &plan->vector));
    if (is_training)
        HYSGD_TRY(memory_alloc(vector_size(graph), sizeof(double), &plan->gradient));
    for (int i = 0; i < graph->count; i++)
        HYSGD_TRY(node_open(plan, i, is_training));
    return HYSGD_OK;
}

static enum hysgd_status reference_open(const struct graph *graph, size_t batch, enum plan_precision precision,
                                        bool is_training, struct plan **plan_out) {
    struct plan *plan;
    HYSGD_TRY(memory_alloc(1, sizeof(*plan), &plan));
    plan->graph = graph;
    plan->batch = batch;
    plan->precision = precision;
    enum hysgd_status status = plan_fill(plan, is_training);
    if (status == HYSGD_OK)
        *plan_out = plan;
    else
        reference_close(plan);
    return status;
}

/* Takes over vector and inputs and computes every node. */
static void evaluate(struct plan *plan, const float *vector, const float *inputs, struct reference_pass *pass) {
    const struct graph *graph = plan->graph;
    for (size_t i = 0; i < vector_size(graph); i++)
        plan->vector[i] = vector[i];
    for (int n = 0; n < graph->count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (node->kind != GRAPH_DENSE && node->kind != GRAPH_CONV)
            continue;
        const struct graph_node *from = &graph->nodes[node->inputs[0]];
        size_t fan_in = node->kind == GRAPH_DENSE
                            ? plan->nodes[node->inputs[0]].size
                            : (size_t)from->channels * (size_t)node->kernel_h * (size_t)node->kernel_w;
        round_values(plan, plan->vector + node->weight, (size_t)node->channels * fan_in);
    }
    pass->vector = plan->vector;
    for (size_t i = 0; i < pass->count * plan->nodes[0].size; i++)
        plan->nodes[0].values[i] = inputs[i];
    for (int n = 0; n < graph->count; n++) {
        reference_forward(plan->nodes, n, pass);
        if (plan->nodes[n].values)
            round_values(plan, plan->nodes[n].values, pass->count * plan->nodes[n].size);
    }
}

/* The sum of -log softmax(x)[label]; slopes = (softmax - one hot) / batch. */
static enum hysgd_status softmax_loss(const struct plan *plan, const int32_t *labels, double *loss_out) {
    const struct reference_node *output = &plan->nodes[plan->nodes[plan->graph->count - 1].node->inputs[0]];
    for (size_t s = 0; s < plan->batch; s++) {
        const double *x = output->values + s * output->size;
        if (labels[s] < 0 || (size_t)labels[s] >= output->size)
            return hysgd_fail(HYSGD_FAILED, "label %d of sample %zu of a batch is not in 0 to %zu", (int)labels[s],
                              s, output->size - 1);
        double largest = x[0], sum = 0;
        for (size_t i = 1; i < output->size; i++)
            largest = fmax(largest, x[i]);
        for (size_t i = 0; i < output->size; i++)
            sum += exp(x[i] - largest);
        *loss_out += log(sum) + largest - x[labels[s]];
        for (size_t i = 0; output->slopes && i < output->size; i++)
            output->slopes[s * output->size + i] =
                (exp(x[i] - largest) / sum - (i == (size_t)labels[s])) / (double)plan->batch;
    }
    return HYSGD_OK;
}

/* The sum of |x - target|^2 / 2; slopes = (x - target) / batch. */
static void squared_loss(const struct plan *plan, const float *targets, double *loss_out) {
    const struct reference_node *output = &plan->nodes[plan->nodes[plan->graph->count - 1].node->inputs[0]];
    for (size_t i = 0; i < plan->batch * output->size; i++) {
        double difference = output->values[i] - targets[i];
        *loss_out += difference * difference / 2;
        if (output->slopes)
            output->slopes[i] = difference / (double)plan->batch;
    }
}

static enum hysgd_status reference_gradient(struct plan *plan, const float *vector, const float *inputs,
                                            const int32_t *labels, const float *targets,
                                            const struct plan_stream *stream, float *gradient_out,
                                            double *loss_out) {
    struct reference_pass pass = {.count = plan->batch, .is_training = true, .stream = stream};
    evaluate(plan, vector, inputs, &pass);
    for (int n = 0; n < plan->graph->count; n++)
        if (plan->nodes[n].slopes)
            memset(plan->nodes[n].slopes, 0, plan->batch * plan->nodes[n].size * sizeof(double));
    memset(plan->gradient, 0, vector_size(plan->graph) * sizeof(double));
    double loss = 0;
    if (plan->graph->nodes[plan->graph->count - 1].kind == GRAPH_SOFTMAX_LOSS)
        HYSGD_TRY(softmax_loss(plan, labels, &loss));
    else
        squared_loss(plan, targets, &loss);
    for (int n = plan->graph->count - 2; n > 0; n--) {
        round_values(plan, plan->nodes[n].slopes, plan->batch * plan->nodes[n].size);
        reference_backward(plan->nodes, n, &pass, plan->gradient);
    }
    for (size_t i = 0; i < vector_size(plan->graph); i++)
        gradient_out[i] = (float)plan->gradient[i];
    *loss_out = loss / (double)plan->batch;
    return HYSGD_OK;
}

static enum hysgd_status reference_inference(struct plan *plan, const float *vector, const float *inputs,
                                             size_t count, float *outputs_out) {
    if (count > plan->batch)
        return hysgd_fail(HYSGD_FAILED, "a plan for %zu samples was given %zu", plan->batch, count);
    struct reference_pass pass = {.count = count};
    evaluate(plan, vector, inputs, &pass);
    const struct reference_node *output = &plan->nodes[plan->nodes[plan->graph->count - 1].node->inputs[0]];
    for (size_t i = 0; i < count * output->size; i++)
        outputs_out[i] = (float)output->values[i];
    return HYSGD_OK;
}

static bool reference_has_precision(enum plan_precision precision) {
    (void)precision;
    return true;
}

const struct plan_ops plan_reference = {
    .name = "reference",
    .has_precision = reference_has_precision,
    .open = reference_open,
    .close = reference_close,
    .gradient = reference_gradient,
    .forward = reference_inference,
};
