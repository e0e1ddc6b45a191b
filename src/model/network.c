/* SPDX-License-Identifier: Apache-2.0 */
/* Feed-forward networks as models: layers from text, fitted to the data, computed by a plan of linalg. Weights and
 * biases start uniform in +-1/sqrt(inputs of a unit), which is PyTorch's default: He et al., "Delving deep into
 * rectifiers", 2015, eq. 10 with a = sqrt(5). */
#include "model/network.h"

#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/loss.h"
#include "model/list.h"

#define STATISTIC_MOMENTUM 0.1 /* as PyTorch's */

/* What one thread computes with. */
struct network_workspace {
    struct plan *plan;
    float *outputs; /* [batch][outputs] */
    size_t batch;
    bool has_lone_norm; /* a norm that would take the variance of one value */
};

enum kernels { KERNELS_AUTO, KERNELS_REFERENCE, KERNELS_ONEDNN };

static enum hysgd_status choose_plans(struct network *network) {
    network->plans = plan_default();
    if (network->kernels == KERNELS_REFERENCE)
        network->plans = &plan_reference;
#ifdef HYSGD_HAVE_ONEDNN
    if (network->kernels == KERNELS_ONEDNN)
        network->plans = &plan_onednn;
#else
    if (network->kernels == KERNELS_ONEDNN)
        return hysgd_fail(HYSGD_USAGE, "model: kernels=onednn: built without oneDNN; expected auto or reference");
#endif
    if (!network->plans->has_precision((enum plan_precision)network->precision))
        return hysgd_fail(HYSGD_USAGE,
                          "model: precision=bf16: %s cannot compute it on this processor; expected fp32 "
                          "or kernels=reference",
                          network->plans->name);
    return HYSGD_OK;
}

enum hysgd_status network_fit(struct network *network, const char *text, const struct hysgd_data_shape *shape) {
    HYSGD_TRY(choose_plans(network));
    struct layers layers;
    HYSGD_TRY(layers_parse(text, &layers));
    enum hysgd_status status = layers_build(&layers, shape, &network->fitted);
    layers_fini(&layers);
    return status;
}

static enum hysgd_status init(void *self, const struct hysgd_data_shape *shape) {
    struct network *network = self;
    if (network->layers[0] == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "model network: layers is empty; expected layers such as \"dense 128, relu, dense\"");
    return network_fit(network, network->layers, shape);
}

void network_fini(void *self) {
    struct network *network = self;
    layers_graph_fini(&network->fitted);
}

void network_describe(const void *self, struct hysgd_model_layout *layout_out) {
    const struct network *network = self;
    *layout_out = (struct hysgd_model_layout){
        .parameter_count = network->fitted.graph.parameter_count,
        .statistic_count = network->fitted.graph.statistic_count,
        .statistic_momentum = STATISTIC_MOMENTUM,
        .tensors = network->fitted.tensors,
        .tensor_count = network->fitted.tensor_count,
        .outputs = network->fitted.outputs,
    };
}

/* Uniform in [-bound, bound), from a stream of the tensor's own. */
static void start_uniform(uint64_t seed, size_t first, double bound, float *values, size_t count) {
    struct random random;
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_START, first);
    random_fill_uniform(&random, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(bound * (2 * (double)values[i] - 1));
}

static void fill(float *values, size_t count, float value) {
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

void network_start(const void *self, uint64_t seed, float *vector_out) {
    const struct network *network = self;
    const struct graph_node *nodes = network->fitted.nodes;
    for (int n = 0; n < network->fitted.graph.count; n++) {
        const struct graph_node *node = &nodes[n], *from = &nodes[node->inputs[0]];
        size_t units = (size_t)node->channels, window = (size_t)from->height * (size_t)from->width;
        if (node->kind == GRAPH_NORM) {
            fill(vector_out + node->weight, units, 1);
            fill(vector_out + node->bias, units, 0);
            fill(vector_out + node->mean, units, 0);
            fill(vector_out + node->variance, units, 1);
        } else if (node->kind == GRAPH_DENSE || node->kind == GRAPH_CONV) {
            if (node->kind == GRAPH_CONV)
                window = (size_t)node->kernel_h * (size_t)node->kernel_w;
            size_t inputs = (size_t)from->channels * window;
            double bound = 1 / sqrt((double)inputs);
            start_uniform(seed, node->weight, bound, vector_out + node->weight, units * inputs);
            if (node->has_bias)
                start_uniform(seed, node->bias, bound, vector_out + node->bias, units);
        }
    }
}

/* Whether a norm sees one value of each channel in a batch. */
static bool has_lone_norm(const struct graph *graph, size_t batch) {
    for (int n = 0; n < graph->count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        if (node->kind == GRAPH_NORM && batch == 1 && node->height == 1 && node->width == 1)
            return true;
    }
    return false;
}

enum hysgd_status network_open(const void *self, size_t batch, void **workspace_out) {
    const struct network *network = self;
    struct network_workspace *workspace;
    HYSGD_TRY(memory_alloc(1, sizeof(*workspace), &workspace));
    workspace->batch = batch;
    workspace->has_lone_norm = has_lone_norm(&network->fitted.graph, batch);
    enum hysgd_status status =
        memory_alloc_vector(batch, network->fitted.outputs * sizeof(float), &workspace->outputs);
    if (status == HYSGD_OK)
        status = network->plans->open(&network->fitted.graph, batch, (enum plan_precision)network->precision, true,
                                      &workspace->plan);
    if (status == HYSGD_OK)
        *workspace_out = workspace;
    else
        network_close(self, workspace);
    return status;
}

void network_close(const void *self, void *workspace_of_thread) {
    const struct network *network = self;
    struct network_workspace *workspace = workspace_of_thread;
    if (!workspace)
        return;
    if (workspace->plan)
        network->plans->close(workspace->plan);
    memory_free(workspace->outputs);
    memory_free(workspace);
}

/* Whether the batch carries what the loss compares with. */
static enum hysgd_status check_batch(const struct network *network, const struct hysgd_batch *batch) {
    bool is_softmax = network->fitted.loss == LAYER_LOSS_SOFTMAX;
    if (is_softmax ? batch->labels != NULL : batch->targets != NULL)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_FAILED, "model: a batch without %s", is_softmax ? "labels" : "targets");
}

