/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that say how long things take: what they mean, which are refused and how, and the distributions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "runtime/timing.h"

static void expect_refused(const struct timing_texts *texts, enum hysgd_status expected, const char *message) {
    struct timing timing;
    size_t used = memory_used();
    assert_int_equal(timing_init(&timing, texts, 4, 1), expected);
    assert_string_equal(hysgd_error_message(), message);
    timing_fini(&timing);
    assert_int_equal(memory_used(), used);
}

static void expect_speeds(const char *text, double a, double b, double c, double d) {
    struct timing timing;
    const double expected[] = {a, b, c, d};
    assert_int_equal(timing_init(&timing, &(struct timing_texts){.speeds = text}, 4, 1), HYSGD_OK);
    for (int i = 0; i < 4; i++)
        assert_true(timing.speeds[i] == expected[i]);
    timing_fini(&timing);
}

static void speeds_are_given_one_by_one_or_by_count_and_repeat(void **state) {
    (void)state;
    expect_speeds(NULL, 1, 1, 1, 1);
    expect_speeds("", 1, 1, 1, 1);
    expect_speeds("0.5", 0.5, 0.5, 0.5, 0.5);
    expect_speeds("1,0.25", 1, 0.25, 1, 0.25);
    expect_speeds("2x1,2x0.5", 1, 1, 0.5, 0.5);
    expect_speeds("3x2,4", 2, 2, 2, 4);
    expect_speeds("1,2,3", 1, 2, 3, 1);
}

static void bad_speeds_are_refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"0", "speeds: \"0\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"-1", "speeds: \"-1\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"1,,2", "speeds: \"\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"fast", "speeds: \"fast\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"nan", "speeds: \"nan\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"1e-300", "speeds: \"1e-300\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"1e7", "speeds: \"1e7\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"2x", "speeds: \"2x\": expected a relative speed from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25"},
        {"x2", "speeds: \"x2\": expected a number of workers before the x"},
        {"0x2", "speeds: \"0x2\": expected a number of workers before the x"},
        {"1.5x2", "speeds: \"1.5x2\": expected a number of workers before the x"},
        {"99999999999999999999x2", "speeds: \"99999999999999999999x2\": expected a number of workers before the x"},
        {"5x1", "speeds: more speeds are given than the 4 workers"},
        {"1,1,1,1,1", "speeds: more speeds are given than the 4 workers"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_refused(&(struct timing_texts){.speeds = rows[i][0]}, HYSGD_USAGE, rows[i][1]);
}

/* The delays of the four workers under constant distributions. */
static void expect_delays(const char *text, double a, double b, double c, double d) {
    struct timing timing;
    const double expected[] = {a, b, c, d};
    assert_int_equal(timing_init(&timing, &(struct timing_texts){.delay = text}, 4, 1), HYSGD_OK);
    for (int i = 0; i < 4; i++)
        assert_true(timing_delay(&timing, i, 7) == expected[i]);
    timing_fini(&timing);
}

static void delays_name_their_workers(void **state) {
    (void)state;
    expect_delays(NULL, 0, 0, 0, 0);
    expect_delays("constant,mean=2", 2, 2, 2, 2);
    expect_delays("all,constant,mean=2", 2, 2, 2, 2);
    expect_delays("half,constant,mean=2", 0, 0, 2, 2);
    expect_delays("one,constant,mean=2", 0, 0, 0, 2);
    expect_delays("1,constant,mean=2", 0, 2, 0, 0);
    expect_delays("1-2,constant,mean=2", 0, 2, 2, 0);
    expect_delays("half,constant,mean=2;0,constant,mean=3", 3, 0, 2, 2);
    expect_delays("all,constant,mean=2;one,constant,mean=5", 2, 2, 2, 5);
}

