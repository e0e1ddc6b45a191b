/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients in pieces: they average to the gradient of the whole batch, and the rest of one can be given up.
 * Samples gathered ahead are the same ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/fixture.h"

static const struct run_setup clusters = {
    .data = "random,samples=200", .model = "dense 8, relu, dense", .workers = 2, .batch = 24};

static struct run_setup in_pieces(size_t micro_batch) {
    struct run_setup from = clusters;
    from.micro_batch = micro_batch;
    return from;
}

static void open_worker(struct run *run, const struct run_setup *from) {
    if (run_open(run, from) != HYSGD_OK || worker_open(&run->training, 1) != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
}

static const float *compute(struct run *run, const struct worker_watch *watch) {
    struct training *training = &run->training;
    assert_int_equal(worker_compute(training, 1, server_vector(&training->server), watch), HYSGD_OK);
    return training->server.gradients[1];
}

static void expect_near(const float *left, const float *right, size_t count) {
    for (size_t i = 0; i < count; i++)
        assert_float_equal(left[i], right[i], 1e-6);
}

static void pieces_average_to_the_gradient_of_the_batch(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 6, 12, 24};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct run whole, pieces;
        struct run_setup from = in_pieces(sizes[i]);
        open_worker(&whole, &clusters);
        open_worker(&pieces, &from);
        for (int k = 0; k < 3; k++)
            expect_near(compute(&whole, NULL), compute(&pieces, NULL), whole.training.server.count);
        assert_float_equal(whole.training.workers[1].loss, pieces.training.workers[1].loss, 1e-6);
        run_close(&whole);
        run_close(&pieces);
    }
}

/* Gives up after `left` pieces. */
static bool count_down(void *self) {
    int *left = self;
    return --*left <= 0;
}

static void what_is_given_up_does_not_change_the_next_batch(void **state) {
    (void)state;
    for (int after = 1; after <= 4; after++) {
        struct run whole, broken;
        struct run_setup from = in_pieces(6);
        int left = after;
        open_worker(&whole, &from);
        open_worker(&broken, &from);
        compute(&whole, NULL);
        assert_false(whole.training.workers[1].has_given_up);
        compute(&broken, &(struct worker_watch){count_down, &left});
        assert_true(broken.training.workers[1].has_given_up);
        size_t bytes = whole.training.server.count * sizeof(float);
        assert_memory_equal(compute(&whole, NULL), compute(&broken, NULL), bytes);
        assert_false(broken.training.workers[1].has_given_up);
        run_close(&whole);
        run_close(&broken);
    }
}

static void the_rest_of_a_batch_that_is_given_up_is_left_out(void **state) {
    (void)state;
    struct run run;
    struct run_setup from = in_pieces(6);
    int left = 2;
    open_worker(&run, &from);
    compute(&run, &(struct worker_watch){count_down, &left});
    assert_int_equal(left, 0); /* asked after each of two pieces, and not again */
    run_close(&run);
}

static void samples_gathered_ahead_are_those_of_the_batch(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 6};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct run late, early;
        struct run_setup from = in_pieces(sizes[i]);
        open_worker(&late, &from);
        open_worker(&early, &from);
        size_t bytes = late.training.server.count * sizeof(float);
        for (int k = 0; k < 20; k++) { /* through two passes */
            worker_prepare(&early.training, 1);
            if (k % 3 == 0)
                worker_prepare(&early.training, 1); /* changes nothing */
            assert_memory_equal(compute(&late, NULL), compute(&early, NULL), bytes);
        }
        size_t counts = 2 * (1 + (size_t)late.training.shares.classes);
        assert_memory_equal(late.training.shares.deliveries, early.training.shares.deliveries,
                            counts * sizeof(double));
        run_close(&late);
        run_close(&early);
    }
}

static void samples_gathered_ahead_are_forgotten_when_the_worker_goes_elsewhere(void **state) {
    (void)state;
    struct run late, early;
    open_worker(&late, &clusters);
    open_worker(&early, &clusters);
    worker_prepare(&early.training, 1);
    worker_seek(&early.training, 1, 5);
    worker_seek(&late.training, 1, 5);
    size_t bytes = late.training.server.count * sizeof(float);
    assert_memory_equal(compute(&late, NULL), compute(&early, NULL), bytes);
    run_close(&late);
    run_close(&early);
}

/* With the same noise in every piece the average of n pieces would deviate as much as one. */
static void pieces_have_noise_of_their_own(void **state) {
    (void)state;
    struct run whole, pieces;
    struct run_setup from = {.model = "quadratic,dimension=2000,condition=1,noise=1", .workers = 2, .batch = 16};
    open_worker(&whole, &from);
    from.micro_batch = 1;
    open_worker(&pieces, &from);
    const float *one = compute(&whole, NULL), *other = compute(&pieces, NULL);
    double squares[2] = {0};
    for (size_t i = 0; i < 2000; i++) {
        double mean = i % 2 == 0 ? -1 : 1; /* at 0 */
        squares[0] += (one[i] - mean) * (one[i] - mean);
        squares[1] += (other[i] - mean) * (other[i] - mean);
    }
    assert_float_equal(squares[0] / 2000, 1. / 16, 0.01);
    assert_float_equal(squares[1] / 2000, 1. / 16, 0.01);
    run_close(&whole);
    run_close(&pieces);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_average_to_the_gradient_of_the_batch),
        cmocka_unit_test(what_is_given_up_does_not_change_the_next_batch),
        cmocka_unit_test(the_rest_of_a_batch_that_is_given_up_is_left_out),
        cmocka_unit_test(samples_gathered_ahead_are_those_of_the_batch),
        cmocka_unit_test(samples_gathered_ahead_are_forgotten_when_the_worker_goes_elsewhere),
        cmocka_unit_test(pieces_have_noise_of_their_own),
    };
    return cmocka_run_group_tests_name("gradients in pieces", tests, NULL, NULL);
}