enum hysgd_status network_gradient(const void *self, void *workspace_of_thread, const float *vector,
                                   const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    const struct network *network = self;
    const struct network_workspace *workspace = workspace_of_thread;
    if (batch->count != workspace->batch)
        return hysgd_fail(HYSGD_FAILED, "model: a batch of %zu samples where %zu were prepared for", batch->count,
                          workspace->batch);
    if (workspace->has_lone_norm) /* its output would be the shift alone, and the running variance go to 0 */
        return hysgd_fail(HYSGD_USAGE,
                          "model: a norm without height and width cannot train on batches of 1 sample; "
                          "expected a larger batch");
    HYSGD_TRY(check_batch(network, batch));
    struct plan_stream stream = {.seed = batch->seed, .draw = batch->draw, .worker = batch->worker};
    return network->plans->gradient(workspace->plan, vector, batch->inputs, batch->labels, batch->targets, &stream,
                                    gradient_out, loss_out);
}

static enum hysgd_status forward(const struct network *network, const struct network_workspace *workspace,
                                 const float *vector, const struct hysgd_batch *batch, float *outputs_out) {
    if (batch->count > workspace->batch)
        return hysgd_fail(HYSGD_FAILED, "model: a batch of %zu samples where at most %zu were prepared for",
                          batch->count, workspace->batch);
    return network->plans->forward(workspace->plan, vector, batch->inputs, batch->count, outputs_out);
}

enum hysgd_status network_evaluate(const void *self, void *workspace_of_thread, const float *vector,
                                   const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    const struct network *network = self;
    const struct network_workspace *workspace = workspace_of_thread;
    size_t width = network->fitted.outputs;
    HYSGD_TRY(check_batch(network, batch));
    HYSGD_TRY(forward(network, workspace, vector, batch, workspace->outputs));
    if (network->fitted.loss == LAYER_LOSS_SQUARED) {
        metrics->loss += loss_squared(workspace->outputs, batch->targets, batch->count, width, 1, NULL);
    } else {
        size_t bad = loss_find_bad_label(batch->labels, batch->count, width);
        if (bad < batch->count)
            return hysgd_fail(HYSGD_FAILED, "label %d of sample %zu of a batch is not in 0 to %zu",
                              (int)batch->labels[bad], bad, width - 1);
        metrics->loss += loss_softmax(workspace->outputs, batch->labels, batch->count, width, 1, NULL);
        metrics->correct += loss_count_correct(workspace->outputs, batch->labels, batch->count, width);
        metrics->has_accuracy = true;
    }
    metrics->count += batch->count;
    return HYSGD_OK;
}

enum hysgd_status network_predict(const void *self, void *workspace_of_thread, const float *vector,
                                  const struct hysgd_batch *batch, float *outputs_out) {
    const struct network *network = self;
    HYSGD_TRY(forward(network, workspace_of_thread, vector, batch, outputs_out));
    if (network->fitted.loss == LAYER_LOSS_SOFTMAX)
        loss_probabilities(outputs_out, batch->count, network->fitted.outputs);
    return HYSGD_OK;
}

/* How to write layers: the language's own list. */
static const char layers_help[] =
    "the layers, in parentheses and separated by commas; [ A, B | C ] adds what C makes of "
    "the block's input (without C the input itself) to what A, B make of it"
#define X(kind, word, usage) "; " usage
    LAYERS_LIST(X)
#undef X
    ;

static const struct hysgd_option options[] = {
    {"layers", HYSGD_OPTION_TEXT, offsetof(struct network, layers), "", 0, 0, NULL, layers_help},
    NETWORK_OPTIONS,
    {0},
};

const struct hysgd_model_ops model_network = {
    .about = {.name = "network",
              .summary = "layers of your own; may be written in place of a model's name",
              .size = sizeof(struct network),
              .options = options},
    .init = init,
    NETWORK_FUNCTIONS,
};
