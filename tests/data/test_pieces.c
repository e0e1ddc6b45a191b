/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered pieces of work by several threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#include "data/pieces.h"

#define COUNT 1000

struct tally {
    atomic_int done[COUNT]; /* times that each piece was done */
    atomic_int working[PIECES_MOST_LANES];
    int lanes;
    size_t faulty, faulty_too; /* pieces that fail */
};

static enum hysgd_status count_piece(void *context, int lane, size_t k) {
    struct tally *tally = context;
    if (lane < 0 || lane >= tally->lanes || atomic_fetch_add(&tally->working[lane], 1) != 0)
        return hysgd_fail(HYSGD_FAILED, "lane %d works on two pieces or is not there", lane);
    atomic_fetch_add(&tally->done[k], 1);
    atomic_fetch_sub(&tally->working[lane], 1);
    if (k == tally->faulty || k == tally->faulty_too)
        return hysgd_fail(HYSGD_INPUT, "piece %zu is bad", k);
    return HYSGD_OK;
}

static void every_piece_is_done_once(void **state) {
    (void)state;
    for (int lanes = 1; lanes <= 5; lanes++) {
        struct tally tally = {.lanes = lanes, .faulty = COUNT, .faulty_too = COUNT};
        assert_int_equal(pieces_run(COUNT, lanes, count_piece, &tally, NULL), HYSGD_OK);
        for (int k = 0; k < COUNT; k++)
            assert_int_equal(tally.done[k], 1);
    }
}

static void the_first_faulty_piece_is_reported(void **state) {
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct tally tally = {.lanes = 4, .faulty = 500, .faulty_too = 501};
        size_t failed = 0;
        assert_int_equal(pieces_run(COUNT, 4, count_piece, &tally, &failed), HYSGD_INPUT);
        assert_int_equal(failed, 500);
        assert_string_equal(hysgd_error_message(), "piece 500 is bad");
        for (int k = 0; k <= 500; k++)
            assert_int_equal(tally.done[k], 1);
    }
}

static void nothing_is_done_when_there_is_nothing(void **state) {
    (void)state;
    struct tally tally = {.lanes = 2};
    assert_int_equal(pieces_run(0, 2, count_piece, &tally, NULL), HYSGD_OK);
    assert_int_equal(tally.done[0], 0);
}

static void there_is_a_lane_for_each_piece_at_most(void **state) {
    (void)state;
    assert_int_equal(pieces_lanes(3, 100), 3);
    assert_int_equal(pieces_lanes(3, 2), 2);
    assert_int_equal(pieces_lanes(3, 0), 1);
    assert_int_equal(pieces_lanes(1000, 1000), PIECES_MOST_LANES);
    assert_true(pieces_lanes(0, 1000) >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_is_done_once),
        cmocka_unit_test(the_first_faulty_piece_is_reported),
        cmocka_unit_test(nothing_is_done_when_there_is_nothing),
        cmocka_unit_test(there_is_a_lane_for_each_piece_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
