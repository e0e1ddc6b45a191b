/* SPDX-License-Identifier: Apache-2.0 */
/* What every implementation of comm.h must do: cases that all ranks of a group run at once, each in its process or
 * thread. A case says what is wrong by comm_wrong, in any of the ranks. */
#ifndef HYSGD_TESTS_RUNTIME_COMM_CASES_H
#define HYSGD_TESTS_RUNTIME_COMM_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/comm.h"

#define COMM_MOST_RANKS 4

/* One rank of a case. */
struct comm_rank_run {
    struct comm *comm;
    void (*die)(struct comm *comm); /* ends the rank as kill -9 does; may return where the rank is a thread */
    int wrongs;
};

#define COMM_EXPECT(run, condition)                                                                                \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            (run)->wrongs++;                                                                                       \
            fprintf(stderr, "%s:%d: rank %d: not so: %s\n", __FILE__, __LINE__, comm_rank((run)->comm),            \
                    #condition);                                                                                   \
        }                                                                                                          \
    } while (0)

struct comm_tally {
    int count;
    size_t bytes;
    uint32_t tags[64];
    bool is_too_long;
};

static inline void comm_count(void *self, const struct comm_completion *completion, size_t bytes) {
    struct comm_tally *tally = self;
    tally->tags[tally->count++ % 64] = completion->tag;
    tally->is_too_long = tally->is_too_long || bytes == COMM_TOO_LONG;
    tally->bytes += bytes;
}

/* Makes progress until so many completions were counted, or the rank cannot go on. */
static inline void comm_await(struct comm_rank_run *run, const struct comm_tally *tally, int count) {
    while (tally->count < count) {
        int completed = 0;
        if (comm_progress(run->comm, &completed) != HYSGD_OK) {
            run->wrongs++;
            return;
        }
        if (completed == 0)
            comm_rest(run->comm);
    }
}

/* The byte at a place of a message; every message has its own pattern. */
static inline char comm_byte(int from, int to, int number, size_t i) {
    return (char)(from * 31 + to * 17 + number * 5 + (int)(i * 7 % 251));
}

static inline char *comm_message(int from, int to, int number, size_t bytes) {
    char *data = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        data[i] = comm_byte(from, to, number, i);
    return data;
}

static inline bool comm_is_message(const char *data, int from, int to, int number, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != comm_byte(from, to, number, i))
            return false;
    return true;
}

#define COMM_LENGTHS 7
static const size_t comm_lengths[COMM_LENGTHS] = {0, 1, 64, 4096, 4097, 70000, 3000000};

/* Everybody sends to everybody, the own rank too, messages of growing and of falling length under two tags. */
static inline void comm_messages_of_every_length_arrive_in_order(struct comm_rank_run *run) {
    struct comm *comm = run->comm;
    int rank = comm_rank(comm), size = comm_size(comm);
    char *sent[COMM_MOST_RANKS][2 * COMM_LENGTHS], *got[COMM_MOST_RANKS][2 * COMM_LENGTHS];
    struct comm_tally sends = {0}, receives = {0};
    for (int i = 0; i < size; i++)
        for (int k = 0; k < 2 * COMM_LENGTHS; k++) {
            got[i][k] = malloc(comm_lengths[COMM_LENGTHS - 1]);
            COMM_EXPECT(run, comm_receive(comm, i, 5 + (uint32_t)k % 2, got[i][k], comm_lengths[COMM_LENGTHS - 1],
                                          comm_count, &receives) == HYSGD_OK);
        }
    for (int i = 0; i < size; i++)
        for (int k = 0; k < 2 * COMM_LENGTHS; k++) {
            size_t bytes = comm_lengths[k % 2 == 0 ? k / 2 : COMM_LENGTHS - 1 - k / 2];
            sent[i][k] = comm_message(rank, i, k, bytes);
            COMM_EXPECT(run,
                        comm_send(comm, i, 5 + (uint32_t)k % 2, sent[i][k], bytes, comm_count, &sends) == HYSGD_OK);
        }
    comm_await(run, &sends, size * 2 * COMM_LENGTHS);
    comm_await(run, &receives, size * 2 * COMM_LENGTHS);
    for (int i = 0; i < size; i++)
        for (int k = 0; k < 2 * COMM_LENGTHS; k++) {
            size_t bytes = comm_lengths[k % 2 == 0 ? k / 2 : COMM_LENGTHS - 1 - k / 2];
            COMM_EXPECT(run, comm_is_message(got[i][k], i, rank, k, bytes));
            free(got[i][k]);
            free(sent[i][k]);
        }
}

/* A ball that goes around the ranks from one `done` to the next. */
struct comm_ball {
    struct comm_rank_run *run;
    struct comm_tally seen, sent;
    int throws;
    int64_t value, thrown;
};

static inline void comm_throw(struct comm_ball *ball) {
    struct comm *comm = ball->run->comm;
    ball->thrown = ball->value + 1;
    COMM_EXPECT(ball->run, comm_send(comm, (comm_rank(comm) + 1) % comm_size(comm), 9, &ball->thrown,
                                     sizeof ball->thrown, comm_count, &ball->sent) == HYSGD_OK);
}

