/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between threads: order, lengths, collectives, and what a death, a stop and a delay do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/random.h"
#include "runtime/comm_local.h"

#define MOST_RANKS 4

struct ends {
    struct comm *of[MOST_RANKS];
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_message_arrives_whole_and_both_are_told)};
    return cmocka_run_group_tests_name("comm_local", tests, NULL, NULL);
}
