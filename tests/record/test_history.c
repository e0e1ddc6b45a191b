/* SPDX-License-Identifier: Apache-2.0 */
/* The history: its curves and timelines keep their size and their totals whatever the run's length. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "record/history.h"
#include "samples.h"

static struct history *begin_history(int workers) {
    struct history *history;
    struct event_run run = sample_run;
    run.workers = workers;
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    assert_int_equal(sink_history.begin(history, &run), HYSGD_OK);
    return history;
}

static void feed(struct history *history, struct event event) {
    assert_int_equal(sink_history.event(history, &event), HYSGD_OK);
}

static void end_history(struct history *history, double seconds) {
    struct event_summary summary = sample_summary;
    summary.seconds = seconds;
    assert_int_equal(sink_history.end(history, &summary), HYSGD_OK);
}

static double total(const struct timeline_worker *worker, enum timeline_activity activity) {
    double sum = 0;
    for (size_t i = 0; i < worker->count; i++)
        sum += worker->records[i].seconds[activity];
    return sum;
}

static void a_gradient_is_followed_through_its_activities(void **state) {
    (void)state;
    struct history *history = begin_history(2);
    struct event arrival = sample_arrival(1, 6, 3, 1, 0.5);
    arrival.arrival.queue_seconds = 1;
    feed(history, sample_start(1, 1, 0));
    feed(history, arrival);
    feed(history, sample_start(1, 8.5, 1));
    end_history(history, 10);
    const struct timeline_worker *worker = &history->timeline.kept[1];
    assert_int_equal(worker->count, 2);
    assert_true(worker->records[0].begin == 1 && worker->records[0].end == 8.5);
    const double expected[TIMELINE_ACTIVITIES] = {
        [TIMELINE_COMPUTING] = 3, [TIMELINE_IN_TRANSIT] = 1, [TIMELINE_QUEUED] = 1, [TIMELINE_WAITING] = 2.5};
    assert_memory_equal(worker->records[0].seconds, expected, sizeof expected);
    assert_true(worker->records[1].end == 10); /* cut off at the end of the run */
    assert_true(worker->records[1].seconds[TIMELINE_COMPUTING] == 1.5);
    assert_int_equal(history->timeline.kept[0].count, 0);
    history_free(history);
}

static void the_way_is_divided_where_its_parts_are_known(void **state) {
    (void)state;
    struct history *history = begin_history(1);
    struct event arrival = sample_arrival(0, 8, 4, 2, 0.5);
    arrival.arrival.queue_seconds = 1;
    arrival.arrival.pull_seconds = 0.5;
    arrival.arrival.push_seconds = 1.25;
    feed(history, sample_start(0, 1, 0));
    feed(history, arrival);
    end_history(history, 8);
    const double expected[TIMELINE_ACTIVITIES] = {[TIMELINE_PULLING] = 0.5,
                                                  [TIMELINE_COMPUTING] = 4,
                                                  [TIMELINE_PUSHING] = 1.25,
                                                  [TIMELINE_CONFIRMING] = 0.25,
                                                  [TIMELINE_QUEUED] = 1};
    assert_memory_equal(history->timeline.kept[0].records[0].seconds, expected, sizeof expected);
    history_free(history);
}

static void estimates_become_curves_and_a_lost_signal_has_no_ratio(void **state) {
    (void)state;
    struct history *history = begin_history(1);
    struct event event = {.kind = EVENT_ESTIMATE,
                          .worker = -1,
                          .seconds = 1,
                          .estimate = {.noise = 6, .signal = 2, .gain = 0.5, .cutoff = (double)NAN}};
    feed(history, event);
    event.estimate.signal = -1;
    feed(history, event);
    assert_int_equal(history->ratio.buckets[CURVE_BUCKETS / 2].count, 1);
    assert_true(history->ratio.buckets[CURVE_BUCKETS / 2].sum == 3);
    assert_int_equal(history->gain.buckets[CURVE_BUCKETS / 2].count, 2);
    assert_true(history->cutoff.width == 0);
    history_free(history);
}

