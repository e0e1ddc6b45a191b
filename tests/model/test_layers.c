/* SPDX-License-Identifier: Apache-2.0 */
/* The language of layers: what is accepted, the shapes and tensors that follow, and the message for everything
 * else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "model/layers.h"
#include "model/list.h"
#include "model/model.h"

static const struct hysgd_data_shape digits = {
    .train_count = 100, .test_count = 10, .channels = 1, .height = 28, .width = 28, .classes = 10};
static const struct hysgd_data_shape numbers = {
    .train_count = 100, .test_count = 10, .channels = 5, .height = 1, .width = 1, .targets = 3};

/* Parses and builds; the caller frees the graph when it succeeds. */
static enum hysgd_status build(const char *text, const struct hysgd_data_shape *shape,
                               struct layers_graph *graph_out) {
    struct layers layers;
    enum hysgd_status status = layers_parse(text, &layers);
    if (status != HYSGD_OK)
        return status;
    status = layers_build(&layers, shape, graph_out);
    layers_fini(&layers);
    return status;
}

static void assert_output(const char *text, const struct hysgd_data_shape *shape, int node, int channels,
                          int height, int width) {
    struct layers_graph graph;
    assert_int_equal(build(text, shape, &graph), HYSGD_OK);
    assert_true(node < graph.graph.count);
    assert_int_equal(graph.nodes[node].channels, channels);
    assert_int_equal(graph.nodes[node].height, height);
    assert_int_equal(graph.nodes[node].width, width);
    layers_graph_fini(&graph);
}

static void shapes_follow_from_windows_strides_and_padding(void **state) {
    (void)state;
    assert_output("conv 5x5x32, dense", &digits, 1, 32, 24, 24);
    assert_output("conv 3x5x2 stride 2 pad 1, dense", &digits, 1, 2, 14, 13);
    assert_output("conv 3x3x2 pad same, dense", &digits, 1, 2, 28, 28);
    assert_output("conv 3x3x2 stride 2 pad same, dense", &digits, 1, 2, 14, 14);
    assert_output("pool 3, dense", &digits, 1, 1, 9, 9);
    assert_output("pool 3 stride 2 pad 1, dense", &digits, 1, 1, 14, 14);
    assert_output("avgpool 2 stride 1, dense", &digits, 1, 1, 27, 27);
    assert_output("conv 1x1x7, avgpool, dense", &digits, 2, 7, 1, 1);
    assert_output("relu, tanh, gelu, norm, dropout 0.5, dense", &digits, 5, 1, 28, 28);
    assert_output("conv 28x28x10", &digits, 1, 10, 1, 1);
}

static void layers_become_nodes_with_their_arguments(void **state) {
    (void)state;
    struct layers_graph graph;
    assert_int_equal(
        build("conv 3x3x2 nobias stride 2 pad 1, dropout 0.25, flatten, dense 4, dense", &digits, &graph),
        HYSGD_OK);
    assert_int_equal(graph.graph.count, 6);
    assert_int_equal(graph.nodes[1].kind, GRAPH_CONV);
    assert_false(graph.nodes[1].has_bias);
    assert_int_equal(graph.nodes[1].stride, 2);
    assert_int_equal(graph.nodes[1].pad, 1);
    assert_int_equal(graph.nodes[2].kind, GRAPH_DROPOUT);
    assert_true(graph.nodes[2].rate == 0.25);
    assert_true(graph.nodes[3].has_bias);
    assert_int_equal(graph.nodes[4].channels, 10);
    assert_int_equal(graph.nodes[5].kind, GRAPH_SOFTMAX_LOSS);
    layers_graph_fini(&graph);
}

static void a_block_adds_its_two_sides(void **state) {
    (void)state;
    struct layers_graph graph;
    assert_int_equal(
        build("conv 1x1x4, [ conv 3x3x8 stride 2 pad same, relu | conv 1x1x8 stride 2 ], [relu|], [gelu], dense",
              &digits, &graph),
        HYSGD_OK);
    assert_int_equal(graph.nodes[5].kind, GRAPH_ADD);
    assert_int_equal(graph.nodes[5].inputs[0], 3);
    assert_int_equal(graph.nodes[5].inputs[1], 4);
    assert_int_equal(graph.nodes[4].inputs[0], 1);
    assert_int_equal(graph.nodes[7].kind, GRAPH_ADD);
    assert_int_equal(graph.nodes[7].inputs[0], 6);
    assert_int_equal(graph.nodes[7].inputs[1], 5);
    assert_int_equal(graph.nodes[9].kind, GRAPH_ADD);
    assert_int_equal(graph.nodes[9].inputs[1], 7);
    layers_graph_fini(&graph);
}

static void blocks_nest(void **state) {
    (void)state;
    assert_output("dense 4, [ [ relu ], [ tanh | dense 4 ] | gelu ], dense", &digits, 8, 4, 1, 1);
}

