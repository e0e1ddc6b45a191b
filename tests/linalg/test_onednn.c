/* SPDX-License-Identifier: Apache-2.0 */
/* What only the oneDNN plan has: the arena, Winograd's algorithm over parts of a batch, and independence of
 * threads. That its results are right for every operation is tested with all plans in test_plan.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/plan.h"
#include "model/layers.h"

#ifdef HYSGD_HAVE_ONEDNN

#include "linalg/onednn.h"

/* ---- The arena ---- */

#define BUFFERS 200

static void buffers_that_live_together_are_apart(void **state) {
    (void)state;
    struct buffer buffers[BUFFERS];
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    size_t bytes, total = 0;
    for (int i = 0; i < BUFFERS; i++) {
        int first = (int)random_below(&random, 100);
        buffers[i] = (struct buffer){.place = PLACE_ARENA,
                                     .bytes = (size_t)random_below(&random, 5000),
                                     .first = first,
                                     .last = first + (int)random_below(&random, 20)};
        total += buffers[i].bytes;
    }
    assert_int_equal(arena_place(buffers, BUFFERS, &bytes), HYSGD_OK);
    assert_true(bytes < total / 2);
    for (int i = 0; i < BUFFERS; i++) {
        assert_true(buffers[i].offset % MEMORY_ALIGNMENT == 0 && buffers[i].offset + buffers[i].bytes <= bytes);
        for (int k = 0; k < i; k++)
            assert_true(buffers[i].last < buffers[k].first || buffers[k].last < buffers[i].first ||
                        buffers[i].offset + buffers[i].bytes <= buffers[k].offset ||
                        buffers[k].offset + buffers[k].bytes <= buffers[i].offset);
    }
}

static void buffers_of_the_caller_take_no_room(void **state) {
    (void)state;
    struct buffer buffers[2] = {{.place = PLACE_VECTOR, .offset = 44, .bytes = 100, .first = 0, .last = 5},
                                {.place = PLACE_ARENA, .bytes = 10, .first = 3, .last = 3}};
    size_t bytes;
    assert_int_equal(arena_place(buffers, 2, &bytes), HYSGD_OK);
    assert_int_equal(bytes, MEMORY_ALIGNMENT);
    assert_int_equal(buffers[0].offset, 44);
}

/* ---- Networks ---- */

/* Channels and sides for which the passes of Winograd's algorithm run over several parts of this batch. */
#define TEXT  "conv 3x3x16 pad same, tanh, conv 3x3x16 pad same, tanh, avgpool, dense"
#define BATCH 128
#define SIDE  16

struct problem {
    struct layers_graph fitted;
    size_t size;
    float *vector, *inputs;
    int32_t labels[BATCH];
};

static void fit(const char *text, struct layers_graph *fitted_out) {
    const struct hysgd_data_shape shape = {
        .train_count = BATCH, .test_count = BATCH, .channels = 3, .height = SIDE, .width = SIDE, .classes = 10};
    struct layers layers;
    assert_int_equal(layers_parse(text, &layers), HYSGD_OK);
    assert_int_equal(layers_build(&layers, &shape, fitted_out), HYSGD_OK);
    layers_fini(&layers);
}

static int problem_init(void **state) {
    static struct problem problem;
    struct random random;
    random_init(&random, 2, 0, RANDOM_TEST, 0);
    fit(TEXT, &problem.fitted);
    problem.size = problem.fitted.graph.parameter_count + problem.fitted.graph.statistic_count;
    assert_int_equal(memory_alloc(problem.size, sizeof(float), &problem.vector), HYSGD_OK);
    assert_int_equal(memory_alloc(BATCH * 3 * SIDE * SIDE, sizeof(float), &problem.inputs), HYSGD_OK);
    random_fill_normal(&random, problem.vector, problem.size);
    random_fill_normal(&random, problem.inputs, BATCH * 3 * SIDE * SIDE);
    for (size_t i = 0; i < problem.size; i++)
        problem.vector[i] *= 0.2f;
    for (size_t i = 0; i < BATCH; i++)
        problem.labels[i] = (int32_t)random_below(&random, 10);
    *state = &problem;
    return 0;
}

