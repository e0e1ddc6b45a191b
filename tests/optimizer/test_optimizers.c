/* SPDX-License-Identifier: Apache-2.0 */
/* Every listed optimizer against a plain reference in double precision and against closed forms; slices and steps
 * in place give the same bits. A new optimizer needs a line in `references`. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "optimizer/optimizer.h"

#define COUNT 1003

/* The vectors of one training run. */
struct vectors {
    float values[COUNT], gradient[COUNT], states[OPTIMIZER_MOST_STATES][COUNT];
};

/* Values of every size from 1e-4 to 1e4, of both signs. */
static void fill(float *values, uint64_t index) {
    struct random random;
    random_init(&random, 11, RANDOM_NO_WORKER, RANDOM_TEST, index);
    for (size_t i = 0; i < COUNT; i++)
        values[i] = (float)(random_normal(&random) * pow(10, random_uniform(&random) * 8 - 4));
}

static void fill_vectors(struct vectors *vectors) {
    memset(vectors, 0, sizeof *vectors);
    fill(vectors->values, 1000);
    fill(vectors->gradient, 1001);
}

static void open_optimizer(const char *name, const char *options, struct plugin *optimizer_out) {
    char text[200];
    snprintf(text, sizeof text, "%s%s%s", name, options[0] == '\0' ? "" : ",", options);
    if (plugin_open(&optimizer_list, text, optimizer_out) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
}

/* One step on the elements from `first` to `end`, into `new_values`. */
static void step_slice(const struct plugin *optimizer, const struct optimizer_step *step, struct vectors *vectors,
                       float *new_values, size_t first, size_t end) {
    float *states[OPTIMIZER_MOST_STATES];
    for (int i = 0; i < OPTIMIZER_MOST_STATES; i++)
        states[i] = vectors->states[i] + first;
    optimizer_ops(optimizer)->step(optimizer->self, step, vectors->values + first, vectors->gradient + first,
                                   states, new_values + first, end - first);
}

static void step_in_place(const struct plugin *optimizer, const struct optimizer_step *step,
                          struct vectors *vectors) {
    step_slice(optimizer, step, vectors, vectors->values, 0, COUNT);
}

/* The references: one element, straight from the documentation of PyTorch. s[] are the states. */

struct reference_step {
    double rate, decay;
    int number;
};

static double sgd_reference(double w, double g, double *s, const struct reference_step *step) {
    (void)s;
    return w - step->rate * (g + step->decay * w);
}

static double momentum_reference(double w, double g, double *s, const struct reference_step *step) {
    g += step->decay * w;
    s[0] = step->number == 1 ? g : 0.9 * s[0] + g;
    return w - step->rate * s[0];
}

static double nesterov_reference(double w, double g, double *s, const struct reference_step *step) {
    g += step->decay * w;
    s[0] = step->number == 1 ? g : 0.9 * s[0] + g;
    g += 0.9 * s[0];
    return w - step->rate * g;
}

static double adam_direction(double g, double *s, int number) {
    s[0] += (g - s[0]) * (1 - 0.9);
    s[1] = 0.999 * s[1] + (1 - 0.999) * g * g;
    double mean = s[0] / (1 - pow(0.9, number)), square = s[1] / (1 - pow(0.999, number));
    return mean / (sqrt(square) + 1e-8);
}

static double adam_reference(double w, double g, double *s, const struct reference_step *step) {
    return w - step->rate * adam_direction(g + step->decay * w, s, step->number);
}

static double adamw_reference(double w, double g, double *s, const struct reference_step *step) {
    w *= 1 - step->rate * step->decay;
    return w - step->rate * adam_direction(g, s, step->number);
}

/* arXiv 2401.09135, algorithm 4, with N = 4 and c = 0: s[0] is m, s[1] is Delta. */
static double delayed_nesterov_reference(double w, double g, double *s, const struct reference_step *step) {
    g += step->decay * w;
    s[1] += g / 4;
    if (step->number % 4 != 0)
        return w - step->rate * g / 4;
    s[0] = 0.9 * s[0] + s[1];
    s[1] = 0;
    return w - step->rate * (0.9 * s[0] + g / 4);
}

static const struct {
    const char *name;
    double (*step)(double w, double g, double *s, const struct reference_step *step);
} references[] = {{"sgd", sgd_reference},           {"momentum", momentum_reference},
                  {"nesterov", nesterov_reference}, {"adam", adam_reference},
                  {"adamw", adamw_reference},       {"delayed-nesterov", delayed_nesterov_reference}};

#define REFERENCES (sizeof references / sizeof references[0])

static void every_optimizer_has_a_reference(void **state) {
    (void)state;
    assert_int_equal(optimizer_list.count, REFERENCES);
    for (size_t i = 0; i < REFERENCES; i++) {
        const struct hysgd_plugin *found;
        assert_int_equal(plugin_find(&optimizer_list, references[i].name, &found), HYSGD_OK);
        const struct optimizer_ops *ops = (const struct optimizer_ops *)found;
        assert_true(ops->states >= 0 && ops->states <= OPTIMIZER_MOST_STATES);
        for (int j = 0; j < ops->states; j++)
            assert_non_null(ops->state_names[j]);
    }
}

/* The reference sees the gradient already scaled, the optimizer is to scale it. Differences are measured by the
 * largest value that the element ever had, as it may come near 0 by cancellation. */
static void match_reference(size_t i, double decay, const char *options) {
    struct vectors vectors;
    double w[COUNT], largest[COUNT], s[COUNT][OPTIMIZER_MOST_STATES];
    struct plugin optimizer;
    open_optimizer(references[i].name, options, &optimizer);
    fill_vectors(&vectors);
    memset(s, 0, sizeof s);
    for (size_t j = 0; j < COUNT; j++)
        largest[j] = fabs(w[j] = vectors.values[j]);
    for (int number = 1; number <= 50; number++) {
        struct optimizer_step step = {.rate = 0.01 * (1 + number % 3), .scale = 0.3, .number = (uint64_t)number};
        struct reference_step reference = {.rate = step.rate, .decay = decay, .number = number};
        fill(vectors.gradient, (uint64_t)number);
        for (size_t j = 0; j < COUNT; j++) {
            w[j] = references[i].step(w[j], 0.3 * vectors.gradient[j], s[j], &reference);
            largest[j] = fmax(largest[j], fabs(w[j]));
        }
        step_in_place(&optimizer, &step, &vectors);
    }
    for (size_t j = 0; j < COUNT; j++)
        if (!(fabs(vectors.values[j] - w[j]) <= 2e-6 * largest[j]))
            fail_msg("%s: element %d is %.9g, expected %.9g", references[i].name, (int)j, vectors.values[j], w[j]);
    plugin_close(&optimizer);
}

static void fifty_steps_match_the_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < REFERENCES; i++) {
        match_reference(i, 0, "decay=0");
        match_reference(i, 0.125, "decay=0.125");
    }
}

