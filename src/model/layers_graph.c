/* SPDX-License-Identifier: Apache-2.0 */
/* Fits layers to the shape of data: infers the shape of every layer, makes the graph, and lays out the parameter
 * vector (parameters in the order of the layers, then the statistics in the same order). */
#include "model/layers.h"

#include <stdio.h>

#include "base/memory.h"
#include "linalg/plan.h"

#define MOST_VALUES     ((uint64_t)1 << 28) /* of one layer for one sample */
#define MOST_PARAMETERS ((uint64_t)1 << 31)
#define NORM_EPSILON    1e-5 /* as PyTorch's */

_Static_assert(LAYERS_MOST + 2 < PLAN_MOST_NODES, "every layer, the input and the loss may be a node");

/* The values that the next layer takes. */
struct cursor {
    int node;
    bool is_flat; /* flatten came since they had height and width */
};

/* A block that has been opened and not closed. */
struct block {
    struct cursor start;
    struct cursor main; /* end of the side before the |; node -1: not reached yet */
};

struct builder {
    const struct hysgd_data_shape *shape;
    struct layers_graph *out;
    const struct layer **sources; /* [nodes] the layer that a node comes from; NULL for input, add and loss */
    struct cursor at;
    struct block blocks[LAYERS_MOST_DEPTH];
    int depth;
    const struct layer *last; /* the layer read last */
    const struct layer *loss; /* NULL: chosen by the data */
};

static uint64_t values_of(const struct graph_node *node) {
    return (uint64_t)node->channels * (uint64_t)node->height * (uint64_t)node->width;
}

static const struct graph_node *present(const struct builder *builder) {
    return &builder->out->nodes[builder->at.node];
}

static enum hysgd_status fail_layer(const struct layer *layer, const char *what) {
    return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": %s", layer->number, layer->text, what);
}

/* Appends a node and moves on to it. */
static enum hysgd_status add_node(struct builder *builder, const struct layer *layer, struct graph_node node) {
    if (values_of(&node) > MOST_VALUES)
        return hysgd_fail(
            HYSGD_USAGE, "model: layer %d \"%s\": gives %dx%dx%d values for a sample, at most %llu are allowed",
            layer->number, layer->text, node.channels, node.height, node.width, (unsigned long long)MOST_VALUES);
    struct graph *graph = &builder->out->graph;
    builder->sources[graph->count] = layer;
    builder->out->nodes[graph->count] = node;
    builder->at.node = graph->count++;
    return HYSGD_OK;
}

/* Height and width behind the window of a conv or pool. */
static enum hysgd_status fit_window(const struct builder *builder, const struct layer *layer,
                                    struct graph_node *node) {
    const struct graph_node *from = present(builder);
    bool is_global = layer->kernel_h == 0;
    node->kernel_h = is_global ? from->height : layer->kernel_h;
    node->kernel_w = is_global ? from->width : layer->kernel_w;
    node->stride = layer->stride;
    node->pad = layer->pad == LAYER_SAME ? (node->kernel_h - 1) / 2 : layer->pad;
    int64_t room_h = (int64_t)from->height + 2 * node->pad - node->kernel_h;
    int64_t room_w = (int64_t)from->width + 2 * node->pad - node->kernel_w;
    if (room_h < 0 || room_w < 0)
        return hysgd_fail(
            HYSGD_USAGE, "model: layer %d \"%s\": a %dx%d window with padding %d does not fit into the %dx%d input",
            layer->number, layer->text, node->kernel_h, node->kernel_w, node->pad, from->height, from->width);
    node->height = (int)(room_h / node->stride) + 1;
    node->width = (int)(room_w / node->stride) + 1;
    return HYSGD_OK;
}

