/* SPDX-License-Identifier: Apache-2.0 */
/* The list of steps of a oneDNN plan: growing it while the graph is compiled, and running it. */
#include "linalg/onednn.h"

#include <string.h>

#include "base/machine.h"
#include "base/memory.h"

#define FIRST_CAPACITY 64

static enum hysgd_status buffer_add(struct plan *plan, enum place place, size_t offset, size_t bytes,
                                    int *index_out) {
    HYSGD_TRY(memory_grow(&plan->buffers, (size_t)plan->buffer_count, &plan->buffer_capacity, FIRST_CAPACITY,
                          sizeof *plan->buffers));
    plan->buffers[plan->buffer_count] =
        (struct buffer){.place = place, .offset = offset, .bytes = bytes, .first = -1, .last = -1};
    *index_out = plan->buffer_count++;
    return HYSGD_OK;
}

enum hysgd_status tensor_new(struct plan *plan, const dnnl_memory_desc_t *layout, struct tensor *tensor_out) {
    tensor_out->layout = *layout;
    tensor_out->offset = 0;
    return buffer_add(plan, PLACE_ARENA, 0, dnnl_memory_desc_get_size(layout), &tensor_out->buffer);
}

enum hysgd_status tensor_at(struct plan *plan, enum place place, size_t first, const dnnl_memory_desc_t *layout,
                            struct tensor *tensor_out) {
    tensor_out->layout = *layout;
    tensor_out->offset = 0;
    return buffer_add(plan, place, first * sizeof(float), dnnl_memory_desc_get_size(layout), &tensor_out->buffer);
}

enum hysgd_status describe_if_any(struct plan *plan, int node, const_dnnl_op_desc_t operation,
                                  const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
                                  const char *what, const_dnnl_primitive_desc_t *description_out) {
    HYSGD_TRY(memory_grow(&plan->descriptions, (size_t)plan->description_count, &plan->description_capacity,
                          FIRST_CAPACITY, sizeof *plan->descriptions));
    dnnl_primitive_desc_t *description = &plan->descriptions[plan->description_count];
    dnnl_status_t status = dnnl_primitive_desc_create(description, operation, attributes, plan->engine, hint);
    *description_out = NULL;
    if (status == dnnl_unimplemented)
        return HYSGD_OK;
    HYSGD_TRY(onednn_check(node, status, what));
    plan->description_count++;
    *description_out = *description;
    return HYSGD_OK;
}

enum hysgd_status describe(struct plan *plan, int node, const_dnnl_op_desc_t operation,
                           const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
                           const char *what, const_dnnl_primitive_desc_t *description_out) {
    HYSGD_TRY(describe_if_any(plan, node, operation, attributes, hint, what, description_out));
    return *description_out ? HYSGD_OK : onednn_check(node, dnnl_unimplemented, what);
}

void descriptions_free(struct plan *plan) {
    for (int i = 0; i < plan->description_count; i++)
        dnnl_primitive_desc_destroy(plan->descriptions[i]);
    plan->description_count = 0;
    memory_free(plan->descriptions);
    plan->descriptions = NULL;
    plan->description_capacity = 0;
}

/* Appends an empty step to fill in. */
static enum hysgd_status step_begin(struct plan *plan, int node, const char *kind, unsigned when,
                                    struct step **step_out) {
    HYSGD_TRY(memory_grow(&plan->steps, (size_t)plan->step_count, &plan->step_capacity, FIRST_CAPACITY,
                          sizeof *plan->steps));
    struct step *step = &plan->steps[plan->step_count++];
    *step = (struct step){.kind = kind, .when = when, .node = node};
    *step_out = step;
    return HYSGD_OK;
}

static void step_use(struct plan *plan, struct step *step, const struct tensor *tensor) {
    const int buffer = tensor->buffer;
    int number = (int)(step - plan->steps);
    step->offsets[step->count] = tensor->offset;
    step->buffers[step->count++] = buffer;
    if (buffer < 0)
        return;
    if (plan->buffers[buffer].first < 0)
        plan->buffers[buffer].first = number;
    plan->buffers[buffer].last = number;
}

static enum hysgd_status step_operand(struct plan *plan, struct step *step, int id, const struct tensor *tensor) {
    dnnl_exec_arg_t *argument = &step->arguments[step->count];
    step_use(plan, step, tensor);
    argument->arg = id;
    return onednn_check(step->node,
                        dnnl_memory_create(&argument->memory, &tensor->layout, plan->engine, DNNL_MEMORY_NONE),
                        "describe memory");
}

/* Scratch memory for the latest step. Steps that do the same for parts of a batch share it. */
static enum hysgd_status step_scratch(struct plan *plan, struct step *step, const dnnl_memory_desc_t *layout) {
    if (dnnl_memory_desc_get_size(layout) == 0)
        return HYSGD_OK;
    const bool is_shared = plan->scratch_node == step->node && plan->scratch_kind == step->kind &&
                           dnnl_memory_desc_equal(&plan->scratch.layout, layout);
    if (!is_shared)
        HYSGD_TRY(tensor_new(plan, layout, &plan->scratch));
    plan->scratch_node = step->node;
    plan->scratch_kind = step->kind;
    return step_operand(plan, step, DNNL_ARG_SCRATCHPAD, &plan->scratch);
}

