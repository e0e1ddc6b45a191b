/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between threads: order, lengths, and what a death, a stop and a delay do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "long.h"
#include "runtime/comm_cases.h"
#include "runtime/comm_local.h"

struct ends {
    struct comm *of[COMM_MOST_RANKS];
    int size;
};

static struct ends open_ends(struct comm_local_setup setup) {
    struct ends ends = {.size = setup.size};
    assert_int_equal(comm_local_open(&setup, ends.of), HYSGD_OK);
    return ends;
}

/* In one thread the ends cannot wait for each other: those that are left say that all others are dead. */
static void close_ends(struct ends *ends) {
    for (int i = 0; i < ends->size; i++) {
        for (int other = 0; other < ends->size; other++)
            if (other != i)
                comm_abandon(ends->of[i], other);
        comm_close(ends->of[i], false);
    }
}

/* Notes completions. */
struct note {
    int count;
    size_t bytes;
    struct comm_completion last;
};

static void note(void *self, const struct comm_completion *completion, size_t bytes) {
    struct note *note = self;
    note->count++;
    note->bytes = bytes;
    note->last = *completion;
}

static void turn(struct ends *ends, int times) {
    for (int i = 0; i < times * ends->size; i++)
        assert_int_equal(comm_progress(ends->of[i % ends->size], NULL), HYSGD_OK);
}

static void a_message_arrives_whole_and_both_are_told(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    char sent[] = "gradient", got[20] = "";
    struct note sender = {0}, receiver = {0};
    assert_int_equal(comm_receive(ends.of[1], 0, 7, got, sizeof got, note, &receiver), HYSGD_OK);
    assert_int_equal(comm_send(ends.of[0], 1, 7, sent, sizeof sent, note, &sender), HYSGD_OK);
    turn(&ends, 2);
    assert_string_equal(got, "gradient");
    assert_int_equal(sender.count, 1);
    assert_int_equal(sender.last.from_or_to, 1);
    assert_int_equal(receiver.bytes, sizeof sent);
    assert_int_equal(receiver.last.tag, 7);
    assert_ptr_equal(receiver.last.data, got);
    close_ends(&ends);
}

static void die(struct comm *comm) {
    comm_local_kill(comm, comm_rank(comm));
}

struct rank_thread {
    const struct comm_case *of_case;
    struct comm_rank_run run;
};

static void *run_rank(void *self) {
    struct rank_thread *thread = self;
    thread->of_case->run(&thread->run);
    comm_close(thread->run.comm, !thread->of_case->has_death);
    return NULL;
}

static void run_case(const struct comm_case *of_case, struct comm_local_setup setup) {
    struct ends ends = open_ends(setup);
    struct rank_thread ranks[COMM_MOST_RANKS];
    pthread_t threads[COMM_MOST_RANKS];
    for (int i = 0; i < setup.size; i++) {
        ranks[i] = (struct rank_thread){of_case, {ends.of[i], die, 0}};
        assert_int_equal(pthread_create(&threads[i], NULL, run_rank, &ranks[i]), 0);
    }
    for (int i = 0; i < setup.size; i++) {
        pthread_join(threads[i], NULL);
        if (ranks[i].run.wrongs > 0)
            fail_msg("%s: %d wrong at rank %d of %d, seed %d", of_case->name, ranks[i].run.wrongs, i, setup.size,
                     (int)setup.seed);
    }
}

static void threads_agree_on_every_common_case(void **state) {
    (void)state;
    for (size_t i = 0; i < COMM_CASES; i++)
        for (int size = comm_cases[i].has_death ? 2 : 1; size <= COMM_MOST_RANKS; size++)
            run_case(&comm_cases[i], (struct comm_local_setup){.size = size});
}

static void they_agree_with_delayed_messages_too(void **state) {
    (void)state;
    for (int seed = 1; seed <= long_count(5, 200); seed++)
        for (size_t i = 0; i < COMM_CASES; i++)
            run_case(&comm_cases[i],
                     (struct comm_local_setup){.size = 2 + seed % 3, .seed = (uint64_t)seed, .most_delay = 4});
}

