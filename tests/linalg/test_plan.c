/* SPDX-License-Identifier: Apache-2.0 */
/* Both plans on many small graphs: the reference against difference quotients and values worked out by hand, the
 * default plan of the build against the reference. Graphs are written in the language of the model layer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/plan.h"
#include "model/layers.h"

#define SEED       11
#define MOST_BATCH 8
#define CLASSES    4 /* and targets */

struct test_case {
    const char *layers; /* the last one gives CLASSES values */
    int channels, height, width;
    size_t batch;
};

static const struct test_case cases[] = {
    {"dense", 3, 1, 1, 5},
    {"dense nobias", 2, 3, 5, 3},
    {"dense, loss squared", 1, 1, 7, 4},
    {"dense 5, relu, dense 6, tanh, dense", 1, 1, 9, 4},
    {"dense 17, gelu, dense, loss squared", 1, 4, 4, 3},
    {"dense 1, dense", 1, 1, 1, 1},
    {"flatten, dense", 2, 3, 3, 2},
    {"relu, dense", 2, 2, 2, 6},
    {"tanh, gelu, dense nobias", 1, 3, 3, 2},
    {"conv 3x3x4, dense", 1, 6, 6, 2},
    {"conv 3x3x5 nobias, flatten, dense", 3, 7, 5, 2},
    {"conv 1x1x4, avgpool", 3, 4, 4, 3},
    {"conv 5x5x2 stride 2 pad 2, dense", 2, 9, 9, 2},
    {"conv 3x3x17 pad same, tanh, dense", 2, 8, 8, 2},
    {"conv 3x3x4 stride 3 pad 1 nobias, dense", 1, 10, 7, 2},
    {"conv 2x3x3 stride 2, relu, conv 3x2x4 pad 1, dense", 2, 9, 11, 2},
    {"conv 1x1x8 stride 2, gelu, dense, loss squared", 5, 5, 5, 3},
    {"conv 7x7x1, dense", 1, 7, 7, 3},
    {"conv 3x3x16 pad 1, relu, conv 3x3x16 pad 1, relu, dense", 16, 8, 8, 2},
    {"conv 4x4x4", 3, 4, 4, 4},
    {"pool 2, dense", 1, 4, 4, 3},
    {"conv 3x3x4, pool 3 stride 2 pad 1, dense", 2, 9, 8, 2},
    {"conv 3x3x3, relu, pool 2, conv 2x2x5, relu, pool 2, dense", 1, 13, 12, 3},
    {"conv 1x1x3, pool 3 stride 1, dense", 1, 5, 6, 2},
    {"conv 2x2x3, avgpool 3 stride 2 pad 1, dense", 2, 8, 9, 2},
    {"avgpool 2, dense", 3, 5, 5, 2},
    {"norm, dense", 2, 3, 3, 4},
    {"dense 6, norm, relu, dense", 1, 1, 5, 8},
    {"conv 3x3x5 pad same nobias, norm, relu, avgpool, dense", 2, 6, 6, 3},
    {"conv 3x3x4, norm, tanh, norm, dense", 1, 5, 5, 2},
    {"dropout 0.5, dense", 1, 4, 4, 4},
    {"conv 3x3x4, relu, dropout 0.3, dense 7, dropout 0, tanh, dropout 0.9, dense", 1, 8, 8, 3},
    {"[ dense 6 | dense 6 ], dense", 1, 2, 3, 3},
    {"[ tanh | ], dense", 2, 3, 3, 3},
    {"conv 3x3x4 pad 1, [ relu, conv 3x3x4 pad 1 ], relu, dense", 2, 5, 5, 2},
    {"conv 3x3x4, norm, relu, [ conv 3x3x6 stride 2 pad 1 nobias, norm, relu, conv 3x3x6 pad 1 nobias, norm "
     "| conv 1x1x6 stride 2 nobias, norm ], relu, [ conv 3x3x6 pad 1, norm ], relu, avgpool, dense",
     2, 9, 9, 3},
    {"conv 1x1x4, [ [ tanh ], gelu | relu ], pool 2, dense", 1, 4, 4, 2},
    {"conv 3x3x4, [ norm, dropout 0.25 | avgpool 1 ], dense, loss squared", 2, 6, 6, 3},
};