enum hysgd_status step_add(struct plan *plan, int node, const char *kind, unsigned when,
                           const_dnnl_primitive_desc_t description, const struct operand *operands, int count) {
    struct step *step;
    HYSGD_TRY(step_begin(plan, node, kind, when, &step));
    HYSGD_TRY(onednn_check(node, dnnl_primitive_create(&step->primitive, description), kind));
    for (int i = 0; i < count; i++)
        if (operands[i].tensor->buffer >= 0)
            HYSGD_TRY(step_operand(plan, step, operands[i].id, operands[i].tensor));
    return step_scratch(plan, step, wanted(description, dnnl_query_scratchpad_md));
}

enum hysgd_status step_add_own(struct plan *plan, int node, const char *kind, unsigned when,
                               void (*run)(struct plan *, const struct step *), const struct tensor *const *tensors,
                               int count, size_t elements) {
    struct step *step;
    HYSGD_TRY(step_begin(plan, node, kind, when, &step));
    step->run = run;
    step->elements = elements;
    step->element = tensor_element(tensors[0]);
    for (int i = 0; i < count; i++)
        step_use(plan, step, tensors[i]);
    return HYSGD_OK;
}

static void *buffer_pointer(const struct plan *plan, int index, size_t offset) {
    const struct buffer *buffer = &plan->buffers[index];
    return plan->bases[buffer->place] + buffer->offset + offset;
}

void *tensor_pointer(const struct plan *plan, const struct tensor *tensor) {
    return buffer_pointer(plan, tensor->buffer, tensor->offset);
}

void *step_pointer(const struct plan *plan, const struct step *step, int i) {
    return step->buffers[i] < 0 ? NULL : buffer_pointer(plan, step->buffers[i], step->offsets[i]);
}

/* Hands the addresses of one place to all primitives. */
static enum hysgd_status place_moved(struct plan *plan, enum place place) {
    for (int s = 0; s < plan->step_count; s++) {
        struct step *step = &plan->steps[s];
        for (int i = 0; i < step->count; i++) {
            if (!step->arguments[i].memory || plan->buffers[step->buffers[i]].place != place)
                continue;
            HYSGD_TRY(onednn_check(
                step->node, dnnl_memory_set_data_handle(step->arguments[i].memory, step_pointer(plan, step, i)),
                "take an address"));
        }
    }
    return HYSGD_OK;
}

enum hysgd_status steps_finish(struct plan *plan) {
    size_t bytes;
    HYSGD_TRY(arena_place(plan->buffers, plan->buffer_count, &bytes));
    HYSGD_TRY(memory_alloc_vector(bytes, 1, &plan->bases[PLACE_ARENA]));
    return place_moved(plan, PLACE_ARENA);
}

static enum hysgd_status bind(struct plan *plan, enum place place, const float *address) {
    char *base;
    memcpy(&base, &address, sizeof base); /* oneDNN takes what it only reads without const too */
    if (!base || plan->bases[place] == base)
        return HYSGD_OK;
    plan->bases[place] = base;
    return place_moved(plan, place);
}

enum hysgd_status steps_bind(struct plan *plan, const float *vector, const float *inputs, float *gradient) {
    HYSGD_TRY(bind(plan, PLACE_VECTOR, vector));
    HYSGD_TRY(bind(plan, PLACE_INPUTS, inputs));
    return bind(plan, PLACE_GRADIENT, gradient);
}

static enum hysgd_status step_run(struct plan *plan, const struct step *step) {
    if (step->run) {
        step->run(plan, step);
        return HYSGD_OK;
    }
    return onednn_check(step->node,
                        dnnl_primitive_execute(step->primitive, plan->stream, step->count, step->arguments),
                        step->kind);
}

enum hysgd_status steps_run(struct plan *plan, int first, int end, unsigned when) {
    for (int s = first; s < end; s++) {
        struct step *step = &plan->steps[s];
        if (!(step->when & when))
            continue;
        double began = plan->is_profiling ? machine_seconds() : 0;
        HYSGD_TRY(step_run(plan, step));
        if (!plan->is_profiling)
            continue;
        double took = machine_seconds() - began;
        if (step->seconds == 0 || took < step->seconds)
            step->seconds = took;
    }
    return HYSGD_OK;
}

void steps_free(struct plan *plan) {
    for (int s = 0; s < plan->step_count; s++) {
        struct step *step = &plan->steps[s];
        for (int i = 0; i < step->count; i++)
            if (step->arguments[i].memory)
                dnnl_memory_destroy(step->arguments[i].memory);
        if (step->primitive)
            dnnl_primitive_destroy(step->primitive);
    }
    memory_free(plan->steps);
    memory_free(plan->buffers);
    memory_free(plan->bases[PLACE_ARENA]);
}
