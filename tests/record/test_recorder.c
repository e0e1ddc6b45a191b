/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder: order, the full ring, two threads, and sinks that fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "base/memory.h"
#include "record/recorder.h"
#include "samples.h"

/* Checks that versions count 0, 1, 2, ... and notes what was called. */
struct witness {
    uint64_t next;
    int begun, pulses, flushed, ended;
    uint64_t seen_by_flush; /* events before the latest one */
    bool is_out_of_order;
    enum hysgd_status answer; /* of begin, event or end, from version `fails_at` on */
    uint64_t fails_at;
};

static enum hysgd_status answer(const struct witness *witness, const char *where) {
    if (witness->answer == HYSGD_OK || witness->next < witness->fails_at)
        return HYSGD_OK;
    return hysgd_fail(witness->answer, "the witness fails in %s", where);
}

static enum hysgd_status witness_begin(void *self, const struct event_run *run) {
    (void)run;
    struct witness *witness = self;
    witness->begun++;
    return answer(witness, "begin");
}

static enum hysgd_status witness_event(void *self, const struct event *event) {
    struct witness *witness = self;
    witness->is_out_of_order |= event->version != witness->next;
    witness->next++;
    return answer(witness, "event");
}

static enum hysgd_status witness_pulse(void *self, double seconds) {
    (void)seconds;
    ((struct witness *)self)->pulses++;
    return HYSGD_OK;
}

static enum hysgd_status witness_end(void *self, const struct event_summary *summary) {
    (void)summary;
    struct witness *witness = self;
    witness->ended++;
    return answer(witness, "end");
}

static enum hysgd_status witness_flush(void *self) {
    struct witness *witness = self;
    witness->flushed++;
    witness->seen_by_flush = witness->next;
    return answer(witness, "flush");
}

static const struct sink_ops sink_witness = {.begin = witness_begin,
                                             .event = witness_event,
                                             .pulse = witness_pulse,
                                             .flush = witness_flush,
                                             .end = witness_end};

static struct recorder *open_recorder(size_t capacity, struct witness *witness) {
    struct recorder *recorder;
    assert_int_equal(recorder_alloc(capacity, &recorder), HYSGD_OK);
    assert_int_equal(recorder_add(recorder, &sink_witness, witness), HYSGD_OK);
    return recorder;
}

static bool emit_version(struct recorder *recorder, uint64_t version) {
    struct event event = sample_start(0, 0, version);
    return recorder_emit(recorder, &event);
}

static void events_reach_every_sink_in_order(void **state) {
    (void)state;
    struct witness first = {0}, second = {0};
    struct recorder *recorder = open_recorder(8, &first);
    assert_int_equal(recorder_add(recorder, &sink_witness, &second), HYSGD_OK);
    assert_int_equal(recorder_begin(recorder, &sample_run), HYSGD_OK);
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(emit_version(recorder, i));
        if (i % 5 == 4)
            assert_int_equal(recorder_drain(recorder, 0), HYSGD_OK);
    }
    assert_int_equal(recorder_end(recorder, &sample_summary), HYSGD_OK);
    assert_int_equal(first.next, 20);
    assert_int_equal(second.next, 20);
    assert_false(first.is_out_of_order || second.is_out_of_order);
    assert_int_equal(first.begun + second.begun, 2);
    assert_int_equal(first.pulses, 4);
    assert_int_equal(second.ended, 1);
    recorder_free(recorder);
}

static void a_flush_comes_after_all_events_before_it(void **state) {
    (void)state;
    struct witness witness = {0};
    struct recorder *recorder = open_recorder(8, &witness);
    for (uint64_t i = 0; i < 3; i++)
        assert_true(emit_version(recorder, i));
    assert_int_equal(recorder_flush(recorder, 0), HYSGD_OK);
    assert_int_equal(witness.flushed, 1);
    assert_int_equal(witness.seen_by_flush, 3);
    assert_int_equal(recorder_end(recorder, &sample_summary), HYSGD_OK);
    recorder_free(recorder);
}

static void a_full_ring_refuses_and_loses_nothing(void **state) {
    (void)state;
    struct witness witness = {0};
    struct recorder *recorder = open_recorder(5, &witness); /* rounded up to 8 */
    uint64_t taken = 0;
    while (emit_version(recorder, taken))
        taken++;
    assert_int_equal(taken, 8);
    assert_int_equal(recorder_drain(recorder, 0), HYSGD_OK);
    assert_true(emit_version(recorder, 8));
    assert_int_equal(recorder_end(recorder, &sample_summary), HYSGD_OK);
    assert_int_equal(witness.next, 9);
    assert_false(witness.is_out_of_order);
    recorder_free(recorder);
}

static void a_ring_of_one_works(void **state) {
    (void)state;
    struct witness witness = {0};
    struct recorder *recorder = open_recorder(0, &witness);
    assert_true(emit_version(recorder, 0));
    assert_false(emit_version(recorder, 1));
    assert_int_equal(recorder_end(recorder, &sample_summary), HYSGD_OK);
    assert_int_equal(witness.next, 1);
    recorder_free(recorder);
}

