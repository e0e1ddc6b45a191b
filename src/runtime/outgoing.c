/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding and counting what workers deliver: see outgoing.h; and the choices of --wire. */
#include "runtime/outgoing.h"

#include <stddef.h>
#include <string.h>

#include "base/memory.h"
#include "runtime/training.h"

_Static_assert(SERVER_SHARD % WIRE_FRAME == 0, "a slice of whole shards is one of whole frames");

/* ---- The choices ---- */

#define SPARSE_ROW                                                                                                 \
    {                                                                                                              \
        "sparse", HYSGD_OPTION_CHOICE, offsetof(struct outgoing_options, sparse), "auto", 0, 0, "auto|yes|no",     \
            "leave out runs of zeros; auto: where the model says that its gradients are mostly zero"               \
    }
#define FEEDBACK_ROW(initial)                                                                                      \
    {                                                                                                              \
        "feedback", HYSGD_OPTION_BOOL, offsetof(struct outgoing_options, has_feedback), initial, 0, 0, NULL,       \
            "a worker adds what rounding has left out to its next gradient"                                        \
    }

static const struct hysgd_option fp32_options[] = {SPARSE_ROW, {.key = NULL}};
static const struct hysgd_option bf16_options[] = {FEEDBACK_ROW("no"), SPARSE_ROW, {.key = NULL}};
static const struct hysgd_option int8_options[] = {FEEDBACK_ROW("yes"), SPARSE_ROW, {.key = NULL}};

#define FEEDBACK_SOURCE                                                                                            \
    "Seide et al., 1-bit stochastic gradient descent, Interspeech 2014; Karimireddy et al., Error feedback fixes " \
    "SignSGD and other gradient compression schemes, ICML 2019"

static const struct wire_ops wire_fp32 = {
    .about = {.name = "fp32",
              .summary = "floats: nothing is lost",
              .size = sizeof(struct outgoing_options),
              .options = fp32_options},
    .element = WIRE_FP32,
};

static const struct wire_ops wire_bf16 = {
    .about = {.name = "bf16",
              .summary = "the upper halves of floats, to nearest: half the bytes, eight significant bits",
              .source = FEEDBACK_SOURCE,
              .size = sizeof(struct outgoing_options),
              .options = bf16_options},
    .element = WIRE_BF16,
};

static const struct wire_ops wire_int8 = {
    .about = {.name = "int8",
              .summary = "bytes, to nearest, with a scale for each 1024: a quarter of the bytes",
              .source = FEEDBACK_SOURCE,
              .size = sizeof(struct outgoing_options),
              .options = int8_options},
    .element = WIRE_INT8,
};

static const struct hysgd_plugin *const entries[] = {&wire_fp32.about, &wire_bf16.about, &wire_int8.about};

const struct plugin_list wire_list = {
    .kind = "wire",
    .entries = entries,
    .count = sizeof entries / sizeof entries[0],
};

static enum wire_element element_of(const struct plugin *wire) {
    return wire ? ((const struct wire_ops *)wire->ops)->element : WIRE_FP32;
}

bool outgoing_is_lossy(const struct plugin *wire) {
    return element_of(wire) != WIRE_FP32;
}

static bool has_feedback(const struct training_setup *setup) {
    return outgoing_is_lossy(setup->wire) && setup->computes_gradients &&
           ((const struct outgoing_options *)setup->wire->self)->has_feedback;
}

static bool leaves_out_zeros(const struct training *training) {
    const struct plugin *wire = training->setup->wire;
    int sparse = wire ? ((const struct outgoing_options *)wire->self)->sparse : OUTGOING_AUTO;
    return sparse == OUTGOING_YES || (sparse == OUTGOING_AUTO && training->layout.has_sparse_gradients);
}

/* ---- Beginning and end ---- */

int outgoing_vector_count(const struct training_setup *setup) {
    return has_feedback(setup) ? 2 : 0;
}

enum hysgd_status outgoing_init(struct training *training) {
    struct outgoing *outgoing = &training->outgoing;
    outgoing->format = (struct wire_format){element_of(training->setup->wire), leaves_out_zeros(training),
                                            training->layout.parameter_count};
    outgoing->has_feedback = has_feedback(training->setup);
    return memory_alloc((size_t)training->setup->workers, sizeof *outgoing->workers, &outgoing->workers);
}

void outgoing_fini(struct training *training) {
    struct outgoing *outgoing = &training->outgoing;
    for (int i = 0; outgoing->workers && i < training->setup->workers; i++) {
        memory_free(outgoing->workers[i].settled);
        memory_free(outgoing->workers[i].working);
    }
    memory_free(outgoing->workers);
    *outgoing = (struct outgoing){.workers = NULL};
}

enum hysgd_status outgoing_open(struct training *training, int index) {
    struct outgoing_worker *worker = &training->outgoing.workers[index];
    size_t count = training->layout.parameter_count;
    if (!training->outgoing.has_feedback || worker->settled)
        return HYSGD_OK;
    if (!worker->working)
        HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->working));
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &worker->settled));
    memset(worker->settled, 0, count * sizeof(float));
    return HYSGD_OK;
}

/* ---- A gradient ---- */

static size_t vector_count(const struct training *training) {
    return training->layout.parameter_count + training->layout.statistic_count;
}

void outgoing_round(struct training *training, int index, float *gradient) {
    const struct wire_format *format = &training->outgoing.format;
    struct outgoing_worker *worker = &training->outgoing.workers[index];
    wire_round(format, 0, vector_count(training), gradient, worker->settled, worker->working);
    worker->bytes = wire_size(format, 0, vector_count(training), gradient);
}

void outgoing_settle(struct training *training, int index) {
    struct outgoing_worker *worker = &training->outgoing.workers[index];
    float *settled = worker->settled;
    worker->settled = worker->working;
    worker->working = settled;
}

void outgoing_renew(struct training *training, int index) {
    float *settled = training->outgoing.workers[index].settled;
    if (settled)
        memset(settled, 0, training->layout.parameter_count * sizeof *settled);
}

uint64_t outgoing_bytes(const struct training *training, int worker) {
    struct wire_format format = training->outgoing.format;
    if (training->setup->computes_gradients && format.leaves_out_zeros)
        return training->outgoing.workers[worker].bytes;
    format.leaves_out_zeros = false;
    return wire_bound(&format, 0, vector_count(training));
}

uint64_t outgoing_version_bytes(const struct training *training) {
    return vector_count(training) * sizeof(float);
}