#define CASE_COUNT (sizeof(cases) / sizeof(*cases))

/* A graph with a vector, a batch and room for results. */
struct problem {
    struct layers_graph fitted;
    size_t size, inputs; /* of the vector; of one sample */
    float *vector, *gradient, *samples;
    int32_t labels[MOST_BATCH];
    float targets[MOST_BATCH * CLASSES];
    float outputs[MOST_BATCH * CLASSES];
    struct plan_stream stream;
};

static enum hysgd_status problem_build(struct problem *problem, const struct test_case *test) {
    struct hysgd_data_shape shape = {.channels = test->channels,
                                     .height = test->height,
                                     .width = test->width,
                                     .classes = CLASSES,
                                     .targets = CLASSES};
    struct layers layers;
    HYSGD_TRY(layers_parse(test->layers, &layers));
    enum hysgd_status status = layers_build(&layers, &shape, &problem->fitted);
    layers_fini(&layers);
    return status;
}

/* Brings normal values to the size that such a tensor has in practice, so that no output saturates. */
static void spread_tensor(struct problem *problem, const struct hysgd_tensor *tensor) {
    float *values = problem->vector + tensor->first;
    size_t fan_in = 1, count = tensor->dims[0];
    for (int i = 1; i < tensor->rank; i++)
        fan_in *= tensor->dims[i];
    bool is_positive = strstr(tensor->name, "scale") || strstr(tensor->name, "variance");
    for (size_t i = 0; i < count * fan_in; i++)
        values[i] = is_positive ? 0.5f + 0.4f * fabsf(values[i]) : values[i] / sqrtf((float)fan_in);
}

