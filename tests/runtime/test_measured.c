/* SPDX-License-Identifier: Apache-2.0 */
/* Measured times: their order, their repetition, and resampling. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "runtime/timing.h"

/* Times i + 1, on the way twice that, of each of two workers; the second has one fewer. */
static struct measured make_measured(int count) {
    struct measured measured = {0};
    for (int i = 0; i < 2 * count - 1; i++) {
        const struct measured_gradient gradient = {i / 2 + 1, 2 * (i / 2 + 1)};
        assert_int_equal(measured_add(&measured, i % 2, &gradient), HYSGD_OK);
    }
    return measured;
}

static void times_come_in_their_order_and_again(void **state) {
    (void)state;
    struct measured measured = make_measured(3);
    struct timing timing;
    const struct timing_texts texts = {.receive = "constant,mean=7", .apply = "constant,mean=8"};
    assert_int_equal(timing_init(&timing, &texts, 2, 1), HYSGD_OK);
    assert_int_equal(measured_extend(&measured.apply, 5), HYSGD_OK);
    timing.measured = &measured;
    const double expected[] = {1, 2, 3, 1, 2}, other[] = {1, 2, 1, 2, 1};
    for (uint64_t draw = 0; draw < 5; draw++) {
        assert_true(timing_compute(&timing, 0, draw) == expected[draw]);
        assert_true(timing_delay(&timing, 1, draw) == 2 * other[draw]);
        assert_true(timing_apply(&timing) == 5);
        assert_true(timing_receive(&timing) == 7); /* not measured */
    }
    timing_fini(&timing);
    measured_fini(&measured);
}

static void resampling_keeps_pairs_and_neighbours(void **state) {
    (void)state;
    const int count = 1000, block = 10;
    struct measured measured = make_measured(count), other;
    assert_int_equal(measured_resample(&measured, 3, 1, &other), HYSGD_OK);
    assert_int_equal(other.workers[0].count, count);
    assert_int_equal(other.workers[1].count, count - 1);
    int followers = 0;
    for (int i = 0; i < count; i++) {
        const struct measured_gradient *gradient = &other.workers[0].gradients[i];
        assert_true(gradient->transit_seconds == 2 * gradient->compute_seconds);
        double next = i + 1 < count ? gradient[1].compute_seconds : 0;
        followers += next == gradient->compute_seconds + 1 || (next == 1 && gradient->compute_seconds == count);
    }
    assert_in_range(followers, count - count / block, count - count / block + 10); /* blocks meet by chance */
    measured_fini(&other);
    measured_fini(&measured);
}

static void resamplings_are_repeatable_and_differ(void **state) {
    (void)state;
    struct measured measured = make_measured(100), one, same, other;
    assert_int_equal(measured_resample(&measured, 3, 1, &one), HYSGD_OK);
    assert_int_equal(measured_resample(&measured, 3, 1, &same), HYSGD_OK);
    assert_int_equal(measured_resample(&measured, 3, 2, &other), HYSGD_OK);
    const size_t bytes = 99 * sizeof(struct measured_gradient);
    assert_memory_equal(one.workers[1].gradients, same.workers[1].gradients, bytes);
    assert_memory_not_equal(one.workers[1].gradients, other.workers[1].gradients, bytes);
    assert_memory_not_equal(one.workers[0].gradients, one.workers[1].gradients, bytes);
    measured_fini(&one);
    measured_fini(&same);
    measured_fini(&other);
    measured_fini(&measured);
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    struct measured measured = make_measured(40), other;
    assert_int_equal(measured_extend(&measured.apply, 1), HYSGD_OK);
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status != HYSGD_OK; n++) {
        memory_fail_at(n);
        status = measured_resample(&measured, 1, 1, &other);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || memory_used() == before);
        assert_true(n < 20);
    }
    measured_fini(&other);
    measured_fini(&measured);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_come_in_their_order_and_again),
        cmocka_unit_test(resampling_keeps_pairs_and_neighbours),
        cmocka_unit_test(resamplings_are_repeatable_and_differ),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