static void a_gradient_that_is_given_up_is_a_span_of_its_own(void **state) {
    (void)state;
    struct history *history = begin_history(1);
    feed(history, sample_start(0, 1, 0));
    feed(history, (struct event){.kind = EVENT_ABANDONED,
                                 .seconds = 4.5,
                                 .abandoned = {.spent_seconds = 3, .queue_seconds = 0.5}});
    feed(history, sample_start(0, 5, 1));
    end_history(history, 6);
    const struct timeline_worker *worker = &history->timeline.kept[0];
    assert_int_equal(worker->count, 2);
    const double expected[TIMELINE_ACTIVITIES] = {
        [TIMELINE_ABANDONED] = 3, [TIMELINE_QUEUED] = 0.5, [TIMELINE_WAITING] = 0.5};
    assert_memory_equal(worker->records[0].seconds, expected, sizeof expected);
    assert_true(worker->records[0].end == 5);
    history_free(history);
}

static void a_worker_that_was_away_has_a_gap(void **state) {
    (void)state;
    struct history *history = begin_history(2);
    feed(history, sample_start(0, 0, 0));
    feed(history, (struct event){.kind = EVENT_LOST, .worker = 0, .seconds = 2});
    feed(history, (struct event){.kind = EVENT_JOINED, .worker = 0, .seconds = 7});
    feed(history, sample_start(0, 8, 0));
    end_history(history, 10);
    const struct timeline_worker *worker = &history->timeline.kept[0];
    assert_int_equal(worker->count, 2);
    assert_true(worker->records[0].end == 2 && worker->records[1].begin == 8);
    assert_true(total(worker, TIMELINE_COMPUTING) == 4);
    history_free(history);
}

static void an_arrival_without_a_start_begins_when_its_computing_did(void **state) {
    (void)state;
    struct history *history = begin_history(2);
    feed(history, sample_arrival(0, 5, 2, 1, 0.5));
    feed(history, sample_arrival(0, 9, 2, 1, 0.5));
    end_history(history, 9);
    const struct timeline_worker *worker = &history->timeline.kept[0];
    assert_int_equal(worker->count, 2);
    assert_true(worker->records[0].begin == 2 && worker->records[0].end == 6);
    assert_true(total(worker, TIMELINE_WAITING) == 1);
    history_free(history);
}

#define MANY 1000000 /* gradients, two events each */

/* Durations are multiples of 1/8, so that their sums are exact. */
static void two_million_events_keep_totals_in_a_bounded_size(void **state) {
    (void)state;
    struct history *history = begin_history(4);
    size_t used = memory_used();
    for (uint64_t i = 0; i < MANY / 4; i++) {
        double begin = (double)i;
        for (int worker = 0; worker < 4; worker++)
            feed(history, sample_start(worker, begin, 3));
        for (int worker = 0; worker < 4; worker++)
            feed(history, sample_arrival(worker, begin + 0.75, 0.5, 0.25, i % 2 == 0 ? 1 : 3));
    }
    assert_int_equal(memory_used(), used);
    end_history(history, MANY / 4);
    size_t records = 0;
    for (int i = 0; i < 4; i++) {
        const struct timeline_worker *worker = &history->timeline.kept[i];
        records += worker->count;
        assert_true(total(worker, TIMELINE_COMPUTING) == 0.5 * (MANY / 4));
        assert_true(total(worker, TIMELINE_IN_TRANSIT) == 0.25 * (MANY / 4));
        assert_true(total(worker, TIMELINE_WAITING) == 0.25 * (MANY / 4));
        assert_true(worker->records[0].begin == 0 && worker->records[worker->count - 1].end == MANY / 4);
    }
    assert_true(records > TIMELINE_MOST_RECORDS / 3 && records <= TIMELINE_MOST_RECORDS);
    uint64_t losses = 0;
    for (size_t i = 0; i < CURVE_BUCKETS; i++) {
        const struct bucket *bucket = &history->loss.buckets[i];
        losses += bucket->count;
        if (bucket->count > 0)
            assert_true(bucket->least == 1 && bucket->most == 3);
    }
    assert_int_equal(losses, MANY);
    history_free(history);
}