static enum hysgd_status add_window(struct builder *builder, const struct layer *layer) {
    struct graph_node node = {.inputs = {builder->at.node, 0}, .channels = present(builder)->channels};
    node.kind = layer->kind == LAYER_CONV   ? GRAPH_CONV
                : layer->kind == LAYER_POOL ? GRAPH_MAX_POOL
                                            : GRAPH_AVG_POOL;
    if (layer->kind == LAYER_CONV) {
        node.channels = layer->units;
        node.has_bias = layer->has_bias;
    }
    if (builder->at.is_flat)
        return fail_layer(layer, "needs height and width, which flatten has taken away");
    HYSGD_TRY(fit_window(builder, layer, &node));
    return add_node(builder, layer, node);
}

static enum hysgd_status add_dense(struct builder *builder, const struct layer *layer) {
    const struct hysgd_data_shape *shape = builder->shape;
    int units = layer->units ? layer->units : shape->classes > 0 ? shape->classes : shape->targets;
    struct graph_node node = {.kind = GRAPH_DENSE,
                              .inputs = {builder->at.node, 0},
                              .channels = units,
                              .height = 1,
                              .width = 1,
                              .has_bias = layer->has_bias};
    builder->at.is_flat = false;
    return add_node(builder, layer, node);
}

/* A layer that keeps the shape. */
static enum hysgd_status add_same_shape(struct builder *builder, const struct layer *layer, enum graph_kind kind) {
    struct graph_node node = {.kind = kind,
                              .inputs = {builder->at.node, 0},
                              .channels = present(builder)->channels,
                              .height = present(builder)->height,
                              .width = present(builder)->width,
                              .rate = kind == GRAPH_NORM ? NORM_EPSILON : layer->rate};
    if (kind == GRAPH_NORM && builder->at.is_flat)
        return fail_layer(layer, "needs channels, which flatten has taken away");
    return add_node(builder, layer, node);
}

static enum hysgd_status close_block(struct builder *builder, const struct layer *bracket) {
    struct block *block = &builder->blocks[--builder->depth];
    struct cursor shortcut = builder->at;
    if (block->main.node < 0) { /* no | */
        block->main = builder->at;
        shortcut = block->start;
    }
    const struct graph_node *a = &builder->out->nodes[block->main.node], *b = &builder->out->nodes[shortcut.node];
    if (a->channels != b->channels || a->height != b->height || a->width != b->width)
        return hysgd_fail(
            HYSGD_USAGE,
            "model: the block that ends after layer %d: its layers give %dx%dx%d values, its shortcut "
            "%dx%dx%d; both must be the same",
            bracket->number, a->channels, a->height, a->width, b->channels, b->height, b->width);
    if (a == b)
        return hysgd_fail(HYSGD_USAGE, "model: the block that ends after layer %d: adds its input to itself",
                          bracket->number);
    struct graph_node node = {.kind = GRAPH_ADD,
                              .inputs = {block->main.node, shortcut.node},
                              .channels = a->channels,
                              .height = a->height,
                              .width = a->width};
    builder->at.is_flat = block->main.is_flat || shortcut.is_flat;
    return add_node(builder, NULL, node);
}

static enum hysgd_status add_layer(struct builder *builder, const struct layer *layer) {
    if (builder->loss)
        return fail_layer(builder->loss, "must be the last layer");
    switch (layer->kind) {
    case LAYER_CONV:
    case LAYER_POOL:
    case LAYER_AVGPOOL:
        return add_window(builder, layer);
    case LAYER_DENSE:
        return add_dense(builder, layer);
    case LAYER_RELU:
        return add_same_shape(builder, layer, GRAPH_RELU);
    case LAYER_TANH:
        return add_same_shape(builder, layer, GRAPH_TANH);
    case LAYER_GELU:
        return add_same_shape(builder, layer, GRAPH_GELU);
    case LAYER_NORM:
        return add_same_shape(builder, layer, GRAPH_NORM);
    case LAYER_DROPOUT:
        return add_same_shape(builder, layer, GRAPH_DROPOUT);
    case LAYER_FLATTEN:
        builder->at.is_flat = true;
        return HYSGD_OK;
    case LAYER_LOSS:
        builder->loss = layer;
        return builder->depth ? fail_layer(layer, "must not be in a block") : HYSGD_OK;
    case LAYER_OPEN:
        builder->blocks[builder->depth++] = (struct block){.start = builder->at, .main = {-1, false}};
        return HYSGD_OK;
    case LAYER_SPLIT:
        builder->blocks[builder->depth - 1].main = builder->at;
        builder->at = builder->blocks[builder->depth - 1].start;
        return HYSGD_OK;
    case LAYER_CLOSE:
        return close_block(builder, layer);
    }
    return HYSGD_OK;
}

