/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary text as a model: it is refused with a message, or it gives a graph whose nodes and tensors are sound.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/layers.h"
#include "model/model.h"

static void check(bool is_true) {
    if (!is_true)
        abort();
}

/* Every node reads earlier ones, and the tensors cover the vector in order. */
static void check_graph(const struct layers_graph *fitted) {
    const struct graph *graph = &fitted->graph;
    for (int n = 1; n < graph->count; n++) {
        const struct graph_node *node = &graph->nodes[n];
        check(node->inputs[0] >= 0 && node->inputs[0] < n && node->inputs[1] >= 0 && node->inputs[1] < n);
        check(node->channels > 0 && node->height > 0 && node->width > 0);
    }
    size_t next = 0;
    for (size_t t = 0; t < fitted->tensor_count; t++) {
        check(fitted->tensors[t].first == next);
        size_t elements = 1;
        for (int i = 0; i < fitted->tensors[t].rank; i++)
            elements *= fitted->tensors[t].dims[i];
        next += elements;
    }
    check(next == graph->parameter_count + graph->statistic_count);
}

/* A refusal has a message. */
static bool is_accepted(enum hysgd_status status) {
    check(status == HYSGD_OK || hysgd_error_message()[0] != '\0');
    status_set_message("");
    return status == HYSGD_OK;
}

static void build(const struct layers *layers, const struct hysgd_data_shape *shape) {
    struct layers_graph graph;
    if (is_accepted(layers_build(layers, shape, &graph))) {
        check_graph(&graph);
        layers_graph_fini(&graph);
    }
}

static void open_model(const char *text, const struct hysgd_data_shape *shape) {
    struct plugin model;
    if (!is_accepted(model_open(text, &model)))
        return;
    const struct hysgd_model_ops *ops = model_ops(&model);
    if (strcmp(ops->about.name, "quadratic") != 0) /* takes as much memory as it is told to */
        (void)is_accepted(ops->init(model.self, shape));
    if (ops->fini)
        ops->fini(model.self);
    plugin_close(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct hysgd_data_shape image = {.channels = 1, .height = 28, .width = 28, .classes = 10};
    static const struct hysgd_data_shape row = {.channels = 7, .height = 1, .width = 1, .targets = 3};
    char *text = malloc(size + 1);
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    open_model(text, &image);
    struct layers layers;
    if (is_accepted(layers_parse(text, &layers))) {
        build(&layers, &image);
        build(&layers, &row);
        layers_fini(&layers);
    }
    free(text);
    check(memory_used() == 0);
    return 0;
}
