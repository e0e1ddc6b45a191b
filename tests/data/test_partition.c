/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker has which samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/clusters.h"
#include "data/partition.h"

static enum hysgd_status deal(struct partition *partition, const char *kind, const char *dealer_text, int samples,
                              int workers, uint64_t seed) {
    struct plugin data, dealer;
    samples_open(&data, kind, samples);
    assert_int_equal(plugin_open(&partition_list, dealer_text, &dealer), HYSGD_OK);
    enum hysgd_status status = partition_init(partition, &dealer, &data, workers, seed);
    plugin_close(&dealer);
    samples_close(&data);
    return status;
}

/* Data that suit the dealer. */
static const char *kind_for(const char *dealer) {
    return strcmp(dealer, "rows") == 0 ? "planted" : "random";
}

static void every_dealer_gives_each_sample_to_one_worker(void **state) {
    (void)state;
    for (size_t i = 0; i < partition_list.count; i++) {
        struct partition partition;
        int seen[1000] = {0};
        const char *dealer = partition_list.entries[i]->name;
        assert_int_equal(deal(&partition, kind_for(dealer), dealer, 1000, 4, 1), HYSGD_OK);
        assert_int_equal(partition.first[0], 0);
        assert_int_equal(partition.first[4], 1000);
        for (int k = 0; k < 1000; k++)
            seen[partition.indices[k]]++;
        for (int k = 0; k < 1000; k++)
            assert_int_equal(seen[k], 1);
        for (int w = 0; w < 4; w++)
            assert_true(partition.first[w] < partition.first[w + 1]);
        partition_fini(&partition);
    }
}

static void equal_parts_differ_by_at_most_one(void **state) {
    (void)state;
    for (int samples = 7; samples < 29; samples++) {
        struct partition partition;
        assert_int_equal(deal(&partition, "none", "iid", samples, 7, 1), HYSGD_OK);
        for (int w = 0; w < 7; w++)
            assert_in_range(partition.first[w + 1] - partition.first[w], samples / 7, (samples + 6) / 7);
        partition_fini(&partition);
    }
}

static void every_dealer_goes_by_the_seed(void **state) {
    (void)state;
    for (size_t i = 0; i < partition_list.count; i++) {
        const char *dealer = partition_list.entries[i]->name;
        struct partition a, b, c;
        assert_int_equal(deal(&a, kind_for(dealer), dealer, 1000, 2, 1), HYSGD_OK);
        assert_int_equal(deal(&b, kind_for(dealer), dealer, 1000, 2, 1), HYSGD_OK);
        assert_int_equal(deal(&c, kind_for(dealer), dealer, 1000, 2, 2), HYSGD_OK);
        assert_memory_equal(a.indices, b.indices, 1000 * sizeof *a.indices);
        bool is_same = memcmp(a.indices, c.indices, 1000 * sizeof *a.indices) == 0;
        assert_int_equal(is_same, strcmp(dealer, "contiguous") == 0);
        partition_fini(&a);
        partition_fini(&b);
        partition_fini(&c);
    }
}

static void a_row_of_ratings_belongs_to_one_worker(void **state) {
    (void)state;
    enum { SAMPLES = 2000, WORKERS = 4, USERS = 80 };
    struct plugin data;
    struct partition partition;
    float *inputs = malloc(SAMPLES * 2 * sizeof *inputs), *targets = malloc(SAMPLES * sizeof *targets);
    int owners[USERS];
    memset(owners, 0xff, sizeof owners);
    assert_int_equal(deal(&partition, "planted", "rows", SAMPLES, WORKERS, 1), HYSGD_OK);
    samples_open(&data, "planted", SAMPLES);
    data_ops(&data)->gather(data.self, HYSGD_TRAIN, partition.indices, SAMPLES, inputs, NULL, targets);
    for (int w = 0; w < WORKERS; w++) {
        uint64_t count = partition.first[w + 1] - partition.first[w];
        assert_in_range(count, SAMPLES / WORKERS * 0.9, SAMPLES / WORKERS * 1.1);
        for (uint64_t i = partition.first[w]; i < partition.first[w + 1]; i++) {
            uint32_t row;
            memcpy(&row, inputs + 2 * i, sizeof row);
            assert_true(owners[row] == -1 || owners[row] == w);
            owners[row] = w;
        }
    }
    samples_close(&data);
    partition_fini(&partition);
    free(inputs);
    free(targets);
}