static const struct optimizer_step some_step = {.rate = 0.1, .scale = 0.7, .number = 3};

static void slices_give_the_bits_of_the_whole(void **state) {
    (void)state;
    static const size_t cuts[] = {0, 1, 8, 71, 72, 500, 516, 1002, COUNT};
    struct vectors whole, sliced;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        struct plugin optimizer;
        open_optimizer(optimizer_list.entries[i]->name, "decay=0.01", &optimizer);
        fill_vectors(&whole);
        fill_vectors(&sliced);
        for (int repeat = 0; repeat < 3; repeat++) {
            step_in_place(&optimizer, &some_step, &whole);
            for (size_t j = 0; j + 1 < sizeof cuts / sizeof cuts[0]; j++)
                step_slice(&optimizer, &some_step, &sliced, sliced.values, cuts[j], cuts[j + 1]);
        }
        assert_memory_equal(&whole, &sliced, sizeof whole);
        plugin_close(&optimizer);
    }
}

static void in_place_gives_the_bits_of_out_of_place(void **state) {
    (void)state;
    struct vectors in_place, apart, before;
    float new_values[COUNT + 1];
    for (size_t i = 0; i < optimizer_list.count; i++) {
        struct plugin optimizer;
        open_optimizer(optimizer_list.entries[i]->name, "decay=0.01", &optimizer);
        fill_vectors(&in_place);
        fill_vectors(&apart);
        fill_vectors(&before);
        new_values[COUNT] = 42;
        step_in_place(&optimizer, &some_step, &in_place);
        step_slice(&optimizer, &some_step, &apart, new_values, 0, COUNT);
        assert_memory_equal(in_place.values, new_values, sizeof in_place.values);
        assert_memory_equal(in_place.states, apart.states, sizeof apart.states);
        assert_memory_equal(before.values, apart.values, sizeof apart.values);
        assert_memory_equal(before.gradient, apart.gradient, sizeof apart.gradient);
        assert_true(new_values[COUNT] == 42);
        plugin_close(&optimizer);
    }
}