static void problem_init(struct problem *problem, const struct test_case *test) {
    *problem = (struct problem){.stream = {.seed = SEED, .draw = 3, .worker = 2}};
    if (problem_build(problem, test) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    problem->size = problem->fitted.graph.parameter_count + problem->fitted.graph.statistic_count;
    problem->inputs = (size_t)test->channels * (size_t)test->height * (size_t)test->width;
    assert_int_equal(memory_alloc(problem->size, sizeof(float), &problem->vector), HYSGD_OK);
    assert_int_equal(memory_alloc(problem->size, sizeof(float), &problem->gradient), HYSGD_OK);
    assert_int_equal(memory_alloc(MOST_BATCH * problem->inputs, sizeof(float), &problem->samples), HYSGD_OK);
    struct random random;
    random_init(&random, SEED, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    random_fill_normal(&random, problem->vector, problem->size);
    random_fill_normal(&random, problem->samples, MOST_BATCH * problem->inputs);
    random_fill_normal(&random, problem->targets, MOST_BATCH * CLASSES);
    for (size_t t = 0; t < problem->fitted.tensor_count; t++)
        spread_tensor(problem, &problem->fitted.tensors[t]);
    for (int i = 0; i < MOST_BATCH; i++)
        problem->labels[i] = (int32_t)random_below(&random, CLASSES);
}

static void problem_fini(struct problem *problem) {
    layers_graph_fini(&problem->fitted);
    memory_free(problem->vector);
    memory_free(problem->gradient);
    memory_free(problem->samples);
}

static struct plan *open_plan(const struct plan_ops *ops, const struct problem *problem, size_t batch,
                              enum plan_precision precision, bool is_training) {
    struct plan *plan = NULL;
    if (ops->open(&problem->fitted.graph, batch, precision, is_training, &plan) != HYSGD_OK)
        fail_msg("%s: %s", ops->name, hysgd_error_message());
    return plan;
}

static double gradient_of(const struct plan_ops *ops, struct plan *plan, const struct problem *problem,
                          const float *vector, float *gradient_out) {
    double loss = NAN;
    memset(gradient_out, 0xff, problem->size * sizeof(float));
    assert_int_equal(ops->gradient(plan, vector, problem->samples, problem->labels, problem->targets,
                                   &problem->stream, gradient_out, &loss),
                     HYSGD_OK);
    return loss;
}

/* The change of the loss between two nearby values of one parameter, divided by their distance. */
static double quotient(struct plan *plan, const struct problem *problem, float *moved, float *scratch,
                       size_t index) {
    float kept = moved[index], high = kept + 1e-6f, low = kept - 1e-6f;
    moved[index] = high;
    double loss_high = gradient_of(&plan_reference, plan, problem, moved, scratch);
    moved[index] = low;
    double loss_low = gradient_of(&plan_reference, plan, problem, moved, scratch);
    moved[index] = kept;
    return (loss_high - loss_low) / ((double)high - low);
}

static void the_reference_matches_difference_quotients(void **state) {
    (void)state;
    for (size_t c = 0; c < CASE_COUNT; c++) {
        struct problem problem;
        problem_init(&problem, &cases[c]);
        struct plan *plan = open_plan(&plan_reference, &problem, cases[c].batch, PLAN_FP32, true);
        float *scratch;
        assert_int_equal(memory_alloc(problem.size, sizeof(float), &scratch), HYSGD_OK);
        gradient_of(&plan_reference, plan, &problem, problem.vector, problem.gradient);
        for (size_t t = 0; t < problem.fitted.tensor_count; t++) {
            size_t first = problem.fitted.tensors[t].first, end = problem.size;
            if (first >= problem.fitted.graph.parameter_count)
                break;
            if (t + 1 < problem.fitted.tensor_count)
                end = problem.fitted.tensors[t + 1].first;
            for (size_t i = first; i < end; i += 1 + (end - first) / 24) {
                double expected = quotient(plan, &problem, problem.vector, scratch, i);
                if (!(fabs(expected - problem.gradient[i]) <= 1e-6 * fabs(expected) + 1e-8))
                    fail_msg("\"%s\", %s[%zu]: quotient %.10g, gradient %.10g", cases[c].layers,
                             problem.fitted.tensors[t].name, i - first, expected, (double)problem.gradient[i]);
            }
        }
        memory_free(scratch);
        plan_reference.close(plan);
        problem_fini(&problem);
    }
}

/* Without oneDNN there is nothing to compare the reference with. */
static void need_another_plan(const char *name) {
    if (plan_default() != &plan_reference)
        return;
    print_message("%s skipped because this build has the reference plan only\n", name);
    skip();
}

/* |a - b| / |b| in the Euclidean norm; 0 when both are 0. */
static double distance(const float *a, const float *b, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return difference == 0 ? 0 : sqrt(difference / norm);
}

static void compare_gradients(const struct test_case *test, enum plan_precision precision, double tolerance) {
    const struct plan_ops *ops = plan_default();
    struct problem problem;
    problem_init(&problem, test);
    float *expected;
    assert_int_equal(memory_alloc(problem.size, sizeof(float), &expected), HYSGD_OK);
    struct plan *fast = open_plan(ops, &problem, test->batch, precision, true);
    struct plan *plain = open_plan(&plan_reference, &problem, test->batch, precision, true);
    for (int draw = 0; draw < 2; draw++) { /* the second time nothing is left of the first */
        problem.stream.draw++;
        double loss = gradient_of(ops, fast, &problem, problem.vector, problem.gradient);
        double wanted = gradient_of(&plan_reference, plain, &problem, problem.vector, expected);
        size_t parameters = problem.fitted.graph.parameter_count, statistics = problem.fitted.graph.statistic_count;
        double error = distance(problem.gradient, expected, parameters);
        double statistic_error = distance(problem.gradient + parameters, expected + parameters, statistics);
        if (!(error <= tolerance) || !(statistic_error <= tolerance) ||
            !(fabs(loss - wanted) <= tolerance * (0.1 + fabs(wanted))))
            fail_msg("\"%s\": gradient differs by %.3g, statistics by %.3g, loss %.9g and %.9g", test->layers,
                     error, statistic_error, loss, wanted);
    }
    ops->close(fast);
    plan_reference.close(plain);
    memory_free(expected);
    problem_fini(&problem);
}

/* Sums in fp32 in another order. */
static void gradients_agree_in_fp32(void **state) {
    (void)state;
    need_another_plan("gradients_agree_in_fp32");
    for (size_t c = 0; c < CASE_COUNT; c++)
        compare_gradients(&cases[c], PLAN_FP32, 5e-6);
}

/* The same values are rounded; where a sum lies near the middle of two, one plan may round up and the other down
 * (2^-8). */
static void gradients_agree_in_bf16(void **state) {
    (void)state;
    need_another_plan("gradients_agree_in_bf16");
    for (size_t c = 0; c < CASE_COUNT; c++)
        compare_gradients(&cases[c], PLAN_BF16, 0.01);
}

static void compare_forward(const struct test_case *test, enum plan_precision precision, bool is_training,
                            double tolerance) {
    const struct plan_ops *ops = plan_default();
    struct problem problem;
    float expected[MOST_BATCH * CLASSES];
    problem_init(&problem, test);
    struct plan *fast = open_plan(ops, &problem, MOST_BATCH, precision, is_training);
    struct plan *plain = open_plan(&plan_reference, &problem, MOST_BATCH, precision, false);
    for (size_t count = MOST_BATCH; count > 0; count /= 2) {
        assert_int_equal(ops->forward(fast, problem.vector, problem.samples, count, problem.outputs), HYSGD_OK);
        assert_int_equal(plan_reference.forward(plain, problem.vector, problem.samples, count, expected), HYSGD_OK);
        double error = distance(problem.outputs, expected, count * CLASSES);
        if (!(error <= tolerance))
            fail_msg("\"%s\": outputs for %zu samples differ by %.3g", test->layers, count, error);
    }
    ops->close(fast);
    plan_reference.close(plain);
    problem_fini(&problem);
}

static void outputs_agree(void **state) {
    (void)state;
    need_another_plan("outputs_agree");
    for (size_t c = 0; c < CASE_COUNT; c++) {
        compare_forward(&cases[c], PLAN_FP32, false, 2e-6);
        compare_forward(&cases[c], PLAN_FP32, true, 2e-6);
        compare_forward(&cases[c], PLAN_BF16, false, 0.01);
    }
}

/* A plan's outputs for hand-made inputs; the network ends in CLASSES values. */
static void forward_of(const struct plan_ops *ops, const struct test_case *test, const float *vector,
                       const float *inputs, float *outputs_out) {
    struct problem problem;
    problem_init(&problem, test);
    struct plan *plan = open_plan(ops, &problem, test->batch, PLAN_FP32, false);
    assert_int_equal(ops->forward(plan, vector, inputs, test->batch, outputs_out), HYSGD_OK);
    ops->close(plan);
    problem_fini(&problem);
}

static void assert_outputs(const struct test_case *test, const float *vector, const float *inputs,
                           const float *expected) {
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    float outputs[MOST_BATCH * CLASSES];
    for (size_t p = 0; p < 2; p++) {
        forward_of(plans[p], test, vector, inputs, outputs);
        for (size_t i = 0; i < test->batch * CLASSES; i++)
            if (!(fabsf(outputs[i] - expected[i]) < 2e-6f))
                fail_msg("%s: \"%s\": output %zu is %.8g, not %.8g", plans[p]->name, test->layers, i,
                         (double)outputs[i], (double)expected[i]);
    }
}

static void operations_have_the_documented_values(void **state) {
    (void)state;
    const float squares[] = {1, -2, 3, 4, 5, -6, -7, 8, 9}; /* 3 x 3 */
    const float one[] = {0.5f, -1, 2, 0};
    /* W x + b, row major */
    assert_outputs(&(struct test_case){"dense", 1, 1, 2, 1},
                   (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 30, 40}, (const float[]){1, -1},
                   (const float[]){9, 19, 29, 39});
    /* cross-correlation: the kernel is not turned over */
    assert_outputs(&(struct test_case){"conv 2x2x1", 1, 3, 3, 1}, (const float[]){1, 10, 100, 1000, 0.5f}, squares,
                   (const float[]){1 - 20 + 400 + 5000 + 0.5f, -2 + 30 + 500 - 6000 + 0.5f,
                                   4 + 50 - 700 + 8000 + 0.5f, 5 - 60 + 800 + 9000 + 0.5f});
    /* windows at the border: padding is minus infinity for the maximum and is not counted in the mean */
    assert_outputs(&(struct test_case){"conv 1x1x1 nobias, pool 2 pad 1", 1, 3, 3, 1}, (const float[]){-1}, squares,
                   (const float[]){-1, 2, 7, 6});
    assert_outputs(&(struct test_case){"conv 1x1x1 nobias, avgpool 2 pad 1", 1, 3, 3, 1}, (const float[]){1},
                   squares, (const float[]){1, 0.5f, -1.5f, 4});
    assert_outputs(&(struct test_case){"conv 1x1x1 nobias, relu", 1, 1, 4, 1}, (const float[]){1}, one,
                   (const float[]){0.5f, 0, 2, 0});
    assert_outputs(&(struct test_case){"conv 1x1x1 nobias, tanh", 1, 1, 4, 1}, (const float[]){1}, one,
                   (const float[]){0.46211716f, -0.76159416f, 0.96402758f, 0});
    assert_outputs(&(struct test_case){"conv 1x1x1 nobias, gelu", 1, 1, 4, 1}, (const float[]){1}, one,
                   (const float[]){0.34573123f, -0.15865525f, 1.9544997f, 0});
    /* scale, shift, mean, variance; 1 / sqrt(0.25 + 1e-5) = 1.99996 */
    assert_outputs(&(struct test_case){"norm", 1, 1, 4, 1}, (const float[]){3, 1, 0.5f, 0.25f}, one,
                   (const float[]){1, 1 - 4.5f * 1.99996f, 1 + 4.5f * 1.99996f, 1 - 1.5f * 1.99996f});
    assert_outputs(&(struct test_case){"[ conv 1x1x1 nobias | relu ], dropout 0.5", 1, 1, 4, 1},
                   (const float[]){-1}, one, (const float[]){0, 1, 0, 0});
}

static void norm_observes_mean_and_unbiased_variance(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const struct test_case test = {"norm, dense", 1, 1, 2, 2};
    struct problem problem;
    problem_init(&problem, &test);
    memcpy(problem.samples, (const float[]){1, 2, 3, 6}, 4 * sizeof(float));
    for (size_t p = 0; p < 2; p++) {
        struct plan *plan = open_plan(plans[p], &problem, 2, PLAN_FP32, true);
        gradient_of(plans[p], plan, &problem, problem.vector, problem.gradient);
        assert_true(fabsf(problem.gradient[problem.size - 2] - 3) < 1e-6f);
        assert_true(fabsf(problem.gradient[problem.size - 1] - 14.0f / 3) < 1e-5f);
        plans[p]->close(plan);
    }
    problem_fini(&problem);
}

/* The bias of "dropout, dense nobias, loss squared" with a zero target is the sum of what was kept: seen through
 * the loss. */
static void dropout_keeps_what_its_stream_says(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const struct test_case test = {"dropout 0.25, conv 1x1x1 nobias, loss squared", 1, 2, 2, 8};
    struct problem problem;
    struct random random;
    float uniforms[32];
    problem_init(&problem, &test);
    problem.vector[0] = 1;
    for (size_t i = 0; i < 32; i++)
        problem.samples[i] = (float)(1 + i);
    memset(problem.targets, 0, sizeof(problem.targets));
    random_init(&random, SEED, problem.stream.worker, RANDOM_DROPOUT, problem.stream.draw * PLAN_MOST_NODES + 1);
    random_fill_uniform(&random, uniforms, 32);
    double expected = 0;
    for (size_t i = 0; i < 32; i++)
        expected += uniforms[i] >= 0.25f ? 0.5 * pow((double)(1 + i) / 0.75, 2) / 8 : 0;
    for (size_t p = 0; p < 2; p++) {
        struct plan *plan = open_plan(plans[p], &problem, 8, PLAN_FP32, true);
        double loss = gradient_of(plans[p], plan, &problem, problem.vector, problem.gradient);
        assert_true(fabs(loss - expected) < 1e-5 * expected);
        plans[p]->close(plan);
    }
    problem_fini(&problem);
}

/* The loss of dropout behind `count` relus, which leave the positive inputs as they are. */
static double dropout_loss(const struct plan_ops *ops, int count, uint64_t draw) {
    struct problem problem;
    char layers[1024] = "";
    for (int i = 0; i < count; i++)
        strcat(layers, "relu, ");
    strcat(layers, "dropout 0.5, conv 1x1x1 nobias, loss squared");
    problem_init(&problem, &(struct test_case){layers, 1, 2, 2, 8});
    for (size_t i = 0; i < 32; i++)
        problem.samples[i] = (float)(1 + i);
    problem.stream.draw = draw;
    struct plan *plan = open_plan(ops, &problem, 8, PLAN_FP32, true);
    double loss = gradient_of(ops, plan, &problem, problem.vector, problem.gradient);
    ops->close(plan);
    problem_fini(&problem);
    return loss;
}

static void dropout_streams_of_deep_networks_do_not_overlap(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    for (size_t p = 0; p < 2; p++) {
        assert_true(dropout_loss(plans[p], 64, 3) == dropout_loss(plans[p], 64, 3));
        assert_true(dropout_loss(plans[p], 64, 3) != dropout_loss(plans[p], 0, 4));
    }
}

/* 1 + 2^-8 lies between two bfloat16 numbers and goes to the even one, 1; 1 + 3 * 2^-8 goes to 1 + 2^-6. */
static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const struct test_case test = {"conv 1x1x1 nobias", 1, 1, 4, 1};
    const float inputs[] = {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.1p-8f, -1 - 0x3p-8f};
    const float expected[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1 - 0x1p-6f};
    struct problem problem;
    problem_init(&problem, &test);
    problem.vector[0] = 1 + 0x1p-8f; /* the weight becomes 1 */
    for (size_t p = 0; p < 2; p++) {
        struct plan *plan = open_plan(plans[p], &problem, 1, PLAN_BF16, false);
        assert_int_equal(plans[p]->forward(plan, problem.vector, inputs, 1, problem.outputs), HYSGD_OK);
        assert_memory_equal(problem.outputs, expected, sizeof(expected));
        plans[p]->close(plan);
    }
    problem_fini(&problem);
}

static void labels_out_of_range_are_refused(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    for (size_t p = 0; p < 2; p++)
        for (int wrong = 0; wrong < 2; wrong++) {
            struct problem problem;
            double loss;
            problem_init(&problem, &cases[0]);
            struct plan *plan = open_plan(plans[p], &problem, 3, PLAN_FP32, true);
            problem.labels[2] = wrong ? -1 : CLASSES;
            assert_int_equal(plans[p]->gradient(plan, problem.vector, problem.samples, problem.labels, NULL,
                                                &problem.stream, problem.gradient, &loss),
                             HYSGD_FAILED);
            assert_non_null(strstr(hysgd_error_message(), wrong ? "-1" : "4"));
            problem.labels[2] = 0;
            gradient_of(plans[p], plan, &problem, problem.vector, problem.gradient);
            plans[p]->close(plan);
            problem_fini(&problem);
        }
}

static void a_diverged_network_has_no_finite_loss(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const struct test_case test = {"conv 3x3x4, relu, pool 2, dense", 1, 6, 6, 2};
    for (size_t p = 0; p < 2; p++) {
        struct problem problem;
        problem_init(&problem, &test);
        struct plan *plan = open_plan(plans[p], &problem, 2, PLAN_FP32, true);
        problem.vector[problem.size - 1] = NAN;
        assert_false(isfinite(gradient_of(plans[p], plan, &problem, problem.vector, problem.gradient)));
        plans[p]->close(plan);
        problem_fini(&problem);
    }
}

/* What one thread does in the test below: `plan` is opened, used and closed by it. */
struct lane {
    const struct problem *problem;
    size_t batch;
    float *gradient;
    double loss;
    enum hysgd_status status;
};

static void *run_lane(void *argument) {
    struct lane *lane = argument;
    const struct plan_ops *ops = plan_default();
    const struct problem *problem = lane->problem;
    struct plan *plan;
    lane->status = ops->open(&problem->fitted.graph, lane->batch, PLAN_FP32, true, &plan);
    for (int i = 0; lane->status == HYSGD_OK && i < 3; i++)
        lane->status = ops->gradient(plan, problem->vector, problem->samples, problem->labels, problem->targets,
                                     &problem->stream, lane->gradient, &lane->loss);
    if (lane->status == HYSGD_OK)
        ops->close(plan);
    return NULL;
}

static void two_threads_compute_the_same_bits_as_one(void **state) {
    (void)state;
    const struct test_case *test = &cases[CASE_COUNT - 3]; /* convolutions, norms, blocks */
    struct problem problem;
    problem_init(&problem, test);
    struct lane lanes[3];
    pthread_t threads[2];
    for (int i = 0; i < 3; i++) {
        lanes[i] = (struct lane){.problem = &problem, .batch = test->batch};
        assert_int_equal(memory_alloc(problem.size, sizeof(float), &lanes[i].gradient), HYSGD_OK);
    }
    run_lane(&lanes[2]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lanes[i].status, HYSGD_OK);
        assert_true(lanes[i].loss == lanes[2].loss);
        assert_memory_equal(lanes[i].gradient, lanes[2].gradient, problem.size * sizeof(float));
    }
    for (int i = 0; i < 3; i++)
        memory_free(lanes[i].gradient);
    problem_fini(&problem);
}

