/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that meet before a run, with threads as ranks: all come to the same end, whatever one of them brings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "runtime/comm_local.h"
#include "runtime/ranks.h"
#include "runtime/ranks_hello.h"
#include "runtime/ranks_vigil.h"

#define RANKS 4
#define PAIRS 3

/* What a rank brings, and how it fares. */
struct guest {
    struct ranks_options options;
    enum hysgd_status status;
    const char *message; /* of the failure that it brings */
    const char *pairs[PAIRS][2];
    size_t count;
    const char *save_path;
    int rounds;
    bool is_open; /* its group still is, when all is over */
    char told[1536];
};

static void *attend(void *argument) {
    struct guest *guest = argument;
    const struct runtime_facts facts = {(const char *const(*)[2])guest->pairs, guest->count, guest->save_path};
    if (guest->status != HYSGD_OK)
        guest->status = hysgd_fail(guest->status, "%s", guest->message);
    guest->status = ranks_agree(&guest->options, guest->status, &facts);
    for (int i = 1; i < guest->rounds && guest->status == HYSGD_OK; i++)
        guest->status = ranks_agree(&guest->options, HYSGD_OK, NULL);
    snprintf(guest->told, sizeof guest->told, "%s", guest->status != HYSGD_OK ? hysgd_error_message() : "");
    guest->is_open = guest->options.comm != NULL;
    ranks_vigil_stop(guest->options.vigil);
    if (guest->is_open)
        comm_close(guest->options.comm, true);
    ranks_vigil_close(guest->options.vigil);
    return NULL;
}

static void invite(struct guest guests[RANKS]) {
    for (int i = 0; i < RANKS; i++)
        guests[i] = (struct guest){.options = {.patience = 10},
                                   .pairs = {{"program", "one"}, {"policy", "sync"}, {"seed", "1"}},
                                   .count = PAIRS,
                                   .rounds = 1};
}

static void attend_all(struct guest guests[RANKS], struct comm *ends[RANKS]) {
    pthread_t threads[RANKS];
    for (int i = 0; i < RANKS; i++)
        guests[i].options.comm = ends[i];
    for (int i = 0; i < RANKS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, attend, &guests[i]), 0);
    for (int i = 0; i < RANKS; i++)
        pthread_join(threads[i], NULL);
}

static void meet_with(struct guest guests[RANKS], const struct comm_local_setup *setup) {
    struct comm *ends[RANKS];
    assert_int_equal(comm_local_open(setup, ends), HYSGD_OK);
    attend_all(guests, ends);
}

static void meet(struct guest guests[RANKS]) {
    const struct comm_local_setup setup = {.size = RANKS};
    meet_with(guests, &setup);
}

static void expect_all(const struct guest guests[RANKS], enum hysgd_status status, const char *told) {
    for (int i = 0; i < RANKS; i++) {
        if (strstr(guests[i].told, told) == NULL)
            fail_msg("rank %d was told \"%s\" in place of \"%s\"", i, guests[i].told, told);
        assert_int_equal(guests[i].status, status);
        assert_int_equal(guests[i].is_open, status == HYSGD_OK);
    }
}

static void equal_ranks_agree_as_often_as_they_like(void **state) {
    (void)state;
    struct guest guests[RANKS];
    invite(guests);
    for (int i = 0; i < RANKS; i++)
        guests[i].rounds = 5;
    meet(guests);
    expect_all(guests, HYSGD_OK, "");
}

static void messages_that_overtake_each_other_change_nothing(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct comm_local_setup setup = {.size = RANKS, .seed = seed, .most_delay = 3};
        struct guest guests[RANKS];
        invite(guests);
        for (int i = 0; i < RANKS; i++)
            guests[i].rounds = 3;
        meet_with(guests, &setup);
        expect_all(guests, HYSGD_OK, "");
    }
}