static inline void comm_catch(void *self, const struct comm_completion *completion, size_t bytes) {
    struct comm_ball *ball = self;
    struct comm *comm = ball->run->comm;
    COMM_EXPECT(ball->run, bytes == sizeof ball->value && completion->tag == 9);
    COMM_EXPECT(ball->run, ball->value == (int64_t)ball->seen.count * comm_size(comm) +
                                              (comm_rank(comm) == 0 ? comm_size(comm) : comm_rank(comm)));
    ball->seen.count++;
    if (ball->seen.count < ball->throws)
        COMM_EXPECT(ball->run, comm_receive(comm, completion->from_or_to, 9, &ball->value, sizeof ball->value,
                                            comm_catch, ball) == HYSGD_OK);
    if (comm_rank(comm) != 0 || ball->seen.count < ball->throws)
        comm_throw(ball);
}

static inline void comm_what_is_done_can_begin_the_next(struct comm_rank_run *run) {
    struct comm *comm = run->comm;
    int size = comm_size(comm), before = (comm_rank(comm) + size - 1) % size;
    struct comm_ball ball = {.run = run, .throws = 300};
    COMM_EXPECT(run, comm_receive(comm, before, 9, &ball.value, sizeof ball.value, comm_catch, &ball) == HYSGD_OK);
    if (comm_rank(comm) == 0)
        comm_throw(&ball);
    comm_await(run, &ball.seen, ball.throws);
    comm_await(run, &ball.sent, ball.throws);
}

/* Short messages of others only: Open MPI 4.1 tells nothing of the own, and writes beyond the end where a long one
 * comes through shared memory. */
static inline void comm_a_message_that_is_too_long_is_told(struct comm_rank_run *run) {
    struct comm *comm = run->comm;
    int size = comm_size(comm), next = (comm_rank(comm) + 1) % size, before = (comm_rank(comm) + size - 1) % size;
    char sent[100] = "", got[24] = "", after = 0;
    if (size == 1)
        return;
    struct comm_tally received = {0}, following = {0}, sends = {0};
    COMM_EXPECT(run, comm_receive(comm, before, 1, got, 8, comm_count, &received) == HYSGD_OK);
    COMM_EXPECT(run, comm_receive(comm, before, 1, &after, 1, comm_count, &following) == HYSGD_OK);
    COMM_EXPECT(run, comm_send(comm, next, 1, sent, sizeof sent, comm_count, &sends) == HYSGD_OK);
    COMM_EXPECT(run, comm_send(comm, next, 1, "x", 1, comm_count, &sends) == HYSGD_OK);
    comm_await(run, &received, 1);
    comm_await(run, &following, 1);
    comm_await(run, &sends, 2);
    COMM_EXPECT(run, received.is_too_long && !following.is_too_long && after == 'x');
    COMM_EXPECT(run, memcmp(got + 8, (char[16]){0}, 16) == 0);
}

/* The last rank dies with messages under way in both directions; the others see it, give it up and go on. */
static inline void comm_the_living_go_on_after_a_death(struct comm_rank_run *run) {
    struct comm *comm = run->comm;
    int rank = comm_rank(comm), size = comm_size(comm), dead = size - 1;
    enum { BYTES = 400000 };
    static char ignored[COMM_MOST_RANKS][BYTES], sent[COMM_MOST_RANKS][BYTES];
    struct comm_tally never = {0};
    for (int i = 0; i < size; i++)
        if (i != rank && (i == dead || rank == dead))
            COMM_EXPECT(run, comm_send(comm, i, 1, sent[rank], BYTES, NULL, NULL) == HYSGD_OK);
    if (rank == dead) {
        run->die(comm);
        return;
    }
    COMM_EXPECT(run, comm_receive(comm, dead, 2, ignored[rank], BYTES, comm_count, &never) == HYSGD_OK);
    while (!comm_peer_has_died(comm, dead)) {
        COMM_EXPECT(run, comm_progress(comm, NULL) == HYSGD_OK);
        comm_rest(comm);
    }
    comm_abandon(comm, dead);
    COMM_EXPECT(run, comm_is_abandoned(comm, dead) && !comm_is_abandoned(comm, rank));
    COMM_EXPECT(run, comm_send(comm, dead, 3, sent[rank], BYTES, comm_count, &never) == HYSGD_OK);
    struct comm_tally tally = {0};
    for (int i = 0; i < dead; i++) {
        COMM_EXPECT(run, comm_receive(comm, i, 4, ignored[rank], BYTES, comm_count, &tally) == HYSGD_OK);
        COMM_EXPECT(run, comm_send(comm, i, 4, sent[rank], BYTES, comm_count, &tally) == HYSGD_OK);
    }
    comm_await(run, &tally, 2 * dead);
    COMM_EXPECT(run, never.count == 0);
}

struct comm_case {
    const char *name;
    void (*run)(struct comm_rank_run *run);
    bool has_death;
};

#define COMM_CASE(name) #name, comm_##name
static const struct comm_case comm_cases[] = {
    {COMM_CASE(messages_of_every_length_arrive_in_order), false},
    {COMM_CASE(what_is_done_can_begin_the_next), false},
    {COMM_CASE(a_message_that_is_too_long_is_told), false},
    {COMM_CASE(the_living_go_on_after_a_death), true},
};
#define COMM_CASES (sizeof comm_cases / sizeof *comm_cases)

#endif
