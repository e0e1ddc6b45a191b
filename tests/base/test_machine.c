/* SPDX-License-Identifier: Apache-2.0 */
/* How many cores the process has to itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>

#include "base/machine.h"

static void only_cores_that_are_allowed_count(void **state) {
    cpu_set_t before, one;
    (void)state;
    if (sched_getaffinity(0, sizeof before, &before) != 0)
        skip();
    assert_int_equal(machine_cores(), CPU_COUNT(&before));
    int core = 0;
    while (!CPU_ISSET(core, &before))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int cores = machine_cores();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cores, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_cores_that_are_allowed_count)};
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