static void tensors_are_named_by_position_and_statistics_come_last(void **state) {
    (void)state;
    struct layers_graph graph;
    static const char *const names[] = {"1.conv.weight",  "1.conv.bias",  "2.norm.scale", "2.norm.shift",
                                        "4.dense.weight", "4.dense.bias", "2.norm.mean",  "2.norm.variance"};
    assert_int_equal(build("conv 5x5x3, norm, relu, dense", &digits, &graph), HYSGD_OK);
    assert_int_equal(graph.tensor_count, 8);
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(graph.tensors[i].name, names[i]);
    assert_int_equal(graph.graph.parameter_count, 75 + 3 + 6 + 10 * 3 * 24 * 24 + 10);
    assert_int_equal(graph.graph.statistic_count, 6);
    assert_int_equal(graph.nodes[2].mean, graph.graph.parameter_count);
    layers_graph_fini(&graph);
}

static void the_data_choose_the_loss_and_the_last_width(void **state) {
    (void)state;
    struct layers_graph graph;
    assert_int_equal(build("dense", &digits, &graph), HYSGD_OK);
    assert_int_equal(graph.loss, LAYER_LOSS_SOFTMAX);
    assert_int_equal(graph.outputs, 10);
    layers_graph_fini(&graph);
    assert_int_equal(build("dense", &numbers, &graph), HYSGD_OK);
    assert_int_equal(graph.loss, LAYER_LOSS_SQUARED);
    assert_int_equal(graph.outputs, 3);
    layers_graph_fini(&graph);
}

static void assert_refused(const char *text, const struct hysgd_data_shape *shape, const char *message) {
    struct layers_graph graph;
    size_t before = memory_used();
    assert_int_equal(build(text, shape, &graph), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), message);
    assert_int_equal(memory_used(), before);
}

static void unknown_layers_are_named_with_the_nearest_word(void **state) {
    (void)state;
    assert_refused("conv 5x5x32, relu, poool 2, dense", &digits,
                   "model: layer 3 \"poool 2\": unknown layer; did you mean pool?");
    assert_refused(
        "xyzzyplugh", &digits,
        "model: layer 1 \"xyzzyplugh\": unknown layer; expected one of conv dense pool avgpool relu tanh gelu "
        "norm dropout flatten loss");
}

static void wrong_words_are_named_by_position(void **state) {
    (void)state;
    assert_refused(
        "dense, conv 5x5", &digits,
        "model: layer 2 \"conv 5x5\": word 2 is \"5x5\", expected HxWxN, such as 5x5x32: height and width of "
        "the kernel (1 to 1024) and output channels");
    assert_refused("pool", &digits,
                   "model: layer 1 \"pool\": ends after word 1, expected the size of the window from 1 to 1024");
    assert_refused("dense 0", &digits,
                   "model: layer 1 \"dense 0\": word 2 is \"0\", expected a number of units from 1 to 1048576");
    assert_refused("conv 3x3x8 stride x", &digits,
                   "model: layer 1 \"conv 3x3x8 stride x\": word 4 is \"x\", expected a stride from 1 to 1024");
    assert_refused(
        "dropout 1", &digits,
        "model: layer 1 \"dropout 1\": word 2 is \"1\", expected the share to zero, from 0 to less than 1");
    assert_refused("relu 5", &digits, "model: layer 1 \"relu 5\": word 2 is \"5\", expected the end of: relu");
    assert_refused("loss huber", &digits,
                   "model: layer 1 \"loss huber\": word 2 is \"huber\", expected softmax or squared");
    assert_refused(
        "conv 3x3x8 pad", &digits,
        "model: layer 1 \"conv 3x3x8 pad\": ends after word 3, expected a padding from 0 to 1024, or same");
}

static void marks_in_wrong_places_are_refused(void **state) {
    (void)state;
    assert_refused("", &digits, "model: after layer 0: found the end, expected a layer");
    assert_refused("dense,", &digits, "model: after layer 1: found the end, expected a layer");
    assert_refused("relu,,dense", &digits, "model: after layer 1: found \",\", expected a layer");
    assert_refused("relu [ dense ]", &digits, "model: after layer 1: found \"[\", expected a comma");
    assert_refused("[ relu ] dense", &digits, "model: after layer 1: found another layer, expected a comma");
    assert_refused("[ relu, dense", &digits, "model: after layer 2: found the end, expected a ]");
    assert_refused("relu ], dense", &digits, "model: after layer 1: found \"]\", expected a [ before it");
    assert_refused("[ | relu ], dense", &digits, "model: after layer 0: found \"|\", expected a layer");
    assert_refused("[], dense", &digits, "model: after layer 0: found \"]\", expected a layer");
    assert_refused("[ relu | relu | relu ]", &digits,
                   "model: after layer 2: found \"|\", expected no further | in a block, and none outside");
}