static void a_difference_is_named_with_its_rank_and_both_values(void **state) {
    (void)state;
    for (int rank = 1; rank < RANKS; rank++) {
        struct guest guests[RANKS];
        char expected[128];
        invite(guests);
        guests[rank].pairs[2][1] = "2";
        meet(guests);
        snprintf(expected, sizeof expected, "rank %d on ", rank);
        expect_all(guests, HYSGD_USAGE, expected);
        expect_all(guests, HYSGD_USAGE, " has seed=2, and rank 0 on ");
        expect_all(guests, HYSGD_USAGE, " has seed=1: expected the same on all ranks");
    }
}

static void a_program_is_compared_before_what_follows_from_it(void **state) {
    (void)state;
    struct guest guests[RANKS];
    invite(guests);
    guests[2].pairs[0][1] = "two";
    guests[2].pairs[1][0] = "polity";
    meet(guests);
    expect_all(guests, HYSGD_USAGE, "rank 2 on ");
    expect_all(guests, HYSGD_USAGE, "program=two");
}

static void more_or_fewer_pairs_are_a_difference(void **state) {
    (void)state;
    for (int rank = 0; rank < 2; rank++) {
        struct guest guests[RANKS];
        invite(guests);
        guests[rank].count = PAIRS - 1;
        meet(guests);
        expect_all(guests, HYSGD_USAGE, "rank 1 on ");
        expect_all(guests, HYSGD_USAGE, "has other options");
    }
}

static void a_rank_that_cannot_begin_tells_all_why(void **state) {
    (void)state;
    for (int rank = 0; rank < RANKS; rank++) {
        struct guest guests[RANKS];
        char expected[64];
        invite(guests);
        guests[rank].status = HYSGD_INPUT;
        guests[rank].message = "no such file";
        meet(guests);
        snprintf(expected, sizeof expected, "rank %d on ", rank);
        expect_all(guests, HYSGD_INPUT, rank > 0 ? expected : "");
        expect_all(guests, HYSGD_INPUT, "no such file");
    }
}

static void a_failure_counts_more_than_a_difference(void **state) {
    (void)state;
    struct guest guests[RANKS];
    invite(guests);
    guests[1].pairs[2][1] = "2";
    guests[3].status = HYSGD_MEMORY;
    guests[3].message = "out of memory";
    meet(guests);
    expect_all(guests, HYSGD_MEMORY, "rank 3 on ");
}

static void long_values_fit(void **state) {
    (void)state;
    static char value[300000];
    struct guest guests[RANKS];
    memset(value, 'x', sizeof value - 1);
    invite(guests);
    for (int i = 0; i < RANKS; i++)
        guests[i].pairs[1][1] = value;
    meet(guests);
    expect_all(guests, HYSGD_OK, "");
}

/* The dead rank's own thread only has to come to its end. */
static void a_rank_that_has_ended_is_named(void **state) {
    (void)state;
    for (int dead = 0; dead < 2; dead++) {
        const struct comm_local_setup setup = {.size = RANKS};
        struct guest guests[RANKS];
        struct comm *ends[RANKS];
        char expected[64];
        invite(guests);
        assert_int_equal(comm_local_open(&setup, ends), HYSGD_OK);
        comm_local_kill(ends[0], dead);
        snprintf(expected, sizeof expected, "rank %d on ", dead);
        attend_all(guests, ends);
        for (int i = 0; i < RANKS; i++) {
            assert_int_not_equal(guests[i].status, HYSGD_OK);
            if (i != dead)
                assert_non_null(strstr(guests[i].told, expected));
        }
    }
}

