/* SPDX-License-Identifier: Apache-2.0 */
/* Networks: the presets as they were published, the start of weights, regression, norms, and another precision. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/network.h"
#include "model/subject.h"

static const struct hysgd_plugin *plugin_named(const char *name) {
    const struct hysgd_plugin *about = NULL;
    assert_int_equal(plugin_find(&model_list, name, &about), HYSGD_OK);
    return about;
}

static size_t parameters_of(const char *text, int channels, int size, int classes, size_t *tensors_out) {
    struct plugin model;
    struct hysgd_model_layout layout;
    struct hysgd_data_shape shape = {.channels = channels, .height = size, .width = size, .classes = classes};
    assert_int_equal(model_open(text, &model), HYSGD_OK);
    assert_int_equal(model_ops(&model)->init(model.self, &shape), HYSGD_OK);
    model_ops(&model)->describe(model.self, &layout);
    *tensors_out = layout.tensor_count;
    model_ops(&model)->fini(model.self);
    plugin_close(&model);
    return layout.parameter_count;
}

static void presets_have_the_published_sizes(void **state) {
    (void)state;
    size_t tensors;
    assert_int_equal(parameters_of("mlp", 1, 28, 10, &tensors), 200960 + 32896 + 1290);
    assert_int_equal(parameters_of("lenet", 1, 28, 10, &tensors), 832 + 51264 + 10250);
    assert_int_equal(tensors, 6);
    assert_int_equal(parameters_of("cifar-cnn", 3, 32, 10, &tensors), 896 + 18496 + 73856 + 20490);
    assert_int_equal(parameters_of("resnet20", 3, 32, 10, &tensors), 272474);
    assert_int_equal(tensors, 21 + 4 * 21 + 2); /* 21 convs, each with a norm, and dense */
    assert_int_equal(parameters_of("softmax", 1, 28, 10, &tensors), 7850);
}

/* A letter for each operation of a model on three-channel images, the input and the loss left out. */
static void assert_operations(const char *name, const char *expected) {
    static const char letters[] = {
        [GRAPH_DENSE] = 'D', [GRAPH_CONV] = 'C', [GRAPH_MAX_POOL] = 'M', [GRAPH_AVG_POOL] = 'A',
        [GRAPH_RELU] = 'r',  [GRAPH_NORM] = 'n', [GRAPH_ADD] = '+'};
    struct hysgd_data_shape shape = {.channels = 3, .height = 32, .width = 32, .classes = 10};
    struct plugin model;
    char operations[128] = "";
    assert_int_equal(model_open(name, &model), HYSGD_OK);
    assert_int_equal(model_ops(&model)->init(model.self, &shape), HYSGD_OK);
    const struct graph *graph = &((const struct network *)model.self)->fitted.graph;
    for (int n = 1; n + 1 < graph->count; n++)
        operations[n - 1] = letters[graph->nodes[n].kind];
    assert_string_equal(operations, expected);
    model_ops(&model)->fini(model.self);
    plugin_close(&model);
}

static void presets_have_the_published_layers(void **state) {
    (void)state;
    assert_operations("softmax", "D");
    assert_operations("mlp", "DrDrD");
    assert_operations("lenet", "CrMCrMD");
    assert_operations("cifar-cnn", "CrMCrMCrMD");
    assert_operations("resnet20", "Cnr"
                                  "CnrCn+rCnrCn+rCnrCn+r"
                                  "CnrCnCn+rCnrCn+rCnrCn+r"
                                  "CnrCnCn+rCnrCn+rCnrCn+r"
                                  "AD");
}

/* Uniform within +-1/sqrt(fan in): the square has the mean bound^2 / 3. */
static void weights_start_uniform_with_the_fan_in(void **state) {
    (void)state;
    struct subject subject;
    assert_int_equal(subject_open_sized(&subject, plugin_named("lenet"), "", 16), HYSGD_OK);
    const struct hysgd_tensor *weight = &subject.layout.tensors[2]; /* [64][32][5][5] */
    assert_string_equal(weight->name, "4.conv.weight");
    double bound = 1 / sqrt(32 * 5 * 5), squares = 0, sum = 0;
    for (size_t i = weight->first; i < subject.layout.tensors[3].first + 64; i++) {
        assert_true(fabs((double)subject.vector[i]) <= bound * (1 + 1e-6));
        squares += (double)subject.vector[i] * subject.vector[i];
        sum += subject.vector[i];
    }
    double count = 64 * 32 * 5 * 5 + 64;
    assert_true(fabs(squares / count - bound * bound / 3) < 0.02 * bound * bound / 3);
    assert_true(fabs(sum / count) < 0.01 * bound);
    subject_close(&subject);
}