/* Sends a message of one byte under each tag, and tells in which order they came. */
static void send_and_watch(struct ends *ends, const uint32_t *tags, int count, struct comm_tally *tally) {
    static char data[16];
    for (int i = 0; i < count; i++)
        assert_int_equal(comm_receive(ends->of[1], 0, tags[i], &data[i], 1, comm_count, tally), HYSGD_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(comm_send(ends->of[0], 1, tags[i], "x", 1, NULL, NULL), HYSGD_OK);
    for (int i = 0; i < 100 && tally->count < count; i++)
        turn(ends, 1);
    assert_int_equal(tally->count, count);
}

static void delays_let_tags_overtake_each_other(void **state) {
    (void)state;
    int overtaken = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct ends ends = open_ends((struct comm_local_setup){.size = 2, .seed = seed, .most_delay = 9});
        struct comm_tally tally = {0};
        send_and_watch(&ends, (uint32_t[]){1, 2}, 2, &tally);
        overtaken += tally.tags[0] == 2;
        close_ends(&ends);
    }
    assert_in_range(overtaken, 3, 17);
}

static void a_length_is_that_of_the_message(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed <= 10; seed++) {
        struct ends ends = open_ends((struct comm_local_setup){.size = 2, .seed = seed, .most_delay = 9});
        char first[8] = "", second[8] = "";
        struct note a = {0}, b = {0};
        assert_int_equal(comm_send(ends.of[0], 1, 3, "one", 4, NULL, NULL), HYSGD_OK);
        assert_int_equal(comm_send(ends.of[0], 1, 3, "second", 7, NULL, NULL), HYSGD_OK);
        assert_int_equal(comm_receive(ends.of[1], 0, 3, first, 8, note, &a), HYSGD_OK);
        assert_int_equal(comm_receive(ends.of[1], 0, 3, second, 8, note, &b), HYSGD_OK);
        turn(&ends, 20);
        assert_int_equal(a.bytes, 4);
        assert_int_equal(b.bytes, 7);
        assert_string_equal(second, "second");
        close_ends(&ends);
    }
}

static void a_long_send_is_not_done_before_it_is_received(void **state) {
    (void)state;
    static char sent[5000], got[5000];
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    struct note sender = {0};
    assert_int_equal(comm_send(ends.of[0], 1, 1, sent, sizeof sent, note, &sender), HYSGD_OK);
    turn(&ends, 5);
    assert_int_equal(sender.count, 0);
    assert_int_equal(comm_receive(ends.of[1], 0, 1, got, sizeof got, NULL, NULL), HYSGD_OK);
    turn(&ends, 2);
    assert_int_equal(sender.count, 1);
    close_ends(&ends);
}

static void a_killed_rank_can_do_nothing(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    char byte = 0;
    assert_false(comm_peer_has_died(ends.of[0], 1));
    comm_local_kill(ends.of[0], 1);
    assert_int_equal(comm_send(ends.of[1], 0, 1, &byte, 1, NULL, NULL), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "rank 1 was killed");
    assert_int_equal(comm_receive(ends.of[1], 0, 1, &byte, 1, NULL, NULL), HYSGD_FAILED);
    assert_int_equal(comm_progress(ends.of[1], NULL), HYSGD_FAILED);
    assert_int_equal(comm_send(ends.of[0], 1, 1, &byte, 1, NULL, NULL), HYSGD_OK);
    assert_true(comm_peer_has_died(ends.of[0], 1));
    close_ends(&ends);
}

static void what_was_only_in_the_memory_of_the_dead_is_lost(void **state) {
    (void)state;
    static char sent[5000], got[5000];
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    struct note small = {0}, large = {0};
    assert_int_equal(comm_send(ends.of[1], 0, 1, sent, 10, NULL, NULL), HYSGD_OK);
    assert_int_equal(comm_send(ends.of[1], 0, 2, sent, 5000, NULL, NULL), HYSGD_OK);
    comm_local_kill(ends.of[0], 1);
    assert_int_equal(comm_receive(ends.of[0], 1, 1, got, sizeof got, note, &small), HYSGD_OK);
    assert_int_equal(comm_receive(ends.of[0], 1, 2, got, sizeof got, note, &large), HYSGD_OK);
    assert_int_equal(comm_progress(ends.of[0], NULL), HYSGD_OK);
    assert_int_equal(small.count, 1);
    assert_int_equal(large.count, 0);
    close_ends(&ends);
}

static void deaths_can_be_hidden_as_between_hosts(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2, .hides_deaths = true});
    comm_local_kill(ends.of[0], 1);
    assert_false(comm_peer_has_died(ends.of[0], 1));
    close_ends(&ends);
}

