/* SPDX-License-Identifier: Apache-2.0 */
/* How ranks find out how far their clocks are apart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "runtime/ranks_clock.h"

/* An exchange that begins at `asked`, with an answerer who needs a millisecond and whose clock shows `ahead` more.
 */
static struct ranks_clock_exchange exchange(double asked, double there, double back, double ahead) {
    return (struct ranks_clock_exchange){.asked = asked,
                                         .heard = asked + there + ahead,
                                         .answered = asked + there + 1e-3 + ahead,
                                         .received = asked + there + 1e-3 + back};
}

static void take(struct ranks_clock *clock, double asked, double there, double back, double ahead) {
    const struct ranks_clock_exchange taken = exchange(asked, there, back, ahead);
    ranks_clock_take(clock, &taken);
}

static void nothing_is_known_before_an_exchange(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error;
    assert_false(ranks_clock_read(&clock, 1, &offset, &error));
    assert_true(ranks_clock_is_hungry(&clock));
}

static void equal_ways_give_the_offset_exactly(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error;
    take(&clock, 10, 0.25, 0.25, -8);
    assert_true(ranks_clock_read(&clock, 10.5, &offset, &error));
    assert_true(fabs(offset - -8) < 1e-12);
    assert_true(error >= 0.25 && error < 0.251);
}

static void unequal_ways_err_by_less_than_they_say(void **state) {
    (void)state;
    for (int i = 0; i <= 10; i++) {
        struct ranks_clock clock = {0};
        double offset, error;
        take(&clock, 5, 0.01 * i, 0.1 - 0.01 * i, 1000);
        assert_true(ranks_clock_read(&clock, 5.2, &offset, &error));
        assert_true(fabs(offset - 1000) <= error + 1e-12);
        assert_true(fabs(fabs(offset - 1000) - fabs(0.01 * i - 0.05)) < 1e-9);
    }
}

static void the_quickest_exchange_counts(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error;
    take(&clock, 1.0, 0.5, 0.001, 3);
    take(&clock, 2.0, 0.001, 0.001, 3);
    take(&clock, 3.0, 0.001, 0.4, 3);
    assert_true(ranks_clock_read(&clock, 3.5, &offset, &error));
    assert_true(fabs(offset - 3) < 1e-9);
    assert_true(error < 0.0012);
}

static void old_exchanges_count_less(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error, later;
    take(&clock, 0, 1e-5, 1e-5, 0);
    assert_true(ranks_clock_read(&clock, 0, &offset, &error));
    assert_true(ranks_clock_read(&clock, 100, &offset, &later));
    assert_true(later > error + 90 * RANKS_CLOCK_DRIFT);
    take(&clock, 100, 1e-3, 1e-3, 1e-3); /* slower, but of today */
    assert_true(ranks_clock_read(&clock, 100.1, &offset, &error));
    assert_true(fabs(offset - 1e-3) < 1e-9 && error < 1.1e-3);
}

static void drifting_clocks_are_followed(void **state) {
    (void)state;
    const double drift = 5e-5;
    struct ranks_clock clock = {0};
    double offset, error;
    for (int i = 0; i < 500; i++) {
        double now = 0.2 * i, slow = i % 7 * 1e-4;
        take(&clock, now, 1e-4 + slow, 1e-4, drift * now);
        assert_true(ranks_clock_read(&clock, now + 2e-3, &offset, &error));
        assert_true(fabs(offset - drift * now) <= error);
        assert_true(i < 8 || error < 5e-4);
    }
}

static void a_clock_that_was_set_is_believed_at_once(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error;
    for (int i = 0; i < 8; i++)
        take(&clock, i, 1e-4, 1e-4, 2);
    assert_false(ranks_clock_is_hungry(&clock));
    take(&clock, 9, 5e-4, 5e-4, -30);
    assert_true(ranks_clock_read(&clock, 9.1, &offset, &error));
    assert_true(fabs(offset - -30) <= error && error < 1e-3);
    assert_true(ranks_clock_is_hungry(&clock)); /* and asked after */
}

static void what_cannot_have_been_is_passed_over(void **state) {
    (void)state;
    struct ranks_clock clock = {0};
    double offset, error;
    take(&clock, 1, -0.01, -0.01, 0);
    const struct ranks_clock_exchange turned = {.asked = 1, .heard = 5, .answered = 4, .received = 2};
    ranks_clock_take(&clock, &turned);
    const struct ranks_clock_exchange unknown = {.asked = 1, .heard = (double)NAN, .answered = 4, .received = 2};
    ranks_clock_take(&clock, &unknown);
    assert_false(ranks_clock_read(&clock, 1, &offset, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_before_an_exchange),
        cmocka_unit_test(equal_ways_give_the_offset_exactly),
        cmocka_unit_test(unequal_ways_err_by_less_than_they_say),
        cmocka_unit_test(the_quickest_exchange_counts),
        cmocka_unit_test(old_exchanges_count_less),
        cmocka_unit_test(drifting_clocks_are_followed),
        cmocka_unit_test(a_clock_that_was_set_is_believed_at_once),
        cmocka_unit_test(what_cannot_have_been_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
