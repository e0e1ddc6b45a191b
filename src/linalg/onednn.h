/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the oneDNN plan: a graph is compiled into a static list of steps on buffers, first all of forward, then
 * all of backward. The files onednn_<operations>.c append the steps of one group of operations; onednn_steps.c
 * holds, places and runs them. */
#ifndef HYSGD_LINALG_ONEDNN_H
#define HYSGD_LINALG_ONEDNN_H

#include <dnnl.h>

#include "linalg/elements.h"
#include "linalg/plan.h"

/* Where a buffer lies: in the plan's own arena, or in a vector that the caller hands over with each call. */
enum place { PLACE_ARENA, PLACE_VECTOR, PLACE_GRADIENT, PLACE_INPUTS, PLACE_COUNT };

struct buffer {
    enum place place;
    size_t offset, bytes; /* from the start of the place; in the arena written by arena_place */
    int first, last;      /* steps that use it; buffers of the arena whose spans are apart may share memory */
};

/* A buffer, or a part of it, with the shape, element type and layout of what it holds. */
struct tensor {
    int buffer;    /* index; -1: there is no tensor */
    size_t offset; /* bytes into the buffer */
    dnnl_memory_desc_t layout;
};

enum when { WHEN_TRAINING = 1, WHEN_INFERENCE = 2, WHEN_ALWAYS = 3 };

#define STEP_MOST_OPERANDS 12

/* One primitive of oneDNN, or one function of our own, with the buffers it works on. */
struct step {
    const char *kind; /* "convolution forward"; groups steps in profiles */
    unsigned when;    /* enum when */
    dnnl_primitive_t primitive;
    void (*run)(struct plan *plan, const struct step *step); /* instead of a primitive */
    int count;                                               /* operands */
    int buffers[STEP_MOST_OPERANDS];                         /* buffer of each operand; -1: none */
    size_t offsets[STEP_MOST_OPERANDS];
    dnnl_exec_arg_t arguments[STEP_MOST_OPERANDS]; /* of a primitive, in the same order */
    size_t elements;                               /* of our own: elements per operand */
    enum element element;                          /* and what they are */
    int node;                                      /* index in the graph */
    double seconds; /* the least that it took since profiling was switched on; 0: it has not run */
};

struct operand {
    int id; /* DNNL_ARG_...; 0 for our own functions */
    const struct tensor *tensor;
};

/* What compiling knows of a node. A node that is absorbed (a relu computed by its producer) has an owner other than
 * itself. */
struct node_state {
    int owner;
    int consumers;                       /* live nodes that read it, absorbed nodes excepted */
    bool is_live;                        /* the loss depends on it */
    bool is_relu;                        /* it absorbed a relu */
    bool is_gated;                       /* gradients that come back to it are cut off where its value is 0 */
    bool feeds_loss;                     /* the loss reads it */
    bool needs_gradient;                 /* it or something before it has parameters */
    struct tensor value, source;         /* output; input in the layout that forward took */
    struct tensor workspace;             /* of forward for backward: pool, norm; mask of dropout */
    struct tensor weight;                /* in the layout that forward took */
    struct tensor gradient;              /* of the loss with respect to the value */
    struct tensor parts[2];              /* gradients from consumers, not yet added */
    bool part_is_shared[2];              /* read by others too: not to be changed */
    const_dnnl_primitive_desc_t forward; /* hint for backward */
};

struct plan {
    const struct graph *graph;
    size_t batch;
    enum plan_precision precision;
    bool is_training;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t plain, relu; /* attributes: user scratchpad; the same followed by max(x, 0) */
    struct node_state *nodes;          /* [graph->count] */
    struct step *steps;
    int step_count;
    size_t step_capacity;
    int forward_end; /* first step of backward */
    struct buffer *buffers;
    int buffer_count;
    size_t buffer_capacity;
    dnnl_primitive_desc_t *descriptions; /* made while compiling, freed after it */
    int description_count;
    size_t description_capacity;
    struct tensor scratch; /* of the latest step that has any, and what that step does */
    const char *scratch_kind;
    int scratch_node;
    char *bases[PLACE_COUNT];
    struct tensor staging;                   /* inputs of an incomplete batch, filled up with zeros */
    struct tensor outputs, outputs_gradient; /* of the loss node's input: plain float */
    bool is_profiling;
    bool is_covered; /* backward writes every element of the gradient */
    /* Arguments of the call that is running. */
    const int32_t *labels;
    const float *targets;
    const struct plan_stream *random;
    double loss;
};

/* Turns a failure of oneDNN into a status; `what` is what was being made or run for the node. */
HYSGD_MUST_CHECK enum hysgd_status onednn_check(int node, dnnl_status_t status, const char *what);

/* onednn_fusion.c */

/* Fills in what the states of all nodes say about absorbing, gating and gradients. */
void fuse_nodes(struct plan *plan);

/* onednn_steps.c */

/* A tensor in the arena. */
HYSGD_MUST_CHECK enum hysgd_status tensor_new(struct plan *plan, const dnnl_memory_desc_t *layout,
                                              struct tensor *tensor_out);
/* A tensor at an offset (in elements) of a vector of the caller. */
HYSGD_MUST_CHECK enum hysgd_status tensor_at(struct plan *plan, enum place place, size_t first,
                                             const dnnl_memory_desc_t *layout, struct tensor *tensor_out);

