/* SPDX-License-Identifier: Apache-2.0 */
/* The mpi runtime with threads as ranks: the same bits as on one machine, however workers, servers and messages are
 * spread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "runtime/fixture.h"

static struct run_setup network(const char *runtime, const char *policy) {
    return (struct run_setup){.data = "digits,train=200,test=100",
                              .model = "mlp",
                              .optimizer = "adam,rate=0.001",
                              .policy = policy,
                              .runtime = runtime,
                              .workers = 3,
                              .batch = 8,
                              .limits = {.updates = 12}};
}

static uint64_t parameters_of(const struct run_setup *from) {
    struct run run;
    run_expect(&run, from, HYSGD_OK);
    run_expect_balance(&run);
    const float *vector = training_vector(&run.training);
    uint64_t hash = hash_bytes(1, vector, run.training.server.count * sizeof *vector);
    run_close(&run);
    return hash;
}

static void synchronous_ranks_give_the_bits_of_modelled_time(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "threshold,start=3,cap=3,wait=yes", "batch-sync,size=3"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct run_setup one = network("virtual", policies[i]), many = network("mpi", policies[i]);
        if (i < 2)
            assert_int_equal(parameters_of(&one), parameters_of(&many));
        else
            parameters_of(&many);
    }
}

static void the_number_of_servers_changes_no_bit(void **state) {
    (void)state;
    struct run_setup one = network("mpi", "sync");
    uint64_t expected = parameters_of(&one);
    for (int servers = 1; servers <= 4; servers++) {
        struct run_setup many = network("mpi", "sync");
        many.servers = servers;
        many.chaos = (uint64_t)servers;
        assert_int_equal(parameters_of(&many), expected);
    }
}

static void the_delays_of_messages_change_no_bit_of_synchronous_training(void **state) {
    (void)state;
    struct run_setup one = network("mpi", "sync");
    uint64_t expected = parameters_of(&one);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct run_setup many = network("mpi", "sync");
        many.chaos = seed;
        assert_int_equal(parameters_of(&many), expected);
    }
}

/* Totals over all servers: of the norm of a gradient, of distances, and of what adaptive looks at. */
static void what_servers_find_is_added_up_over_all_of_them(void **state) {
    (void)state;
    static const char *const optimizers[] = {"sgd,rate=0.1,clip=0.01", "adam,rate=0.001,clip=0.5"};
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        struct run_setup one = network("virtual", "sync"), many = network("mpi", "sync");
        one.optimizer = many.optimizer = optimizers[i];
        assert_int_equal(parameters_of(&one), parameters_of(&many));
    }
    struct run_setup distance = network("mpi", "async"), adaptive = network("mpi", "adaptive");
    distance.correction = "distance";
    parameters_of(&distance);
    parameters_of(&adaptive);
}

static void what_travels_rounded_gives_the_bits_of_modelled_time(void **state) {
    (void)state;
    static const char *const wires[] = {"bf16", "int8", "fp32,sparse=yes", "int8,sparse=yes"};
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        struct run_setup one = network("virtual", "sync"), many = network("mpi", "sync");
        one.wire = many.wire = wires[i];
        assert_int_equal(parameters_of(&one), parameters_of(&many));
    }
}

/* What the leader records of times: the ranks of this test share one clock. */
struct times {
    int clocks, own, wrong;
};

static void note_times(void *self, const struct training *training, const struct event *event) {
    struct times *times = self;
    (void)training;
    if (event->kind == EVENT_CLOCK) {
        times->clocks++;
        times->wrong += fabs(event->clock.offset_seconds) > event->clock.error_seconds + 1e-9;
    }
    double pull = event->arrival.pull_seconds, push = event->arrival.push_seconds;
    if (event->kind != EVENT_ARRIVAL || isnan(pull))
        return; /* the rank has not been told the time yet */
    times->own += event->worker == 0;
    times->wrong += !(pull >= 0 && push >= 0 && pull + push <= event->arrival.transit_seconds * 1.000001);
}

static void the_way_of_a_gradient_is_divided_on_one_clock(void **state) {
    (void)state;
    static const char *const runtimes[] = {"mpi", "mpi,tolerate=1"};
    for (size_t i = 0; i < 2; i++) {
        struct run run;
        struct times times = {0};
        struct run_setup from = network(runtimes[i], "sync");
        from.ring = 4096;
        from.watch = note_times;
        from.watch_self = &times;
        run_expect(&run, &from, HYSGD_OK);
        assert_true(times.clocks >= 1); /* the leader's own at least */
        assert_int_equal(times.own, 12);
        assert_int_equal(times.wrong, 0);
        run_close(&run);
    }
}

static void divergence_ends_the_run_on_every_rank(void **state) {
    (void)state;
    struct run run;
    struct run_setup from = network("mpi", "async");
    from.optimizer = "sgd,rate=1e6"; /* diverges at once */
    run_expect(&run, &from, HYSGD_DIVERGED);
    assert_non_null(strstr(hysgd_error_message(), "worker"));
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synchronous_ranks_give_the_bits_of_modelled_time),
        cmocka_unit_test(the_number_of_servers_changes_no_bit),
        cmocka_unit_test(the_delays_of_messages_change_no_bit_of_synchronous_training),
        cmocka_unit_test(what_servers_find_is_added_up_over_all_of_them),
        cmocka_unit_test(what_travels_rounded_gives_the_bits_of_modelled_time),
        cmocka_unit_test(the_way_of_a_gradient_is_divided_on_one_clock),
        cmocka_unit_test(divergence_ends_the_run_on_every_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
