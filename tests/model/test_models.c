/* SPDX-License-Identifier: Apache-2.0 */
/* Conformance of every listed model: gradients against finite differences, layouts, evaluation and prediction,
 * memory; then what is particular to single models. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/options.h"
#include "base/random.h"
#include "model/factors.h"
#include "model/model.h"
#include "model/network.h"

#define BATCH    3
#define CLASSES  3
#define TARGETS  3
#define CHANNELS 2
#define SEED     7
#define ROWS     5 /* of ratings */
#define COLUMNS  4

/* Options with which a model is tested in place of its defaults; rows for those that need some. */
static const char *const test_options[][2] = {
    {"network", "layers=(conv 3x3x4, norm, tanh, avgpool 2, [dropout 0.25, dense 6 | dense 6], gelu, dense)"},
    {"quadratic", "noise=0"},
    {"factors", "rank=3,l2=0,bias-l2=0,l1=0,scale=1"}, /* penalties are no part of evaluations */
};

/* An open model with its data shape, a workspace for BATCH samples, and a vector and batch of random numbers. */
struct subject {
    struct plugin model;
    const struct hysgd_model_ops *ops;
    struct hysgd_data_shape shape;
    struct hysgd_model_layout layout;
    void *workspace;
    size_t size; /* of vector and gradient */
    float *vector, *gradient, *inputs;
    int32_t labels[BATCH];
    float targets[BATCH * TARGETS];
    struct hysgd_batch batch;
};

static void subject_close(struct subject *subject) {
    if (subject->workspace && subject->ops->close)
        subject->ops->close(subject->model.self, subject->workspace);
    if (subject->model.ops && subject->ops->fini)
        subject->ops->fini(subject->model.self);
    plugin_close(&subject->model);
    memory_free(subject->vector);
    memory_free(subject->gradient);
    memory_free(subject->inputs);
    *subject = (struct subject){0};
}

static void *workspace_of(const struct subject *subject) {
    return subject->ops->open ? subject->workspace : subject->model.self;
}

static bool takes_ratings(const struct subject *subject) {
    return subject->ops == &model_factors;
}

/* Inputs that are pairs of numbers, one target each. */
static void fill_ratings(struct subject *subject, struct random *random) {
    for (int i = 0; i < BATCH; i++) {
        const uint32_t pair[] = {(uint32_t)random_below(random, ROWS), (uint32_t)random_below(random, COLUMNS)};
        memcpy(subject->inputs + 2 * (size_t)i, pair, sizeof pair);
    }
    subject->batch.labels = NULL;
}

