/* SPDX-License-Identifier: Apache-2.0 */
/* How many cores the process has to itself, and what is asked of the scheduler. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* Nanoseconds of the calling thread's turns, as the kernel tells; 0 where it knows no such thing. */
static uint64_t turn_nanoseconds(void) {
    uint64_t attributes[6] = {0}; /* struct sched_attr; the fourth is sched_runtime */
    return syscall(SYS_sched_getattr, 0, attributes, sizeof attributes, 0) == 0 ? attributes[3] : 0;
}

static void turns_are_asked_for_and_given_back(void **state) {
    (void)state;
    uint64_t usual = turn_nanoseconds();
    machine_ask_turns(200e-6);
    uint64_t asked = turn_nanoseconds();
    if (usual == 0)
        skip();
    assert_int_equal(asked, 200000);
    machine_ask_turns(0);
    assert_int_equal(turn_nanoseconds(), usual);
}

static void *tell_turn(void *turn_out) {
    *(uint64_t *)turn_out = turn_nanoseconds();
    return NULL;
}

static void threads_begun_after_that_have_the_usual_turns(void **state) {
    (void)state;
    uint64_t usual = turn_nanoseconds(), found = 0;
    pthread_t thread;
    machine_ask_turns(200e-6);
    machine_ask_turns(0);
    assert_int_equal(pthread_create(&thread, NULL, tell_turn, &found), 0);
    pthread_join(thread, NULL);
    assert_int_equal(found, usual);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_cores_that_are_allowed_count),
        cmocka_unit_test(turns_are_asked_for_and_given_back),
        cmocka_unit_test(threads_begun_after_that_have_the_usual_turns),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
