/* SPDX-License-Identifier: Apache-2.0 */
/* The state and functions of every model that is made of layers: `network`, whose layers are an option, and the
 * presets, whose layers are fixed texts. */
#ifndef HYSGD_MODEL_NETWORK_H
#define HYSGD_MODEL_NETWORK_H

#include "linalg/plan.h"
#include "model/layers.h"

struct network {
    char *layers;  /* option of `network`; unused by presets */
    int precision; /* enum plan_precision */
    int kernels;   /* auto, reference, onednn */
    struct layers_graph fitted;
    const struct plan_ops *plans;
};

/* Rows of the options that all networks have. */
#define NETWORK_OPTIONS                                                                                            \
    {"precision",                                                                                                  \
     HYSGD_OPTION_CHOICE,                                                                                          \
     offsetof(struct network, precision),                                                                          \
     "fp32",                                                                                                       \
     0,                                                                                                            \
     0,                                                                                                            \
     "fp32|bf16",                                                                                                  \
     "fp32, or bf16: activations and working weights in bfloat16, sums and parameters in fp32"},                   \
    {                                                                                                              \
        "kernels", HYSGD_OPTION_CHOICE, offsetof(struct network, kernels), "auto", 0, 0, "auto|reference|onednn",  \
            "who computes: oneDNN, the plain reference, or the faster of those built in"                           \
    }

/* Fits the network that `text` describes to the data; the rest of `init`. */
HYSGD_MUST_CHECK enum hysgd_status network_fit(struct network *network, const char *text,
                                               const struct hysgd_data_shape *shape);

void network_fini(void *self);
void network_describe(const void *self, struct hysgd_model_layout *layout_out);
void network_start(const void *self, uint64_t seed, float *vector_out);
enum hysgd_status network_open(const void *self, size_t batch, void **workspace_out);
void network_close(const void *self, void *workspace);
enum hysgd_status network_gradient(const void *self, void *workspace, const float *vector,
                                   const struct hysgd_batch *batch, float *gradient_out, double *loss_out);
enum hysgd_status network_evaluate(const void *self, void *workspace, const float *vector,
                                   const struct hysgd_batch *batch, struct hysgd_metrics *metrics);
enum hysgd_status network_predict(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, float *outputs_out);

/* The members of an ops table that are the same for all networks. */
#define NETWORK_FUNCTIONS                                                                                          \
    .fini = network_fini, .describe = network_describe, .start = network_start, .open = network_open,              \
    .close = network_close, .gradient = network_gradient, .evaluate = network_evaluate, .predict = network_predict

#endif