/* Everything after the model itself, which allocates. */
static enum hysgd_status subject_fill(struct subject *subject) {
    const struct hysgd_model_ops *ops = subject->ops;
    ops->describe(subject->model.self, &subject->layout);
    subject->size = subject->layout.parameter_count + subject->layout.statistic_count;
    size_t inputs = (size_t)BATCH * CHANNELS * (size_t)subject->shape.height * (size_t)subject->shape.width;
    HYSGD_TRY(memory_alloc(subject->size, sizeof(float), &subject->vector));
    HYSGD_TRY(memory_alloc(subject->size, sizeof(float), &subject->gradient));
    HYSGD_TRY(memory_alloc(inputs, sizeof(float), &subject->inputs));
    if (ops->start)
        ops->start(subject->model.self, SEED, subject->vector);
    struct random random;
    random_init(&random, SEED, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    random_fill_normal(&random, subject->inputs, inputs);
    random_fill_normal(&random, subject->targets, (size_t)BATCH * TARGETS);
    for (int i = 0; i < BATCH; i++)
        subject->labels[i] = (int32_t)random_below(&random, CLASSES);
    subject->batch = (struct hysgd_batch){.count = BATCH,
                                          .inputs = subject->inputs,
                                          .labels = subject->labels,
                                          .targets = subject->targets,
                                          .seed = SEED,
                                          .worker = 1,
                                          .draw = 5};
    if (takes_ratings(subject))
        fill_ratings(subject, &random);
    return ops->open ? ops->open(subject->model.self, BATCH, &subject->workspace) : HYSGD_OK;
}

/* Opens a listed model on square inputs of one size. HYSGD_USAGE when they do not suit it. */
static enum hysgd_status subject_open_sized(struct subject *subject, const struct hysgd_plugin *about,
                                            const char *options, int size) {
    *subject = (struct subject){.ops = (const struct hysgd_model_ops *)about};
    subject->shape = (struct hysgd_data_shape){.train_count = 10,
                                               .test_count = 10,
                                               .channels = CHANNELS,
                                               .height = size,
                                               .width = size,
                                               .classes = CLASSES,
                                               .targets = TARGETS};
    if (takes_ratings(subject))
        subject->shape = (struct hysgd_data_shape){.train_count = 10,
                                                   .test_count = 10,
                                                   .channels = 1,
                                                   .height = 1,
                                                   .width = 2,
                                                   .targets = 1,
                                                   .row_count = ROWS,
                                                   .column_count = COLUMNS};
    enum hysgd_status status = plugin_adopt("model", about, NULL, options, &subject->model);
    if (status == HYSGD_OK)
        status = subject->ops->init(subject->model.self, &subject->shape);
    if (status == HYSGD_OK)
        status = subject_fill(subject);
    if (status != HYSGD_OK)
        subject_close(subject);
    return status;
}

/* On the smallest inputs that suit it. */
static enum hysgd_status subject_try(struct subject *subject, const struct hysgd_plugin *about,
                                     const char *options) {
    enum hysgd_status status = HYSGD_USAGE;
    for (int size = 4; status == HYSGD_USAGE && size <= 64; size *= 2)
        status = subject_open_sized(subject, about, options, size);
    return status;
}

static const char *options_for_test(const struct hysgd_plugin *about) {
    for (size_t i = 0; i < sizeof(test_options) / sizeof(*test_options); i++)
        if (strcmp(test_options[i][0], about->name) == 0)
            return test_options[i][1];
    return "";
}

/* Opens listed model `index`, computed in double precision where it can be. */
static void subject_open(struct subject *subject, size_t index) {
    const struct hysgd_plugin *about = model_list.entries[index];
    const char *options = options_for_test(about);
    char text[256];
    bool has_kernels = false;
    for (size_t i = 0; i < options_count(about->options); i++)
        has_kernels = has_kernels || strcmp(about->options[i].key, "kernels") == 0;
    snprintf(text, sizeof(text), "%s%s%s", options, *options && has_kernels ? "," : "",
             has_kernels ? "kernels=reference" : "");
    if (subject_try(subject, about, text) != HYSGD_OK)
        fail_msg("%s: %s", about->name, hysgd_error_message());
}

static const struct hysgd_plugin *plugin_named(const char *name) {
    const struct hysgd_plugin *about = NULL;
    assert_int_equal(plugin_find(&model_list, name, &about), HYSGD_OK);
    return about;
}

static double loss_of(struct subject *subject, const float *vector) {
    double loss = NAN;
    assert_int_equal(subject->ops->gradient(subject->model.self, workspace_of(subject), vector, &subject->batch,
                                            subject->gradient, &loss),
                     HYSGD_OK);
    return loss;
}

/* The difference quotient in a random direction within one tensor against the gradient. */
static void check_tensor(struct subject *subject, const struct hysgd_tensor *tensor, const float *gradient,
                         float *moved) {
    size_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->dims[i];
    double loss[2], expected = 0, magnitude = 0;
    const float *values = subject->vector + tensor->first;
    for (int side = 0; side < 2; side++) {
        struct random direction;
        random_init(&direction, SEED, RANDOM_NO_WORKER, RANDOM_TEST, tensor->first + 1);
        memcpy(moved, subject->vector, subject->size * sizeof(float));
        for (size_t i = 0; i < elements; i++) {
            double step = (random_bits(&direction) & 1 ? 2e-7 : -2e-7) * (side ? 1 : -1);
            moved[tensor->first + i] = (float)(values[i] + step);
            double change = (double)moved[tensor->first + i] - values[i]; /* what is left of the step in fp32 */
            expected += (side ? 1 : -1) * change * gradient[tensor->first + i];
            magnitude += fabs(change * gradient[tensor->first + i]);
        }
        loss[side] = loss_of(subject, moved);
    }
    /* Exact but for fp32 rounding of the gradient, the third derivative, and kinks that the step crosses. */
    if (!(fabs(loss[1] - loss[0] - expected) <= 2e-3 * magnitude / sqrt((double)elements) + 1e-13))
        fail_msg("%s, %s: the loss changes by %.9g, the gradient says %.9g", subject->ops->about.name, tensor->name,
                 loss[1] - loss[0], expected);
}

static void gradients_match_finite_differences(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        subject_open(&subject, m);
        float *gradient, *moved;
        assert_int_equal(memory_alloc(subject.size, sizeof(float), &gradient), HYSGD_OK);
        assert_int_equal(memory_alloc(subject.size, sizeof(float), &moved), HYSGD_OK);
        loss_of(&subject, subject.vector);
        memcpy(gradient, subject.gradient, subject.size * sizeof(float));
        for (size_t t = 0; t < subject.layout.tensor_count; t++)
            if (subject.layout.tensors[t].first < subject.layout.parameter_count)
                check_tensor(&subject, &subject.layout.tensors[t], gradient, moved);
        memory_free(gradient);
        memory_free(moved);
        subject_close(&subject);
    }
}