/* Appends a primitive; its scratchpad is added to the operands. */
HYSGD_MUST_CHECK enum hysgd_status step_add(struct plan *plan, int node, const char *kind, unsigned when,
                                            const_dnnl_primitive_desc_t description, const struct operand *operands,
                                            int count);
/* Appends a function of our own on `elements` elements of each tensor; where a buffer is -1 it gets NULL. */
HYSGD_MUST_CHECK enum hysgd_status step_add_own(struct plan *plan, int node, const char *kind, unsigned when,
                                                void (*run)(struct plan *, const struct step *),
                                                const struct tensor *const *tensors, int count, size_t elements);
/* The memory of operand `i` of a step that is running; NULL when it has none. */
void *step_pointer(const struct plan *plan, const struct step *step, int i);

void *tensor_pointer(const struct plan *plan, const struct tensor *tensor);

/* Gives every buffer of the arena its place, allocates the arena and lets the primitives know. */
HYSGD_MUST_CHECK enum hysgd_status steps_finish(struct plan *plan);
/* Lets the primitives know where the caller's vectors are now; NULL leaves a place as it was. */
HYSGD_MUST_CHECK enum hysgd_status steps_bind(struct plan *plan, const float *vector, const float *inputs,
                                              float *gradient);
HYSGD_MUST_CHECK enum hysgd_status steps_run(struct plan *plan, int first, int end, unsigned when);
void steps_free(struct plan *plan);
void descriptions_free(struct plan *plan);

/* onednn_arena.c */

/* Chooses offsets so that buffers used at the same step are apart; returns the bytes needed. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status arena_place(struct buffer *buffers, int count, size_t *bytes_out);

/* onednn_tensors.c */

dnnl_data_type_t plan_type(const struct plan *plan);
/* [batch][channels][height][width] of a node's output, in a plain layout or any layout. */
dnnl_memory_desc_t node_layout(const struct plan *plan, int node, dnnl_data_type_t type, dnnl_format_tag_t tag);
/* Elements of a node's output for one sample. */
size_t node_size(const struct plan *plan, int node);
/* A vector of `count` floats. */
dnnl_memory_desc_t vector_layout(size_t count);
/* The number of elements in memory, padding included. */
size_t tensor_elements(const struct tensor *tensor);
enum element tensor_element(const struct tensor *tensor);
/* The layout that a primitive wants for one of its operands. */
const dnnl_memory_desc_t *wanted(const_dnnl_primitive_desc_t description, dnnl_query_t query);

/* The tensor in another layout: itself if it is in that layout, else a copy that a step makes. */
HYSGD_MUST_CHECK enum hysgd_status tensor_as(struct plan *plan, int node, const char *kind, unsigned when,
                                             const struct tensor *tensor, const dnnl_memory_desc_t *layout,
                                             struct tensor *tensor_out);
/* A tensor in the given layout whose content ends up in `target`: `target` itself where the layouts agree. Call
 * tensor_deliver after the step that writes it. */
HYSGD_MUST_CHECK enum hysgd_status tensor_for(struct plan *plan, const struct tensor *target,
                                              const dnnl_memory_desc_t *layout, struct tensor *tensor_out);
HYSGD_MUST_CHECK enum hysgd_status tensor_deliver(struct plan *plan, int node, const struct tensor *from,
                                                  const struct tensor *target);

/* The value that input `i` of a node reads, absorbed nodes resolved. */
int node_input(const struct plan *plan, int node, int i);
/* Adds a gradient to what the consumers of `node` have sent back. `is_shared`: others read the tensor too. */
HYSGD_MUST_CHECK enum hysgd_status gradient_send(struct plan *plan, int node, const struct tensor *gradient,
                                                 bool is_shared);
/* Makes nodes[node].gradient from all that was sent, cut off where is_gated. At least one was sent. */
HYSGD_MUST_CHECK enum hysgd_status gradient_collect(struct plan *plan, int node);

/* Makes a primitive description, which the plan owns until compiling ends. `hint`: that of forward, for backward.
 */
HYSGD_MUST_CHECK enum hysgd_status describe(struct plan *plan, int node, const_dnnl_op_desc_t operation,
                                            const_dnnl_primitive_attr_t attributes,
                                            const_dnnl_primitive_desc_t hint, const char *what,
                                            const_dnnl_primitive_desc_t *description_out);
/* The same, but NULL when oneDNN has no such primitive. */
HYSGD_MUST_CHECK enum hysgd_status describe_if_any(struct plan *plan, int node, const_dnnl_op_desc_t operation,
                                                   const_dnnl_primitive_attr_t attributes,
                                                   const_dnnl_primitive_desc_t hint, const char *what,
                                                   const_dnnl_primitive_desc_t *description_out);

/* Groups of operations */

/* Forward appends the steps that make nodes[node].value, backward those that use its gradient. */
struct operation {
    enum hysgd_status (*forward)(struct plan *plan, int node);
    enum hysgd_status (*backward)(struct plan *plan, int node);
};

extern const struct operation operation_conv, operation_dense, operation_max_pool, operation_avg_pool,
    operation_norm, operation_relu, operation_tanh, operation_gelu, operation_dropout, operation_add,
    operation_loss;

#endif