static void a_frozen_rank_neither_sends_nor_receives_until_thawed(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    char byte[2] = {1, 2}, got[2] = {0};
    struct note here = {0}, there = {0};
    assert_int_equal(comm_receive(ends.of[0], 1, 1, &got[0], 1, note, &here), HYSGD_OK);
    assert_int_equal(comm_receive(ends.of[1], 0, 1, &got[1], 1, note, &there), HYSGD_OK);
    comm_local_freeze(ends.of[0], 1, true);
    assert_int_equal(comm_send(ends.of[1], 0, 1, &byte[0], 1, NULL, NULL), HYSGD_OK);
    assert_int_equal(comm_send(ends.of[0], 1, 1, &byte[1], 1, NULL, NULL), HYSGD_OK);
    turn(&ends, 10);
    assert_int_equal(here.count + there.count, 0);
    assert_false(comm_peer_has_died(ends.of[0], 1));
    comm_local_freeze(ends.of[0], 1, false);
    turn(&ends, 2);
    assert_int_equal(here.count, 1);
    assert_int_equal(there.count, 1);
    close_ends(&ends);
}

static void nobody_is_told_after_close(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 1});
    char byte = 0;
    struct note never = {0};
    assert_int_equal(comm_receive(ends.of[0], 0, 1, &byte, 1, note, &never), HYSGD_OK);
    assert_int_equal(comm_send(ends.of[0], 0, 1, "x", 1, note, &never), HYSGD_OK);
    comm_close(ends.of[0], true);
    assert_int_equal(never.count, 0);
}

static void who_is_still_awaited_at_the_end_is_named(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    int left = 0;
    assert_int_equal(comm_leave(ends.of[0], 0), 1);
    assert_int_equal(comm_leave(ends.of[1], 0), 0);
    for (int i = 0; i < 100 && left < 2; i++) /* in turns, as both are of this thread */
        left = (comm_leave(ends.of[0], 1e-3) < 0) + (comm_leave(ends.of[1], 1e-3) < 0);
    assert_int_equal(left, 2);
    close_ends(&ends);
}

static void wrong_ranks_and_tags_are_refused(void **state) {
    (void)state;
    struct ends ends = open_ends((struct comm_local_setup){.size = 2});
    char byte[4] = "";
    assert_int_equal(comm_send(ends.of[0], 2, 1, byte, 1, NULL, NULL), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "sending to rank 2: ranks are 0 to 1");
    assert_int_equal(comm_receive(ends.of[0], -1, 1, byte, 1, NULL, NULL), HYSGD_FAILED);
    assert_int_equal(comm_receive(ends.of[0], 1, COMM_TAG_END, byte, 1, NULL, NULL), HYSGD_FAILED);
    assert_string_equal(hysgd_error_message(), "receiving from rank 1: the tag 67108864 is not below 67108864");
    close_ends(&ends);
}

/* Every request for memory fails once: each is a status, and nothing is lost or freed twice. */
static enum hysgd_status open_and_exchange(void) {
    struct comm_local_setup setup = {.size = 1};
    struct comm *end;
    char byte = 0;
    HYSGD_TRY(comm_local_open(&setup, &end));
    enum hysgd_status status = comm_receive(end, 0, 1, &byte, 1, NULL, NULL);
    if (status == HYSGD_OK)
        status = comm_send(end, 0, 1, "x", 1, NULL, NULL);
    if (status == HYSGD_OK)
        status = comm_progress(end, NULL);
    comm_close(end, true);
    return status;
}

static void each_lack_of_memory_is_a_status(void **state) {
    (void)state;
    size_t used = memory_used();
    uint64_t n = 0;
    enum hysgd_status status;
    do {
        memory_fail_at(++n);
        status = open_and_exchange();
        memory_fail_at(0);
        assert_int_equal(memory_used(), used);
    } while (status == HYSGD_MEMORY);
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_arrives_whole_and_both_are_told),
        cmocka_unit_test(threads_agree_on_every_common_case),
        cmocka_unit_test(they_agree_with_delayed_messages_too),
        cmocka_unit_test(delays_let_tags_overtake_each_other),
        cmocka_unit_test(a_length_is_that_of_the_message),
        cmocka_unit_test(a_long_send_is_not_done_before_it_is_received),
        cmocka_unit_test(a_killed_rank_can_do_nothing),
        cmocka_unit_test(what_was_only_in_the_memory_of_the_dead_is_lost),
        cmocka_unit_test(deaths_can_be_hidden_as_between_hosts),
        cmocka_unit_test(a_frozen_rank_neither_sends_nor_receives_until_thawed),
        cmocka_unit_test(nobody_is_told_after_close),
        cmocka_unit_test(who_is_still_awaited_at_the_end_is_named),
        cmocka_unit_test(wrong_ranks_and_tags_are_refused),
        cmocka_unit_test(each_lack_of_memory_is_a_status),
    };
    return cmocka_run_group_tests_name("comm_local", tests, NULL, NULL);
}
