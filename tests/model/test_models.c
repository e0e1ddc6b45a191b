/* SPDX-License-Identifier: Apache-2.0 */
/* Conformance of every listed model: gradients against finite differences, layouts, evaluation and prediction,
 * memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/options.h"
#include "model/subject.h"

/* Options with which a model is tested in place of its defaults; rows for those that need some. */
static const char *const test_options[][2] = {
    {"network", "layers=(conv 3x3x4, norm, tanh, avgpool 2, [dropout 0.25, dense 6 | dense 6], gelu, dense)"},
    {"quadratic", "noise=0"},
    {"factors", "rank=3,l2=0,bias-l2=0,l1=0,scale=1"}, /* penalties are no part of evaluations */
};

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

static void gradients_match_finite_differences(void **state) {
    (void)state;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        subject_open(&subject, m);
        subject_check_gradient(&subject);
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

static void evaluation_agrees_with_the_loss_of_the_gradient(void **state) {
    (void)state;
    size_t compared = 0;
    for (size_t m = 0; m < model_list.count; m++) {
        struct subject subject;
        subject_open(&subject, m);
        if (subject.ops->evaluate && subject.layout.statistic_count == 0) { /* the others differ while training */
            double loss = subject_loss(&subject, subject.vector);
            assert_true(fabs((subject_evaluate(&subject).loss - 1.5) / BATCH - loss) <= 1e-6 * fabs(loss));
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
        if (subject.ops->predict && subject.layout.outputs == CLASSES && subject_evaluate(&subject).has_accuracy) {
            assert_int_equal(subject.ops->predict(subject.model.self, subject_workspace(&subject), subject.vector,
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
            assert_true(fabs(subject_evaluate(&subject).loss - 1.5 - loss) < 1e-5 * (1 + loss));
            assert_int_equal(subject_evaluate(&subject).correct, correct);
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
        double loss = subject_loss(&subject, subject.vector);
        assert_true(loss == subject_loss(&again, again.vector));
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
        subject_open(&subject, m);
        if (subject.ops->predict && subject.shape.classes > 0) {
            subject.labels[1] = CLASSES;
            subject_refuses_gradient(&subject);
            subject_refuses_evaluation(&subject);
            subject.labels[1] = 0;
            subject.batch.count = BATCH - 1;
            subject_refuses_gradient(&subject);
            assert_int_equal(subject_evaluate(&subject).count, BATCH + 1);
            subject.batch.count = BATCH + 1;
            subject_refuses_evaluation(&subject);
        }
        subject_close(&subject);
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