static void scale_multiplies_the_gradient_and_nothing_else(void **state) {
    (void)state;
    struct vectors scaled, multiplied;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        struct plugin optimizer;
        open_optimizer(optimizer_list.entries[i]->name, "decay=0.01", &optimizer);
        fill_vectors(&scaled);
        fill_vectors(&multiplied);
        for (size_t j = 0; j < COUNT; j++)
            multiplied.gradient[j] *= 0.25f;
        step_in_place(&optimizer, &(struct optimizer_step){.rate = 0.1, .scale = 0.25, .number = 1}, &scaled);
        step_in_place(&optimizer, &(struct optimizer_step){.rate = 0.1, .scale = 1, .number = 1}, &multiplied);
        assert_memory_equal(scaled.values, multiplied.values, sizeof scaled.values);
        assert_memory_equal(scaled.states, multiplied.states, sizeof scaled.states);
        plugin_close(&optimizer);
    }
}

static void a_rate_of_0_changes_no_parameter(void **state) {
    (void)state;
    struct vectors vectors, before;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        struct plugin optimizer;
        open_optimizer(optimizer_list.entries[i]->name, "decay=0.01", &optimizer);
        fill_vectors(&vectors);
        fill_vectors(&before);
        step_in_place(&optimizer, &(struct optimizer_step){.rate = 0, .scale = 1, .number = 1}, &vectors);
        assert_memory_equal(vectors.values, before.values, sizeof before.values);
        plugin_close(&optimizer);
    }
}

static void an_empty_slice_is_left_alone(void **state) {
    (void)state;
    struct vectors vectors, before;
    for (size_t i = 0; i < optimizer_list.count; i++) {
        struct plugin optimizer;
        open_optimizer(optimizer_list.entries[i]->name, "", &optimizer);
        fill_vectors(&vectors);
        fill_vectors(&before);
        step_slice(&optimizer, &some_step, &vectors, vectors.values, 5, 5);
        assert_memory_equal(&vectors, &before, sizeof before);
        plugin_close(&optimizer);
    }
}

/* One parameter after `steps` steps of rate 0.1 from `start`, all with the same gradient. */
static double after(const char *name, const char *options, int steps, double start, double gradient) {
    struct plugin optimizer;
    open_optimizer(name, options, &optimizer);
    float value = (float)start, g = (float)gradient, cells[OPTIMIZER_MOST_STATES] = {0};
    float *states[OPTIMIZER_MOST_STATES] = {&cells[0], &cells[1]};
    for (int number = 1; number <= steps; number++) {
        struct optimizer_step step = {.rate = 0.1, .scale = 1, .number = (uint64_t)number};
        optimizer_ops(&optimizer)->step(optimizer.self, &step, &value, &g, states, &value, 1);
    }
    plugin_close(&optimizer);
    return value;
}