static void of_many_workers_every_nth_is_kept(void **state) {
    (void)state;
    struct history *history = begin_history(1200);
    assert_int_equal(history->timeline.stride, 3);
    assert_int_equal(history->timeline.kept_count, 400);
    for (int worker = 0; worker < 1200; worker++)
        feed(history, sample_start(worker, worker, 0));
    feed(history, sample_start(1200, 1, 0)); /* not of this run: passed over */
    feed(history, sample_start(-1, 1, 0));
    end_history(history, 2000);
    assert_true(history->timeline.kept[399].records[0].begin == 1197);
    history_free(history);
}

static void buckets_widen_with_the_run(void **state) {
    (void)state;
    struct curve *curve = calloc(1, sizeof *curve);
    curve->origin = 100;
    curve_add(curve, 100, 7);
    for (int i = 0; i <= 1000; i++)
        curve_add(curve, 100 + 1e-6 * i, 1);
    curve_add(curve, 90, 7); /* before the origin: counts as at it */
    curve_add(curve, 1e9, 5);
    curve_add(curve, 2e9, (double)NAN);
    curve_add(curve, (double)INFINITY, 1);
    assert_int_equal(curve->buckets[0].count, 1003);
    assert_true(curve->buckets[0].least == 1 && curve->buckets[0].most == 7);
    uint64_t count = 0;
    for (size_t i = 0; i < CURVE_BUCKETS; i++)
        count += curve->buckets[i].count;
    assert_int_equal(count, 1004);
    free(curve);
}

static void the_smallest_and_largest_times_end(void **state) {
    (void)state;
    struct curve *curve = calloc(1, sizeof *curve);
    curve_add(curve, 5e-324, 1);
    curve_add(curve, 1e308, 2);
    uint64_t count = 0;
    for (size_t i = 0; i < CURVE_BUCKETS; i++)
        count += curve->buckets[i].count;
    assert_int_equal(count, 2);
    free(curve);
}

static void steps_keep_changes_only(void **state) {
    (void)state;
    struct steps *steps = calloc(1, sizeof *steps);
    for (int i = 0; i < 100; i++)
        steps_add(steps, i, i / 10);
    assert_int_equal(steps->count, 10);
    assert_true(steps->steps[3].seconds == 30 && steps->steps[3].value == 3);
    free(steps);
}

static void steps_stay_bounded_and_end_at_the_last_value(void **state) {
    (void)state;
    struct steps *steps = calloc(1, sizeof *steps);
    for (int i = 0; i < 1000000; i++)
        steps_add(steps, i * 0.25, i);
    assert_true(steps->count > STEPS_MOST / 3 && steps->count <= STEPS_MOST);
    assert_true(steps->steps[0].seconds == 0);
    assert_true(steps->steps[steps->count - 1].value == 999999);
    for (size_t i = 1; i < steps->count; i++)
        assert_true(steps->steps[i].seconds > steps->steps[i - 1].seconds);
    free(steps);
}

static void evaluations_are_thinned_evenly_and_keep_the_last(void **state) {
    (void)state;
    struct points *points = calloc(1, sizeof *points);
    for (uint64_t i = 0; i < 50001; i++)
        points_add(points, &(struct point){.seconds = (double)i});
    assert_true(points->count > POINTS_MOST / 3 && points->count <= POINTS_MOST);
    for (size_t i = 0; i < points->count; i++)
        assert_true(points->points[i].seconds == (double)(i * points->stride));
    assert_true(points->last.seconds == 50000);
    free(points);
}