static void the_start_depends_on_the_seed_alone(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject first, second;
        subject_open(&first, m);
        subject_open(&second, m);
        assert_memory_equal(first.vector, second.vector, first.size * sizeof(float));
        if (first.ops->start) {
            memset(second.vector, 0xff, second.size * sizeof(float));
            second.ops->start(second.model.self, SEED, second.vector);
            assert_memory_equal(first.vector, second.vector, first.size * sizeof(float));
            second.ops->start(second.model.self, SEED + 1, second.vector);
            assert_memory_not_equal(first.vector, second.vector, first.size * sizeof(float));
        }
        subject_close(&first);
        subject_close(&second);
    }
}

static void tensors_cover_the_vector_without_gaps(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        subject_open(&subject, m);
        size_t next = 0;
        for (size_t t = 0; t < subject.layout.tensor_count; t++) {
            const struct hysgd_tensor *tensor = &subject.layout.tensors[t];
            assert_int_equal(tensor->first, next);
            assert_true(tensor->rank >= 1 && tensor->rank <= 4);
            size_t elements = 1;
            for (int i = 0; i < tensor->rank; i++)
                elements *= tensor->dims[i];
            next += elements;
            for (size_t other = 0; other < t; other++)
                assert_string_not_equal(tensor->name, subject.layout.tensors[other].name);
        }
        assert_int_equal(next, subject.size);
        assert_in_range(subject.layout.statistic_momentum * 1000, 0, 1000);
        subject_close(&subject);
    }
}

static struct hysgd_metrics evaluate(struct subject *subject) {
    struct hysgd_metrics metrics = {.count = 2, .loss = 1.5}; /* it adds */
    assert_int_equal(subject->ops->evaluate(subject->model.self, workspace_of(subject), subject->vector,
                                            &subject->batch, &metrics),
                     HYSGD_OK);
    assert_int_equal(metrics.count, 2 + subject->batch.count);
    return metrics;
}

static void evaluation_agrees_with_the_loss_of_the_gradient(void **state) {
    (void)state;
    size_t compared = 0;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        subject_open(&subject, m);
        if (subject.ops->evaluate && subject.layout.statistic_count == 0) { /* the others differ while training */
            double loss = loss_of(&subject, subject.vector);
            assert_true(fabs((evaluate(&subject).loss - 1.5) / BATCH - loss) <= 1e-6 * fabs(loss));
            compared++;
        }
        subject_close(&subject);
    }
    assert_true(compared >= 3);
}