static void check_failing_open(const struct plan_ops *ops, const struct test_case *test, bool is_training) {
    struct problem problem;
    problem_init(&problem, test);
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    while (status == HYSGD_MEMORY && n < 1000) {
        struct plan *plan;
        memory_fail_at(++n);
        status = ops->open(&problem.fitted.graph, test->batch, PLAN_FP32, is_training, &plan);
        memory_fail_at(0);
        if (status == HYSGD_OK)
            ops->close(plan);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 1);
    problem_fini(&problem);
}

static void a_failed_request_for_memory_leaks_nothing(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    for (size_t p = 0; p < 2; p++) {
        check_failing_open(plans[p], &cases[CASE_COUNT - 1], true);
        check_failing_open(plans[p], &cases[CASE_COUNT - 1], false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_matches_difference_quotients),
        cmocka_unit_test(gradients_agree_in_fp32),
        cmocka_unit_test(gradients_agree_in_bf16),
        cmocka_unit_test(outputs_agree),
        cmocka_unit_test(operations_have_the_documented_values),
        cmocka_unit_test(norm_observes_mean_and_unbiased_variance),
        cmocka_unit_test(dropout_keeps_what_its_stream_says),
        cmocka_unit_test(dropout_streams_of_deep_networks_do_not_overlap),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(labels_out_of_range_are_refused),
        cmocka_unit_test(a_diverged_network_has_no_finite_loss),
        cmocka_unit_test(two_threads_compute_the_same_bits_as_one),
        cmocka_unit_test(a_failed_request_for_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
