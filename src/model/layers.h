/* SPDX-License-Identifier: Apache-2.0 */
/* Networks described by text, such as "conv 5x5x32, relu, pool 2, dense 10": reading the words into layers, and
 * fitting layers to data, which gives the graph and the named tensors of the parameter vector. */
#ifndef HYSGD_MODEL_LAYERS_H
#define HYSGD_MODEL_LAYERS_H

#include "base/status.h"
#include "linalg/graph.h"

/* X(kind, word, how it is written): the language, from which messages and the help are made. A block adds the
 * values of its two sides: [ layers | shortcut ], where no shortcut means the block's input itself. */
#define LAYERS_LIST(X)                                                                                             \
    X(CONV, "conv", "conv HxWxN [stride S] [pad P|same] [nobias]")                                                 \
    X(DENSE, "dense", "dense [N] [nobias] (without N as many as the data have classes or targets)")                \
    X(POOL, "pool", "pool K [stride S] [pad P] (the maximum)")                                                     \
    X(AVGPOOL, "avgpool", "avgpool [K [stride S] [pad P]] (without K the mean of each channel)")                   \
    X(RELU, "relu", "relu")                                                                                        \
    X(TANH, "tanh", "tanh")                                                                                        \
    X(GELU, "gelu", "gelu")                                                                                        \
    X(NORM, "norm", "norm (of each channel over the batch)")                                                       \
    X(DROPOUT, "dropout", "dropout P (zeroes the share P while training)")                                         \
    X(FLATTEN, "flatten", "flatten (dense does it by itself)")                                                     \
    X(LOSS, "loss", "loss softmax|squared (by default softmax for classes, squared for targets)")

enum layer_kind {
#define X(kind, word, usage) LAYER_##kind,
    LAYERS_LIST(X)
#undef X
        LAYER_OPEN, /* [ */
    LAYER_SPLIT,    /* | */
    LAYER_CLOSE     /* ] */
};

#define LAYERS_MOST       1000  /* layers and brackets of a text */
#define LAYERS_MOST_DEPTH 16    /* blocks within blocks */
#define LAYERS_MOST_TEXT  65536 /* bytes of a text */
#define LAYER_SAME        (-1)  /* pad: keeps height and width at stride 1 */

enum layer_loss { LAYER_LOSS_SOFTMAX, LAYER_LOSS_SQUARED };

/* One layer, or one bracket of a block, as written. */
struct layer {
    enum layer_kind kind;
    int number;             /* among the layers of the text, from 1; a bracket has that of the layer before it */
    int units;              /* conv, dense; 0: as many as the data have classes or targets */
    int kernel_h, kernel_w; /* conv, pools; 0: all of the input */
    int stride, pad;
    bool has_bias;
    double rate; /* dropout */
    enum layer_loss loss;
    char text[64]; /* as written, for messages: printable, blanks collapsed, cut when too long */
};

struct layers {
    struct layer *items; /* [count] */
    int count;
};

/* Reads a text. HYSGD_USAGE names the layer and the word that is wrong and what was expected; HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status layers_parse(const char *text, struct layers *layers_out);
void layers_fini(struct layers *layers);

/* Whether a word begins a layer. */
bool layers_has_word(const char *word, size_t length);

/* The words, for "did you mean". */
extern const char *const layers_words[];
extern const size_t layers_word_count;

/* A network for data of one shape. */
struct layers_graph {
    struct graph graph; /* its nodes are `nodes` */
    struct graph_node *nodes;
    struct hysgd_tensor
        *tensors; /* [tensor_count] parameters, then statistics; named like 1.conv.weight, 2.norm.mean */
    size_t tensor_count;
    size_t outputs; /* width of the last layer */
    enum layer_loss loss;
};

/* Infers every shape. HYSGD_USAGE names the layer that cannot be where it is, or how the last layer differs from
 * what the data need; HYSGD_MEMORY. On failure the output is empty. */
HYSGD_MUST_CHECK enum hysgd_status layers_build(const struct layers *layers, const struct hysgd_data_shape *shape,
                                                struct layers_graph *graph_out);
void layers_graph_fini(struct layers_graph *graph);

#endif
