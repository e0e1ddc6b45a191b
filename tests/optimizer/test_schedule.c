/* SPDX-License-Identifier: Apache-2.0 */
/* The learning rate over a run, against tables written out by hand, in each unit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "optimizer/optimizer.h"

/* A run of 100 epochs of 50 samples, 10 samples an update: 5 updates an epoch. */
static struct optimizer_clock clock_at(uint64_t updates) {
    double samples = 10 * (double)updates;
    return (struct optimizer_clock){
        .updates = updates, .samples = samples, .epochs = samples / 50, .fraction = samples / 5000};
}

struct row {
    uint64_t updates;
    double rate;
};

#define END                                                                                                        \
    { 0, NAN }

static void expect_rates(const char *text, const struct row *rows) {
    struct plugin optimizer;
    assert_int_equal(plugin_open(&optimizer_list, text, &optimizer), HYSGD_OK);
    for (; !isnan(rows->rate); rows++) {
        struct optimizer_clock clock = clock_at(rows->updates);
        double rate = optimizer_rate(optimizer.self, &clock);
        if (!(fabs(rate - rows->rate) <= 1e-12))
            fail_msg("%s at update %d: rate %.15g, expected %.15g", text, (int)rows->updates, rate, rows->rate);
    }
    plugin_close(&optimizer);
}

static void a_constant_rate_stays(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 0.5}, {1, 0.5}, {500, 0.5}, {100000, 0.5}, END};
    expect_rates("sgd,rate=0.5", rows);
}

static void warm_up_rises_from_0_in_each_unit(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 0}, {1, 0.1}, {5, 0.5}, {9, 0.9}, {10, 1}, {11, 1}, {500, 1}, END};
    expect_rates("sgd,rate=1,warmup=10,unit=updates", rows);
    expect_rates("sgd,rate=1,warmup=2,unit=epochs", rows);
    expect_rates("sgd,rate=1,warmup=2", rows);
    expect_rates("sgd,rate=1,warmup=100,unit=samples", rows);
}

static void steps_drop_the_rate_in_each_unit(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 8}, {149, 8}, {150, 4}, {299, 4}, {300, 2}, {450, 1}, {499, 1}, END};
    expect_rates("momentum,rate=8,schedule=step,factor=0.5,every=150,unit=updates", rows);
    expect_rates("momentum,rate=8,schedule=step,factor=0.5,every=30,unit=epochs", rows);
    expect_rates("momentum,rate=8,schedule=step,factor=0.5,every=1500,unit=samples", rows);
}

static void drops_are_counted_from_the_beginning_of_the_run(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 0}, {5, 4}, {10, 8}, {149, 8}, {150, 4}, END};
    expect_rates("sgd,rate=8,schedule=step,factor=0.5,every=150,warmup=10,unit=updates", rows);
}

static void a_drop_comes_at_a_whole_number_of_periods(void **state) {
    (void)state;
    /* 3 updates are 0.6 epochs, and 0.6 / 0.2 is a rounding error below 3 */
    static const struct row rows[] = {{0, 8}, {1, 4}, {2, 2}, {3, 1}, {4, 0.5}, END};
    expect_rates("sgd,rate=8,schedule=step,factor=0.5,every=0.2", rows);
}

static void cosine_falls_to_its_share_at_the_length(void **state) {
    (void)state;
    static const struct row to_0[] = {{0, 1}, {50, 0.75}, {75, 0.5}, {100, 0.25}, {150, 0}, {500, 0}, END};
    static const struct row to_a_fifth[] = {{0, 1}, {50, 0.8}, {75, 0.6}, {150, 0.2}, {500, 0.2}, END};
    expect_rates("sgd,rate=1,schedule=cosine,factor=0,length=150,unit=updates", to_0);
    expect_rates("sgd,rate=1,schedule=cosine,factor=0,length=30,unit=epochs", to_0);
    expect_rates("sgd,rate=1,schedule=cosine,factor=0,length=1500,unit=samples", to_0);
    expect_rates("sgd,rate=1,schedule=cosine,factor=0.2,length=30", to_a_fifth);
}

static void linear_falls_to_its_share_at_the_length(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 1}, {50, 0.8}, {100, 0.6}, {200, 0.2}, {500, 0.2}, END};
    expect_rates("sgd,rate=1,schedule=linear,factor=0.2,length=200,unit=updates", rows);
    expect_rates("sgd,rate=1,schedule=linear,factor=0.2,length=40,unit=epochs", rows);
    expect_rates("sgd,rate=1,schedule=linear,factor=0.2,length=2000,unit=samples", rows);
}

static void a_length_of_0_is_the_whole_run(void **state) {
    (void)state;
    static const struct row line[] = {{0, 1}, {125, 0.75}, {250, 0.5}, {500, 0}, END};
    static const struct row wave[] = {{0, 1}, {250, 0.5}, {500, 0}, {600, 0}, END};
    expect_rates("sgd,rate=1,schedule=linear,factor=0", line);
    expect_rates("sgd,rate=1,schedule=cosine,factor=0", wave);
}

static void the_fall_begins_at_the_end_of_the_warm_up(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 0}, {50, 0.5}, {100, 1}, {200, 0.75}, {300, 0.5}, {500, 0}, END};
    expect_rates("sgd,rate=1,schedule=linear,factor=0,warmup=100,length=500,unit=updates", rows);
    expect_rates("sgd,rate=1,schedule=linear,factor=0,warmup=20,unit=epochs", rows);
    expect_rates("sgd,rate=1,schedule=linear,factor=0,warmup=1000,unit=samples", rows);
}

static void a_warm_up_longer_than_the_schedule_only_rises(void **state) {
    (void)state;
    static const struct row rows[] = {{0, 0}, {250, 0.25}, {500, 0.5}, END};
    static const struct row cut[] = {{0, 0}, {50, 0.25}, {100, 0.5}, {200, 1}, {201, 0}, END};
    expect_rates("sgd,rate=1,schedule=cosine,factor=0,warmup=1000,unit=updates", rows);
    expect_rates("sgd,rate=1,schedule=linear,factor=0,warmup=200,length=100,unit=updates", cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_rate_stays),
        cmocka_unit_test(warm_up_rises_from_0_in_each_unit),
        cmocka_unit_test(steps_drop_the_rate_in_each_unit),
        cmocka_unit_test(drops_are_counted_from_the_beginning_of_the_run),
        cmocka_unit_test(a_drop_comes_at_a_whole_number_of_periods),
        cmocka_unit_test(cosine_falls_to_its_share_at_the_length),
        cmocka_unit_test(linear_falls_to_its_share_at_the_length),
        cmocka_unit_test(a_length_of_0_is_the_whole_run),
        cmocka_unit_test(the_fall_begins_at_the_end_of_the_warm_up),
        cmocka_unit_test(a_warm_up_longer_than_the_schedule_only_rises),
    };
    return cmocka_run_group_tests_name("schedules", tests, NULL, NULL);
}