/* One whose process is stopped while it reads its data, and has not ended. */
static void a_rank_that_falls_silent_is_named(void **state) {
    (void)state;
    for (int asleep = 0; asleep < 2; asleep++) {
        const struct comm_local_setup setup = {.size = RANKS};
        struct guest guests[RANKS];
        struct comm *ends[RANKS];
        char expected[64];
        invite(guests);
        for (int i = 0; i < RANKS; i++)
            guests[i].options.patience = 1.5;
        assert_int_equal(comm_local_open(&setup, ends), HYSGD_OK);
        comm_local_freeze(ends[0], asleep, true);
        attend_all(guests, ends);
        /* A frozen rank is not asleep itself, and may give the others up first. */
        snprintf(expected, sizeof expected, "rank %d on local has %s", asleep, asleep > 0 ? "been silent for" : "");
        for (int i = 0; i < RANKS; i++)
            if (i != asleep && (guests[i].status != HYSGD_FAILED || strstr(guests[i].told, expected) == NULL))
                fail_msg("rank %d was told \"%s\"", i, guests[i].told);
    }
}

static void make_directory(char *path) {
    assert_non_null(mkdtemp(path));
}

static void a_directory_that_a_rank_does_not_share_is_refused(void **state) {
    (void)state;
    char shared[] = "hysgd-shared-XXXXXX", own[] = "hysgd-own-XXXXXX", paths[2][64];
    make_directory(shared);
    make_directory(own);
    snprintf(paths[0], sizeof paths[0], "%s/run.safetensors", shared);
    snprintf(paths[1], sizeof paths[1], "%s/run.safetensors", own);
    for (int is_other = 0; is_other < 2; is_other++) {
        struct guest guests[RANKS];
        invite(guests);
        for (int i = 0; i < RANKS; i++)
            guests[i].save_path = paths[is_other && i == 2];
        meet(guests);
        expect_all(guests, is_other ? HYSGD_USAGE : HYSGD_OK, is_other ? "rank 2 on " : "");
        expect_all(guests, is_other ? HYSGD_USAGE : HYSGD_OK, is_other ? "/run.safetensors" : "");
    }
    assert_int_equal(rmdir(shared), 0); /* nothing was left there */
    assert_int_equal(rmdir(own), 0);
}

static void who_holds_no_parameters_need_not_see_the_directory(void **state) {
    (void)state;
    char shared[] = "hysgd-shared-XXXXXX", path[64];
    struct guest guests[RANKS];
    make_directory(shared);
    snprintf(path, sizeof path, "%s/run.safetensors", shared);
    invite(guests);
    for (int i = 0; i < RANKS; i++) {
        guests[i].options.servers = 1;
        guests[i].save_path = i == 1 ? "missing/run.safetensors" : path;
    }
    meet(guests);
    expect_all(guests, HYSGD_OK, "");
    assert_int_equal(rmdir(shared), 0);
}

static void a_directory_that_is_missing_for_all_is_refused(void **state) {
    (void)state;
    struct guest guests[RANKS];
    invite(guests);
    for (int i = 0; i < RANKS; i++)
        guests[i].save_path = "missing/run.safetensors";
    meet(guests);
    expect_all(guests, HYSGD_USAGE, "save=missing/run.safetensors");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ranks_agree_as_often_as_they_like),
        cmocka_unit_test(messages_that_overtake_each_other_change_nothing),
        cmocka_unit_test(a_difference_is_named_with_its_rank_and_both_values),
        cmocka_unit_test(a_program_is_compared_before_what_follows_from_it),
        cmocka_unit_test(more_or_fewer_pairs_are_a_difference),
        cmocka_unit_test(a_rank_that_cannot_begin_tells_all_why),
        cmocka_unit_test(a_failure_counts_more_than_a_difference),
        cmocka_unit_test(long_values_fit),
        cmocka_unit_test(a_rank_that_has_ended_is_named),
        cmocka_unit_test(a_rank_that_falls_silent_is_named),
        cmocka_unit_test(a_directory_that_a_rank_does_not_share_is_refused),
        cmocka_unit_test(who_holds_no_parameters_need_not_see_the_directory),
        cmocka_unit_test(a_directory_that_is_missing_for_all_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
