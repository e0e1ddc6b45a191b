/* SPDX-License-Identifier: Apache-2.0 */
/* The agenda hands out its entries by time, then by order, whatever the order of insertion. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "runtime/agenda.h"

static void an_empty_agenda_has_no_first(void **state) {
    (void)state;
    struct agenda agenda;
    assert_int_equal(agenda_init(&agenda, 1), HYSGD_OK);
    assert_null(agenda_first(&agenda));
    agenda_add(&agenda, &(struct agenda_entry){.seconds = 1});
    agenda_remove_first(&agenda);
    assert_null(agenda_first(&agenda));
    agenda_fini(&agenda);
}

static void entries_leave_by_time_and_ties_by_order(void **state) {
    (void)state;
    enum { COUNT = 500 };
    struct agenda agenda;
    struct random random;
    assert_int_equal(agenda_init(&agenda, COUNT), HYSGD_OK);
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    for (uint64_t i = 0; i < COUNT; i++)
        agenda_add(&agenda,
                   &(struct agenda_entry){(double)random_below(&random, 20), (i * 7) % COUNT, (int)i, false});
    struct agenda_entry last = {.seconds = -1};
    for (int left = COUNT; left > 0; left--) {
        struct agenda_entry entry = *agenda_first(&agenda);
        assert_int_equal(agenda.count, left);
        assert_int_equal((entry.worker * 7) % COUNT, entry.order);
        assert_true(entry.seconds > last.seconds || (entry.seconds == last.seconds && entry.order > last.order));
        last = entry;
        agenda_remove_first(&agenda);
    }
    agenda_fini(&agenda);
}

static void adding_and_removing_in_turn_keeps_the_order(void **state) {
    (void)state;
    struct agenda agenda;
    struct random random;
    double now = 0;
    assert_int_equal(agenda_init(&agenda, 33), HYSGD_OK);
    random_init(&random, 2, 0, RANDOM_TEST, 0);
    for (uint64_t i = 0; i < 33; i++)
        agenda_add(&agenda, &(struct agenda_entry){.seconds = random_uniform(&random), .order = i});
    for (uint64_t i = 33; i < 5000; i++) {
        assert_true(agenda_first(&agenda)->seconds >= now);
        now = agenda_first(&agenda)->seconds;
        agenda_remove_first(&agenda);
        agenda_add(&agenda, &(struct agenda_entry){.seconds = now + random_uniform(&random), .order = i});
    }
    assert_int_equal(agenda.count, 33);
    agenda_fini(&agenda);
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct agenda agenda;
    memory_fail_at(1);
    assert_int_equal(agenda_init(&agenda, 10), HYSGD_MEMORY);
    agenda_fini(&agenda);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_agenda_has_no_first),
        cmocka_unit_test(entries_leave_by_time_and_ties_by_order),
        cmocka_unit_test(adding_and_removing_in_turn_keeps_the_order),
        cmocka_unit_test(exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