static void gradients_are_counted_on_from_a_resumed_run(void **state) {
    (void)state;
    struct history *history;
    struct event_run run = sample_run;
    run.first_received = 40;
    run.first_seconds = 10;
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    assert_int_equal(sink_history.begin(history, &run), HYSGD_OK);
    feed(history, sample_arrival(0, 11, 1, 0, (double)NAN)); /* no loss, and yet a gradient */
    feed(history, sample_arrival(1, 14, 1, 0, 0.5));
    assert_int_equal(history->received, 42);
    const struct bucket *last = &history->gradients.buckets[(size_t)(4 / history->gradients.width)];
    assert_true(last->count == 1 && last->sum == 42 && last->seconds_sum == 14);
    assert_true(history->gradients.origin == 10);
    history_free(history);
}

static void a_name_is_a_copy_that_a_new_run_forgets(void **state) {
    (void)state;
    struct history *history = begin_history(1);
    char name[] = "one.hylog";
    assert_int_equal(history_name(history, name), HYSGD_OK);
    name[0] = 'x';
    assert_string_equal(history->source, "one.hylog");
    assert_int_equal(sink_history.begin(history, &sample_run), HYSGD_OK);
    assert_null(history->source);
    history_free(history);
}

static void texts_of_the_run_are_copies(void **state) {
    (void)state;
    char title[] = "title", reason[] = "epochs", name[] = "RMSE";
    struct history *history;
    struct event_run run = sample_run;
    struct event_summary summary = sample_summary;
    run.title = title;
    run.loss_name = run.accuracy_name = name;
    summary.reason = reason;
    assert_int_equal(history_alloc(&history), HYSGD_OK);
    assert_int_equal(sink_history.begin(history, &run), HYSGD_OK);
    assert_int_equal(sink_history.end(history, &summary), HYSGD_OK);
    title[0] = reason[0] = name[0] = '#';
    assert_string_equal(history->run.title, "title");
    assert_string_equal(history->run.loss_name, "RMSE");
    assert_string_equal(history->run.accuracy_name, "RMSE");
    assert_string_equal(history->run.description[0][1], "threshold,step=300");
    assert_string_equal(history->summary.reason, "epochs");
    assert_int_equal(history->summary.accounts[0].dropped, 10);
    history_free(history);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    size_t before = memory_used();
    uint64_t n = 1;
    for (;; n++) {
        struct history *history = NULL;
        memory_fail_at(n);
        enum hysgd_status status = history_alloc(&history);
        if (status == HYSGD_OK)
            status = sink_history.begin(history, &sample_run);
        if (status == HYSGD_OK)
            status = sink_history.end(history, &sample_summary);
        memory_fail_at(0);
        history_free(history);
        assert_int_equal(memory_used(), before);
        if (status == HYSGD_OK)
            break;
        assert_int_equal(status, HYSGD_MEMORY);
    }
    assert_true(n > 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gradient_is_followed_through_its_activities),
        cmocka_unit_test(the_way_is_divided_where_its_parts_are_known),
        cmocka_unit_test(estimates_become_curves_and_a_lost_signal_has_no_ratio),
        cmocka_unit_test(a_gradient_that_is_given_up_is_a_span_of_its_own),
        cmocka_unit_test(a_worker_that_was_away_has_a_gap),
        cmocka_unit_test(an_arrival_without_a_start_begins_when_its_computing_did),
        cmocka_unit_test(two_million_events_keep_totals_in_a_bounded_size),
        cmocka_unit_test(of_many_workers_every_nth_is_kept),
        cmocka_unit_test(buckets_widen_with_the_run),
        cmocka_unit_test(the_smallest_and_largest_times_end),
        cmocka_unit_test(steps_keep_changes_only),
        cmocka_unit_test(steps_stay_bounded_and_end_at_the_last_value),
        cmocka_unit_test(evaluations_are_thinned_evenly_and_keep_the_last),
        cmocka_unit_test(gradients_are_counted_on_from_a_resumed_run),
        cmocka_unit_test(a_name_is_a_copy_that_a_new_run_forgets),
        cmocka_unit_test(texts_of_the_run_are_copies),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