static int problem_fini(void **state) {
    struct problem *problem = *state;
    layers_graph_fini(&problem->fitted);
    memory_free(problem->vector);
    memory_free(problem->inputs);
    return 0;
}

struct lane {
    const struct problem *problem;
    const struct plan_ops *ops;
    float *gradient;
    double loss;
    enum hysgd_status status;
};

static enum hysgd_status lane_run(struct lane *lane) {
    const struct problem *problem = lane->problem;
    const struct plan_stream stream = {.seed = 1};
    struct plan *plan;
    HYSGD_TRY(lane->ops->open(&problem->fitted.graph, BATCH, PLAN_FP32, true, &plan));
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < 3 && status == HYSGD_OK && (i == 0 || lane->ops == &plan_onednn); i++)
        status = lane->ops->gradient(plan, problem->vector, problem->inputs, problem->labels, NULL, &stream,
                                     lane->gradient, &lane->loss);
    lane->ops->close(plan);
    return status;
}

static void *lane_start(void *lane_pointer) {
    struct lane *lane = lane_pointer;
    lane->status = lane_run(lane);
    return NULL;
}

static struct lane lane_of(const struct problem *problem, const struct plan_ops *ops) {
    struct lane lane = {.problem = problem, .ops = ops};
    assert_int_equal(memory_alloc(problem->size, sizeof(float), &lane.gradient), HYSGD_OK);
    return lane;
}

static void parts_of_a_batch_add_up(void **state) {
    const struct problem *problem = *state;
    struct lane ours = lane_of(problem, &plan_onednn), reference = lane_of(problem, &plan_reference);
    assert_int_equal(lane_run(&ours), HYSGD_OK);
    assert_int_equal(lane_run(&reference), HYSGD_OK);
    assert_true(fabs(ours.loss - reference.loss) <= 1e-5 * reference.loss);
    double largest = 0;
    for (size_t i = 0; i < problem->size; i++)
        largest = fmax(largest, fabs((double)reference.gradient[i]));
    for (size_t i = 0; i < problem->size; i++)
        assert_true(fabs((double)ours.gradient[i] - (double)reference.gradient[i]) <= 3e-5 * largest);
    memory_free(ours.gradient);
    memory_free(reference.gradient);
}

