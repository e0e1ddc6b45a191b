/* SPDX-License-Identifier: Apache-2.0 */
/* Well-known networks under names of their own: each is a text that may as well be written in place of its name. */
#include "model/list.h"
#include "model/network.h"

static const struct hysgd_option options[] = {NETWORK_OPTIONS, {0}};

/* Defines the ops table model_NAME of the network that `text` describes. */
#define PRESET(name, text, ...)                                                                                    \
    static enum hysgd_status init_##name(void *self, const struct hysgd_data_shape *shape) {                       \
        return network_fit(self, text, shape);                                                                     \
    }                                                                                                              \
    const struct hysgd_model_ops model_##name = {                                                                  \
        .about = {.size = sizeof(struct network), .options = options, __VA_ARGS__},                                \
        .init = init_##name,                                                                                       \
        NETWORK_FUNCTIONS,                                                                                         \
    }

PRESET(softmax, "dense, loss softmax", .name = "softmax", .summary = "softmax regression: one dense layer");

PRESET(mlp, "dense 256, relu, dense 128, relu, dense", .name = "mlp",
       .summary = "two hidden layers of 256 and 128 units");

PRESET(
    lenet, "conv 5x5x32, relu, pool 2, conv 5x5x64, relu, pool 2, dense", .name = "lenet",
    .summary = "two 5x5 convolutions (32, 64 channels), each with a pool, then one dense layer",
    .source =
        "after LeCun, Bottou, Bengio and Haffner, \"Gradient-based learning applied to document recognition\", 1998");

PRESET(
    cifar_cnn,
    "conv 3x3x32 pad same, relu, pool 2, conv 3x3x64 pad same, relu, pool 2, conv 3x3x128 pad same, relu, pool 2, "
    "dense",
    .name = "cifar-cnn",
    .summary = "three 3x3 convolutions (32, 64, 128 channels), each with a pool, then one dense layer");

/* Two convolutions around which the input is added; the first block of the later stages halves height and width. */
#define RESNET_CONV(channels)  "conv 3x3x" channels " pad same nobias, norm"
#define RESNET_BLOCK(channels) "[ " RESNET_CONV(channels) ", relu, " RESNET_CONV(channels) " ], relu, "
#define RESNET_STAGE(channels)                                                                                     \
    "[ conv 3x3x" channels " stride 2 pad same nobias, norm, relu, " RESNET_CONV(                                  \
        channels) " | conv 1x1x" channels " stride 2 nobias, norm ], relu, " RESNET_BLOCK(channels)                \
        RESNET_BLOCK(channels)

PRESET(resnet20,
       RESNET_CONV("16") ", relu, " RESNET_BLOCK("16") RESNET_BLOCK("16") RESNET_BLOCK("16") RESNET_STAGE("32")
           RESNET_STAGE("64") "avgpool, dense",
       .name = "resnet20", .summary = "residual network of 20 layers (16, 32, 64 channels), projection shortcuts",
       .source =
           "He, Zhang, Ren and Sun, \"Deep residual learning for image recognition\", 2016, section 4.2, option B");