static void iid_mixes_the_order_of_the_data(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "iid", 1000, 2, 1), HYSGD_OK);
    int low = 0;
    for (int i = 0; i < 500; i++)
        low += partition.indices[i] < 500;
    assert_in_range(low, 200, 300);
    partition_fini(&partition);
}

static void contiguous_keeps_the_order_of_the_data(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "contiguous", 10, 3, 1), HYSGD_OK);
    const uint64_t first[] = {0, 4, 7, 10};
    assert_memory_equal(partition.first, first, sizeof first);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(partition.indices[i], i);
    partition_fini(&partition);
}

/* The mean over classes of the largest share that one of `workers` has of the class. */
static double concentration(const char *dealer, int workers) {
    enum { SAMPLES = 8000, CLASSES = 10 };
    struct plugin data;
    struct partition partition;
    int32_t *labels = malloc(SAMPLES * sizeof *labels);
    double largest[CLASSES] = {0}, sum = 0;
    int total[CLASSES] = {0};
    assert_int_equal(deal(&partition, "random", dealer, SAMPLES, workers, 1), HYSGD_OK);
    samples_open(&data, "random", SAMPLES);
    data_ops(&data)->gather(data.self, HYSGD_TRAIN, partition.indices, SAMPLES, NULL, labels, NULL);
    for (int i = 0; i < SAMPLES; i++)
        total[labels[i]]++;
    for (int w = 0; w < workers; w++) {
        int count[CLASSES] = {0};
        for (uint64_t i = partition.first[w]; i < partition.first[w + 1]; i++)
            count[labels[i]]++;
        for (int c = 0; c < CLASSES; c++)
            if ((double)count[c] / total[c] > largest[c])
                largest[c] = (double)count[c] / total[c];
    }
    for (int c = 0; c < CLASSES; c++)
        sum += largest[c] / CLASSES;
    samples_close(&data);
    partition_fini(&partition);
    free(labels);
    return sum;
}

static void a_small_alpha_gives_classes_to_few_workers(void **state) {
    (void)state;
    assert_true(concentration("iid", 4) < 0.32);
    assert_true(concentration("dirichlet,alpha=10000", 4) < 0.32);
    assert_true(concentration("dirichlet,alpha=0.1", 4) > 0.7);
}

static void what_cannot_be_dealt_is_refused(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "iid", 3, 4, 1), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(),
                        "4 workers cannot share 3 training samples; expected 1 to 3 workers");
    partition_fini(&partition);
    assert_int_equal(deal(&partition, "none", "iid", 3, 0, 1), HYSGD_USAGE);
    partition_fini(&partition);
    assert_int_equal(deal(&partition, "none", "dirichlet", 30, 4, 1), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "partition dirichlet: the data have no labels to go by");
    partition_fini(&partition);
    assert_int_equal(deal(&partition, "random", "rows", 30, 4, 1), HYSGD_USAGE);
    assert_string_equal(hysgd_error_message(), "partition rows: the data are no ratings");
    partition_fini(&partition);
    assert_int_equal(deal(&partition, "planted", "rows", 1000, 90, 1), HYSGD_USAGE); /* of 80 users */
    assert_non_null(strstr(hysgd_error_message(), "partition rows: worker "));
    partition_fini(&partition);
    assert_int_equal(deal(&partition, "random", "dirichlet,alpha=0.001", 400, 100, 1), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "of 100 is left without a sample; expected a larger alpha"));
    partition_fini(&partition);
}

/* Whether worker w has just these samples after all losses. */
static void expect_samples(const struct partition *partition, int worker, const uint64_t *samples, uint64_t count) {
    uint64_t indices[16];
    assert_int_equal(partition->counts[worker], count);
    assert_int_equal(partition_count(partition, worker, partition->change_count), count);
    partition_gather(partition, worker, partition->change_count, indices);
    assert_memory_equal(indices, samples, count * sizeof *samples);
}