static void threads_with_plans_of_their_own_do_not_disturb_each_other(void **state) {
    const struct problem *problem = *state;
    struct lane alone = lane_of(problem, &plan_onednn);
    struct lane together[2] = {lane_of(problem, &plan_onednn), lane_of(problem, &plan_onednn)};
    pthread_t threads[2];
    assert_int_equal(lane_run(&alone), HYSGD_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lane_start, &together[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(together[i].status, HYSGD_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(together[i].loss == alone.loss);
        assert_memory_equal(together[i].gradient, alone.gradient, problem->size * sizeof(float));
        memory_free(together[i].gradient);
    }
    memory_free(alone.gradient);
}

static void the_weights_of_wide_layers_are_run_over_in_winograd_parts(void **state) {
    const struct problem *problem = *state;
    struct plan *plan;
    int parts = 0;
    assert_int_equal(plan_onednn.open(&problem->fitted.graph, BATCH, PLAN_FP32, true, &plan), HYSGD_OK);
    for (int s = 0; s < plan->step_count; s++)
        parts += strcmp(plan->steps[s].kind, "convolution backward weights") == 0;
    plan_onednn.close(plan);
    if (parts == 2) { /* one of each convolution: this processor has no such primitive */
        print_message("the_weights_of_wide_layers_are_run_over_in_winograd_parts skipped because oneDNN has no "
                      "Winograd here\n");
        skip();
    }
    assert_true(parts > 2);
}

static void an_incomplete_batch_gives_the_same_outputs(void **state) {
    const struct problem *problem = *state;
    static float all[BATCH * 10], some[BATCH * 10];
    struct plan *plan;
    assert_int_equal(plan_onednn.open(&problem->fitted.graph, BATCH, PLAN_FP32, false, &plan), HYSGD_OK);
    assert_int_equal(plan_onednn.forward(plan, problem->vector, problem->inputs, BATCH, all), HYSGD_OK);
    for (size_t count = 1; count < BATCH; count += 42) {
        memset(some, 0, sizeof some);
        assert_int_equal(plan_onednn.forward(plan, problem->vector, problem->inputs, count, some), HYSGD_OK);
        assert_memory_equal(some, all, count * 10 * sizeof(float));
        assert_true(some[count * 10] == 0);
    }
    plan_onednn.close(plan);
}

static void nothing_is_requested_while_running(void **state) {
    const struct problem *problem = *state;
    struct lane lane = lane_of(problem, &plan_onednn);
    const struct plan_stream stream = {.seed = 1};
    struct plan *plan;
    static float outputs[BATCH * 10];
    assert_int_equal(plan_onednn.open(&problem->fitted.graph, BATCH, PLAN_FP32, true, &plan), HYSGD_OK);
    memory_fail_at(1);
    enum hysgd_status gradient = plan_onednn.gradient(plan, problem->vector, problem->inputs, problem->labels, NULL,
                                                      &stream, lane.gradient, &lane.loss);
    enum hysgd_status forward = plan_onednn.forward(plan, problem->vector, problem->inputs, 3, outputs);
    memory_fail_at(0);
    plan_onednn.close(plan);
    memory_free(lane.gradient);
    assert_int_equal(gradient, HYSGD_OK);
    assert_int_equal(forward, HYSGD_OK);
}

/* Zeros that end where a page begins that must not be touched. */
static float *guarded(size_t count) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = count * sizeof(float);
    const size_t whole = (bytes + page - 1) / page * page;
    char *memory = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_int_equal(mprotect(memory + whole, page, PROT_NONE), 0);
    return (float *)(void *)(memory + whole - bytes);
}

/* Channels that fill no vector register, where primitives are tempted to run over the end. */
static void nothing_beyond_the_vectors_of_the_caller_is_touched(void **state) {
    (void)state;
    static const char *const texts[] = {"conv 3x3x17 pad same, norm, relu, conv 1x1x33, norm, avgpool, dense",
                                        "conv 3x3x5, pool 2, conv 3x3x7, relu, dense 19, relu, dense nobias"};
    const struct plan_stream stream = {.seed = 1};
    for (size_t t = 0; t < 2; t++) {
        struct layers_graph fitted;
        struct plan *plan;
        int32_t labels[5] = {0};
        double loss;
        fit(texts[t], &fitted);
        const size_t size = fitted.graph.parameter_count + fitted.graph.statistic_count;
        float *vector = guarded(size), *gradient = guarded(size), *inputs = guarded(5 * 3 * SIDE * SIDE);
        assert_int_equal(plan_onednn.open(&fitted.graph, 5, PLAN_FP32, true, &plan), HYSGD_OK);
        assert_int_equal(plan_onednn.gradient(plan, vector, inputs, labels, NULL, &stream, gradient, &loss),
                         HYSGD_OK);
        assert_int_equal(plan_onednn.forward(plan, vector, inputs, 5, guarded(5 * 10)), HYSGD_OK);
        assert_true(fabs(loss - log(10)) < 1e-5);
        plan_onednn.close(plan);
        layers_graph_fini(&fitted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_that_live_together_are_apart),
        cmocka_unit_test(buffers_of_the_caller_take_no_room),
        cmocka_unit_test_setup_teardown(parts_of_a_batch_add_up, problem_init, problem_fini),
        cmocka_unit_test_setup_teardown(threads_with_plans_of_their_own_do_not_disturb_each_other, problem_init,
                                        problem_fini),
        cmocka_unit_test_setup_teardown(the_weights_of_wide_layers_are_run_over_in_winograd_parts, problem_init,
                                        problem_fini),
        cmocka_unit_test_setup_teardown(an_incomplete_batch_gives_the_same_outputs, problem_init, problem_fini),
        cmocka_unit_test(nothing_beyond_the_vectors_of_the_caller_is_touched),
        cmocka_unit_test_setup_teardown(nothing_is_requested_while_running, problem_init, problem_fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void the_plan_agrees_with_itself(void **state) {
    (void)state;
    print_message("the_plan_agrees_with_itself skipped because the library was built without oneDNN\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_plan_agrees_with_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
