/* SPDX-License-Identifier: Apache-2.0 */
/* Both plans on many small graphs: the reference against difference quotients, the default plan of the build
 * against the reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "linalg/problem.h"
#include "linalg/vector.h"

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

/* Wide enough for Winograd's algorithm in a bfloat16 plan. */
static const struct test_case wide_cases[] = {
    {"conv 3x3x32 pad same, relu, conv 3x3x64 pad same, relu, conv 3x3x64 pad same nobias, pool 2, dense", 3, 15,
     17, 4},
    {"conv 3x3x32 pad 2, tanh, conv 3x3x32, tanh, conv 3x3x32 pad 2 nobias, norm, relu, dense", 2, 16, 16, 4},
};

#define WIDE_COUNT (sizeof(wide_cases) / sizeof(*wide_cases))

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
    need_bf16("gradients_agree_in_bf16");
    for (size_t c = 0; c < CASE_COUNT; c++)
        compare_gradients(&cases[c], PLAN_BF16, 0.01);
    for (size_t c = 0; c < WIDE_COUNT; c++)
        compare_gradients(&wide_cases[c], PLAN_BF16, 0.01);
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

static void outputs_agree_in_fp32(void **state) {
    (void)state;
    need_another_plan("outputs_agree_in_fp32");
    for (size_t c = 0; c < CASE_COUNT; c++) {
        compare_forward(&cases[c], PLAN_FP32, false, 2e-6);
        compare_forward(&cases[c], PLAN_FP32, true, 2e-6);
    }
}

static void outputs_agree_in_bf16(void **state) {
    (void)state;
    need_another_plan("outputs_agree_in_bf16");
    need_bf16("outputs_agree_in_bf16");
    for (size_t c = 0; c < CASE_COUNT; c++)
        compare_forward(&cases[c], PLAN_BF16, false, 0.01);
    for (size_t c = 0; c < WIDE_COUNT; c++)
        compare_forward(&wide_cases[c], PLAN_BF16, false, 0.01);
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

/* Also where a relu follows, which hides it from the loss. */
static void inputs_that_are_not_numbers_are_seen_in_loss_or_gradient(void **state) {
    (void)state;
    const struct plan_ops *const plans[] = {&plan_reference, plan_default()};
    for (size_t c = 0; c < CASE_COUNT; c++)
        for (size_t p = 0; p < 2; p++) {
            struct problem problem;
            problem_init(&problem, &cases[c]);
            struct plan *plan = open_plan(plans[p], &problem, cases[c].batch, PLAN_FP32, true);
            for (size_t i = 0; i < problem.inputs; i++)
                problem.samples[i] = NAN;
            double loss = gradient_of(plans[p], plan, &problem, problem.vector, problem.gradient);
            if (isfinite(loss) && vector_is_finite(problem.gradient, problem.size))
                fail_msg("%s, \"%s\": a NaN is lost", plans[p]->name, cases[c].layers);
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
        cmocka_unit_test(outputs_agree_in_fp32),
        cmocka_unit_test(outputs_agree_in_bf16),
        cmocka_unit_test(labels_out_of_range_are_refused),
        cmocka_unit_test(a_diverged_network_has_no_finite_loss),
        cmocka_unit_test(inputs_that_are_not_numbers_are_seen_in_loss_or_gradient),
        cmocka_unit_test(two_threads_compute_the_same_bits_as_one),
        cmocka_unit_test(a_failed_request_for_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