static void predicted_probabilities_give_loss_and_accuracy(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        float outputs[BATCH * CLASSES];
        subject_open(&subject, m);
        if (subject.ops->predict && subject.layout.outputs == CLASSES && evaluate(&subject).has_accuracy) {
            assert_int_equal(subject.ops->predict(subject.model.self, workspace_of(&subject), subject.vector,
                                                  &subject.batch, outputs),
                             HYSGD_OK);
            double loss = 0;
            uint64_t correct = 0;
            for (int s = 0; s < BATCH; s++) {
                const float *row = outputs + s * CLASSES, of_label = row[subject.labels[s]];
                assert_true(fabs((double)row[0] + row[1] + row[2] - 1) < 1e-6);
                loss -= log(of_label);
                correct += of_label >= row[0] && of_label >= row[1] && of_label >= row[2];
            }
            assert_true(fabs(evaluate(&subject).loss - 1.5 - loss) < 1e-5 * (1 + loss));
            assert_int_equal(evaluate(&subject).correct, correct);
        }
        subject_close(&subject);
    }
}

static void gradients_repeat_bit_for_bit(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject, again;
        if (subject_try(&subject, model_list.entries[m], options_for_test(model_list.entries[m])) != HYSGD_OK ||
            subject_try(&again, model_list.entries[m], options_for_test(model_list.entries[m])) != HYSGD_OK)
            fail_msg("%s: %s", model_list.entries[m]->name, hysgd_error_message());
        memset(again.gradient, 0xff, again.size * sizeof(float));
        double loss = loss_of(&subject, subject.vector);
        assert_true(loss == loss_of(&again, again.vector));
        assert_memory_equal(subject.gradient, again.gradient, subject.size * sizeof(float));
        subject_close(&subject);
        subject_close(&again);
    }
}

static void a_failed_request_for_memory_leaks_nothing(void **state) {
    (void)state;
    size_t before = memory_used();
    for (size_t m = 0; m < model_list.count; m++) {
        const struct hysgd_plugin *about = model_list.entries[m];
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status == HYSGD_MEMORY && n < 2000; n++) {
            struct subject subject;
            memory_fail_at(n);
            status = subject_open_sized(&subject, about, options_for_test(about), 16);
            memory_fail_at(0);
            if (status == HYSGD_OK)
                subject_close(&subject);
            assert_int_equal(memory_used(), before);
        }
        assert_int_equal(status, HYSGD_OK);
    }
}

static void wrong_batches_are_refused(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        struct hysgd_metrics metrics = {0};
        double loss;
        subject_open(&subject, m);
        if (subject.ops->predict && subject.shape.classes > 0) {
            subject.labels[1] = CLASSES;
            assert_int_equal(subject.ops->gradient(subject.model.self, workspace_of(&subject), subject.vector,
                                                   &subject.batch, subject.gradient, &loss),
                             HYSGD_FAILED);
            assert_int_equal(subject.ops->evaluate(subject.model.self, workspace_of(&subject), subject.vector,
                                                   &subject.batch, &metrics),
                             HYSGD_FAILED);
            assert_int_equal(metrics.count, 0);
            subject.labels[1] = 0;
            subject.batch.count = BATCH - 1;
            assert_int_equal(subject.ops->gradient(subject.model.self, workspace_of(&subject), subject.vector,
                                                   &subject.batch, subject.gradient, &loss),
                             HYSGD_FAILED);
            assert_int_equal(evaluate(&subject).count, BATCH + 1);
            subject.batch.count = BATCH + 1;
            assert_int_equal(subject.ops->evaluate(subject.model.self, workspace_of(&subject), subject.vector,
                                                   &subject.batch, &metrics),
                             HYSGD_FAILED);
        }
        subject_close(&subject);
    }
}

/* ---- Factors ---- */

