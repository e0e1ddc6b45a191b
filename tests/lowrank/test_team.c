/* SPDX-License-Identifier: Apache-2.0 */
/* Teams of threads: everyone works once a job, and what was written is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "lowrank/team.h"

#define MOST_THREADS 5

struct tally {
    int jobs[MOST_THREADS];
    uint64_t sums[MOST_THREADS];
    const struct team *team;
};

static void add_share(void *context, int thread) {
    struct tally *tally = context;
    uint64_t first, end;
    team_share(tally->team, thread, 1003, &first, &end);
    tally->jobs[thread]++;
    tally->sums[thread] = 0;
    for (uint64_t i = first; i < end; i++)
        tally->sums[thread] += i;
}

static void everyone_does_every_job_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        struct team *team;
        assert_int_equal(team_start(threads, &team), HYSGD_OK);
        assert_int_equal(team_threads(team), threads);
        struct tally tally = {.team = team};
        for (int job = 1; job <= 200; job++) {
            uint64_t sum = 0;
            team_run(team, add_share, &tally);
            for (int i = 0; i < threads; i++) {
                assert_int_equal(tally.jobs[i], job);
                sum += tally.sums[i];
            }
            assert_int_equal(sum, 1003 * 1002 / 2);
        }
        team_stop(team);
    }
}

static void shares_are_equal_but_for_one(void **state) {
    (void)state;
    struct team *team;
    uint64_t before = 0, first, end;
    assert_int_equal(team_start(4, &team), HYSGD_OK);
    for (int thread = 0; thread < 4; thread++) {
        team_share(team, thread, 10, &first, &end);
        assert_int_equal(first, before);
        assert_int_equal(end - first, thread < 2 ? 3 : 2);
        before = end;
    }
    assert_int_equal(before, 10);
    team_stop(team);
}

static void a_team_without_memory_is_refused(void **state) {
    (void)state;
    struct team *team;
    size_t before = memory_used();
    memory_fail_at(1);
    assert_int_equal(team_start(2, &team), HYSGD_MEMORY);
    memory_fail_at(0);
    assert_int_equal(memory_used(), before);
    team_stop(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_does_every_job_once),
        cmocka_unit_test(shares_are_equal_but_for_one),
        cmocka_unit_test(a_team_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