/* The node of the loss, after a check that the last layer gives what the data need. */
static enum hysgd_status add_loss(struct builder *builder) {
    const struct hysgd_data_shape *shape = builder->shape;
    struct layers_graph *out = builder->out;
    out->loss =
        builder->loss ? builder->loss->loss : (shape->classes > 0 ? LAYER_LOSS_SOFTMAX : LAYER_LOSS_SQUARED);
    bool is_softmax = out->loss == LAYER_LOSS_SOFTMAX;
    int wanted = is_softmax ? shape->classes : shape->targets;
    if (wanted < 1)
        return fail_layer(builder->loss, is_softmax ? "needs data with classes" : "needs data with targets");
    uint64_t width = values_of(present(builder));
    if (width != (uint64_t)wanted)
        return hysgd_fail(HYSGD_USAGE,
                          "model: layer %d \"%s\": the last layer gives %llu values, the data have %d %s",
                          builder->last->number, builder->last->text, (unsigned long long)width, wanted,
                          is_softmax ? "classes" : "targets");
    struct graph_node node = {.kind = is_softmax ? GRAPH_SOFTMAX_LOSS : GRAPH_SQUARED_LOSS,
                              .inputs = {builder->at.node, 0},
                              .channels = wanted,
                              .height = 1,
                              .width = 1};
    out->outputs = (size_t)wanted;
    return add_node(builder, NULL, node);
}

/* Gives a tensor of a node the next place in the vector, adds its elements to `count`, and returns the place. */
static size_t place(struct builder *builder, int node, const char *name, size_t *count, int rank,
                    const size_t *dims) {
    struct layers_graph *out = builder->out;
    struct hysgd_tensor *tensor = &out->tensors[out->tensor_count++];
    snprintf(tensor->name, sizeof(tensor->name), "%d.%s", builder->sources[node]->number, name);
    tensor->rank = rank;
    tensor->first = out->graph.parameter_count + out->graph.statistic_count;
    size_t elements = 1;
    for (int i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
        if (elements <= MOST_PARAMETERS) /* beyond it is refused, by however much: the product must not overflow */
            elements *= dims[i];
    }
    *count += elements;
    return tensor->first;
}

static enum hysgd_status place_parameters(struct builder *builder) {
    struct layers_graph *out = builder->out;
    size_t *parameters = &out->graph.parameter_count;
    for (int n = 0; n < out->graph.count; n++) {
        struct graph_node *node = &out->nodes[n];
        const struct graph_node *from = &out->nodes[node->inputs[0]];
        size_t units = (size_t)node->channels;
        if (node->kind == GRAPH_DENSE) {
            node->weight =
                place(builder, n, "dense.weight", parameters, 2, (size_t[]){units, (size_t)values_of(from)});
            if (node->has_bias)
                node->bias = place(builder, n, "dense.bias", parameters, 1, &units);
        } else if (node->kind == GRAPH_CONV) {
            size_t dims[] = {units, (size_t)from->channels, (size_t)node->kernel_h, (size_t)node->kernel_w};
            node->weight = place(builder, n, "conv.weight", parameters, 4, dims);
            if (node->has_bias)
                node->bias = place(builder, n, "conv.bias", parameters, 1, &units);
        } else if (node->kind == GRAPH_NORM) {
            node->weight = place(builder, n, "norm.scale", parameters, 1, &units);
            node->bias = place(builder, n, "norm.shift", parameters, 1, &units);
        }
        if (out->graph.parameter_count > MOST_PARAMETERS)
            return hysgd_fail(HYSGD_USAGE,
                              "model: layer %d \"%s\": %zu parameters up to here, at most %llu are allowed",
                              builder->sources[n]->number, builder->sources[n]->text, out->graph.parameter_count,
                              (unsigned long long)MOST_PARAMETERS);
    }
    return HYSGD_OK;
}