static void bad_delays_are_refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"4,constant", "delay: \"4\": expected workers from 0 to 3, as in 3 or 2-5"},
        {"2-1,constant", "delay: \"2-1\": expected workers from 0 to 3, as in 3 or 2-5"},
        {"0-,constant", "delay: \"0-\": expected workers from 0 to 3, as in 3 or 2-5"},
        {"1-+2,constant", "delay: \"1-+2\": expected workers from 0 to 3, as in 3 or 2-5"},
        {"99999999999999999999,constant",
         "delay: \"99999999999999999999\": expected workers from 0 to 3, as in 3 or 2-5"},
        {"half", "delay: \"half\": a distribution must follow, as in half,normal,std=0.25"},
        {"many,constant",
         "delay: \"many\": expected all, half, one, a worker (3 or 2-5) or a distribution (normal, constant, ...)"},
        {"constant,mean=1;",
         "delay: \"\": expected all, half, one, a worker (3 or 2-5) or a distribution (normal, constant, ...)"},
        {"half,normol", "delay: unknown distribution 'normol': did you mean 'normal'?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_refused(&(struct timing_texts){.delay = rows[i][0]}, HYSGD_USAGE, rows[i][1]);
}

static void losses_name_worker_and_moment(void **state) {
    (void)state;
    struct timing timing;
    assert_int_equal(timing_init(&timing, &(struct timing_texts){.lose = "3@1.5,0@0"}, 4, 1), HYSGD_OK);
    assert_true(timing.lost_at[3] == 1.5 && timing.lost_at[0] == 0 && isinf(timing.lost_at[1]));
    timing_fini(&timing);
    static const char *const rows[][2] = {
        {"3", "lose: \"3\": expected WORKER@SECONDS with a worker from 0 to 3, as in 3@1.5"},
        {"4@1", "lose: \"4@1\": expected WORKER@SECONDS with a worker from 0 to 3, as in 3@1.5"},
        {"-1@1", "lose: \"-1@1\": expected WORKER@SECONDS with a worker from 0 to 3, as in 3@1.5"},
        {"1@-1", "lose: \"1@-1\": expected WORKER@SECONDS with a worker from 0 to 3, as in 3@1.5"},
        {"1@soon", "lose: \"1@soon\": expected WORKER@SECONDS with a worker from 0 to 3, as in 3@1.5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_refused(&(struct timing_texts){.lose = rows[i][0]}, HYSGD_USAGE, rows[i][1]);
}

static void bad_distributions_are_refused_with_their_key(void **state) {
    (void)state;
    expect_refused(&(struct timing_texts){.compute = "pareta"}, HYSGD_USAGE,
                   "compute: unknown distribution 'pareta': did you mean 'pareto'?");
    expect_refused(&(struct timing_texts){.receive = "uniform,least=2,most=1"}, HYSGD_USAGE,
                   "receive: distribution uniform: least=2 is larger than most=1");
    expect_refused(&(struct timing_texts){.apply = "trace"}, HYSGD_USAGE,
                   "apply: distribution trace: no file given: expected trace:FILE");
    expect_refused(&(struct timing_texts){.apply = "trace:/nowhere/times"}, HYSGD_INPUT,
                   "apply: /nowhere/times: cannot be opened: No such file or directory");
}

/* Mean and spread over many draws, as one worker sees them. */
static void expect_moments(const char *text, double mean, double deviation, double tolerance) {
    enum { DRAWS = 100000 };
    struct timing timing;
    double sum = 0, squares = 0;
    assert_int_equal(timing_init(&timing, &(struct timing_texts){.compute = text}, 4, 1), HYSGD_OK);
    for (uint64_t i = 0; i < DRAWS; i++) {
        double value = timing_compute(&timing, 2, i);
        assert_true(value >= 0 && isfinite(value));
        sum += value;
        squares += value * value;
    }
    double found = sum / DRAWS, spread = sqrt(fmax(squares / DRAWS - found * found, 0));
    if (fabs(found - mean) > tolerance * mean || fabs(spread - deviation) > 4 * tolerance * mean)
        fail_msg("%s: mean %g and deviation %g, expected %g and %g", text, found, spread, mean, deviation);
    timing_fini(&timing);
}

static void distributions_have_their_mean_and_spread(void **state) {
    (void)state;
    expect_moments("constant,mean=3", 3, 0, 1e-12);
    expect_moments("uniform,least=1,most=3", 2, 2 / sqrt(12), 0.01);
    expect_moments("normal,mean=10,std=2", 10, 2, 0.01);
    expect_moments("lognormal,mean=2,sigma=0.5", 2, 2 * sqrt(exp(0.25) - 1), 0.01);
    expect_moments("exponential,mean=4", 4, 4, 0.02);
    expect_moments("pareto,least=1,alpha=5", 1.25, sqrt(5.0 / 48), 0.02);
}

/* max(0, N(0, s)) has the mean s / sqrt(2 pi) and the variance s^2 (1/2 - 1 / (2 pi)). */
static void negative_normal_draws_become_zero(void **state) {
    (void)state;
    const double pi = acos(-1);
    expect_moments("normal,std=0.25", 0.25 / sqrt(2 * pi), 0.25 * sqrt(0.5 - 0.5 / pi), 0.02);
    struct timing timing;
    int zeros = 0;
    assert_int_equal(timing_init(&timing, &(struct timing_texts){.delay = "normal,std=0.25"}, 4, 1), HYSGD_OK);
    for (uint64_t i = 0; i < 10000; i++)
        zeros += timing_delay(&timing, 0, i) == 0;
    assert_in_range(zeros, 4800, 5200);
    timing_fini(&timing);
}

static void draws_depend_on_seed_worker_and_number_alone(void **state) {
    (void)state;
    struct timing_texts texts = {.compute = "exponential", .delay = "exponential", .speeds = "1,1,0.5,1"};
    struct timing few, many, other;
    assert_int_equal(timing_init(&few, &texts, 4, 1), HYSGD_OK);
    assert_int_equal(timing_init(&many, &texts, 1000, 1), HYSGD_OK);
    assert_int_equal(timing_init(&other, &texts, 4, 2), HYSGD_OK);
    assert_true(timing_compute(&few, 1, 5) == timing_compute(&many, 1, 5));
    assert_true(timing_delay(&few, 1, 5) == timing_delay(&many, 1, 5));
    assert_true(timing_compute(&few, 1, 5) != timing_compute(&few, 1, 6));
    assert_true(timing_compute(&few, 1, 5) != timing_compute(&few, 3, 5));
    assert_true(timing_compute(&few, 1, 5) != timing_delay(&few, 1, 5));
    assert_true(timing_compute(&few, 1, 5) != timing_compute(&other, 1, 5));
    timing_fini(&few);
    timing_fini(&many);
    timing_fini(&other);
}

static void a_slower_worker_takes_longer_in_proportion(void **state) {
    (void)state;
    struct timing timing;
    struct timing_texts texts = {.compute = "constant,mean=3", .speeds = "1,0.5,2"};
    assert_int_equal(timing_init(&timing, &texts, 3, 1), HYSGD_OK);
    assert_true(timing_compute(&timing, 0, 0) == 3);
    assert_true(timing_compute(&timing, 1, 0) == 6);
    assert_true(timing_compute(&timing, 2, 0) == 1.5);
    timing_fini(&timing);
}

static void service_times_advance_their_own_streams(void **state) {
    (void)state;
    struct timing first, second;
    struct timing_texts texts = {.receive = "exponential,mean=1", .apply = "exponential,mean=1"};
    assert_int_equal(timing_init(&first, &texts, 4, 1), HYSGD_OK);
    assert_int_equal(timing_init(&second, &texts, 4, 1), HYSGD_OK);
    double a = timing_receive(&first), b = timing_receive(&first), c = timing_apply(&first);
    assert_true(a != b && a != c);
    assert_true(timing_apply(&second) == c); /* whatever was received before */
    assert_true(timing_receive(&second) == a && timing_receive(&second) == b);
    timing_fini(&first);
    timing_fini(&second);
}

/* Writes a trace and opens it. */
static enum hysgd_status open_trace(const char *content, struct timing *timing, char path[40]) {
    char text[64];
    strcpy(path, "/tmp/hysgd-trace-XXXXXX");
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, content, strlen(content)), (ssize_t)strlen(content));
    close(descriptor);
    snprintf(text, sizeof text, "trace:%s", path);
    enum hysgd_status status = timing_init(timing, &(struct timing_texts){.compute = text}, 2, 1);
    unlink(path);
    return status;
}