static void orphans_go_to_those_left_in_turn_and_first_to_who_has_fewest(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "contiguous", 11, 4, 1), HYSGD_OK); /* 0-2, 3-5, 6-8, 9-10 */
    assert_int_equal(partition_lose(&partition, 1), HYSGD_OK);
    expect_samples(&partition, 3, (const uint64_t[]){9, 10, 3}, 3);
    expect_samples(&partition, 0, (const uint64_t[]){0, 1, 2, 4}, 4);
    expect_samples(&partition, 2, (const uint64_t[]){6, 7, 8, 5}, 4);
    assert_int_equal(partition_lose(&partition, 0), HYSGD_OK);
    expect_samples(&partition, 3, (const uint64_t[]){9, 10, 3, 0, 2}, 5);
    expect_samples(&partition, 2, (const uint64_t[]){6, 7, 8, 5, 1, 4}, 6);
    assert_int_equal(partition_count(&partition, 2, 1), 4); /* who has not started since */
    assert_int_equal(partition_count(&partition, 2, 0), 3);
    partition_fini(&partition);
}

/* How many workers have each of `samples` samples, of which none may have more than one. */
static void expect_one_owner(const struct partition *partition, int samples) {
    uint64_t indices[1000], seen = 0;
    int owners[1000] = {0};
    for (int w = 0; w < partition->workers; w++) {
        if (partition->counts[w] == 0)
            continue;
        partition_gather(partition, w, partition->change_count, indices);
        for (uint64_t i = 0; i < partition->counts[w]; i++)
            owners[indices[i]]++;
        seen += partition->counts[w];
    }
    assert_int_equal(seen, samples);
    for (int i = 0; i < samples; i++)
        assert_int_equal(owners[i], 1);
}

static void every_sample_has_one_owner_after_every_loss(void **state) {
    (void)state;
    static const int losses[] = {3, 0, 6, 6, 5, 1, 2}; /* the second 6 is none */
    for (size_t i = 0; i < partition_list.count; i++) {
        struct partition partition;
        const char *dealer = partition_list.entries[i]->name;
        assert_int_equal(deal(&partition, kind_for(dealer), dealer, 1000, 7, 1), HYSGD_OK);
        for (size_t k = 0; k < sizeof losses / sizeof *losses; k++) {
            assert_int_equal(partition_lose(&partition, losses[k]), HYSGD_OK);
            assert_int_equal(partition.counts[losses[k]], 0);
            expect_one_owner(&partition, 1000);
        }
        assert_int_equal(partition.change_count, 6);
        assert_int_equal(partition.counts[4], 1000);
        assert_int_equal(partition_lose(&partition, 4), HYSGD_OK); /* nobody is left */
        assert_int_equal(partition.counts[4], 0);
        partition_fini(&partition);
    }
}

static void equal_parts_stay_equal_after_losses(void **state) {
    (void)state;
    for (int samples = 7; samples < 29; samples++) {
        struct partition partition;
        assert_int_equal(deal(&partition, "none", "iid", samples, 7, 1), HYSGD_OK);
        for (int left = 6; left > 0; left--) {
            assert_int_equal(partition_lose(&partition, left), HYSGD_OK);
            for (int w = 0; w < left; w++)
                assert_in_range(partition.counts[w], samples / left, (samples + left - 1) / left);
        }
        partition_fini(&partition);
    }
}

static void who_comes_back_has_what_it_had(void **state) {
    (void)state;
    for (size_t i = 0; i < partition_list.count; i++) {
        struct partition partition;
        uint64_t before[1000], after[1000];
        const char *dealer = partition_list.entries[i]->name;
        bool had[1000] = {false};
        assert_int_equal(deal(&partition, kind_for(dealer), dealer, 1000, 4, 1), HYSGD_OK);
        uint64_t count = partition.counts[2], kept = 0;
        partition_gather(&partition, 2, 0, before);
        for (uint64_t k = 0; k < count; k++)
            had[before[k]] = true;
        assert_int_equal(partition_lose(&partition, 2), HYSGD_OK);
        assert_int_equal(partition_join(&partition, 2), HYSGD_OK);
        expect_one_owner(&partition, 1000);
        partition_gather(&partition, 2, 2, after);
        for (uint64_t k = 0; k < partition.counts[2]; k++)
            kept += had[after[k]];
        assert_in_range(partition.counts[2], count, count + 100); /* whole rows, of unequal length */
        assert_true(strcmp(dealer, "dirichlet") == 0 || kept == count);
        partition_fini(&partition);
    }
}

