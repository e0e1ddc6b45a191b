/* SPDX-License-Identifier: Apache-2.0 */
/* Bells between threads and between processes. Sleeps are longer than a test may take: who is not woken is found
 * out by the test's own end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/bell.h"

#define FOR_EVER 1e6

static struct bell *make(void) {
    struct bell *bell;
    assert_int_equal(bell_make(&bell), HYSGD_OK);
    return bell;
}

static void a_ring_before_the_sleep_ends_it(void **state) {
    struct bell *bell = make();
    (void)state;
    bell_ring(bell);
    bell_ring(bell);
    bell_sleep(bell, FOR_EVER);
    bell_close(bell);
}

static void rings_do_not_add_up(void **state) {
    struct bell *bell = make();
    (void)state;
    bell_ring(bell);
    bell_ring(bell);
    bell_sleep(bell, FOR_EVER);
    bell_sleep(bell, 1e-6); /* nobody rings any more: its time is up */
    bell_close(bell);
}

struct pair {
    struct bell *there, *back;
    atomic_int rounds;
};

enum { ROUNDS = 20000 };

/* Looks before it sleeps, as whoever uses a bell has to. */
static void *answer(void *argument) {
    struct pair *pair = argument;
    for (int round = 1; round < ROUNDS; round += 2) {
        while (atomic_load(&pair->rounds) < round)
            bell_sleep(pair->there, FOR_EVER);
        atomic_store(&pair->rounds, round + 1);
        bell_ring(pair->back);
    }
    return NULL;
}

static void no_ring_is_missed_between_threads(void **state) {
    struct pair pair = {.there = make(), .back = make()};
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, answer, &pair), 0);
    for (int round = 0; round < ROUNDS; round += 2) {
        while (atomic_load(&pair.rounds) < round)
            bell_sleep(pair.back, FOR_EVER);
        atomic_store(&pair.rounds, round + 1);
        bell_ring(pair.there);
    }
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&pair.rounds), ROUNDS);
    bell_close(pair.there);
    bell_close(pair.back);
}

static void another_process_finds_it_and_rings(void **state) {
    struct bell *bell = make();
    int64_t own = getpid();
    int status;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct bell *found = bell_find(own, bell_handle(bell));
        if (found)
            bell_ring(found);
        _exit(found ? 0 : 1);
    }
    bell_sleep(bell, FOR_EVER);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(bell_ringers(bell), 1);
    bell_close(bell);
}

static void what_is_no_bell_is_not_found(void **state) {
    int64_t own = getpid();
    int pipes[2];
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_null(bell_find(own, pipes[0]));
    assert_null(bell_find(own, 1000000));
    assert_null(bell_find((int64_t)1 << 30, 0));
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_null(bell_find(own, null));
    close(null);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_before_the_sleep_ends_it),   cmocka_unit_test(rings_do_not_add_up),
        cmocka_unit_test(no_ring_is_missed_between_threads), cmocka_unit_test(another_process_finds_it_and_rings),
        cmocka_unit_test(what_is_no_bell_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