static void shapes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    assert_refused("pool 14, conv 5x5x3, dense", &digits,
                   "model: layer 2 \"conv 5x5x3\": a 5x5 window with padding 0 does not fit into the 2x2 input");
    assert_refused("conv 3x3x8 pad 3, dense", &digits,
                   "model: layer 1 \"conv 3x3x8 pad 3\": the padding must be smaller than the kernel");
    assert_refused("conv 2x2x8 pad same, dense", &digits,
                   "model: layer 1 \"conv 2x2x8 pad same\": pad same needs a square kernel of odd size");
    assert_refused(
        "[ pool 2 | ], dense", &digits,
        "model: the block that ends after layer 1: its layers give 1x14x14 values, its shortcut 1x28x28; both "
        "must be the same");
    assert_refused("[ flatten ], dense", &digits,
                   "model: the block that ends after layer 1: adds its input to itself");
    assert_refused("flatten, norm, dense", &digits,
                   "model: layer 2 \"norm\": needs channels, which flatten has taken away");
    assert_refused("[ flatten, relu | ], pool 2, dense", &digits,
                   "model: layer 3 \"pool 2\": needs height and width, which flatten has taken away");
    assert_refused("flatten, pool 2, dense", &digits,
                   "model: layer 2 \"pool 2\": needs height and width, which flatten has taken away");
    assert_refused("dense 8, relu", &digits,
                   "model: layer 2 \"relu\": the last layer gives 8 values, the data have 10 classes");
}

static void losses_that_do_not_suit_are_refused(void **state) {
    (void)state;
    assert_refused("dense, loss squared", &digits, "model: layer 2 \"loss squared\": needs data with targets");
    assert_refused("dense, loss softmax", &numbers, "model: layer 2 \"loss softmax\": needs data with classes");
    assert_refused("loss softmax, dense", &digits, "model: layer 1 \"loss softmax\": must be the last layer");
    assert_refused("[ dense, loss softmax ]", &digits, "model: layer 2 \"loss softmax\": must not be in a block");
    assert_refused("loss softmax", &digits, "model: layer 1 \"loss softmax\": there is no layer before it");
    assert_refused("dense 3, relu", &(struct hysgd_data_shape){.channels = 1, .height = 1, .width = 1},
                   "model: a network needs data with classes or targets");
    assert_refused("dense", &(struct hysgd_data_shape){.classes = 2}, "model: a network needs data with inputs");
    const struct hysgd_data_shape ratings = {
        .channels = 1, .height = 1, .width = 2, .targets = 1, .row_count = 3, .column_count = 4};
    assert_refused("dense, loss squared", &ratings,
                   "model: a network cannot learn from ratings; expected the model factors");
}

static void networks_too_large_to_train_are_refused(void **state) {
    (void)state;
    assert_refused(
        "conv 1x1x1048576, dense", &digits,
        "model: layer 1 \"conv 1x1x1048576\": gives 1048576x28x28 values for a sample, at most 268435456 are "
        "allowed");
    assert_refused(
        "dense 1000000, dense 1000000, dense", &digits,
        "model: layer 2 \"dense 1000000\": 1000786000000 parameters up to here, at most 2147483648 are allowed");
}

/* 2^68 weights, which is 0 in 64 bits. */
static void a_number_of_parameters_that_overflows_is_refused(void **state) {
    (void)state;
    struct hysgd_data_shape wide = digits;
    wide.channels = 1 << 28;
    wide.height = wide.width = 1;
    struct layers_graph graph;
    assert_int_equal(build("conv 1024x1024x1048576 stride 1024 pad 1023, dense", &wide, &graph), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "parameters up to here, at most 2147483648 are allowed"));
}

/* `count` times `piece`, to be freed. */
static char *repeated(const char *piece, size_t count) {
    size_t length = strlen(piece);
    char *text = calloc(count * length + 1, 1);
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * length, piece, length);
    return text;
}

static void very_long_texts_are_refused(void **state) {
    (void)state;
    char *layers = repeated("relu,", 1001), *deep = repeated("[", 17), *huge = repeated(" ", 65537);
    char *word = repeated("x", 60000);
    assert_refused(layers, &digits, "model: more than 1000 layers and brackets");
    assert_refused(deep, &digits, "model: after layer 0: blocks nested more than 16 deep");
    assert_refused(huge, &digits, "model: a text of 65537 bytes, at most 65536 are allowed");
    struct layers parsed;
    assert_int_equal(layers_parse(word, &parsed), HYSGD_USAGE);
    assert_true(strlen(hysgd_error_message()) < 256);
    assert_refused("conv 3x3x8 pad 1 stride 1 nobias stride 1 pad 2", &digits,
                   "model: layer 1 \"conv 3x3x8 pad 1 stride 1 nobias stride\": more than 8 words");
    free(layers);
    free(deep);
    free(huge);
    free(word);
}