static void regression_predicts_values(void **state) {
    (void)state;
    struct subject subject;
    float outputs[BATCH * TARGETS];
    assert_int_equal(subject_open_sized(&subject, plugin_named("network"),
                                        "layers=(tanh, dense 3, loss squared),kernels=reference", 4),
                     HYSGD_OK);
    assert_int_equal(
        subject.ops->predict(subject.model.self, subject.workspace, subject.vector, &subject.batch, outputs),
        HYSGD_OK);
    struct hysgd_metrics metrics = subject_evaluate(&subject);
    double loss = 0;
    for (int i = 0; i < BATCH * TARGETS; i++)
        loss += 0.5 * ((double)outputs[i] - subject.targets[i]) * ((double)outputs[i] - subject.targets[i]);
    assert_true(fabs(metrics.loss - 1.5 - loss) < 1e-6 * loss);
    assert_true(fabs(subject_loss(&subject, subject.vector) * BATCH - loss) < 1e-6 * loss);
    assert_false(metrics.has_accuracy);
    subject_close(&subject);
}

/* One value has no variance; inference goes by the running one. */
static void a_norm_does_not_train_on_one_value(void **state) {
    (void)state;
    struct subject subject;
    void *workspace;
    float outputs[CLASSES];
    double loss;
    assert_int_equal(subject_open_sized(&subject, plugin_named("network"), "layers=(dense 4, norm, dense)", 4),
                     HYSGD_OK);
    assert_int_equal(subject.ops->open(subject.model.self, 1, &workspace), HYSGD_OK);
    subject.batch.count = 1;
    assert_int_equal(subject.ops->gradient(subject.model.self, workspace, subject.vector, &subject.batch,
                                           subject.gradient, &loss),
                     HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "expected a larger batch"));
    assert_int_equal(subject.ops->predict(subject.model.self, workspace, subject.vector, &subject.batch, outputs),
                     HYSGD_OK);
    subject.ops->close(subject.model.self, workspace);
    subject_close(&subject);
}

static void bf16_gradients_point_where_fp32_ones_do(void **state) {
    (void)state;
    struct subject full, half;
    bool has_bf16 = plan_default()->has_precision(PLAN_BF16);
    assert_int_equal(subject_try(&full, plugin_named("lenet"), ""), HYSGD_OK);
    assert_int_equal(subject_try(&half, plugin_named("lenet"), "precision=bf16"),
                     has_bf16 ? HYSGD_OK : HYSGD_USAGE);
    if (!has_bf16) {
        assert_non_null(strstr(hysgd_error_message(), "precision=bf16"));
        assert_int_equal(subject_try(&half, plugin_named("lenet"), "precision=bf16,kernels=reference"), HYSGD_OK);
    }
    double loss = subject_loss(&full, full.vector), dot = 0, full_squares = 0, half_squares = 0;
    assert_true(fabs(subject_loss(&half, half.vector) - loss) < 0.01 * loss);
    for (size_t i = 0; i < full.size; i++) {
        dot += (double)full.gradient[i] * half.gradient[i];
        full_squares += (double)full.gradient[i] * full.gradient[i];
        half_squares += (double)half.gradient[i] * half.gradient[i];
    }
    assert_true(dot > 0.999 * sqrt(full_squares * half_squares));
    assert_true(dot < 0.9999999 * sqrt(full_squares * half_squares)); /* it is another arithmetic */
    subject_close(&full);
    subject_close(&half);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_have_the_published_sizes),
        cmocka_unit_test(presets_have_the_published_layers),
        cmocka_unit_test(weights_start_uniform_with_the_fan_in),
        cmocka_unit_test(regression_predicts_values),
        cmocka_unit_test(a_norm_does_not_train_on_one_value),
        cmocka_unit_test(bf16_gradients_point_where_fp32_ones_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