static void a_constant_gradient_gives_closed_forms(void **state) {
    (void)state;
    assert_true(fabs(after("sgd", "", 3, 1, 2) - 0.4) < 1e-6);
    /* velocities 1, 1.5, 1.75 */
    assert_true(fabs(after("momentum", "momentum=0.5", 3, 0, 1) + 0.425) < 1e-6);
    /* directions 1.5, 1.75, 1.875 */
    assert_true(fabs(after("nesterov", "momentum=0.5", 3, 0, 1) + 0.5125) < 1e-6);
    /* directions 1/2, 1/2 + 1 / 2, 1/2, 1/2 + 1.5 / 2; with the momentum spread 1/2, 3/4, 3/4, 7/8 */
    assert_true(fabs(after("delayed-nesterov", "momentum=0.5,period=2", 4, 0, 1) + 0.325) < 1e-6);
    assert_true(fabs(after("delayed-nesterov", "momentum=0.5,period=2,spread=1", 4, 0, 1) + 0.2875) < 1e-6);
    /* corrected for their bias, the means are the gradient and its square from the first step on */
    assert_true(fabs(after("adam", "", 7, 1, -0.003) - 1.7) < 1e-5);
    assert_true(fabs(after("adamw", "decay=0", 7, 1, 1e4) - 0.3) < 1e-5);
}

static void decay_pulls_to_0_where_there_is_no_gradient(void **state) {
    (void)state;
    assert_true(fabs(after("sgd", "decay=0.5", 3, 8, 0) - 8 * pow(0.95, 3)) < 1e-5);
    assert_true(fabs(after("adamw", "decay=0.5", 3, 8, 0) - 8 * pow(0.95, 3)) < 1e-5);
    /* as a part of the gradient it is scaled away like any other */
    assert_true(fabs(after("adam", "decay=0.5", 1, 8, 0) - 7.9) < 1e-5);
    assert_true(fabs(after("momentum", "decay=0.5", 1, 8, 0) - 7.6) < 1e-5);
    assert_true(fabs(after("nesterov", "decay=0.5", 1, 8, 0) - 7.24) < 1e-5);
}

static void momentum_of_0_is_sgd(void **state) {
    (void)state;
    assert_true(after("momentum", "momentum=0", 5, 1, 0.3) == after("sgd", "", 5, 1, 0.3));
    assert_true(after("nesterov", "momentum=0", 5, 1, 0.3) == after("sgd", "", 5, 1, 0.3));
}

static void delayed_by_one_update_is_nesterov(void **state) {
    (void)state;
    for (int steps = 1; steps < 9; steps++)
        assert_true(after("delayed-nesterov", "period=1,decay=0.1", steps, 1, 0.3) ==
                    after("nesterov", "decay=0.1", steps, 1, 0.3));
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"sgd,rate=-1",
                                      "sgd,momentum=0.9",
                                      "momentum,momentum=1.1",
                                      "adam,beta1=1",
                                      "adam,beta2=1",
                                      "adam,epsilon=0",
                                      "adamw,decay=-1",
                                      "sgd,factor=2",
                                      "sgd,schedule=cosin",
                                      "sgd,unit=seconds",
                                      "sgd,every=0",
                                      "sgd,clip=-1",
                                      "delayed-nesterov,period=0",
                                      "delayed-nesterov,spread=1.1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct plugin optimizer;
        if (plugin_open(&optimizer_list, bad[i], &optimizer) != HYSGD_USAGE)
            fail_msg("%s was not refused", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_optimizer_has_a_reference),
        cmocka_unit_test(fifty_steps_match_the_reference),
        cmocka_unit_test(slices_give_the_bits_of_the_whole),
        cmocka_unit_test(in_place_gives_the_bits_of_out_of_place),
        cmocka_unit_test(scale_multiplies_the_gradient_and_nothing_else),
        cmocka_unit_test(a_rate_of_0_changes_no_parameter),
        cmocka_unit_test(an_empty_slice_is_left_alone),
        cmocka_unit_test(a_constant_gradient_gives_closed_forms),
        cmocka_unit_test(decay_pulls_to_0_where_there_is_no_gradient),
        cmocka_unit_test(momentum_of_0_is_sgd),
        cmocka_unit_test(delayed_by_one_update_is_nesterov),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("optimizers", tests, NULL, NULL);
}