static void who_is_new_takes_a_fair_share_from_the_richest(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "contiguous", 11, 3, 1), HYSGD_OK); /* 0-3, 4-7, 8-10 */
    assert_int_equal(partition_add_places(&partition, 2), HYSGD_OK);
    assert_int_equal(partition_join(&partition, 4), HYSGD_OK);
    expect_samples(&partition, 4, (const uint64_t[]){3, 7}, 2);
    expect_samples(&partition, 0, (const uint64_t[]){0, 1, 2}, 3);
    assert_int_equal(partition_join(&partition, 4), HYSGD_OK); /* it is there */
    assert_int_equal(partition.change_count, 1);
    assert_int_equal(partition_lose(&partition, 1), HYSGD_OK);
    expect_samples(&partition, 4, (const uint64_t[]){3, 7, 4}, 3);
    assert_int_equal(partition_join(&partition, 3), HYSGD_OK);
    expect_samples(&partition, 3, (const uint64_t[]){5, 6}, 2);
    expect_samples(&partition, 4, (const uint64_t[]){3, 7, 4}, 3);
    assert_int_equal(partition_count(&partition, 4, 1), 2); /* who has not started since */
    partition_fini(&partition);
}

static void every_sample_has_one_owner_after_losses_and_joins(void **state) {
    (void)state;
    static const int changes[] = {3, 0, 7, 3, 6, 5, 8,
                                  0, 7, 6, 7, 1, 1}; /* who is there leaves, who is not joins */
    for (size_t i = 0; i < partition_list.count; i++) {
        struct partition partition;
        const char *dealer = partition_list.entries[i]->name;
        assert_int_equal(deal(&partition, kind_for(dealer), dealer, 1000, 7, 1), HYSGD_OK);
        assert_int_equal(partition_add_places(&partition, 2), HYSGD_OK);
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++) {
            bool is_there = partition.counts[changes[k]] > 0;
            assert_int_equal((is_there ? partition_lose : partition_join)(&partition, changes[k]), HYSGD_OK);
            assert_int_equal(partition.counts[changes[k]] > 0, !is_there);
            expect_one_owner(&partition, 1000);
        }
        partition_fini(&partition);
    }
}

static void nobody_gives_away_all_that_he_has(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "none", "contiguous", 3, 3, 1), HYSGD_OK);
    assert_int_equal(partition_add_places(&partition, 1), HYSGD_OK);
    size_t used = memory_used();
    assert_int_equal(partition_join(&partition, 3), HYSGD_FAILED);
    assert_non_null(
        strstr(hysgd_error_message(), "worker 3 cannot join: the others have no training sample to spare"));
    assert_int_equal(memory_used(), used);
    assert_int_equal(partition.change_count, 0);
    partition_fini(&partition);
}

static void a_join_without_memory_changes_nothing(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "planted", "rows", 100, 4, 1), HYSGD_OK);
    assert_int_equal(partition_lose(&partition, 2), HYSGD_OK);
    size_t used = memory_used();
    for (uint64_t n = 1; n <= 11; n++) {
        memory_fail_at(n);
        assert_int_equal(partition_join(&partition, 2), HYSGD_MEMORY);
        memory_fail_at(0);
        assert_int_equal(memory_used(), used);
        assert_int_equal(partition.change_count, 1);
    }
    assert_int_equal(partition_join(&partition, 2), HYSGD_OK);
    expect_one_owner(&partition, 100);
    partition_fini(&partition);
}

static void losses_can_be_taken_back_and_repeated(void **state) {
    (void)state;
    struct partition partition;
    uint64_t first[1000], again[1000];
    assert_int_equal(deal(&partition, "random", "dirichlet", 1000, 3, 1), HYSGD_OK);
    uint64_t count = partition.counts[2];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(partition_lose(&partition, 1), HYSGD_OK);
        assert_int_equal(partition_lose(&partition, 0), HYSGD_OK);
        partition_gather(&partition, 2, 2, k == 0 ? first : again);
        partition_restore(&partition);
        assert_int_equal(partition.counts[2], count);
    }
    assert_memory_equal(first, again, sizeof first);
    partition_fini(&partition);
}