#define RACED_EVENTS 100000

static void *emit_many(void *recorder) {
    for (uint64_t i = 0; i < RACED_EVENTS; i++)
        while (!emit_version(recorder, i))
            sched_yield();
    return NULL;
}

static void one_thread_emits_while_another_drains(void **state) {
    (void)state;
    struct witness witness = {0};
    struct recorder *recorder = open_recorder(16, &witness);
    pthread_t emitter;
    assert_int_equal(pthread_create(&emitter, NULL, emit_many, recorder), 0);
    while (witness.next < RACED_EVENTS) {
        assert_int_equal(recorder_drain(recorder, 0), HYSGD_OK);
        sched_yield();
    }
    assert_int_equal(pthread_join(emitter, NULL), 0);
    assert_int_equal(witness.next, RACED_EVENTS);
    assert_false(witness.is_out_of_order);
    recorder_free(recorder);
}

static void a_failing_sink_is_closed_and_the_others_go_on(void **state) {
    (void)state;
    struct witness bad = {.answer = HYSGD_OUTPUT, .fails_at = 3}, good = {0};
    struct recorder *recorder = open_recorder(8, &bad);
    assert_int_equal(recorder_add(recorder, &sink_witness, &good), HYSGD_OK);
    for (uint64_t i = 0; i < 6; i++)
        assert_true(emit_version(recorder, i));
    assert_int_equal(recorder_drain(recorder, 0), HYSGD_OUTPUT);
    assert_int_equal(bad.next, 3);
    assert_int_equal(bad.pulses, 0);
    assert_int_equal(good.next, 6);
    status_set_message("something else");
    assert_int_equal(recorder_end(recorder, &sample_summary), HYSGD_OUTPUT);
    assert_string_equal(hysgd_error_message(), "the witness fails in event");
    assert_int_equal(bad.ended, 0);
    assert_int_equal(good.ended, 1);
    recorder_free(recorder);
}

static void the_first_of_several_failures_is_returned(void **state) {
    (void)state;
    struct witness late = {.answer = HYSGD_MEMORY, .fails_at = 4}, early = {.answer = HYSGD_OUTPUT, .fails_at = 2};
    struct recorder *recorder = open_recorder(8, &late);
    assert_int_equal(recorder_add(recorder, &sink_witness, &early), HYSGD_OK);
    for (uint64_t i = 0; i < 6; i++)
        assert_true(emit_version(recorder, i));
    assert_int_equal(recorder_drain(recorder, 0), HYSGD_OUTPUT);
    assert_int_equal(recorder_drain(recorder, 0), HYSGD_OUTPUT);
    assert_int_equal(late.next, 4);
    recorder_free(recorder);
}

static void a_sink_that_cannot_begin_gets_no_events(void **state) {
    (void)state;
    struct witness bad = {.answer = HYSGD_OUTPUT};
    struct recorder *recorder = open_recorder(8, &bad);
    assert_int_equal(recorder_begin(recorder, &sample_run), HYSGD_OUTPUT);
    assert_true(emit_version(recorder, 0));
    assert_int_equal(recorder_drain(recorder, 0), HYSGD_OUTPUT);
    assert_int_equal(bad.next, 0);
    recorder_free(recorder);
}

static void a_ninth_sink_is_refused(void **state) {
    (void)state;
    struct witness witness = {0};
    struct recorder *recorder = open_recorder(8, &witness);
    for (int i = 1; i < RECORDER_MOST_SINKS; i++)
        assert_int_equal(recorder_add(recorder, &sink_witness, &witness), HYSGD_OK);
    assert_int_equal(recorder_add(recorder, &sink_witness, &witness), HYSGD_USAGE);
    recorder_free(recorder);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    size_t before = memory_used();
    struct recorder *recorder = NULL;
    int failures = 0;
    for (uint64_t n = 1; recorder == NULL; n++) {
        memory_fail_at(n);
        enum hysgd_status status = recorder_alloc(64, &recorder);
        memory_fail_at(0);
        if (status == HYSGD_OK)
            break;
        assert_int_equal(status, HYSGD_MEMORY);
        assert_int_equal(memory_used(), before);
        failures++;
    }
    assert_int_equal(failures, 2);
    recorder_free(recorder);
    assert_int_equal(recorder_alloc(SIZE_MAX, &recorder), HYSGD_MEMORY);
    assert_int_equal(memory_used(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_reach_every_sink_in_order),
        cmocka_unit_test(a_flush_comes_after_all_events_before_it),
        cmocka_unit_test(a_full_ring_refuses_and_loses_nothing),
        cmocka_unit_test(a_ring_of_one_works),
        cmocka_unit_test(one_thread_emits_while_another_drains),
        cmocka_unit_test(a_failing_sink_is_closed_and_the_others_go_on),
        cmocka_unit_test(the_first_of_several_failures_is_returned),
        cmocka_unit_test(a_sink_that_cannot_begin_gets_no_events),
        cmocka_unit_test(a_ninth_sink_is_refused),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