static void open_factors(struct subject *subject, const char *options) {
    if (subject_open_sized(subject, &model_factors.about, options, 4) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
}

static void every_loss_of_factors_has_its_gradient(void **state) {
    (void)state;
    static const char *const texts[] = {"loss=squared", "loss=absolute", "loss=logistic", "loss=squared-hinge",
                                        "loss=kl,start=positive"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct subject subject;
        char text[128];
        snprintf(text, sizeof text, "rank=3,l2=0.3,l1=0.2,bias-l2=0.4,scale=1,%s", texts[i]);
        open_factors(&subject, text);
        for (int k = 0; k < BATCH; k++)
            subject.targets[k] = (float)(k + 1);
        float *gradient, *moved;
        assert_int_equal(memory_alloc(subject.size, sizeof(float), &gradient), HYSGD_OK);
        assert_int_equal(memory_alloc(subject.size, sizeof(float), &moved), HYSGD_OK);
        loss_of(&subject, subject.vector);
        memcpy(gradient, subject.gradient, subject.size * sizeof(float));
        for (size_t t = 0; t < subject.layout.tensor_count; t++)
            check_tensor(&subject, &subject.layout.tensors[t], gradient, moved);
        memory_free(gradient);
        memory_free(moved);
        subject_close(&subject);
    }
}

/* s = mean + b + c + p . q, from the tensors in their order. */
static void factors_predict_by_their_formula(void **state) {
    (void)state;
    struct subject subject;
    float outputs[BATCH];
    uint32_t pair[2];
    open_factors(&subject, "rank=2");
    for (size_t i = 0; i < subject.size; i++)
        subject.vector[i] = (float)i / 8;
    assert_int_equal(
        subject.ops->predict(subject.model.self, workspace_of(&subject), subject.vector, &subject.batch, outputs),
        HYSGD_OK);
    for (int i = 0; i < BATCH; i++) {
        memcpy(pair, subject.inputs + 2 * (size_t)i, sizeof pair);
        const float *p = subject.vector + 2 * (size_t)pair[0], *q = subject.vector + 2 * (size_t)(ROWS + pair[1]);
        const float *mean = subject.vector + 2 * (size_t)(ROWS + COLUMNS), *biases = mean + 1;
        float expected = *mean + biases[pair[0]] + biases[ROWS + pair[1]] + p[0] * q[0] + p[1] * q[1];
        assert_true(fabsf(outputs[i] - expected) < 1e-4f);
    }
    subject_close(&subject);
}

static void factors_refuse_what_they_do_not_have(void **state) {
    (void)state;
    struct subject subject;
    struct hysgd_metrics metrics = {0};
    double loss;
    open_factors(&subject, "rank=2");
    const uint32_t beyond[] = {0, COLUMNS};
    memcpy(subject.inputs, beyond, sizeof beyond);
    assert_int_equal(subject.ops->gradient(subject.model.self, workspace_of(&subject), subject.vector,
                                           &subject.batch, subject.gradient, &loss),
                     HYSGD_FAILED);
    assert_int_equal(
        subject.ops->evaluate(subject.model.self, workspace_of(&subject), subject.vector, &subject.batch, &metrics),
        HYSGD_FAILED);
    assert_int_equal(metrics.count, 0);
    subject_close(&subject);
    static const char *const wrong[] = {"unseen=never", "loss=bpr", "negatives=3", "nonnegative=yes"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(subject_open_sized(&subject, &model_factors.about, wrong[i], 4), HYSGD_USAGE);
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
    struct hysgd_metrics metrics = evaluate(&subject);
    double loss = 0;
    for (int i = 0; i < BATCH * TARGETS; i++)
        loss += 0.5 * ((double)outputs[i] - subject.targets[i]) * ((double)outputs[i] - subject.targets[i]);
    assert_true(fabs(metrics.loss - 1.5 - loss) < 1e-6 * loss);
    assert_true(fabs(loss_of(&subject, subject.vector) * BATCH - loss) < 1e-6 * loss);
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

/* The gradient of a quadratic with the given options at the origin. */
static double quadratic_gradient(const char *options, size_t count, uint32_t worker, uint64_t draw,
                                 float *gradient_out) {
    struct plugin model;
    struct hysgd_data_shape shape = {.train_count = 10};
    struct hysgd_batch batch = {.count = count, .seed = SEED, .worker = worker, .draw = draw};
    static const float origin[10000];
    double loss;
    char text[64];
    snprintf(text, sizeof(text), "quadratic,%s", options);
    assert_int_equal(model_open(text, &model), HYSGD_OK);
    assert_int_equal(model_ops(&model)->init(model.self, &shape), HYSGD_OK);
    assert_int_equal(model_ops(&model)->gradient(model.self, model.self, origin, &batch, gradient_out, &loss),
                     HYSGD_OK);
    model_ops(&model)->fini(model.self);
    plugin_close(&model);
    return loss;
}

static void quadratic_has_the_stated_curvatures(void **state) {
    (void)state;
    float gradient[3]; /* at the origin, -lambda_i target_i with targets 1, -1, 1 */
    double loss = quadratic_gradient("dimension=3,condition=100,noise=0", 1, 0, 0, gradient);
    assert_true(fabs(loss - (0.01 + 0.1 + 1) / 2) < 1e-12);
    assert_true(fabs(gradient[0] + 0.01) < 1e-8 && fabs(gradient[1] - 0.1) < 1e-8 && fabs(gradient[2] + 1) < 1e-8);
    assert_true(quadratic_gradient("dimension=1,noise=0", 1, 0, 0, gradient) == 0.5);
}

static void quadratic_noise_shrinks_with_the_batch(void **state) {
    (void)state;
    static float noisy[10000], exact[10000], other[10000];
    quadratic_gradient("dimension=10000,noise=0", 4, 0, 0, exact);
    double loss = quadratic_gradient("dimension=10000,noise=3", 4, 0, 0, noisy);
    double squares = 0, draws = 0, workers = 0;
    assert_true(loss == quadratic_gradient("dimension=10000,noise=3", 4, 0, 1, other));
    for (size_t i = 0; i < 10000; i++) {
        squares += ((double)noisy[i] - exact[i]) * ((double)noisy[i] - exact[i]);
        draws += ((double)noisy[i] - exact[i]) * ((double)other[i] - exact[i]);
    }
    quadratic_gradient("dimension=10000,noise=3", 4, 1, 0, other);
    for (size_t i = 0; i < 10000; i++)
        workers += ((double)noisy[i] - exact[i]) * ((double)other[i] - exact[i]);
    assert_true(fabs(squares / 10000 - 9.0 / 4) < 0.15); /* 9/4 with a standard error of 0.03 */
    assert_true(fabs(workers / 10000) < 0.12);
    assert_true(fabs(draws / 10000) < 0.12); /* independent: 0 with a standard error of 0.023 */
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
    double loss = loss_of(&full, full.vector), dot = 0, full_squares = 0, half_squares = 0;
    assert_true(fabs(loss_of(&half, half.vector) - loss) < 0.01 * loss);
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
        cmocka_unit_test(gradients_match_finite_differences),
        cmocka_unit_test(the_start_depends_on_the_seed_alone),
        cmocka_unit_test(tensors_cover_the_vector_without_gaps),
        cmocka_unit_test(evaluation_agrees_with_the_loss_of_the_gradient),
        cmocka_unit_test(predicted_probabilities_give_loss_and_accuracy),
        cmocka_unit_test(gradients_repeat_bit_for_bit),
        cmocka_unit_test(a_failed_request_for_memory_leaks_nothing),
        cmocka_unit_test(wrong_batches_are_refused),
        cmocka_unit_test(every_loss_of_factors_has_its_gradient),
        cmocka_unit_test(factors_predict_by_their_formula),
        cmocka_unit_test(factors_refuse_what_they_do_not_have),
        cmocka_unit_test(presets_have_the_published_sizes),
        cmocka_unit_test(presets_have_the_published_layers),
        cmocka_unit_test(weights_start_uniform_with_the_fan_in),
        cmocka_unit_test(regression_predicts_values),
        cmocka_unit_test(a_norm_does_not_train_on_one_value),
        cmocka_unit_test(quadratic_has_the_stated_curvatures),
        cmocka_unit_test(quadratic_noise_shrinks_with_the_batch),
        cmocka_unit_test(bf16_gradients_point_where_fp32_ones_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