static void messages_show_no_control_characters(void **state) {
    (void)state;
    assert_refused("re\x1blu\xff", &digits, "model: layer 1 \"re?lu?\": unknown layer; did you mean relu?");
}

static void a_failed_request_for_memory_leaks_nothing(void **state) {
    (void)state;
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY && n < 100; n++) {
        struct layers_graph graph;
        memory_fail_at(n);
        status = build("conv 3x3x2, [ norm, relu ], dense", &digits, &graph);
        memory_fail_at(0);
        if (status == HYSGD_OK)
            layers_graph_fini(&graph);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(status, HYSGD_OK);
}

static void assert_opens(const char *text, const struct hysgd_model_ops *ops) {
    struct plugin model;
    assert_int_equal(model_open(text, &model), HYSGD_OK);
    assert_ptr_equal(model.ops, &ops->about);
    plugin_close(&model);
}

static void a_model_is_opened_by_name_or_by_layers(void **state) {
    (void)state;
    assert_opens("lenet", &model_lenet);
    assert_opens(" cifar-cnn,precision=bf16", &model_cifar_cnn);
    assert_opens("conv 5x5x32, relu, pool 2, dense 10, precision=bf16", &model_network);
    assert_opens("[ relu | dense 10], dense, precision=fp32, kernels=reference ", &model_network);
    assert_opens("network,layers=(conv 5x5x32, relu, dense)", &model_network);
    assert_opens("dense", &model_network);
}

static void assert_not_opened(const char *text, const char *message) {
    struct plugin model;
    size_t before = memory_used();
    assert_int_equal(model_open(text, &model), HYSGD_USAGE);
    assert_null(model.ops);
    assert_string_equal(hysgd_error_message(), message);
    assert_int_equal(memory_used(), before);
}

static void a_model_that_cannot_be_opened_is_explained(void **state) {
    (void)state;
    assert_not_opened("lenett", "model: \"lenett\" is neither a model nor a layer; did you mean lenet?");
    assert_not_opened("dens 10, relu", "model: \"dens\" is neither a model nor a layer; did you mean dense?");
    assert_not_opened("dense 10, rel", "model: layer 2 \"rel\": unknown layer; did you mean relu?");
    assert_not_opened("", "model: empty; expected a model's name or layers such as \"dense 128, relu, dense\"");
}

static void options_of_layers_are_checked(void **state) {
    (void)state;
    struct plugin model;
    assert_int_equal(model_open("dense 10, precision=fp64", &model), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "fp64"));
    assert_int_equal(model_open("dense 10, precison=bf16", &model), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "precision"));
    assert_int_equal(model_open("dense 10, precision=bf16, relu", &model), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "relu"));
}

static void a_printed_model_is_read_back_the_same(void **state) {
    (void)state;
    char printed[256] = "", again[256] = "";
    struct plugin model;
    const char *text = "conv 5x5x32, relu, pool 2, dense, precision=bf16";
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(model_open(pass ? printed : text, &model), HYSGD_OK);
        FILE *out = fmemopen(pass ? again : printed, sizeof(printed), "w");
        plugin_print(&model, out);
        fclose(out);
        plugin_close(&model);
    }
    assert_string_equal(printed, again);
    assert_non_null(strstr(printed, "conv 5x5x32, relu, pool 2, dense"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_follow_from_windows_strides_and_padding),
        cmocka_unit_test(layers_become_nodes_with_their_arguments),
        cmocka_unit_test(a_block_adds_its_two_sides),
        cmocka_unit_test(blocks_nest),
        cmocka_unit_test(tensors_are_named_by_position_and_statistics_come_last),
        cmocka_unit_test(the_data_choose_the_loss_and_the_last_width),
        cmocka_unit_test(unknown_layers_are_named_with_the_nearest_word),
        cmocka_unit_test(wrong_words_are_named_by_position),
        cmocka_unit_test(marks_in_wrong_places_are_refused),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(losses_that_do_not_suit_are_refused),
        cmocka_unit_test(networks_too_large_to_train_are_refused),
        cmocka_unit_test(a_number_of_parameters_that_overflows_is_refused),
        cmocka_unit_test(very_long_texts_are_refused),
        cmocka_unit_test(messages_show_no_control_characters),
        cmocka_unit_test(a_failed_request_for_memory_leaks_nothing),
        cmocka_unit_test(a_model_is_opened_by_name_or_by_layers),
        cmocka_unit_test(a_model_that_cannot_be_opened_is_explained),
        cmocka_unit_test(options_of_layers_are_checked),
        cmocka_unit_test(a_printed_model_is_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
