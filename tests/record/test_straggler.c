/* SPDX-License-Identifier: Apache-2.0 */
/* Who held whom up: exact attributions of short histories, and who is named with which cause. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "record/attribution.h"
#include "record/straggler.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct event start(int worker, double seconds, uint64_t version) {
    return (struct event){.kind = EVENT_START, .worker = worker, .seconds = seconds, .version = version};
}

static struct event arrival(int worker, double seconds, uint64_t version, double queue) {
    return (struct event){.kind = EVENT_ARRIVAL,
                          .worker = worker,
                          .seconds = seconds,
                          .version = version,
                          .arrival = {.queue_seconds = queue}};
}

static struct event update(double seconds, uint64_t version) {
    return (struct event){.kind = EVENT_UPDATE, .worker = -1, .seconds = seconds, .version = version};
}

static struct event lost(int worker, double seconds, uint64_t version) {
    return (struct event){.kind = EVENT_LOST, .worker = worker, .seconds = seconds, .version = version};
}

/* Of three workers; returns what they waited for the server. */
static double attribute(const struct event *events, size_t count, struct event_account accounts[3]) {
    struct attribution attribution;
    assert_int_equal(attribution_init(&attribution, 3, 0, accounts), 0);
    for (size_t i = 0; i < count; i++)
        attribution_add(&attribution, &events[i]);
    double server = attribution.server_seconds;
    attribution_fini(&attribution);
    return server;
}

#define ATTRIBUTE(events, accounts) attribute(events, COUNT(events), accounts)

static void all_wait_for_the_last_and_then_for_the_server(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}};
    const struct event events[] = {start(0, 0, 0),      start(1, 0, 0),      start(2, 0, 0), arrival(0, 1, 0, 0),
                                   arrival(1, 2, 0, 0), arrival(2, 5, 0, 0), update(5.5, 1), start(0, 5.5, 1),
                                   start(1, 5.5, 1),    start(2, 5.5, 1)};
    assert_true(ATTRIBUTE(events, accounts) == 1.5); /* each half a second */
    assert_true(accounts[2].caused_seconds == 7);    /* 4 of worker 0 and 3 of worker 1 */
    assert_int_equal(accounts[2].delays, 1);
    assert_true(accounts[0].caused_seconds == 0 && accounts[1].caused_seconds == 0);
}

static void a_queue_is_the_server_s_and_not_the_last_worker_s(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}};
    const struct event events[] = {start(0, 0, 0),      start(1, 0, 0), arrival(0, 1, 0, 0),
                                   arrival(1, 4, 0, 3), update(4, 1),   start(0, 4, 1)};
    assert_true(ATTRIBUTE(events, accounts) == 3); /* worker 1 had delivered at 1 */
    assert_true(accounts[1].caused_seconds == 0);
    assert_int_equal(accounts[1].delays, 0);
}

static void who_goes_on_at_once_waits_for_nobody(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}};
    const struct event events[] = {start(0, 0, 0),    start(1, 0, 0),      arrival(0, 1, 0, 0.5), update(1.25, 1),
                                   start(0, 1.25, 1), arrival(1, 2, 1, 0), start(1, 2, 1)};
    assert_true(ATTRIBUTE(events, accounts) == 0.75); /* queue and service of worker 0; worker 1 none */
    assert_true(accounts[0].caused_seconds == 0 && accounts[1].caused_seconds == 0);
}

static void a_thread_that_starts_late_still_knows_whom_it_waited_for(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}};
    const struct event events[] = {start(0, 0, 0),      start(1, 0, 0), start(2, 0, 0),      arrival(0, 1, 0, 0),
                                   arrival(1, 3, 0, 0), update(3, 1),   arrival(2, 4, 1, 0), update(4, 2),
                                   start(0, 4.5, 1)}; /* released by the first update */
    assert_true(ATTRIBUTE(events, accounts) == 1.5);
    assert_true(accounts[1].caused_seconds == 2);
    assert_true(accounts[2].caused_seconds == 0);
}