static void place_statistics(struct builder *builder) {
    struct layers_graph *out = builder->out;
    size_t *statistics = &out->graph.statistic_count;
    for (int n = 0; n < out->graph.count; n++)
        if (out->nodes[n].kind == GRAPH_NORM) {
            size_t channels = (size_t)out->nodes[n].channels;
            out->nodes[n].mean = place(builder, n, "norm.mean", statistics, 1, &channels);
            out->nodes[n].variance = place(builder, n, "norm.variance", statistics, 1, &channels);
        }
}

static enum hysgd_status check_shape(const struct hysgd_data_shape *shape) {
    if (shape->row_count > 0)
        return hysgd_fail(HYSGD_USAGE, "model: a network cannot learn from ratings; expected the model factors");
    if (shape->channels < 1 || shape->height < 1 || shape->width < 1)
        return hysgd_fail(HYSGD_USAGE, "model: a network needs data with inputs");
    if (shape->classes < 1 && shape->targets < 1)
        return hysgd_fail(HYSGD_USAGE, "model: a network needs data with classes or targets");
    if ((uint64_t)shape->channels > MOST_VALUES ||
        (uint64_t)shape->height * (uint64_t)shape->width > MOST_VALUES / (uint64_t)shape->channels)
        return hysgd_fail(HYSGD_USAGE, "model: the data have %dx%dx%d inputs, at most %llu are allowed",
                          shape->channels, shape->height, shape->width, (unsigned long long)MOST_VALUES);
    return HYSGD_OK;
}

static enum hysgd_status build(struct builder *builder, const struct layers *layers) {
    const struct hysgd_data_shape *shape = builder->shape;
    struct layers_graph *out = builder->out;
    size_t most_nodes = (size_t)layers->count + 2; /* the input and the loss */
    HYSGD_TRY(check_shape(shape));
    HYSGD_TRY(memory_alloc(most_nodes, sizeof(*out->nodes), &out->nodes));
    HYSGD_TRY(memory_alloc(4 * most_nodes, sizeof(*out->tensors), &out->tensors));
    HYSGD_TRY(memory_alloc(most_nodes, sizeof(*builder->sources), &builder->sources));
    struct graph_node input = {
        .kind = GRAPH_INPUT, .channels = shape->channels, .height = shape->height, .width = shape->width};
    HYSGD_TRY(add_node(builder, NULL, input));
    for (int i = 0; i < layers->count; i++) {
        HYSGD_TRY(add_layer(builder, &layers->items[i]));
        if (layers->items[i].text[0] && layers->items[i].kind != LAYER_LOSS)
            builder->last = &layers->items[i];
    }
    if (!builder->last)
        return fail_layer(builder->loss, "there is no layer before it");
    HYSGD_TRY(add_loss(builder));
    HYSGD_TRY(place_parameters(builder));
    place_statistics(builder);
    if (out->graph.parameter_count == 0)
        return hysgd_fail(HYSGD_USAGE, "model: no layer has parameters; expected a dense, conv or norm");
    out->graph.nodes = out->nodes;
    return HYSGD_OK;
}

enum hysgd_status layers_build(const struct layers *layers, const struct hysgd_data_shape *shape,
                               struct layers_graph *graph_out) {
    *graph_out = (struct layers_graph){0};
    struct builder builder = {.shape = shape, .out = graph_out};
    enum hysgd_status status = build(&builder, layers);
    memory_free(builder.sources);
    if (status != HYSGD_OK)
        layers_graph_fini(graph_out);
    return status;
}

void layers_graph_fini(struct layers_graph *graph) {
    memory_free(graph->nodes);
    memory_free(graph->tensors);
    *graph = (struct layers_graph){0};
}
