/* SPDX-License-Identifier: Apache-2.0 */
/* The quadratic: its curvatures, and its noise by batch, worker and draw. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>

#include <cmocka.h>

#include "model/model.h"

#define SEED 7

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quadratic_has_the_stated_curvatures),
        cmocka_unit_test(quadratic_noise_shrinks_with_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