static void a_trace_is_repeated(void **state) {
    (void)state;
    static const double expected[] = {0.5, 0, 1e9, 3, 0.5};
    struct timing timing;
    char path[40];
    assert_int_equal(open_trace("# seconds\n0.5\r\n\n0\n1e9\n3", &timing, path), HYSGD_OK);
    for (uint64_t i = 0; i < 5; i++)
        assert_true(timing_compute(&timing, 0, i) == expected[i]);
    timing_fini(&timing);
}

static void a_long_trace_is_read_whole(void **state) {
    (void)state;
    char *content = malloc(40000), path[40];
    struct timing timing;
    size_t length = 0;
    for (int i = 0; i < 5000; i++)
        length += (size_t)snprintf(content + length, 40000 - length, "%d\n", i);
    assert_int_equal(open_trace(content, &timing, path), HYSGD_OK);
    for (uint64_t i = 0; i < 10000; i += 77)
        assert_true(timing_compute(&timing, 0, i) == (double)(i % 5000));
    timing_fini(&timing);
    free(content);
}

static void bad_traces_are_refused_with_the_line(void **state) {
    (void)state;
    char endless[400], path[40], message[200];
    memset(endless, '1', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    const char *const rows[][2] = {
        {"", ": holds no times: expected one number of seconds a line"},
        {"# nothing\n", ": holds no times: expected one number of seconds a line"},
        {"1\nfast\n", ":2: \"fast\" is not a time: expected seconds from 0 to 1e9"},
        {"1\n2 3\n", ":2: \"2 3\" is not a time: expected seconds from 0 to 1e9"},
        {"-1\n", ":1: \"-1\" is not a time: expected seconds from 0 to 1e9"},
        {"inf\n", ":1: \"inf\" is not a time: expected seconds from 0 to 1e9"},
        {"1e10\n", ":1: \"1e10\" is not a time: expected seconds from 0 to 1e9"},
        {endless, ":1: is longer than 254 characters: expected one time in seconds"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct timing timing;
        assert_int_equal(open_trace(rows[i][0], &timing, path), HYSGD_INPUT);
        snprintf(message, sizeof message, "compute: %s%s", path, rows[i][1]);
        assert_string_equal(hysgd_error_message(), message);
        timing_fini(&timing);
    }
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct timing_texts texts = {
        .speeds = "1,2", .compute = "normal", .delay = "one,normal;0,pareto", .lose = "1@2"};
    struct timing timing;
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY; n++) {
        memory_fail_at(n);
        status = timing_init(&timing, &texts, 4, 1);
        timing_fini(&timing);
        assert_int_equal(memory_used(), used);
        assert_true(n < 100);
    }
    memory_fail_at(0);
    assert_int_equal(status, HYSGD_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speeds_are_given_one_by_one_or_by_count_and_repeat),
        cmocka_unit_test(bad_speeds_are_refused),
        cmocka_unit_test(delays_name_their_workers),
        cmocka_unit_test(bad_delays_are_refused),
        cmocka_unit_test(losses_name_worker_and_moment),
        cmocka_unit_test(bad_distributions_are_refused_with_their_key),
        cmocka_unit_test(distributions_have_their_mean_and_spread),
        cmocka_unit_test(negative_normal_draws_become_zero),
        cmocka_unit_test(draws_depend_on_seed_worker_and_number_alone),
        cmocka_unit_test(a_slower_worker_takes_longer_in_proportion),
        cmocka_unit_test(service_times_advance_their_own_streams),
        cmocka_unit_test(a_trace_is_repeated),
        cmocka_unit_test(a_long_trace_is_read_whole),
        cmocka_unit_test(bad_traces_are_refused_with_the_line),
        cmocka_unit_test(exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