static void a_lost_worker_is_waited_for_until_it_is_known_to_be_lost(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}};
    const struct event events[] = {start(0, 0, 0), start(1, 0, 0), arrival(0, 1, 0, 0),
                                   lost(1, 8, 0),  update(8, 1),   start(0, 8, 1)};
    assert_true(ATTRIBUTE(events, accounts) == 0);
    assert_true(accounts[1].caused_seconds == 7);
}

/* ---- Names ---- */

/* Three workers that wait for 10 of 40 seconds; worker 1 caused `caused` of them. */
static struct straggler find(struct event_account accounts[3], double caused) {
    for (int i = 0; i < 3; i++) {
        accounts[i].received = 10;
        accounts[i].compute_seconds += 10;
    }
    accounts[0].waiting_seconds = accounts[2].waiting_seconds = 5;
    accounts[1].caused_seconds = caused;
    accounts[1].delays = 6;
    const struct event_summary summary = {.updates = 8, .accounts = accounts, .workers = 3};
    return straggler_find(&summary);
}

static void the_worker_that_caused_most_is_named_with_its_share(void **state) {
    (void)state;
    struct event_account accounts[3] = {{0}, {.compute_seconds = 20}, {0}};
    struct straggler straggler = find(accounts, 8);
    assert_int_equal(straggler.worker, 1);
    assert_true(straggler.share == 0.8 && straggler.seconds == 8 && straggler.last_share == 0.75);
    assert_int_equal(straggler.cause, STRAGGLER_COMPUTE);
    assert_true(fabs(straggler.ratio - 3) < 1e-12);
}

static void the_cause_is_what_exceeds_the_others_by_the_most(void **state) {
    (void)state;
    struct event_account slow_link[3] = {{0}, {.transit_seconds = 4, .compute_seconds = 1}, {0}};
    struct event_account slow_disk[3] = {{0}, {.data_seconds = 9, .compute_seconds = 9}, {.data_seconds = 1}};
    struct event_account unlucky[3] = {{0}, {0}, {0}};
    struct straggler straggler = find(slow_link, 8);
    assert_int_equal(straggler.cause, STRAGGLER_NETWORK);
    assert_true(isinf(straggler.ratio)); /* the others' take no time */
    straggler = find(slow_disk, 8);
    assert_int_equal(straggler.cause, STRAGGLER_DATA);
    assert_true(fabs(straggler.ratio - 18) < 1e-12);
    straggler = find(unlucky, 8);
    assert_int_equal(straggler.cause, STRAGGLER_CHANCE);
    assert_true(isnan(straggler.ratio));
}

static void nobody_is_named_where_the_waiting_is_shared_or_small(void **state) {
    (void)state;
    struct event_account shared[3] = {{0}}, small[3] = {{0}};
    assert_int_equal(find(shared, 6).worker, -1); /* two thirds is twice an equal part */
    small[0].compute_seconds = 1000;
    assert_int_equal(find(small, 10).worker, -1);
    const struct event_summary nobody = {.workers = 0};
    assert_int_equal(straggler_find(&nobody).worker, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_wait_for_the_last_and_then_for_the_server),
        cmocka_unit_test(a_queue_is_the_server_s_and_not_the_last_worker_s),
        cmocka_unit_test(who_goes_on_at_once_waits_for_nobody),
        cmocka_unit_test(a_thread_that_starts_late_still_knows_whom_it_waited_for),
        cmocka_unit_test(a_lost_worker_is_waited_for_until_it_is_known_to_be_lost),
        cmocka_unit_test(the_worker_that_caused_most_is_named_with_its_share),
        cmocka_unit_test(the_cause_is_what_exceeds_the_others_by_the_most),
        cmocka_unit_test(nobody_is_named_where_the_waiting_is_shared_or_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
