/* SPDX-License-Identifier: Apache-2.0 */
/* What single operations compute, in both plans, by values worked out by hand: directions, borders, ties,
 * roundings, random streams. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "linalg/problem.h"

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

/* With a weight of 1 behind the dropout and targets of 0, the loss is half the sum of the squares of what was kept.
 */
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
    for (size_t p = 0; p < 2 && plans[p]->has_precision(PLAN_BF16); p++) {
        struct plan *plan = open_plan(plans[p], &problem, 1, PLAN_BF16, false);
        assert_int_equal(plans[p]->forward(plan, problem.vector, inputs, 1, problem.outputs), HYSGD_OK);
        assert_memory_equal(problem.outputs, expected, sizeof(expected));
        plans[p]->close(plan);
    }
    problem_fini(&problem);
}

/* The loss of one sample of [2][2][2] inputs, and its gradient with respect to the two weights of the first
 * convolution, which add the channels. */
static double gradient_of_sum(const struct plan_ops *ops, const char *layers, const float *inputs,
                              float *gradient_out) {
    struct problem problem;
    problem_init(&problem, &(struct test_case){layers, 2, 2, 2, 1});
    memcpy(problem.samples, inputs, 8 * sizeof(float));
    problem.vector[0] = problem.vector[1] = 1;
    struct plan *plan = open_plan(ops, &problem, 1, PLAN_FP32, true);
    double loss = gradient_of(ops, plan, &problem, problem.vector, problem.gradient);
    memcpy(gradient_out, problem.gradient, 2 * sizeof(float));
    ops->close(plan);
    problem_fini(&problem);
    return loss;
}

static void relu_has_no_slope_at_zero(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const float inputs[] = {1, 2, 3, -4, -1, -2, -3, 4}; /* the channels cancel */
    for (size_t p = 0; p < 2; p++) {
        float gradient[2] = {1, 1};
        gradient_of_sum(plans[p], "conv 1x1x1 nobias, relu, dense nobias", inputs, gradient);
        assert_true(gradient[0] == 0 && gradient[1] == 0);
        gradient_of_sum(plans[p], "conv 1x1x1 nobias, tanh, dense nobias", inputs, gradient);
        assert_true(gradient[0] != 0 && gradient[1] != 0);
    }
}

static void a_pool_takes_the_first_of_equal_values(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    const float inputs[] = {0, 1, 2, 0, 0, 2, 1, 0}; /* sums 0 3 3 0; the first 3 is 1 + 2 */
    for (size_t p = 0; p < 2; p++) {
        float gradient[2] = {0, 0};
        gradient_of_sum(plans[p], "conv 1x1x1 nobias, pool 2, dense nobias", inputs, gradient);
        assert_true(gradient[0] != 0 && fabsf(gradient[1] - 2 * gradient[0]) < 1e-6f);
    }
}

/* oneDNN's relu makes 0 of a NaN; there it is the last layer or the parameters themselves that show it. */
static void the_reference_hides_no_nan(void **state) {
    (void)state;
    float gradient[2];
    const float inputs[] = {0, NAN, 2, 0, 0, 2, 1, 0};
    assert_true(isnan(gradient_of_sum(&plan_reference, "conv 1x1x1 nobias, relu, dense nobias", inputs, gradient)));
    assert_true(
        isnan(gradient_of_sum(&plan_reference, "conv 1x1x1 nobias, pool 2, dense nobias", inputs, gradient)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_have_the_documented_values),
        cmocka_unit_test(norm_observes_mean_and_unbiased_variance),
        cmocka_unit_test(dropout_keeps_what_its_stream_says),
        cmocka_unit_test(dropout_streams_of_deep_networks_do_not_overlap),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(relu_has_no_slope_at_zero),
        cmocka_unit_test(a_pool_takes_the_first_of_equal_values),
        cmocka_unit_test(the_reference_hides_no_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