static void a_loss_without_memory_changes_nothing(void **state) {
    (void)state;
    struct partition partition;
    assert_int_equal(deal(&partition, "planted", "rows", 100, 4, 1), HYSGD_OK);
    uint64_t count = partition.counts[2];
    size_t used = memory_used();
    for (uint64_t n = 1; n <= 6; n++) {
        memory_fail_at(n);
        assert_int_equal(partition_lose(&partition, 2), HYSGD_MEMORY);
        memory_fail_at(0);
        assert_int_equal(memory_used(), used);
        assert_int_equal(partition.change_count, 0);
        assert_int_equal(partition.counts[2], count);
    }
    assert_int_equal(partition_lose(&partition, 2), HYSGD_OK);
    expect_one_owner(&partition, 100);
    partition_fini(&partition);
}

static void rows_stay_whole_after_losses(void **state) {
    (void)state;
    enum { SAMPLES = 1000, WORKERS = 5 };
    struct partition partition;
    assert_int_equal(deal(&partition, "planted", "rows", SAMPLES, WORKERS, 1), HYSGD_OK);
    for (int lost = 3; lost < WORKERS + 3; lost++) {
        uint64_t indices[SAMPLES];
        int owners[SAMPLES];
        memset(owners, 0xff, sizeof owners);
        for (int w = 0; w < WORKERS; w++) {
            if (partition.counts[w] == 0)
                continue;
            partition_gather(&partition, w, partition.change_count, indices);
            for (uint64_t i = 0; i < partition.counts[w]; i++) {
                int *owner = &owners[partition.rows[indices[i]]];
                assert_true(*owner == -1 || *owner == w);
                *owner = w;
            }
            uint64_t fair = (uint64_t)(SAMPLES / (WORKERS - partition.change_count));
            assert_in_range(partition.counts[w], fair * 9 / 10, fair * 11 / 10);
        }
        assert_int_equal(partition_lose(&partition, lost % WORKERS), HYSGD_OK);
    }
    partition_fini(&partition);
}

static void fail_memory(const char *kind, const char *dealer_text) {
    struct plugin data, dealer;
    samples_open(&data, kind, 500);
    assert_int_equal(plugin_open(&partition_list, dealer_text, &dealer), HYSGD_OK);
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status != HYSGD_OK; n++) {
        struct partition partition;
        memory_fail_at(n);
        status = partition_init(&partition, &dealer, &data, 2, 1);
        memory_fail_at(0);
        assert_true(status == HYSGD_MEMORY || n > 7);
        partition_fini(&partition);
        assert_int_equal(memory_used(), used);
    }
    plugin_close(&dealer);
    samples_close(&data);
}

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    (void)state;
    fail_memory("random", "dirichlet,alpha=100");
    fail_memory("planted", "rows");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dealer_gives_each_sample_to_one_worker),
        cmocka_unit_test(equal_parts_differ_by_at_most_one),
        cmocka_unit_test(every_dealer_goes_by_the_seed),
        cmocka_unit_test(a_row_of_ratings_belongs_to_one_worker),
        cmocka_unit_test(iid_mixes_the_order_of_the_data),
        cmocka_unit_test(contiguous_keeps_the_order_of_the_data),
        cmocka_unit_test(a_small_alpha_gives_classes_to_few_workers),
        cmocka_unit_test(what_cannot_be_dealt_is_refused),
        cmocka_unit_test(orphans_go_to_those_left_in_turn_and_first_to_who_has_fewest),
        cmocka_unit_test(every_sample_has_one_owner_after_every_loss),
        cmocka_unit_test(equal_parts_stay_equal_after_losses),
        cmocka_unit_test(who_comes_back_has_what_it_had),
        cmocka_unit_test(who_is_new_takes_a_fair_share_from_the_richest),
        cmocka_unit_test(every_sample_has_one_owner_after_losses_and_joins),
        cmocka_unit_test(nobody_gives_away_all_that_he_has),
        cmocka_unit_test(a_join_without_memory_changes_nothing),
        cmocka_unit_test(losses_can_be_taken_back_and_repeated),
        cmocka_unit_test(rows_stay_whole_after_losses),
        cmocka_unit_test(a_loss_without_memory_changes_nothing),
        cmocka_unit_test(exhausted_memory_is_a_status_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
