/* SPDX-License-Identifier: Apache-2.0 */
/* The model of factors: its losses, what it predicts, and what it refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "model/subject.h"

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
        subject_check_gradient(&subject);
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
    assert_int_equal(subject.ops->predict(subject.model.self, subject_workspace(&subject), subject.vector,
                                          &subject.batch, outputs),
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
    open_factors(&subject, "rank=2");
    const uint32_t beyond[] = {0, COLUMNS};
    memcpy(subject.inputs, beyond, sizeof beyond);
    subject_refuses_gradient(&subject);
    subject_refuses_evaluation(&subject);
    subject_close(&subject);
    static const char *const wrong[] = {"unseen=never", "loss=bpr", "negatives=3", "nonnegative=yes"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(subject_open_sized(&subject, &model_factors.about, wrong[i], 4), HYSGD_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_loss_of_factors_has_its_gradient),
        cmocka_unit_test(factors_predict_by_their_formula),
        cmocka_unit_test(factors_refuse_what_they_do_not_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
