/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a worker's samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/clusters.h"
#include "data/sampler.h"

static enum hysgd_status deal(struct partition *partition, int samples, int workers, uint64_t seed) {
    struct plugin data;
    samples_open(&data, "none", samples);
    enum hysgd_status status = partition_init(partition, NULL, &data, workers, seed);
    samples_close(&data);
    return status;
}

static void start(struct partition *partition, struct sampler *sampler, int samples, int workers, int worker) {
    assert_int_equal(deal(partition, samples, workers, 7), HYSGD_OK);
    assert_int_equal(sampler_init(sampler, partition, worker, 7), HYSGD_OK);
}

static void stop(struct partition *partition, struct sampler *sampler) {
    sampler_fini(sampler);
    partition_fini(partition);
}

static void each_pass_is_another_permutation_of_the_partition(void **state) {
    (void)state;
    struct partition partition;
    struct sampler sampler;
    uint64_t passes[3][50];
    start(&partition, &sampler, 100, 2, 1);
    for (int pass = 0; pass < 3; pass++) {
        int seen[100] = {0};
        for (int i = 0; i < 50; i += 10)
            sampler_next(&sampler, 10, passes[pass] + i);
        for (int i = 0; i < 50; i++)
            seen[passes[pass][i]]++;
        for (int i = 50; i < 100; i++)
            assert_int_equal(seen[partition.indices[i]], 1);
    }
    assert_memory_not_equal(passes[0], passes[1], sizeof passes[0]);
    assert_memory_not_equal(passes[1], passes[2], sizeof passes[0]);
    stop(&partition, &sampler);
}

static void a_batch_may_span_two_passes_and_be_larger_than_the_partition(void **state) {
    (void)state;
    struct partition partition;
    struct sampler sampler;
    uint64_t whole[64], pieces[64];
    start(&partition, &sampler, 9, 1, 0);
    sampler_next(&sampler, 64, whole);
    assert_int_equal(sampler.position, 64);
    sampler_seek(&sampler, 0);
    for (int i = 0; i < 64; i += 4)
        sampler_next(&sampler, 4, pieces + i);
    assert_memory_equal(whole, pieces, sizeof whole);
    stop(&partition, &sampler);
}

static void seeking_equals_drawing(void **state) {
    (void)state;
    struct partition partition;
    struct sampler sampler;
    uint64_t drawn[60], sought[5];
    start(&partition, &sampler, 13, 1, 0);
    sampler_next(&sampler, 60, drawn);
    for (uint64_t position = 0; position <= 55; position++) {
        sampler_seek(&sampler, 55 - position);
        sampler_next(&sampler, 5, sought);
        assert_memory_equal(sought, drawn + 55 - position, sizeof sought);
    }
    stop(&partition, &sampler);
}

static void the_batches_of_a_worker_do_not_depend_on_the_others(void **state) {
    (void)state;
    struct partition partition;
    struct sampler alone, first, second;
    uint64_t expected[40], drawn[40], other[3];
    start(&partition, &alone, 50, 2, 1);
    sampler_next(&alone, 40, expected);
    assert_int_equal(sampler_init(&first, &partition, 0, 7), HYSGD_OK);
    assert_int_equal(sampler_init(&second, &partition, 1, 7), HYSGD_OK);
    for (int i = 0; i < 40; i += 8) {
        sampler_next(&first, 3, other);
        sampler_next(&second, 8, drawn + i);
    }
    assert_memory_equal(drawn, expected, sizeof drawn);
    sampler_fini(&first);
    sampler_fini(&second);
    stop(&partition, &alone);
}

static void a_worker_that_takes_over_goes_through_all_that_it_has(void **state) {
    (void)state;
    struct partition partition;
    struct sampler sampler;
    uint64_t before[20], after[100];
    start(&partition, &sampler, 100, 2, 1);
    sampler_next(&sampler, 20, before); /* in the midst of a pass */
    assert_int_equal(partition_lose(&partition, 0), HYSGD_OK);
    sampler_next(&sampler, 10, after);
    for (int i = 0; i < 10; i++)
        assert_true(after[i] != before[i]); /* still that pass */
    assert_int_equal(sampler_take_over(&sampler, 1, 30), HYSGD_OK);
    for (int pass = 0; pass < 2; pass++) {
        int seen[100] = {0};
        sampler_next(&sampler, 100, after);
        for (int i = 0; i < 100; i++)
            seen[after[i]]++;
        for (int i = 0; i < 100; i++)
            assert_int_equal(seen[i], 1);
    }
    stop(&partition, &sampler);
}

static void taking_over_can_be_repeated_anywhere(void **state) {
    (void)state;
    struct partition partition;
    struct sampler sampler, resumed;
    uint64_t drawn[40], again[40];
    start(&partition, &sampler, 100, 4, 1);
    assert_int_equal(partition_lose(&partition, 2), HYSGD_OK);
    assert_int_equal(sampler_take_over(&sampler, 1, 13), HYSGD_OK);
    assert_int_equal(partition_lose(&partition, 0), HYSGD_OK); /* which it does not have yet */
    sampler_seek(&sampler, 43);
    sampler_next(&sampler, 40, drawn);
    assert_int_equal(sampler_init(&resumed, &partition, 1, 7), HYSGD_OK);
    assert_int_equal(sampler_take_over(&resumed, 2, 5), HYSGD_OK);
    sampler_seek(&resumed, 43);
    sampler_next(&resumed, 40, again);
    assert_memory_not_equal(drawn, again, sizeof drawn);
    assert_int_equal(sampler_take_over(&resumed, 1, 13), HYSGD_OK);
    sampler_seek(&resumed, 43);
    sampler_next(&resumed, 40, again);
    assert_memory_equal(drawn, again, sizeof drawn);
    sampler_fini(&resumed);
    stop(&partition, &sampler);
}

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    (void)state;
    struct plugin data;
    samples_open(&data, "none", 10);
    size_t used = memory_used();
    for (uint64_t n = 1; n < 10; n++) {
        struct partition partition;
        struct sampler sampler = {0};
        memory_fail_at(n);
        enum hysgd_status status = partition_init(&partition, NULL, &data, 2, 1);
        if (status == HYSGD_OK)
            status = sampler_init(&sampler, &partition, 0, 1);
        memory_fail_at(0);
        assert_int_equal(status, n <= 5 ? HYSGD_MEMORY : HYSGD_OK);
        stop(&partition, &sampler);
        assert_int_equal(memory_used(), used);
    }
    samples_close(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pass_is_another_permutation_of_the_partition),
        cmocka_unit_test(a_batch_may_span_two_passes_and_be_larger_than_the_partition),
        cmocka_unit_test(seeking_equals_drawing),
        cmocka_unit_test(the_batches_of_a_worker_do_not_depend_on_the_others),
        cmocka_unit_test(a_worker_that_takes_over_goes_through_all_that_it_has),
        cmocka_unit_test(taking_over_can_be_repeated_anywhere),
        cmocka_unit_test(exhausted_memory_is_a_status_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
